"""Per-decision importance sampling, for markets with state.

    v = (1/E) sum_e sum_t discount^t W_et r_et,      W_et = w_e0 w_e1 ... w_et

A reward is weighted by the decisions that led to it, not by those that follow. It is unbiased for any dynamics, also if the
state is not seen in full. Its variance grows exponentially with the horizon. The self-normalised form divides the rewards
of each period by the mean of that period's weights; it is consistent and far less variable.

Source: Precup, Sutton, Singh (2000), Eligibility traces for off-policy policy evaluation, ICML, 759-766.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice.ope.estimate import Estimate, mean
from jaxprice.ope.estimators.horizons import check_horizons, discounts
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.weights import importance_weights


def per_decision(
    log: DecisionLog,
    target: Float[Array, "..."],
    *,
    discount: float = 1.0,
    self_normalised: bool = False,
    allow_missing: bool = False,
) -> Estimate:
    """The estimate of per-decision importance sampling.

    Args:
      log: logs `[..., E, T]`.
      target: action probabilities `[..., E, T, num_actions]` or `[num_actions]`.
      discount: discount factor of a period.
      self_normalised: divide the weights of each period by their mean over horizons. A period whose weights are all 0
        counts as reward 0.
      allow_missing: count the part of the target without support as reward 0 instead of refusing it.

    Returns:
      The estimate, with one term for each horizon, `[..., E]`.

    Raises:
      ValueError: the log has no horizons, or the target does not fit the log or lacks support.
    """
    check_horizons(log, discount)
    weights = jnp.cumprod(importance_weights(log, target, allow_missing=allow_missing), axis=-1)
    rewards = log.reward * discounts(log, discount)
    if not self_normalised:
        return mean(jnp.sum(weights * rewards, axis=-1))
    level = jnp.mean(weights, axis=-2, keepdims=True)
    weights = weights / jnp.where(level > 0, level, 1.0)
    average = jnp.mean(weights * rewards, axis=-2, keepdims=True)
    influence = jnp.sum(weights * (rewards - average), axis=-1)
    return Estimate(jnp.sum(average[..., 0, :], axis=-1), jnp.sum(weights * rewards, axis=-1), influence, independent=False)
