"""Markets with context, stock, networks, change and rivals: their oracles against NumPy and SciPy, and bad input."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import market, play
from rows import some
from scipy import optimize, special

import jaxprice
from jaxprice import policies
from jaxprice.envs import related_products
from jaxprice.oracles import inventory


def drawn(env, count, seed=0):
    """So many markets of the task distribution, and their first states, on the host."""

    def one(key):
        params = jax.tree.map(jnp.asarray, env.sample_params(key))
        obs, state = env.reset_env(jax.random.fold_in(key, 1), params)
        return params, state, env.optimal_action(state, params), env.optimal_reward(state, params), obs

    return jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed), count)))


def rows(tree, count):
    return [jax.tree.map(lambda x, k=k: x[k], tree) for k in range(count)]


@pytest.mark.parametrize("noise", some(["logistic", "gaussian", "uniform", "mixture"], "gaussian", "mixture"))
def test_linear_valuation_oracle(noise):
    """Against a search over 20,001 prices with SciPy's distribution functions, in 60 markets; cost included."""
    env, _ = jaxprice.make("LinearValuation", noise=noise, cost=0.3, scale=0.4)
    params, state, best, optimal, obs = drawn(env, 60)
    np.testing.assert_array_equal(obs[:, 3:], state.context)
    prices = np.linspace(0, 3, 20_001)
    for k, p in enumerate(rows(params, 60)):
        gap = prices - float(p.theta @ state.context[k])
        survival = {
            "logistic": lambda gap: special.expit(-gap / 0.4),
            "gaussian": lambda gap: special.ndtr(-gap / 0.4),
            "uniform": lambda gap: np.clip((0.4 - gap) / 0.8, 0, 1),
            "mixture": lambda gap, p=p: sum(
                w * special.ndtr((0.4 * m - gap) / (0.4 * s))
                for w, m, s in zip(p.weights, p.locations, p.scales, strict=True)
            ),
        }[noise]
        values = (prices - 0.3) * survival(gap)
        # the uniform law has a kink at its best price, which the search misses by up to a step
        assert values.max() - 2e-6 <= optimal[k] <= values.max() + (1.5e-4 if noise == "uniform" else 2e-6)
        assert abs(np.interp(best[k], prices, values) - optimal[k]) < (1.5e-4 if noise == "uniform" else 2e-6)


def test_contexts_are_what_they_say():
    env, params = jaxprice.make(
        "LinearValuation", context="adversarial", dimension=2, contexts=[[1, 0.1], [1, 0.2], [1, 0.3]]
    )
    step = jax.jit(lambda state: env.step_env(jax.random.key(0), state, jnp.float32(1), params)[1])
    _, state = env.reset_env(jax.random.key(0), params)
    seen = []
    for _ in range(16):
        seen.append(round(float(state.context[1]), 1))
        state = step(state)
    phases = [0.1] * 1 + [0.2] * 2 + [0.3] * 4 + [0.1] * 8 + [0.2]
    assert seen == phases
    env, params = jaxprice.make("LinearValuation", context="autoregressive", dimension=4, intercept=False)
    run = jax.vmap(lambda key: env.reset_env(key, params)[1])(jax.random.split(jax.random.key(1), 20_000))
    moved = jax.jit(jax.vmap(lambda key, state: env.move(key, state, params)))
    after = moved(jax.random.split(jax.random.key(2), 20_000), run)
    correlation = np.corrcoef(run.context[:, 1], after.context[:, 1])[0, 1]
    assert correlation == pytest.approx(0.9, abs=0.01)  # standard error .0013
    assert np.std(after.context[:, 1]) == pytest.approx(0.5, abs=0.01)  # standard error .0025


