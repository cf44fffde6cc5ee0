"""A fresh start for each product: N products are sold in sequence, each by an independent copy of a policy.

Product m of N starts in period floor(m T / N) of T (`parts.product_order`). In this period the inner policy is initialised
again, with a new key, the present observation, and the horizon of one product, T / N rounded down. If nothing carries over
in the market (`NonStationary` with a "piecewise" path), every product is sold as if it were the only one. This is the
benchmark for policies that learn from product to product. It is also how a trained agent sells a sequence of products,
because its experience with products is in its weights. With one product this is the policy itself.

Regret: N times that of the inner policy over T / N periods.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.parts import product_order
from jaxprice.policies.wrappers import combinators
from jaxprice.types import Policy, Problem


@struct.dataclass
class State:
    """State of the inner policy; periods played, int scalar; the products; the problem of the seller of one product."""

    inner: Any
    time: jax.Array
    catalogue: product_order.Catalogue
    problem: Problem


@combinators.combinator
def per_product(policy, products=10):
    """A policy that restarts with each product.

    Args:
      policy: the inner policy.
      products: number of products N, an int of at least 1.

    Raises:
      ValueError: the argument is not a policy, or there are no products.
    """
    product_order.check(products)

    def init(key, problem):
        catalogue = product_order.catalogue(problem, products, "sequence", "per_product")
        told = dataclasses.replace(problem, horizon=jnp.asarray(problem.horizon, jnp.int32) // products)
        return State(policy.init(key, told), jnp.int32(0), catalogue, told)

    def act(key, state, observation):
        return policy.act(key, state.inner, observation)

    def update(key, state, transition):
        time = state.time + 1
        ends = state.catalogue.now(time) != state.catalogue.now(state.time)
        after = policy.update(key, state.inner, transition)
        fresh = policy.init(jax.random.fold_in(key, 1), state.problem.with_observation(transition.next_observation))
        return state.replace(inner=combinators.select(ends, fresh, after), time=time)

    return Policy(init, act, update, combinators.passed_on(policy, lambda state: state.inner))
