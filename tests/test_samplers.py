"""Samplers against SciPy: exact integration over the normals and uniforms that they transform, without sampling errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxprice import samplers

pytestmark = pytest.mark.optimised

SHAPES = [1, 1.02, 1.1, 1.3, 1.5, 1.8, 2, 2.5, 3, 4, 6, 10, 20, 50, 150, 500, 2e3, 1e4, 1e5, 1e6, 1e7]
SMALL = [1e-3, 0.01, 0.05, 0.2, 0.5, 0.9, 0.999]
GAMMA_ERROR = 3.5e-6
SPACINGS = 2 * float(np.finfo(np.float32).eps)  # relative size of two float32 spacings
PROBABILITIES = np.r_[1e-5, 1e-4, 1e-3, 0.01, 0.03:0.97:33j, 0.99, 0.999, 1 - 1e-4, 1 - 1e-5]

uniform, normal, laplace, normal_pair, normal_pair_from_word = (
    jax.jit(getattr(samplers, name)) for name in ("uniform", "normal", "laplace", "normal_pair", "normal_pair_from_word")
)
gamma, gamma_boosted, log_gamma_boosted, beta, beta_boosted = (
    jax.jit(getattr(samplers, name)) for name in ("gamma", "gamma_boosted", "log_gamma_boosted", "beta", "beta_boosted")
)


def lattice(multiplier, count=2**20):
    """Equally spaced words in an order set by the multiplier, uint32 `(count,)`."""
    return jnp.asarray(np.arange(count, dtype=np.uint64) * multiplier + 2**11, jnp.uint32)


GOLDEN = round(2**32 / ((1 + 5**0.5) / 2))


def normal_law_error(x):
    """Largest gap between the empirical law of `x` and the normal one."""
    x = np.sort(np.asarray(x, np.float64))
    return np.abs(special.ndtr(x) - (np.arange(len(x)) + 0.5) / len(x)).max()


def gap(lower, upper, exact):
    """How far `exact` lies outside of `lower .. upper`, at most."""
    return np.maximum(lower - exact, exact - upper).max()


def test_uniform_is_open_symmetric_and_even():
    words = jnp.asarray([0, 511, 512, 2**31 - 1, 2**31, 2**32 - 512, 2**32 - 1], jnp.uint32)
    u = np.asarray(uniform(words))
    assert u.dtype == np.float32
    assert (u > 0).all() and (u < 1).all()
    np.testing.assert_array_equal(u * 2**24, [1, 1, 3, 2**23 - 1, 2**23 + 1, 2**24 - 1, 2**24 - 1])
    np.testing.assert_array_equal(u, 1 - np.asarray(uniform(~words)))
    grid = np.asarray(uniform(lattice(2**12)))
    assert np.abs(grid - (np.arange(2**20) + 0.5) / 2**20).max() < 2.0**-23


def test_normal_inverts_the_distribution():
    words = np.unique(np.r_[lattice(2**12), 2 ** np.arange(32) - 1, 2**31 - 2 ** np.arange(31)].astype(np.uint32))
    z = np.asarray(normal(jnp.asarray(words)), np.float64)
    positive, tail = words < 2**31, (words & (2**31 - 1)) + 0.5  # the low 31 bits count out from the tail
    exact = special.ndtri(tail / 2**32)
    np.testing.assert_array_equal(z, -np.asarray(normal(jnp.asarray(words ^ np.uint32(2**31)))))
    assert np.abs(special.ndtr(-np.abs(z)) - tail / 2**32).max() < 1e-6
    assert np.abs(-np.abs(z) - exact).max() < 0.05  # the tail too
    assert (z[positive] >= -1e-6).all() and (z[~positive] <= 1e-6).all()


def test_laplace_inverts_the_distribution():
    words = np.unique(np.r_[lattice(2**12), 2 ** np.arange(32) - 1, 2**31 - 2 ** np.arange(31)].astype(np.uint32))
    x = np.asarray(laplace(jnp.asarray(words)), np.float64)
    tail = ((words & (2**31 - 1)) + 0.5) / 2**31  # the low 31 bits count out from the tail, the top one is the sign
    np.testing.assert_array_equal(x, -np.asarray(laplace(jnp.asarray(words ^ np.uint32(2**31)))))
    assert (x[words < 2**31] >= 0).all() and (x[words >= 2**31] <= 0).all()
    assert np.abs(np.exp(-np.abs(x)) - tail).max() < 2e-7
    np.testing.assert_allclose(np.abs(x), -np.log(tail), rtol=2e-7, atol=1e-7)
    assert 22.1 < x.max() < 22.2
    even = np.asarray(laplace(lattice(2**12)), np.float64)
    assert abs(even.mean()) < 1e-4 and abs((even**2).mean() - 2) < 1e-3


def test_normal_pair_is_box_and_muller():
    words_a, words_b = lattice(2**12), lattice(GOLDEN)
    x, y = normal_pair(words_a, words_b)
    radius = np.sqrt(-2 * np.log((np.asarray(words_a) // 2 + 0.5) / 2**31))
    turn = np.asarray(words_b).astype(np.int32) / 2**30  # in quarters of a circle
    half, sign = np.mod(turn + 1, 2) - 1, np.where(turn < 0, -1, 1)
    assert np.abs(x - radius * sign * np.cos(np.pi / 2 * half)).max() < 2e-6
    assert np.abs(y - radius * np.sin(np.pi / 2 * half)).max() < 2e-6


def test_one_word_pairs_fill_the_plane_evenly():
    """Every 4096th word: an error of count**-3/4 is that of an even lattice, a tenth of independent draws'."""
    words = lattice(2**12)
    x, y = (np.asarray(z, np.float64) for z in normal_pair_from_word(words))
    for angle in np.linspace(0, np.pi, 9):  # every projection of a pair of independent normals is normal
        assert normal_law_error(np.cos(angle) * x + np.sin(angle) * y) < 1e-4
    for s in (-2, -0.7, 0, 0.4, 1.3):
        for t in (-1.5, -0.2, 0.9, 2):
            assert abs(np.mean((x <= s) & (y <= t)) - special.ndtr(s) * special.ndtr(t)) < 1e-4
    two_words = normal_pair(words, words * np.uint32(GOLDEN))
    np.testing.assert_array_equal([x, y], np.stack(two_words))