def inventory_values(demand, prices, stock, horizon, salvage=0.0, cost=0.0):
    """V_h(n) by the textbook recursion, float64 `[horizon + 1, stock + 1]`."""
    values = np.zeros((horizon + 1, stock + 1))
    values[0] = salvage * np.arange(stock + 1)
    for h in range(1, horizon + 1):
        worth = values[h - 1, 1:] - values[h - 1, :-1]
        values[h, 1:] = values[h - 1, 1:] + np.max(demand[:, None] * (prices[:, None] - cost - worth), axis=0)
        values[h, 0] = 0
    return values


@pytest.mark.parametrize("salvage", some([0.0, 25.0], 25.0))
def test_inventory_season(salvage):
    """The value of a season against the DP; what a policy earns plus its regret is that value, in expectation."""
    env, params = jaxprice.make("FiniteInventory", horizon=40, stock=10, salvage=salvage)
    values = inventory_values(params.demand.astype(float), params.prices.astype(float), 10, 40, salvage)
    assert float(env.season_value(params)) == pytest.approx(values[40, 10], rel=1e-6)
    np.testing.assert_allclose(np.cumsum(params.values[:, 1:], axis=1), values[:, 1:], rtol=1e-5, atol=1e-3)
    sellers = {"random": policies.random_price(), "oracle": policies.oracle()}
    result = jaxprice.simulate(env, sellers, lanes=20_000, horizon=40, params=params).isel(time=-1)
    total = (result["regret"] + result["reward"]).values
    assert np.all(np.abs(total - values[40, 10]) < 4 * result["reward_se"].values)
    if salvage:
        short = jaxprice.simulate(env, sellers, lanes=20_000, horizon=7, params=params).isel(time=-1)
        total = (short["regret"] + short["reward"]).values
        assert np.all(np.abs(total - values[7, 10]) < 4 * short["reward_se"].values + 1e-3)


def test_stock_is_never_negative_and_lost_sales_stop():
    sold = play(policies.fixed_price(29.9), "inventory", changes=(("stock", 2),)).sales.demand.cumsum(axis=0)
    assert sold.max() == 2 and np.all(np.diff(sold, axis=0) >= 0)
    params = market("network")[1]
    sold = play(policies.random_price(), "network").sales.demand  # [T, lanes, n]
    used = np.einsum("tln,nm->lm", sold, params.consumption)
    assert np.all(used <= params.stock) and sold.min() == 0
    assert np.isclose(used.max(axis=0) / params.stock, 1, atol=0.1).any()  # some resource does run out


def test_discretised_gallego_van_ryzin():
    """J* = 9.46050 at n = m = 10; the error of a step dt falls like dt, and is what the docstring says at 100 steps."""
    exact, price = inventory.gallego_van_ryzin(10, 10.0)
    errors = []
    for horizon in (100, 200, 400):
        env, params = jaxprice.make(
            "FiniteInventory",
            demand=jaxprice.demand.Exponential(1.0, 1.0),
            low=0.0,
            high=20.0,
            stock=10,
            horizon=horizon,
            arrivals=10 * np.e,
        )
        errors.append(float(env.season_value(params)) - 9.46050)
        _, state = env.reset_env(jax.random.key(0), params)
        assert float(env.optimal_action(state, params)) == pytest.approx(1.24154, abs=15 / horizon)
    assert (float(exact), float(price)) == pytest.approx((9.46050, 1.24154), abs=1e-5)
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, atol=0.1)
    assert 0.004 < abs(errors[0]) / 9.4605 < 0.008


def test_network_bound_is_ferreiras():
    for demand, value in (("linear", 6.666667), ("exponential", 4.598510), ("logit", 3.768095)):
        _, params = jaxprice.make("NetworkRevenue", demand=demand)
        assert float(params.value) == pytest.approx(value, abs=2e-6)


