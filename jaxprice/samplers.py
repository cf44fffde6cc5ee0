"""Normal, gamma and beta variates as straight-line float32 arithmetic on random words.

Problem: posterior sampling draws a beta variate for every arm, lane and step. A rejection sampler loops until its slowest
lane is done. The functions below never loop, branch, gather or reduce, so XLA fuses them into the surrounding loop and
vectorises it. Their results depend only on their arguments. They hold no keys: the caller supplies uint32 words, and uses
every word at most once.

Equations:

- Normals: `sqrt(-2 log u) * (cos t, sin t)` with `t` uniform on the circle (Box and Muller). One word is enough for
  both: the angle is then the word times 2**32 over the golden ratio, modulo 2**32. This places the 2**32 possible points
  like the seeds of a sunflower (Vogel): a Fibonacci lattice in (radius, angle) without gaps or clusters.
- Laplace: the logarithm of a 31-bit uniform number, with one bit for the sign.
- Gamma: Wilson and Hilferty found that `(X/a)**(1/3)` is nearly normal. Expanding the exact quantile of `log(X/a)` around
  that gives a series in `y = z/sqrt(a)` and `s = 1/a`: a polynomial in two variables (25 terms, ninth degree in z).
  The coefficients are a minimax fit over all a >= 1, not those of the series. The code uses the logarithm instead of the
  cube root, because it keeps X positive and increasing in z, and leaves one exponential for a beta variate.
- Gamma with a < 1: `Gamma(a) = Gamma(a+1) * U**(1/a)` (Stuart; Marsaglia and Tsang).
- Beta: `X/(X+Y)` for independent gammas, that is `1/(1 + exp(log Y - log X))`.

Error: the largest gap between the distribution function of the sampler and the exact one. `tests/test_samplers.py`
integrates it; `experiments/fits/samplers.py` computes the coefficients and checks all 2**32 words.

| function | error | range |
|---|---|---|
| `uniform` | 6e-8 | 2**23 equally likely values, symmetric about 1/2, never 0 or 1 |
| `normal` | 8e-7 | every word has its own quantile, z within 0.04 out to 6.4 on either side |
| `laplace` | 1e-7 | 2**31 quantiles for each sign, out to 22.2 on either side |
| `normal_pair`, `normal_pair_from_word` | 1e-7 | each half, and both jointly, to radius 6.66 |
| `gamma`, `gamma_boosted` | 3.2e-6 | shapes from 1 to 1e7; from 1e-3 |
| `beta`, `beta_boosted` | 6.4e-6 | the same; a bound: the errors of two gammas added; the largest error found is 3.9e-6 |

In addition, gamma and beta variates are rounded within 2 float32 spacings. If a distribution is so narrow that its mass lies
on few floats, the spacing dominates the error: for a gamma it is 4e-6 at shape 1e4, 1.2e-5 at 1e5, 1.3e-4 at 1e7. A beta
variate is finer near 0 than near 1, where the spacing is 6e-8, so let `a` count the rare event.

Sources: E. B. Wilson and M. M. Hilferty (1931), doi:10.1073/pnas.17.12.684. G. E. P. Box and M. E. Muller (1958),
doi:10.1214/aoms/1177706645. A. Stuart (1962), Biometrika 49, 564-565. H. Vogel (1979),
doi:10.1016/0025-5564(79)90080-4. G. Marsaglia and W. W. Tsang (2000), doi:10.1145/358407.358414.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, UInt32

Floats = Float[ArrayLike, "..."]
Words = UInt32[Array, "..."]
Result = Float[Array, "..."]

# log2(X/shape) of a gamma variate: row i multiplies (z/sqrt(shape))**i. A row holds the coefficients of ascending powers of
# 1/shape; the first row starts with the first power.
_GAMMA = (
    (-0.48083347, -0.052432515, 0.004510451),
    (1.4426929, 0.20042345, 0.021947257, -0.0043908763),
    (-0.24038765, -0.052531485, -0.002538986, 0.0020641082),
    (0.040030077, 0.009157009, -0.002610159),
    (-0.0056552915, 0.00042231998, 0.00082190783),
    (0.00038104717, -0.0007500897),
    (0.00020150874,),
    (-5.56694e-05, 4.128359e-05),
    (1.6122382e-06, -5.1208954e-06),
    (4.499346e-07,),
)
# (2**f - 1) / f for |f| <= 1/2
_EXP2 = (0.6931472, 0.2402265, 0.05550357, 0.009618031, 0.0013390867, 0.00015469735)
# -2 log(1 + t) / t for sqrt(1/2) <= 1 + t <= sqrt(2)
_LOG = (-1.9999999, 1.0000069, -0.66671216, 0.4994312, -0.39768487, 0.34424895, -0.3267618, 0.20757158)
# sin(pi/2 x) / x and cos(pi/2 x) in powers of x**2, for |x| <= 1
_SIN = (1.5707963, -0.6459634, 0.07968848, -0.004672228, 0.00015082056)
_COS = (0.99999994, -1.2336982, 0.25365075, -0.020810628, 0.0008581906)
# the upper normal quantile of probability exp(-v*v/2), for probabilities in 2**-33 .. 1/2
_NORMAL = (
    *(-2.536185, 3.567743, -2.2661674, 1.44955, -0.6487557),
    *(0.19990131, -0.04133399, 0.0054509058, -0.00041225273, 1.354316e-05),
)


def uniform(words: Words) -> Result:
    """Uniforms on the open interval (0, 1).

    Args:
        words: random words, shape `(...)`, uint32; the low 9 bits are not used.

    Returns:
        Odd multiples of `2**-24`, shape `(...)`, float32.
    """
    return lax.bitcast_convert_type((_checked(words) >> 9) | 0x3F800000, jnp.float32) - (1 - 2.0**-24)


def normal(words: Words) -> Result:
    """Standard normals, one from each word, by inversion (`normal_pair_from_word` makes two in the same time).

    Args:
        words: random words, shape `(...)`, uint32.

    Returns:
        Normals, shape `(...)`, float32, |z| < 6.5.
    """
    tail = lax.bitcast_convert_type(_checked(words) & 0x7FFFFFFF, jnp.int32)
    return _with_sign(_horner(jnp.sqrt(_minus_2_log(tail, 32)), _NORMAL), words)


def laplace(words: Words) -> Result:
    """Laplace variates of mean zero and scale one, with variance 2: an exponential with a random sign.

    Args:
        words: random words, shape `(...)`, uint32.

    Returns:
        Variates, shape `(...)`, float32, at most 22.2 on either side of zero.
    """
    tail = lax.bitcast_convert_type(_checked(words) & 0x7FFFFFFF, jnp.int32)
    return _with_sign(0.5 * _minus_2_log(tail, 31), words)


def normal_pair(words_a: Words, words_b: Words) -> tuple[Result, Result]:
    """Two independent standard normals from two words.

    Args:
        words_a, words_b: random words of the radius and of the angle, shape `(...)`, uint32.

    Returns:
        Two arrays of normals, shape `(...)`, float32, at most 6.66 from the origin.
    """
    radius = jnp.sqrt(_minus_2_log(lax.bitcast_convert_type(_checked(words_a) >> 1, jnp.int32), 31))
    x = lax.bitcast_convert_type(_checked(words_b) << 1, jnp.int32).astype(jnp.float32) * 2.0**-31
    square = x * x  # the low 31 bits give an angle in the right half circle, the top bit selects the half
    return radius * _with_sign(_horner(square, _COS), words_b), radius * (x * _horner(square, _SIN))


def normal_pair_from_word(words: Words) -> tuple[Result, Result]:
    """Like `normal_pair`, but from one word: the angle is the word times the golden section.

    The words must be random: consecutive words would lie on a spiral.
    """
    return normal_pair(words, _checked(words) * np.uint32(0x9E3779B9))


def gamma(z: Floats, shape: Floats) -> Result:
    """Gamma variates of unit scale and shape at least 1: the quantile that corresponds to the normal `z`.

    Args:
        z: standard normals, shape `(...)`, |z| <= 6.7 (as the functions of this module return them).
        shape: shape parameters in 1 .. 1e7, broadcast against `z`; below 1 the result is meaningless.

    Returns:
        Positive variates, increasing in `z`, shape `(...)`, float32.
    """
    z, shape = _floats(z, shape)
    return shape * _exp2(_log2_ratio(z, shape))


def gamma_boosted(z: Floats, log_u: Floats, shape: Floats) -> Result:
    """Gamma variates of unit scale and any positive shape; equal to `gamma` where the shape is at least 1.

    Args:
        z: standard normals, shape `(...)`, |z| <= 6.7.
        log_u: logarithms of uniforms on (0, 1) independent of `z`, used where the shape is below 1.
        shape: positive shape parameters up to 1e7, broadcast against `z`.

    Returns:
        Variates, shape `(...)`, float32; those below 1e-38 may be 0 (`log_gamma_boosted` represents them).
    """
    z, log_u, shape = _floats(z, log_u, shape)
    raised, log_boost = _boost(log_u, shape)
    return raised * _exp2(_log2_ratio(z, raised)) * jnp.exp(log_boost)


def log_gamma_boosted(z: Floats, log_u: Floats, shape: Floats) -> Result:
    """Logarithm of `gamma_boosted` with the same arguments: finite down to the smallest shapes."""
    z, log_u, shape = _floats(z, log_u, shape)
    raised, log_boost = _boost(log_u, shape)
    return jnp.log(raised) + math.log(2) * _log2_ratio(z, raised) + log_boost


def beta(z1: Floats, z2: Floats, a: Floats, b: Floats) -> Result:
    """Beta variates for shapes of at least 1, such as a Bernoulli posterior with a uniform prior.

    Args:
        z1, z2: independent standard normals, shape `(...)`, up to 6.7 on either side.
        a, b: shape parameters (successes + 1, failures + 1) in 1 .. 1e7, broadcast against the normals.

    Returns:
        Variates in (0, 1], increasing in `z1`, shape `(...)`, float32.
    """
    z1, z2, a, b = _floats(z1, z2, a, b)
    return a / (a + b * _exp2(_log2_ratio(z2, b) - _log2_ratio(z1, a)))


def beta_boosted(z1: Floats, z2: Floats, log_u1: Floats, log_u2: Floats, a: Floats, b: Floats) -> Result:
    """Beta variates for any positive shapes, computed from the log odds.

    Args:
        z1, z2: independent standard normals, shape `(...)`, up to 6.7 on either side.
        log_u1, log_u2: logarithms of independent uniforms on (0, 1), used where `a < 1` and where `b < 1`.
        a, b: positive shape parameters up to 1e7, broadcast against the normals.

    Returns:
        Variates in [2**-126, 1], shape `(...)`, float32; smaller values are raised to 2**-126.
    """
    z1, z2, log_u1, log_u2, a, b = _floats(z1, z2, log_u1, log_u2, a, b)
    raised_a, boost_a = _boost(log_u1, a)
    raised_b, boost_b = _boost(log_u2, b)
    against = _log2_ratio(z2, raised_b) - _log2_ratio(z1, raised_a) + (boost_b - boost_a) / math.log(2)
    odds_against = raised_b * _exp2(jnp.clip(against, -126.0, 126.0))
    return jnp.maximum(raised_a / (raised_a + odds_against), 2.0**-126)


def _log2_ratio(z, shape):
    """`log2(X/shape)` for the gamma variate X that corresponds to the normal `z`."""
    s = 1 / shape
    y = z * jnp.sqrt(s)  # faster than rsqrt, which XLA:CPU computes as a root and a division
    first, *rows = _GAMMA
    return _horner(y, [s * _horner(s, first), *(_horner(s, row) for row in rows)])


def _boost(log_u, shape):
    """A shape of at least 1 for the draw, and the log factor that converts the variate to the given shape."""
    small = shape < 1
    return jnp.where(small, shape + 1, shape), jnp.where(small, log_u / shape, 0.0)


def _horner(x, coefs):
    """`coefs[0] + coefs[1] x + ...`."""
    total = coefs[-1]
    for coef in coefs[-2::-1]:
        total = total * x + coef
    return total


def _exp2(x):
    """`2**x` for |x| <= 126; with `jnp.exp2`, a beta variate takes a quarter longer."""
    whole = jnp.round(x)
    f = x - whole
    power = lax.bitcast_convert_type((whole.astype(jnp.int32) + 127) << 23, jnp.float32)
    return power * (1 + f * _horner(f, _EXP2))


def _minus_2_log(count, bits):
    """`-2 log((count + 1/2) / 2**bits)` for int32 counts below `2**31`, never negative."""
    pattern = lax.bitcast_convert_type(count.astype(jnp.float32) + 0.5, jnp.int32)
    exponent = (pattern - 0x3F3504F3) >> 23  # the mantissa is in sqrt(1/2) .. sqrt(2), so log 1 is exact
    t = lax.bitcast_convert_type(pattern - (exponent << 23), jnp.float32) - 1
    return (bits - exponent).astype(jnp.float32) * (2 * math.log(2)) + t * _horner(t, _LOG)


def _with_sign(x, words):
    """`x` with the opposite sign where the top bit of the word is set."""
    top = words & np.uint32(0x80000000)
    return lax.bitcast_convert_type(lax.bitcast_convert_type(x, jnp.uint32) ^ top, jnp.float32)


def _floats(*arrays):
    """All arguments as float32 arrays."""
    return tuple(jnp.asarray(array, jnp.float32) for array in arrays)


def _checked(words):
    """The words, after a check: words of another type than uint32 would give wrong results without an error."""
    if getattr(words, "dtype", None) != jnp.uint32:
        raise ValueError(f"words: expected a uint32 array, got {getattr(words, 'dtype', type(words).__name__)}")
    return words
