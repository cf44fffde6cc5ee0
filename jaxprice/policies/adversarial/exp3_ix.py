"""Exp3-IX: exponential weights on loss estimates with implicit exploration, so that no mixing is needed.

With losses 1 - x, where x in [0, 1] are the gains of `exponential`, arm k is played with probability

    q_k = exp(-eta L_k) / sum_j exp(-eta L_j),      L_k = sum of (1 - x) / (q_k + g) over the pulls of k.

The term g > 0 in the denominator makes each estimate slightly too small and bounds it by 1 / g. This explores as mixing
would, at a lower cost, and bounds the regret with high probability. Both parameters are tuned to the horizon T:
eta = sqrt(2 log K / (K T)) and g = eta / 2.

Regret against the best fixed arm: at most 2 sqrt(2 K T log K) + (sqrt(2 K T / log K) + 1) log(2 / d) with probability 1 - d.

Source: G. Neu (2015), "Explore no more: improved high-probability regret bounds for non-stochastic bandits",
arXiv:1506.03271, theorem 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import exponential
from jaxprice.policies.registry import policy_maker


class Rates(NamedTuple):
    """Learning rate eta, implicit exploration g, and zero mixing; float scalars."""

    eta: jax.Array
    implicit: jax.Array
    mixing: jax.Array


@policy_maker(source="Neu (2015)", regret="sqrt(K T log K), with high probability", feedback="reward")
def exp3_ix(eta=None, implicit=None):
    """Exp3-IX.

    Args:
      eta: learning rate, above 0; may be traced. By default tuned to the horizon.
      implicit: implicit exploration g, above 0; may be traced. By default half of `eta`.

    Raises:
      ValueError: a number out of range.
    """
    if eta is not None:
        checks.number("eta", eta, low=1e-9)
    if implicit is not None:
        checks.number("implicit", implicit, low=1e-9)

    def tune(size, horizon):
        rate = exponential.given_or(eta, jnp.sqrt(2 * exponential.log_size(size) / (size * horizon)))
        return Rates(rate, exponential.given_or(implicit, rate / 2), jnp.float32(0))

    def learn(state, action, x):
        loss = (1 - x) / (state.probabilities[action] + state.rates.implicit)
        return state.log_weights.at[action].add(-state.rates.eta * loss)

    return exponential.weights_policy("exp3_ix", tune, learn)
