"""Tails and quantiles of Beta laws in straight-line arithmetic: no table, and small errors for all shapes from 1 on.

X ~ Beta(a, b), r = a + b, p = a / r. The density is that of a normal seen through a change of variable (Temme): with

    W = sign(x - p) sqrt(2 r kl(p, x)),      h = W sqrt(p (1 - p) / r) / (x - p),

x^a (1 - x)^b / B(a, b) = sqrt(a b / (2 pi r)) exp(-W^2 / 2) / G, where G is a ratio of Stirling remainders, 1 + O(1 / r).

- Tail, the smaller shape at most 20: eight steps of the continued fraction of the incomplete beta function, which ends
  there by itself where the smaller shape is a small integer and is nearly converged elsewhere.
- Tail, larger shapes: P(X > x) = 1 - Phi(W - log(h) / W) (Barndorff-Nielsen), with error O(r^(-3/2)).
- Quantile at tail probability exp(-L), z = its normal quantile: W = z + log(h(z)) / z, solved for x by
  `kl_bound` (the equation is the same: 2 r kl(p, x) = W^2), and one Newton step on the logarithm of the tail, in log-odds
  of x.

| function | error | range |
|---|---|---|
| `upper_tail` | 6e-3 of the tail, 3e-3 in all | shapes 1 to 1e5, tails from 1e-12 |
| the same | 1.5e-3 of the tail, 5e-4 in all | shapes 1 to 1e3 |
| `upper_quantile` | 5e-4 in standard normal units, or 3e-6 | shapes 1 to 1e6, tails from 1/3 down to 1e-12 |

The first row is float32: where shapes differ by 1e5, x or 1 - x is known to few digits.

Sources: N. M. Temme (1992), "Asymptotic inversion of the incomplete beta function", doi:10.1016/0377-0427(92)90244-R; O.
E. Barndorff-Nielsen (1986), doi:10.1093/biomet/73.2.307; Digital Library of Mathematical Functions, 8.17.22 and 5.10.1.
"""

import math

import jax
import jax.numpy as jnp

from jaxprice.policies.parts.kl_bound import upper_bound

LARGE = 20.0  # smaller shape from which the normal form is the better one
STEPS = 8


def upper_tail(x, a, b):
    """P(X > x), and the density of X times x (1 - x).

    Args:
      x: float `[...]` in (0, 1).
      a, b: shapes, float `[...]` from 1, broadcast against x.

    Returns:
      Two float32 arrays `[...]`.
    """
    x, a, b = jnp.broadcast_arrays(*(jnp.asarray(v, jnp.float32) for v in (x, a, b)))
    flip = x * (a + b) < a
    x, y = jnp.where(flip, 1 - x, x), jnp.where(flip, x, 1 - x)
    a, b = jnp.where(flip, b, a), jnp.where(flip, a, b)
    w, log_density, log_h = _normal_form(x, y, a, b)
    near = w < 0.2  # h is a ratio of two small numbers there
    shift = jnp.where(near, (a - b) / (3 * jnp.sqrt(a * b * (a + b))), log_h / jnp.where(near, 1.0, w))
    normal = 0.5 * jax.lax.erfc((w - shift) * math.sqrt(0.5))
    density = jnp.exp(log_density)
    tail = jnp.where(jnp.minimum(a, b) < LARGE, density * _fraction(y, a, b), normal)
    return jnp.where(flip, 1 - tail, tail), density


def upper_quantile(a, b, log_tail):
    """The x with P(X > x) = exp(log_tail), above the mean.

    Args:
      a, b: shapes, float `[...]` from 1.
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
    divergence = jax.lax.optimization_barrier(w * w / (2 * r))  # without it XLA rewrites both bounds in circles
    x = jnp.clip(upper_bound(p, divergence), 1e-30, 1 - 6e-8)
    _, log_density, _ = _normal_form(x, 1 - x, a, b)
    fraction = _fraction(1 - x, a, b)
    step = (log_density + jnp.log(fraction) - log_tail) * fraction
    return jnp.where(jnp.minimum(a, b) < LARGE, x / (x + (1 - x) * jnp.exp(-step)), x)


def _normal_form(x, y, a, b):
    """W >= 0, the logarithm of x^a y^b / B(a, b), and log(h), for x = 1 - y at or above the mean."""
    r = a + b
    p, q = a / r, b / r
    gap = jnp.maximum(x - p, 0.0)
    half = jnp.maximum(b * jnp.log1p(gap / y) - a * jnp.log1p(gap / p), 0.0)
    w = jnp.sqrt(2 * half)
    stirling = _stirling(a) + _stirling(b) - _stirling(r)
    log_density = 0.5 * jnp.log(a * q / (2 * math.pi)) - half - stirling
    log_h = jnp.log(jnp.maximum(w, 1e-30) * jnp.sqrt(p * q / r) / jnp.maximum(gap, 1e-30))
    return w, log_density, log_h


def _stirling(x):
    """log Gamma(x) - (x - 1/2) log(x) + x - log(2 pi) / 2 for x >= 1, by its continued fraction."""
    tail = x + (22999 / 22737) / (x + (29944523 / 19733142) / x)
    return (1 / 12) / (x + (1 / 30) / (x + (53 / 210) / (x + (195 / 371) / tail)))


def _fraction(y, a, b):
    """P(X > 1 - y) over x^a y^b / B(a, b), by the continued fraction."""

    def two_steps(i, rest):
        m = (STEPS - i).astype(jnp.float32)
        two_m = b + 2 * m
        odd = (b + m) * (a + b + m) * y / (two_m * (two_m + 1))
        even = m * (a - m) * y / ((two_m - 1) * two_m)
        return 1 + even * rest / (rest - odd)

    rest = jax.lax.fori_loop(0, STEPS, two_steps, jnp.ones_like(y))
    return rest / ((rest - (a + b) * y / (b + 1)) * b)
