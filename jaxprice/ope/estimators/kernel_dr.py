"""Doubly robust estimation with kernel weights, for prices from an interval.

    v = (1/T) sum_t [ q(x_t, target(x_t)) + K((target(x_t) - p_t) / h) (r_t - q(x_t, p_t)) / (h f_t) ]

The residual is taken at the posted price, so the bias is the curvature of the model's error instead of the reward's.

Source: Kallus, Zhou (2018), Policy evaluation and optimization with continuous treatments, AISTATS, arXiv:1802.06037.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice.ope.estimate import Estimate, mean, ratio
from jaxprice.ope.estimators.kernels import kernel_weights
from jaxprice.ope.log import DecisionLog


def kernel_dr(
    log: DecisionLog,
    price: Float[Array, "... T"],
    model: tuple[Float[Array, "... T"], Float[Array, "... T"]],
    *,
    bandwidth: Float[Array, "..."] | float | None = None,
    kernel: str = "epanechnikov",
    support: tuple[float, float] | None = None,
    self_normalised: bool = False,
) -> Estimate:
    """The doubly robust kernel estimate of the value of posting `price`.

    Args:
      log, price, bandwidth, kernel, support, self_normalised: as for `kernel_ips`.
      model: predicted rewards at the target's prices and at the logged prices, each `[..., T]`; see `ope.price_model`.

    Raises:
      ValueError: the log has a price grid, shapes differ, or a price lies outside `support`.
    """
    weights = kernel_weights(log, price, bandwidth, kernel, support)
    at_target, at_logged = (jnp.asarray(part) for part in model)
    if at_target.shape != log.shape or at_logged.shape != log.shape:
        raise ValueError(
            f"model must be two arrays {list(log.shape)}, got {list(at_target.shape)} and {list(at_logged.shape)}"
        )
    residual = weights * (log.reward - at_logged)
    return ratio(residual, weights, shift=at_target) if self_normalised else mean(at_target + residual)
