"""Inputs and outputs of an agent: the last action and its result, time and market in; logits and a value out.

The inputs of a network are numbers of order one. So prices are in units of the highest price, demand is per buyer, and
rewards are in units of the largest profit of a period. The published inputs of RL^2 are the last action, the last reward,
and whether the episode has just begun. The others are additions: the time left, the last demand, the price grid, and the
present and past observations of the market. Each is an option of `Inputs`.

Where any price of an interval may be posted, an action is a number in [-1, 1], from the lowest price to the highest.

Source: Y. Duan, J. Schulman, X. Chen, P. Bartlett, I. Sutskever, P. Abbeel (2016), "RL^2: fast reinforcement learning via
slow reinforcement learning", arXiv:1611.02779.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float

from jaxprice import checks
from jaxprice.types import Discrete, Interval, Problem, Transition


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The inputs of a network besides the mark of the first period.

    Attributes:
      action: the last action, one entry an action; one entry for a price of an interval.
      demand: the last demand of one buyer.
      reward: the last reward.
      time: the share of the horizon that has passed.
      grid: price of each action (of the ends of an interval) and profit of a sale at it; a network needs them if they
        differ between markets.
      observation: the entries of the observation other than time, last price and last demand, such as contexts or stock.
      past: the same entries when the last action was chosen, so that a context is an input together with its result.
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

    def token(self, facts: "Facts", seen: "Seen") -> Float[Array, " D"]:
        """The inputs of one decision, float `[D]`."""
        actions = facts.margins.shape[0]
        first = jnp.asarray(seen.time == 0, jnp.float32)
        parts = [first[None]]
        if self.action and facts.low is None:
            parts.append(jax.nn.one_hot(seen.action, actions, dtype=jnp.float32))
        elif self.action:
            parts.append(seen.action[None])
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
    """The facts that stay the same through a lifetime.

    Attributes:
      prices, margins: price of each action and profit of a sale, in units of the largest, float `[actions]`; zero if an
        action has no price of its own. On an interval, those of its two ends, float `[2]`.
      horizon: number of periods, float scalar.
      unit: the reward that is scaled to one, float scalar.
      buyers: number of buyers in a period.
      low, high: ends of the interval of prices, in money, float scalars; None on a grid.
      stock: units at the start per buyer of a period, float scalar; None if unlimited, and for networks that do not read it.
      noise_scale: standard deviation of Gaussian demand per buyer, float scalar; None for networks that do not read it.
      noise: "bernoulli", "poisson" or "gaussian".
      context_size: length of the context, the last entries of the observation.
    """

    prices: jax.Array
    margins: jax.Array
    horizon: jax.Array
    unit: jax.Array
    buyers: int = struct.field(pytree_node=False)
    low: Any = None
    high: Any = None
    stock: Any = None
    noise_scale: Any = None
    noise: str = struct.field(pytree_node=False, default="bernoulli")
    context_size: int = struct.field(pytree_node=False, default=0)


@struct.dataclass
class Seen:
    """The result of the last period, and the present observation of the market.

    Attributes:
      action: the last action, int scalar; -1 before the first. On an interval, float scalar; 0 before the first.
      demand, reward: results of the last action, float scalars; zero before the first.
      time: number of periods played, int scalar.
      observation: entries of the observation without time, last price and last demand, float `[n]`.
      past: the same entries before the last action, float `[n]`; zero before the first.
    """

    action: jax.Array
    demand: jax.Array
    reward: jax.Array
    time: jax.Array
    observation: jax.Array
    past: jax.Array


@struct.dataclass
class Output:
    """The output of an agent.

    Attributes:
      logits: log-probabilities of the actions up to a constant, float `[..., actions]`.
      value: expected future reward, in units times the horizon, float `[...]`.
    """

    logits: jax.Array
    value: jax.Array


def reader(network):
    """The function from a problem to the `Facts` that a network reads: its own `read`, or `facts`."""
    return getattr(network, "read", facts)


def facts(problem: Problem) -> Facts:
    """The `Facts` of a problem.

    Raises:
      ValueError: actions are neither indices nor prices of an interval, or observations are not one array.
    """
    if problem.observation is not None and jnp.ndim(problem.observation) != 1:
        raise ValueError("agents take observations that are one array, this market's are not")
    return of_prices(problem)


def of_prices(problem: Problem) -> Facts:
    """The `Facts` of prices, horizon and buyers of a problem, whatever its observations are.

    Raises:
      ValueError: actions are neither indices nor prices of an interval.
    """
    space = problem.action_space
    interval = isinstance(space, Interval) and not space.shape
    size = 2 if interval else actions_of(space).n
    prices = jnp.asarray(problem.prices, jnp.float32)
    margins = jnp.asarray(problem.margins, jnp.float32)
    ends = None, None
    if interval:
        ends = jnp.asarray(problem.low, jnp.float32), jnp.asarray(problem.high, jnp.float32)
        prices = jnp.stack(ends)
        margins = prices - problem.cost
    elif prices.ndim > 1:  # several products: the price of one unit of each, summed
        prices, margins = prices.sum(axis=1), margins.sum(axis=1)
    unit = jnp.maximum(jnp.max(jnp.abs(margins)), 1e-6)
    missing = (0, size - prices.shape[0])
    return Facts(
        prices=jnp.pad(prices / jnp.maximum(jnp.max(jnp.abs(prices)), 1e-6), missing),
        margins=jnp.pad(margins / unit, missing),
        horizon=jnp.asarray(problem.horizon, jnp.float32),
        unit=unit * problem.buyers,
        buyers=problem.buyers,
        low=ends[0],
        high=ends[1],
    )


def actions_of(space: Any) -> Discrete:
    """The action space of a market, if agents can choose from it.

    Raises:
      ValueError: actions are not indices, or there are several sellers.
    """
    if not isinstance(space, Discrete) or space.shape:
        raise ValueError(f"agents choose one of a number of actions, this market takes {space}")
    return space


def to_price(facts, action):
    """The price, in money, of an action in [-1, 1]."""
    return jnp.clip(facts.low + (facts.high - facts.low) * (action + 1) / 2, facts.low, facts.high)


def of_price(facts, price):
    """The action in [-1, 1] of a price in money, the inverse of `to_price`."""
    share = (jnp.asarray(price, jnp.float32) - facts.low) / (facts.high - facts.low)
    return jnp.clip(2 * share - 1, -1.0, 1.0)


def before(problem: Problem, observation: Any) -> Seen:
    """`Seen` before the first decision."""
    zero, shown = jnp.float32(0), _rest(observation, jnp.ndim(problem.prices))
    action = zero if isinstance(problem.action_space, Interval) else jnp.int32(-1)
    return Seen(action, zero, zero, jnp.int32(0), shown, jnp.zeros_like(shown))


def after(facts: Facts, seen: Seen, transition: Transition) -> Seen:
    """`Seen` after a period."""
    return Seen(
        action=jnp.asarray(transition.action, jnp.int32) if facts.low is None else of_price(facts, transition.action),
        demand=jnp.sum(jnp.asarray(transition.demand, jnp.float32)) / facts.buyers,
        reward=jnp.asarray(transition.reward, jnp.float32) / facts.unit,
        time=seen.time + 1,
        observation=_rest(transition.next_observation, 1 + jnp.ndim(transition.price)),
        past=seen.observation,
    )


def _rest(observation, axes):
    """An observation without time, and with one product also without last price and last demand; nothing of a structure."""
    if dataclasses.is_dataclass(observation):
        return jnp.zeros(0, jnp.float32)
    return jnp.asarray(observation, jnp.float32)[3 if axes == 1 else 1 :]