def test_normal_pairs_at_extreme_words():
    extreme = jnp.asarray([0, 1, 2**31 - 1, 2**31, 2**32 - 1], jnp.uint32)
    x, y = normal_pair(*(jnp.asarray(w.ravel()) for w in jnp.meshgrid(extreme, extreme)))
    radius = np.hypot(*(np.asarray(part, np.float64) for part in (x, y)))
    assert 6.65 < radius.max() < 6.67
    assert radius.min() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_gamma_law(shape):
    z = np.linspace(-6.7, 6.7, 40_001)
    x = np.asarray(gamma(jnp.asarray(z, jnp.float32), shape), np.float64)
    z = z.astype(np.float32).astype(np.float64)
    assert (x > 0).all()
    assert (np.diff(x) >= -SPACINGS * x[1:]).all()
    lower, upper = (special.gammainc(shape, x * (1 + sign * SPACINGS)) for sign in (-1, 1))
    assert gap(lower, upper, special.ndtr(z)) < GAMMA_ERROR
    if shape <= 2e3:  # here the law is wide enough for float32 to count for nothing
        assert np.abs(special.gammainc(shape, x) - special.ndtr(z)).max() < 1e-5
    tail = np.abs(special.ndtri_exp(np.log(special.gammaincc(shape, x[(z > 4) & (z < 6)]))) + z[(z > 4) & (z < 6)])
    assert tail.max() < 0.1  # moved by less than a tenth of a standard deviation far out


