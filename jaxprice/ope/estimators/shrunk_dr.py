"""Doubly robust estimation with optimistic shrinkage of the weights (DRos).

    v = (1/T) sum_t [ sum_a target(a | x_t) q(x_t, a) + s_t (r_t - q(x_t, a_t)) ]
    s_t = shrinkage w_t / (w_t^2 + shrinkage)

The weights `s_t` minimise a bound on the mean squared error. They are at most `sqrt(shrinkage) / 2`. A shrinkage parameter
of 0 gives the direct method; as it grows, the estimate tends to `doubly_robust`.

Source: Su, Dimakopoulou, Krishnamurthy, Dudik (2020), Doubly robust off-policy evaluation with shrinkage, ICML,
arXiv:1907.09623.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice import checks
from jaxprice.ope.estimate import Estimate, mean
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.weights import at_action, checked_model, expectation, importance_weights


def shrunk_dr(
    log: DecisionLog, target: Float[Array, "..."], model: Float[Array, "... T A"], shrinkage: float = 100.0
) -> Estimate:
    """The estimate with shrunk weights. A target without full support is accepted: there the model alone speaks.

    Args:
      log, target, model: as for `doubly_robust`.
      shrinkage: at least 0 and finite, in units of squared weights; may be traced. Smaller means more trust in the model.

    Raises:
      ValueError: the target or the model does not fit the log, or `shrinkage` is negative or not finite.
    """
    checks.number("shrinkage", shrinkage, low=0.0)
    weights, model = importance_weights(log, target, allow_missing=True), checked_model(log, model)
    below = jnp.square(weights) + shrinkage
    shrunk = jnp.where(below > 0, shrinkage * weights / jnp.where(below > 0, below, 1.0), 0.0)
    return mean(expectation(target, model) + shrunk * (log.reward - at_action(log, model)))
