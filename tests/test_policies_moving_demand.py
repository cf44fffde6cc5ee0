"""Pricing if demand changes over time or depends on past prices, against NumPy references written from the formulas."""

import dataclasses
import math

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, play, problem_of

import jaxprice
from jaxprice import policies
from jaxprice.types import Transition

LINEAR = "interval"  # demand 1.1 - .5 p + N(0, .1^2) on [.5, 1.5]
CROWD = (
    "PostedPrice",
    (("demand", "logit"), ("num_prices", None), ("low", 0.5), ("high", 3.0), ("cost", 0.4), ("buyers", 5)),
)
WINDOW, FADED = policies.moving_window_least_squares(window=30), policies.discounted_least_squares(discount=0.95)
CHANGES, SLOW = policies.change_point_least_squares(threshold=2.0), policies.slow_moving(gap=0.2)
ALL = {"window": WINDOW, "faded": FADED, "changes": CHANGES, "slow": SLOW}


def told(name):
    problem = problem_of(name)
    noise = float(problem.noise_scale) if problem.noise == "gaussian" else 0.5 / math.sqrt(problem.buyers)
    return float(problem.low), float(problem.high), float(problem.cost), problem.buyers, noise


def greedy(prices, demands, weights, low, high, cost):
    """Best price of [low, high] for the weighted least-squares line of LAPACK."""
    if np.ptp(prices) < 1e-6:
        a, s = np.average(demands, weights=weights), 0.0
    else:
        root = np.sqrt(weights)
        a, s = np.linalg.lstsq(np.stack([root, root * prices], axis=1), root * demands, rcond=None)[0]
    candidates = [low, high] + ([min(max((cost - a / s) / 2, low), high)] if s < 0 else [])
    return max(candidates, key=lambda p: (p - cost) * (a + s * p))


def thirds(low, high):
    return low + (high - low) / 3, low + 2 * (high - low) / 3


def window_prices(prices, demands, market, window=30, cycle=6):
    low, high, cost, *_ = market
    for t in range(len(prices)):
        if t % cycle < 2:
            yield thirds(low, high)[t % cycle]
        else:
            last = slice(max(0, t - window), t)
            yield greedy(prices[last], demands[last], np.ones(min(t, window)), low, high, cost)


def faded_prices(prices, demands, market, g=0.95, cycle=5):
    low, high, cost, *_ = market
    for t in range(len(prices)):
        if t % cycle < 2:
            yield thirds(low, high)[t % cycle]
        else:
            yield greedy(prices[:t], demands[:t], g ** np.arange(t - 1, -1, -1.0), low, high, cost)


def restarted_prices(prices, demands, market, tolerance=0.5, threshold=2.0, starts=None):
    """Prices, and in `starts` the first period after each restart."""
    low, high, cost, _, noise = market
    start, seen, walks = 0, ([], []), np.zeros((2, 2))
    for t in range(len(prices)):
        period = t - start + 1
        since = period - math.isqrt(period) ** 2
        if since < 2:
            yield thirds(low, high)[since]
        else:
            yield greedy(prices[start:t], demands[start:t], np.ones(t - start), low, high, cost)
        if since < 2:
            n = len(seen[since])
            error = (demands[t] - np.mean(seen[since])) / (noise * math.sqrt(1 + 1 / n)) if n else 0.0
            walks[since] = np.maximum(0, walks[since] + np.array([error, -error]) - tolerance)
            seen[since].append(demands[t])
            if walks.max() >= threshold:
                start, seen, walks = t + 1, ([], []), np.zeros((2, 2))
                if starts is not None:
                    starts.append(start)


def slow_prices(prices, demands, market, gap=0.2):
    low, high, cost, *_ = market
    start, length, shift, centre = 0, 1, gap * (high - low), (low + high) / 2
    for t in range(len(prices)):
        if t == start + 2 * length:
            run = slice(start, t)
            start, length, shift = t, 2 * length, shift / 2**0.25
            best = greedy(prices[run], demands[run], np.ones(length), low, high, cost)
            centre = min(max(best, low + shift), high - shift)
        yield centre + (shift if t >= start + length else -shift)