@functools.cache
def log_gamma_law(shape):
    """Points and the distribution function there of `log_gamma_boosted`, by quadrature over z of what remains in u."""
    z, step = np.linspace(-6.7, 6.7, 2001, retstep=True)
    log_u = np.linspace(-17, 0, 3)
    values = np.asarray(log_gamma_boosted(jnp.asarray(z[:, None], jnp.float32), jnp.asarray(log_u[None]), shape))
    weight = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * step
    tail = np.geomspace(1e-7, 0.5, 3000)
    probabilities = np.r_[tail, 1 - tail[-2::-1]]
    points = log_gamma_quantile(shape, probabilities)
    law = np.zeros_like(points)
    for row, mass in zip(values.astype(np.float64), weight, strict=True):
        reached = np.interp(points, row, log_u)
        law += mass * np.where(points < row[0], 0, np.exp(reached))
    return points, law


def log_gamma_quantile(shape, probability):
    """Logarithm of the exact quantile, also where the quantile itself underflows."""
    with np.errstate(divide="ignore"):
        direct = np.log(special.gammaincinv(shape, probability))
    small = (np.log(probability) + special.gammaln(shape + 1)) / shape  # leading term of the law near 0
    return np.where(small < -40, small, direct)


def log_gamma_cdf(shape, points):
    small = np.exp(shape * points - special.gammaln(shape + 1))
    return np.where(points < -40, small, special.gammainc(shape, np.exp(points)))


@pytest.mark.parametrize("shape", SMALL)
def test_boosted_gamma_law(shape):
    points, law = log_gamma_law(shape)
    assert np.abs(law - log_gamma_cdf(shape, points)).max() < GAMMA_ERROR


def test_boosted_gamma_agrees_with_its_logarithm_and_with_gamma():
    rng = np.random.default_rng(0)
    z, shape = rng.standard_normal((2, 5000))
    log_u, shape = np.log(rng.random(5000)), np.exp(3 * shape)
    boosted = np.asarray(gamma_boosted(z, log_u, shape), np.float64)
    logarithm = np.asarray(log_gamma_boosted(z, log_u, shape), np.float64)
    assert np.isfinite(logarithm).all()
    held = logarithm > -87  # by a float32
    np.testing.assert_allclose(boosted[held], np.exp(logarithm[held]), rtol=3e-5)
    assert 0.5 < held.mean() < 1 and (boosted[~held] < 1e-37).all()
    large = shape >= 1
    np.testing.assert_array_equal(boosted[large], np.asarray(gamma(z, shape))[large])


@pytest.mark.parametrize("b", [1, 1.2, 2, 5, 30, 1e3, 1e6])
@pytest.mark.parametrize("a", [1, 1.5, 3, 12, 200, 3e4, 1e6])
def test_beta_law(a, b):
    """For each quadrature node of one normal, the other is solved for; the wider gamma is the one solved for."""
    solved, step = np.linspace(-6.7, 6.7, 2001, dtype=np.float32)[::-1], 0.1
    nodes = np.arange(-6.6, 6.6, step, dtype=np.float32)
    targets = special.betaincinv(a, b, PROBABILITIES)
    law = np.zeros_like(targets)
    if a < b:
        solved, sign = solved[::-1], 1
        rows = beta(solved[None], nodes[:, None], a, b)
    else:
        sign = -1
        rows = beta(nodes[:, None], solved[None], a, b)
    for row, z in zip(np.asarray(rows, np.float64), nodes, strict=True):
        mass = np.exp(-(float(z) ** 2) / 2) / np.sqrt(2 * np.pi) * step
        law += mass * special.ndtr(sign * np.interp(targets, row, solved))
    lower, upper = (special.betainc(a, b, np.minimum(targets * (1 + sign * SPACINGS), 1)) for sign in (-1, 1))
    assert gap(lower, upper, law) < 2 * GAMMA_ERROR


