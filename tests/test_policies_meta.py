"""Policies that learn from product to product, against dense linear algebra, quadrature and exact solutions."""

import dataclasses
import functools
import importlib
import itertools

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, assert_choices, learn, market, play, problem_of
from scipy import stats

import jaxprice
from jaxprice import policies, random
from jaxprice.policies.parts import product_order
from jaxprice.types import Transition

N = 4  # products
SOME = range(0, LANES, 4)  # lanes that a reference follows
meta_dp = importlib.import_module("jaxprice.policies.related.meta_dynamic_pricing")


@functools.cache
def sequence(kind="piecewise"):
    """Four Gaussian bandits of one kind, one after the other or in turns."""
    base, _ = jaxprice.make("RelatedProducts", market="GaussianBandit", options={"num_arms": 3, "stds": 0.3}, similarity=0.7)
    return "NonStationary", (("market", base), ("kind", kind), ("num_markets", N), ("horizon", HORIZON))


@functools.cache
def lines(count=N):
    """Products with linear demand on an interval, one after the other."""
    base, _ = jaxprice.make("ParametricDemand", family="keskin_zeevi")
    return "NonStationary", (("market", base), ("num_markets", count), ("horizon", HORIZON))


KINDS = ("GLMDemand", (("link", "linear"), ("dimension", N), ("num_prices", 3), ("context", "unit"), ("low", 0.5)))


def where(order):
    return KINDS if order == "features" else sequence("calendar" if order == "turns" else "piecewise")


