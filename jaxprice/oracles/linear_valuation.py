"""Linear valuation model: a buyer values the product at v = u + z, utility u = x'theta plus noise z ~ F; buys iff v >= p.

The optimal price maximises p (1 - F(p - u)) over p >= 0 (a negative price only loses). The first-order condition is
p = (1 - F(y)) / f(y), y = p - u. Its root is unique if 1 - F is log-concave.

| noise | scale | optimal price |
|---|---|---|
| logistic | s | s (1 + W(exp(u/s - 1))), W Lambert's function |
| gaussian | standard deviation s | root of p = s M((p - u)/s), M the Mills ratio (1 - Phi) / phi |
| uniform | half-width a, z in [-a, a] | max((u + a)/2, u - a); if u <= -a nobody buys: price 0 |
| mixture | standard deviations `[M]` | global maximum of p sum_j w_j (1 - Phi((p - u - l_j)/s_j)) |

Gaussian: with q = p/s and w = u/s, the function log q - log M(q - w) is increasing and concave, because M is log-convex.
Newton's method from below the root therefore increases to it. Two closed forms lie below the root: (w + sqrt(w^2 + 8))/4,
from Birnbaum's inequality M(y) > (sqrt(y^2 + 4) - y)/2, and w - sqrt(2 log(1 + w)) for w > 0.

Mixture: the revenue of each component increases before its own optimal price and decreases after it, so the best price lies
between the lowest and the highest of these. There may be several peaks. A grid over that interval, joined with a fine grid
around each component's mean, finds the sign changes of the derivative of log revenue. Bisection refines the M highest peaks.

Sources: A. Javanmard and H. Nazerzadeh (2019), "Dynamic pricing in high-dimensions", JMLR 20(9); Z. W. Birnbaum (1942), "An
inequality for Mill's ratio", doi:10.1214/aoms/1177731611.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxprice import checks
from jaxprice.numerics import wright_omega

NOISES = ("logistic", "gaussian", "uniform", "mixture")


def survival(
    noise: str,
    gap: Any,
    scale: Any,
    *,
    weights: Any = None,
    locations: Any = None,
) -> Float[Array | np.ndarray, "..."]:
    """Purchase probability P(z >= gap), where gap is the price minus the utility.

    Args:
      noise: "logistic", "gaussian", "uniform" or "mixture" (of Gaussians).
      gap: float `[...]`, in units of the price.
      scale: spread of the noise > 0 (see the table above), float scalar or `[...]`; for a mixture `[M]`.
      weights, locations: probabilities that sum to one, and means, of a mixture, float `[M]`.

    Returns:
      float `[...]`.

    Raises:
      ValueError: an unknown noise, a scale that is not positive, or arguments that do not match the noise.
    """
    _check(noise, scale, weights, locations)
    gap, scale, weights, locations = _floats(gap, scale, weights, locations)
    match noise:
        case "logistic":
            return jax.nn.sigmoid(-gap / scale)
        case "gaussian":
            return jax.scipy.special.ndtr(-gap / scale)
        case "uniform":
            return jnp.clip((scale - gap) / (2 * scale), 0.0, 1.0)
        case _:
            return jnp.vectorize(lambda x: jnp.sum(weights * jax.scipy.special.ndtr((locations - x) / scale)))(gap)


def optimal_price(
    utility: Any,
    noise: str,
    scale: Any,
    *,
    weights: Any = None,
    locations: Any = None,
) -> Float[Array | np.ndarray, "..."]:
    """The price with the largest expected revenue, at least zero.

    Args:
      utility: u, float `[...]`, in units of the price.
      noise, scale, weights, locations: as in `survival`.

    Returns:
      float `[...]`.

    Raises:
      ValueError: as in `survival`.
    """
    _check(noise, scale, weights, locations)
    utility, scale, weights, locations = _floats(utility, scale, weights, locations)
    match noise:
        case "logistic":
            return scale * (1 + wright_omega(utility / scale - 1))
        case "gaussian":
            return _gaussian_price(utility, scale)
        case "uniform":
            return jnp.maximum(jnp.maximum((utility + scale) / 2, utility - scale), 0.0)
        case _:
            return jnp.vectorize(lambda u: _mixture_price(u + locations, scale, weights))(utility)


def revenue(
    price: Any,
    utility: Any,
    noise: str,
    scale: Any,
    *,
    weights: Any = None,
    locations: Any = None,
) -> Float[Array | np.ndarray, "..."]:
    """Expected revenue of one buyer at `price` `[...]`, in its units, float `[...]`; the rest as in `optimal_price`."""
    return price * survival(noise, price - utility, scale, weights=weights, locations=locations)


def _gaussian_price(mean, scale):
    """Optimal price for normal valuations, all `[...]`."""
    w = mean / scale
    root = jnp.hypot(w, math.sqrt(8.0))
    birnbaum = jnp.where(w < 0, 2 / (root + jnp.abs(w)), (root + w) / 4)
    rise = jnp.maximum(w, 0.0)
    start = jnp.maximum(birnbaum, rise - jnp.sqrt(2 * jnp.log1p(rise)))

    def newton(_, q):
        y = q - w
        log_mills = _log_mills(y)
        slope = 1 / q - y + jnp.exp(-log_mills)
        return jnp.maximum(q - (jnp.log(q) - log_mills) / slope, start)

    return scale * jax.lax.fori_loop(0, 12, newton, start)


def _log_mills(y):
    """log((1 - Phi(y)) / phi(y)); above 5 by 24 levels of Laplace's continued fraction, where log_ndtr + y^2/2 cancels."""
    tail = jnp.maximum(y, 5.0)
    fraction = jax.lax.fori_loop(0, 24, lambda i, t: tail + (24 - i) / t, tail)
    low = jnp.minimum(y, 5.0)
    return jnp.where(y > 5, -jnp.log(fraction), jax.scipy.special.log_ndtr(-low) + low**2 / 2 + math.log(2 * math.pi) / 2)


