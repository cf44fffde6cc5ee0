"""Tails and quantiles of Beta distributions in straight-line arithmetic: no table, and small errors for all shapes from 1.

X ~ Beta(a, b), r = a + b, p = a / r. The density is that of a normal after a change of variable (Temme): with

    W = sign(x - p) sqrt(2 r kl(p, x)),      h = W sqrt(p (1 - p) / r) / (x - p),

x^a (1 - x)^b / B(a, b) = sqrt(a b / (2 pi r)) exp(-W^2 / 2) / G, where G is a ratio of Stirling remainders, 1 + O(1 / r).

- Tail, the smaller shape at most 20: six steps of the continued fraction of the incomplete beta function. The fraction is
  finite if the smaller shape is a small integer, and nearly converged otherwise.
- Tail, larger shapes: P(X > x) = 1 - Phi(W) + phi(W) (1 / U - 1 / W), U = (x - p) sqrt(r / (p (1 - p))) (Lugannani and
  Rice), with error O(r^(-3/2)).
- Quantile at tail probability exp(-L), z = its normal quantile: W = z + log(h(z)) / z, solved for x by
  `kl_bound` (the equation is the same: 2 r kl(p, x) = W^2), and one Newton step on the logarithm of the tail, in log-odds
  of x.

| function | error | range |
|---|---|---|
| `Law.tail` | 6e-3 of the tail, 3e-3 in all | shapes 1 to 1e5, tails from 1e-12 |
| `Law.tail` | 1.5e-3 of the tail, 5e-4 in all | shapes 1 to 1e3 |
| `upper_quantile` | 5e-4 in standard normal units, or 3e-6 | shapes 1 to 1e6, tails from 1/3 down to 1e-12 |

The first row is limited by float32: if shapes differ by 1e5, x or 1 - x has few correct digits.

Sources: N. M. Temme (1992), "Asymptotic inversion of the incomplete beta function", doi:10.1016/0377-0427(92)90244-R; R.
Lugannani, S. Rice (1980), "Saddle point approximation for the distribution of the sum of independent random variables",
doi:10.2307/1426607; O. E. Barndorff-Nielsen (1986), doi:10.1093/biomet/73.2.307; Digital Library of Mathematical Functions,
8.17.22 and 5.10.1.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from jaxprice.policies.parts.kl_bound import upper_bound

LARGE = 20.0  # from this smaller shape on, the normal form is more accurate
STEPS = 6


@struct.dataclass
class Law:
    """X ~ Beta(a, b), with the numbers that its tails need for any x; float `[...]` each.

    Attributes:
      a, b: the shapes.
      mean: p.
      peak: maximum of the density times x (1 - x).
      levels, mirrored: factors of the continued fractions for X and for 1 - X, see `_levels`.
    """

    a: jax.Array
    b: jax.Array
    mean: jax.Array
    peak: jax.Array
    levels: tuple
    mirrored: tuple

    def half_square(self, x: Num[ArrayLike, "..."]) -> Float[Array, "..."]:
        """W^2 / 2, for x that broadcasts against the shapes."""
        return _half_square(x, self.a, self.b, self.mean)

    def density(self, half_square: Float[Array, "..."]) -> Float[Array, "..."]:
        """The density times x (1 - x)."""
        return self.peak * jnp.exp(-half_square)

    def tail(self, x: Num[ArrayLike, "..."], half_square: Float[Array, "..."]) -> Float[Array, "..."]:
        """P(X > x)."""
        up, gap, (a, b, p, q) = _side(x, self.a, self.b, self.mean)
        w, u = jnp.sqrt(2 * half_square), gap * jnp.sqrt((a + b) / (p * q))
        near = w < 0.2  # u and w are almost equal there
        skew = (a - b) / (3 * jnp.sqrt(a * b * (a + b)))
        skew = jnp.where(near, skew, (w - u) / jnp.where(near, 1.0, u * w))
        normal = (_mills(w) + skew) * math.sqrt(0.5 / math.pi)
        levels = jax.tree.map(lambda mine, other: jnp.where(up, mine, other), self.levels, self.mirrored)
        fraction = self.peak * _fraction(jnp.where(up, 1 - x, x), a, b, levels)
        beyond = jnp.exp(-half_square) * jnp.where(jnp.minimum(a, b) < LARGE, fraction, normal)
        return jnp.where(up, beyond, 1 - beyond)


def _side(x, a, b, mean):
    """Whether x is above the mean, its distance to it, and a, b, p, 1 - p, or those of 1 - X if x is below the mean."""
    up, here = x >= mean, (a, b, mean, b / (a + b))
    return up, jnp.abs(x - mean), [jnp.where(up, v, here[i ^ 1]) for i, v in enumerate(here)]


def _half_square(x, a, b, mean):
    """W^2 / 2 of Beta(a, b), for x that broadcasts against the shapes."""
    up, gap, (a, b, p, _) = _side(x, a, b, mean)
    far = jnp.where(up, 1 - x, x)
    return jnp.maximum(b * jnp.log1p(gap / far) - a * jnp.log1p(gap * (1 / p)), 0.0)


def law(a: Num[ArrayLike, "*#n"], b: Num[ArrayLike, "*#n"]) -> Law:
    """The `Law` for shapes `a`, `b`, float `[...]`, at least 1."""
    a, b = (jnp.asarray(v, jnp.float32) for v in (a, b))
    return Law(a, b, a / (a + b), jnp.exp(_log_peak(a, b)), _levels(a, b), _levels(b, a))


def upper_quantile(
    a: Num[ArrayLike, "*#n"], b: Num[ArrayLike, "*#n"], log_tail: Num[ArrayLike, "*#n"]
) -> Float[Array, "..."]:
    """The x above the mean with P(X > x) = exp(log_tail).

    Args:
      a, b: shapes, float `[...]`, at least 1.
      log_tail: float scalar or `[...]`, from -28 to -1.1.

    Returns:
      float32 `[...]` in (0, 1).
    """
    a, b, log_tail = jnp.broadcast_arrays(*(jnp.asarray(v, jnp.float32) for v in (a, b, log_tail)))
    r = a + b
    p = a / r
    z = jnp.maximum(-jax.scipy.special.ndtri(jnp.exp(log_tail)), 0.3)
    first = upper_bound(p, z * z / (2 * r))
    gap = jnp.maximum(first - p, 1e-30)
    w = jnp.maximum(z + jnp.log(z * jnp.sqrt(p * (b / r) / r) / gap) / z, 0.01)
    divergence = jax.lax.optimization_barrier(w * w / (2 * r))  # without it XLA rewrites the two bounds in an endless loop
    x = jnp.clip(upper_bound(p, divergence), 1e-30, 1 - 6e-8)
    fraction = _fraction(1 - x, a, b, _levels(a, b))
    log_density = _log_peak(a, b) - _half_square(x, a, b, p)
    step = (log_density + jnp.log(fraction) - log_tail) * fraction
    return jnp.where(jnp.minimum(a, b) < LARGE, x / (x + (1 - x) * jnp.exp(-step)), x)


def _mills(w):
    """(1 - Phi(w)) / phi(w) for w >= 0, with an error of at most 3e-6."""
    top = 1.2533104 + w * (0.96095075 + w * (0.33184245 + w * 0.05087132))
    return top / (1 + w * (1.564532 + w * (1.0135615 + w * (0.33177013 + w * 0.05087239))))


def _log_peak(a, b):
    """The logarithm of the maximum of x^a (1 - x)^b / B(a, b), which is at the mean."""
    stirling = _stirling(a) + _stirling(b) - _stirling(a + b)
    return 0.5 * jnp.log(a * (b / (a + b)) / (2 * math.pi)) - stirling


def _stirling(x):
    """log Gamma(x) - (x - 1/2) log(x) + x - log(2 pi) / 2 for x >= 1, by its continued fraction."""
    tail = x + (22999 / 22737) / (x + (29944523 / 19733142) / x)
    return (1 / 12) / (x + (1 / 30) / (x + (53 / 210) / (x + (195 / 371) / tail)))


def _levels(a, b):
    """Factors of y in the levels of the continued fraction, `(odd, even)` for each step, innermost first."""

    def of_step(m):
        two_m = b + 2 * m
        odd = (b + m) * (a + b + m) / (two_m * (two_m + 1))
        return odd, m * (a - m) / ((two_m - 1) * two_m)

    return tuple(of_step(float(m)) for m in range(STEPS, 0, -1))


def _fraction(y, a, b, levels):
    """P(X > 1 - y) / (x^a y^b / B(a, b)), by the continued fraction: numerators and denominators, divided at the end."""
    top, bottom = 1.0, 1.0
    for odd, even in levels:
        bottom = top - odd * y * bottom
        top = bottom + even * y * top
    return top / ((top - (a + b) * y / (b + 1) * bottom) * b)
