"""Direct method: the mean over decisions of the reward that a model predicts for the target.

    v = (1/T) sum_t sum_a target(a | x_t) q(x_t, a)

It needs no propensities and has little variance. It is as biased as the model is.

With predictions `q` that were computed elsewhere, the influence is that of the contexts alone, as in Open Bandit Pipeline:
the interval leaves out the error of the model and is too short if the model was fitted on the same log. With a function
from weights of decisions to predictions, the influence goes through the fit (infinitesimal jackknife), so the interval
includes the noise of the fit; not its misspecification.

Source: Beygelzimer, Langford (2009), The offset tree for learning with partial labels, arXiv:0812.4044; the name is from
Dudik, Langford, Li (2011), arXiv:1103.4601.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice.ope.estimate import Estimate, by_gradient, mean
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.target import checked_target
from jaxprice.ope.weights import checked_model, expectation


def direct_method(
    log: DecisionLog, target: Float[Array, "..."], model: Float[Array, "..."] | Callable[[Array], Array]
) -> Estimate:
    """The estimate of the direct method.

    Args:
      log: logs `[..., T]`.
      target: action probabilities `[..., T, num_actions]` or `[num_actions]`.
      model: predicted rewards `[..., T, num_actions]`; or a function from weights `[..., T]` to them, such as
        `lambda w: ope.reward_model(log, folds=1, weights=w)`.

    Raises:
      ValueError: the target or the model does not fit the log.
    """
    target = checked_target(log, target)
    if not callable(model):
        return mean(expectation(target, checked_model(log, model)))

    def value(weights):
        predicted = expectation(target, checked_model(log, model(weights)))
        return jnp.sum(weights * predicted, axis=-1) / jnp.sum(weights, axis=-1)

    return by_gradient(value, jnp.ones(log.shape, log.reward.dtype))
