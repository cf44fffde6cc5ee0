"""The upper confidence bound of a Bernoulli mean: the largest q with kl(p, q) <= d, in straight-line arithmetic.

The equation kl(p, q) = d is solved for y, where 1 - q = (1 - p) exp(-y) and kl = (1 - p) y - p log(q / p), in three steps:

1. The first guess is (d + sqrt(2 d p (1 - p))) / (1 - p). It is exact in the limits of large and of small d.
2. A fitted cubic brings it within 0.9 % of the solution.
3. One Newton step on sqrt(2 kl) = sqrt(2 d), whose left side is nearly linear in y, brings the error in q below 4e-6.

log(q / p) is computed as log1p((q - p) / p), because float32 loses its digits to cancellation where d is small.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float32, Num

# ratio of the solution y to its first guess: row i multiplies p**i, column j w**j (experiments/fits/kl_bound.py)
_FIRST_GUESS = (
    (0.9942608, -0.1618449, -0.5092626, 0.6800535),
    (-0.03365455, -0.6776918, 0.6220612),
    (0.1122936, 0.07500168),
    (-0.0642977,),
)


def upper_bound(mean: Num[ArrayLike, "*#n"], divergence: Num[ArrayLike, "*#n"]) -> Float32[Array, "..."]:
    """The largest q with kl(mean, q) <= divergence, for Bernoulli distributions.

    Args:
      mean: float `[...]`, clipped to [0, 1].
      divergence: float `[...]`, at least 0; above 30 counts as 30.

    Returns:
      float32 `[...]`, within 4e-6 for divergences from 1e-7.
    """
    p = jnp.clip(mean, 1e-9, 1 - 6e-8)
    d = jnp.clip(divergence, 1e-12, 30.0)
    rest, twice = 1 - p, 2 * d
    guess = d + jnp.sqrt(twice * (p * rest))
    w = d / guess
    ratio = 0.0
    for row in reversed(_FIRST_GUESS):
        column = 0.0
        for coefficient in reversed(row):
            column = column * w + coefficient
        ratio = ratio * p + column
    y = guess * ratio / rest
    gap = rest * _one_minus_exp(y)
    h = jnp.sqrt(jnp.maximum(2 * (rest * y - p * _log1p(gap / p)), 1e-30))
    step = h * (jnp.sqrt(twice) - h) * (p + gap) / gap
    # the change of q, (1 - q)(1 - exp(-step)): step is below one per cent of y, and 1 - q vanishes where y is large
    return p + gap + (rest - gap) * step * (1 - step * (1 / 2 - step * (1 / 6)))


def _one_minus_exp(y):
    """1 - exp(-y) for y >= 0 to working precision, in operations that vectorise on every backend."""
    series = y * (1 - y * (1 / 2 - y * (1 / 6 - y * (1 / 24 - y * (1 / 120 - y * (1 / 720))))))
    return jnp.where(y < 0.25, series, 1 - jnp.exp(-y))


def _log1p(x):
    """log(1 + x) for x >= 0 to working precision, also vectorised; the series is economised on [0, 1/4]."""
    series = 0.0
    for coefficient in (-0.05528860, 0.11912914, -0.16207702, 0.19948999, -0.24996866, 0.33333238, -0.5, 1.0):
        series = series * x + coefficient
    return jnp.where(x < 0.25, x * series, jnp.log(1 + x))