@pytest.mark.slow
def test_network_regret_is_what_the_bound_leaves():
    """T z minus the revenue, in expectation, for the oracle and, where no product sells below its resources, at random."""
    env, params = jaxprice.make("NetworkRevenue", demand="exponential", horizon=200)
    sellers = {"random": policies.random_price(), "oracle": policies.oracle()}
    result = jaxprice.simulate(env, sellers, lanes=4000, horizon=200, params=params).isel(time=-1)
    gap = 200 * float(params.value) - result["reward"] - result["regret"]
    assert np.all(np.abs(gap) < 4 * result["reward_se"] + 0.002 * 200 * float(params.value))
    assert result["share"].sel(policy="oracle") > 0.97


@pytest.mark.parametrize("kind", some(["piecewise", "calendar", "regimes", "season", "drift"], "piecewise", "drift"))
def test_without_variation_the_path_is_the_wrapped_markets(kind):
    base, one = jaxprice.make("PostedPrice", num_prices=6)
    env, params = jaxprice.make("NonStationary", market=base, kind=kind, markets=[one, one])
    run = functools.partial(jaxprice.simulate, policies=policies.random_price(), lanes=50, horizon=40, traces=True)
    still, moving = run(base, params=one), run(env, params=params)
    for field in ("trace_demand", "trace_regret", "lane_regret"):
        np.testing.assert_array_equal(still[field], moving[field])


@pytest.mark.slow
def test_paths_move_as_they_say():
    """Change points, calendar and season step for step; regimes and drift in law."""
    two = [jaxprice.make("BernoulliBandit", means=[m, 0.5])[1] for m in (0.1, 0.9)]
    base = jaxprice.make("BernoulliBandit", means=[0.1, 0.5])[0]

    def path(kind, lanes=1, horizon=12, **options):
        env, params = jaxprice.make("NonStationary", market=base, kind=kind, markets=two, horizon=horizon, **options)

        def step(state, key):
            mean = env.market(state.path, params).means[0]
            return env.step_env(key, state, jnp.int32(0), params)[1], (mean, env.optimal_reward(state, params))

        def lane(key):
            _, state = env.reset_env(key, params)
            return jax.lax.scan(step, state, jax.random.split(key, horizon))[1]

        means, best = jax.jit(jax.vmap(lane))(jax.random.split(jax.random.key(0), lanes))
        np.testing.assert_allclose(best, np.maximum(means, 0.5), rtol=1e-6)  # the oracle moves along
        return np.asarray(means)

    np.testing.assert_allclose(path("piecewise", changes=[5])[0], [0.1] * 5 + [0.9] * 7, rtol=1e-6)
    np.testing.assert_allclose(path("calendar", slots=[1, 0, 0])[0], [0.9, 0.1, 0.1] * 4, rtol=1e-6)
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * np.arange(12) / 6)
    np.testing.assert_allclose(path("season", period=6)[0], wave, atol=1e-6)
    chain = path("regimes", lanes=4000, transition=[[0.7, 0.3], [0.6, 0.4]]) > 0.5
    moves = chain[:, 1:][~chain[:, :-1]].mean(), chain[:, 1:][chain[:, :-1]].mean()
    assert moves == pytest.approx((0.3, 0.4), abs=0.02)  # standard errors .003 and .004
    drift = path("drift", lanes=500, horizon=60, step=0.2, budget=1.5)
    assert drift.min() >= 0.1 - 1e-6 and drift.max() <= 0.9 + 1e-6
    gone = np.abs(np.diff(drift, axis=1)).sum(axis=1) / 0.8
    assert gone.max() <= 1.5 + 1e-4 and gone.min() > 1.4  # the budget is spent, and no more


