"""Mixture: in every period one of several policies is drawn and sets the price; all of them learn from the sale.

Policy i is drawn with probability w_i / sum_j w_j, independently in every period. Each policy has its own random numbers.
With one policy this is that policy.

All policies learn from prices that others set; the sales add to the data of index policies and posteriors. A policy that
divides by its own probability of the price (Exp3 and its variants) is then no longer unbiased. In a mixture with
`random_price` a policy keeps exploring, as `restart_on` needs.

Regret: the weighted mean of the regrets of the policies, each in the presence of the others. If a policy with positive
weight has linear regret, so has the mixture.
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
      ValueError: there is no policy, the number of weights is wrong, or a weight is out of range.
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
        u = samplers.uniform(jax.random.bits(jax.random.fold_in(key, count), (), jnp.uint32))
        return jnp.stack([_plain(action) for action in actions])[random.choose(u, shares())]

    def shares():
        """The probability of each policy."""
        relative = jnp.ones(count, jnp.float32) if weights is None else jnp.stack([jnp.float32(w) for w in weights])
        return relative / jnp.sum(relative)

    def probabilities(state, observation):
        laws = [p.probabilities(s, observation) for p, s in zip(policies, state.each, strict=True)]
        if callable(laws[0]):
            return lambda price: jnp.sum(shares() * jnp.stack([law(price) for law in laws]))
        return jnp.sum(shares()[:, None] * jnp.stack(laws), axis=0)

    def update(key, state, transition):
        states = (p.update(k, s, transition) for p, k, s in zip(policies, each(key), state.each, strict=True))
        return State(tuple(states))

    known = all(policy.probabilities is not None for policy in policies)
    return Policy(init, act, update, probabilities if known else None)


def _plain(action):
    """The action as int32, float32 or bool."""
    action = jnp.asarray(action)
    kinds = {jnp.integer: jnp.int32, jnp.floating: jnp.float32}
    return next((action.astype(to) for kind, to in kinds.items() if jnp.issubdtype(action.dtype, kind)), action)
