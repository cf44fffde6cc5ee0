"""What an agent sees before each decision, the last action and what came of it, time and market; and what it says.

A network is fed by numbers of order one, so prices are in units of the highest price, demand is that of one buyer, and
rewards are in units of the largest profit of a period. The inputs of RL^2 as published are the last action, the last reward
and whether the episode began; the time left, the last demand, the price grid, what the market shows and showed are
additions, each an option of `Inputs`.

Source: Y. Duan, J. Schulman, X. Chen, P. Bartlett, I. Sutskever, P. Abbeel (2016), "RL^2: fast reinforcement learning via
slow reinforcement learning", arXiv:1611.02779.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.types import Discrete


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Which inputs a network gets besides the mark of the first period.

    Attributes:
      action: the last action, one entry an action.
      demand: the last demand of one buyer.
      reward: the last reward.
      time: the share of the horizon gone.
      grid: price and profit of a sale at each action; where they differ between markets, a network needs them.
      observation: what the observation shows beyond time, last price and last demand: contexts, stock.
      past: what it showed when the last action was chosen, so that a context stands beside what came of it.
    """

    action: bool = True
    demand: bool = True
    reward: bool = True
    time: bool = True
    grid: bool = False
    observation: bool = True
    past: bool = False

    def __post_init__(self):
        for field in dataclasses.fields(self):
            checks.boolean(field.name, getattr(self, field.name))

    def token(self, facts, seen):
        """The inputs of one decision, float `[D]`."""
        actions = facts.margins.shape[0]
        first = jnp.asarray(seen.action < 0, jnp.float32)
        parts = [first[None]]
        if self.action:
            parts.append(jax.nn.one_hot(seen.action, actions, dtype=jnp.float32))
        if self.demand:
            parts.append(seen.demand[None])
        if self.reward:
            parts.append(seen.reward[None])
        if self.time:
            parts.append((seen.time.astype(jnp.float32) / facts.horizon)[None])
        if self.grid:
            parts += [facts.prices, facts.margins]
        if self.observation:
            parts.append(seen.observation)
        if self.past:
            parts.append(seen.past)
        return jnp.concatenate(parts)


@struct.dataclass
class Facts:
    """What stays the same through a lifetime.

    Attributes:
      prices, margins: price of each action and profit of a sale in units of the largest, float `[actions]`; zero where an
        action has no price of its own.
      horizon: periods, float scalar.
      unit: the reward that counts as one, float scalar.
      buyers: of a period.
    """

    prices: jax.Array
    margins: jax.Array
    horizon: jax.Array
    unit: jax.Array
    buyers: int = struct.field(pytree_node=False)


@struct.dataclass
class Seen:
    """What came of the last period, and what the market shows now.

    Attributes:
      action: the last action, int scalar; -1 before the first.
      demand, reward: what came of it, float scalars; zero before the first.
      time: periods played, int scalar.
      observation: entries of the observation that are not told otherwise, float `[n]`.
      past: those of the observation before the last action, float `[n]`; zero before the first.
    """

    action: jax.Array
    demand: jax.Array
    reward: jax.Array
    time: jax.Array
    observation: jax.Array
    past: jax.Array


@struct.dataclass
class Output:
    """What an agent says.

    Attributes:
      logits: log-probabilities of the actions up to a constant, float `[..., actions]`.
      value: what it expects to earn from now on, in units a period of the whole horizon, float `[...]`.
    """

    logits: jax.Array
    value: jax.Array


def facts(problem):
    """The `Facts` of a problem.

    Raises:
      ValueError: actions are not indices, or observations are not one array.
    """
    space = actions_of(problem.action_space)
    if problem.observation is not None and jnp.ndim(problem.observation) != 1:
        raise ValueError("agents take observations that are one array, this market's are not")
    prices = jnp.asarray(problem.prices, jnp.float32)
    margins = jnp.asarray(problem.margins, jnp.float32)
    if prices.ndim > 1:  # several products: what one unit of each brings
        prices, margins = prices.sum(axis=1), margins.sum(axis=1)
    unit = jnp.maximum(jnp.max(jnp.abs(margins)), 1e-6)
    missing = (0, space.n - prices.shape[0])
    return Facts(
        prices=jnp.pad(prices / jnp.maximum(jnp.max(jnp.abs(prices)), 1e-6), missing),
        margins=jnp.pad(margins / unit, missing),
        horizon=jnp.asarray(problem.horizon, jnp.float32),
        unit=unit * problem.buyers,
        buyers=problem.buyers,
    )


def actions_of(space):
    """The space of a market's actions, if agents can choose from it.

    Raises:
      ValueError: actions are not indices, or there are several sellers.
    """
    if not isinstance(space, Discrete) or space.shape:
        raise ValueError(f"agents choose one of a number of actions, this market takes {space}")
    return space


def before(problem, observation):
    """What is `Seen` before the first decision."""
    zero, shown = jnp.float32(0), _rest(observation, jnp.ndim(problem.prices))
    return Seen(jnp.int32(-1), zero, zero, jnp.int32(0), shown, jnp.zeros_like(shown))


def after(facts, seen, transition):
    """What is `Seen` after a period."""
    return Seen(
        action=jnp.asarray(transition.action, jnp.int32),
        demand=jnp.sum(jnp.asarray(transition.demand, jnp.float32)) / facts.buyers,
        reward=jnp.asarray(transition.reward, jnp.float32) / facts.unit,
        time=seen.time + 1,
        observation=_rest(transition.next_observation, 1 + jnp.ndim(transition.price)),
        past=seen.observation,
    )


def _rest(observation, axes):
    """An observation without time and, where one product is sold, without last price and demand."""
    return jnp.asarray(observation, jnp.float32)[3 if axes == 1 else 1 :]
