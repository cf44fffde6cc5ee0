"""Lambert's W: the solution w >= -1 of w exp(w) = x. Optimal logit prices are formulas in this function.

There are three ranges. Each is solved by a fixed small number of steps, accurate to a few rounding units:

| range | equation | method |
|---|---|---|
| -1/e <= x < -1/4 | (s - 1) exp(s) + 1 = e x + 1, w = s - 1 | Newton from above; no cancellation at the branch point |
| -1/4 <= x <= 1 | w exp(w) = x | Halley; small x keep their relative precision |
| x > 1 | w + log w = log x | `numerics.wright_omega` |

Below -1/e there is no real solution: NaN. If only log x is known, or x would overflow, use `numerics.wright_omega(log x)`.

Source: R. M. Corless, G. H. Gonnet, D. E. G. Hare, D. J. Jeffrey and D. E. Knuth (1996), "On the Lambert W function",
doi:10.1007/BF02124750.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from jaxprice.numerics import wright_omega

INVERSE_E = 0.36787944117144233  # 1/e = INVERSE_E + INVERSE_E_REST
INVERSE_E_REST = -1.2428753672788363e-17


@jax.custom_jvp
def lambert_w(x: Num[ArrayLike, "*n"]) -> Float[Array, "*n"]:
    """Principal branch of Lambert's W, differentiable once or more.

    Args:
      x: float `[...]`.

    Returns:
      float `[...]`, at least -1; NaN where x < -1/e.
    """
    x = jnp.asarray(x, jnp.result_type(x, float))
    middle = jax.lax.fori_loop(0, 5, lambda _, w: _halley(w, x), jnp.log1p(jnp.clip(x, -0.25, 1.0)))

    high = np.asarray(INVERSE_E, x.dtype)  # with 1/e in two words, e x + 1 keeps its precision down to the branch point
    rest = np.e * (INVERSE_E - float(high) + INVERSE_E_REST)
    target = jnp.clip(np.e * (x + high) + rest, 0.0, 0.5)  # not e (x + high + rest): compilers would add the constants
    branch = jax.lax.fori_loop(0, 6, lambda _, s: _newton_at_branch(s, target), jnp.sqrt(2 * target)) - 1

    large = jnp.where(x == jnp.inf, x, wright_omega(jnp.log(jnp.clip(x, 1.0, jnp.finfo(x.dtype).max))))
    w = jnp.where(x < -0.25, branch, jnp.where(x > 1, large, middle))
    return jnp.where(x >= -high, w, jnp.nan)


@lambert_w.defjvp
def _lambert_w_jvp(primals, tangents):
    w = lambert_w(*primals)
    return w, tangents[0] * jnp.exp(-w) / (1 + w)


def _halley(w, x):
    """One step towards w exp(w) = x, with the residual w - x exp(-w) (the equation divided by exp(w))."""
    residual = w - jnp.clip(x, -0.25, 1.0) * jnp.exp(-w)
    return w - residual / (1 + w - (w + 2) * residual / (2 * w + 2))


def _newton_at_branch(s, target):
    """One step towards g(s) = (s - 1) exp(s) + 1 = target; g is convex, so steps from above stay above."""
    residual = s * jnp.exp(s) - jnp.expm1(s) - target
    return jnp.maximum(s - residual / jnp.maximum(s * jnp.exp(s), jnp.finfo(s.dtype).tiny), 0.0)
