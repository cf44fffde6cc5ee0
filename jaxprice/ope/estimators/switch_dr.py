"""Switch-DR: doubly robust where the weight is small, the model alone where it is large.

    v = (1/T) sum_t [ sum_a target(a | x_t) q(x_t, a) + w_t 1{w_t <= threshold} (r_t - q(x_t, a_t)) ]

A threshold of 0 gives the direct method, an infinite one gives `doubly_robust`.

Source: Wang, Agarwal, Dudik (2017), Optimal and adaptive off-policy evaluation in contextual bandits, ICML,
arXiv:1612.01205.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice import checks
from jaxprice.ope.estimate import Estimate, mean
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.weights import at_action, checked_model, expectation, importance_weights


def switch_dr(
    log: DecisionLog, target: Float[Array, "..."], model: Float[Array, "... T A"], threshold: float = 10.0
) -> Estimate:
    """The estimate of Switch-DR. A target without full support is accepted: there the model alone speaks.

    Args:
      log, target, model: as for `doubly_robust`.
      threshold: largest weight that is used, at least 0; may be traced.

    Raises:
      ValueError: the target or the model does not fit the log, or the threshold is negative.
    """
    checks.number("threshold", threshold, low=0.0)
    weights, model = importance_weights(log, target, allow_missing=True), checked_model(log, model)
    used = jnp.where(weights <= threshold, weights, 0.0)
    return mean(expectation(target, model) + used * (log.reward - at_action(log, model)))
