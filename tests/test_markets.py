"""One table of markets, and the conditions that hold in every row of it.

A random seller and the oracle each play a row once: some hundreds of lanes in dozens of drawn markets, over a few periods,
compiled as one program that takes the params as an argument.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import some
from strict import strict

import jaxprice
from jaxprice import policies
from jaxprice.environment import Environment
from jaxprice.types import Discrete, Interval, Subset

LANES, DRAWN, PERIODS = 256, 32, 6
EXACT = 2e-5  # regret that rounding may leave, in units of the oracle's reward

RICHER_MARKETS = {  # buyers with features, a state that moves, or several products
    "linear valuation": ("LinearValuation", {}),
    "valuation, gaussian, grid": ("LinearValuation", {"noise": "gaussian", "num_prices": 7, "context": "uniform"}),
    "valuation, uniform, mixing": ("LinearValuation", {"noise": "uniform", "context": "autoregressive"}),
    "valuation, mixture, adversary": ("LinearValuation", {"noise": "mixture", "context": "adversarial", "num_prices": 9}),
    "valuation, sparse": ("LinearValuation", {"dimension": 30, "sparsity": 4, "scale_known": False}),
    "valuation, schedule": ("LinearValuation", {"context": "schedule", "intercept": False}),
    "inventory": ("FiniteInventory", {"stock": 3, "horizon": 12}),
    "inventory, interval": ("FiniteInventory", {"demand": "logit", "stock": 3, "horizon": 12, "cost": 0.4}),
    "inventory, salvage": ("FiniteInventory", {"stock": 3, "horizon": PERIODS, "salvage": 20.0, "shut_off": True}),
    "airline": ("AirlineSeason", {"days": 4, "stock": 6, "horizon": PERIODS, "arrivals": (8, 14), "cost": 5.0}),
    "inventory, closing": ("FiniteInventory", {"stock": 3, "horizon": PERIODS, "shut_off": True, "closes": True}),
    "network": ("NetworkRevenue", {}),
    "network, bernoulli": (
        "NetworkRevenue",
        {"demand": [[0.5, 0.4], [0.2, 0.3]], "prices": [[1, 2], [2, 3]], "noise": "bernoulli", "horizon": 10},
    ),
    "change points": ("NonStationary", {"kind": "piecewise", "num_markets": 3, "horizon": 2 * PERIODS}),
    "calendar": ("NonStationary", {"kind": "calendar", "slots": [0, 0, 1]}),
    "regimes": ("NonStationary", {"kind": "regimes", "transition": [[0.5, 0.5], [0.2, 0.8]]}),
    "season": ("NonStationary", {"kind": "season", "period": 5.0, "phase": 0.1}),
    "drift": ("NonStationary", {"kind": "drift", "step": 0.2, "budget": 0.5, "market": "LinearValuation"}),
    "several products": ("MultiProduct", {"num_products": 3}),
    "several products, poisson": ("MultiProduct", {"num_products": 2, "family": "exponential"}),
    "low rank": ("LowRankDemand", {"num_products": 12, "rank": 3, "noise_scale": 1.0}),
    "oligopoly": ("LogitOligopoly", {"num_sellers": 3, "num_prices": 5, "noise_scale": 0.05}),
    "oligopoly, capacity": ("LogitOligopoly", {"num_prices": 7, "capacity": [0.3, 0.4], "noise_scale": 0.05}),
    "keskin and zeevi": ("ParametricDemand", {"family": "keskin_zeevi"}),
    "uninformative price": ("ParametricDemand", {"family": "uninformative", "num_prices": 5}),
    "parametric poisson": ("ParametricDemand", {"family": "exponential"}),
    "related products": ("RelatedProducts", {"market": "LinearValuation", "spread": 0.2, "leaves": "theta"}),
    "related inventory": ("RelatedProducts", {"market": "FiniteInventory", "options": {"horizon": 12, "stock": 3}}),
    "glm": ("GLMDemand", {"dimension": 3}),
    "glm, linear": ("GLMDemand", {"link": "linear", "num_prices": 6, "context": "unit"}),
    "fair prices": ("FairPricing", {}),
    "mnl prices": ("MNLPricing", {"num_products": 3, "buyers": 2}),
    "assortments": ("MNLAssortment", {"num_products": 6, "size": 3}),
    "reference price": ("ReferencePrice", {"num_prices": 6}),
    "reference price, interval": ("ReferencePrice", {"observe_reference": True, "cost": 0.1}),
    "lost sales": ("Replenishment", {}),
    "backlog": ("Replenishment", {"backlog": True, "law": "binomial", "largest": 12}),
    "rival": ("ReactiveRival", {"num_prices": 8}),
    "rival, any price": (
        "ReactiveRival",
        {"demand": "logit", "rule": "cartel", "any_price": True, "noise": "gaussian", "num_prices": 6},
    ),
    "storefront": ("Storefront", {"size": "small", "num_products": 2, "num_exposures": 2}),
    "wheel": ("WheelBandit", {}),
    "labelled rows": ("LabelledRows", {"hit": 0.9, "miss": 0.2}),
}
VARIANTS = (  # rows of a kind that another row shows: slow tests
    "valuation, uniform, mixing",
    "valuation, sparse",
    "valuation, schedule",
    "inventory, salvage",
    "network, bernoulli",
    "calendar",
    "regimes",
    "several products, poisson",
    "oligopoly, capacity",
    "uninformative price",
    "parametric poisson",
    "related inventory",
    "glm, linear",
    "reference price, interval",
    "backlog",
    "rival, any price",
    "valuation, gaussian, grid",
    "inventory, interval",
)
LONG = ("storefront",)  # to compile; test_envs_planning looks at it
ROWS = some(RICHER_MARKETS, *(name for name in RICHER_MARKETS if name not in (*VARIANTS, *LONG)))
BANDITS = ("wheel", "labelled rows")  # whose arms have one price
BOUNDS = ("network", "network, bernoulli")  # whose oracle is a bound that nobody attains
FIXED = {  # leaves that are told or derived, or that this row does not use
    **dict.fromkeys((name for name in RICHER_MARKETS if "inventory" in name), ("values",)),
    "airline": ("tails", "values"),
    **dict.fromkeys(("reference price", "reference price, interval"), ("worth", "value")),
    **dict.fromkeys(("lost sales", "backlog", "storefront"), ("worth", "regrets", "best", "value")),
    **dict.fromkeys(("rival", "rival, any price"), ("worth", "regrets", "best", "value")),
    "network": ("mix", "duals", "value"),
    "network, bernoulli": ("mix", "duals", "value"),
}


@functools.cache
def market(name):
    kind, options = RICHER_MARKETS[name]
    env, params = jaxprice.make(kind, **options)
    return env, jax.tree.map(jnp.asarray, params)


@functools.cache
def keys():
    """Keys of the roles, `[lanes]`, and of acting and demand `[lanes, periods]`; cheap ones, for quick compilation."""
    many = jax.random.split(jax.random.key(7, impl="unsafe_rbg"), (2 + 2 * PERIODS, LANES))
    return many[0], many[1], many[2 : 2 + PERIODS].T, many[2 + PERIODS :].T


@functools.cache
def player(name):
    """A compiled function: params `[lanes]`, whether the oracle plays -> what it meets, or else a random seller."""
    env, _ = market(name)

    def lane(oracle, params, key_reset, key_init, key_act, key_demand):
        obs, state = env.reset_env(key_reset, params)
        seller, problem = policies.random_price(), env.problem(params)
        memory = seller.init(key_init, problem)

        def period(carry, keys):
            obs, state = carry
            action = jnp.where(oracle, env.optimal_action(state, params), seller.act(keys[0], memory, obs))
            expected = env.expected_reward(state, action, params)
            promise = env.optimal_reward(state, params)
            after, next_state, reward, terminated, info = env.step_env(keys[1], state, action, params)
            seen = {
                "observation": after,
                "action": action,
                "expected": expected,
                "promise": promise,
                "terminated": terminated,
                "state": next_state,
                "info": info,
                "reward": reward,
            }
            return (after, next_state), seen

        return obs, jax.lax.scan(period, (obs, state), (key_act, key_demand))[1], problem

    return jax.jit(jax.vmap(lane, in_axes=(None, 0, 0, 0, 0, 0)))


@functools.cache
def lanes_of(name):
    """Markets drawn, each for a few lanes."""
    env, _ = market(name)
    sample = jax.jit(jax.vmap(lambda key: jax.tree.map(jnp.asarray, env.sample_params(key))))
    drawn = jax.device_get(sample(jax.random.split(jax.random.key(3, impl="unsafe_rbg"), DRAWN)))
    return jax.tree.map(lambda x: np.repeat(x, LANES // DRAWN, axis=0), drawn)


def play(name, params, oracle):
    return jax.device_get(player(name)(oracle, params, *keys()))


@functools.cache
def played(name):
    """What a random seller and the oracle met, on the host."""
    return play(name, lanes_of(name), False), play(name, lanes_of(name), True)


@pytest.mark.parametrize("name", ROWS)
def test_a_random_seller_and_the_oracle(name):
    """Finite, of the promised shapes; no period makes the regret negative, and the oracle has none."""
    (first, random_seen, _), (_, oracle_seen, _) = played(name)
    for seen in (random_seen, oracle_seen):
        for leaf in jax.tree.leaves(seen):
            assert np.all(np.isfinite(leaf))
        info = seen["info"]
        assert {"price", "demand", "reward", "regret", "optimal_reward"} <= set(info)
        assert info["reward"].shape == info["regret"].shape == seen["reward"].shape == (LANES, PERIODS)
        scale = max(np.abs(info["optimal_reward"]).mean(), 1e-3)
        assert info["regret"].min() >= -EXACT * scale
        np.testing.assert_allclose(info["optimal_reward"], seen["promise"], rtol=1e-6)
        assert seen["observation"].dtype == np.float32 and seen["observation"].ndim == 3
        assert seen["observation"].shape[2:] == first.shape[1:]
        np.testing.assert_array_equal(seen["state"].time, np.broadcast_to(np.arange(1, PERIODS + 1), (LANES, PERIODS)))
    assert np.ptp(random_seen["info"]["price"]) > 0 or name in BANDITS
    assert random_seen["info"]["regret"].mean() > 0
    if name not in BOUNDS:
        assert np.abs(oracle_seen["info"]["regret"]).max() == 0
    assert random_seen["info"]["regret"].mean() > oracle_seen["info"]["regret"].mean()


@pytest.mark.parametrize("name", ROWS)
def test_actions_and_prices_are_those_of_the_problem(name):
    (_, seen, problem), (_, oracle_seen, _) = played(name)
    space = problem.action_space
    for action, price in ((s["action"], s["info"]["price"]) for s in (seen, oracle_seen)):
        assert action.shape == (LANES, PERIODS, *space.shape) and np.issubdtype(action.dtype, space.kind)
        if isinstance(space, Discrete):
            assert action.min() >= 0 and action.max() < space.n
            if not space.shape:
                posted = np.stack([problem.prices[lane][action[lane]] for lane in range(LANES)])
                np.testing.assert_allclose(price, posted, rtol=1e-6)
        elif isinstance(space, Interval):
            low, high = (np.reshape(x, (LANES, 1, -1) if space.shape else (LANES, 1)) for x in (problem.low, problem.high))
            assert np.all(price >= low - 1e-6) and np.all(price <= high * (1 + 1e-6))
        elif isinstance(space, Subset):
            assert action.sum(axis=-1).max() <= space.size


@pytest.mark.parametrize("name", ROWS)
def test_rewards_have_the_stated_mean(name):
    """Over lanes and periods, reward minus its expectation is a martingale difference: within 4 standard errors of 0."""
    if name in BOUNDS:
        pytest.skip("expects what no stock limits")
    for _, seen, _ in played(name):
        gaps = (seen["reward"].astype(float) - seen["expected"]).ravel()
        error = gaps.std() / np.sqrt(gaps.size)
        assert abs(gaps.mean()) <= 4 * error + 1e-6, (gaps.mean(), error)
        assert error > 0


@pytest.mark.parametrize("name", ROWS)
def test_every_number_of_a_market_matters(name):
    """Each leaf of the params, moved a little, changes something that is met or told."""
    env, params = market(name)

    def met(params):
        solved = jax.tree.map(jnp.asarray, env.solved(params))
        lanes = jax.tree.map(lambda x: jnp.broadcast_to(x, (LANES, *x.shape)), solved)
        return jax.tree.leaves(play(name, lanes, False)[1:])

    base, (paths, tree) = met(params), jax.tree.flatten_with_path(params)
    for k, (path, leaf) in enumerate(paths):
        label = jax.tree_util.keystr(path)
        told = label.endswith(".markets.max_steps_in_episode")  # the wrapper's own counts
        if not leaf.size or told or any(f".{field}" == label for field in FIXED.get(name, ())):
            continue
        moved = [x for _, x in paths]
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            share = 0.5 if label == ".threshold" else 0.93  # a step between order values
            moved[k] = jnp.where(jnp.isfinite(leaf), leaf * share + 0.011, 0.2)
        elif ".slots" in label:
            moved[k] = leaf[::-1]
        else:
            moved[k] = leaf - 1
        again = met(jax.tree.unflatten(tree, moved))
        assert any(not np.array_equal(x, y) for x, y in zip(base, again, strict=True)), label
    assert player(name)._cache_size() <= 2  # one trace for markets drawn, one for markets given


@pytest.mark.parametrize("name", ROWS)
def test_strict_settings_allow_it(name):
    """Types stay explicit under x64, ranks are never broadcast silently, no key is used twice."""
    env, _ = market(name)

    def once(key_market, key_reset, key_init, key_act, key_demand):
        params = jax.tree.map(jnp.asarray, env.sample_params(key_market))
        obs, state = env.reset_env(key_reset, params)
        seller = policies.random_price()
        action = seller.act(key_act, seller.init(key_init, env.problem(params)), obs)
        _, after, reward, _, info = env.step_env(key_demand, state, action, params)
        best = env.optimal_action(after, params)
        return (state, after), reward, info, env.expected_reward(after, best, params)

    with strict():
        (before, after), reward, info, _ = jax.eval_shape(once, *(jax.random.key(i) for i in range(5)))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), before) == jax.tree.map(lambda x: (x.shape, x.dtype), after)
    assert all(leaf.dtype.itemsize <= 4 for leaf in jax.tree.leaves((before, reward, info)))


@pytest.mark.optimised
@pytest.mark.parametrize("name", some(RICHER_MARKETS, "linear valuation"))
def test_lanes_do_not_depend_on_the_chunk(name):
    """The engine, with markets drawn: bit by bit the same lanes, whatever is computed beside them."""
    env, _ = market(name)
    run = functools.partial(jaxprice.simulate, env, policies.random_price(), seed=3, lanes=10, horizon=PERIODS)
    whole, parts = run(), run(chunk=4)
    for field in ("lane_regret", "lane_share"):
        np.testing.assert_array_equal(whole[field], parts[field])
    assert whole["lane_regret"].min() >= -1e-3


def test_the_table_is_whole():
    """Every kind of market is in this table or in that of the invariants."""
    from test_invariants import STATIONARY_MARKETS

    shown = {kind for table in (RICHER_MARKETS, STATIONARY_MARKETS) for kind, _ in table.values()}
    elsewhere = {name for name in jaxprice.list_envs() if name.islower()}
    assert set(jaxprice.list_envs()) - elsewhere == shown - elsewhere


def test_a_horizon_beyond_the_tables_is_refused():
    env, params = market("inventory")
    with pytest.raises(ValueError, match="horizon must be at most 12"):
        jaxprice.simulate(env, policies.oracle(), lanes=2, horizon=13, params=params)


def test_params_with_other_numbers_are_solved_anew():
    """`simulate` plays the market that the params describe, whatever stale table they carry."""
    env, params = market("inventory")
    changed = dataclasses.replace(params, demand=params.demand * 0.5)
    run = functools.partial(jaxprice.simulate, env, policies.oracle(), lanes=50, horizon=12)
    stale, solved = run(params=changed), run(params=env.solve(changed))
    np.testing.assert_array_equal(stale["reward"], solved["reward"])
    assert not np.array_equal(changed.values, env.solve(changed).values)


def test_every_name_can_be_made():
    for name in jaxprice.list_envs():
        options = {"num_segments": 20} if name == "SegmentedValuation" else {}
        env, params = jaxprice.make(name, **options)
        assert isinstance(env, Environment) and all(isinstance(x, np.ndarray | np.generic) for x in jax.tree.leaves(params))
        again = jaxprice.make(name, **options)[0]
        assert env == again and hash(env) == hash(again)
