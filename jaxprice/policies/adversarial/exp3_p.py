"""Exp3.P: Exp3 on optimistic gains, with small regret in high probability and not only on average.

With K arms, gains x in [0, 1], horizon T and mixing g, arm i is drawn with probability q_i, where
q_k = (1 - g) w_k / W + g / K and W is the sum of the weights. Then

    w_k <- w_k exp(g / (3 K) (x / q_k 1{k = i} + a / (q_k sqrt(K T)))).

The second term bounds how far the sum of estimates can be below the gains. All weights start equal (so do the published
ones, at another value). The default parameters are a = 2 sqrt(log(K T / d)) and g = min(3/5, 2 sqrt(3/5 K log K / T)).

Regret against the best fixed arm: with probability 1 - d at most 4 sqrt(K T log(K T / d)) + 4 sqrt(5/3 K T log K)
+ 8 log(K T / d).

Source: P. Auer, N. Cesa-Bianchi, Y. Freund, R. E. Schapire (2002), "The nonstochastic multiarmed bandit problem",
doi:10.1137/S0097539701398375, section 6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import exponential
from jaxprice.policies.registry import policy_maker


class Rates(NamedTuple):
    """Mixing g, and a / sqrt(K T); float scalars."""

    mixing: jax.Array
    bonus: jax.Array


@policy_maker(
    source="Auer et al. (2002)",
    regret="sqrt(K T log(K T)), with high probability",
    feedback="reward",
)
def exp3_p(mixing=None, optimism=None, failure=0.05):
    """Exp3.P.

    Args:
      mixing: probability g of a uniformly random arm, in (0, 1]; may be traced. By default tuned to the horizon.
      optimism: the a above, at least 0; may be traced. By default tuned to horizon and `failure`.
      failure: probability d with which the bound may fail, in (0, 1]; may be traced.

    Raises:
      ValueError: a number out of range.
    """
    if mixing is not None:
        checks.number("mixing", mixing, low=1e-9, high=1)
    if optimism is not None:
        checks.number("optimism", optimism, low=0)
    checks.number("failure", failure, low=1e-30, high=1)

    def tune(size, horizon):
        tuned = 2 * jnp.sqrt(3 / 5 * size * exponential.log_size(size) / horizon)
        confidence = exponential.log_size(size) + jnp.log(horizon) - jnp.log(jnp.asarray(failure, jnp.float32))
        bonus = exponential.given_or(optimism, 2 * jnp.sqrt(confidence)) / jnp.sqrt(size * horizon)
        return Rates(exponential.given_or(mixing, jnp.minimum(3 / 5, tuned)), bonus)

    def learn(state, action, x):
        inverse = 1 / state.probabilities
        gains = (state.rates.bonus * inverse).at[action].add(x * inverse[action])
        return state.log_weights + state.rates.mixing / (3 * state.probabilities.shape[0]) * gains

    return exponential.weights_policy("exp3_p", tune, learn)