@pytest.mark.parametrize("family", ["linear", "exponential"])
def test_multi_product_oracle(family):
    """Against SciPy over the box, in 40 markets; some optima lie on its edge."""
    env, _ = jaxprice.make("MultiProduct", family=family, num_products=3, cost=0.2, high=1.2)
    params, _, best, optimal, _ = drawn(env, 40)
    edges = 0
    for k, p in enumerate(rows(params, 40)):
        a, b = p.intercept.astype(float), p.slopes.astype(float)

        def loss(x, a=a, b=b):
            mean = a - b @ x if family == "linear" else a * np.exp(-(b @ x))
            return -(x - 0.2) @ mean

        found = optimize.minimize(loss, np.full(3, 1.0), bounds=[(0.5, 1.2)] * 3, options={"ftol": 1e-14, "gtol": 1e-10})
        assert optimal[k] == pytest.approx(-found.fun, abs=2e-6)
        np.testing.assert_allclose(best[k], found.x, atol=2e-3)
        edges += np.any(best[k] == np.float32(1.2))
    assert edges > 0


def test_keskin_and_zeevis_market():
    env, params = jaxprice.make("MultiProduct", num_products=1)
    _, state = env.reset_env(jax.random.key(0), params)
    assert float(state.best_action[0]) == pytest.approx(1.1, abs=1e-6) and float(state.best_reward) == pytest.approx(
        0.605, abs=1e-6
    )
    env, params = jaxprice.make("ParametricDemand", family="keskin_zeevi")
    _, state = env.reset_env(jax.random.key(0), params)
    assert float(state.best_action) == pytest.approx(1.1, abs=1e-6) and float(state.best_reward) == pytest.approx(0.605)


def test_parametric_families():
    """Best prices in closed form, the uninformative price, and boxes that hold what is drawn."""
    _, state = start("logit")
    assert float(state.best_action) == pytest.approx(1.5671433, abs=1e-6)
    assert float(state.best_reward) == pytest.approx(0.5671433, abs=1e-6)
    env, params = jaxprice.make("ParametricDemand", family="uninformative", parameters=[0.7])
    assert float(start("uninformative", parameters=[0.7])[1].best_action) == pytest.approx(2.4 / 2.8, abs=1e-6)
    for z in (1 / 3, 0.5, 1.0):
        params = env.params_at([z])
        assert float(env.mean_demand(jnp.float32(1), params)) == pytest.approx(0.5, abs=1e-6)
    assert float(start("well_separated", parameters=[2.5])[1].best_action) == pytest.approx(0.4, abs=1e-6)
    for family in ("keskin_zeevi", "logit", "exponential"):
        env, params = jaxprice.make("ParametricDemand", family=family)
        low, high = env.problem(params).bounds
        many = jax.jit(jax.vmap(env.sample_params))(jax.random.split(jax.random.key(0), 200)).demand
        for k, values in enumerate(jax.tree.leaves(many)):
            assert low[k] - 1e-6 <= values.min() < values.max() <= high[k] + 1e-6


def start(family, **options):
    env, params = jaxprice.make("ParametricDemand", family=family, **options)
    return env, env.reset_env(jax.random.key(0), params)[1]


@pytest.mark.parametrize("radius", [3.0, 20.0])
def test_low_rank_oracle(radius):
    """Against SciPy in the ball, in 20 markets; the best prices lie inside it, or on the boundary."""
    env, _ = jaxprice.make("LowRankDemand", num_products=9, rank=3, radius=radius)
    params, _, best, optimal, _ = drawn(env, 20)
    np.testing.assert_allclose(params.features[0].T @ params.features[0], np.eye(3), atol=1e-6)
    inside = 0
    for k, p in enumerate(rows(params, 20)):
        z, v = p.level.astype(float), p.slopes.astype(float)
        constraint = {"type": "ineq", "fun": lambda x: radius**2 - x @ x}
        scale = 100.0 * radius

        def loss(x, z=z, v=v, scale=scale):
            return -(z @ x - x @ v @ x) / scale

        found = optimize.minimize(loss, np.ones(3), constraints=[constraint], options={"ftol": 1e-13, "maxiter": 500})
        assert optimal[k] == pytest.approx(-found.fun * scale, rel=2e-5)
        size = np.linalg.norm(best[k])
        assert size <= radius * (1 + 1e-5)
        inside += size < radius * (1 - 1e-4)
    assert (inside == 0) if radius == 3 else (inside > 0)


