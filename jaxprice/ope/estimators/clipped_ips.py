"""Inverse propensity scoring with clipped weights.

    v = (1/T) sum_t min(w_t, clip) r_t

Clipping bounds the terms and so the variance. If rewards are not negative, the estimate is biased downwards, by the mean
of `max(w_t - clip, 0) r_t`.

Sources: Ionides (2008), Truncated importance sampling, doi:10.1198/106186008X320456. Bottou et al. (2013), Counterfactual
reasoning and learning systems, JMLR 14, 3207-3260, arXiv:1209.2355.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice import checks
from jaxprice.ope.estimate import Estimate, mean
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.weights import importance_weights


def clipped_ips(log: DecisionLog, target: Float[Array, "..."], clip: float = 10.0) -> Estimate:
    """The estimate with weights of at most `clip`. A target without full support is accepted, as clipping is biased anyway.

    Args:
      log: logs `[..., T]`.
      target: see `ips`.
      clip: largest weight, at least 0; may be traced.

    Raises:
      ValueError: the target does not fit the log, or `clip` is negative.
    """
    checks.number("clip", clip, low=0.0)
    return mean(jnp.minimum(importance_weights(log, target, allow_missing=True), clip) * log.reward)
