"""One table of policies and markets, and the conditions that hold in every cell of it.

A cell is a policy, a market and a few lanes over a short horizon, all with ten prices, so that compiled code is shared. A
plain loop over compiled one-lane functions plays the table, with the addressed keys of the engine. The engine itself must
then give the same prices and sales.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from strict import strict

import jaxprice
from jaxprice import demand, policies, random
from jaxprice.noise import NOISES
from jaxprice.types import Discrete, Policy, Transition

LANES, HORIZON = 8, 20
NUMBERS = np.arange(LANES, dtype=np.uint32)
EXACT = 1e-6  # regret that rounding may leave

STATIONARY_MARKETS = {
    "bernoulli bandit": ("BernoulliBandit", {}),
    "gaussian bandit": ("GaussianBandit", {}),
    "informative bandit": ("InformativeBandit", {"num_arms": 10}),
    "linear": ("PostedPrice", {"demand": "linear", "cost": 0.2}),
    "logit": ("PostedPrice", {"demand": "logit"}),
    "probit": ("PostedPrice", {"demand": "probit"}),
    "exponential": ("PostedPrice", {"demand": "exponential"}),
    "iso-elastic": ("PostedPrice", {"demand": "iso_elastic"}),
    "uniform": ("PostedPrice", {"demand": "uniform"}),
    "beta": ("PostedPrice", {"demand": "beta"}),
    "log-normal": ("PostedPrice", {"demand": "log_normal"}),
    "mixture": ("PostedPrice", {"demand": "mixture"}),
    "atoms": ("PostedPrice", {"demand": "atoms"}),
    "several buyers": ("PostedPrice", {"demand": "linear", "buyers": 5}),
    "poisson": ("PostedPrice", {"demand": "exponential", "noise": "poisson", "buyers": 3}),
    "gaussian noise": ("PostedPrice", {"demand": "logit", "noise": "gaussian", "noise_scale": 0.2}),
    "apple": ("apple", {}),
    "products": ("CalibratedProducts", {}),
    "segments": ("SegmentedValuation", {"num_segments": 20, "num_prices": 10, "buyers": 3}),
    "interval": ("PostedPrice", {"demand": "logit", "num_prices": None}),
    "interval, mixture": ("PostedPrice", {"demand": "mixture", "num_prices": None, "cost": 0.1}),
    "interval, poisson": ("PostedPrice", {"demand": "linear", "noise": "poisson", "num_prices": None}),
    "interval, apple": ("apple", {"num_prices": None}),
}
INTERVAL_POLICIES = ("fixed_price", "random_price", "oracle")
POLICIES = (  # those of the main job; all others are in test_policy_table
    "epsilon_greedy",
    "explore_then_commit",
    "exp3",
    "fixed_price",
    "gaussian_thompson",
    "kl_ucb",
    "oracle",
    "random_price",
    "thompson",
    "ucb1",
    "ucb_tuned",
)
ENGINE = [  # every kind of draw, action and observation
    ("thompson", "several buyers"),
    ("epsilon_greedy", "poisson"),
    ("ucb_tuned", "segments"),
    ("random_price", "interval, mixture"),
]


@functools.cache
def market(name):
    """`(environment, params)` of a row of the table."""
    kind, options = STATIONARY_MARKETS[name]
    env, params = jaxprice.make(kind, **options)
    return env, jax.tree.map(jnp.asarray, dataclasses.replace(params, max_steps_in_episode=np.int32(HORIZON)))


def supported(policy, name):
    """Whether the policy can act in the market."""
    env, params = market(name)
    problem = env.problem(params)
    if not isinstance(problem.action_space, Discrete):
        return policy in INTERVAL_POLICIES
    return policy != "thompson" or problem.noise == "bernoulli"


def cells():
    """All pairs of a policy that acts by itself and a market that it supports."""
    sellers = [policy for policy in POLICIES if policy != "oracle"]
    return [(policy, name) for policy in sellers for name in STATIONARY_MARKETS if supported(policy, name)]


@functools.cache
def keys(role):
    """The engine's keys of a role under seed 0, `[time, lane]`."""
    words = random.stream(0, role)
    over_lanes = jax.vmap(lambda time, number: random.address(words, time, number), (None, 0))
    return [over_lanes(time, NUMBERS) for time in range(HORIZON)]


