"""Generalised linear demand, fair pricing, multinomial logit prices and assortments: draws, oracles, regret, bad input."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import some
from scipy import optimize, special

import jaxprice
from jaxprice import envs, policies
from jaxprice.envs import fair_pricing, glm_demand, mnl_pricing
from jaxprice.types import Discrete, Subset

CHOICE_MARKETS = {
    "logit": (envs.GLMDemand, {"dimension": 4, "cost": 0.3}),
    "logit, sparse grid": (envs.GLMDemand, {"dimension": 5, "sparsity": 2, "context": "sphere", "num_prices": 7}),
    "linear": (envs.GLMDemand, {"link": "linear", "context": "uniform", "cost": 0.5, "high": 4.0, "noise_scale": 0.3}),
    "linear, unit grid": (envs.GLMDemand, {"link": "linear", "context": "unit", "num_prices": 9, "high": 1.0}),
    "fair exponential": (envs.FairPricing, {"cost": 0.4, "fairness": 0.3}),
    "fair linear": (envs.FairPricing, {"curve": "linear", "cost": 0.4, "fairness": 0.6}),
    "prices": (envs.MNLPricing, {"num_products": 3, "buyers": 4}),
    "many prices": (envs.MNLPricing, {"num_products": 40, "low": 1.0, "high": 5.0}),
    "assortment": (envs.MNLAssortment, {"num_products": 8, "size": 3}),
    "free assortment": (envs.MNLAssortment, {"num_products": 6, "size": 6}),
}
CONTEXTUAL = [name for name in CHOICE_MARKETS if CHOICE_MARKETS[name][0] is envs.GLMDemand]
COUNT, ACTIONS, DRAWS = 300, 12, 20_000
EVERY = pytest.mark.parametrize("name", some(CHOICE_MARKETS, "logit", "fair linear", "prices", "assortment"))


def random_action(env, problem, key):
    space = problem.action_space
    if isinstance(space, Discrete):
        return jax.random.randint(key, (), 0, space.n)
    if isinstance(space, Subset):  # too many at times
        return jax.random.bernoulli(key, 0.5, space.shape)
    return jax.random.uniform(key, space.shape, jnp.float32, problem.low, problem.high)


@functools.cache
def worlds(name):
    """`COUNT` random markets in their first period, each with random actions and, last, the oracle's; all float64 NumPy."""
    kind, options = CHOICE_MARKETS[name]
    env, _ = kind.make(**options)

    def one(key):
        keys = jax.random.split(key, 3)
        params = env.sample_params(keys[0])
        state = env.reset_env(keys[1], params)[1]
        best = jnp.asarray(env.optimal_action(state, params))
        drawn = jax.vmap(lambda k: random_action(env, env.problem(params), k))(jax.random.split(keys[2], ACTIONS))
        actions = jnp.concatenate([drawn.astype(best.dtype), best[None]])
        prices = jax.vmap(lambda a: env.price(a, params))(actions)
        info = jax.vmap(lambda a: env.step_env(key, state, a, params)[4])(actions)
        return {
            "params": params,
            "state": state,
            "actions": actions,
            "prices": prices,
            "means": jax.vmap(lambda p: env.mean_demand(p, params, state))(prices),
            "rewards": jax.vmap(lambda a: env.expected_reward(state, a, params))(actions),
            "optimal": env.optimal_reward(state, params),
            "info": info,
        }

    with jax.numpy_rank_promotion("raise"):
        world = jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), COUNT)))
    return env, jax.tree.map(lambda x: x.astype(float) if x.dtype == np.float32 else x, world)


def arrays(tree):
    """Float64 NumPy back to what the market holds."""
    return jax.tree.map(lambda x: jnp.asarray(x, np.float32 if x.dtype == float else x.dtype), tree)


def nth(tree, i):
    """Market i, or several."""
    return jax.tree.map(lambda x: x[i], tree)


def each(world):
    """The markets one by one."""
    return (nth(world, i) for i in range(COUNT))


