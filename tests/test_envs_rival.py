"""A duopoly against a rival that follows a rule: demand, rules, the oracle by enumeration and by cycles, bad input."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import envs, invariants
from jaxprice.envs import duopoly_tables
from jaxprice.envs.reactive_rival import State
from jaxprice.oracles import logit_pricing

PRICES = range(1, 51)


@functools.cache
def made(**options):
    """`(environment, params)`."""
    return jaxprice.make("ReactiveRival", **options)


def sales_of_the_paper(a, p):
    """Mean sales of a period, as the simulation of the paper's code states them."""
    features = np.array([1, 1 + ((p < a) + (p <= a)) / 2, a - p, 1, (a + p) / 2])
    odds = np.exp(features @ [-3.89, -0.56, -0.01, 0.07, -0.03])
    return 800 * odds / (1 + odds)


def test_sales_are_those_of_kastius_and_schlosser():
    _, params = made()
    np.testing.assert_array_equal(params.prices, PRICES)
    wanted = [[sales_of_the_paper(a, p) for p in PRICES] for a in PRICES]
    np.testing.assert_allclose(params.sales, wanted, rtol=2e-6)
    assert params.lag == 0.5 and params.cost == 0 and params.prices[params.start] == 30


def test_another_currency_has_the_same_buyers():
    _, params = made(low=0.1, high=5.0)
    np.testing.assert_allclose(params.sales, made()[1].sales, rtol=1e-5)
    assert float(params.value) == pytest.approx(float(made()[1].value) / 10, rel=1e-5)


def two_bound(a, low, high, capped=False):
    target = min(a - 1, high) if capped else a - 1
    return high if a - 1 < low else target


REACTIONS = {  # options -> the rival's answer to a price
    "fixed 20": ({"rule": "fixed"}, lambda a: 20),
    "fixed 7": ({"rule": "fixed", "at": 7}, lambda a: 7),
    "two bounds 5, 40": ({}, lambda a: two_bound(a, 5, 40)),
    "two bounds 25, 45": ({"floor": 25, "ceiling": 45}, lambda a: two_bound(a, 25, 45)),
    "two bounds, capped": ({"floor": 10, "ceiling": 20, "capped": True}, lambda a: two_bound(a, 10, 20, True)),
    "cartel 33": ({"rule": "cartel"}, lambda a: 33 if a == 33 else two_bound(a, 1, 50)),
    "cartel 33, price war": (
        {"rule": "cartel", "floor": 10, "ceiling": 20, "capped": True},
        lambda a: 33 if a == 33 else two_bound(a, 10, 20, True),
    ),
    "undercut": ({"rule": "undercut"}, lambda a: max(a - 1, 1)),
    "undercut by three, to 12": ({"rule": "undercut", "gap": 3, "floor": 12}, lambda a: max(a - 3, 12)),
    "undercut, capped": ({"rule": "undercut", "ceiling": 30, "capped": True}, lambda a: min(max(a - 1, 1), 30)),
}


@pytest.mark.parametrize("name", REACTIONS)
def test_answers_of_the_rules(name):
    options, reaction = REACTIONS[name]
    env = envs.ReactiveRival(**options)
    table = np.asarray(env.tables_of(env.places)[1])
    wanted = np.array([reaction(a) - 1 for a in PRICES])
    np.testing.assert_array_equal(table, np.broadcast_to(wanted[:, None], (50, 50)))


def test_logit_sales_and_grid_are_those_of_calvano():
    _, params = made(demand="logit", noise="gaussian", size=1.0)
    oligopoly, other = jaxprice.make("LogitOligopoly")
    np.testing.assert_allclose(params.prices, np.asarray(oligopoly.grid(other))[:, 0], rtol=1e-5)
    pairs = jnp.stack(jnp.meshgrid(params.prices, params.prices, indexing="ij"), axis=-1)
    np.testing.assert_allclose(params.sales, oligopoly.mean_demand(pairs, other)[..., 0], rtol=1e-5)
    qualities, costs, scales = np.float32([2, 5, 1]), np.float32([1, 0.5, 1]), np.float32([0.25, 1.5, 0.1])
    several = np.stack([qualities] * 2, -1), np.stack([costs] * 2, -1), scales
    nash = jax.vmap(logit_pricing.nash)(*several)[:, 0]
    monopoly = jax.vmap(logit_pricing.monopoly)(*several)[0][:, 0]
    ends = np.array([duopoly_tables.logit_ends(*market) for market in zip(qualities, costs, scales, strict=True)])
    np.testing.assert_allclose(ends[:, 0], nash - 0.1 * (monopoly - nash), rtol=1e-5)
    np.testing.assert_allclose(ends[:, 1], monopoly + 0.1 * (monopoly - nash), rtol=1e-5)


