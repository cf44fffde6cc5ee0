"""Doubly robust estimation with weights that are divided by their mean.

    v = (1/T) sum_t sum_a target(a | x_t) q(x_t, a)  +  sum_t w_t (r_t - q(x_t, a_t)) / sum_t w_t

Source: Robins, Sued, Lei-Gomez, Rotnitzky (2007), doi:10.1214/07-STS227D; for policies Kallus, Uehara (2019), Intrinsically
efficient, stable, and bounded off-policy evaluation for reinforcement learning, NeurIPS, arXiv:1906.03735.
"""

from jax import Array
from jaxtyping import Float

from jaxprice.ope.estimate import Estimate, ratio
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.weights import at_action, checked_model, expectation, importance_weights


def self_normalised_dr(
    log: DecisionLog, target: Float[Array, "..."], model: Float[Array, "... T A"], *, allow_missing: bool = False
) -> Estimate:
    """The self-normalised doubly robust estimate, with the influence of the delta method.

    Args:
      log, target, model, allow_missing: as for `doubly_robust`.

    Raises:
      ValueError: the target or the model does not fit the log, or the target lacks support.
    """
    weights, model = importance_weights(log, target, allow_missing=allow_missing), checked_model(log, model)
    return ratio(weights * (log.reward - at_action(log, model)), weights, shift=expectation(target, model))
