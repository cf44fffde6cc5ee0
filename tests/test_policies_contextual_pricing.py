"""Contextual pricing on an interval, against NumPy references written from the formulas, SciPy, and known truths."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, play, problem_of
from rows import some
from scipy import optimize, special, stats

import jaxprice
from jaxprice import policies
from jaxprice.policies.personal import bounded_mle, online_newton, sale_likelihood
from jaxprice.types import Transition

LINEAR = "features, interval"  # linear valuations, logistic noise of scale 1/4, three features, prices in [0, 3]
ELASTIC = "features, elasticity"  # logit demand with personal price sensitivity, three features, prices in [0, 3]
ROWS = tuple(map(tuple, np.round(np.abs(np.random.default_rng(0).normal(size=(7, 3))), 3)))
CERTAIN = ("LinearValuation", (("noise", "uniform"), ("scale", 1e-5), ("theta", (0.9, 0.6, 0.4)), ("intercept", False),
                               ("context", "schedule"), ("contexts", ROWS)))  # fmt: skip
GAUSSIAN = ("LinearValuation", (("noise", "gaussian"), ("theta", (1.2, 0.5, -0.3)), ("scale", 0.25)))
SEEN = 3  # features in all of these
LAWS = [(LINEAR, "logistic"), pytest.param(GAUSSIAN, "gaussian", marks=pytest.mark.slow)]


def told(name, policy, horizon=HORIZON):
    """Contexts, prices, sales `[time, lane, ...]` as float64, and the states, with the last `[time + 1, ...]`."""
    played = play(policy, name, horizon)
    states = jax.tree.map(lambda x, y: np.concatenate([x, np.asarray(y)[None]]), played.states, played.last)
    sales = played.sales
    return sales.observation[..., -SEEN:].astype(float), sales.price.astype(float), sales.demand.astype(float), states


def ends(name):
    problem = problem_of(name)
    return float(problem.low), float(problem.high), float(problem.cost)


def hazard(law, v):
    """G'(v) / G(v)."""
    return special.expit(-v) if law == "logistic" else np.exp(stats.norm.logpdf(v) - stats.norm.logcdf(v))


def log_chance(law, v):
    return special.log_expit(v) if law == "logistic" else stats.norm.logcdf(v)


def markup(law, u):
    """argmax_q q G(u - q) by bisection of q m(u - q) = 1, float64."""
    low, high = np.zeros_like(u), np.maximum(u, 0) + 3.0
    for _ in range(80):
        q = (low + high) / 2
        rising = q * hazard(law, u - q) < 1
        low, high = np.where(rising, q, low), np.where(rising, high, q)
    return low


def best_price(law, u, slope, low, high, cost):
    return np.clip(cost + markup(law, np.asarray(u - slope * cost, float)) / slope, low, high)


def fit(law, z, offset, c, radius=None):
    """The maximum likelihood estimate by SciPy, `(theta, information)`."""
    size = z.shape[1]

    def loss(theta):
        return -log_chance(law, c * (z @ theta - offset)).sum()

    def slope(theta):
        return -(z * (c * hazard(law, c * (z @ theta - offset)))[:, None]).sum(axis=0)

    ball = {"type": "ineq", "fun": lambda x: radius**2 - x @ x, "jac": lambda x: -2 * x}
    limits = {"method": "SLSQP", "constraints": [ball] if radius else [], "options": {"ftol": 1e-13, "maxiter": 500}}
    theta = optimize.minimize(loss, np.zeros(size), jac=slope, **limits).x
    w = z @ theta - offset
    return theta, (z * (hazard(law, w) * hazard(law, -w))[:, None]).T @ z


def distance(x, y, information):
    """Root mean square difference of two estimates in standard errors."""
    return math.sqrt((x - y) @ information @ (x - y) / x.size)


# the likelihood of a sale