def test_calvanos_market():
    """Static prices and profits, the grid, and the two ends of the collusion index."""
    env, params = jaxprice.make("LogitOligopoly")
    nash, monopoly = np.asarray(env.nash(params)), np.asarray(env.monopoly(params))
    np.testing.assert_allclose(nash, 1.472926660, atol=2e-6)
    np.testing.assert_allclose(monopoly, 1.924980919, atol=2e-6)
    profits = np.asarray(env.profits(jnp.asarray(nash), params)), np.asarray(env.profits(jnp.asarray(monopoly), params))
    np.testing.assert_allclose(profits[0], 0.222926660, atol=1e-6)
    np.testing.assert_allclose(profits[1], 0.337490459, atol=1e-6)
    np.testing.assert_allclose(env.mean_demand(jnp.asarray(nash), params), 0.471376809, atol=2e-6)
    grid = np.asarray(env.problem(params).prices)
    np.testing.assert_allclose(grid[[0, -1], 0], [1.427721, 1.970186], atol=2e-6)
    np.testing.assert_allclose(np.diff(grid[:, 1]), 0.0387475, atol=2e-6)
    assert float(env.collusion_index(profits[0].mean(), params)) == pytest.approx(0, abs=1e-5)
    assert float(env.collusion_index(profits[1].mean(), params)) == pytest.approx(1, abs=1e-5)
    env, params = jaxprice.make("LogitOligopoly", num_sellers=3, num_prices=5)
    np.testing.assert_allclose(env.nash(params), 1.370163, atol=3e-6)
    np.testing.assert_allclose(env.monopoly(params), 2.0, atol=3e-6)


def test_several_policies_in_one_market():
    """Each seller's state is what it would be alone with its own prices and sales."""
    env, params = jaxprice.make("LogitOligopoly", num_prices=5, cost=[1.0, 1.1], noise_scale=0.02)
    greedy, fixed = policies.epsilon_greedy(signal="reward"), policies.fixed_price(1.9)
    joint = policies.sellers(greedy, fixed)
    result = jaxprice.simulate(env, joint, lanes=20, horizon=30, params=params, traces=True)
    price, grid = result["trace_price"].values[0], np.asarray(env.problem(params).prices)
    assert np.all(price[:, 1] == grid[np.argmin(np.abs(grid[:, 1] - 1.9)), 1])
    assert np.unique(price[:, 0]).size == 5
    problem = env.problem(params)
    key = jax.random.key(0)
    state = joint.init(key, problem)
    obs = jnp.array([0.1, 1.5, 1.6, 0.3, 0.4])
    sale = jaxprice.Transition(obs, jnp.array([1, 2]), jnp.array([1.5, 1.6]), jnp.array([0.3, 0.4]), jnp.float32(0.2), obs)
    after = joint.update(key, state, sale)
    own = jaxprice.Transition(
        jnp.array([0.1, 1.5, 0.3, 1.6]), jnp.int32(1), jnp.float32(1.5), jnp.float32(0.3), jnp.float32(0.5 * 0.3), None
    )
    alone = greedy.update(key, greedy.init(key, problem.of_seller(0)), own)
    jax.tree.map(np.testing.assert_allclose, after.each[0], alone)
    with pytest.raises(ValueError, match="sellers got 1 policies"):
        jaxprice.simulate(env, policies.sellers(greedy), lanes=2, horizon=2, params=params)
    with pytest.raises(ValueError, match="2 sellers"):
        jaxprice.simulate(env, greedy, lanes=2, horizon=2, params=params)