def rewards(params):
    """Expected reward, float64 `[own, rival]`, pair by pair."""
    p = jax.tree.map(np.asarray, params)
    count = p.prices.size
    table = np.zeros((count, count))
    for own, rival in itertools.product(range(count), repeat=2):
        mean = p.lag * p.sales[own, rival] + (1 - p.lag) * p.sales[own, p.answer[own, rival]]
        table[own, rival] = (float(p.prices[own]) - p.cost) * mean
    return table


def average(policy, reward, answer, start):
    """Long-run average reward of a policy `[rival]`, by walking until a state comes again."""
    seen, earned, rival = {}, [], start
    while rival not in seen:
        seen[rival] = len(earned)
        earned.append(reward[policy[rival], rival])
        rival = answer[policy[rival], rival]
    return np.mean(earned[seen[rival] :])


@pytest.mark.parametrize("seed", range(6))
def test_the_oracle_is_the_best_of_all_policies(seed):
    """All 4^4 stationary policies of a small market whose rival looks at both prices."""
    rng = np.random.default_rng(seed)
    prices = np.cumsum(rng.uniform(0.5, 2, 4))
    places = rng.integers(0, 4, (4, 4))
    places[0, :], places[3, :] = [1, 2, 3, 0], [3, 0, 1, 2]  # so that every price of the rival can be reached
    _, params = jaxprice.make(
        "ReactiveRival",
        prices=prices,
        answers=np.asarray(prices, np.float32)[places],
        sales=rng.uniform(0, 8, (4, 4)),
        cost=0.7,
        lag=rng.uniform(),
        noise="gaussian",
        start=float(prices[2]),
    )
    np.testing.assert_array_equal(params.answer, places)
    reward, starts = rewards(params), range(4)
    found = [[average(policy, reward, places, s) for s in starts] for policy in itertools.product(range(4), repeat=4)]
    np.testing.assert_allclose(np.max(found, axis=0), float(params.value), rtol=2e-5)
    own = [average(params.best, reward, places, s) for s in starts]
    np.testing.assert_allclose(own, float(params.value), rtol=2e-5)


def karp(reward, answer):
    """The largest mean of a cycle, by Karp's theorem: `reward` and `answer` `[own, rival]`, all states reach each other."""
    count = reward.shape[1]
    longest = np.full((count + 1, count), -np.inf)
    longest[0, 0] = 0.0
    for k in range(count):
        for own, rival in itertools.product(range(reward.shape[0]), range(count)):
            after = answer[own, rival]
            longest[k + 1, after] = max(longest[k + 1, after], longest[k, rival] + reward[own, rival])
    ends = np.isfinite(longest[-1])
    before = np.where(np.isfinite(longest[:-1]), longest[:-1], -1e9)[:, ends]
    return np.max(np.min((longest[-1, ends] - before) / np.arange(count, 0, -1)[:, None], axis=0))


@pytest.mark.parametrize("rule", duopoly_tables.RULES)
def test_the_value_of_the_papers_rivals_is_the_best_cycle(rule):
    _, params = made(rule=rule)
    assert float(params.value) == pytest.approx(karp(rewards(params), np.asarray(params.answer)), rel=1e-5)


def test_against_a_fixed_price_the_best_reply_stays():
    _, params = made(rule="fixed")
    at_twenty = params.prices * np.array([sales_of_the_paper(a, 20) for a in PRICES])
    assert float(params.value) == pytest.approx(at_twenty.max(), rel=1e-5)
    assert params.prices[params.best[19]] == PRICES[int(at_twenty.argmax())] == 19