@functools.cache
def market_functions(name):
    """Reset and step of all lanes."""
    env, params = market(name)
    reset = jax.jit(jax.vmap(lambda key: env.reset_env(key, params)))
    step = jax.jit(jax.vmap(lambda key, state, action: env.step_env(key, state, action, params)))
    return reset, step


@functools.cache
def policy_functions(name):
    """Act and update of all lanes; compiled once for all markets."""
    policy = policies.make(name)
    return jax.jit(jax.vmap(policy.act, (0, 0, None))), jax.jit(jax.vmap(policy.update))


@functools.cache
def play(policy, name):
    """A cell of the table: `(last state, last transition, name -> float [time, lane])`.

    These policies do not look at observations, so here they get none; elsewhere in this file they get the market's.
    """
    env, params = market(name)
    reset, step = market_functions(name)
    act, update = policy_functions(policy)
    state = jax.vmap(policies.make(policy).init, (0, None))(keys("init")[0], env.problem(params))
    _, env_state = reset(keys("reset")[0])
    seen = {"action": [], "price": [], "demand": [], "reward": [], "regret": []}
    for t in range(HORIZON):
        action = act(keys("act")[t], state, None)
        _, env_state, reward, _, info = step(keys("demand")[t], env_state, action)
        sale = Transition(None, action, info["price"], info["demand"], reward, None)
        state = update(keys("update")[t], state, sale)
        for field, values in seen.items():
            values.append(action if field == "action" else info[field])
    return state, sale, {field: np.array(values) for field, values in seen.items()}


def structure(tree):
    """Shapes and types of a tree."""
    return jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), tree)


@pytest.mark.parametrize("name", STATIONARY_MARKETS)
def test_every_policy_runs_in_every_market(name):
    """Finite states, prices of the market, and a regret that no period makes negative."""
    env, params = market(name)
    sold = 0.0
    for policy in POLICIES:
        if policy == "oracle" or not supported(policy, name):
            continue
        state, _, seen = play(policy, name)
        for leaf in jax.tree.leaves(state):
            assert np.all(np.isfinite(leaf)), (policy, state)
        for field, values in seen.items():
            assert np.all(np.isfinite(values)), (policy, field)
        assert seen["regret"].min() >= -EXACT, (policy, seen["regret"].min())
        sold += seen["demand"].sum()
        cost = float(params.cost)
        np.testing.assert_allclose(seen["reward"], (seen["price"] - cost) * seen["demand"], rtol=1e-5, atol=1e-6)
        if isinstance(env.problem(params).action_space, Discrete):
            assert np.issubdtype(seen["action"].dtype, np.integer)
            np.testing.assert_array_equal(seen["price"], np.asarray(params.prices)[seen["action"]])
        else:
            assert seen["price"].min() >= params.low and seen["price"].max() <= params.high
    assert sold > 0


@pytest.mark.parametrize("name", STATIONARY_MARKETS)
def test_oracle_is_the_zero_of_regret(name):
    """No action beats the oracle's, its own regret is zero, and its reward is what it promises."""
    env, params = market(name)
    reset, step = market_functions(name)
    _, env_state = reset(keys("reset")[0])
    best = jax.vmap(lambda state: env.optimal_action(state, params))(env_state)
    *_, info = step(keys("demand")[0], env_state, best)
    np.testing.assert_allclose(info["regret"], 0, atol=EXACT)
    one = jax.tree.map(lambda x: x[0], env_state)
    discrete = isinstance(env.problem(params).action_space, Discrete)
    actions = jnp.arange(env.num_actions) if discrete else jnp.linspace(params.low, params.high, 1001)
    profits = np.asarray(jax.vmap(lambda action: env.expected_reward(one, action, params))(actions), float)
    promise = float(env.optimal_reward(one, params))
    assert profits.max() <= promise + EXACT
    assert profits.max() >= promise - (EXACT if discrete else 1e-3 * promise + 1e-5)
    assert profits.min() < 0.9 * promise  # there is something to lose


