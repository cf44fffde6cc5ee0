"""Sellers who start with the true prior, or with sales of the past: Thompson sampling over markets, and O3FU."""

import dataclasses

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, learn, market, play, problem_of
from test_policies_meta import SOME, regret_of_products

import jaxprice
from jaxprice import policies, random
from jaxprice.types import Transition

# o3fu


def ridge_line(x, d, prior, ridged):
    """V and the ridge estimate by dense linear algebra."""
    rows = np.stack([np.ones_like(x), x], axis=1)
    v = ridged * np.eye(2) + rows.T @ rows
    return v, prior + np.linalg.solve(v, rows.T @ (d - rows @ prior))


@pytest.mark.parametrize("history", [0, 40])
def test_o3fu_maximises_over_prices_and_lines(history):
    """Against a fine grid of prices and of points on the ellipse; and the ellipse holds the truth, m = .6 and s = -.25."""
    rng = np.random.default_rng(0)
    prices = rng.uniform(1.2, 1.4, history)
    demands = 1.1 - 0.5 * prices + 0.1 * rng.standard_normal(history)
    given = {"prices": tuple(prices), "demands": tuple(demands)} if history else {}
    played = play(policies.o3fu(**given, ridge=2.0, size=0.3), "interval")
    ridged, prior, turn = 2.0 * 0.01, np.array([0.5, -0.25]), np.linspace(0, 2 * np.pi, 721)
    fine = np.linspace(0.5, 1.5, 2001)
    for lane in SOME:
        steps = played.lane(lane)
        posted = np.concatenate([prices, [sale.price for _, sale in steps]]).astype(float)
        sold = np.concatenate([demands, [sale.demand for _, sale in steps]]).astype(float)
        for t in (0, 1, 2, 5, 20, HORIZON - 1):
            x, d = (posted[: history + t] - 1) / 0.5, sold[: history + t]
            v, center = ridge_line(x, d, prior, ridged)
            w = 0.1 * np.sqrt(np.log(np.linalg.det(v) / ridged**2) + 4 * np.log(HORIZON)) + np.sqrt(ridged) * 0.3
            miss = np.array([0.6, -0.25]) - center
            assert miss @ v @ miss < w**2
            edge = center[:, None] + w * np.linalg.cholesky(np.linalg.inv(v)) @ np.stack([np.cos(turn), np.sin(turn)])
            profit = (fine[:, None] * (edge[0] + (fine[:, None] - 1) / 0.5 * edge[1])).max(axis=1)
            mine = np.interp(posted[history + t], fine, profit)
            assert mine > profit.max() - 1e-4 * np.ptp(profit), (t, posted[history + t], fine[np.argmax(profit)])
            if t == 0:
                np.testing.assert_allclose(steps[0][0].weight, v[0, 0], rtol=1e-5)