REFERENCES = {"window": window_prices, "faded": faded_prices, "changes": restarted_prices, "slow": slow_prices}


@pytest.mark.parametrize("market", [LINEAR, CROWD])
@pytest.mark.parametrize("name", ALL)
def test_prices_step_for_step(name, market):
    """Prices are those of the reference, but for ties that rounding may turn (one in 300)."""
    low, high, _, buyers, _ = numbers = told(market)
    sales, misses = play(ALL[name], market).sales, 0
    for lane in range(LANES):
        prices, demands = sales.price[:, lane].astype(float), sales.demand[:, lane].astype(float) / buyers
        expected = np.array(list(REFERENCES[name](prices, demands, numbers)))
        misses += np.sum(np.abs(prices - expected) > 2e-3 * (high - low))
    assert misses <= LANES * HORIZON / 300


def test_restarts_are_those_of_the_reference():
    numbers, played = told(LINEAR), play(CHANGES, LINEAR)
    total = 0
    for lane in range(LANES):
        prices, demands, starts = (*(x[:, lane].astype(float) for x in (played.sales.price, played.sales.demand)), [])
        list(restarted_prices(prices, demands, numbers, starts=starts))
        clock = np.append(played.states.inner.time[:, lane], played.last.inner.time[lane])
        assert [t for t in range(1, HORIZON + 1) if clock[t] == 0] == starts
        assert played.last.inner.restarts[lane] == len(starts)
        total += len(starts)
    assert total > LANES / 4  # a threshold as low as this raises false alarms


@jax.jit
def learn(state, prices, demands):
    """States of `change_point_least_squares` over a history with one buyer, `[time, lane]` each."""

    def period(state, sale):
        price, demand = sale
        sale = Transition(None, price, price, demand, price * demand, None)
        after = jax.vmap(lambda s, x: QUIET.update(jax.random.key(0), s, x))(state, sale)
        return after, (after.inner.watch, after.inner.restarts)

    return jax.lax.scan(period, state, (prices, demands))[1]


QUIET = policies.change_point_least_squares(threshold=6.0)


def test_walks_are_made_of_standard_normals_until_demand_jumps():
    """Without a change alarms are as rare as the bound says; a jump of 3 sd is found within h / (3 - k) tests, and some."""
    lanes, tests, jump = 600, 60, 30
    time = np.arange(1, tests**2 + 2)
    due = np.isin(time - np.floor(np.sqrt(time)).astype(int) ** 2, (0, 1))
    rng = np.random.default_rng(0)
    demands = 0.6 + 0.1 * rng.standard_normal((time.size, lanes))
    moved = demands + 0.3 * (time >= jump**2)[:, None]
    start = QUIET.init(jax.random.key(0), problem_of(LINEAR))
    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (lanes, *x.shape)), start)
    prices = np.full((time.size, lanes), 0.8, np.float32)
    watch, restarts = jax.device_get(learn(start, prices, demands.astype(np.float32)))
    chance = np.exp(-6.0)  # that a walk reaches h before it is back at zero: of each step at most
    alarms, steps = restarts[-1].mean(), 2 * due.sum()
    assert 0 < alarms < steps * chance
    calm = restarts[-1] == 0
    n, means = watch.counts[-1, calm], watch.means[-1, calm]
    assert np.all(np.abs(n - tests) <= 1)
    scaled = (means - 0.6) / 0.1 * np.sqrt(n)
    assert abs(scaled.mean()) < 4 / math.sqrt(scaled.size)
    assert abs(scaled.std() - 1) < 4 / math.sqrt(2 * scaled.size)
    _, restarts = jax.device_get(learn(start, prices, moved.astype(np.float32)))
    before, after = (jump - 1) ** 2 + 2, (jump + 6) ** 2 + 2
    found = restarts[after] - restarts[before] > 0
    assert found.mean() > 0.99