@pytest.mark.parametrize(("policy", "name"), ENGINE)
def test_the_engine_plays_the_same_lanes(policy, name):
    env, params = market(name)
    result = jaxprice.simulate(env, policies.make(policy), seed=0, lanes=LANES, horizon=HORIZON, params=params, traces=True)
    *_, seen = play(policy, name)
    for field in ("action", "price", "demand"):
        np.testing.assert_allclose(result[f"trace_{field}"].values[0], seen[field], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result["trace_regret"].values[0], seen["regret"], rtol=1e-4, atol=1e-5)
    assert result["trace_regret"].min() >= -EXACT
    totals = seen["regret"].astype(float).sum(axis=0)
    np.testing.assert_allclose(result["lane_regret"].values[0], totals, rtol=1e-4, atol=1e-4)


def test_the_engine_gives_the_oracle_no_regret():
    """In markets that each lane draws for itself; what the sums over time leave is rounding."""
    env, _ = market("interval")
    result = jaxprice.simulate(env, policies.oracle(), lanes=LANES, horizon=HORIZON)
    assert np.abs(result["lane_regret"]).max() <= EXACT * HORIZON
    assert result["lane_share"].values == pytest.approx(1, abs=1e-5)
    assert result["reward"].values[0, -1] > 0


@pytest.mark.parametrize("name", STATIONARY_MARKETS)
def test_shapes_and_types_are_static(name):
    """What `update` returns has the shapes and types of what `init` returned; `act` returns what the market takes."""
    env, params = market(name)
    for policy in POLICIES:
        if policy != "oracle" and supported(policy, name):
            check_shapes_and_types(policy, env, params)


def check_shapes_and_types(policy, env, params):
    key = random.address(random.stream(0, "act"), 0, 0)
    obs, env_state = jax.eval_shape(lambda key: env.reset_env(key, params), key)
    made = policies.make(policy)
    problem = env.problem(params)
    state = jax.eval_shape(made.init, key, problem)
    action = jax.eval_shape(made.act, key, state, obs)
    next_obs, next_env_state, reward, _, info = jax.eval_shape(
        lambda key, s, a: env.step_env(key, s, a, params), key, env_state, action
    )
    sale = Transition(obs, action, info["price"], info["demand"], reward, next_obs)
    assert structure(jax.eval_shape(made.update, key, state, sale)) == structure(state)
    assert structure(next_obs) == structure(obs)
    assert structure(next_env_state) == structure(env_state)
    assert set(info) >= {"price", "demand", "reward", "regret"}
    assert {jnp.shape(x) for x in (action, reward, *info.values())} == {()}
    assert jnp.issubdtype(action.dtype, jnp.integer if isinstance(problem.action_space, Discrete) else jnp.floating)
    assert not any(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(state))


def test_a_second_run_traces_and_compiles_nothing():
    """Other seeds, horizons, checkpoints and markets of the same shape find the compiled code."""
    env, params = market("bernoulli bandit")
    traced, compiled = [], []
    inner = policies.thompson()

    def act(key, state, obs):
        traced.append("act")
        return inner.act(key, state, obs)

    def update(key, state, sale):
        traced.append("update")
        return inner.update(key, state, sale)

    def listener(event, duration, **kwargs):
        if "backend_compile" in event:
            compiled.append(event)

    policy = Policy(inner.init, act, update)
    run = functools.partial(jaxprice.simulate, env, policy, lanes=LANES)
    others = dataclasses.replace(params, means=params.means[::-1])
    jax.monitoring.register_event_duration_secs_listener(listener)
    first = run(seed=0, horizon=HORIZON, params=params)
    assert traced.count("update") >= 1 and compiled
    traced.clear()
    compiled.clear()
    second = run(seed=1, horizon=HORIZON + 13, params=others, checkpoints=[5, HORIZON + 13])
    assert traced in ([], ["act", "update"])  # shapes may be looked at, nothing more
    assert compiled == []
    assert not np.array_equal(first.lane_regret, second.lane_regret)