@pytest.mark.parametrize("law", ["logistic", "gaussian"])
def test_likelihood_of_a_sale(law):
    """Against SciPy from deep in one tail to deep in the other; curvature is minus the derivative of the score."""
    v = np.concatenate([np.linspace(-40, 12, 521), [-4.0001, -3.9999]]).astype(np.float32)
    m, k = (np.asarray(x, float) for x in sale_likelihood.score(law, v))
    wide, h = v.astype(float), 1e-3
    np.testing.assert_allclose(m, hazard(law, wide), rtol=2e-5, atol=1e-30)
    slope = (hazard(law, wide - h) - hazard(law, wide + h)) / (2 * h)
    middle = np.abs(wide) < 12  # where differences of float64 have digits
    np.testing.assert_allclose(k[middle], slope[middle], rtol=2e-4, atol=1e-12)
    assert np.all(k >= 0) and np.all(k <= (0.25 if law == "logistic" else 1.0) + 1e-6)
    np.testing.assert_allclose(sale_likelihood.log_chance(law, v), log_chance(law, wide), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("law", ["logistic", "gaussian"])
def test_best_price_for_an_estimate(law):
    """The price with the largest profit of a fine grid, and the published check value."""
    scalars = [jnp.float32(x) for x in (0.1, 4.0, 0.3, 1.0)]
    seller = sale_likelihood.Market(*scalars, law, 1)
    price = jax.jit(jax.vmap(seller.best_price))
    u, slope = (x.ravel().astype(np.float32) for x in np.meshgrid(np.linspace(-6, 12, 13), [0.3, 1.0, 4.0, 12.0]))
    grid = np.linspace(0.1, 4.0, 4001)
    profit = (grid - 0.3) * np.exp(log_chance(law, u[:, None] - slope[:, None] * grid))
    mine = np.asarray(price(u, slope), float)
    gained = (mine - 0.3) * np.exp(log_chance(law, u - slope * mine))
    assert np.all(gained >= profit.max(axis=1) * (1 - 1e-5) - 1e-12)
    free = dataclasses.replace(seller, low=jnp.float32(0), cost=jnp.float32(0))
    if law == "gaussian":
        assert abs(free.best_price(jnp.float32(2.0), jnp.float32(4.0)) - 0.417078) < 2e-6
    else:  # W(1) + 1
        assert abs(free.best_price(jnp.float32(1.0), jnp.float32(1.0)) - 1.567143) < 2e-6


# ellipsoids


def ellipsoid(x, p, sale, a, shape, eps, margin):
    """One period: price before it is cut off, centre and A after it; in d >= 2 features."""
    d, w = x.size, math.sqrt(x @ shape @ x)
    if 2 * w <= eps:
        return x @ a - w - margin, a, shape
    c = 1 if sale else -1
    b, alpha = shape @ x / w, (c * (p - x @ a) - margin) / w
    if not -1 / d < alpha < 1:
        return x @ a, a, shape
    cut = shape - 2 * (1 + d * alpha) / ((d + 1) * (1 + alpha)) * np.outer(b, b)
    return x @ a, a + c * (1 + d * alpha) / (d + 1) * b, d**2 * (1 - alpha**2) / (d**2 - 1) * cut


@pytest.mark.parametrize(
    ("name", "margin"), [(LINEAR, 0.0), pytest.param(CERTAIN, 0.0, marks=pytest.mark.slow), (LINEAR, 0.02)]
)
def test_ellipsoid_step_for_step(name, margin):
    x, p, y, states = told(name, policies.ellipsoid_pricing(margin=margin))
    eps = max(SEEN**2 / HORIZON, 3e-5, 4 * SEEN * margin)
    for lane in range(3):
        a, shape = np.zeros(SEEN), 9 * np.eye(SEEN)
        for t in range(HORIZON):
            wanted, a, shape = ellipsoid(x[t, lane], p[t, lane], y[t, lane] > 0, a, shape, eps, margin)
            assert abs(p[t, lane] - np.clip(wanted, 0, 3)) < 1e-4
            factor = states.factor[t + 1, lane].astype(float)
            np.testing.assert_allclose(states.centre[t + 1, lane], a, atol=1e-4)
            np.testing.assert_allclose(factor @ factor.T, shape, atol=2e-4 * np.abs(shape).max())


@pytest.mark.parametrize("eps", some([1e-1, 1e-3], 1e-3))
def test_ellipsoid_invariants(eps):
    """Without noise theta never leaves the ellipsoid, volumes shrink by the exact factor, explorations are few."""
    horizon, d, radius, theta = 600, SEEN, 2.0, np.array([0.9, 0.6, 0.4])
    unit = np.array(ROWS) / np.linalg.norm(ROWS, axis=1, keepdims=True)
    name = (CERTAIN[0], (*CERTAIN[1][:-1], ("contexts", tuple(map(tuple, unit)))))
    x, p, y, states = (
        z if i == 3 else z[:, 0] for i, z in enumerate(told(name, policies.ellipsoid_pricing(radius, eps), horizon))
    )
    a, factor, explored = (z[:, 0] for z in (states.centre.astype(float), states.factor.astype(float), states.explored))
    away = np.linalg.norm(np.linalg.solve(factor, (theta - a)[..., None])[..., 0], axis=1)
    assert away.max() <= 1 + 1e-3
    explores = np.diff(explored) > 0
    assert 20 < explored[-1] <= 2 * d**2 * math.log(20 * radius * (d + 1) / eps)
    assert np.linalg.svd(factor)[1].min() >= eps / (20 * (d + 1))
    ratio = np.abs(np.linalg.det(factor[1:]) / np.linalg.det(factor[:-1]))
    exact = d / (d + 1) * (d**2 / (d**2 - 1)) ** ((d - 1) / 2)
    central = explores & (np.abs(p - np.einsum("td,td->t", x, a[:-1])) < 1e-6)
    assert central.sum() > 20 and exact <= math.exp(-1 / (2 * d))
    np.testing.assert_allclose(ratio[central], exact, rtol=2e-2 if eps < 1e-2 else 1e-3)  # widths of 1e-3, prices to 1e-7
    np.testing.assert_array_equal(factor[1:][~explores], factor[:-1][~explores])
    assert np.all(y[~explores] == 1) and np.all((x @ theta - p)[~explores] <= eps + 1e-4)


@pytest.mark.slow
def test_shallow_cuts_keep_theta_where_central_ones_lose_it():
    """Noise within the margin; each cut shrinks the volume."""
    noise = 0.1
    name = ("LinearValuation", (*CERTAIN[1], ("noise", "uniform"), ("scale", noise)))
    inside = {}
    for margin in (0.0, noise):
        states = told(name, policies.ellipsoid_pricing(radius=2.0, threshold=0.1, margin=margin), 600)[-1]
        centre, factor = states.centre[-1].astype(float), states.factor.astype(float)
        theta = np.array([0.9, 0.6, 0.4])
        away = np.linalg.solve(factor[-1], (theta - centre)[..., None])[..., 0]
        inside[margin] = np.linalg.norm(away, axis=1) <= 1 + 1e-3
        volume = np.abs(np.linalg.det(factor))
        assert np.all(volume[1:] <= volume[:-1] * (1 + 1e-5)) and states.explored[-1].min() > 5
    assert inside[noise].all() and inside[0.0].mean() < 0.5


def test_ellipsoid_in_one_dimension_is_bisection():
    policy, problem = policies.ellipsoid_pricing(radius=2.0, threshold=1e-3), problem_of(LINEAR)
    problem = dataclasses.replace(problem, context_size=1)
    state, interval = policy.init(jax.random.key(0), problem), [-2.0, 2.0]
    act, update = jax.jit(policy.act), jax.jit(policy.update)
    for value in (1.3,) * 12:
        observation = jnp.float32([0, 0, 0, 1])
        price = act(jax.random.key(0), state, observation)
        assert abs(price - np.clip(sum(interval) / 2, 0, 3)) < 1e-5
        interval[0 if value >= price else 1] = float(price)
        state = update(
            jax.random.key(0), state, Transition(observation, price, price, jnp.float32(value >= price), price, observation)
        )
        np.testing.assert_allclose(
            [state.centre[0], abs(state.factor[0, 0])], [sum(interval) / 2, np.ptp(interval) / 2], atol=1e-5
        )


# the estimate from a state of fixed size


@functools.cache
def long_run(law):
    """Synthetic sales `(z, offset, c)` of 24 lanes, and estimates after 16, 64, 128 and 1024 of them, float `[24, 4, 3]`."""
    rng = np.random.default_rng(3)
    lanes, n, times = 24, 1024, (16, 64, 128, 1024)
    z = rng.normal(size=(lanes, n, 3)).astype(np.float32) * [1, 0.7, 1.3]
    offset = rng.uniform(-1, 2, size=(lanes, n)).astype(np.float32)
    w = z @ [1.0, -0.8, 0.4] - offset
    c = np.where(rng.random((lanes, n)) < np.exp(log_chance(law, w)), 1.0, -1.0)

    def lane(z, offset, c):
        def period(sales, row):
            sales = sales.add(law, *row)
            return sales.revised((sales.count == 16) | sales.due(), law, 9.0), ()

        def to(sales, span):
            return jax.lax.scan(period, sales, [v[span[0] : span[1]] for v in (z, offset, c)])[0]

        states = [bounded_mle.no_sales(3)]
        for span in zip((0, *times), times, strict=False):
            states.append(to(states[-1], span))
        return jnp.stack([state.reference for state in states[1:]])

    run = jax.jit(jax.vmap(lane))
    return z, offset, c, np.asarray(run(*(v.astype(np.float32) for v in (z, offset, c))), float), times


@pytest.mark.slow
@pytest.mark.parametrize("law", ["logistic", "gaussian"])
def test_bounded_estimate_against_scipy(law):
    """Exact up to 64 sales; beyond, off by a tenth of a standard error (root mean square), by 1/2 at most."""
    z, offset, c, estimates, times = long_run(law)
    errors = np.array(
        [
            [
                distance(estimates[lane, i], *fit(law, z[lane, :n].astype(float), offset[lane, :n], c[lane, :n], 9.0))
                for lane in range(len(z))
            ]
            for i, n in enumerate(times)
        ]
    )
    assert errors[:2].max() < 1e-3
    rms = np.sqrt(np.mean(errors**2, axis=1))[2:]
    assert np.all(rms < 0.15) and errors[2:].max() < 0.5 and rms[1] > 1e-2


@pytest.mark.slow
def test_bounded_estimate_of_many_features_is_not_biased():
    """As many sales as `etc_glm` explores in 10,000 periods with 9 features, against Newton's method in float64.

    A Taylor expansion shrinks it, by a third of a standard error along theta, and is off by .1 in all.
    """
    rng, lanes, n, d = np.random.default_rng(0), 12, 911, 9
    x = (1 + rng.random((lanes, n, d))) / 3
    s = 2 * rng.random((lanes, n)) - 1
    w = x.sum(axis=2) / 3 * (1.6 - 1.5 * (1 + s))  # instance S1 of `GLMDemand`
    z = np.concatenate([x, -s[..., None] * x], axis=2)
    sale = rng.random((lanes, n)) < special.expit(w)

    def lane(z, sale):
        def period(sales, row):
            sales = sales.add("logistic", row[0], jnp.float32(0), row[1])
            return sales.revised((sales.count == n) | sales.due(), "logistic", 20.0, steps=200), None

        return jax.lax.scan(period, bounded_mle.no_sales(2 * d), (z, sale))[0].reference

    found = np.asarray(jax.jit(jax.vmap(lane))(z.astype(np.float32), sale.astype(np.float32)), float)
    errors, along = [], []
    for k in range(lanes):
        theta = np.zeros(2 * d)
        for _ in range(40):
            mean = special.expit(z[k] @ theta)
            information = (z[k] * (mean * (1 - mean))[:, None]).T @ z[k]
            move = np.linalg.solve(information, z[k].T @ (sale[k] - mean))
            theta += move * min(1, 2 / np.abs(move).max())
        errors.append(distance(found[k], theta, information))
        along.append((found[k] - theta) @ information @ theta / math.sqrt(theta @ information @ theta))
    assert np.sqrt(np.mean(np.square(errors))) < 0.08
    assert abs(np.mean(along)) < 4 * np.std(along) / math.sqrt(lanes) < 0.2


def test_estimate_of_separable_sales_is_on_the_ball():
    """No refusal at all: the likelihood rises for ever, and the ball says where to stop; nothing seen: the start stays."""
    sales, maximise = bounded_mle.no_sales(2), jax.jit(bounded_mle.maximise, static_argnames=("law", "norm"))
    for _ in range(3):
        sales = sales.add("logistic", jnp.float32([1, 0]), jnp.float32(0), jnp.float32(1))
    for norm in ("l2", "l1"):
        theta = maximise(sales, "logistic", jnp.zeros(2, jnp.float32), 5.0, norm=norm)
        np.testing.assert_allclose(theta, [5, 0], atol=1e-3)
    start = jnp.float32([0.5, -0.25])
    np.testing.assert_array_equal(maximise(bounded_mle.no_sales(2), "logistic", start, 5.0, norm="l2"), start)
    np.testing.assert_array_equal(maximise(sales.forget(True), "logistic", start, 5.0, norm="l2"), start)


def test_projections_on_balls():
    """Against the multiplier of the exact projection by bisection, in A's eigenvectors; in the plain and in the norm of A.

    A^-1 has eigenvalues down to 1e-5 of the largest. Where the multiplier is large, float32 carries x to three digits.
    """
    rng = np.random.default_rng(5)
    project = jax.jit(online_newton.project)
    multipliers = []
    for _ in range(8):
        y, root = rng.normal(size=3) * 2, rng.normal(size=(3, 3)) * [1, 0.1, 0.01]
        values, vectors = np.linalg.eigh(root @ root.T)
        along = vectors.T @ y

        def excess(multiplier, values=values, along=along):
            return np.linalg.norm(along / (1 + multiplier * values)) - 1.5

        multiplier = optimize.brentq(excess, 0, 1e8, xtol=1e-12, rtol=1e-14) if excess(0) > 0 else 0.0
        exact = vectors @ (along / (1 + multiplier * values))
        mine = np.asarray(project(jnp.float32(y), jnp.float32(root), jnp.float32(1.5)), float)
        np.testing.assert_allclose(mine, exact, atol=1e-5 if multiplier < 100 else 3e-3)
        multipliers.append(multiplier)
    assert min(multipliers) < 1 and max(multipliers) > 1e5
    inside = jnp.float32([0.3, -0.4, 1.2])
    np.testing.assert_array_equal(project(inside, jnp.eye(3, dtype=jnp.float32), jnp.float32(1.5)), inside)
    x = rng.normal(size=6)
    for radius in (0.5, 2.0, 50.0):
        moved = np.sign(x) * np.maximum(np.abs(x) - 0.1, 0)
        if np.abs(moved).sum() > radius:  # the threshold by bisection
            cut = optimize.brentq(lambda t: np.maximum(np.abs(moved) - t, 0).sum() - radius, 0, 10, xtol=1e-14)  # noqa: B023
            moved = np.sign(x) * np.maximum(np.abs(moved) - cut, 0)
        np.testing.assert_allclose(bounded_mle.onto_ball(jnp.float32(x), radius, "l1", 0.1), moved, atol=1e-6)


# policies for noise of a known scale


@pytest.mark.parametrize(("name", "law"), LAWS)
def test_onsp_step_for_step(name, law):
    """With a ball so small that it is always felt; A by sums, its inverse and the multiplier by LAPACK and SciPy."""
    x, p, y, states = told(name, policies.onsp(radius=0.9))
    mean, factor = states.inner.model.mean.astype(float), states.inner.model.factor.astype(float)
    felt = 0
    for lane in range(4):
        theta, metric = np.zeros(SEEN), np.eye(SEEN) / 0.25**2
        for t in range(HORIZON):
            z, offset, c = x[t, lane] / 0.25, p[t, lane] / 0.25, 2 * y[t, lane] - 1
            assert abs(p[t, lane] - best_price(law, z @ theta, 4.0, *ends(name))) < 1e-3
            gradient = -c * hazard(law, c * (z @ theta - offset)) * z
            metric = metric + np.outer(gradient, gradient)
            theta = theta - 3 * np.linalg.solve(metric, gradient)
            if np.linalg.norm(theta) > 0.9:
                felt += 1
                values, vectors = np.linalg.eigh(metric)
                along = values * (vectors.T @ theta)

                def excess(log_l, values=values, along=along):
                    return np.linalg.norm(along / (values + math.exp(log_l))) - 0.9

                theta = vectors @ (along / (values + math.exp(optimize.brentq(excess, -40, 40, xtol=1e-12))))
            inverse = factor[t + 1, lane] @ factor[t + 1, lane].T
            np.testing.assert_allclose(inverse, np.linalg.inv(metric), atol=1e-4 * np.abs(inverse).max())
            np.testing.assert_allclose(mean[t + 1, lane], theta, atol=2e-3)
            assert np.linalg.norm(mean[t + 1, lane]) <= 0.9 * (1 + 1e-5)
    assert felt > 40


def epochs(name, policy, law, radius):
    """For each lane and each of the first six epochs: `(z, offset, c)` of the epoch, and the estimate made from it."""
    x, p, y, states = told(name, policy)
    theta = states.inner.theta.astype(float)
    assert np.all(theta[0] == 0)
    for lane in range(4):
        for k in range(6):
            span = slice(2**k - 1, 2 ** (k + 1) - 1)
            rows = slice(span.stop, min(2 * span.stop + 1, HORIZON))
            assert np.ptp(theta[span.stop : rows.stop, lane], axis=0).max() == 0
            u = np.einsum("td,td->t", x[rows, lane], theta[rows, lane]) / 0.25
            np.testing.assert_allclose(p[rows, lane], best_price(law, u, 4.0, *ends(name)), atol=1e-4)
            yield x[span, lane] / 0.25, p[span, lane] / 0.25, 2 * y[span, lane] - 1, theta[span.stop, lane]


@pytest.mark.parametrize(("name", "law"), LAWS)
def test_emlp_epochs(name, law):
    """Each epoch has one estimate: SciPy's maximum of the likelihood of the epoch before, in the ball, and prices for it."""
    sizes = []
    for z, offset, c, theta in epochs(name, policies.emlp(), law, 3.0):
        exact, _ = fit(law, z, offset, c, 3.0)
        value, best = (log_chance(law, c * (z @ v - offset)).sum() for v in (theta, exact))
        assert value >= best - 1e-4 and np.linalg.norm(theta) <= 3 * (1 + 1e-5)
        if c.size == 32:
            np.testing.assert_allclose(theta, exact, atol=5e-3)
        sizes.append(np.linalg.norm(theta))
    assert min(sizes) < 2.9 < max(sizes)  # the ball is felt, and left


@pytest.mark.parametrize("penalty", some([0.1, 0.02], 0.1))
def test_rmlp_epochs(penalty):
    """Each estimate fulfils the conditions of the l1-penalised maximum: slopes +- lambda, smaller where zero."""
    zeros = 0
    for z, offset, c, theta in epochs(LINEAR, policies.rmlp(penalty=penalty), "logistic", 10.0):
        weight = penalty / 0.25 * math.sqrt(math.log(SEEN + 1) / c.size)
        slope = (z * (c * hazard("logistic", c * (z @ theta - offset)))[:, None]).mean(axis=0)
        total = np.abs(theta).sum()
        assert total <= 10 * (1 + 1e-5)
        if total > 9.99:  # on the ball, with a larger multiplier
            weight = max(weight, np.abs(slope).max())
        zeros += np.sum(theta == 0)
        at = theta != 0
        np.testing.assert_allclose(slope[at], (weight * np.sign(theta))[at], atol=2e-3)
        assert np.all(np.abs(slope) <= weight + 2e-3)
    assert zeros > 3


def test_rmlp2_explores_once_an_episode():
    """Random prices at t = 1, 2, 4, 7, ..., uniform; the estimate between them fulfils the conditions of the maximum."""
    x, p, y, states = told(LINEAR, policies.rmlp2())
    estimate, starts = states.sales.reference.astype(float), np.cumsum(np.arange(16))
    starts = starts[starts < HORIZON]
    drawn = p[starts].ravel() / 3
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3 and stats.kstest(drawn**2, "uniform").pvalue < 1e-6
    others = np.setdiff1d(np.arange(HORIZON), starts)
    u = np.einsum("tld,tld->tl", x, estimate[:-1, :, :-1])
    expected = best_price("logistic", u, np.maximum(estimate[:-1, :, -1], 0.5) / 3, *ends(LINEAR))
    np.testing.assert_allclose(p[others], expected[others], atol=2e-4)
    for lane in range(4):
        for k in (5, 10, len(starts)):
            rows = starts[:k]
            z = np.concatenate([x[rows, lane], -p[rows, lane, None] / 3], axis=1)
            c, theta = 2 * y[rows, lane] - 1, estimate[starts[k - 1] + 1, lane]
            weight = 0.03 * math.sqrt(math.log(SEEN + 2) / k)

            def gain(plus, minus, z=z, c=c, weight=weight):  # of plus - minus, neither negative
                return log_chance("logistic", c * (z @ (plus - minus))).mean() - weight * (plus + minus).sum()

            limits = {"bounds": [(0, 100)] * 8, "method": "L-BFGS-B", "options": {"maxiter": 2000, "ftol": 1e-14}}
            split = optimize.minimize(lambda v, gain=gain: -gain(v[:4], v[4:]), np.full(8, 0.1), **limits).x
            assert gain(np.maximum(theta, 0), np.maximum(-theta, 0)) >= gain(split[:4], split[4:]) - 2e-4


@pytest.mark.slow
def test_onsp_is_logarithmic_where_emlp_is_linear():
    """Contexts (1, 0) and (0, 1) in epochs that alternate: published, with N(0, .25^2) noise."""
    env, params = jaxprice.make("LinearValuation", noise="gaussian", theta=[0.8, 0.6], intercept=False, scale=0.25,
                                context="adversarial", contexts=[[1, 0], [0, 1]])  # fmt: skip
    both = {"emlp": policies.emlp(radius=1.0), "onsp": policies.onsp(radius=1.0)}
    result = jaxprice.simulate(env, both, lanes=40, horizon=2047, params=params, checkpoints=[127, 511, 2047])
    regret = {name: result.regret.sel(policy=name).values for name in both}
    assert regret["onsp"][2] < 6 and regret["onsp"][2] - regret["onsp"][1] < 1
    assert regret["emlp"][2] > 3 * regret["emlp"][1] and regret["emlp"][2] > 200


# bad input and odd data


NAMES = [
    "ellipsoid_pricing",
    "emlp",
    "etc_glm",
    "glm_greedy",
    "onsp",
    "perturbed_pricing",
    "random_price_shocks",
    "rmlp",
    "rmlp2",
]
WRONG = [
    ("ellipsoid_pricing", {"radius": 0.0}),
    ("ellipsoid_pricing", {"threshold": -1.0}),
    ("ellipsoid_pricing", {"margin": -0.1}),
    ("emlp", {"radius": -1.0}),
    ("etc_glm", {"scale": 0.0}),
    ("etc_glm", {"least": 0.0}),
    ("glm_greedy", {"first": 0}),
    ("glm_greedy", {"ridge": 0.0}),
    ("onsp", {"rate": 0.0}),
    ("onsp", {"start": -1.0}),
    ("onsp", {"projection": "none"}),
    ("perturbed_pricing", {"scale": -1.0}),
    ("perturbed_pricing", {"radius": 0.0}),
    ("random_price_shocks", {"shock": 0.6}),
    ("random_price_shocks", {"flattest": 0.1}),
    ("random_price_shocks", {"steepest": -0.01}),
    ("rmlp", {"penalty": -0.1}),
    ("rmlp2", {"penalty": math.nan}),
    ("rmlp2", {"least": 0.0}),
]


@pytest.mark.parametrize(("name", "options"), WRONG)
def test_bad_options(name, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        policies.make(name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_markets_that_are_refused(name):
    """A grid, no context, and for those that need them a known law and a known scale of the noise."""
    policy = policies.make(name)
    linear = problem_of(LINEAR)
    wrong = [problem_of("features"), problem_of("interval"), problem_of("several products")]
    if name != "random_price_shocks":
        wrong.append(dataclasses.replace(linear, law="unheard of"))
    if name in ("emlp", "onsp", "rmlp"):
        wrong += [dataclasses.replace(linear, details={}), problem_of(ELASTIC)]
    for problem in wrong:
        with pytest.raises(ValueError, match=name):
            policy.init(jax.random.key(0), problem)


@pytest.mark.parametrize("name", some(NAMES, "ellipsoid_pricing", "glm_greedy", "onsp", "random_price_shocks"))
def test_odd_data_leave_numbers(name):
    """The same buyer again and again, who always or never buys, or has no features: no NaN, prices in range."""
    policy, problem = policies.make(name), problem_of(LINEAR)

    def run(context, sale):
        observation = jnp.concatenate([jnp.zeros(3, jnp.float32), context])

        def period(state, key):
            price = policy.act(key, state, observation)
            return policy.update(key, state, Transition(observation, price, price, sale, price * sale, observation)), price

        return jax.lax.scan(period, policy.init(jax.random.key(1), problem), jax.random.split(jax.random.key(0), 140))

    contexts = jnp.float32([[1, 0, 0], [1, 0, 0], [0, 0, 0], [1e3, -1e3, 1e3]])
    state, prices = jax.jit(jax.vmap(run))(contexts, jnp.float32([1, 0, 1, 0]))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state) if np.issubdtype(leaf.dtype, np.floating))
    assert np.all(prices >= 0) and np.all(prices <= 3 + 1e-5)