def exact_mean(env, one, prices):
    """Demand of one buyer at prices `[..., n]`, or `[...]` with one product; float64."""
    params, state = one["params"], one["state"]
    if isinstance(env, glm_demand.GLMDemand):
        a, b = params.alpha @ state.context, params.beta @ state.context
        return special.expit(a - b * prices) if env.link == "logit" else a - b * prices
    if isinstance(env, fair_pricing.FairPricing):
        if env.curve == "linear":
            return params.level - params.rate * prices
        return np.minimum(params.level * np.exp(-params.rate * prices), 1)
    if isinstance(env, mnl_pricing.MNLPricing):
        weights = np.exp((params.quality - prices - params.outside) / params.scale)
        return weights / (1 + weights.sum(-1, keepdims=True))
    weights = np.where(prices > 0, params.weights, 0)
    return weights / (1 + weights.sum(-1, keepdims=True))


def exact_profit(env, one, prices):
    earned = env.buyers * (prices - one["params"].cost) * exact_mean(env, one, prices)
    return earned.sum(-1) if env.demand_shape else earned


@EVERY
def test_mean_demand_and_expected_reward_are_what_the_module_says(name):
    env, world = worlds(name)
    for one in each(world):
        np.testing.assert_allclose(one["means"], exact_mean(env, one, one["prices"]), rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(one["rewards"], exact_profit(env, one, one["prices"]), rtol=2e-5, atol=1e-5)
        assert one["optimal"] == pytest.approx(one["rewards"][-1], rel=1e-6)


@EVERY
def test_simulated_demand_and_reward_have_the_expected_mean(name):
    env, world = worlds(name)
    few = 4
    params, state = arrays(nth((world["params"], world["state"]), slice(few)))
    actions = arrays(world["actions"][:few, -2:])

    def sample(params, state, action, key):
        keys = jax.random.split(key, DRAWS)
        info = jax.vmap(lambda k: env.step_env(k, state, action, params)[4])(keys)
        return info["demand"], info["reward"]

    keys = jax.random.split(jax.random.key(9), few * 2).reshape(few, 2)
    draw = jax.jit(jax.vmap(jax.vmap(sample, (None, None, 0, 0))))
    demand, reward = jax.device_get(draw(params, state, actions, keys))
    for k, i in itertools.product(range(few), range(2)):
        mean, sold = env.buyers * world["means"][k, i - 2], demand[k, i].astype(float)
        error = np.maximum(sold.std(0), np.sqrt(np.abs(mean))) if name.startswith("many") else sold.std(0)
        assert np.all(np.abs(sold.mean(0) - mean) < 4 * error / np.sqrt(DRAWS) + 1e-6)
        earned = reward[k, i].astype(float)
        assert abs(earned.mean() - world["rewards"][k, i - 2]) < 4 * earned.std() / np.sqrt(DRAWS) + 1e-6
        if name.startswith("linear"):
            scale = params.noise_scale[k]
            assert sold.std() == pytest.approx(scale, rel=4 / np.sqrt(2 * DRAWS))
        elif name != "prices":
            assert set(np.unique(sold)) <= {0, 1}
        if "prices" in name or "assortment" in name:
            assert sold.sum(-1).max() <= env.buyers
    if name.startswith("fair"):  # the groups are independent
        pair = demand[0, 0].astype(float)
        assert abs(np.corrcoef(pair.T)[0, 1]) < 4 / np.sqrt(DRAWS)


@EVERY
def test_regret_is_never_negative_and_zero_for_the_oracle(name):
    world = worlds(name)[1]
    info = world["info"]
    assert np.all(info["regret"] >= -1e-6)
    assert np.all(info["regret"][:, -1] == 0)
    assert np.mean(info["regret"][:, :-1] > 1e-4) > 0.5
    gap = world["optimal"][:, None] - world["rewards"]
    if name.startswith("fair"):
        fair = info["violation"] == 0
        assert np.all(fair[:, -1]) and 0.1 < fair.mean() < 0.9
        assert np.all(gap[fair] > -1e-6)
        assert np.any(gap[~fair] < -1e-4)  # unfair prices do earn more at times, and regret does not fall for it
        gap = np.maximum(gap, 0)
    np.testing.assert_allclose(info["regret"], gap, atol=1e-6)
    np.testing.assert_allclose(info["optimal_reward"], np.repeat(world["optimal"][:, None], ACTIONS + 1, 1), rtol=1e-6)


@pytest.mark.parametrize("name", CONTEXTUAL)
def test_glm_oracle_against_a_fine_grid(name):
    env, world = worlds(name)
    inside = 0
    for one in each(world):
        params = one["params"]
        grid = params.prices if env.num_prices else np.linspace(params.low, params.high, 20_001)
        profit = exact_profit(env, one, grid)
        assert one["optimal"] == pytest.approx(profit.max(), rel=1e-5)
        price = one["prices"][-1]
        if env.num_prices:
            assert exact_profit(env, one, price) >= profit.max() - 1e-6
        else:
            assert price == pytest.approx(grid[profit.argmax()], abs=2 * (grid[1] - grid[0]))
            inside += params.low < price < params.high
    assert env.num_prices or inside > COUNT / 2


@pytest.mark.parametrize("name", ["fair exponential", "fair linear"])
def test_fair_oracle_against_all_pairs_of_prices(name):
    env, world = worlds(name)
    grid = np.linspace(env.low, env.high, 1001)
    step = grid[1] - grid[0]
    for one in itertools.islice(each(world), 60):
        profits = (grid[:, None] - env.cost) * exact_mean(env, one, grid[:, None])  # [grid, group]
        own = grid[profits.argmax(0)]
        allowed = env.fairness * abs(own[1] - own[0])
        total = profits[:, 0][:, None] + profits[:, 1][None]
        apart = np.abs(grid[:, None] - grid[None])
        best = one["prices"][-1]
        assert abs(best[1] - best[0]) == pytest.approx(allowed, abs=2 * step)
        assert one["optimal"] <= total[apart <= allowed + 2 * step].max() + 1e-6
        assert one["optimal"] >= total[apart <= max(allowed - 2 * step, 0)].max() - 1e-6
        exact_gap = abs(best[1] - best[0])
        first = np.linspace(env.low, env.high - exact_gap, 20_001)
        for sign in (1, -1):  # whichever group pays more, and the fair gap in full or in part
            for gap in sign * exact_gap * np.array([1, 0.5, 0]):
                pairs = np.stack([first + max(-gap, 0), first + max(gap, 0)], -1)
                assert one["optimal"] >= exact_profit(env, one, pairs).max() - 1e-6


@pytest.mark.parametrize("name", ["prices", "many prices"])
def test_logit_prices_against_scipy(name):
    env, world = worlds(name)
    bounds = [(env.low, env.high)] * env.num_products
    for one in itertools.islice(each(world), 30 if name == "prices" else 5):
        best, params = one["prices"][-1], one["params"]
        assert np.all((best > env.low) & (best < env.high))
        np.testing.assert_allclose(best - params.cost, np.mean(best - params.cost), rtol=1e-5)
        for start in (params.cost, np.full_like(best, env.high), 0.9 * best):

            def loss(p, one=one, params=params):
                """Profit below zero and its gradient: q_k (1 - (p_k - c_k - profit) / s)."""
                shares, profit = exact_mean(env, one, p), exact_profit(env, one, p) / env.buyers
                return -env.buyers * profit, -env.buyers * shares * (1 - (p - params.cost - profit) / params.scale)

            found = optimize.minimize(loss, start, jac=True, bounds=bounds)
            assert one["optimal"] >= -found.fun - 1e-5
            if start is not params.cost and name == "prices" and -found.fun > one["optimal"] - 1e-7:
                np.testing.assert_allclose(found.x, best, atol=0.02)


@pytest.mark.parametrize("name", ["assortment", "free assortment"])
def test_assortments_against_all_sets(name):
    env, world = worlds(name)
    sets = np.array(list(itertools.product([False, True], repeat=env.num_products)))
    sets = sets[sets.sum(1) <= env.size]
    sizes = set()
    for one in each(world):
        earned = exact_profit(env, one, sets * one["params"].revenues)
        assert one["optimal"] == pytest.approx(earned.max(), rel=2e-6)
        chosen = one["actions"][-1]
        assert earned[np.all(sets == chosen, 1)][0] == pytest.approx(earned.max(), rel=1e-6)
        sizes.add(int(chosen.sum()))
        assert np.all((one["prices"] > 0).sum(1) <= env.size)
        for action, price in zip(one["actions"], one["prices"], strict=True):
            np.testing.assert_array_equal(np.flatnonzero(price), np.flatnonzero(action)[: env.size])
    assert len(sizes) > 1


def first_periods(env, params, count):
    """Contexts of a market's first period and best prices, for `count` keys."""

    def one(key):
        state = env.reset_env(key, params)[1]
        return state.context, env.optimal_action(state, params)

    return jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), count)))


