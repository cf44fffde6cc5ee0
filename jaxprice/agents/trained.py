"""A trained agent: a network with its weights and its card, and the `Policy` that it is.

An agent is one file, `name.npz`: weights as arrays, and a card in JSON that says what network they belong to, on what they
were trained and how they scored. `save` writes it, `load` reads a `Policy` back from a path, or from the name of an agent
that comes with the package (`list_agents`); see `agent_file` for what a file may be.
"""

import dataclasses
import hashlib
import importlib.resources
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks
from jaxprice.agents import agent_file, fitting, inputs, networks
from jaxprice.agents.inputs import Inputs
from jaxprice.types import Policy


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

    Raises:
      ValueError: a name, a number or an option that no network has; weights are checked where they are used.
    """

    name: str
    actions: int
    weights: Any
    options: dict = dataclasses.field(default_factory=dict)
    inputs: Inputs = dataclasses.field(default_factory=Inputs)
    deploy: str = "argmax"
    told: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for field in ("options", "told"):
            if not isinstance(getattr(self, field), dict):
                raise ValueError(f"{field} must be a dict, got {checks.shown(getattr(self, field))}")
        if not all(isinstance(key, str) for key in self.options):
            raise ValueError(f"options must have names, got {checks.shown(self.options)}")
        checks.choice("deploy", self.deploy, ("sample", "argmax"))
        if not isinstance(self.inputs, Inputs):
            raise ValueError(f"inputs must be agents.Inputs, got {checks.shown(self.inputs)}")
        _ = self.network

    @property
    def network(self):
        """The network."""
        return networks.make(self.name, actions=self.actions, inputs=self.inputs, **self.options)

    @property
    def card(self):
        """All but the weights, plain data."""
        about = {"network": self.name, "actions": int(self.actions), "options": self.options, "deploy": self.deploy}
        return {"version": agent_file.VERSION} | about | {"inputs": dataclasses.asdict(self.inputs), "told": self.told}

    def checked(self):
        """Its weights by name, float32 NumPy arrays.

        Raises:
          ValueError: they are not those of its network, or not finite.
        """
        return fitting.checked(self.network, int(self.actions), fitting.flat(self.weights))

    def description(self, weights):
        """What it is and which weights it has, as text; agents that play alike have the same."""
        digest = hashlib.sha256()
        for name, weight in sorted(weights.items()):
            digest.update(f"{name}{weight.shape}".encode() + weight.tobytes())
        options = dict(sorted(self.options.items()))
        return (
            f"agents.Agent({self.name!r}, {int(self.actions)}, options={options}, inputs={self.inputs}, "
            f"deploy={self.deploy!r}, weights={digest.hexdigest()[:32]})"
        )

    def policy(self):
        """The `Policy`: what it learns in a market is in its memory, the weights stay.

        Raises:
          ValueError: weights that are not those of its network, or not finite; at `init`, a market whose actions or
            observations are not those of its training.
        """
        network, flat = self.network, self.checked()
        weights = fitting.nested(flat)

        def init(key, problem):
            del key
            if problem.observation is None:
                raise ValueError(
                    "an agent sees the market before its first action: give it problem.with_observation(observation)"
                )
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

        act.description = self.description(flat)
        policy = TrainedPolicy(init, act, update)
        policy.card, policy.longest = self.card, self.options.get("longest", 128) if self.name == "transformer" else None
        return policy

    def check_size(self, facts, seen):
        """Refuse a market with observations of another length than those of training."""
        wanted = fitting.shapes(self.network, facts, seen)
        for name, weight in fitting.flat(self.weights).items():
            if np.shape(weight) != wanted[name].shape:
                raise ValueError(
                    f"this agent was trained on other observations: the market needs weights {name!r} of shape "
                    f"{wanted[name].shape}, it has {np.shape(weight)}"
                )


def save(path, agent):
    """Write an agent to `path`, which ends with ".npz"; what was there before stays until the new file is whole.

    Raises:
      ValueError: another ending, a path that cannot be written, no `Agent`, or weights that are not those of its network or
        not finite.
    """
    if not isinstance(agent, Agent):
        raise ValueError(f"agent must be an agents.Agent, got {checks.shown(agent)}")
    agent_file.write(_path(path), agent.card, agent.checked())


def load_agent(path):
    """The `Agent` of a file, or one that comes with the package by its name.

    Raises:
      ValueError: no such agent; a file of another version, a damaged one, or one that is no agent: the card must tell of a
        network, and names, shapes and types of the weights must be those of that network, and they must be finite.
    """
    path = _path(path)
    if not path.suffix and path.name == str(path):
        checks.choice("agent", str(path), list_agents())
        path = _shipped() / f"{path}.npz"
    with agent_file.opened(path) as file:
        card, fed = file.card, file.card["inputs"]
        if not isinstance(fed, dict) or set(fed) - {field.name for field in dataclasses.fields(Inputs)}:
            raise ValueError(f"unknown inputs {checks.shown(fed)}")
        told = {key: card[key] for key in ("options", "deploy", "told")}
        agent = Agent(card["network"], card["actions"], None, inputs=Inputs(**fed), **told)
        if agent.options.get("layers", 1) > len(file.headers):
            raise ValueError("its network has more layers than it has weights")
        fitting.check_shapes(agent.network, agent.actions, file.headers)
        weights = fitting.checked(agent.network, agent.actions, file.weights())
        return dataclasses.replace(agent, weights=fitting.nested(weights))


def load(path):
    """The `Policy` of a saved agent, see `load_agent`; its `card` says what it is."""
    return load_agent(path).policy()


def list_agents():
    """Names of the agents that come with the package."""
    return sorted(path.name.removesuffix(".npz") for path in _shipped().iterdir() if path.name.endswith(".npz"))


def _shipped():
    return Path(str(importlib.resources.files("jaxprice.agents"))) / "weights"


def _path(path):
    """`path` as a `Path`, after checking that it is one."""
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"path must be a path, or the name of an agent, got {checks.shown(path)}")
    return Path(path)
