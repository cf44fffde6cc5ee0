"""Mixture: every period one of several policies is drawn and sets the price; all learn from the sale.

Policy i is drawn with probability w_i / sum_j w_j, anew every period, whatever happened before. Each acts and learns with
random numbers of its own. With one policy this is that policy.

All learn from prices that others set: sales add to what index policies and posteriors know. A policy that divides by the
probability with which it would have chosen the price itself (Exp3 and its kin) is then no longer unbiased. Mixed with
`random_price` a policy keeps exploring, as `restart_on` wants.

Regret: the mean of that of the policies, each in the company of the others. A policy of linear regret with weight w makes
the whole linear.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, random, samplers
from jaxprice.policies.wrappers import combinators
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The state of each policy."""

    each: tuple[Any, ...]


@combinators.combinator(kinds={"weights": "free"})
def mixture(*policies, weights=None):
    """A policy that plays one of several, drawn every period.

    Args:
      *policies: the policies, at least one.
      weights: relative probability of each, at least 0, not all 0; None: equal. Each may be traced.

    Raises:
      ValueError: no policy, a wrong number of weights, or a weight out of range.
    """
    count = len(policies)
    if not policies:
        raise ValueError("mixture takes at least one policy, got none")
    if weights is not None:
        shape = (len(weights),) if isinstance(weights, tuple) else np.shape(weights)
        if shape != (count,):
            raise ValueError(f"weights must be {count} numbers, one for each policy, got {weights!r}")
        for weight in weights:
            checks.number("weights", weight, low=0, scalar=True)
        if not checks.is_traced(weights) and not sum(map(float, weights)) > 0:
            raise ValueError(f"weights must not all be zero, got {weights!r}")

    def each(key):
        return [key] if count == 1 else [jax.random.fold_in(key, i) for i in range(count)]

    def init(key, problem):
        return State(tuple(policy.init(k, problem) for policy, k in zip(policies, each(key), strict=True)))

    def act(key, state, observation):
        actions = [p.act(k, s, observation) for p, k, s in zip(policies, each(key), state.each, strict=True)]
        if count == 1:
            return actions[0]
        shares = jnp.ones(count, jnp.float32) if weights is None else jnp.stack([jnp.float32(w) for w in weights])
        u = samplers.uniform(jax.random.bits(jax.random.fold_in(key, count), (), jnp.uint32))
        return jnp.stack([_plain(action) for action in actions])[random.choose(u, shares / jnp.sum(shares))]

    def update(key, state, transition):
        states = (p.update(k, s, transition) for p, k, s in zip(policies, each(key), state.each, strict=True))
        return State(tuple(states))

    return Policy(init, act, update)


def _plain(action):
    """The action as int32, float32 or bool."""
    action = jnp.asarray(action)
    kinds = {jnp.integer: jnp.int32, jnp.floating: jnp.float32}
    return next((action.astype(to) for kind, to in kinds.items() if jnp.issubdtype(action.dtype, kind)), action)
