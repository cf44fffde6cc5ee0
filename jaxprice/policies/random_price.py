"""Random price: a uniform price every period, the weakest benchmark.

On a grid every action has the same probability, on an interval the price is uniform. Regret is linear in T.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import samplers
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Discrete, Policy


@struct.dataclass
class State:
    """Ends of the interval (float scalars) and size of the grid, 0 without."""

    low: jax.Array
    high: jax.Array
    num_prices: int = struct.field(pytree_node=False)


@policy_maker
def random_price():
    """Post a uniformly random price every period."""

    def init(key, problem):
        del key
        size = problem.num_prices if isinstance(problem.action_space, Discrete) else 0
        return State(jnp.float32(problem.low), jnp.float32(problem.high), size)

    def act(key, state, observation):
        del observation
        u = samplers.uniform(jax.random.bits(key, (), jnp.uint32))
        if state.num_prices:
            return jnp.floor(u * state.num_prices).astype(jnp.int32)
        return state.low + u * (state.high - state.low)

    def update(key, state, transition):
        del key, transition
        return state

    return Policy(init, act, update)
