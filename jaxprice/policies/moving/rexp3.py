"""Rexp3: Exp3 that restarts every D periods, for mean rewards whose total variation V is known but not its path.

In periods 0 to D - 1, D to 2 D - 1, ... `exp3` starts anew, with its mixing tuned to D periods. There are K arms. The budget
V bounds the sum over time of the largest change of a mean reward (as a share of the largest margin).

    D = ceil((K log K)^(1/3) (T / V)^(2/3)),      g = min(1, sqrt(K log K / ((e - 1) D))).

Regret against the best arm of each period: of order (K log K V)^(1/3) T^(2/3), optimal up to the logarithm, for V between 1
/ K and T / K.

Source: O. Besbes, Y. Gur, A. Zeevi (2014), "Stochastic multi-armed-bandit problem with non-stationary rewards", Advances in
Neural Information Processing Systems 27.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import exponential
from jaxprice.policies.registry import policy_maker


class Rates(NamedTuple):
    """Mixing g, float scalar, and number D of periods between restarts, int scalar."""

    mixing: jax.Array
    batch: jax.Array


@policy_maker(
    source="Besbes, Gur and Zeevi (2014)",
    regret="(V K log K)^(1/3) T^(2/3), V the variation",
    feedback="reward",
)
def rexp3(batch=None, mixing=None, variation=1.0):
    """Rexp3.

    Args:
      batch: number D of periods between restarts, at least 1, rounded up; may be traced. By default tuned to horizon and
        variation.
      mixing: probability of a uniformly random arm, in (0, 1]; may be traced. By default tuned to the batch.
      variation: the budget V to which the default batch is tuned, above 0; may be traced.

    Raises:
      ValueError: a number out of range.
    """
    if batch is not None:
        checks.number("batch", batch, low=1, high=2**30)
    if mixing is not None:
        checks.number("mixing", mixing, low=1e-9, high=1)
    checks.number("variation", variation, low=1e-6)

    def tune(size, horizon):
        effort = size * exponential.log_size(size)
        tuned = jnp.minimum(effort ** (1 / 3) * (horizon / variation) ** (2 / 3), horizon)
        periods = jnp.maximum(jnp.ceil(exponential.given_or(batch, tuned)), 1.0)
        best = jnp.minimum(1.0, jnp.sqrt(effort / ((math.e - 1) * periods)))
        return Rates(exponential.given_or(mixing, best), periods.astype(jnp.int32))

    def learn(state, action, x):
        size = state.probabilities.shape[0]
        gain = state.rates.mixing * x / (state.probabilities[action] * size)
        fresh = (state.time + 1) % state.rates.batch == 0
        return jnp.where(fresh, 0.0, state.log_weights.at[action].add(gain))

    return exponential.weights_policy("rexp3", tune, learn)
