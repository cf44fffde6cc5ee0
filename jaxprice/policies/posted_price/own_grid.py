"""A grid for policies that choose from a price grid, in markets where any price of an interval may be posted.

The policy's problem is the interval with that grid. A sale counts for the grid price nearest to the posted price, so that a
seller whose price was changed by a wrapper still learns.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float

from jaxprice.policies.parts import line
from jaxprice.types import Discrete, Interval, Policy, Problem


@struct.dataclass
class State:
    """The seller's own prices, float `[num_prices]`, the highest price of the market, and the state of the policy."""

    prices: jax.Array
    high: jax.Array
    inner: object


def even(problem: Problem, num_prices: int, *, first: bool) -> Float[Array, " {num_prices}"]:
    """Evenly spaced prices up to `problem.high`, float `[num_prices]`.

    Args:
      problem: `Problem` with an interval.
      num_prices: number of prices.
      first: whether the lowest price is one of them. If not, price i is at i / num_prices of the interval, i = 1, 2, ...
    """
    low, high = jnp.asarray(problem.low, jnp.float32), jnp.asarray(problem.high, jnp.float32)
    steps = jnp.arange(num_prices, dtype=jnp.float32)
    shares = steps / max(num_prices - 1, 1) if first else (steps + 1) / num_prices
    return low + (high - low) * shares


def on_interval(name: str, policy: Policy, prices_of: Callable) -> Policy:
    """Run `policy`, which chooses from a price grid, on an interval.

    Args:
      name: name of the policy, for error messages.
      policy: `Policy`.
      prices_of: problem -> its grid, float `[num_prices]`.

    Raises:
      ValueError: at `init`, a market whose action is not one price of an interval.
    """

    def init(key, problem):
        line.require_interval(problem, name)
        prices = prices_of(problem)
        told = dataclasses.replace(problem, prices=prices, action_space=Discrete(prices.shape[0]))
        return State(prices, jnp.asarray(problem.high, jnp.float32), policy.init(key, told))

    def act(key, state, observation):
        return jnp.minimum(state.prices[policy.act(key, state.inner, observation)], state.high)

    def update(key, state, transition):
        nearest = jnp.argmin(jnp.abs(state.prices - transition.price)).astype(jnp.int32)
        return state.replace(inner=policy.update(key, state.inner, dataclasses.replace(transition, action=nearest)))

    return Policy(init, act, update)


def on_grid_or_interval(name: str, policy: Policy, num_prices: int) -> Policy:
    """`policy` on the grid of the market, or on `num_prices` evenly spaced prices of its interval, including both ends."""
    own = on_interval(name, policy, lambda problem: even(problem, num_prices, first=True))

    def init(key, problem):
        return (own if isinstance(problem.action_space, Interval) else policy).init(key, problem)

    def act(key, state, observation):
        return (own if isinstance(state, State) else policy).act(key, state, observation)

    def update(key, state, transition):
        return (own if isinstance(state, State) else policy).update(key, state, transition)

    return Policy(init, act, update)
