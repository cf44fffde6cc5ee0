"""Self-normalised inverse propensity scoring.

    v = sum_t w_t r_t / sum_t w_t

The value stays inside the range of the rewards and does not change if a constant is added to all of them. It is biased by
O(1/T), mostly less variable than `ips`, and NaN if all weights are 0.

Source: Swaminathan, Joachims (2015), The self-normalized estimator for counterfactual learning, NeurIPS.
"""

from jax import Array
from jaxtyping import Float

from jaxprice.ope.estimate import Estimate, ratio
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.weights import importance_weights


def snips(log: DecisionLog, target: Float[Array, "..."], *, allow_missing: bool = False) -> Estimate:
    """The self-normalised estimate, with the influence of the delta method.

    Args:
      log: logs `[..., T]`.
      target: see `ips`.
      allow_missing: leave out the part of the target without support instead of refusing it.

    Raises:
      ValueError: the target does not fit the log or lacks support.
    """
    weights = importance_weights(log, target, allow_missing=allow_missing)
    return ratio(weights * log.reward, weights)
