"""Learners over a table of states and prices: NumPy references in plain loops, and the limits to which they converge."""

import dataclasses
import functools
import math

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, assert_choices, market, play, problem_of
from rows import some

import jaxprice
from jaxprice import policies
from jaxprice.oracles import dynamic_programming
from jaxprice.policies.tabular import q_table
from jaxprice.policies.wrappers.sellers import sellers

PRICES = 4
TRIOPOLY = ("LogitOligopoly", (("num_sellers", 3), ("num_prices", PRICES)))
STATES = (1, PRICES, 1, PRICES, PRICES)
OPTIONS = {  # of each seller
    "q_learning": {
        "exploration": "exponential",
        "decay": 0.01,
        "epsilon": 0.9,
        "initial": (4.0, 3.0, 3.5, 1.0),
        "rate": 0.4,
    },
    "sarsa": {"exploration": "harmonic", "decay": 0.05, "epsilon": 1.0, "power": 0.7, "rate": 1.0, "initial": 2.0},
    "expected_sarsa": {"exploration": "exponential", "decay": 0.02, "epsilon": 0.8, "discount": 0.5, "power": 0.5},
}
CHAIN = ("ReferencePrice", (("num_prices", 4), ("memory", 0.0), ("noise_scale", 0.0), ("start", 0.5), ("low", 0.5)))
NAMES = list(OPTIONS)


@functools.cache
def trio():
    """One seller of each kind, with arrays among the options as Calvano et al. have them."""
    made = (
        policies.make(name, bins=STATES, **{**options, "initial": np.asarray(options.get("initial", 0.0))})
        for name, options in OPTIONS.items()
    )
    return sellers(*made)


def chance(t, exploration="constant", epsilon=0.1, decay=1e-3, **_):
    """Probability of a random price in period t."""
    if exploration == "exponential":
        return epsilon * math.exp(-decay * t)
    return epsilon / (1 + decay * t) if exploration == "harmonic" else epsilon


def reference(name, periods, num_states, discount=0.95, rate=0.15, power=0.0, initial=0.0, **explore):
    """Tables before each period: `periods` is a list of (state, action, reward, next state)."""
    table = [[initial[a] if np.ndim(initial) else initial for a in range(PRICES)] for _ in range(num_states)]
    counts = [[0] * PRICES for _ in range(num_states)]
    tables = []
    for t, (s, a, r, after) in enumerate(periods, start=1):
        tables.append([row[:] for row in table])
        if name == "sarsa":
            if t == 1:
                continue
            following = table[s][a]
            s, a, r, _ = periods[t - 2]
        elif name == "q_learning":
            following = max(table[after])
        else:
            e = chance(t + 1, **explore)
            following = (1 - e) * max(table[after]) + e * sum(table[after]) / PRICES
        counts[s][a] += 1
        table[s][a] += rate / counts[s][a] ** power * (r + discount * following - table[s][a])
    return np.array([*tables, table])