@pytest.mark.parametrize("dimension", [1, 4, 25])
def test_instances_of_zhao(dimension):
    env, params = envs.GLMDemand.make(instance="S1", dimension=dimension)
    contexts, prices = first_periods(env, params, 2000)
    assert np.all((prices > 1.3403) & (prices < 1.8104))  # in [.91, 2.68], what alpha'x and beta'x each by itself allow
    exact = contexts.astype(float).sum(1) * dimension**-0.5
    np.testing.assert_allclose(prices, (1 + special.lambertw(np.exp(1.6 * exact - 1)).real) / exact, rtol=2e-6)
    assert np.all((contexts >= 0.999 * dimension**-0.5) & (contexts <= 2.001 * dimension**-0.5))
    env, params = envs.GLMDemand.make(instance="S2", dimension=dimension)
    contexts, prices = first_periods(env, params, 2000)
    np.testing.assert_allclose(prices, 1.567143, atol=1e-6)
    np.testing.assert_array_equal(np.sort(contexts, 1)[:, -1], 1)
    np.testing.assert_array_equal(contexts.sum(1), 1)
    share = contexts.mean(0)
    assert np.all(np.abs(share - 1 / dimension) <= 4 * np.sqrt(share * (1 - share) / 2000))


def test_contexts_stay_where_the_checks_look():
    """`lowest` is the infimum over drawn contexts: below all of them, and reached at the corners."""
    rng = np.random.default_rng(3)
    for context in glm_demand.CONTEXTS:
        env, params = envs.GLMDemand.make(dimension=3, context=context)
        contexts = first_periods(env, params, 4000)[0].astype(float)
        for effect in rng.normal(size=(20, 3)):
            least = glm_demand.lowest(effect, context)
            assert (contexts @ effect).min() >= least - 1e-6
            assert (contexts @ effect).min() <= least + 0.5
    np.testing.assert_allclose(
        np.linalg.norm(first_periods(*envs.GLMDemand.make(context="sphere"), 50)[0], axis=1), 1, rtol=1e-6
    )


