"""Reference prices, replenishment and storefronts: draws, regret, long-run totals, oracles by other methods, bad input."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import some
from scipy import optimize

import jaxprice
from jaxprice import envs, policies
from jaxprice.envs import customers, reference_price, replenishment
from jaxprice.oracles import dynamic_programming
from jaxprice.oracles import reference_price as reference_oracle
from jaxprice.oracles import replenishment as replenishment_oracle
from jaxprice.types import Discrete

WEIGHTS = (0.5, 0.2, 0.0, 0.2, 0.1)
LONG_RUN_MARKETS = {
    "reference": (envs.ReferencePrice, {}),
    "reference, grid": (
        envs.ReferencePrice,
        {"gain": 0.3, "loss": 0.1, "memory": 0.5, "num_prices": 7, "cost": 0.2, "observe_reference": True},
    ),
    "lost sales": (envs.Replenishment, {}),
    "backlog": (envs.Replenishment, {"law": "binomial", "largest_demand": 9, "backlog": True, "largest_backlog": 6}),
    "storefront": (envs.Storefront, {"size": "small", "num_products": 2, "num_exposures": 2, "weights": WEIGHTS}),
}
EVERY = pytest.mark.parametrize("name", some(LONG_RUN_MARKETS, "reference, grid", "lost sales", "storefront"))
LANES, WALK, ACTIONS, DRAWS = 2000, 60, 8, 20_000


@functools.cache
def market(name):
    kind, options = LONG_RUN_MARKETS[name]
    return kind.make(**options)


def random_action(env, problem, key):
    if isinstance(problem.action_space, Discrete):
        return jax.random.randint(key, (), 0, problem.action_space.n)
    return jax.random.uniform(key, (), jnp.float32, problem.low, problem.high)


def worth(env, state, params):
    """Bias of a state before its customer comes."""
    if isinstance(env, reference_price.ReferencePrice):
        nodes = np.linspace(env.low, env.high, env.resolution)
        return jnp.interp(state.reference, nodes, jnp.asarray(params.worth))
    if isinstance(env, replenishment.Replenishment):
        return jnp.asarray(params.worth)[state.stock + env.largest_backlog]
    _, _, _, phases, levels, loyalties = env.sizes
    row = (state.time % phases * levels + state.competitor) * loyalties + state.loyalty
    return jnp.asarray(params.worth)[row]


@functools.cache
def walks(name):
    """Random prices in the market of the table: per lane, what the oracle's equation leaves over, and where it ends."""
    env, params = market(name)
    problem = env.problem(params)

    def one(key):
        start = env.reset_env(jax.random.fold_in(key, 1), params)[1]

        def period(state, key):
            keys = jax.random.split(key)
            action = random_action(env, problem, keys[0])
            _, after, reward, _, info = env.step_env(keys[1], state, action, params)
            return after, reward + info["regret"] - params.value

        end, rest = jax.lax.scan(period, start, jax.random.split(key, WALK))
        return end, jnp.sum(rest) + worth(env, end, params) - worth(env, start, params)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), LANES))


@functools.cache
def periods(name):
    """One period from where walks end: regrets of random actions and, last, the oracle's, and many rewards of each."""
    env, params = market(name)
    states = jax.tree.map(lambda x: x[:6], walks(name)[0])

    def one(key, state):
        best = jnp.asarray(env.optimal_action(state, params))
        drawn = jax.vmap(lambda k: random_action(env, env.problem(params), k))(jax.random.split(key, ACTIONS))
        actions = jnp.append(drawn.astype(best.dtype), best)

        def play(action):
            keys = jax.random.split(jax.random.fold_in(key, 1), DRAWS)
            info = jax.vmap(lambda k: env.step_env(k, state, action, params)[4])(keys)
            more = (info["components"], env.expected_components(state, action, params)) if "components" in info else None
            return info["reward"], info["regret"][0], info["demand"], env.expected_reward(state, action, params), more

        return jax.lax.map(play, actions)

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 6), states))


def agree(samples, mean, axis=-1):
    """Whether averages along an axis are within four standard errors of `mean`."""
    samples = samples.astype(float)
    error = samples.std(axis=axis) / np.sqrt(samples.shape[axis])
    np.testing.assert_array_less(np.abs(samples.mean(axis=axis) - mean), 4 * error + 1e-5 * (1 + np.abs(mean)))