def test_o3fu_history_counts_as_sales():
    """The line after 30 sales given as history and 50 made is that after 80 sales made."""
    sales, problem = play(policies.o3fu(), "interval").sales, problem_of("interval")
    sales = jax.tree.map(lambda x: jnp.asarray(x[:80, 5]), sales)

    @jax.jit
    def after(sales, prices, demands):
        policy = policies.o3fu(prices, demands)
        return learn(policy, policy.init(jax.random.key(0), problem), sales)

    online = after(sales, None, None)
    mixed = after(jax.tree.map(lambda x: x[30:], sales), sales.price[:30], sales.demand[:30])
    empty = after(sales, jnp.zeros(0, jnp.float32), jnp.zeros(0, jnp.float32))
    for state in (mixed, empty):
        np.testing.assert_allclose(jax.tree.leaves(state.line.sums), jax.tree.leaves(online.line.sums), rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(state.weight + state.time, online.weight + online.time, rtol=1e-6)


@pytest.mark.parametrize("cost", [0.45, 1.0])
def test_o3fu_plays_price_grids_with_the_same_index(cost):
    name = "PostedPrice", (("demand", "linear"), ("prices", (0.35, 0.55, 0.7, 0.9)), ("cost", cost), ("buyers", 4))
    played, grid = play(policies.o3fu(), name), np.array([0.35, 0.55, 0.7, 0.9])
    noise, told = 0.25, 0
    for lane in SOME:
        steps = played.lane(lane)
        for t in (0, 3, 30, 90, 119):
            x = np.array([(sale.price - 0.625) / 0.275 for _, sale in steps[:t]], float)
            d = np.array([sale.demand / 4 for _, sale in steps[:t]], float)
            v, center = ridge_line(x, d, np.array([0.5, -0.25]), noise**2)
            w = noise * np.sqrt(np.log(np.linalg.det(v) / noise**4) + 4 * np.log(HORIZON)) + noise * 0.5
            z = np.stack([np.ones(4), (grid - 0.625) / 0.275])
            reach = w * np.sqrt(np.einsum("ik,ij,jk->k", z, np.linalg.inv(v), z))
            index = (grid - cost) * np.where(grid > cost, center @ z + reach, np.maximum(center @ z - reach, 0))
            told += harness.assert_index(steps[t][1].action, index)
    assert told > 8 if cost < 1 else np.all(played.sales.action[0] == 0)  # nobody may buy: all prices look alike at first


def test_o3fu_history_far_from_the_best_price_helps_and_at_it_does_not():
    """Demand 1.1 - .5 p, p* = 1.1; 2,000 sales at one price. The law: T / (T delta^2) once n > T."""
    env, params = jaxprice.make("ParametricDemand", family="keskin_zeevi")
    lanes, periods, n = 64, 1000, 2000
    batch = jax.tree.map(lambda x: jnp.broadcast_to(x, (lanes, *np.shape(x))), params)
    batch = dataclasses.replace(batch, max_steps_in_episode=jnp.full(lanes, periods, jnp.int32))
    rng = np.random.default_rng(1)
    at = np.array([[1.1], [0.9], [0.7], [0.5]], np.float32) + np.zeros((4, n), np.float32)
    sold = (1.1 - 0.5 * at + 0.1 * rng.standard_normal(at.shape)).astype(np.float32)
    same, near, far, farthest = regret_of_products(
        lambda *history: policies.o3fu(*history, width=0.3), (at, sold), env, batch, 1, periods
    )[:, 0]
    none = regret_of_products(
        lambda width: policies.o3fu(width=width), (np.full(1, 0.3, np.float32),), env, batch, 1, periods
    )[0, 0]
    assert farthest < far < near, (none, same, near, far, farthest)
    assert farthest < 0.3 * none and same > 0.5 * none, (none, same, near, far, farthest)


@pytest.mark.parametrize("label", ["bandit", "noisy"])
def test_prior_thompson_keeps_the_posterior(label):
    env, _ = market(label)
    policy = policies.prior_thompson(env, markets=50, seed=3)
    played = play(policy, label, horizon=30)
    words = random.stream(3, "init")
    draws = [env.sample_params(random.address(words, 0, number)).means for number in range(50)]
    means, problem = np.asarray(draws, float), problem_of(label)
    buyers, sigma = problem.buyers, float(problem.noise_scale)
    for k in SOME:
        log_weights = np.zeros(50)
        for state, sale in played.lane(k):
            np.testing.assert_allclose(state.log_weights, log_weights - log_weights.max(), rtol=1e-3, atol=2e-3)
            d, y = means[:, int(sale.action)], float(sale.demand)
            if problem.noise == "gaussian":
                log_weights = log_weights - 0.5 * ((y - buyers * d) / sigma) ** 2
            else:
                log_weights = log_weights + y * np.log(d) + (buyers - y) * np.log1p(-d)


def test_prior_thompson_is_thompson_where_the_prior_is_uniform():
    env, _ = market("bandit")
    policy = policies.prior_thompson(env, markets=4000)
    state = jax.jit(policy.init)(jax.random.key(0), problem_of("bandit"))
    sale = Transition(jnp.zeros(3), jnp.int32(0), jnp.float32(1), jnp.float32(1), jnp.float32(1), jnp.zeros(3))
    after = jax.jit(policy.update)(jax.random.key(0), state, sale)
    keys = jax.random.split(jax.random.key(1), 4000)
    for one, chance in ((state, 1 / 4), (after, 2 / 5)):  # Beta(2, 1) against three uniform arms: the integral of 2 x x^3
        picks = np.asarray(jax.jit(jax.vmap(policy.act, (0, None, None)))(keys, one, jnp.zeros(3)))
        error = 4 * (chance * (1 - chance) * (1 / 4000 + 1 / 4000)) ** 0.5  # of the draws, and of the markets
        assert abs(np.mean(picks == 0) - chance) < error


@pytest.mark.parametrize(("label", "horizon"), [("features", 12), ("inventory", HORIZON)])
def test_prior_thompson_where_markets_say_what_they_offer(label, horizon):
    """The posterior against NumPy; and what it believes of the true market is what that market does."""
    env, params = market(label)
    policy = policies.prior_thompson(env, markets=30, seed=3)
    played = play(policy, label, horizon=horizon)
    words, problem = random.stream(3, "init"), problem_of(label, horizon)
    drawn = [env.sample_params(random.address(words, 0, number)) for number in range(30)]
    prices = np.asarray(problem.prices, float)

    def mean_of(one, sale):
        k = int(sale.action)
        if label == "inventory":
            return float(np.asarray(one.demand)[k]) * (float(sale.observation[3]) > 0)
        context = np.asarray(sale.observation[-3:], float)
        return 1 / (1 + np.exp(-(context @ np.asarray(one.alpha) - context @ np.asarray(one.beta) * prices[k])))

    for k in SOME:
        log_weights = np.zeros(30)
        for state, sale in played.lane(k)[:20]:
            np.testing.assert_allclose(state.log_weights, log_weights - log_weights.max(), rtol=1e-3, atol=2e-3)
            d, y = np.array([mean_of(one, sale) for one in drawn]), float(sale.demand)
            log_weights = log_weights + y * np.log(np.maximum(d, 1e-12)) + (1 - y) * np.log(np.maximum(1 - d, 1e-12))
    truth = dataclasses.replace(params, max_steps_in_episode=jnp.int32(horizon))
    best = jax.jit(lambda obs, action: [env.offer(state, a, known)[1]
                                        for state, known in [env.believed(obs, truth, problem)]
                                        for a in (env.optimal_action(state, known), action)])  # fmt: skip
    for t in range(0, horizon, 5):
        ours, theirs = best(played.sales.observation[t, 0], played.sales.action[t, 0])
        assert float(ours - theirs) == pytest.approx(float(played.info["regret"][t, 0]), rel=1e-3, abs=1e-4)


def test_prior_thompson_with_one_market_is_its_oracle():
    """The market drawn is the truth: no regret, with features and with stock, greedy or not."""
    for label in ("features", "inventory"):
        env, _ = market(label)
        one = jax.jit(lambda env=env: env.sample_params(random.address(random.stream(3, "init"), 0, 0)))()
        for greedy in (False, True):
            policy = policies.prior_thompson(env, markets=1, seed=3, greedy=greedy)
            result = jaxprice.simulate(env, policy, lanes=4, horizon=20, params=one)
            np.testing.assert_allclose(result["lane_regret"], 0, atol=2e-4)


def test_prior_thompson_refusals():
    env, _ = market("bandit")
    with pytest.raises(ValueError, match="markets must be at most 100000"):
        policies.prior_thompson(env, markets=200_000)
    with pytest.raises(ValueError, match="whose mean demand is a table over prices, or that has `believed`"):
        policies.prior_thompson(market("reference price")[0])
    with pytest.raises(ValueError, match="prior_thompson chooses from a price grid"):
        policies.prior_thompson(market("interval")[0])
    policy = policies.prior_thompson(env, markets=5)
    with pytest.raises(ValueError, match="prior_thompson was made for 4 prices"):
        policy.init(jax.random.key(0), problem_of("mnl prices"))