def test_rewards_and_regrets_sum_to_the_long_run_average():
    """In every period, for every price: E reward + regret + w(p') - w(p) = g."""
    env, params = made(rule="cartel", cost=2.0)
    worth, value = np.asarray(params.worth, float), float(params.value)
    gain = rewards(params) + np.asarray(params.regrets, float).T + worth[np.asarray(params.answer)] - worth
    np.testing.assert_allclose(gain, value, rtol=2e-4)
    state = State(jnp.int32(0), jnp.int32(12))
    expected = jax.vmap(lambda own: env.expected_reward(state, own, params))(jnp.arange(50))
    np.testing.assert_allclose(expected, rewards(params)[:, 12], rtol=1e-5, atol=1e-4)


def test_sales_are_poisson():
    env, params = made()
    state = State(jnp.int32(0), jnp.int32(29))
    play = jax.jit(jax.vmap(lambda key: env.step_env(key, state, jnp.int32(24), params)[4]["demand"]))
    demand = np.asarray(play(jax.random.split(jax.random.key(0), 40_000)), float)
    mean = (sales_of_the_paper(25, 30) + sales_of_the_paper(25, 24)) / 2
    error = np.sqrt(mean / demand.size)
    assert abs(demand.mean() - mean) < 4 * error and np.all(demand == demand.round())
    assert demand.var() == pytest.approx(mean, rel=5 * np.sqrt(2 / demand.size))


def test_what_the_seller_sees():
    env, params = made(horizon=10)
    seen, state = env.reset_env(jax.random.key(0), params)
    np.testing.assert_array_equal(seen, np.float32([0, 0, 0, 30]))
    seen, state, reward, _, info = jax.jit(env.step_env)(jax.random.key(1), state, jnp.int32(24), params)
    np.testing.assert_allclose(seen, [0.1, 25, info["demand"], 24], rtol=1e-6)
    assert info["rival"] == 24 and reward == 25 * info["demand"] and int(state.rival) == 23


def test_any_price_is_the_nearest_of_the_grid():
    options = {"num_prices": 8, "rule": "cartel"}
    env, params = made(**options)
    free, same = made(**options, any_price=True)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    state = State(jnp.int32(0), jnp.int32(5))
    for own, price in enumerate(params.prices):
        for shift in (-3.4, 0.0, 3.4):  # the grid has steps of 7
            assert free.expected_reward(state, price + shift, params) == env.expected_reward(state, own, params)
    assert free.optimal_action(state, params) == params.prices[env.optimal_action(state, params)]
    problem = free.problem(params)
    assert problem.num_prices == 0 and (float(problem.low), float(problem.high)) == (1.0, 50.0)


def test_the_market_passes_the_checks():
    market = made(demand="logit", any_price=True, rule="undercut", lag=1.0)
    assert "mean" in invariants.check_market(*market, lanes=64, periods=6)


BAD = [
    ({"rule": "two_bounds"}, "did you mean 'two_bound'"),
    ({"demand": "ranks"}, "did you mean 'rank'"),
    ({"floor": 40, "ceiling": 5}, "floor must be at most ceiling"),
    ({"at": 33.5, "rule": "cartel"}, "at must be a price of the grid, the nearest of which is 33"),
    ({"start": 51}, "start must be a price of the grid"),
    ({"gap": 50}, "gap"),
    ({"low": 50, "high": 1}, "low must be below"),
    ({"prices": [0.0]}, "high"),
    ({"size": 8000}, "at most 40"),
    ({"lag": 1.5}, "lag"),
    ({"quality": 3.0}, "numbers of logit demand, got quality"),
    ({"answers": [1.0, 2.0]}, "answers"),
    ({"prices": [1, 2], "answers": [1.0, 3.0]}, "answers must be prices of the grid, got 3"),
    ({"prices": [1, 2], "sales": [[1.0, 2.0]]}, "sales"),
    ({"prices": [1, 2], "sales": [[1.0, -2.0], [1, 1]]}, "sales"),
    ({"prices": [1, 2], "answers": [[1, 1], [1, 2]], "start": 1, "sales": [[1, 5], [1, 9]]}, "never left"),  # no forgiveness
]


@pytest.mark.parametrize("options, message", BAD)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        jaxprice.make("ReactiveRival", **options)
