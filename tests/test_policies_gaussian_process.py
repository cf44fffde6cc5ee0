"""Demand as a Gaussian process, against regression and isotonic projection in float64."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, assert_choices, assert_index, play, problem_of, state_after
from scipy import optimize
from test_policies_posted_price import INTERVAL, KEY, lanes_of

import jaxprice
from jaxprice import policies
from jaxprice.policies.posted_price import falling_demand, own_grid, price_process

# Gaussian processes over the price


def kernel(name, r):
    a = {"rbf": 0, "matern32": math.sqrt(3), "matern52": math.sqrt(5)}[name] * r
    return {"rbf": math.exp(-r * r / 2), "matern32": (1 + a) * math.exp(-a), "matern52": (1 + a + a * a / 3) * math.exp(-a)}[
        name
    ]


def prior(name, prices, lengthscale, sd):
    x = (np.asarray(prices, float) - prices[0]) / (prices[-1] - prices[0])
    return sd**2 * np.array([[kernel(name, abs(a - b) / lengthscale) for b in x] for a in x])


def regression(covariance, mean, arms, y, noise):
    """Mean and covariance of a Gaussian process given sales, by solving for all of them at once."""
    arms = np.asarray(arms, int)
    if not arms.size:
        return np.full(len(covariance), mean), covariance
    across = covariance[:, arms]
    inverse = np.linalg.inv(covariance[np.ix_(arms, arms)] + noise**2 * np.eye(arms.size))
    return mean + across @ inverse @ (np.asarray(y, float) - mean), covariance - across @ inverse @ across.T


MODELS = [
    ("pricing", "rbf", policies.gp_ucb, {}),
    ("crowd", "matern52", policies.gp_ucb, {"monotone": True, "scale": 0.5, "delta": 0.3}),
    ("noisy grid", "matern32", policies.gp_ucb, {"signal": "reward", "prior_mean": 0.2, "prior_sd": 0.7}),
    ("pricing", "matern32", policies.gp_thompson, {}),
]
NOISY = ("PostedPrice", (("demand", "linear"), ("prices", (0.35, 0.55, 0.7, 0.9)), ("cost", 0.3), ("noise", "gaussian"),
                         ("noise_scale", 0.2)))  # fmt: skip
PLACES = {"noisy grid": NOISY}
NOISE = {"pricing": 0.5, "crowd": 0.5 / math.sqrt(3), "noisy grid": 0.2}


@pytest.mark.parametrize(("label", "name", "maker", "options"), MODELS)
def test_posterior_is_that_of_gaussian_process_regression(label, name, maker, options):
    place = PLACES.get(label, label)
    played = lanes_of(maker(kernel=name, lengthscale=0.4, **options), place)
    prices, source = np.array([0.35, 0.55, 0.7, 0.9]), options.get("signal", "demand")
    margins, sd, mean0 = prices - 0.3, options.get("prior_sd", 0.5), options.get("prior_mean", 0.5)
    covariance, led = prior(name, prices, 0.4, sd), 0
    buyers = 3 if label == "crowd" else 1
    for lane in played[:4]:
        arms, y = [], []
        for t, (state, sale) in enumerate(lane, start=1):
            checked = t < 10 or t % 10 == 0
            if checked:
                mean, spread = regression(covariance, mean0, arms, y, NOISE[label])
                np.testing.assert_allclose(state.mean, mean, atol=3e-5)
                np.testing.assert_allclose(state.root @ state.root.T, spread, atol=1e-5)
            if checked and maker is policies.gp_ucb:
                beta = 2 * math.log(4 * t**2 * math.pi**2 / (6 * options.get("delta", 0.1))) * options.get("scale", 0.2)
                bound = mean + np.sqrt(beta * np.diag(spread))
                if options.get("monotone"):
                    bound = np.array([bound[: i + 1].min() for i in range(4)])
                weights = margins if source == "demand" else np.full(4, 0.6)
                led += assert_index(int(sale.action), weights * bound, 2e-4)
            arms.append(int(sale.action))
            y.append(float(sale.demand) / buyers if source == "demand" else float(sale.reward) / 0.6)
    assert maker is policies.gp_thompson or led > 60


HISTORY = [0, 3, 3, 1, 3], [1, 0, 1, 1, 0]


@pytest.mark.parametrize("monotone", [False, True])
def test_gp_thompson_posts_prices_with_the_probability_that_they_are_best(monotone):
    problem = problem_of("pricing")
    policy = policies.gp_thompson(monotone=monotone, scale=1.2, lengthscale=0.6)
    prices = np.asarray(problem.prices, float)
    mean, spread = regression(prior("rbf", prices, 0.6, 0.5), 0.5, *HISTORY, 0.5)
    rng, margins = np.random.default_rng(0), prices - 0.3

    def chances(mean, spread, monotone):
        curves = rng.multivariate_normal(mean, spread, 800_000)
        if monotone:
            curves = project(curves)
        return np.bincount(np.argmax(margins * curves, axis=1), minlength=4) / len(curves)

    expected = chances(mean, 1.44 * spread, monotone)
    wrong = [chances(mean, 1.44 * np.diag(np.diag(spread)), monotone), chances(mean, 1.44 * spread, not monotone)]
    assert_choices(policy, state_after(policy, problem, *HISTORY), expected, against=wrong)


def project(curves):
    """Non-increasing fits of many curves: for each place the smallest, over starts, of the largest mean over ends."""
    size, out = curves.shape[1], []
    for i in range(size):
        best = [np.max([curves[:, a : b + 1].mean(axis=1) for b in range(i, size)], axis=0) for a in range(i + 1)]
        out.append(np.min(best, axis=0))
    return np.stack(out, axis=1)


@pytest.mark.parametrize("size", [1, 2, 9, 30])
def test_falling_is_isotonic_regression(size):
    curves = np.random.default_rng(size).normal(size=(50, size)).astype(np.float32)
    got = np.asarray(jax.jit(jax.vmap(falling_demand.falling))(curves))
    for curve, fitted in zip(curves, got, strict=True):
        np.testing.assert_allclose(fitted, optimize.isotonic_regression(curve.astype(float), increasing=False).x, atol=2e-6)
        assert np.all(np.diff(fitted) <= 1e-6)


@pytest.mark.parametrize("name", price_process.KERNELS)
def test_factor_of_the_prior(name):
    prices = np.linspace(0, 1, 30)
    wanted = prior(name, prices, 0.3, 1.0)
    distance = np.abs(prices[:, None] - prices[None]) / 0.3
    matrix = price_process.covariance(name, jnp.float32(distance))
    np.testing.assert_allclose(matrix, wanted, atol=1e-6)
    root = np.asarray(jax.jit(price_process.square_root, static_argnums=2)(matrix, 1e-5, 30), float)
    np.testing.assert_allclose(root @ root.T, wanted, atol=2e-5)
    assert (np.sum(root**2, axis=0) > 0).sum() == {"rbf": 9, "matern52": 30, "matern32": 30}[name]  # the rest is rounding
    assert price_process.rank_of(name, 0.3, 30) == {"rbf": 10, "matern52": 30, "matern32": 30}[name]
    assert price_process.rank_of(name, 0.3, 4) == 4


def test_the_root_survives_many_sales():
    """20,000 sales on 20 prices, smooth prior: where float32 covariances lose their positive diagonal."""
    size, count = 20, 20_000
    problem = dataclasses.replace(
        problem_of("pricing"), prices=jnp.linspace(0.35, 0.9, size), action_space=jaxprice.types.Discrete(size)
    )
    rng = np.random.default_rng(3)
    actions = np.where(rng.uniform(size=count) < 0.9, 7, rng.integers(0, size, count))
    demands = (rng.uniform(size=count) < 0.6 - 0.02 * actions).astype(float)
    state = state_after(policies.gp_thompson(), problem, actions, demands)
    n, total = np.bincount(actions, minlength=size), np.bincount(actions, demands, size)
    c0 = prior("rbf", np.linspace(0.35, 0.9, size), 0.3, 0.5)
    gain = np.linalg.solve(np.eye(size) + c0 * (n / 0.25), c0)  # (C0^-1 + N / s^2)^-1
    mean = 0.5 + gain @ ((total - 0.5 * n) / 0.25)
    sd = np.sqrt(np.diag(gain))
    assert np.all(np.abs(state.mean - mean) < 0.15 * sd)
    np.testing.assert_allclose(state.std, sd, rtol=0.03)


def test_own_grid_of_an_interval():
    for policy in (policies.gp_ucb(num_prices=5), policies.gp_thompson(num_prices=5, monotone=True)):
        played = play(policy, INTERVAL)
        np.testing.assert_allclose(played.last.prices[0], [0.2, 0.4, 0.6, 0.8, 1.0], atol=1e-6)
        assert np.all(np.min(np.abs(played.sales.price[..., None] - played.last.prices[0]), axis=-1) < 1e-6)
        assert np.all(np.isfinite(played.last.inner.root)) and played.last.inner.time[0] == HORIZON + 1
    assert own_grid.even(problem_of(INTERVAL), 1, first=True).tolist() == [np.float32(0.2)]


def test_degenerate_models_stay_finite():
    """Perfectly correlated prices, almost no noise, independent prices; demand that is always or never there."""
    problem = problem_of("pricing")
    for options in ({"lengthscale": 1e3, "noise": 0.001}, {"lengthscale": 0.001, "prior_sd": 100.0}, {"kernel": "matern32"}):
        policy = policies.gp_thompson(monotone=True, **options)
        for demand in (0.0, 1.0):
            state = state_after(policy, problem, [0] * 200 + [3] * 200, [demand] * 200 + [1 - demand] * 200)
            assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
            assert 0 <= int(policy.act(KEY, state, None)) < 4
    for policy in (policies.monotone_ucb(cap=1e-6), policies.monotone_ucb("ucb_v", window=1)):
        state = state_after(policy, problem, [0] * 200, [1.0] * 200)
        assert 0 <= int(policy.act(KEY, state, None)) < 4
