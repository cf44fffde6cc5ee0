"""A trained agent: a network with its weights and its card, and the `Policy` that it is.

An agent is one file, `name.npz`: weights as arrays, and a card in JSON that says what network they belong to, on what they
were trained and how they scored. `save` writes it, `load` reads a `Policy` back from a path, or from the name of an agent
that comes with the package (`list_agents`); nothing is unpickled.
"""

import dataclasses
import importlib.resources
import json
import os
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks
from jaxprice.agents import inputs, networks
from jaxprice.agents.inputs import Inputs
from jaxprice.types import Policy

VERSION = 1  # of the file


@struct.dataclass
class State:
    """State of an agent that plays.

    Attributes:
      facts, seen: what it was told and saw.
      memory: the network's.
      logits: of the next action, float `[actions]`.
    """

    facts: inputs.Facts
    seen: inputs.Seen
    memory: Any
    logits: jax.Array


class TrainedPolicy(Policy):
    """A `Policy` that remembers its `card`, and `longest`, the most periods that it can play, or None."""

    card: dict
    longest: int | None


@dataclasses.dataclass(frozen=True)
class Agent:
    """A network and its weights.

    Attributes:
      name: of the network, one of `networks.NAMES`.
      actions: number of actions that it was trained for.
      weights: its parameters.
      options: of `networks.make`.
      inputs: what it is fed.
      deploy: "sample" or "argmax".
      told: on what it was trained and how it scored, plain data.
    """

    name: str
    actions: int
    weights: Any
    options: dict = dataclasses.field(default_factory=dict)
    inputs: Inputs = dataclasses.field(default_factory=Inputs)
    deploy: str = "argmax"
    told: dict = dataclasses.field(default_factory=dict)

    @property
    def network(self):
        """The network."""
        return networks.make(self.name, actions=self.actions, inputs=self.inputs, **self.options)

    @property
    def card(self):
        """All but the weights, plain data."""
        about = {"network": self.name, "actions": self.actions, "options": self.options, "deploy": self.deploy}
        return {"version": VERSION} | about | {"inputs": dataclasses.asdict(self.inputs), "told": self.told}

    def policy(self):
        """The `Policy`: what it learns in a market is in its memory, the weights stay.

        Raises:
          ValueError: at `init`, a market whose actions are not those of its network.
        """
        checks.choice("deploy", self.deploy, ("sample", "argmax"))
        network, weights = self.network, jax.tree.map(np.asarray, self.weights)

        def init(key, problem):
            del key
            if problem.observation is None:
                raise ValueError("an agent sees the market before its first action: give it problem.told(observation)")
            facts, seen = inputs.facts(problem), inputs.before(problem, problem.observation)
            actions = facts.margins.shape[0]
            if self.name != "stats" and actions != self.actions:
                raise ValueError(f"this agent was trained for {self.actions} actions, the market has {actions}")
            self.check_size(facts, seen)
            return decided(facts, seen, network.apply(weights, facts, method="start"))

        def decided(facts, seen, memory):
            memory, says = network.apply(jax.tree.map(jnp.asarray, weights), memory, facts, seen, method="step")
            return State(facts, seen, memory, says.logits)

        def act(key, state, observation):
            del observation
            if self.deploy == "argmax":
                return jnp.argmax(state.logits).astype(jnp.int32)
            return jax.random.categorical(key, state.logits).astype(jnp.int32)

        def update(key, state, transition):
            del key
            return decided(state.facts, inputs.after(state.facts, state.seen, transition), state.memory)

        policy = TrainedPolicy(init, act, update)
        policy.card, policy.longest = self.card, self.options.get("longest", 128) if self.name == "transformer" else None
        return policy

    def check_size(self, facts, seen):
        """Refuse a market with observations of another length than those of training."""
        wanted = jax.tree.leaves(self.weights)
        shapes = jax.eval_shape(lambda: networks.initial(self.network, jax.random.key(0), facts, seen))
        for ours, theirs in zip(wanted, jax.tree.leaves(shapes), strict=True):
            if np.shape(ours) != theirs.shape:
                raise ValueError(
                    f"this agent was trained on other observations: the market needs weights {theirs.shape} where it has "
                    f"{np.shape(ours)}"
                )


def save(path, agent):
    """Write an agent to `path`, which ends with ".npz"; what was there before stays until the new file is whole.

    Raises:
      ValueError: another ending.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"an agent is saved as one .npz file, got {str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = flax.traverse_util.flatten_dict(agent.weights, sep="/")
    temporary = path.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez(temporary, card=json.dumps(agent.card), **{key: np.asarray(value) for key, value in flat.items()})
    os.replace(temporary, path)


def load_agent(path):
    """The `Agent` of a file, or one that comes with the package by its name.

    Raises:
      ValueError: no such agent, or a file of another version.
    """
    path = Path(path)
    if not path.suffix:
        checks.choice("agent", str(path), list_agents())
        path = _shipped() / f"{path}.npz"
    if not path.exists():
        raise ValueError(f"no agent at {str(path)!r}; those that come with the package are {list_agents()}")
    with np.load(path, allow_pickle=False) as file:
        if "card" not in file or json.loads(str(file["card"])).get("version") != VERSION:
            raise ValueError(f"{str(path)!r} is not an agent of version {VERSION}")
        card = json.loads(str(file["card"]))
        flat = {key: file[key] for key in file.files if key != "card"}
    weights = flax.traverse_util.unflatten_dict(flat, sep="/")
    told = {"options": card["options"], "inputs": Inputs(**card["inputs"]), "deploy": card["deploy"]}
    return Agent(card["network"], card["actions"], weights, told=card["told"], **told)


def load(path):
    """The `Policy` of a saved agent, see `load_agent`; its `card` says what it is."""
    return load_agent(path).policy()


def list_agents():
    """Names of the agents that come with the package."""
    return sorted(path.name.removesuffix(".npz") for path in _shipped().iterdir() if path.name.endswith(".npz"))


def _shipped():
    return Path(str(importlib.resources.files("jaxprice.agents"))) / "weights"
