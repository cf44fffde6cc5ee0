"""Kernels that spread a target price over the prices around it.

A kernel `K` integrates to 1. Near the ends of the price interval part of it lies outside, where nothing was logged; there it
is divided by the part inside, `F((high - p) / h) - F((low - p) / h)` with the distribution function `F` of `K`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice import checks
from jaxprice.ope.log import DecisionLog


class Kernel(NamedTuple):
    """A density around 0, its distribution function, and its bandwidth in that of a Gaussian with the same smoothing."""

    density: Callable[[Array], Array]
    below: Callable[[Array], Array]
    canonical: float


def _epanechnikov_below(u):
    u = jnp.clip(u, -1.0, 1.0)
    return 0.5 + 0.75 * u - 0.25 * u**3


def named(name: str) -> Kernel:
    """The kernel "box", "epanechnikov" (both on [-1, 1]) or "gaussian".

    Raises:
      ValueError: another name.
    """
    known = {
        "box": Kernel(lambda u: jnp.where(jnp.abs(u) <= 1, 0.5, 0.0), lambda u: 0.5 + 0.5 * jnp.clip(u, -1.0, 1.0), 1.740),
        "epanechnikov": Kernel(lambda u: 0.75 * jnp.maximum(1 - u**2, 0.0), _epanechnikov_below, 2.214),
        "gaussian": Kernel(lambda u: jnp.exp(-0.5 * u**2) / math.sqrt(2 * math.pi), jax.scipy.stats.norm.cdf, 1.0),
    }
    return known[checks.choice("kernel", name, known)]


def default_bandwidth(log: DecisionLog, kernel: str) -> Float[Array, "..."]:
    """Silverman's rule: 1.06 standard deviations of the logged prices times `T^(-1/5)`, scaled to the kernel, `[...]`.

    Scaling: Marron, Nolan (1988), Canonical kernels for density estimation, doi:10.1016/0167-7152(88)90050-8.
    """
    return 1.06 * named(kernel).canonical * jnp.std(log.price, axis=-1) * log.shape[-1] ** -0.2


def kernel_weights(
    log: DecisionLog,
    price: Float[Array, "... T"],
    bandwidth: Float[Array, "..."] | float | None,
    kernel: str,
    support: tuple[float, float] | None,
) -> Float[Array, "... T"]:
    """`K((price - logged price) / h) / (h propensity)`, normalised inside `support`.

    Raises:
      ValueError: the log has no densities, `price` has another shape or lies outside `support`, or the bandwidth is not
        positive.
    """
    if log.discrete:
        raise ValueError("log has a price grid; kernel estimators need prices from an interval and densities, use ips")
    price = jnp.asarray(price)
    if price.shape != log.shape:
        raise ValueError(f"price must have shape {list(log.shape)} as the log, got {list(price.shape)}; see ope.target")
    if bandwidth is None:
        bandwidth = default_bandwidth(log, kernel)
    elif not checks.is_traced(bandwidth) and not bool(jnp.all(jnp.asarray(bandwidth) > 0)):
        raise ValueError(f"bandwidth must be above 0, got {checks.shown(bandwidth)}")
    shape = named(kernel)
    width = jnp.broadcast_to(jnp.asarray(bandwidth, price.dtype)[..., None], log.shape)
    weights = shape.density((price - log.price) / width) / (width * log.propensity)
    if support is None:
        return weights
    low, high = support
    if not checks.is_traced(price) and not bool(jnp.all((price >= low) & (price <= high))):
        raise ValueError(f"price must lie in support=[{low}, {high}], got prices in [{price.min():g}, {price.max():g}]")
    return weights / (shape.below((high - price) / width) - shape.below((low - price) / width))
