"""Exp3: exponential weights on importance-weighted rewards, for adversarial bandits.

With K arms, gains x in [0, 1] and mixing g, arm k is played with probability

    q_k = (1 - g) exp(G_k g / K) / sum_j exp(G_j g / K) + g / K,      G_k = sum of x / q_k over the pulls of k.

Gains are rewards divided by the largest margin, clipped to [0, 1] (`exponential`). Learning from demand would change
nothing, because gains must be comparable between arms. The default mixing g = min(1, sqrt(K log K / ((e - 1) T))) needs the
horizon T.

Regret against the best fixed arm: at most 2 sqrt(e - 1) sqrt(T K log K) = 2.63 sqrt(T K log K).

Source: P. Auer, N. Cesa-Bianchi, Y. Freund, R. E. Schapire (2002), "The nonstochastic multiarmed bandit problem",
doi:10.1137/S0097539701398375, section 3.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import exponential
from jaxprice.policies.registry import policy_maker


class Rates(NamedTuple):
    """Mixing g, float scalar."""

    mixing: jax.Array


@policy_maker(source="Auer et al. (2002)", regret="sqrt(K T log K)", feedback="reward")
def exp3(mixing=None):
    """Exp3.

    Args:
      mixing: probability of a uniformly random arm, in (0, 1]; may be traced. By default tuned to the horizon.

    Raises:
      ValueError: a mixing out of range.
    """
    if mixing is not None:
        checks.number("mixing", mixing, low=1e-9, high=1)

    def tune(size, horizon):
        tuned = jnp.sqrt(size * exponential.log_size(size) / ((math.e - 1) * horizon))
        return Rates(exponential.given_or(mixing, jnp.minimum(1.0, tuned)))

    def learn(state, action, x):
        gain = x / state.probabilities[action]
        return state.log_weights.at[action].add(state.rates.mixing * gain / state.probabilities.shape[0])

    return exponential.weights_policy("exp3", tune, learn)