@EVERY
def test_draws_agree_with_expected_rewards(name):
    rewards, _, demand, expected, more = periods(name)
    agree(rewards, expected)
    assert np.isfinite(demand).all()
    if more is not None:
        agree(more[0], more[1], axis=2)
        np.testing.assert_allclose(more[1] @ market(name)[1].weights, expected, rtol=1e-5, atol=1e-6)
        assert more[0].shape == (6, ACTIONS + 1, DRAWS, len(customers.COMPONENTS))


@EVERY
def test_regret_is_never_negative_and_zero_for_the_oracle(name):
    regret = periods(name)[1]
    assert regret.min() >= -1e-5 and regret[:, :-1].max() > 0.01
    np.testing.assert_array_equal(regret[:, -1], 0.0)


@pytest.mark.parametrize("name", some(LONG_RUN_MARKETS, *(x for x in LONG_RUN_MARKETS if x != "storefront")))
def test_regret_and_reward_sum_to_the_long_run_average(name):
    """sum (reward + regret) = T g + w(s_0) - E w(s_T), whatever the policy."""
    env, params = market(name)
    left = np.asarray(walks(name)[1], float)
    assert abs(left.mean()) < 4 * left.std() / LANES**0.5 + WALK * 1e-5 * max(1, params.value)
    np.testing.assert_allclose(env.optimal_reward(None, params), params.value)


@pytest.mark.parametrize("name", some([x for x in LONG_RUN_MARKETS if x != "backlog"], "reference, grid", "lost sales"))
def test_the_engine_reports_the_long_run_average(name):
    env, params = market(name)
    sellers = {"oracle": policies.oracle(), "random": policies.random_price()}
    result = jaxprice.simulate(env, sellers, lanes=LANES, horizon=200, params=params)
    total = (result["regret"] + result["reward"]).sel(time=200)
    error = 4 * result["reward_se"].sel(time=200) + np.ptp(params.worth)
    assert (abs(total - 200 * float(params.value)) < error).all()
    assert float(result["regret"].sel(policy="oracle", time=200)) == 0.0
    assert float(result["regret"].sel(policy="random", time=200)) > 1.0


@EVERY
def test_random_markets_and_shapes(name):
    """Solved, under strict settings too; observations end with the context."""
    env, params = market(name)
    drawn = jax.jit(jax.vmap(env.sample_params))(jax.random.split(jax.random.key(3), 20))
    assert jax.tree.structure(drawn) == jax.tree.structure(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(drawn)) and np.ptp(drawn.value) > 0.01
    for x64 in (False, True):
        with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"), jax.debug_key_reuse(True):
            made = jax.eval_shape(env.sample_params, jax.random.key(0))
            obs, state = jax.eval_shape(env.reset_env, jax.random.key(0), made)
            action = jax.eval_shape(env.optimal_action, state, made)
            out = jax.eval_shape(env.step_env, jax.random.key(0), state, action, made)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), (obs, state)) == jax.tree.map(
            lambda x: (x.shape, x.dtype), out[:2]
        )
        assert obs.dtype == out[2].dtype == jnp.float32
        assert action.dtype == (jnp.float32 if name == "reference" else jnp.int32)
    obs, state = env.reset_env(jax.random.key(5), params)
    problem = env.problem(params)
    if problem.context_size:
        context, (ages, incomes, browsings, *_) = np.asarray(obs)[-problem.context_size :], env.sizes
        place = np.unravel_index(int(state.customer), (ages, incomes, browsings))
        hot = np.concatenate([np.eye(size)[i] for size, i in zip((ages, incomes, browsings), place, strict=True)])
        np.testing.assert_array_equal(context, hot)
    if name == "reference, grid":
        assert obs.shape == (4,) and obs[3] == 1.0


def path(env, params, length, reference=0.8):
    """Prices and references under the oracle, `[length]` each."""

    def period(reference, _):
        action = env.optimal_action(reference_price.State(jnp.int32(0), reference), params)
        price = jnp.asarray(params.prices)[action] if env.num_prices else action
        return params.memory * reference + (1 - params.memory) * price, (price, reference)

    return jax.jit(lambda: jax.lax.scan(period, jnp.float32(reference), length=length)[1])()