@pytest.mark.parametrize("i", range(3))
def test_step_for_step_in_an_oligopoly(i):
    """States are the last prices, own first; every seller learns from its own profit."""
    played, problem = play(trio(), TRIOPOLY), problem_of(TRIOPOLY)
    actions, order = np.asarray(played.sales.action), [i, *(j for j in range(3) if j != i)]
    margins = np.asarray(problem.prices, float)[:, i] - float(problem.cost[i])
    states, last = played.states.each[i], played.last.each[i]
    assert states.table.shape[2:] == (PRICES**3, PRICES)
    for lane in range(0, LANES, 3):
        before = [0]
        for own, *rivals in actions[:, lane, order]:
            before.append((int(own) * PRICES + int(rivals[0])) * PRICES + int(rivals[1]))
        rewards = margins[actions[:, lane, i]] * np.asarray(played.sales.demand[:, lane, i], float)
        periods = list(zip(before[:-1], actions[:, lane, i], rewards, before[1:], strict=True))
        expected = reference(NAMES[i], periods, PRICES**3, **OPTIONS[NAMES[i]])
        np.testing.assert_allclose(states.table[:, lane], expected[:-1], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(last.table[lane], expected[-1], rtol=1e-5, atol=1e-5)
        if last.counts is not None:
            assert last.counts[lane].sum() == HORIZON - (NAMES[i] == "sarsa")
    assert (last.counts is None) == (NAMES[i] == "q_learning")
    assert len({tuple(a) for a in actions.reshape(-1, 3)}) > 30  # of 64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "t"),
    [
        ({"epsilon": 0.3}, 50),
        ({"exploration": "exponential", "epsilon": 1.0, "decay": 4e-6}, 250_000),
        ({"exploration": "harmonic", "epsilon": 0.8, "decay": 0.1}, 10),
    ],
)
def test_explores_by_the_schedule(name, options, t):
    policy = policies.make(name, **options)
    state = policy.init(jax.random.key(0), problem_of("pricing"))
    table = state.table.at[1].set(jnp.asarray([0.1, 0.7, 0.7, 0.2], jnp.float32))
    state = dataclasses.replace(state, time=jnp.int32(t), table=table)
    e, epsilon = chance(t, **options), options["epsilon"]
    law = np.array([e / 4, 1 - 3 * e / 4, e / 4, e / 4])  # the tie goes to the lower price
    other = [] if e == epsilon else [np.array([epsilon / 4, 1 - 3 * epsilon / 4, epsilon / 4, epsilon / 4])]
    assert_choices(policy, state, law, against=other, observation=jnp.asarray([0.5, 0.5, 1.0], jnp.float32))


def test_exponential_exploration_keeps_its_digits():
    """exp(-4e-6) as a factor in float32 misstates the exponent: after a million periods e_t would be off by .2 percent."""
    learner = q_table.Learner("q_learning", None, None, None, 0.95, 0.15, 0.0, "exponential", 1.0, 4e-6, 0.0)
    times = np.array([1, 1000, 10**6, 4 * 10**6], np.int32)
    exact = np.exp(-4e-6 * times.astype(float))
    np.testing.assert_allclose(learner.explores(jnp.asarray(times)), exact, rtol=2e-6)
    naive = float(np.float32(np.exp(np.float32(-4e-6)))) ** 1e6
    assert abs(naive / exact[2] - 1) > 1e-3


def chain():
    """The market whose state is the last price, as a decision process: rewards `[4, 4]` and next states."""
    params = jaxprice.make(CHAIN[0], **dict(CHAIN[1]))[1]
    prices = np.linspace(0.5, 1.5, 4)
    up, down = np.maximum(prices[:, None] - prices, 0), np.maximum(prices - prices[:, None], 0)
    demand = float(params.intercept) - float(params.slope) * prices + float(params.gain) * up - float(params.loss) * down
    return prices * demand, np.tile(np.eye(4), (4, 1, 1))


def fixed_point(name, epsilon, discount):
    """Q of value iteration, or of the best policy that explores."""
    rewards, moves = chain()
    if name == "q_learning":
        return np.asarray(dynamic_programming.value_iteration(rewards, moves, discount)[1], float)
    q = np.zeros((4, 4))
    for _ in range(200):
        worth = (1 - epsilon) * q.max(axis=1) + epsilon * q.mean(axis=1)
        q = rewards + discount * worth[None]
    return q


def learnt(policy, horizon):
    """The last states in the market `CHAIN`, of one compiled loop."""
    env, params = market(CHAIN)
    params = dataclasses.replace(params, max_steps_in_episode=jnp.int32(horizon))
    run = jax.jit(lambda *args: harness.run(env, policy, horizon, *args)[3])
    return run(params, env.problem(params), np.arange(LANES, dtype=np.uint32))


@pytest.mark.parametrize("name", some(NAMES, "q_learning"))
def test_goes_to_its_fixed_point(name):
    """Q-learning to the optimal values, the SARSAs to those of an explorer, where today's price is tomorrow's state."""
    epsilon, discount, horizon = 0.6, 0.6, 8000
    policy = policies.make(name, discount=discount, epsilon=epsilon, rate=1.0, power=0.65)
    tables = np.asarray(learnt(policy, horizon).table, float)
    exact = fixed_point(name, epsilon, discount)
    error = tables.mean(axis=0) - exact
    allowed = 4 * tables.std(axis=0, ddof=1) / math.sqrt(LANES) + 0.004
    assert np.all(np.abs(error) < allowed), error
    other = fixed_point("q_learning" if name != "q_learning" else "sarsa", epsilon, discount)
    assert np.abs(other - exact).min() > 3 * allowed.max()