@pytest.mark.parametrize("a, b", [(1e-3, 1e-3), (1e-3, 2), (0.05, 0.05), (0.05, 0.9), (0.2, 0.01), (0.5, 0.5), (50, 0.2)])
def test_boosted_beta_law(a, b):
    """The law of log X - log Y from the measured law of log X and quadrature over (z, u) of log Y."""
    points, law = log_gamma_law(a)
    z, step = np.linspace(-6.6, 6.6, 67, retstep=True)
    root = (np.arange(4000) + 0.5) / 4000
    u, density = root**4, 4 * root**3  # closer nodes near u = 0
    log_y = np.asarray(log_gamma_boosted(jnp.asarray(z[:, None]), jnp.asarray(np.log(u)[None]), b), np.float64)
    weight = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * step
    for t in (1e-30, 1e-12, 1e-6, 1e-3, 0.02, 0.2, 0.5, 0.7, 0.9, 0.99, 0.9999):
        below = np.interp(log_y + special.logit(t), points, law, left=0, right=1)
        assert abs(weight @ (below * density).mean(1) - special.betainc(a, b, t)) < 2 * GAMMA_ERROR


def test_boosted_beta_is_the_ratio_of_its_gammas():
    rng = np.random.default_rng(1)
    z1, z2, *shapes = rng.standard_normal((4, 5000))
    (a, b), (log_u1, log_u2) = np.exp(np.array(shapes) * 3), np.log(rng.random((2, 5000)))
    p = np.asarray(beta_boosted(z1, z2, log_u1, log_u2, a, b), np.float64)
    log_x, log_y = (np.asarray(log_gamma_boosted(*args), np.float64) for args in ((z1, log_u1, a), (z2, log_u2, b)))
    np.testing.assert_allclose(p, np.maximum(special.expit(log_x - log_y), 2.0**-126), rtol=1e-4, atol=1e-38)
    assert (p < 1e-37).any() and (p == 1).any()  # both ends are reached
    large = (a >= 1) & (b >= 1)
    np.testing.assert_allclose(p[large], np.asarray(beta(z1, z2, a, b))[large], rtol=1e-6)


def test_one_word_beta_law():
    """Beta draws as a policy makes them, from one word each; the error is again that of the lattice."""
    z1, z2 = normal_pair_from_word(lattice(2**12))
    for a, b in ((1, 1), (3, 40), (500, 60)):
        p = np.sort(np.asarray(beta(z1, z2, a, b), np.float64))
        assert np.abs(special.betainc(a, b, p) - (np.arange(len(p)) + 0.5) / len(p)).max() < 1e-4


def draw(words, a, b):
    """Every sampler once, for one arm of one lane."""
    z1, z2 = samplers.normal_pair(words, ~words)
    log_u = jnp.log(samplers.uniform(words))
    z3, z4 = samplers.normal_pair_from_word(words)
    return jnp.stack(
        [
            samplers.normal(words),
            samplers.gamma(z1, a),
            samplers.gamma_boosted(z1, log_u, a - 0.9),
            samplers.log_gamma_boosted(z1, log_u, a - 0.9),
            samplers.beta(z3, z4, a, b),
            samplers.beta_boosted(z1, z2, log_u, log_u, a - 0.9, b - 0.9),
        ]
    )


@pytest.mark.parametrize("x64", [False, True])
def test_same_numbers_one_by_one_wide_and_under_strict_settings(x64):
    words = lattice(GOLDEN, 60).reshape(20, 3)
    a, b = 1 + np.random.default_rng(2).exponential(5, (2, 20, 3)).astype(np.float32)
    alone = jax.jit(draw)
    plain = np.stack([[alone(words[i, j], a[i, j], b[i, j]) for j in range(3)] for i in range(2)])
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        wide = jax.jit(jax.vmap(jax.vmap(draw, in_axes=-1, out_axes=-1)))(words, a, b)
        assert wide.dtype == jnp.float32
        assert jax.eval_shape(draw, words[0, 0], 1.5, 2).dtype == jnp.float32
    assert wide.shape == (20, 6, 3)
    np.testing.assert_allclose(np.moveaxis(wide, 1, 2)[:2], plain, rtol=2e-6, atol=2e-6)


def test_other_words_are_refused():
    for words in (jnp.arange(3), 0.5, jnp.ones(3)):
        with pytest.raises(ValueError, match="uint32"):
            samplers.uniform(words)
