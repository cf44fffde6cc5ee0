"""Inverse propensity scoring: rewards weighted by how much more often the target takes the logged action.

    v = (1/T) sum_t w_t r_t,      w_t = target(a_t | x_t) / propensity_t

It is unbiased if the propensities are right and there is overlap. Its variance grows with the weights.

Sources: Horvitz, Thompson (1952), doi:10.1080/01621459.1952.10483446. Strehl, Langford, Li, Kakade (2010), Learning from
logged implicit exploration data, arXiv:1003.0120.
"""

from jax import Array
from jaxtyping import Float

from jaxprice.ope.estimate import Estimate, mean
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.weights import importance_weights


def ips(log: DecisionLog, target: Float[Array, "..."], *, allow_missing: bool = False) -> Estimate:
    """The estimate of inverse propensity scoring.

    Args:
      log: logs `[..., T]`.
      target: action probabilities `[..., T, num_actions]` or `[num_actions]`; for prices from an interval, the target's
        density at the logged price, `[..., T]`.
      allow_missing: count the part of the target without support as reward 0 instead of refusing it.

    Raises:
      ValueError: the target does not fit the log or lacks support.
    """
    return mean(importance_weights(log, target, allow_missing=allow_missing) * log.reward)