@pytest.mark.parametrize("resolution", [101, 401])
@pytest.mark.parametrize("loss, memory, cost", [(0.3, 0.1, 0.0), (0.2, 0.6, 0.2)])
def test_reference_price_settles_where_no_reference_would(loss, memory, cost, resolution):
    """Loss-averse or neutral buyers: the best long-run price is that of demand a - b p."""
    options = {"intercept": 1.0731, "gain": 0.2, "loss": loss, "memory": memory, "cost": cost}
    env, params = envs.ReferencePrice.make(resolution=resolution, **options)
    best = (1.0731 / 0.5 + cost) / 2
    assert float(params.value) == pytest.approx(
        (best - cost) * (1.0731 - 0.5 * best), abs=2e-5 if resolution == 101 else 5e-6
    )
    prices, _ = path(env, params, 300)
    np.testing.assert_allclose(prices[-20:], best, atol=1.1 / (resolution - 1))


@pytest.mark.parametrize("resolution", [101, 401])
def test_discounted_reference_price_settles_at_the_steady_price(resolution):
    env, params = envs.ReferencePrice.make(gain=0.2, loss=0.2, resolution=resolution)

    def solve():
        def step(_, worth):
            worth = env.backup(0.95 * worth, params)
            return worth - jnp.mean(worth)

        return 0.95 * jax.lax.fori_loop(0, 500, step, jnp.zeros(resolution))

    prices, _ = path(env, dataclasses.replace(params, worth=jax.jit(solve)()), 300)
    steady = float(reference_oracle.steady_price(1.1, 0.5, 0.2, 0.1, 0.95))
    assert steady == pytest.approx(1.08797814, abs=1e-6)
    np.testing.assert_allclose(prices[-20:], steady, atol=1.1 / (resolution - 1))


def test_gain_seeking_buyers_are_worth_a_cycle_of_prices():
    """The best cycle of up to five prices, found by a search; the oracle's own path earns the gain."""
    env, params = envs.ReferencePrice.make(gain=0.3, loss=0.1, memory=0.3)

    def earned(prices):
        reference = prices[0]
        for _ in range(12):
            total = 0.0
            for price in prices:
                demand = 1.1 - 0.5 * price + 0.3 * max(reference - price, 0) - 0.1 * max(price - reference, 0)
                total, reference = total + price * demand, 0.3 * reference + 0.7 * price
        return total / len(prices)

    found = 0.0
    for length in range(1, 6):
        starts = (np.linspace(1.4, 0.8, length), np.resize([1.4, 0.9], length))
        for start in starts:
            search = optimize.minimize(lambda p: -earned(p), start, bounds=[(0.5, 1.5)] * length, method="Powell")
            found = max(found, -search.fun)
    assert found > 0.61  # a constant price earns .605
    assert float(params.value) == pytest.approx(found, abs=5e-5)
    prices, references = (np.asarray(x, float) for x in path(env, params, 2000))
    gains, losses = np.maximum(references - prices, 0), np.maximum(prices - references, 0)
    rewards = prices * (1.1 - 0.5 * prices + 0.3 * gains - 0.1 * losses)
    assert rewards[500:].mean() == pytest.approx(params.value, abs=1e-4)


def replenishment_mdp(env, params):
    """`[S, A]` rewards and `[S, A, S]` transitions, demand by demand."""
    levels, numbers = list(env.levels), jax.tree.map(lambda x: np.asarray(x, float), params)
    rewards = np.zeros((len(levels), env.num_prices * len(levels)))
    transition = np.zeros((*rewards.shape, len(levels)))
    for (s, stock), k, (i, target) in itertools.product(enumerate(levels), range(env.num_prices), enumerate(levels)):
        have, action = max(stock, target), k * len(levels) + i
        rewards[s, action] -= numbers.cost * (have - stock) + numbers.fixed * (have > stock)
        for demand, chance in enumerate(numbers.pmf[k] / numbers.pmf[k].sum()):
            sold = min(demand, have + env.largest_backlog)
            left = have - sold
            costs = numbers.holding * max(left, 0) + numbers.shortage * max(demand - have, 0)
            rewards[s, action] += chance * (numbers.prices[k] * sold - costs)
            transition[s, action, levels.index(left)] += chance
    return rewards, transition


@pytest.mark.parametrize("backlog", [False, True])
def test_replenishment_oracle_is_the_tabular_one(backlog):
    options = {"prices": [4, 6, 7.5], "demand": [3.1, 2.2, 1.1], "law": "poisson", "largest_demand": 7}
    env, params = envs.Replenishment.make(**options, backlog=backlog, largest=8, fixed=3.0)
    gain, _, q = dynamic_programming.relative_value_iteration(*replenishment_mdp(env, params))
    assert float(params.value) == pytest.approx(float(gain), abs=1e-4)
    np.testing.assert_allclose(params.regrets, np.max(q, axis=1, keepdims=True) - q, atol=2e-3)
    assert np.all(np.take_along_axis(np.max(q, axis=1, keepdims=True) - q, params.best[:, None], axis=1) < 1e-3)


