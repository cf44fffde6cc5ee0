"""Fixed price: the same price for ever, the benchmark of posted pricing.

On a grid the action nearest to the price is played, on an interval the price itself. Regret is linear in T unless the
price is optimal.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Discrete, Policy


@struct.dataclass
class State:
    """The action, an index or a price."""

    action: jax.Array


@policy_maker
def fixed_price(price=None):
    """Post one price for ever.

    Args:
      price: the price, in the market's unit; by default the middle of the grid or of the interval. May be traced.

    Raises:
      ValueError: a price that is negative or not finite.
    """
    if price is not None:
        checks.number("price", price, low=0)

    def init(key, problem):
        del key
        target = (problem.low + problem.high) / 2 if price is None else price
        if not isinstance(problem.action_space, Discrete):
            return State(jnp.clip(jnp.float32(target), problem.low, problem.high))
        if price is None:
            return State(jnp.int32(problem.num_prices // 2))
        return State(jnp.argmin(jnp.abs(jnp.asarray(problem.prices) - target)).astype(jnp.int32))

    def act(key, state, observation):
        del key, observation
        return state.action

    def update(key, state, transition):
        del key, transition
        return state

    return Policy(init, act, update)
