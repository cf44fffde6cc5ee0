"""Exp3.S: Exp3 that shares a little weight among all arms in every period, so that it can track a changing best arm.

With K arms, gains x in [0, 1], mixing g and sharing a, all weights w_k start at one. Arm i is drawn with probability q_i,
where q_k = (1 - g) w_k / W + g / K and W is the sum of all weights. Then

    w_k <- w_k exp(g x / (q_k K) 1{k = i}) + (e a / K) W.

The share of an arm in the total weight never falls below about e a / K, and it recovers from there in time log(1 / a). With
a = 0 this is `exp3`. The default is a = 1 / T and, for gains whose best arm is constant over S stretches of time,

    g = min(1, sqrt(K (S log(K T) + e) / ((e - 1) T))).

Regret against the best sequence of arms with S stretches: at most 2 sqrt(e - 1) sqrt(K T (S log(K T) + e)).

Source: P. Auer, N. Cesa-Bianchi, Y. Freund, R. E. Schapire (2002), "The nonstochastic multiarmed bandit problem",
doi:10.1137/S0097539701398375, section 8.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import exponential
from jaxprice.policies.registry import policy_maker

NOTHING = 1e-37  # smallest share, which keeps the logarithms of weights finite


class Rates(NamedTuple):
    """Mixing g, and the share of the total weight that each arm receives, e a / K; float scalars."""

    mixing: jax.Array
    share: jax.Array


@policy_maker(
    source="Auer et al. (2002)",
    regret="sqrt(S K T log(K T)), S stretches",
    feedback="reward",
)
def exp3_s(mixing=None, sharing=None, stretches=2.0):
    """Exp3.S.

    Args:
      mixing: probability g of a uniformly random arm, in (0, 1]; may be traced. By default tuned to the horizon.
      sharing: the a above, in [0, 1]; may be traced. By default one over the horizon.
      stretches: number S of stretches that the default mixing is tuned to, at least 1; may be traced.

    Raises:
      ValueError: a number out of range.
    """
    if mixing is not None:
        checks.number("mixing", mixing, low=1e-9, high=1)
    if sharing is not None:
        checks.number("sharing", sharing, low=0, high=1)
    checks.number("stretches", stretches, low=1)

    def tune(size, horizon):
        hardness = stretches * (exponential.log_size(size) + jnp.log(horizon)) + math.e
        tuned = jnp.minimum(1.0, jnp.sqrt(size * hardness / ((math.e - 1) * horizon)))
        share = exponential.given_or(sharing, 1 / horizon) * (math.e / size)
        return Rates(exponential.given_or(mixing, tuned), jnp.maximum(share, NOTHING))

    def learn(state, action, x):
        size = state.probabilities.shape[0]
        raised = state.log_weights.at[action].add(state.rates.mixing * x / (state.probabilities[action] * size))
        largest = jnp.max(raised)
        share = state.rates.share * jnp.sum(jnp.exp(state.log_weights)) * jnp.exp(jnp.minimum(-largest, 80.0))
        return jnp.log(jnp.maximum(jnp.exp(raised - largest) + share, NOTHING))

    return exponential.weights_policy("exp3_s", tune, learn)
