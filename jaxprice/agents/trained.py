"""A trained agent: a network with its weights and its card, and the corresponding `Policy`.

An agent is one file, `name.npz`: weights as arrays, and a card in JSON that describes the network, its training and its
score. `save` writes the file. `load` reads a `Policy` from a path, or by the name of an agent that comes with the package
(`list_agents`). For the file format see `agent_file`.
"""

import dataclasses
import functools
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
from jaxprice.agents import agent_file, fitting, inputs, networks, squashed
from jaxprice.agents.inputs import Inputs
from jaxprice.types import Interval, Policy


@struct.dataclass
class State:
    """State of a trained agent that plays.

    Attributes:
      facts, seen: inputs of the network.
      memory: memory of the network.
      logits: logits of the next action, float `[actions]`; on an interval of prices, its `squashed.Law`.
    """

    facts: inputs.Facts
    seen: inputs.Seen
    memory: Any
    logits: Any


class TrainedPolicy(Policy):
    """A `Policy` with two more attributes: its `card`, and `longest`, the largest number of periods it can play, or None."""

    card: dict
    longest: int | None


@dataclasses.dataclass(frozen=True)
class Agent:
    """A network and its weights.

    Attributes:
      name: name of the network, one of `networks.NAMES`, or "gaussian", which posts prices of an interval.
      actions: number of actions that it was trained for; 1 for "gaussian".
      weights: its parameters.
      options: options of `networks.make`.
      inputs: inputs of the network.
      deploy: "sample" or "argmax"; the latter is the median price for "gaussian".
      told: training and score of the agent, plain data.

    Raises:
      ValueError: a name, number or option that no network has. Weights are checked at their first use.
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
        if self.name == "gaussian" and self.actions != 1:
            raise ValueError(f"actions must be 1 for network 'gaussian', an agent posts one price, got {self.actions}")

    @property
    def network(self) -> Any:
        """The network."""
        return networks.make(self.name, actions=self.actions, inputs=self.inputs, **self.options)

    @property
    def card(self):
        """Everything except the weights, as plain data."""
        about = {"network": self.name, "actions": int(self.actions), "options": self.options, "deploy": self.deploy}
        return {"version": agent_file.VERSION} | about | {"inputs": dataclasses.asdict(self.inputs), "told": self.told}

    def checked(self):
        """The weights by name, float32 NumPy arrays.

        Raises:
          ValueError: they do not belong to the network, or are not finite.
        """
        return fitting.checked(self.network, int(self.actions), fitting.flat(self.weights))

    def description(self, weights):
        """Text that identifies the network and its weights; agents with the same behaviour have the same text."""
        digest = hashlib.sha256()
        for name, weight in sorted(weights.items()):
            digest.update(f"{name}{weight.shape}".encode() + weight.tobytes())
        options = dict(sorted(self.options.items()))
        return (
            f"agents.Agent({self.name!r}, {int(self.actions)}, options={options}, inputs={self.inputs}, "
            f"deploy={self.deploy!r}, weights={digest.hexdigest()[:32]})"
        )

    def policy(self):
        """The `Policy`. All learning in a market happens in its memory; the weights stay constant.

        Raises:
          ValueError: the weights do not belong to the network or are not finite; at `init`, the market has other actions or
            observations than the training, or more periods than the memory of a transformer.
        """
        network, flat = self.network, self.checked()
        longest = self.options.get("longest", 128) if self.name == "transformer" else None
        weights = fitting.nested(flat)

        def init(key, problem):
            del key
            if problem.observation is None:
                raise ValueError(
                    "an agent sees the market before its first action: give it problem.with_observation(observation)"
                )
            self.check_actions(problem.action_space)
            if longest is not None and not checks.is_traced(problem.horizon) and np.any(problem.horizon > longest):
                raise ValueError(f"this agent remembers at most {longest} periods, got a problem of {problem.horizon}")
            facts, seen = inputs.reader(network)(problem), inputs.before(problem, problem.observation)
            self.check_size(facts, seen)
            return decided(facts, seen, network.apply(weights, facts, method="start"))

        def decided(facts, seen, memory):
            memory, says = network.apply(jax.tree.map(jnp.asarray, weights), memory, facts, seen, method="step")
            return State(facts, seen, memory, says if self.name == "gaussian" else says.logits)

        def act(key, state, observation):
            del observation
            if self.name == "gaussian":
                action = state.logits.middle
                if self.deploy == "sample":
                    action, _ = squashed.draw(state.logits, jax.random.normal(key, action.shape, jnp.float32))
                return inputs.to_price(state.facts, action[0])
            if self.deploy == "argmax":
                return jnp.argmax(state.logits).astype(jnp.int32)
            return jax.random.categorical(key, state.logits).astype(jnp.int32)

        def update(key, state, transition):
            del key
            return decided(state.facts, inputs.after(state.facts, state.seen, transition), state.memory)

        act.description = self.description(flat)

        def probabilities(state, observation):
            del observation
            if self.name == "gaussian":
                return functools.partial(price_density, state.facts, state.logits)
            return jax.nn.softmax(state.logits)

        policy = TrainedPolicy(init, act, update, probabilities if self.deploy == "sample" else None)
        policy.card, policy.longest = self.card, longest
        return policy

    def check_actions(self, space):
        """Raise if the actions of a market are others than in training.

        Raises:
          ValueError: they are.
        """
        if self.name == "gaussian":
            if not isinstance(space, Interval) or space.shape:
                raise ValueError(f"this agent posts a price of an interval, this market takes {space}")
        elif (actions := inputs.actions_of(space).n) != self.actions and self.name not in networks.ANY_ACTIONS:
            raise ValueError(f"this agent was trained for {self.actions} actions, the market has {actions}")

    def check_size(self, facts, seen):
        """Raise if the observations of a market have another length than in training."""
        wanted = fitting.shapes(self.network, facts, seen)
        for name, weight in fitting.flat(self.weights).items():
            if np.shape(weight) != wanted[name].shape:
                raise ValueError(
                    f"this agent was trained on other observations: the market needs weights {name!r} of shape "
                    f"{wanted[name].shape}, it has {np.shape(weight)}"
                )


def price_density(facts, law, price):
    """The density of a price of an interval, per unit of money, float like `price`."""
    action = 2 * (jnp.asarray(price, jnp.float32) - facts.low) / (facts.high - facts.low) - 1
    return squashed.density(law, action[..., None]) * 2 / (facts.high - facts.low)


def save(path, agent):
    """Write an agent to `path`, which ends with ".npz". An existing file is replaced atomically.

    Raises:
      ValueError: the path has another ending or cannot be written, the object is not an `Agent`, or the weights do not
        belong to its network or are not finite.
    """
    if not isinstance(agent, Agent):
        raise ValueError(f"agent must be an agents.Agent, got {checks.shown(agent)}")
    agent_file.write(_path(path), agent.card, agent.checked())


def load_agent(path):
    """The `Agent` in a file, or the agent that comes with the package under this name.

    Weights may be stored in fewer bits (`fitting`); they are float32 here.

    Raises:
      ValueError: there is no such agent; or the file is damaged, of another version, or not an agent: the card must describe
        a network, and the weights must be finite, with the names, shapes and types of that network.
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
        fitting.check_shapes(agent.network, agent.actions, fitting.folded(file.headers))
        weights = fitting.checked(agent.network, agent.actions, fitting.expanded(file.weights()))
        return dataclasses.replace(agent, weights=fitting.nested(weights))


def load(path):
    """The `Policy` of a saved agent, see `load_agent`; its `card` describes it."""
    return load_agent(path).policy()


def list_agents():
    """Names of the agents that come with the package."""
    return sorted(path.name.removesuffix(".npz") for path in _shipped().iterdir() if path.name.endswith(".npz"))


def _shipped():
    return Path(str(importlib.resources.files("jaxprice.agents"))) / "weights"


def _path(path):
    """`path` as a `Path`, after a check of its type."""
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"path must be a path, or the name of an agent, got {checks.shown(path)}")
    return Path(path)