@pytest.mark.parametrize("law", replenishment.LAWS)
def test_replenishment_with_backlog_and_no_fixed_cost_is_myopic(law):
    env, params = envs.Replenishment.make(law=law, backlog=True, fixed=0.0, largest_demand=16)
    args = params.pmf, params.prices, params.cost, params.holding, params.shortage
    price, level, value = replenishment_oracle.myopic_base_stock(*args)
    assert float(params.value) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(params.pmf.sum(axis=1), 1, rtol=1e-5)
    means = np.linspace(0.45, 0.15, 5) * 16
    np.testing.assert_allclose(params.pmf @ np.arange(17), means, rtol=2e-3 if law == "poisson" else 1e-5)
    low = env.levels < int(level)
    np.testing.assert_array_equal(env.levels[params.best[low] % env.num_levels], int(level))
    np.testing.assert_array_equal(params.best[env.levels <= int(level)] // env.num_levels, int(price))
    assert np.all(env.levels[params.best[~low] % env.num_levels] <= env.levels[~low])


def storefront_mdp(env, params):
    """The storefront with the customer in its state: rewards `[S T, A]` and transitions `[S T, A, S T]`, in NumPy."""
    p = jax.tree.map(lambda x: np.asarray(x, float), params)
    _, _, _, phases, levels, loyalties = env.sizes
    states = list(itertools.product(range(phases), range(levels), range(loyalties), range(env.num_types)))
    actions = list(itertools.product(range(env.num_prices), env.offers, range(env.num_products), range(env.num_exposures)))
    rewards, transition = np.zeros((len(states), len(actions))), np.zeros((len(states), len(actions), len(states)))
    for (s, (f, c, loyal, t)), (a, (k, offer, i, e)) in itertools.product(enumerate(states), enumerate(actions)):
        happy = 0.0
        for redeemed, share in ((False, 1 - p.redemption[t]), (True, p.redemption[t])):
            paid = [0.0]
            for n in range(1, env.units + 1):
                full = p.prices[k] * n
                if offer == "percentage":
                    full *= 1 - p.discount
                elif offer == "coupon" and redeemed:
                    full = max(full - p.coupon, 0)
                elif offer == "spend_and_save" and full >= p.threshold:
                    full -= p.saving
                paid.append(full)
            pull = [1.0, np.exp(p.rival - p.sensitivity[t] * p.competitor_prices[c])]
            base = p.appeal[t] + p.season[f] + p.loyalty * loyal + p.fit[t, i] + p.exposure * e
            base += p.promotion[f] * (offer != "none")
            pull += [np.exp(base + p.tastes[n - 1] - p.sensitivity[t] * paid[n]) for n in range(1, env.units + 1)]
            chances = share * np.array(pull) / sum(pull)
            for n in range(env.units + 1):
                chance = chances[n + 1] if n else chances[0] + chances[1]
                content = p.aside
                if n:
                    gap = p.contentment + p.sensitivity[t] * (p.competitor_prices[c] - paid[n] / n)
                    content = 1 / (1 + np.exp(-gap))
                parts = [paid[n] - p.cost * n - p.exposure_cost * e, n > 0, paid[n], n > 0, content]
                rewards[s, a] += chance * np.dot(p.weights, parts)
                happy += chance * content
            rewards[s, a] -= chances[1] * p.weights[3]
        rise, fall = p.rise * happy, p.fall * (1 - happy)
        for step, chance in ((1, rise), (-1, fall), (0, 1 - rise - fall)):
            after = min(max(loyal + step, 0), loyalties - 1)
            for c_after, t_after in itertools.product(range(levels), range(env.num_types)):
                mass = chance * p.competition[c, k, c_after] * p.types[t_after]
                transition[s, a, states.index(((f + 1) % phases, c_after, after, t_after))] += mass
    return rewards, transition


def test_storefront_oracle_is_the_tabular_one():
    env, default = market("storefront")
    for params in (default, jax.jit(env.sample_params)(jax.random.key(7))):
        gain, _, q = dynamic_programming.relative_value_iteration(*storefront_mdp(env, params))
        regrets = np.asarray(np.max(q, axis=1, keepdims=True) - q).reshape(params.regrets.shape)
        assert float(params.value) == pytest.approx(float(gain), abs=2e-6)
        np.testing.assert_allclose(params.regrets, regrets, atol=2e-5)
        assert np.all(np.take_along_axis(regrets, np.asarray(params.best)[..., None], axis=2) < 2e-5)


def test_stationary_rewards_of_a_medium_storefront_are_its_gain():
    """Value iteration against the stationary distribution of its policy, of four phases."""
    env, params = envs.Storefront.make()
    gains, chosen = jax.jit(env.pareto_front)(params, params.weights[None])
    np.testing.assert_array_equal(chosen[0], params.best)
    assert float(gains[0] @ params.weights) == pytest.approx(float(params.value), abs=2e-6)
    assert set(np.unique(params.best) % 4) == {0, 1, 2, 3}  # every offer is the best somewhere


def test_competitor_follows_the_price():
    _, params = envs.Storefront.make("small", reaction=0.6, drift=0.2)
    low, high = params.competition[:, 0], params.competition[:, 1]
    np.testing.assert_allclose(low, [[0.9, 0.1], [0.7, 0.3]], atol=1e-6)
    np.testing.assert_allclose(high, [[0.3, 0.7], [0.1, 0.9]], atol=1e-6)


def test_no_point_of_the_pareto_front_is_dominated():
    env, params = envs.Storefront.make("small")
    weights = np.random.default_rng(0).dirichlet(np.full(5, 0.6), 24).astype(np.float32)
    weights = np.concatenate([weights, params.weights[None]])
    gains, chosen = (np.asarray(x) for x in jax.jit(env.pareto_front)(params, weights))
    assert chosen.shape == (25, 8, 2) and len(np.unique(chosen.reshape(25, -1), axis=0)) > 5
    worths = weights @ gains.T  # [weights, points]
    np.testing.assert_array_less(worths - np.diag(worths)[:, None], 1e-5)
    for a, b in itertools.permutations(range(25), 2):
        assert not (np.all(gains[b] >= gains[a] + 1e-5) and np.any(gains[b] > gains[a] + 1e-4))
    assert worths[-1, -1] == pytest.approx(float(params.value), abs=2e-6)
    ends = jax.jit(jax.vmap(lambda w: env.solve(dataclasses.replace(params, weights=w)).value))(weights)
    np.testing.assert_allclose(np.diag(worths), ends, atol=5e-6)


BAD = [
    (envs.ReferencePrice, {"loss": 0.4}, "demand that is not negative"),
    (envs.ReferencePrice, {"memory": 1.0}, "memory"),
    (envs.ReferencePrice, {"low": 2.0}, "low must be below"),
    (envs.ReferencePrice, {"start": 3.0}, "start"),
    (envs.ReferencePrice, {"resolution": 2}, "resolution"),
    (envs.ReferencePrice, {"slope": 0.0}, "slope"),
    (envs.ReferencePrice, {"prices": [1.0, 0.5]}, "increasing"),
    (envs.Replenishment, {"law": "poison"}, "did you mean 'poisson'"),
    (envs.Replenishment, {"demand": [1.0, 2.0]}, "demand"),
    (envs.Replenishment, {"demand": np.full((5, 4), 0.3)}, "demand"),
    (envs.Replenishment, {"demand": [30, 9, 8, 7, 6]}, "demand"),
    (envs.Replenishment, {"fixed": -1.0}, "fixed"),
    (envs.Replenishment, {"largest_backlog": 3}, "backlog=True"),
    (envs.Replenishment, {"stock": -1}, "stock"),
    (envs.Storefront, {"offers": ("none", "percent")}, "did you mean 'percentage'"),
    (envs.Storefront, {"offers": ()}, "offers"),
    (envs.Storefront, {"weights": (0.5, 0.5, 0.5, 0, 0)}, "weights must sum to one"),
    (envs.Storefront, {"weights": (1.5, -0.5, 0, 0, 0)}, "weights"),
    (envs.Storefront, {"weights": (1.0, 0.0)}, "weights"),
    (envs.Storefront, {"size": "huge"}, "size"),
    (envs.Storefront, {"reaction": 0.8, "drift": 0.3}, "reaction and drift"),
    (envs.Storefront, {"size": "small", "reaction": 0.0, "drift": 0.0}, "never left"),
]


@pytest.mark.parametrize("kind, options, message", BAD)
def test_bad_input_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        jaxprice.make(kind.__name__, **options)