def fresh_keys(*roles):
    """One key of each role, of lane 3 in the first period."""
    return [random.address(random.stream(0, role), 0, 3) for role in roles]


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "oracle"])
def test_one_lane_many_lanes_compiled_or_not(policy):
    """The plain code of one lane, many lanes by `vmap`, and one lane compiled under strict settings: the same numbers.

    The state is one in the middle of things. Strictly, types stay explicit and no key is used twice.
    """
    env, params = market("linear")
    made = policies.make(policy)
    state, sale, _ = play(policy, "linear")
    act, update = policy_functions(policy)
    keys_act, keys_update = keys("act")[0], keys("update")[0]
    many = act(keys_act, state, None), update(keys_update, state, sale)
    one, one_sale = jax.tree.map(lambda x: x[3], (state, sale))

    def all_three(key_init, key_act, key_update):
        fresh = made.init(key_init, env.problem(params))
        return made.act(key_act, one, None), made.update(key_update, one, one_sale), fresh

    with jax.disable_jit():
        plain = all_three(*fresh_keys("init", "act", "update"))
    with strict():
        strictly = jax.jit(all_three)(*fresh_keys("init", "act", "update"))
    assert structure(plain[1]) == structure(plain[2])
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves(strictly[1:])), strictly
    for result in (strictly, (*jax.tree.map(lambda x: x[3], many), plain[2])):
        assert structure(result[1:]) == structure(plain[1:])
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), result, plain)


@pytest.mark.parametrize(
    "name",
    [
        "poisson",
        "gaussian noise",
        "segments",
        "gaussian bandit",
        "atoms",
        "mixture",
        "apple",
    ],
)
def test_strict_settings_allow_every_market(name):
    env, _ = market(name)

    def draw(key_market, key_reset, key_demand):
        drawn = dataclasses.replace(env.sample_params(key_market), max_steps_in_episode=jnp.int32(HORIZON))
        drawn = jax.tree.map(jnp.asarray, drawn)
        obs, state = env.reset_env(key_reset, drawn)
        next_obs, after, reward, _, info = env.step_env(key_demand, state, jnp.int32(4), drawn)
        return (obs, state), (next_obs, after), reward, info

    with strict():
        before, after, reward, info = jax.jit(draw)(*fresh_keys("market", "reset", "demand"))
        assert structure(before) == structure(after)
    assert np.isfinite(reward) and all(np.isfinite(value) for value in info.values())
    assert float(info["regret"]) >= -EXACT


@pytest.mark.parametrize("policy", ["kl_ucb", "thompson"])
def test_the_engine_runs_strictly(policy):
    env, _ = market("linear")
    with strict():
        result = jaxprice.simulate(env, policies.make(policy), lanes=LANES, horizon=HORIZON)
    assert np.all(np.isfinite(result.lane_regret)) and result.lane_regret.min() >= -EXACT * HORIZON


def test_the_strict_settings_do_catch_mistakes():
    """Each of the three would be seen, also behind a key of this library."""
    with strict():
        (key,) = fresh_keys("act")
        with pytest.raises(jax.errors.KeyReuseError):
            jax.jit(lambda key: jax.random.uniform(key) + jax.random.normal(key))(key)
        with pytest.raises(ValueError, match="rank"):
            jnp.ones((2, 3)) + jnp.ones(3)
        assert jnp.zeros(2).dtype == jnp.float64


def test_the_table_is_complete():
    """Every policy of the table, every demand curve, every kind of noise and of market has its cells."""
    curves = {market(name)[0].curve for name in STATIONARY_MARKETS if hasattr(market(name)[0], "curve")}
    assert curves >= set(demand.curves())
    kinds = {"BernoulliBandit", "GaussianBandit", "PostedPrice", "SegmentedValuation"}  # others: test_markets
    assert {kind for kind, _ in STATIONARY_MARKETS.values()} >= kinds
    assert {market(name)[0].noise for name in STATIONARY_MARKETS if hasattr(market(name)[0], "noise")} == set(NOISES)
    assert {policy for policy, _ in cells()} | {"oracle"} == set(POLICIES)