def _mixture_price(means, scales, weights):
    """Optimal price if valuations are a mixture of normals; means, scales and weights `[M]`."""
    log_weights = jnp.log(weights)
    single = jnp.where(weights > 0, _gaussian_price(means, scales), jnp.nan)
    low, high = jnp.nanmin(single), jnp.nanmax(single)

    def log_revenue(price):
        return jnp.log(price) + jax.nn.logsumexp(log_weights + jax.scipy.special.log_ndtr((means - price) / scales))

    def rises(price):
        y = (price - means) / scales
        share = jax.nn.softmax(log_weights + jax.scipy.special.log_ndtr(-y))
        return 1 / price > jnp.sum(share * jnp.exp(-_log_mills(y)) / scales)  # compares 1/p with the hazard rate

    wide = low + (high - low) * jnp.linspace(0.0, 1.0, 257, dtype=means.dtype)
    near = means[:, None] + scales[:, None] * jnp.linspace(-8.0, 8.0, 129, dtype=means.dtype)[None]
    grid = jnp.sort(jnp.concatenate([wide, jnp.clip(near.ravel(), low, high)]))
    up = jax.vmap(rises)(grid).at[0].set(True).at[-1].set(False)
    height = jnp.where(up[:-1] & ~up[1:], jax.vmap(log_revenue)(grid)[:-1], -jnp.inf)
    _, cells = jax.lax.top_k(height, means.size)  # each cell contains a peak

    def halve(_, ends):
        left, right = ends
        middle = left + (right - left) / 2
        higher = jax.vmap(rises)(middle)
        return jnp.where(higher, middle, left), jnp.where(higher, right, middle)

    peaks, _ = jax.lax.fori_loop(0, 60, halve, (grid[cells], grid[cells + 1]))
    return peaks[jnp.argmax(jax.vmap(log_revenue)(peaks))]


def _floats(first, *others) -> list[Any]:
    """All arguments as arrays of the floating type of the first two; None stays None."""
    dtype = jnp.result_type(first, *(x for x in others if x is not None), float)
    return [None if x is None else jnp.asarray(x, dtype) for x in (first, *others)]


def _check(noise, scale, weights, locations):
    checks.choice("noise", noise, NOISES)
    checks.number("scale", scale, low=np.finfo(np.float32).tiny)
    if noise != "mixture":
        if weights is not None or locations is not None:
            raise ValueError(f"weights and locations belong to noise 'mixture', got noise {noise!r}")
        return
    shapes = [np.shape(x) for x in (weights, locations, scale)]
    if len(shapes[0]) != 1 or len(set(shapes)) > 1:
        raise ValueError(f"weights, locations and scale must all be [M] for a mixture, got shapes {shapes}")
    checks.number("locations", locations)
    checks.number("weights", weights, low=0, high=1)
    if not checks.is_traced(weights) and abs(np.sum(np.asarray(weights, float)) - 1) > 1e-3:
        raise ValueError(f"weights must add up to one, got {weights!r}")