def test_contexts_are_drawn_anew_whatever_the_price():
    env, params = envs.GLMDemand.make(dimension=3)
    obs, state = env.reset_env(jax.random.key(0), params)
    after = [env.step_env(jax.random.key(4), state, price, params)[:2] for price in (0.5, 2.0)]
    np.testing.assert_array_equal(after[0][1].context, after[1][1].context)
    assert np.all(after[0][1].context != state.context)
    np.testing.assert_array_equal(after[0][0][3:], after[0][1].context)
    np.testing.assert_array_equal(obs[3:], state.context)


@pytest.mark.parametrize("lam", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_fair_instances(lam):
    env, params = envs.FairPricing.make(curve="linear", fairness=lam)
    np.testing.assert_allclose(env.own_prices(params), [3, 4], rtol=1e-6)
    state = env.reset_env(None, params)[1]
    np.testing.assert_allclose(state.best_action, [3.5 - lam / 2, 3.5 + lam / 2], rtol=1e-6)
    assert float(state.best_reward) == pytest.approx(2.5 - (1 - lam) ** 2 / 20, rel=1e-6)
    env, params = envs.FairPricing.make(fairness=lam)
    np.testing.assert_allclose(env.own_prices(params), [1, 2], rtol=1e-6)
    state = env.reset_env(None, params)[1]

    def slope(p):
        return (1 - p) * np.exp(1 - p) + (1 - (p + lam) / 2) * np.exp(1 - (p + lam) / 2)

    first = 1.0 if lam == 1 else optimize.brentq(slope, 1, 2 - lam)
    np.testing.assert_allclose(state.best_action, [first, first + lam], atol=2e-3)
    exact = 0.5 * (first * np.exp(1 - first) + (first + lam) * np.exp(1 - (first + lam) / 2))
    assert float(state.best_reward) == pytest.approx(exact, rel=1e-6)


def test_unfair_prices_are_told_and_win_nothing():
    env, params = envs.FairPricing.make(curve="linear", fairness=0.5)
    state = env.reset_env(None, params)[1]
    for prices, violation in (([3.0, 4.0], 0.5), ([3.9, 3.0], 0.4), ([3.25, 3.75], 0.0), ([3.6, 3.6], 0.0), ([-1, 9], 4.5)):
        info = env.step_env(jax.random.key(0), state, np.float32(prices), params)[4]
        assert float(info["violation"]) == pytest.approx(violation, abs=1e-5)
        assert float(info["regret"]) >= 0
    assert float(env.expected_reward(state, np.float32([3, 4]), params)) > float(state.best_reward) + 0.01
    assert float(env.problem(params).details["fairness"]) == 0.5


def test_known_logit_prices():
    env, params = envs.MNLPricing.make(quality=[2, 2], cost=[1, 1], scale=0.25, low=1, high=2.5)  # Calvano et al.
    np.testing.assert_allclose(env.reset_env(None, params)[1].best_action, 1.924981, atol=2e-6)
    env, params = envs.MNLPricing.make(quality=[1], scale=1, high=8)
    state = env.reset_env(None, params)[1]
    np.testing.assert_allclose(state.best_action, 1.5671433, rtol=1e-6)
    assert float(state.best_reward) == pytest.approx(0.5671433, rel=1e-6)
    curve = jaxprice.make("PostedPrice", demand="logit", num_prices=None)
    posted = curve[0].reset(jax.random.key(0), curve[1])[1]
    assert float(posted.best_action) == pytest.approx(float(state.best_action[0]), rel=1e-6)


def test_a_known_assortment():
    """The product that brings .6 would take buyers from the two that bring 1."""
    env, params = envs.MNLAssortment.make(revenues=[1, 0.6, 1, 0.9], weights=[2, 5, 1, 1], size=3)
    state = env.reset_env(None, params)[1]
    assert np.asarray(state.best_action).tolist() == [True, False, True, True]
    assert float(state.best_reward) == pytest.approx((2 + 1 + 0.9) / 5)
    obs = env.step_env(jax.random.key(0), state, np.array([False, True, False, False]), params)[0]
    np.testing.assert_allclose(obs[1:5], [0, 0.6, 0, 0])


@EVERY
def test_every_number_matters_and_refresh_starts_afresh(name):
    """A larger value of any leaf changes what the seller is told, the oracle, or what happens."""
    env, world = worlds(name)
    params, state, actions = arrays(nth((world["params"], world["state"], world["actions"][:, :4]), 0))

    @jax.jit
    def behaviour(params):
        start = env.refresh(state, params)
        info = jax.vmap(lambda a: env.step_env(jax.random.key(0), start, a, params)[4])(actions)
        return start, jax.tree.leaves(env.problem(params)), env.optimal_action(start, params), info

    before = jax.device_get(behaviour(params))
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        if value is None or not jnp.size(value):
            continue
        one_up = value * 2 + 1 if value.dtype == jnp.int32 else value * 1.05 + 0.01
        after = jax.device_get(behaviour(dataclasses.replace(params, **{field.name: one_up})))
        same = jax.tree.map(np.array_equal, before, after)
        assert not all(jax.tree.leaves(same)), field.name
    if name not in CONTEXTUAL:
        moved = jax.device_get(behaviour(arrays(nth(world["params"], 1))))[0]
        np.testing.assert_allclose(moved.best_action, world["state"].best_action[1], atol=1e-3)
        assert moved.best_reward == pytest.approx(world["state"].best_reward[1], rel=1e-5)


@pytest.mark.parametrize("name", some(["fair linear", "assortment"], "assortment"))
def test_in_the_engine(name):
    kind, options = CHOICE_MARKETS[name]
    env, _ = kind.make(**options)
    result = jaxprice.simulate(
        env, {"random": policies.random_price(), "oracle": policies.oracle()}, seed=0, lanes=8, horizon=40
    )
    regret = result["regret"].isel(time=-1)
    assert float(regret.sel(policy="oracle")) == 0
    assert float(regret.sel(policy="random")) > 0.1


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        (envs.GLMDemand, {"link": "logistic"}, "link"),
        (envs.GLMDemand, {"context": "gaussian"}, "context"),
        (envs.GLMDemand, {"instance": "S3"}, "instance"),
        (envs.GLMDemand, {"instance": "S1", "context": "unit"}, "context"),
        (envs.GLMDemand, {"instance": "S2", "link": "linear"}, "link"),
        (envs.GLMDemand, {"instance": "S2", "alpha": [1.0], "beta": [1.0]}, "alpha, beta"),
        (envs.GLMDemand, {"dimension": 0}, "dimension"),
        (envs.GLMDemand, {"dimension": 3, "sparsity": 4}, "sparsity"),
        (envs.GLMDemand, {"dimension": 3, "sparsity": 2, "context": "unit"}, "sparsity"),
        (envs.GLMDemand, {"alpha": [1.0, 2.0]}, "alpha and beta"),
        (envs.GLMDemand, {"alpha": [1.0, 2.0], "beta": [1.0]}, "beta"),
        (envs.GLMDemand, {"alpha": [1.0, 2.0], "beta": [1.0, np.nan]}, "beta"),
        (envs.GLMDemand, {"alpha": [1.0, 2.0], "beta": [1.0, -0.6]}, "beta"),
        (envs.GLMDemand, {"alpha": [1.0, 2.0], "beta": [1.0, -0.1], "context": "sphere"}, "beta"),
        (envs.GLMDemand, {"link": "linear", "alpha": [4.0, 1.0], "beta": [1.0, 0.5], "context": "unit"}, "high or beta"),
        (envs.GLMDemand, {"low": 3.0}, "low"),
        (envs.GLMDemand, {"cost": -1.0}, "cost"),
        (envs.GLMDemand, {"noise_scale": -1.0}, "noise_scale"),
        (envs.GLMDemand, {"num_prices": 0}, "num_prices"),
        (envs.GLMDemand, {"horizon": 0}, "horizon"),
        (envs.FairPricing, {"curve": "logit"}, "curve"),
        (envs.FairPricing, {"fairness": 1.2}, "fairness"),
        (envs.FairPricing, {"level": [0.5]}, "level"),
        (envs.FairPricing, {"rate": [0.0, 1.0]}, "rate"),
        (envs.FairPricing, {"curve": "linear", "rate": [0.2, 0.1]}, "rate"),
        (envs.FairPricing, {"curve": "linear", "level": [1.1, 0.8]}, "level"),
        (envs.FairPricing, {"low": 6.0}, "low"),
        (envs.FairPricing, {"cost": 5.0}, "cost"),
        (envs.MNLPricing, {"num_products": 0}, "num_products"),
        (envs.MNLPricing, {"quality": [2.0, 2.0], "cost": [1.0]}, "cost"),
        (envs.MNLPricing, {"quality": [2.0, 2.0], "scale": 0.0}, "scale"),
        (envs.MNLPricing, {"quality": [2.0, 2.0], "outside": np.inf}, "outside"),
        (envs.MNLPricing, {"scale": 0.3}, "quality"),
        (envs.MNLPricing, {"quality": [9.0, 2.0]}, "high"),
        (envs.MNLPricing, {"quality": [1.0], "low": 1.0, "high": 2.0}, "low"),
        (envs.MNLPricing, {"buyers": 0}, "buyers"),
        (envs.MNLAssortment, {"num_products": 3}, "size"),
        (envs.MNLAssortment, {"size": 0}, "size"),
        (envs.MNLAssortment, {"revenues": [1.0, 0.0], "size": 1}, "revenues"),
        (envs.MNLAssortment, {"revenues": [1.0, 2.0], "weights": [1.0], "size": 1}, "weights"),
        (envs.MNLAssortment, {"weights": [1.0, -2.0], "size": 1}, "weights"),
        (envs.MNLAssortment, {"horizon": 1.5}, "horizon"),
    ],
)
def test_bad_input_is_refused_by_name(kind, options, named):
    with pytest.raises(ValueError, match=named):
        jaxprice.make(kind.__name__, **options)
