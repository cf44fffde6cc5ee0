"""Coefficients of `jaxprice.samplers`: weighted minimax polynomials, printed with their errors.

Every fit minimises the largest weighted residual over a Chebyshev grid by Lawson's iteration (C. L. Lawson, 1961): least
squares with weights that grow where the residual is large. The gamma and normal fits weight an error by the density of z
times the equivalent shift of z, so that their residual is an error of the distribution function. On the right (z > 3) a
lower bound on that density keeps the far tail accurate as well.

Run `python -m experiments.fits.samplers` (about 5 seconds; the same digits on every run). With the argument `words` it
instead compares the normal pairs of all 2**32 words with the normal distribution (some minutes).
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from jaxprice import samplers

ROWS = (3, 4, 4, 3, 3, 2, 1, 2, 2, 1)  # terms in 1/shape for each power of z/sqrt(shape); fewer exceed 3e-6
TAIL = 3e-5  # lower bound on the density of z beyond z = 3


def chebyshev(low, high, count):
    """Chebyshev nodes of [low, high], shape `(count,)`."""
    return (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(count) + 0.5) / count)


def lawson(columns, target, weight=1.0, iterations=300):
    """Minimax coefficients of `target ~ columns @ c` and the largest weighted residual."""
    matrix, goal = columns * np.reshape(weight, (-1, 1)), target * weight
    emphasis, best = np.ones(len(goal)), (np.inf, None)
    for _ in range(iterations):
        root = np.sqrt(emphasis)[:, None]
        scale = np.linalg.norm(root * matrix, axis=0)
        coefs = np.linalg.lstsq(root * matrix / scale, root[:, 0] * goal, rcond=None)[0] / scale
        residual = np.abs(matrix @ coefs - goal)
        best = min(best, (residual.max(), coefs), key=lambda pair: pair[0])
        emphasis *= residual / residual.max() + 1e-3
        emphasis /= emphasis.sum()
    return best[1], best[0]


def powers(x, exponents):
    """Columns `x**k`, shape `(x.size, len(exponents))`."""
    return np.stack([x**k for k in exponents], 1)


def normal_density(z):
    """Standard normal density."""
    return np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def gamma_target(z, shape):
    """`log2(X/shape)` at the quantile z, and the shift of z that is equivalent to a unit error of it."""
    x = np.where(z < 0, special.gammaincinv(shape, special.ndtr(z)), special.gammainccinv(shape, special.ndtr(-np.abs(z))))
    log_density = shape * np.log(x) - x - special.gammaln(shape)  # log density of log x
    return np.log2(x / shape), np.log(2) * np.exp(log_density) / normal_density(z)


def gamma_columns(z, shape):
    """Monomials `y**i * s**j` with `y = z/sqrt(shape)` and `s = 1/shape`, without the constant."""
    y, s = z / np.sqrt(shape), 1 / shape
    return np.stack([y**i * s ** (j + (i == 0)) for i, terms in enumerate(ROWS) for j in range(terms)], 1)


def fit_gamma():
    """Coefficients, row by row, and the residual on the fitting grid."""
    roots = np.r_[1.0, chebyshev(0, 1, 24)]  # shape**-0.5
    shape, z = (grid.ravel() for grid in np.meshgrid(roots**-2.0, chebyshev(-5.2, 6.2, 70), indexing="ij"))
    target, shift = gamma_target(z, shape)
    density = normal_density(z) + TAIL / (1 + np.exp(-4 * (z - 3)))
    return lawson(gamma_columns(z, shape), target, shift * density)


def count_words(block=2**17):
    """Largest error of the distribution of `normal_pair_from_word`, over half planes and quadrants, for all words."""
    directions = ((1, 0), (0, 1), (0.6, 0.8), (-0.8, 0.6))
    half_planes = [(x, y, t) for x, y in directions for t in (-3, -1, -0.3, 0.5)]
    corners = [(-1, 0.5), (0.3, -0.3), (1.5, 2)]

    def add(i, counts):
        x, y = samplers.normal_pair_from_word(i.astype(jnp.uint32) * np.uint32(block) + jnp.arange(block, dtype="uint32"))
        inside = [c * x + s * y <= t for c, s, t in half_planes] + [(x <= s) & (y <= t) for s, t in corners]
        return counts + jnp.stack([jnp.sum(region, dtype="uint32") for region in inside])

    start = jnp.zeros(len(half_planes) + len(corners), "uint32")
    counts = jax.jit(lambda: jax.lax.fori_loop(0, 2**32 // block, add, start))()
    exact = [special.ndtr(t) for *_, t in half_planes] + [special.ndtr(s) * special.ndtr(t) for s, t in corners]
    return np.abs(np.asarray(counts) / 2**32 - exact).max()


def show(name, coefs, error, meaning):
    """Print a tuple as in the module, in the shortest digits that give the same float32."""
    print(f"{name} = ({', '.join(str(np.float32(c)) for c in coefs)},)\n    # {meaning}: {error:.1e}")


def main():
    """Fit everything and print it."""
    half = chebyshev(-0.5, 0.5, 400)
    columns = powers(half, range(1, 7))
    show("exp2", *lawson(columns, np.exp2(half) - 1, 1 / np.abs(half)), "2**f - 1, |f| <= 1/2, relative")
    t = chebyshev(np.sqrt(0.5) - 1, np.sqrt(2) - 1, 400)
    show("log", *lawson(powers(t, range(1, 9)), -2 * np.log1p(t), 0.5 / np.abs(t)), "-2 log(1+t), relative")
    x = chebyshev(-1, 1, 400)
    show("sin", *lawson(powers(x, range(1, 10, 2)), np.sin(np.pi / 2 * x)), "sin(pi/2 x), |x| <= 1")
    show("cos", *lawson(powers(x, range(0, 10, 2)), np.cos(np.pi / 2 * x)), "cos(pi/2 x), |x| <= 1")
    v = chebyshev(np.sqrt(2 * np.log(2)), np.sqrt(66 * np.log(2)), 400)
    z = -special.ndtri_exp(-v * v / 2)
    weight = normal_density(z) + 1e-5
    show("normal", *lawson(powers(v, range(10)), z, weight), "quantile at exp(-v*v/2), distribution function")

    coefs, error = fit_gamma()
    for row in np.split(coefs, np.cumsum(ROWS)[:-1]):
        print(f"    ({', '.join(str(np.float32(c)) for c in row)},),")
    print(f"    # log2(X/shape), distribution function on the fitting grid: {error:.1e}")
    rounded = coefs.astype(np.float32).astype(float)
    print("shape        CDF error   z-shift at |z| < 4, at 5, at 6; monotone on |z| < 6.7")
    for shape in (1, 1.05, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 1e3, 1e4, 1e5, 1e6, 1e7):
        z = np.linspace(-6.7, 6.7, 4001)
        value = gamma_columns(z, shape) @ rounded
        target, shift = gamma_target(z, shape)
        moved = np.abs(value - target) * shift
        tail = [moved[np.abs(z) < 4].max(), *np.interp((5, 6), z, moved)]
        error = (moved * normal_density(z)).max()
        print(f"{shape:<12g} {error:.1e}    ", *(f"{m:.1e}" for m in tail), np.all(np.diff(value) > 0))


if __name__ == "__main__":
    if sys.argv[1:] == ["words"]:
        print(f"normal_pair_from_word, all words: {count_words():.1e}")
    else:
        main()
