"""Kernel inverse propensity scoring, for prices from an interval.

    v = (1/T) sum_t K((target(x_t) - p_t) / h) r_t / (h f_t),      f_t: the density with which the log posted p_t

A logged price equals the target's with probability zero, so prices within the bandwidth `h` count, with kernel weights. The
bias is of order `h^2` (the curvature of the reward in the price), the variance of order `1 / (T h)`; the mean squared error
is smallest with `h` of order `T^(-1/5)`. The intervals leave out the bias, so they hold only if `h` is clearly smaller.

Source: Kallus, Zhou (2018), Policy evaluation and optimization with continuous treatments, AISTATS, arXiv:1802.06037, which
also has the self-normalised form.
"""

from jax import Array
from jaxtyping import Float

from jaxprice.ope.estimate import Estimate, mean, ratio
from jaxprice.ope.estimators.kernels import kernel_weights
from jaxprice.ope.log import DecisionLog


def kernel_ips(
    log: DecisionLog,
    price: Float[Array, "... T"],
    *,
    bandwidth: Float[Array, "..."] | float | None = None,
    kernel: str = "epanechnikov",
    support: tuple[float, float] | None = None,
    self_normalised: bool = False,
) -> Estimate:
    """The kernel estimate of the value of posting `price`.

    Args:
      log: logs `[..., T]` whose propensities are densities.
      price: the price of the target at each decision, `[..., T]`.
      bandwidth: in units of the price, scalar or one a log, `[...]`; None takes Silverman's rule.
      kernel: "epanechnikov", "gaussian" or "box".
      support: ends of the price interval; the kernel is normalised inside it.
      self_normalised: divide by the mean weight.

    Raises:
      ValueError: the log has a price grid, shapes differ, or a price lies outside `support`.
    """
    weights = kernel_weights(log, price, bandwidth, kernel, support)
    return ratio(weights * log.reward, weights) if self_normalised else mean(weights * log.reward)