def test_weights_one_are_least_squares_over_all_data():
    """Nothing forgotten and no tests but the first two: greedy iterated least squares, price by price."""
    ours = policies.discounted_least_squares(discount=1.0)
    same = play(ours, LINEAR).sales.price - play(policies.iterated_least_squares(), LINEAR).sales.price
    assert np.abs(same).max() < 1e-5
    wide = policies.moving_window_least_squares(window=200, cycle=200)
    same = play(wide, LINEAR).sales.price - play(policies.iterated_least_squares(), LINEAR).sales.price
    assert np.mean(np.abs(same) > 2e-3) < 1 / 300


@pytest.mark.parametrize(("horizon", "variation"), [(1000, 1.0), (10_000, 0.1), (10, 5.0)])
def test_the_discount_is_tuned(horizon, variation):
    policy = policies.discounted_least_squares(variation=variation)
    state = policy.init(jax.random.key(0), problem_of(LINEAR, horizon=horizon))
    gone = min((variation / horizon) ** (2 / 3), 1 / 9)
    np.testing.assert_allclose(state.inner.discount, 1 - gone, rtol=1e-6)
    assert state.inner.cycle == max(3, math.ceil(gone**-0.5 - 1e-3))


def regret(env, params, horizon, lanes, **rows):
    """Mean regret at a half and at the end of the horizon, and its standard error: policy -> float `[2]` each."""
    params, found = jax.tree.map(jnp.asarray, dataclasses.replace(params, max_steps_in_episode=np.int32(horizon))), {}
    numbers = np.arange(lanes, dtype=np.uint32)
    for name, policy in rows.items():

        def run(params, policy=policy):
            return harness.run(env, policy, horizon, params, env.problem(params), numbers)[2]["regret"]

        total = np.cumsum(np.asarray(jax.jit(run)(params), float), axis=0)[[horizon // 2 - 1, -1]]
        found[name] = total.mean(axis=1), total.std(axis=1) / math.sqrt(lanes)
    return found


@pytest.mark.slow
def test_those_who_forget_follow_a_jump_and_others_do_not():
    env, _ = jaxprice.make("ParametricDemand", family="keskin_zeevi")
    markets = [jax.tree.map(np.asarray, env.params_at(z)) for z in ((1.0, 0.6), (1.2, 0.4))]  # best prices 5/6 and 3/2
    moving, params = jaxprice.make("NonStationary", market=env, markets=markets, changes=[1000], horizon=2000)
    rows = {
        "none": policies.deterministic_testing(),
        "window": policies.moving_window_least_squares(),
        "faded": policies.discounted_least_squares(),
        "changes": policies.change_point_least_squares(),
    }
    found = regret(moving, params, 2000, 96, **rows)
    late = {name: mean[1] - mean[0] for name, (mean, _) in found.items()}
    error = {name: np.hypot(*se) for name, (_, se) in found.items()}
    for name in ("window", "faded", "changes"):
        assert late[name] + 4 * error[name] < late["none"] - 4 * error["none"], (late, error)
        assert late[name] < 0.5 * late["none"], late


@pytest.mark.slow
def test_slow_prices_learn_where_tests_mislead():
    """Den Boer and Keskin: with a reference price the line of tests is wrong for ever; slow prices come near the best."""
    env, params = jaxprice.make("ReferencePrice")
    rows = {"tests": policies.deterministic_testing(), "slow": policies.slow_moving(gap=0.3)}
    found = regret(env, params, 2**13, 32, **rows)
    (tests, tests_se), (slow, slow_se) = found["tests"], found["slow"]
    assert tests[1] - 4 * tests_se[1] > 1.75 * (tests[0] - 4 * tests_se[0])  # linear: twice as much
    assert slow[1] + 4 * slow_se[1] < 0.6 * (tests[1] - 4 * tests_se[1])
    assert slow[1] / slow[0] < 1.65  # 2^(1/2), and what early episodes add


def test_slow_prices_meet_buyers_who_are_used_to_them():
    """Without noise the line of an episode is that of a lasting price, up to order 1 / n."""
    name = ("ReferencePrice", (("noise_scale", 0.0),))
    played = play(SLOW, name, 510)
    prices, demands = played.sales.price[254:, 0].astype(float), played.sales.demand[254:, 0].astype(float)
    assert prices.size == 256
    assert len(set(np.round(prices, 5))) == 2
    slope = (demands[128:].mean() - demands[:128].mean()) / (prices[128:].mean() - prices[:128].mean())
    # a rise by 2 d from a settled reference lacks .3 * 2 d in the first period, a tenth of it in the next; and so before
    assert abs(slope + 0.5) < (0.3 + 0.3) / 0.9 / 128 + 1e-4
    best = played.last.inner.centre[0] * played.last.unit[0]
    assert abs(best - 1.1) < 0.02


@pytest.mark.parametrize("name", ALL)
def test_degenerate_data(name):
    """Demand that never varies, prices that never vary, and nothing sold: prices stay inside, states finite."""
    policy, problem = ALL[name], problem_of(LINEAR)

    @jax.jit
    def run(demand, price, start):
        def period(state, _):
            ours = policy.act(jax.random.key(0), state, None)
            posted = jnp.where(jnp.isnan(price), ours, price)
            sale = Transition(None, posted, posted, demand, posted * demand, None)
            return policy.update(jax.random.key(0), state, sale), (ours, state)

        return jax.lax.scan(period, start, None, 300)[1]

    still = dataclasses.replace(problem, noise_scale=jnp.float32(0))
    for told_problem, demand, price in ((problem, 0.0, np.nan), (problem, 1.0, 0.7), (still, 0.3, np.nan)):
        prices, states = run(jnp.float32(demand), jnp.float32(price), policy.init(jax.random.key(0), told_problem))
        assert np.all((prices >= 0.5) & (prices <= 1.5))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(states))


@pytest.mark.parametrize(
    ("maker", "options", "argument"),
    [
        (policies.moving_window_least_squares, {"window": 3}, "window"),
        (policies.moving_window_least_squares, {"window": 10.0}, "window"),
        (policies.moving_window_least_squares, {"window": 10, "cycle": 11}, "cycle"),
        (policies.moving_window_least_squares, {"first": 0.2, "second": 0.2}, "first"),
        (policies.discounted_least_squares, {"discount": 1.1}, "discount"),
        (policies.discounted_least_squares, {"variation": 0.0}, "variation"),
        (policies.discounted_least_squares, {"cycle": 1}, "cycle"),
        (policies.discounted_least_squares, {"second": 1.2}, "second"),
        (policies.change_point_least_squares, {"tolerance": 0.0}, "tolerance"),
        (policies.change_point_least_squares, {"threshold": -1.0}, "threshold"),
        (policies.change_point_least_squares, {"noise_scale": 0.0}, "noise_scale"),
        (policies.slow_moving, {"gap": 0.6}, "gap"),
        (policies.slow_moving, {"start": -0.1}, "start"),
    ],
)
def test_bad_options_are_refused(maker, options, argument):
    with pytest.raises(ValueError, match=argument):
        maker(**options)


def test_noise_must_be_known():
    poisson = ("ParametricDemand", (("family", "exponential"),))
    policy = policies.change_point_least_squares()
    with pytest.raises(ValueError, match="change_point_least_squares needs a noise_scale"):
        policy.init(jax.random.key(0), problem_of(poisson))
    state = policies.change_point_least_squares(noise_scale=2.0).init(jax.random.key(0), problem_of(poisson))
    assert state.inner.noise == 2.0
    assert policy.init(jax.random.key(0), problem_of(CROWD)).inner.noise == np.float32(0.5 / math.sqrt(5))
