"""Markets: simulated against expected demand, oracles against brute force, autoreset, knowledge of sellers, bad input."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import jaxprice
from jaxprice import demand, random
from jaxprice.data import calibrated
from jaxprice.environment import Environment
from jaxprice.envs.market import ContextualMarket, MyopicMarket
from jaxprice.envs.planning import LongRunMarket
from jaxprice.envs.posted_price import PostedPrice
from jaxprice.types import Discrete, Interval

DRAWS = 40_000
SMALL = {"num_segments": 30, "num_prices": 8}
ONE_PRODUCT_MARKETS = {
    "bernoulli bandit": ("BernoulliBandit", {"means": [0.05, 0.4, 0.97]}),
    "gaussian bandit": ("GaussianBandit", {"means": [-0.3, 0.4, 2.0], "stds": [0.1, 1.0, 3.0]}),
    "one buyer": ("PostedPrice", {"demand": "logit", "num_prices": 6}),
    "five buyers": ("PostedPrice", {"demand": "linear", "num_prices": 6, "buyers": 5, "cost": 0.2}),
    "poisson": ("PostedPrice", {"demand": "iso_elastic", "num_prices": 6, "noise": "poisson", "buyers": 12}),
    "gaussian": (
        "PostedPrice",
        {"demand": "mixture", "num_prices": 9, "noise": "gaussian", "buyers": 3, "noise_scale": 0.7},
    ),
    "uneven prices": ("PostedPrice", {"demand": "probit", "prices": [0.1, 0.35, 0.4, 0.9]}),
    "interval": ("PostedPrice", {"demand": "logit", "num_prices": None, "cost": 0.5}),
    "interval, searched": ("PostedPrice", {"demand": "probit", "num_prices": None, "cost": 0.1, "buyers": 2}),
    "interval, poisson": ("PostedPrice", {"demand": "exponential", "num_prices": None, "noise": "poisson"}),
    "segments": ("SegmentedValuation", {"law": "beta(2,2)", "half_width": 0.2, **SMALL}),
    "two points": ("SegmentedValuation", {"law": "two points", **SMALL}),
    "apple": ("apple", {}),
    "yogurt, interval": ("yogurt", {"num_prices": None}),
    "products": ("CalibratedProducts", {"markets": ["yogurt", "tuna"]}),
}
BUYERS = ("bernoulli bandit", "one buyer", "five buyers", "poisson", "interval", "segments", "two points", "apple")
INFO = {"price", "demand", "reward", "regret", "optimal_reward"}


@functools.cache
def market(name):
    kind, options = ONE_PRODUCT_MARKETS[name]
    env, params = jaxprice.make(kind, **options)
    params = jax.tree.map(jnp.asarray, params)
    return env, params, start(env)(jax.random.key(0), params)[1]


@functools.cache
def start(env):
    return jax.jit(env.reset)


def actions_of(env, params):
    """Every action of a grid, or some prices of an interval."""
    if isinstance(env.action_space(params), Discrete):
        return np.arange(env.num_actions)
    return np.linspace(params.low, params.high, 5, dtype=np.float32)


@functools.cache
def table(name):
    """Expected demand of one buyer at each action of a grid."""
    env, params, _ = market(name)
    return np.asarray(jax.jit(env.table)(params), float)


def mean_of(name, action):
    """Expected demand of one buyer and the price."""
    env, params, _ = market(name)
    if hasattr(params, "means"):
        return float(params.means[action]), 1.0
    if isinstance(env.action_space(params), Discrete):
        return table(name)[action], float(params.prices[action])
    return float(params.demand.mean(action)), float(action)


@functools.cache
def played(name):
    """`info` of `DRAWS` periods for the same buyers at each action, `[actions, DRAWS]`."""
    env, params, state = market(name)
    words = random.stream(7, "demand")

    def one(lane, action):
        return env.step_env(random.address(words, 3, lane), state, action, params)[4]

    lanes = np.arange(DRAWS, dtype=np.uint32)
    return jax.device_get(jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))(lanes, actions_of(env, params)))


@pytest.mark.parametrize("name", ONE_PRODUCT_MARKETS)
def test_simulated_demand_has_the_expected_mean(name):
    env, params, state = market(name)
    info = played(name)
    assert np.std([mean_of(name, a)[0] for a in actions_of(env, params)]) > 0.01
    for k, action in enumerate(actions_of(env, params)):
        mean, price = mean_of(name, action)
        sales = info["demand"][k].astype(float)
        error = sales.std() / np.sqrt(DRAWS) + 1e-6
        assert abs(sales.mean() - env.buyers * mean) < 4 * error, action
        np.testing.assert_allclose(info["price"][k], price, rtol=1e-6)
        np.testing.assert_allclose(info["reward"][k], (price - float(params.cost)) * sales, rtol=1e-5, atol=1e-6)
        expected = float(env.expected_reward(state, action, params))
        assert expected == pytest.approx(env.buyers * (price - float(params.cost)) * mean, rel=1e-5, abs=1e-6)


def test_bernoulli_sales_are_binomial():
    name = "five buyers"
    for k, action in enumerate(actions_of(*market(name)[:2])[:-1]):
        counts = np.bincount(played(name)["demand"][k].astype(int), minlength=6)
        law = stats.binom.pmf(np.arange(6), 5, mean_of(name, action)[0])
        assert stats.chisquare(counts, law / law.sum() * DRAWS).pvalue > 1e-4
    assert set(np.unique(played("one buyer")["demand"])) == {0, 1}


@pytest.mark.parametrize("mean", [0.05, 1.0, 7.5, 40.0])
def test_poisson_sales(mean):
    """Against the law at its smallest and largest means; 40 is the largest that `make` allows."""
    buyers = int(np.ceil(mean))
    curve = demand.Linear(np.float32(mean / buyers), np.float32(0))
    env, params = jaxprice.make("PostedPrice", demand=curve, num_prices=2, noise="poisson", buyers=buyers)
    state = start(env)(jax.random.key(0), params)[1]
    step = jax.jit(jax.vmap(lambda key: env.step_env(key, state, 0, params)[4]["demand"]))
    sales = np.asarray(step(jax.random.split(jax.random.key(5), DRAWS)), float)
    assert abs(sales.mean() - mean) < 4 * np.sqrt(mean / DRAWS)
    spread = np.sqrt((mean + 2 * mean**2) / DRAWS)  # standard error of the sample variance
    assert abs(sales.var() - mean) < 4 * spread
    cells = np.arange(stats.poisson.ppf(1e-4, mean), stats.poisson.ppf(1 - 1e-4, mean) + 1)
    counts = np.bincount(np.clip(sales, cells[0], cells[-1]).astype(int) - int(cells[0]), minlength=cells.size)
    law = stats.poisson.pmf(cells, mean)
    law[0], law[-1] = stats.poisson.cdf(cells[0], mean), stats.poisson.sf(cells[-1] - 1, mean)
    assert stats.chisquare(counts, law * DRAWS).pvalue > 1e-4


@pytest.mark.parametrize(("name", "scales"), [("gaussian", [0.7] * 9), ("gaussian bandit", [0.1, 1.0, 3.0])])
def test_gaussian_demand(name, scales):
    env, _, _ = market(name)
    for k, scale in enumerate(scales):
        mean = env.buyers * mean_of(name, k)[0]
        assert stats.kstest(played(name)["demand"][k], stats.norm(mean, scale).cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", BUYERS)
def test_a_lower_price_never_loses_a_sale(name):
    env, params, _ = market(name)
    sales = played(name)["demand"]
    assert name == "bernoulli bandit" or np.all(np.diff(params.prices if env.num_actions else [0, 1]) > 0)
    if name == "bernoulli bandit":
        sales = sales[::-1]  # all arms cost one; in this one they get better
    assert np.all(np.diff(sales, axis=0) <= 0) and np.any(np.diff(sales, axis=0) < 0)


@pytest.mark.parametrize("name", ONE_PRODUCT_MARKETS)
def test_the_oracle_is_the_best_action(name):
    env, params, state = market(name)
    interval = isinstance(env.action_space(params), Interval)
    actions = np.linspace(params.low, params.high, 3001, dtype=np.float32) if interval else actions_of(env, params)
    rewards = np.asarray(jax.vmap(lambda a: env.expected_reward(state, a, params))(actions), float)
    best, top = env.optimal_action(state, params), float(env.optimal_reward(state, params))
    assert top == pytest.approx(float(env.expected_reward(state, best, params)), rel=1e-6)
    if interval:
        assert params.low < best < params.high
        assert rewards.max() - 1e-6 <= top <= rewards.max() + 1e-5
        assert abs(best - actions[rewards.argmax()]) < 0.02 * (params.high - params.low)
    else:
        assert top == pytest.approx(rewards.max(), rel=1e-6) and int(best) == rewards.argmax()
    regret = played(name)["regret"]
    own = np.asarray(jax.vmap(lambda a: env.expected_reward(state, a, params))(actions_of(env, params)))
    np.testing.assert_allclose(regret, np.broadcast_to((top - own)[:, None], regret.shape), atol=2e-6)
    assert regret.min() >= -1e-6 and regret.max() > 0.01
    np.testing.assert_array_equal(played(name)["optimal_reward"], np.float32(top))


def test_an_interval_earns_at_least_what_its_grid_does():
    for curve in ("logit", "mixture", "atoms"):
        best = {}
        for num_prices in (None, 4, 7):  # seven prices are the four and three between
            env, params = jaxprice.make("PostedPrice", demand=curve, num_prices=num_prices)
            best[num_prices] = float(jax.jit(env.reset_env)(jax.random.key(0), params)[1].best_reward)
        assert best[None] >= best[7] - 1e-6 and best[7] >= best[4] - 1e-6
        assert best[None] > best[4] or curve == "atoms"


def test_prices_of_an_interval_are_clipped():
    env, params, state = market("interval")
    info = [env.step_env(jax.random.key(0), state, np.float32(price), params)[4] for price in (-3, 100)]
    assert [float(x["price"]) for x in info] == [params.low, params.high]


@pytest.mark.parametrize("name", ONE_PRODUCT_MARKETS)
def test_info_is_static_and_scalar(name):
    env, params, state = market(name)
    action = actions_of(env, params)[1]
    out = jax.eval_shape(env.step_env, jax.random.key(0), state, action, params)
    assert set(out[4]) == INFO
    assert all(x.shape == () and x.dtype == jnp.float32 for x in out[4].values())
    assert out[2].shape == () and out[3].dtype == bool
    obs, fresh = jax.eval_shape(env.reset_env, jax.random.key(0), params)
    assert (out[0], out[1]) == (obs, fresh)


@pytest.mark.parametrize("name", ["bernoulli bandit", "five buyers", "interval", "segments", "apple"])
def test_step_resets_at_the_horizon(name):
    env, params, _ = market(name)
    params = dataclasses.replace(params, max_steps_in_episode=np.int32(3))
    first, state = start(env)(jax.random.key(0), params)
    step, inner, action = jax.jit(env.step), jax.jit(env.step_env), actions_of(env, params)[0]
    for episode in range(2):
        for time in range(1, 4):
            key = jax.random.fold_in(jax.random.key(1), 10 * episode + time)
            before = state
            obs, state, reward, terminated, truncated, info = step(key, before, action, params)
            assert not terminated and bool(truncated) == (time == 3)
            assert float(reward) == float(info["reward"])
            if time < 3:
                assert int(state.time) == time
                assert jax.tree.structure(obs) == jax.tree.structure(first)
                assert jax.tree.leaves(obs)[0].shape == jax.tree.leaves(first)[0].shape
            else:
                assert int(state.time) == 0
                jax.tree.map(np.testing.assert_array_equal, obs, first)
                ends = inner(key, before, action, params)[1]
                assert int(ends.time) == 3  # without autoreset the clock runs on
    obs, _ = env.reset(jax.random.key(0))
    assert jax.tree.structure(obs) == jax.tree.structure(first)


@pytest.mark.parametrize("given", [True, False], ids=["params of make", "default params"])
@pytest.mark.parametrize("name", ["BernoulliBandit", "PostedPrice"])
def test_traced_actions_work_with_params_that_are_not_traced(name, given):
    env, params = jaxprice.make(name)
    params = params if given else None
    _, state = start(env)(jax.random.key(0), params)
    reward = jax.jit(lambda action: env.step(jax.random.key(0), state, action, params)[2])(2)
    assert float(reward) == float(env.step(jax.random.key(0), state, 2, params)[2])


def test_params_may_be_left_out():
    env = jaxprice.make("BernoulliBandit")[0]
    obs, state = env.reset(jax.random.key(0))
    same = env.reset(jax.random.key(0), env.default_params())
    jax.tree.map(np.testing.assert_array_equal, (obs, state), same)
    out = env.step(jax.random.key(1), state, 2)
    jax.tree.map(np.testing.assert_array_equal, out, env.step(jax.random.key(1), state, 2, env.default_params()))
    assert env.action_space() == Discrete(10)


def test_the_observation_is_what_the_seller_saw():
    env, params, state = market("five buyers")
    params = dataclasses.replace(params, max_steps_in_episode=np.int32(10))
    first, _ = start(env)(jax.random.key(0), params)
    np.testing.assert_array_equal(first, [0, 0, 0])
    obs, _, _, _, info = env.step_env(jax.random.key(0), state, 1, params)
    np.testing.assert_allclose(obs, [0.1, info["price"], info["demand"] / 5], rtol=1e-6)


def test_segmented_observations():
    env, params, state = market("segments")
    first, _ = start(env)(jax.random.key(0), params)
    assert np.all(first.segments == -1) and not np.any(first.purchases)
    keys = jax.random.split(jax.random.key(3), 5000)
    obs, _, _, _, info = jax.jit(jax.vmap(lambda key: env.step_env(key, state, 3, params)))(keys)
    np.testing.assert_array_equal(obs.purchases.sum(1), info["demand"])
    np.testing.assert_array_equal(obs.price, info["price"])
    np.testing.assert_array_equal(obs.shares[0], params.shares)
    counts = np.bincount(np.ravel(obs.segments), minlength=params.shares.size)
    assert counts.size == params.shares.size
    shares = np.asarray(params.shares, float)
    assert stats.chisquare(counts, shares / shares.sum() * counts.sum()).pvalue > 1e-4
    bought = np.bincount(np.ravel(obs.segments), np.ravel(obs.purchases), minlength=counts.size)
    chance = np.clip((np.asarray(params.midpoints, float) + 0.2 - params.prices[3]) / 0.4, 0, 1)
    error = np.sqrt(counts * chance * (1 - chance))
    assert np.all(np.abs(bought - counts * chance) <= 4.5 * error + 1e-9)


def other_truth(env, params):
    """The same market with another demand."""
    if hasattr(params, "means"):
        return dataclasses.replace(params, means=params.means[::-1] * np.float32(0.5))
    if hasattr(params, "shares"):
        return dataclasses.replace(
            params, midpoints=params.midpoints[::-1] * np.float32(0.9), half_width=params.half_width / 2
        )
    curve = type(params.demand).sample(jax.random.key(9))
    return dataclasses.replace(params, demand=jax.tree.map(np.asarray, curve))


@pytest.mark.parametrize("name", ONE_PRODUCT_MARKETS)
def test_the_seller_is_not_told_the_demand(name):
    env, params, _ = market(name)
    other = other_truth(env, params)
    a, b = (jax.tree.leaves(start(env)(jax.random.key(0), p)) for p in (params, other))
    assert any(not np.array_equal(x, y) for x, y in zip(a, b, strict=True))  # it is another market
    told, again = env.problem(params), env.problem(other)
    assert jax.tree.structure(told) == jax.tree.structure(again)
    jax.tree.map(np.testing.assert_array_equal, told, again)
    first, same = (start(env)(jax.random.key(0), p)[0] for p in (params, other))
    jax.tree.map(np.testing.assert_array_equal, first, same)


@pytest.mark.parametrize("name", ONE_PRODUCT_MARKETS)
def test_the_seller_is_told_the_rules(name):
    env, params, _ = market(name)
    problem = env.problem(params)
    np.testing.assert_array_equal(problem.prices, params.prices)
    assert problem.num_prices == env.num_actions and problem.buyers == env.buyers
    assert float(problem.cost) == float(params.cost) and int(problem.horizon) == params.max_steps_in_episode
    assert float(problem.low) <= float(problem.high)
    if env.num_actions:
        assert problem.action_space == Discrete(env.num_actions)
        np.testing.assert_allclose(problem.margins, params.prices - params.cost)
    else:
        assert problem.action_space == Interval() and problem.num_prices == 0


@pytest.mark.parametrize("name", ONE_PRODUCT_MARKETS)
def test_markets_can_be_drawn_in_batches(name):
    env, params, _ = market(name)
    keys = jax.random.split(jax.random.key(2), 4)
    batch = jax.jit(jax.vmap(env.sample_params))(keys)
    assert jax.tree.structure(batch) == jax.tree.structure(params)
    for many, one in zip(jax.tree.leaves(batch), jax.tree.leaves(params), strict=True):
        assert many.shape == (4, *np.shape(one)) and many.dtype == one.dtype
    assert max(len(np.unique(leaf, axis=0)) for leaf in jax.tree.leaves(batch)) == 4
    one = jax.jit(env.sample_params)(keys[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-5, atol=1e-6), batch, one)


OPTIMA = {  # law -> best price, its profit, share of it that a uniformly random price of the grid earns
    "beta(2,9)": (0.16, 0.08396, 0.290),
    "beta(2,2)": (0.42, 0.25930, 0.585),
    "beta(9,2)": (0.67, 0.58566, 0.583),
    "beta(.2,.3)": (0.73, 0.22358, 0.707),
    "two points": (0.80, 0.24000, 0.572),
}


@pytest.mark.parametrize("law", OPTIMA)
def test_exact_optima_of_segmented_markets(law):
    """Many equal segments at the quantiles of the law of the midpoints."""
    size = 20_000
    quantiles = (np.arange(size) + 0.5) / size
    if law == "two points":
        midpoints = np.where(quantiles < 0.7, 0.2, 0.9)
    else:
        midpoints = special.betaincinv(*map(float, law[5:-1].split(",")), quantiles)
    env = jaxprice.envs.SegmentedValuation(law=law, num_segments=size)
    params = env.params_of(np.full(size, 1 / size, np.float32), midpoints.astype(np.float32))
    profit = np.asarray(params.prices * jax.jit(env.table)(params), float)
    state = start(env)(jax.random.key(0), params)[1]
    price, top, share = OPTIMA[law]
    assert params.prices[profit.argmax()] == np.float32(price) == params.prices[env.optimal_action(state, params)]
    assert profit.max() == pytest.approx(top, abs=1.1e-5)
    assert float(env.optimal_reward(state, params)) == pytest.approx(10 * top, abs=1.1e-4)
    assert profit.mean() / profit.max() == pytest.approx(share, abs=6e-4)


@pytest.mark.parametrize("law", OPTIMA)
def test_sampled_segments_follow_their_law(law):
    size = 4000
    params = jaxprice.make("SegmentedValuation", law=law, num_segments=size, num_prices=3)[1]
    assert params.shares.astype(float).sum() == pytest.approx(1, abs=1e-5)
    assert stats.kstest(params.shares * size, stats.expon.cdf).pvalue > 1e-4
    if law == "two points":
        assert set(np.unique(params.midpoints)) == {np.float32(0.2), np.float32(0.9)}
        assert abs((params.midpoints < 0.5).mean() - 0.7) < 4 * np.sqrt(0.21 / size)
    else:
        shapes = map(float, law[5:-1].split(","))
        assert stats.kstest(params.midpoints, stats.beta(*shapes).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(params.shares, params.midpoints)[0, 1]) < 5 / np.sqrt(size)


@pytest.mark.parametrize("name", calibrated.names())
def test_calibrated_markets(name):
    fit = calibrated.load(name)
    env, params = jaxprice.make(name)
    assert env.name == name and params.prices.size == 10
    np.testing.assert_allclose([params.prices[0], params.prices[-1]], [fit.price_low, fit.price_high], rtol=1e-6)
    np.testing.assert_allclose(env.table(params), fit.demand(params.prices), rtol=1e-5)
    interval, params = jaxprice.make(name, num_prices=None)
    best = interval.optimal_action(interval.reset(jax.random.key(0), params)[1], params)
    assert float(best) == pytest.approx(fit.optimal_price, rel=1e-5)
    size = 40_000
    curves = jax.jit(jax.vmap(lambda key: env.sample_params(key).demand))(jax.random.split(jax.random.key(3), size))
    draws = np.stack([curves.intercept, curves.slope], 1).astype(float)
    root = np.linalg.cholesky(fit.curve_covariance)
    standard = np.linalg.solve(root, (draws - [fit.intercept, fit.slope]).T)
    assert np.abs(standard.mean(1)).max() < 4.5 / np.sqrt(size) + 1e-3  # the second: float32 against narrow laws
    np.testing.assert_allclose(np.cov(standard), np.eye(2), atol=0.03)


def test_options_reach_the_market():
    env, params = jaxprice.make("PostedPrice", demand="probit", num_prices=3, low=0.2, high=0.6, cost=0.1, horizon=77)
    np.testing.assert_allclose(params.prices, [0.2, 0.4, 0.6], rtol=1e-6)
    assert (float(params.cost), int(params.max_steps_in_episode), env.curve) == (np.float32(0.1), 77, "probit")
    own = demand.Logit(2.0, -0.5)
    env, params = jaxprice.make("PostedPrice", demand=own, prices=[1, 2, 5])
    np.testing.assert_allclose(env.table(params), special.expit(-(2 * np.array([1, 2, 5]) - 0.5)), rtol=1e-5)
    assert jaxprice.make("BernoulliBandit", num_arms=4)[1].means.tolist() == pytest.approx(
        [0.1, 0.1 + 0.8 / 3, 0.9 - 0.8 / 3, 0.9]
    )
    assert jaxprice.make("GaussianBandit", means=[0, 1], stds=2)[1].stds.tolist() == [2, 2]
    assert jaxprice.make("apple", cost=0.25, buyers=3)[1].cost == np.float32(0.25)


def test_calibrated_products_are_the_calibrations_in_units_of_their_highest_price():
    from jaxprice.data import calibrated

    fits = {name: calibrated.load(name) for name in calibrated.names()}
    for name, fit in fits.items():
        env, params = jaxprice.make("CalibratedProducts", markets=name, num_prices=7)
        table = special.expit(-(fit.slope * fit.price_high * np.asarray(params.prices, float) + fit.intercept))
        np.testing.assert_allclose(env.table(params), table, rtol=1e-4)
        assert params.prices[0] * fit.price_high >= fit.price_low * (1 - 1e-6) and params.prices[-1] == 1
    env, _ = jaxprice.make("CalibratedProducts", num_prices=7)
    drawn = jax.jit(jax.vmap(env.sample_params))(jax.random.split(jax.random.key(0), DRAWS)).demand
    slopes = np.array([fit.slope * fit.price_high for fit in fits.values()])
    spreads = np.array([(fit.curve_covariance[1][1] ** 0.5) * fit.price_high for fit in fits.values()])
    variance = slopes.var() + (spreads**2).mean()  # between products and within
    assert abs(drawn.slope.mean() - slopes.mean()) < 4 * (variance / DRAWS) ** 0.5
    assert abs(drawn.slope.var() / variance - 1) < 0.05  # the fourth moment is below 6 variances squared: 4 errors


NAN, INF = float("nan"), float("inf")
POSTED, BANDIT, GAUSSIAN, SEGMENTED = "PostedPrice", "BernoulliBandit", "GaussianBandit", "SegmentedValuation"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("BernouliBandit", {}, "unknown environment 'BernouliBandit'; did you mean 'BernoulliBandit'"),
        ("aple", {}, "did you mean 'apple'"),
        ("", {}, "unknown environment ''"),
        (POSTED, {"num_price": 3}, "unknown option of PostedPrice 'num_price'; did you mean 'num_prices'"),
        ("apple", {"market": "tuna"}, "unknown option of apple 'market'"),
        (BANDIT, {"mean": [0.1]}, "did you mean 'means'"),
        (POSTED, {"prices": []}, "prices must be a non-empty"),
        (POSTED, {"prices": [[0.1, 0.2]]}, "prices must be a non-empty one-dimensional"),
        (POSTED, {"prices": 0.5}, "prices must be a non-empty one-dimensional"),
        (POSTED, {"prices": [0.5, 0.2]}, "prices must be strictly increasing"),
        (POSTED, {"prices": [0.5, 0.5]}, "prices must be strictly increasing"),
        (POSTED, {"prices": [0.5, NAN]}, "prices must be finite"),
        (POSTED, {"prices": [0.5, INF]}, "prices must be finite"),
        (POSTED, {"prices": [-0.1, 0.5]}, "prices must be finite and not negative"),
        (POSTED, {"num_prices": 0}, "num_prices must be an integer of at least 1, got 0"),
        (POSTED, {"num_prices": 2.5}, "num_prices .* got 2.5"),
        (POSTED, {"num_prices": True}, "num_prices .* got True"),
        (POSTED, {"low": -1.0}, "low must be in .* got -1"),
        (POSTED, {"low": NAN}, "low must be in .* got nan"),
        (POSTED, {"high": INF}, "high must be in .* got inf"),
        (POSTED, {"low": 2.0, "high": 1.0}, "low must be below high, got low=2.0 and high=1.0"),
        (POSTED, {"low": 1.0, "high": 1.0, "num_prices": None}, "low must be below high"),
        (POSTED, {"low": 9.0}, "low must be below high"),
        (POSTED, {"cost": -0.1}, "cost must be in .* got -0.1"),
        (POSTED, {"cost": NAN}, "cost must be in .* got nan"),
        (POSTED, {"cost": [0.1, 0.2]}, "cost"),
        (POSTED, {"cost": "cheap"}, "cost"),
        (POSTED, {"noise": "uniform"}, "unknown noise 'uniform'"),
        (POSTED, {"noise": "poison"}, "did you mean 'poisson'"),
        (POSTED, {"noise_scale": -1.0}, "noise_scale must be in .* got -1"),
        (POSTED, {"noise_scale": NAN}, "noise_scale"),
        (POSTED, {"buyers": 0}, "buyers must be an integer of at least 1, got 0"),
        (POSTED, {"buyers": 1.5}, "buyers .* got 1.5"),
        (POSTED, {"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        (POSTED, {"horizon": 1e3}, "horizon .* got 1000.0"),
        (POSTED, {"demand": "logti"}, "unknown demand 'logti'; did you mean 'logit'"),
        (POSTED, {"demand": 3}, "demand must be a curve .* got 3"),
        (POSTED, {"demand": demand.Logit}, "demand must be a curve"),
        (POSTED, {"demand": demand.Logit(NAN, 0.0)}, "the numbers of demand must be finite"),
        (POSTED, {"demand": demand.Linear(1.5, 0.5)}, r"purchase probability in \[0, 1\]"),
        (POSTED, {"demand": demand.Linear(1.5, 0.5), "num_prices": None}, r"purchase probability in \[0, 1\]"),
        (POSTED, {"demand": demand.IsoElastic(2.0, 2.0)}, "purchase probability"),
        (POSTED, {"demand": demand.Atoms(np.float32([0.2, 0.9]), np.float32([-0.9, 0.7]))}, "weights that are not negative"),
        (POSTED, {"noise": "poisson", "buyers": 100}, "mean in .0, 40. at every price"),
        (BANDIT, {"means": []}, "means must be a number, got .."),
        (BANDIT, {"means": 0.5}, "means must have shape .any."),
        (BANDIT, {"means": [[0.1, 0.2]]}, "means must have shape .any."),
        (BANDIT, {"means": [0.1, 1.1]}, r"means must be in \[0, 1\]"),
        (BANDIT, {"means": [-0.1, 0.5]}, r"means must be in \[0, 1\]"),
        (BANDIT, {"means": [NAN, 0.5]}, "means"),
        (BANDIT, {"means": [0.1, 0.2], "num_arms": 3}, "num_arms is 3, but means has 2 entries"),
        (BANDIT, {"num_arms": 0}, "num_arms must be an integer of at least 1, got 0"),
        (BANDIT, {"horizon": -1}, "horizon"),
        (GAUSSIAN, {"means": [0.1, INF]}, "means must be"),
        (GAUSSIAN, {"stds": -1.0}, "stds must be in"),
        (GAUSSIAN, {"stds": [1.0, NAN], "means": [0, 1]}, "stds must be in"),
        (GAUSSIAN, {"means": [0, 1], "stds": [1.0, 1.0, 1.0]}, "stds must be one number or one for each of the 2 arms"),
        (GAUSSIAN, {"means": [0, 1], "stds": [[1.0, 1.0]]}, "stds must be one number"),
        (SEGMENTED, {"law": "beta(2,3)"}, "unknown law"),
        (SEGMENTED, {"num_segments": 0}, "num_segments must be an integer of at least 1, got 0"),
        (SEGMENTED, {"num_prices": None}, "num_prices must be an integer"),
        (SEGMENTED, {"buyers": -2}, "buyers must be an integer"),
        (SEGMENTED, {"half_width": 0.0, **SMALL}, "half_width must be"),
        (SEGMENTED, {"half_width": NAN, **SMALL}, "half_width must be"),
        (SEGMENTED, {"half_width": 1.5, **SMALL}, "half_width must be in"),
        (SEGMENTED, {"horizon": 0, **SMALL}, "horizon must be an integer"),
        ("apple", {"num_prices": -1}, "num_prices"),
        ("apple", {"prices": [2.0, 1.0]}, "prices must be strictly increasing"),
        ("apple", {"cost": -1}, "cost"),
        ("apple", {"noise": "none"}, "unknown noise"),
        ("apple", {"horizon": 0}, "horizon"),
        ("CalibratedProducts", {"markets": ["yoghurt"]}, "unknown calibration in markets 'yoghurt'; did you mean 'yogurt'"),
        ("CalibratedProducts", {"markets": []}, "markets must name at least one of"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        jaxprice.make(name, **options)


def test_weights_may_sum_to_one_up_to_rounding():
    curve = demand.Atoms(np.linspace(0.2, 0.9, 10, dtype=np.float32), np.full(10, 0.1, np.float32))
    env, params = jaxprice.make("PostedPrice", demand=curve)
    assert float(env.table(params)[0]) == pytest.approx(1, abs=2e-7)


@pytest.mark.parametrize("options", [{"cost": 0.4}, {"low": 0.3, "high": 0.6}, {"prices": [0.1, 0.2, 0.9]}], ids=str)
def test_drawn_markets_keep_the_rules_that_make_was_given(options):
    env, params = jaxprice.make("PostedPrice", demand="linear", **options)
    drawn = env.problem(env.sample_params(jax.random.key(0)))
    jax.tree.map(np.testing.assert_allclose, drawn, env.problem(params))


@pytest.mark.parametrize("body", [{"price": 1.0}, {"price": None}, {}], ids=["default", "none", "no default"])
def test_a_field_with_the_name_of_a_method_is_refused_when_the_class_is_made(body):
    with pytest.raises(TypeError, match=r"Dear.price is a field, but MyopicMarket.price is a method .* price_level"):
        type("Dear", (PostedPrice,), body | {"__annotations__": {"price": float}})
    with pytest.raises(TypeError, match=r"Dear.allowed is a field, but Environment.allowed is a method"):
        type("Dear", (PostedPrice,), {"allowed": np.ones(3, bool)})
    fine = {"price": lambda self, action, params: action, "longest": 7, "name": property(lambda self: "fine"), "fee": 1.0}
    type("Fine", (PostedPrice,), fine | {"__annotations__": {"fee": float}})


def test_a_class_that_lacks_a_method_is_refused_when_it_is_made():
    whole = {name: None for name in Environment.__abstractmethods__}
    for name in sorted(Environment.__abstractmethods__):
        with pytest.raises(TypeError, match=name):
            type("Half", (Environment,), {other: None for other in whole if other != name})()
    told = dict.fromkeys(("default_params", "sample_params", "problem", "draw"))
    for base, more in ((MyopicMarket, {}), (ContextualMarket, {"start": None, "move": None})):
        with pytest.raises(TypeError, match=r"Half .* lacks `table`, `mean_demand`, `best`"):
            type("Half", (base,), told | more)()
        with pytest.raises(TypeError, match=r"Half .* lacks `table`, `best`"):
            type("Half", (base,), told | more | {"mean_demand": None})()
        with pytest.raises(TypeError, match="draw"):
            type("Half", (base,), told | more | {"table": None, "draw": base.draw})()
        type("Whole", (base,), told | more | {"table": None})()
        type("Whole", (base,), told | more | {"mean_demand": None, "best": None})()
    with pytest.raises(TypeError, match="move"):
        type("Half", (ContextualMarket,), told | {"table": None, "start": None})()
    with pytest.raises(TypeError, match="optimal_action"):
        type("Half", (LongRunMarket,), {name: None for name in whole if name not in ("optimal_action", "optimal_reward")})()