def product_of(order, t, context):
    if order == "features":
        return int(np.argmax(context))
    return t % N if order == "turns" else max(m for m in range(N) if t >= m * HORIZON // N)


def condition(mean, q, s, noise, data):
    """Mean and covariance of (mu, theta_1, ..., theta_N) given `(product, signal)` pairs: one dense Gaussian."""
    prior = q**2 * np.ones((N + 1, N + 1))
    prior[1:, 1:] += s**2 * np.eye(N)
    if not data:
        return np.full(N + 1, mean), prior
    rows = np.eye(N + 1)[[i + 1 for i, _ in data]]
    gain = prior @ rows.T @ np.linalg.inv(rows @ prior @ rows.T + noise**2 * np.eye(len(data)))
    return mean + gain @ (np.array([y for _, y in data]) - mean), prior - gain @ rows @ prior


@pytest.mark.parametrize("order", product_order.ORDERS)
def test_hierarchical_thompson_is_the_gaussian_conditioned_on_all_sales(order):
    mean, q, s, name = 0.4, 0.5, 0.2, where(order)
    noise = float(problem_of(name).noise_scale)
    policy = policies.hierarchical_thompson(N, order, mean, q, s)
    played = play(policy, name)
    for lane in SOME:
        data = {k: [] for k in range(3)}
        for t, (state, sale) in enumerate(played.lane(lane)):
            i = product_of(order, t, sale.observation[-N:])
            if t % 13 == 0 or t in (1, 29, 30, 31):
                exact = [condition(mean, q, s, noise, data[k]) for k in range(3)]
                center, variance = jax.tree.map(np.asarray, state.posterior(i, s))
                np.testing.assert_allclose(center, [e[0][i + 1] for e in exact], rtol=2e-5, atol=2e-5)
                np.testing.assert_allclose(variance, [e[1][i + 1, i + 1] for e in exact], rtol=2e-4)
                np.testing.assert_allclose(state.center, [e[0][0] for e in exact], rtol=2e-5, atol=2e-5)
                np.testing.assert_allclose(1 / state.precision, [e[1][0, 0] for e in exact], rtol=2e-4)
            data[int(sale.action)].append((i, float(sale.demand)))
    seen = {product_of(order, t, played.sales.observation[t, 0, -N:]) for t in range(HORIZON)}
    assert seen == set(range(N))


def test_hierarchical_posterior_by_quadrature():
    """One price, two products, five sales: mu and theta_1 on a grid of 1201 by 1201, theta_2 integrated likewise."""
    q, s, noise, mean = 0.5, 0.3, 0.4, 0.2
    actions, demands = [0] * 5, [0.9, 1.1, 0.2, 0.5, 0.7]
    problem = dataclasses.replace(problem_of("noisy", horizon=6), noise_scale=jnp.float32(noise))
    policy = policies.hierarchical_thompson(2, "turns", mean, q, s)
    state = harness.state_after(policy, problem, actions, demands, jnp.zeros(3))
    grid = np.linspace(-2.5, 3, 1201)
    like = [stats.norm.logpdf(np.array(demands[i::2])[:, None], grid, noise).sum(axis=0) for i in range(2)]
    given = np.exp(stats.norm.logpdf(grid[None, :], grid[:, None], s))  # [mu, theta]
    weight = np.exp(stats.norm.logpdf(grid, mean, q)) * (given @ np.exp(like[1]))
    joint = weight[:, None] * given * np.exp(like[0])[None, :]
    joint /= joint.sum()
    for axis, (center, variance) in ((1, (state.center, 1 / state.precision)), (0, state.posterior(0, s))):
        marginal = joint.sum(axis=axis)
        first = marginal @ grid
        np.testing.assert_allclose(center[0], first, atol=2e-5)
        np.testing.assert_allclose(variance[0], marginal @ (grid - first) ** 2, rtol=2e-4)


def best_of_normals(center, std, weights):
    """Probability that each of independent normals, times its weight, is the largest."""
    values, spread = weights * center, weights * std
    x = np.linspace((values - 8 * spread).min(), (values + 8 * spread).max(), 20001)
    cdf = stats.norm.cdf(x[:, None], values, spread)
    out = [
        np.trapezoid(stats.norm.pdf(x, values[k], spread[k]) * np.delete(cdf, k, axis=1).prod(axis=1), x)
        for k in range(len(values))
    ]
    return np.array(out)


def test_prices_are_drawn_from_the_posterior():
    problem, observation = problem_of("pricing"), jnp.zeros(3)
    margins, sales = np.asarray(problem.margins, float), ([0, 1, 2, 3, 1, 2], [1.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    state = harness.state_after(policies.hierarchical_thompson(2, "turns"), problem, *sales, observation)
    center, variance = (np.asarray(x, float) for x in state.posterior(0, 0.1))
    law = best_of_normals(center, np.sqrt(variance), margins)
    wrong = best_of_normals(center, np.sqrt(variance) / 1.3, margins)  # without the doubt about mu
    assert_choices(policies.hierarchical_thompson(2, "turns"), state, law, [wrong], observation)
    policy = policies.meta_thompson(2, std=0.4, spread=0.3)
    state = harness.state_after(policy, problem, *sales, observation)
    precision = 1 / 0.3**2 + np.asarray(state.counts, float) / 0.25
    center = (np.asarray(state.prior, float) / 0.3**2 + np.asarray(state.sums, float) / 0.25) / precision
    law = best_of_normals(center, precision**-0.5, margins)
    assert_choices(policy, state, law, [best_of_normals(center, 1.3 * precision**-0.5, margins)], observation)


def test_meta_thompson_step_by_step():
    mean, q, s, name = 0.4, 0.5, 0.2, sequence()
    noise = float(problem_of(name).noise_scale)
    played = play(policies.meta_thompson(N, mean, q, s), name)
    for lane in SOME:
        counts, sums, prior, past = np.zeros(3), np.zeros(3), None, {k: [] for k in range(3)}
        for t, (state, sale) in enumerate(played.lane(lane)):
            if t in [m * HORIZON // N for m in range(N)]:
                for k in range(3):
                    past[k] += [(counts[k], sums[k])] if counts[k] else []
                counts, sums, prior = np.zeros(3), np.zeros(3), state.prior
                precision = [1 / q**2 + sum(1 / (s**2 + noise**2 / n) for n, _ in past[k]) for k in range(3)]
                center = [mean / q**2 + sum(x / n / (s**2 + noise**2 / n) for n, x in past[k]) for k in range(3)]
                center = np.array(center) / precision
                assert np.all(np.abs(prior - center) * np.sqrt(precision) < 5)
            np.testing.assert_array_equal(state.prior, prior)
            np.testing.assert_array_equal(state.counts, counts)
            np.testing.assert_allclose(state.sums, sums, atol=1e-5)
            np.testing.assert_allclose(state.precision, precision, rtol=1e-5)
            np.testing.assert_allclose(state.center, center, rtol=1e-5, atol=1e-5)
            counts[sale.action] += 1
            sums[sale.action] += sale.demand


def test_meta_thompson_draws_the_prior_mean_from_its_posterior():
    policy, problem = policies.meta_thompson(2, mean=0.3, std=0.6, spread=0.2), problem_of("noisy", horizon=8)
    state = harness.state_after(policy, problem, [0, 1, 1], [0.5, 0.1, 0.4], jnp.zeros(3))
    sale = Transition(jnp.zeros(3), jnp.int32(2), jnp.float32(1), jnp.float32(0.9), jnp.float32(0.9), jnp.zeros(3))
    keys = jax.random.split(jax.random.key(1), 4000)
    after = jax.jit(jax.vmap(lambda key: policy.update(key, state, sale)))(keys)
    first = jax.jit(jax.vmap(lambda key: policy.init(key, problem)))(keys)
    for made in (after, first):
        z = np.asarray((made.prior - made.center) * jnp.sqrt(made.precision), float)
        assert all(stats.kstest(column, "norm").pvalue > 1e-3 for column in z.T)
        assert np.abs(np.corrcoef(z.T) - np.eye(4)).max() < 4 / 4000**0.5
    assert np.all(np.asarray(after.precision)[0, :3] > np.asarray(first.precision)[0, :3] + 1)
    assert np.all(np.asarray(after.counts) == 0)


def test_one_product_is_the_policy_for_one_product():
    """The same draws and the same prices, period by period."""
    plain = play(policies.gaussian_thompson(0.4, 0.5), "crowd").sales.action
    assert len(np.unique(plain)) == 4
    for policy in (policies.hierarchical_thompson(1, "sequence", 0.4, 0.4, 0.3), policies.meta_thompson(1, 0.4, 1e-6, 0.5)):
        np.testing.assert_array_equal(play(policy, "crowd").sales.action, plain)


def test_products_follow_each_other_as_in_the_market():
    def products(horizon, times, size):
        return jax.vmap(product_order.Catalogue(horizon, size, "sequence").now)(times)

    now = jax.jit(products, static_argnums=2)
    for horizon, size in ((120, 4), (100, 7), (5, 9), (10, 1), (2_000_000_011, 3), (1_999_999_999, 1000)):
        times = [t for m in range(size) for t in (m * horizon // size - 1, m * horizon // size) if 0 <= t < horizon]
        times = (times + [horizon - 1] * 2000)[:2000]
        expected = [max(m for m in range(size) if t >= m * horizon // size) for t in times[:50]]
        np.testing.assert_array_equal(now(jnp.int32(horizon), jnp.array(times, jnp.int32), size)[:50], expected)
    _, params = market(lines(7))
    catalogue = product_order.Catalogue(HORIZON, 7, "sequence")
    starts = [t for t in range(1, HORIZON) if catalogue.now(t) != catalogue.now(t - 1)]
    np.testing.assert_array_equal(params.path.changes, starts)


# meta_dynamic_pricing


def posterior(mean, cov, x, d, noise):
    """Normal-equations posterior of (m, s): mean and covariance."""
    rows = np.stack([np.ones_like(x), x], axis=1)
    precision = np.linalg.inv(cov) + rows.T @ rows / noise**2
    return np.linalg.solve(precision, np.linalg.solve(cov, mean) + rows.T @ d / noise**2), np.linalg.inv(precision)


def state_posterior(state):
    """The same from a state, turned back to the line at x = 0."""
    center, (p, q, r) = (np.asarray(v, float) for v in state.posterior())
    turn = np.array([[1, -float(state.line.sums.price)], [0, 1]])
    return turn @ center, turn @ np.linalg.inv([[p, q], [q, r]]) @ turn.T


@pytest.mark.parametrize("covariance", ["known", "estimated"])
def test_meta_dynamic_pricing_step_by_step(covariance):
    count, k, gap, spread, widening, cautious = 8, 2, 0.6, 0.07, 0.5, 3
    policy = policies.meta_dynamic_pricing(count, covariance, spread, widening, cautious, k, gap, 0.9, -0.2, 0.4)
    played, noise = play(policy, lines(count)), 0.1
    starts = [m * HORIZON // count for m in range(count)] + [HORIZON]
    for lane in SOME:
        steps, known = played.lane(lane), []
        for begin, end in itertools.pairwise(starts):
            x = np.array([(sale.price - 1.0) / 0.5 for _, sale in steps[begin:end]], float)
            d = np.array([sale.demand for _, sale in steps[begin:end]], float)
            np.testing.assert_allclose(x[: 2 * k], [-gap, gap] * k, atol=1e-6)
            mean, cov = np.array([0.9, -0.2]), 0.4**2 * np.eye(2)
            if len(known) >= cautious:
                mean, cov, n = np.mean(known, axis=0), spread**2 * np.eye(2), len(known)
                if covariance == "estimated":
                    sample = np.cov(np.transpose(known))
                    rows = np.stack([np.ones(2 * k), x[: 2 * k]], axis=1)
                    values, vectors = np.linalg.eigh(sample - noise**2 * np.linalg.inv(rows.T @ rows))
                    wide = widening * (2 / (n - 1)) ** 0.5 * sample.diagonal().max()
                    cov = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T + wide * np.eye(2)
            for i in (0, 1, 3, 2 * k, end - begin - 1):
                state = steps[begin + i][0]
                np.testing.assert_allclose(state.mean, mean, rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(np.array(state.cov)[[0, 1, 1, 2]], cov.ravel(), rtol=3e-3, atol=3e-6)
                got, exact = state_posterior(state), posterior(mean, cov, x[:i], d[:i], noise)
                np.testing.assert_allclose(got[0], exact[0], rtol=1e-3, atol=1e-4)
                np.testing.assert_allclose(got[1], exact[1], rtol=4e-3, atol=1e-6)
            known.append(np.linalg.lstsq(np.stack([np.ones(2 * k), x[: 2 * k]], axis=1), d[: 2 * k], rcond=None)[0])
        assert float(played.last.estimates.count[lane]) == count


def test_its_prices_have_the_law_of_the_best_price_of_a_drawn_line():
    """And not that with more spread, nor that with the other sign of the correlation at the mean price."""
    policy = policies.meta_dynamic_pricing(1, level=0.6, fall=-0.3, std=0.05)
    state = jax.tree.map(lambda x: jnp.asarray(x[10, 2]), play(policy, "interval").states)
    prices = harness.actions_of(policy, state, jnp.zeros(3))
    turn = np.array([[1, -float(state.line.sums.price)], [0, 1]])
    center, (p, q, r) = (np.asarray(v, float) for v in state.posterior())
    assert abs(q) > 0.1 * (p * r) ** 0.5

    def drawn(precision):
        m, s = (
            np.random.default_rng(0).multivariate_normal(turn @ center, turn @ np.linalg.inv(precision) @ turn.T, 200_000).T
        )
        return np.clip((1 - m / (s / 0.5)) / 2, 0.5, 1.5)

    right = np.array([[p, q], [q, r]])
    assert stats.ks_2samp(prices, drawn(right)).pvalue > 1e-3
    assert stats.ks_2samp(prices, drawn(right / 1.2)).pvalue < 1e-5
    assert stats.ks_2samp(prices, drawn(np.array([[p, -q], [-q, r]]))).pvalue < 1e-5


def test_with_one_product_it_has_the_posterior_of_bayesian_linear_pricing():
    prior = {"level": 0.9, "fall": -0.2, "std": 0.3}
    played = play(policies.meta_dynamic_pricing(1, **prior), "interval")
    single, problem = policies.bayesian_linear_pricing(**prior), problem_of("interval")

    start = single.init(jax.random.key(0), problem)
    for lane in SOME:
        sums = learn(single, start, jax.tree.map(lambda x, k=lane: x[:, k], played.sales)).line.sums
        center, cov = state_posterior(jax.tree.map(lambda x, k=lane: x[k], played.last))
        slope = float(sums.product / sums.squares)
        np.testing.assert_allclose(center, [float(sums.demand) - slope * float(sums.price), slope], rtol=1e-4)
        np.testing.assert_allclose(cov[1, 1], 0.1**2 / float(sums.squares), rtol=1e-3)


def test_positive_part_is_that_of_the_eigenvalues():
    matrices = np.random.default_rng(1).normal(size=(40, 2, 2))
    matrices = np.concatenate([matrices + np.swapaxes(matrices, 1, 2), [np.eye(2), -np.eye(2), np.zeros((2, 2))]])
    for matrix in matrices:
        values, vectors = np.linalg.eigh(matrix)
        exact = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T
        got = meta_dp.positive_part(*(jnp.float32(matrix[i]) for i in ((0, 0), (0, 1), (1, 1))))
        np.testing.assert_allclose(got, exact[[0, 0, 1], [0, 1, 1]], atol=2e-6)


# What is gained from product to product


def regret_of_products(make, options, env, params, count, each):
    """Mean regret of each product, `[option, count]`: one policy a row of the options; lanes have their own products."""
    words = {role: random.stream(3, role) for role in random.ROLES}

    def lane(values, params, number):
        def key(role, time=0):
            return random.address(words[role], time, number)

        def period(carry, time):
            obs, state, env_state = carry
            action = policy.act(key("act", time), state, obs)
            after, env_state, reward, _, info = env.step_env(key("demand", time), env_state, action, params)
            sale = Transition(obs, action, info["price"], info["demand"], reward, after)
            return (after, policy.update(key("update", time), state, sale), env_state), info["regret"]

        policy = make(*values)
        obs, env_state = env.reset_env(key("reset"), params)
        start = obs, policy.init(key("init"), env.problem(params)), env_state
        return jax.lax.scan(period, start, jnp.arange(count * each))[1].reshape(count, each).sum(axis=1)

    numbers = np.arange(len(params.max_steps_in_episode), dtype=np.uint32)
    run = jax.jit(jax.vmap(jax.vmap(lane, (None, 0, 0)), (0, None, None)))
    return np.asarray(run(options, params, numbers), float).mean(axis=1)


def batch_of(made, lanes, **moved):
    """A batch of the same sequences of products, with the given leaves of the products."""
    batch = jax.tree.map(lambda x: jnp.broadcast_to(x, (lanes, *np.shape(x))), made)
    return dataclasses.replace(batch, markets=dataclasses.replace(batch.markets, **moved))


@pytest.mark.slow
def test_later_products_lose_less_and_the_meta_regret_dies_out():
    """Bandits N(mu, .1^2), one mu; `known` is Thompson sampling with the true prior, and `alone` learns nothing of it."""
    count, each, lanes, mu = 12, 40, 400, np.array([0.1, 0.9, 0.6, 0.3], np.float32)
    base, one = jaxprice.make("GaussianBandit", means=mu, stds=0.5)
    env, made = jaxprice.make("NonStationary", market=base, markets=[one] * count, horizon=count * each)
    means = mu + 0.1 * np.random.default_rng(0).standard_normal((lanes, count, 4)).astype(np.float32)
    batch, flat = batch_of(made, lanes, means=means), np.full(4, 0.5, np.float32)
    numbers = np.array([[1e-4, 0.1], [0.5, 0.1], [1e-4, 0.5]], np.float32)
    options = np.stack([mu, flat, flat]), numbers[:, 0], numbers[:, 1]
    known, meta, alone = regret_of_products(
        lambda *values: policies.meta_thompson(count, *values), options, env, batch, count, each
    )
    options = tuple(x[1:2] for x in options)
    hierarchy = regret_of_products(
        lambda *values: policies.hierarchical_thompson(count, "sequence", *values), options, env, batch, count, each
    )[0]
    for learner in (meta, hierarchy):
        excess = learner - known
        assert excess[0] > 1.0, excess  # the first product pays for the prior
        assert abs(excess[6:].mean()) < 0.15 * excess[0], excess  # later ones do not
        assert learner[6:].mean() < 0.6 * alone[6:].mean()
    assert abs(alone[6:].mean() / alone[:6].mean() - 1) < 0.1  # who learns nothing from one to the next does not improve


@pytest.mark.slow
@pytest.mark.parametrize("covariance", ["known", "estimated"])
def test_meta_dynamic_pricing_gains_from_product_to_product(covariance):
    count, each, lanes = 10, 50, 300
    base, one = jaxprice.make(
        "PostedPrice", demand="linear", num_prices=None, low=0.5, high=1.5, noise="gaussian", noise_scale=0.2
    )
    env, made = jaxprice.make("NonStationary", market=base, markets=[one] * count, horizon=count * each)
    rng = np.random.default_rng(0)
    middle = 0.5 + 0.03 * rng.standard_normal((lanes, count)).astype(np.float32)  # demand at p = 1
    slope = 0.45 + 0.03 * rng.standard_normal((lanes, count)).astype(np.float32)
    batch = batch_of(made, lanes, demand=jaxprice.demand.Linear(middle + slope, slope))

    def make(widening):
        return policies.meta_dynamic_pricing(count, covariance, 0.03, widening, 3, tests=1, gap=1.0)

    (regret,) = regret_of_products(make, (np.ones(1, np.float32),), env, batch, count, each)
    assert np.ptp(regret[:3]) < 0.15 * regret[:3].mean()  # the cautious products
    assert regret[5:].mean() < (0.75 if covariance == "known" else 0.88) * regret[:3].mean(), regret


# Bad data and bad options


def test_degenerate_data_leave_no_nan():
    extremes = [
        policies.hierarchical_thompson(3, std=1e-6, spread=1e-6, noise=1e-6),
        policies.hierarchical_thompson(500, "turns", std=1e3, spread=1e3),
        policies.meta_thompson(500, std=1e3, spread=1e-6, noise=1e-6),
        policies.meta_thompson(3, mean=(0.1, 0.2, 0.3, 0.4)),
    ]
    sellers = [(policy, "noisy") for policy in extremes]
    for policy, label in [*sellers, (policies.o3fu((0.5, 0.5), (0.0, 0.0), noise=1e-6), "pricing")]:
        state = harness.state_after(policy, problem_of(label), [1] * 150, [0.0] * 150, jnp.zeros(3))
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))
        assert 0 <= int(jax.jit(policy.act)(jax.random.key(0), state, jnp.zeros(3))) < 4
    problem, same = problem_of("interval"), jnp.ones(150, jnp.float32)
    for options in ({"covariance": "estimated", "cautious": 3, "products": 30, "tests": 1}, {"std": 1e-3, "noise": 1e-6}):
        policy = policies.meta_dynamic_pricing(**options)
        sales = Transition(jnp.zeros((150, 3)), same, same, same, same, jnp.zeros((150, 3)))

        @jax.jit
        def told(sales, policy=policy):
            state = learn(policy, policy.init(jax.random.key(0), problem), sales)
            return state, policy.act(jax.random.key(1), state, jnp.zeros(3))

        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(told(sales)))


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("hierarchical_thompson", {"products": 0}, "products"),
        ("hierarchical_thompson", {"order": "random"}, "order"),
        ("hierarchical_thompson", {"std": 0.0}, "std"),
        ("hierarchical_thompson", {"spread": -1.0}, "spread"),
        ("hierarchical_thompson", {"noise": 0.0}, "noise"),
        ("hierarchical_thompson", {"signal": "price"}, "signal"),
        ("meta_thompson", {"products": 2.5}, "products"),
        ("meta_thompson", {"mean": float("nan")}, "mean"),
        ("meta_thompson", {"spread": 0.0}, "spread"),
        ("meta_dynamic_pricing", {"covariance": "full"}, "covariance"),
        ("meta_dynamic_pricing", {"covariance": "estimated", "cautious": 2}, "cautious"),
        ("meta_dynamic_pricing", {"tests": 0}, "tests"),
        ("meta_dynamic_pricing", {"gap": 1.5}, "gap"),
        ("meta_dynamic_pricing", {"widening": -1.0}, "widening"),
        ("o3fu", {"prices": (1.0,)}, "demands"),
        ("o3fu", {"prices": (1.0, 2.0), "demands": (0.5,)}, "prices"),
        ("o3fu", {"prices": (float("inf"),), "demands": (0.5,)}, "prices"),
        ("o3fu", {"width": -1.0}, "width"),
        ("o3fu", {"ridge": 0.0}, "ridge"),
        ("o3fu", {"failure": 2.0}, "failure"),
    ],
)
def test_bad_options_are_refused_by_name(name, options, word):
    with pytest.raises(ValueError, match=word):
        getattr(policies, name)(**options)


def test_markets_that_they_cannot_play_are_refused():
    for policy, label in (
        (policies.hierarchical_thompson(3, "features"), "bandit"),
        (policies.hierarchical_thompson(2, "features"), "features"),
        (policies.hierarchical_thompson(mean=(0.1, 0.2)), "bandit"),
        (policies.hierarchical_thompson(), "interval"),
        (policies.meta_thompson(), "interval"),
        (policies.meta_dynamic_pricing(), "bandit"),
        (policies.o3fu(), "several products"),
    ):
        with pytest.raises(ValueError, match=r"hierarchical_thompson|meta_thompson|meta_dynamic_pricing|o3fu"):
            policy.init(jax.random.key(0), problem_of(label))