def test_related_products():
    """Similarity one: all alike; zero: the wrapped distribution; in between, products around their kind."""
    base = jaxprice.make("PostedPrice")[0]
    keys = jax.random.split(jax.random.key(3), 500)

    def slopes(similarity):
        env, params = jaxprice.make("RelatedProducts", market=base, similarity=similarity, kind=4)
        return np.asarray(jax.jit(jax.vmap(env.sample_params))(keys).demand.slope), float(params.demand.slope)

    own = np.asarray(jax.jit(jax.vmap(base.sample_params))(keys).demand.slope)
    np.testing.assert_allclose(slopes(0.0)[0], own, rtol=1e-6)
    alike, centre = slopes(1.0)
    np.testing.assert_allclose(alike, centre, rtol=1e-6)
    between, _ = slopes(0.75)
    np.testing.assert_allclose(between, centre + 0.25 * (own - centre), rtol=1e-5)
    env, params = jaxprice.make("RelatedProducts", market="LinearValuation", spread=0.1, leaves="theta")
    theta = np.asarray(jax.jit(jax.vmap(env.sample_params))(keys).theta)
    np.testing.assert_allclose(theta.mean(axis=0), params.theta, atol=4 * 0.1 * np.abs(params.theta).max() / 500**0.5)
    assert np.all(np.abs(theta - params.theta) <= 0.2 * np.abs(params.theta) * (1 + 1e-5))


def test_tasks_are_split_without_overlap():
    env, _ = jaxprice.make("RelatedProducts")
    train, held_out = related_products.split(env, train=200, held_out=300, seed=5)
    more, _ = related_products.split(env, train=300, held_out=200, seed=5)
    np.testing.assert_array_equal(more.demand.slope[:200], train.demand.slope)
    assert not set(train.demand.slope.tolist()) & set(held_out.demand.slope.tolist())
    other, _ = related_products.split(env, train=200, held_out=300, seed=6)
    assert not np.any(other.demand.slope == train.demand.slope)
    result = jaxprice.simulate(env, policies.random_price(), lanes=300, horizon=3, params=held_out)
    assert result["lane_regret"].shape == (1, 300)


