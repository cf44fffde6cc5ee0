"""Random price: a uniformly random price in every period, the weakest benchmark.

On a grid every action has the same probability, and on an interval the price is uniform. With several products or sellers,
prices are independent. For assortments, each product is offered with probability size / n, and only the first `size` of them
are used. Regret is linear in T.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import samplers
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Discrete, Interval, Policy, Subset


@struct.dataclass
class State:
    """Ends of the interval (float scalars, or `[n]`), and the action space."""

    low: jax.Array
    high: jax.Array
    space: Discrete | Interval | Subset = struct.field(pytree_node=False)


@policy_maker(regret="T", feedback="nothing")
def random_price():
    """Post a uniformly random price in every period."""

    def init(key, problem):
        del key
        return State(jnp.float32(problem.low), jnp.float32(problem.high), problem.action_space)

    def act(key, state, observation):
        del observation
        space = state.space
        u = samplers.uniform(jax.random.bits(key, space.shape, jnp.uint32))
        if isinstance(space, Discrete):
            return jnp.floor(u * space.n).astype(jnp.int32)
        if isinstance(space, Subset):
            offered = u < space.size / space.n
            return offered & (jnp.cumsum(offered) <= space.size)
        return state.low + u * (state.high - state.low)

    def update(key, state, transition):
        del key, transition
        return state

    def probabilities(state, observation):
        del observation
        space = state.space
        if isinstance(space, Interval):
            return lambda price: jnp.prod(
                jnp.where((price >= state.low) & (price <= state.high), 1 / (state.high - state.low), 0.0)
            )
        if isinstance(space, Subset) or space.shape:
            raise ValueError("probabilities of random_price are those of one price, this market takes several choices")
        return jnp.full(space.n, 1 / space.n, jnp.float32)

    return Policy(init, act, update, probabilities)
