"""Fixed price: the same price in every period, the benchmark of posted pricing.

On a grid the policy plays the action nearest to the price, and on an interval the price itself. Several products or sellers
all get the same price. A price outside the market's range is refused if the numbers are concrete; if they are traced, the
nearest price is played. Regret is linear in T unless the price is optimal.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Interval, Policy, Subset

ROUNDING = 1e-6  # tolerance, relative to the highest price


@struct.dataclass
class State:
    """The action: an index or a price, or an array of them for several products or sellers."""

    action: jax.Array


@policy_maker(regret="T", feedback="nothing")
def fixed_price(price=None):
    """Post the same price in every period.

    Args:
      price: the price, in the market's unit; by default the middle of the grid or of the interval. May be traced.

    Raises:
      ValueError: the price is negative or not finite; at `init`, the price is outside the market's range, or the actions of
        the market are assortments.
    """
    if price is not None:
        checks.number("price", price, low=0)

    def init(key, problem):
        del key
        space, prices = problem.action_space, jnp.asarray(problem.prices)
        if isinstance(space, Subset):
            raise ValueError("fixed_price posts a price, but the actions of this market are assortments")
        _check_within(price, problem.prices if problem.num_prices else (problem.low, problem.high))
        target = (problem.low + problem.high) / 2 if price is None else price
        if isinstance(space, Interval):
            return State(jnp.broadcast_to(jnp.clip(jnp.float32(target), problem.low, problem.high), space.shape))
        if price is None:
            return State(jnp.full(space.shape, problem.num_prices // 2, jnp.int32))
        gaps = jnp.abs(prices - target)
        nearest = jnp.argmin(gaps if gaps.ndim == 1 else jnp.sum(gaps, axis=1)).astype(jnp.int32)
        return State(jnp.broadcast_to(nearest, space.shape))

    def act(key, state, observation):
        del key, observation
        return state.action

    def update(key, state, transition):
        del key, transition
        return state

    return Policy(init, act, update)


def _check_within(price, prices):
    """Raise if a price is outside the market's range; traced values pass unchecked."""
    if price is None or checks.is_traced((price, prices)):
        return
    low, high = (float(end(np.asarray(prices))) for end in (np.min, np.max))
    if not low - ROUNDING * high <= price <= high + ROUNDING * high:
        raise ValueError(f"fixed_price got price={price!r}, but prices of this market go from {low:g} to {high:g}")