NAN = float("nan")
REFUSED = [
    ("LinearValuation", {"noise": "cauchy"}, "noise"),
    ("LinearValuation", {"context": "strange"}, "context"),
    ("LinearValuation", {"scale": 0.0}, "scale"),
    ("LinearValuation", {"dimension": 0}, "dimension"),
    ("LinearValuation", {"dimension": 3, "sparsity": 4}, "sparsity"),
    ("LinearValuation", {"theta": [1.0, NAN]}, "theta"),
    ("LinearValuation", {"context": "schedule", "contexts": [[1.0, 2.0]]}, "contexts"),
    ("LinearValuation", {"contexts": [[1.0, 2.0, 3.0]]}, "contexts"),
    ("LinearValuation", {"low": 2.0, "high": 1.0}, "low"),
    ("FiniteInventory", {"stock": -1}, "stock"),
    ("FiniteInventory", {"horizon": 0}, "horizon"),
    ("FiniteInventory", {"demand": [0.5, 1.2], "prices": [1, 2]}, "demand"),
    ("FiniteInventory", {"demand": [0.5, 0.2, 0.1], "prices": [1, 2]}, "demand"),
    ("FiniteInventory", {"demand": "exponential", "arrival": 1.5}, "arrival"),
    ("FiniteInventory", {"demand": jaxprice.demand.Exponential(3.0, 1.0)}, "demand"),
    ("FiniteInventory", {"salvage": 50.0}, "salvage"),
    ("FiniteInventory", {"horizon": 10, "arrivals": 11.0}, "arrivals"),
    ("NetworkRevenue", {"demand": "cubic"}, "demand"),
    ("NetworkRevenue", {"stock": [-1.0, 2.0, 3.0]}, "stock"),
    ("NetworkRevenue", {"stock": [1.0, 2.0]}, "stock"),
    ("NetworkRevenue", {"consumption": [[1.0, 0.0], [1.0, 0.0]], "stock": [5.0, 5.0]}, "consumption"),
    ("NetworkRevenue", {"consumption": [[1.0, 1.0], [0.0, 0.0]], "stock": [5.0, 5.0]}, "consumption"),
    ("NetworkRevenue", {"consumption": [[1.0, 1.0]], "stock": [5.0, 5.0]}, "consumption"),
    ("NetworkRevenue", {"demand": [[50.0, 1.0]], "prices": [[1.0, 1.0]]}, "demand"),
    ("NonStationary", {"kind": "sudden"}, "kind"),
    ("NonStationary", {"kind": "piecewise", "changes": [1000]}, "changes"),
    ("NonStationary", {"kind": "piecewise", "changes": [5, 3], "num_markets": 3}, "changes"),
    ("NonStationary", {"kind": "piecewise", "period": 4.0}, "period"),
    ("NonStationary", {"kind": "calendar", "slots": [0, 2]}, "slots"),
    ("NonStationary", {"kind": "regimes", "transition": [[0.5, 0.4], [0.5, 0.5]]}, "transition"),
    ("NonStationary", {"kind": "regimes", "transition": [[1.0]]}, "transition"),
    ("NonStationary", {"kind": "season", "num_markets": 3}, "num_markets"),
    ("NonStationary", {"kind": "season", "period": 1.0}, "period"),
    ("NonStationary", {"kind": "drift", "step": -1.0}, "step"),
    ("NonStationary", {"market": "FiniteInventory"}, "plans ahead"),
    ("NonStationary", {"market": "Bazaar"}, "unknown market"),
    ("MultiProduct", {"family": "quadratic"}, "family"),
    ("MultiProduct", {"intercept": [1.0, 1.0], "slopes": [[0.5, 0.0]]}, "slopes"),
    ("MultiProduct", {"slopes": [[0.1, 1.0], [1.0, 0.1]]}, "slopes"),
    ("MultiProduct", {"intercept": [0.2, 1.0]}, "demand"),
    ("MultiProduct", {"family": "exponential", "slopes": [[0.5, 0.1], [0.0, 0.5]]}, "slopes"),
    ("LowRankDemand", {"num_products": 3, "rank": 4}, "rank"),
    ("LowRankDemand", {"radius": 0.0}, "radius"),
    ("LowRankDemand", {"rank": 2, "slopes": [[1.0, 0.0], [0.0, -1.0]]}, "slopes"),
    ("LogitOligopoly", {"num_sellers": 6}, "num_prices"),
    ("LogitOligopoly", {"num_prices": 1}, "num_prices"),
    ("LogitOligopoly", {"cost": [1.0, 1.0, 1.0]}, "cost"),
    ("LogitOligopoly", {"scale": 0.0}, "scale"),
    ("LogitOligopoly", {"capacity": -1.0}, "capacity"),
    ("LogitOligopoly", {"margin": 5.0}, "margin"),
    ("ParametricDemand", {"family": "cubic"}, "family"),
    ("ParametricDemand", {"family": "logit", "parameters": [3.0, 0.0]}, "parameters"),
    ("RelatedProducts", {"similarity": 1.5}, "similarity"),
    ("RelatedProducts", {"spread": 0.1}, "leaves"),
    ("RelatedProducts", {"spread": 0.1, "leaves": "prices"}, "leaf"),
    ("RelatedProducts", {"kind": -1}, "kind"),
]


@pytest.mark.parametrize(("name", "options", "named"), REFUSED, ids=lambda x: str(x)[:40])
def test_bad_input_is_refused(name, options, named):
    with pytest.raises(ValueError, match=named):
        jaxprice.make(name, **options)


def test_numbers_can_be_replaced():
    """Params are a dataclass: a market with other numbers is one `replace` away."""
    env, params = jaxprice.make("LinearValuation")
    other = dataclasses.replace(params, cost=np.float32(1))
    _, state = env.reset_env(jax.random.key(0), other)
    assert float(env.optimal_action(state, other)) > float(env.optimal_action(state, params))
