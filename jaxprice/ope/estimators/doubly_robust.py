"""Doubly robust estimation: a model's prediction for the target, corrected by the weighted errors of the model.

    v = (1/T) sum_t [ sum_a target(a | x_t) q(x_t, a) + w_t (r_t - q(x_t, a_t)) ]

It is unbiased if the propensities are right or the model is, with overlap. The better the model, the smaller the variance.
The model of a decision must not be fitted on that decision: see the folds of `ope.reward_model`.

Sources: Robins, Rotnitzky, Zhao (1994), doi:10.1080/01621459.1994.10476818. Dudik, Langford, Li (2011), Doubly robust policy
evaluation and learning, ICML, arXiv:1103.4601; Dudik, Erhan, Langford, Li (2014), doi:10.1214/14-STS500.
"""

from jax import Array
from jaxtyping import Float

from jaxprice.ope.estimate import Estimate, mean
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.weights import at_action, checked_model, expectation, importance_weights


def doubly_robust(
    log: DecisionLog, target: Float[Array, "..."], model: Float[Array, "... T A"], *, allow_missing: bool = False
) -> Estimate:
    """The doubly robust estimate.

    Args:
      log: logs `[..., T]`.
      target: action probabilities `[..., T, num_actions]` or `[num_actions]`.
      model: predicted rewards, `[..., T, num_actions]`.
      allow_missing: trust the model where the target has no support, instead of refusing.

    Raises:
      ValueError: the target or the model does not fit the log, or the target lacks support.
    """
    weights, model = importance_weights(log, target, allow_missing=allow_missing), checked_model(log, model)
    return mean(expectation(target, model) + weights * (log.reward - at_action(log, model)))