def test_expected_sarsa_without_exploration_is_q_learning():
    tables = [
        play(policies.make(name, epsilon=0.0, initial=2.0), CHAIN).last.table for name in ("q_learning", "expected_sarsa")
    ]
    np.testing.assert_array_equal(*tables)
    assert np.ptp(tables[0]) > 0.1


@pytest.mark.parametrize("size", [2, 3, 4, 15, 100])
def test_a_price_of_an_even_grid_is_its_own_state(size):
    grid = np.linspace(1.427721, 1.970186, size, dtype=np.float32)
    states = q_table.States(jnp.asarray([0, grid[0]]), jnp.asarray([1, grid[-1]]), (1, size))
    for nudge in (-1e-6, 0, 1e-6):
        observations = np.stack([np.full(size, 0.3), grid + nudge], axis=1).astype(np.float32)
        np.testing.assert_array_equal(jax.vmap(states.of)(observations), np.arange(size))


def test_states_are_mixed_radix_and_stay_in_bounds():
    states = q_table.States(jnp.zeros(4), jnp.asarray([1.0, 2.0, 1.0, 1.0]), (2, 3, 1, 5))
    rows = [(0.4, 1.9, 7.0, 0.99), (0.6, 0.1, 0.0, 0.3), (-9.0, 1.0, 0.0, 99.0), (3e38, 3e38, 0.0, 3e38)]
    digits = [(0, 2, 4), (1, 0, 1), (0, 1, 4), (1, 2, 4)]
    seen = jax.vmap(states.of)(jnp.asarray(rows, jnp.float32))
    np.testing.assert_array_equal(seen, [(a * 3 + b) * 5 + c for a, b, c in digits])
    point = q_table.States(jnp.ones(1), jnp.ones(1), (4,))  # an interval of one price
    assert [int(point.of(jnp.asarray([x]))) for x in (0.0, 1.0, 2.0)] == [0, 0, 3]


def test_optimism_tries_every_price():
    """With values that only the sky reaches and no random prices, each state has seen every price in the end."""
    policy = policies.q_learning(bins=1, epsilon=0.0, initial=50.0, rate=0.5)
    actions = np.asarray(play(policy, "pricing").sales.action)
    assert all(len(np.unique(lane)) == 4 for lane in actions.T)
    myopic = np.asarray(play(policies.q_learning(bins=1, epsilon=0.0, initial=0.0), "pricing").sales.action)
    assert np.all(np.sort(myopic, axis=0)[-1] == 0)  # its values rise from zero, so the first price is never left


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        {"bins": 0},
        {"bins": (2, 1.5)},
        {"bins": ()},
        {"low": (0.0, 1.0), "bins": (2, 2, 2)},
        {"low": 2.0, "high": 1.0},
        {"discount": 1.0},
        {"discount": -0.1},
        {"rate": 1.5},
        {"power": 2.0},
        {"exploration": "greedy"},
        {"epsilon": 1.1},
        {"decay": -1.0},
        {"initial": float("nan")},
    ],
)
def test_refuses_bad_options(name, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        policies.make(name, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({}, "interval"),
        ({}, "network"),
        ({"bins": (1, 2, 3, 2)}, "pricing"),
        ({"initial": np.zeros(3)}, "pricing"),
        ({"bins": (1024, 1024)}, "pricing"),
    ],
)
def test_refuses_markets_that_do_not_fit(name, options, label):
    problem = problem_of(label).with_observation(jnp.zeros(3))
    with pytest.raises(ValueError, match=name):
        policies.make(name, **options).init(jax.random.key(0), problem)


def test_observations_that_are_no_arrays_are_refused():
    env, params = jaxprice.make("SegmentedValuation", num_segments=5, num_prices=4)
    observation, _ = env.reset(jax.random.key(0), params)
    with pytest.raises(ValueError, match="needs observations that are arrays, but here one is a Observation"):
        policies.q_learning().init(jax.random.key(1), env.problem(params).with_observation(observation))
