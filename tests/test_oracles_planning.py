"""Planning oracles against independent float64 computations: NumPy, SciPy and brute force. Tolerances are relative."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from jaxprice.oracles import dynamic_programming as dp
from jaxprice.oracles import fluid_lp, inventory, replenishment

PRICES, DEMAND = np.array([29.9, 34.9, 39.9, 44.9]), np.array([0.8, 0.6, 0.3, 0.1])  # Ferreira et al. (2018)
DOUBLE = pytest.param(True, 1e-10, marks=pytest.mark.slow)
PRECISIONS = pytest.mark.parametrize("x64, rtol", [(False, 1e-5), DOUBLE])
BOTH = pytest.mark.parametrize("x64, rtol", [(False, 1e-5), (True, 1e-10)])


def mdp(seed, states=6, actions=3, components=None):
    """A random MDP in which every state can follow every other."""
    rng = np.random.default_rng(seed)
    shape = (states, actions) if components is None else (states, actions, components)
    return rng.normal(size=shape), rng.dirichlet(np.full(states, 0.3), size=(states, actions)) * 0.98 + 0.02 / states


def evaluate(reward, transition, policy):
    """Gain and bias (zero at state 0) of a policy, by a NumPy solve."""
    states = np.arange(len(reward))
    system = np.eye(len(reward)) - transition[states, policy]
    system[:, 0] = 1  # the unknown h(0) = 0 makes room for the gain
    bias = np.linalg.solve(system, reward[states, policy])
    return bias[0], np.append(0, bias[1:])


def policy_iteration(reward, transition):
    """Howard's policy iteration for the average reward."""
    policy = np.zeros(len(reward), int)
    while True:
        gain, bias = evaluate(reward, transition, policy)
        better = np.argmax(reward + transition @ bias - 1e-12 * (np.arange(reward.shape[1]) != policy[:, None]), axis=1)
        if np.all(better == policy):
            return gain, bias
        policy = better


# dynamic programming


@PRECISIONS
@pytest.mark.parametrize("seed", range(5))
def test_average_reward_is_policy_iteration_and_linear_programming(seed, x64, rtol):
    reward, transition = mdp(seed)
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        solve = jax.jit(lambda r, p: dp.relative_value_iteration(r, p, 1e-12))
        gain, bias, q = map(np.asarray, solve(reward, transition))
    truth, relative = policy_iteration(reward, transition)
    np.testing.assert_allclose(gain, truth, rtol=rtol)
    np.testing.assert_allclose(bias, relative, atol=20 * rtol)
    np.testing.assert_allclose(q.max(1), bias, atol=20 * rtol)
    balance = (np.eye(6)[:, None] - transition).reshape(-1, 6).T  # flow out of a state = flow in
    lp = optimize.linprog(
        -reward.ravel(), A_eq=np.append(balance, np.ones((1, 18)), axis=0), b_eq=np.append(np.zeros(6), 1), method="highs"
    )
    np.testing.assert_allclose(gain, -lp.fun, rtol=max(rtol, 1e-7))


@PRECISIONS
def test_average_reward_of_a_season(x64, rtol):
    """A deterministic cycle of 13 seasons: plain value iteration never settles, the transformed one does."""
    reward = np.random.default_rng(0).normal(size=(13, 2))
    transition = np.repeat(np.roll(np.eye(13), 1, axis=1)[:, None], 2, axis=1)
    with jax.enable_x64(x64):
        gain, bias, _ = dp.relative_value_iteration(reward, transition, 1e-12)
        stuck = dp.relative_value_iteration(reward, transition, 1e-12, 1000, step=1.0)[0]
    np.testing.assert_allclose(gain, reward.max(1).mean(), rtol=2 * rtol)
    np.testing.assert_allclose(bias, policy_iteration(reward, transition)[1], atol=100 * rtol)
    assert np.isnan(stuck)


def test_average_reward_of_a_slow_chain_keeps_float32_digits():
    """Mixing takes thousands of periods and the bias is a thousand rewards: the gain still has its digits."""
    reward, transition = mdp(1)
    transition = 0.999 * np.eye(6)[:, None] + 0.001 * transition
    gain, _, _ = dp.relative_value_iteration(reward, transition, step=1.0)
    scale = np.abs(policy_iteration(reward, transition)[1]).max()
    np.testing.assert_allclose(gain, policy_iteration(reward, transition)[0], atol=8 * 1.2e-7 * 1.1 * scale)


@PRECISIONS
@pytest.mark.parametrize("discount", [0.0, 0.9, 1 - 2**-10])
def test_discounted_values_are_brute_force(discount, x64, rtol):
    reward, transition = mdp(3, states=4, actions=2)
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        values, q = jax.jit(functools.partial(dp.value_iteration, tolerance=1e-10))(reward, transition, discount)
    policies = [np.array(policy) for policy in itertools.product(range(2), repeat=4)]
    states = np.arange(4)
    solve = [np.linalg.solve(np.eye(4) - discount * transition[states, p], reward[states, p]) for p in policies]
    truth = np.max(solve, axis=0)
    np.testing.assert_allclose(values, truth, rtol=rtol)
    np.testing.assert_allclose(q, reward + discount * transition @ truth, rtol=5 * rtol, atol=rtol)


def test_a_loose_tolerance_is_kept():
    reward, transition = mdp(3)
    with jax.enable_x64(True):
        exact = dp.value_iteration(reward, transition, 0.95, 1e-10)[0]
        for tolerance in (1.0, 1e-1, 1e-3):
            assert np.max(np.abs(dp.value_iteration(reward, transition, 0.95, tolerance)[0] - exact)) <= tolerance
            gain = dp.relative_value_iteration(reward, transition, tolerance)[0]
            assert abs(gain - policy_iteration(reward, transition)[0]) <= tolerance / 2


@PRECISIONS
def test_finite_horizon_is_brute_force(x64, rtol):
    """All 2^6 deterministic Markov policies of a two-state, two-action, three-period problem."""
    reward, transition = mdp(4, states=2, actions=2)
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        values = dp.finite_horizon(reward, transition, 3)
    best, states = np.full(2, -np.inf), np.arange(2)
    for rules in itertools.product(itertools.product(range(2), repeat=2), repeat=3):
        value = np.zeros(2)
        for rule in map(np.array, rules):
            value = reward[states, rule] + transition[states, rule] @ value
        best = np.maximum(best, value)
    assert values.shape == (4, 2) and not np.any(values[0])
    np.testing.assert_allclose(values[3], best, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(values[1], reward.max(1), rtol=rtol)


@PRECISIONS
def test_pareto_front_is_every_policy_weighed(x64, rtol):
    """No stationary policy (all 3^4 of them) beats the front in the direction it was found for."""
    rewards, transition = mdp(5, states=4, actions=3, components=2)
    weights = np.stack([np.linspace(0.05, 0.95, 9), 1 - np.linspace(0.05, 0.95, 9)], axis=1)
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        gains, policies = map(np.asarray, jax.jit(dp.pareto_front)(rewards, transition, weights))
    every = []
    for policy in itertools.product(range(3), repeat=4):
        every.append([evaluate(rewards[..., c], transition, np.array(policy))[0] for c in range(2)])
    np.testing.assert_allclose(np.sum(gains * weights, 1), np.max(weights @ np.array(every).T, axis=1), rtol=3 * rtol)
    for gain, policy in zip(gains, policies, strict=True):
        exact = [evaluate(rewards[..., c], transition, np.asarray(policy))[0] for c in range(2)]
        np.testing.assert_allclose(gain, exact, atol=rtol)
    assert len(np.unique(np.round(np.asarray(gains), 4), axis=0)) > 2
    assert np.all(np.diff(gains[:, 0]) >= -rtol) and np.all(np.diff(gains[:, 1]) <= rtol)


def test_policy_gain_of_a_chain_with_transient_states():
    transition = np.array([[0.5, 0.5, 0], [0, 0.25, 0.75], [0, 0.5, 0.5]])
    np.testing.assert_allclose(dp.policy_gain(np.array([7.0, 1.0, 2.0]), transition), (2 * 1 + 3 * 2) / 5, rtol=1e-6)


# inventory


@BOTH
def test_gallego_van_ryzin_published(x64, rtol):
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        value, price = map(float, jax.jit(inventory.gallego_van_ryzin)(10, 10.0))
        bound = float(inventory.deterministic_bound(10, 10.0))
        fixed = float(inventory.fixed_price_value(10, 10.0, inventory.run_out_price(10, 10.0)))
        best = inventory.fixed_price_value(np.full(2001, 10), 10.0, np.linspace(1, 1.5, 2001)).max().item()
    np.testing.assert_allclose([value, price], [9.46050, 1.24154], atol=5.1e-6)
    np.testing.assert_allclose([value / bound, fixed / value, best / value], [0.9461, 0.9248, 0.9805], atol=5.1e-5)


@PRECISIONS
@pytest.mark.parametrize(
    "stock, mass", [(0, 3.0), (1, 500.0), (5, 0.0), (30, 40.0), (1000, 300.0), (1000, 1000.0), (300, 5000.0)]
)
def test_gallego_van_ryzin_is_the_log_sum(stock, mass, x64, rtol):
    i = np.arange(stock + 1)
    with np.errstate(divide="ignore"):
        partial = np.logaddexp.accumulate(
            np.where(i > 0, i * np.log(max(mass, 1e-300)), 0) - np.cumsum(np.log(np.maximum(i, 1)))
        )
    with jax.enable_x64(x64):
        value, price = jax.jit(inventory.gallego_van_ryzin)(stock, mass)
    np.testing.assert_allclose(value, partial[-1], rtol=2 * rtol, atol=1e-12)
    np.testing.assert_allclose(price, 1 + partial[-1] - partial[-2] if stock else np.inf, rtol=rtol)


def test_gallego_van_ryzin_takes_arrays_and_vmap():
    stock, mass = jnp.arange(6)[:, None], jnp.linspace(0.5, 9, 4)[None]
    values, prices = inventory.gallego_van_ryzin(stock, mass)
    lanes = jax.vmap(lambda n: jax.vmap(lambda m: inventory.gallego_van_ryzin(n, m))(mass[0]))(stock[:, 0])
    np.testing.assert_allclose(values, lanes[0], rtol=1e-6)
    np.testing.assert_allclose(prices, lanes[1], rtol=1e-6)
    assert np.all(values <= inventory.deterministic_bound(stock, mass) + 1e-5)


@PRECISIONS
def test_fixed_price_is_the_poisson_sum(x64, rtol):
    for stock, mass, price in [(0, 4.0, 1.0), (1, 4.0, 1.5), (2, 4.0, 1.0), (40, 35.0, 1.1), (500, 520.0, 1.0)]:
        buyers = mass * np.exp(1 - price)
        i = np.arange(3000)
        truth = price * np.sum(np.minimum(i, stock) * stats.poisson.pmf(i, buyers))
        with jax.enable_x64(x64):
            value = inventory.fixed_price_value(stock, mass, price)
        np.testing.assert_allclose(value, truth, rtol=3 * rtol, atol=1e-12)


def stock_values(horizon, stock):
    """The Ferreira instance by the textbook recursion in float64."""
    values = np.zeros(stock + 1)
    for _ in range(horizon):
        gain = np.max(DEMAND * (PRICES - np.diff(values)[:, None]), axis=1)
        values[1:] += np.maximum(gain, 0)
    return values


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_iterations_in_another_unit_of_reward(unit):
    """By default as exact, whatever the unit: the values of three states that are visited in turn."""
    reward = np.float32([[1.0, 0.2], [0.3, 0.9], [0.5, 0.1]])
    transition = np.zeros((3, 2, 3), np.float32)
    for state, after in enumerate((1, 2, 0)):
        transition[state, :, after] = 1
    gain, _, q = dp.relative_value_iteration(np.float32(unit) * reward, transition)
    assert float(gain) / unit == pytest.approx((1.0 + 0.9 + 0.5) / 3, rel=1e-5)
    assert np.argmax(q, axis=1).tolist() == [0, 1, 0]
    values, _ = dp.value_iteration(np.float32(unit) * reward, transition, 0.5)
    first = (1.0 + 0.5 * 0.9 + 0.25 * 0.5) / (1 - 0.125)
    assert float(values[0]) / unit == pytest.approx(first, rel=1e-5)


@PRECISIONS
@pytest.mark.parametrize("horizon, percent", [(500, 99.87), (1000, 99.94), (2000, 99.97), (5000, 99.99)])
def test_marginal_values_on_the_ferreira_instance(horizon, percent, x64, rtol):
    stock = horizon // 4
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        gain = inventory.grid_gain(PRICES, DEMAND)
        table = np.asarray(jax.jit(lambda: inventory.marginal_values(gain, horizon, stock))(), float)
    truth = stock_values(horizon, stock)
    assert table.shape == (horizon + 1, stock + 1) and np.all(np.isposinf(table[:, 0]))
    np.testing.assert_allclose(table[-1, 1:], np.diff(truth), rtol=3 * rtol)
    np.testing.assert_allclose(100 * table[-1, 1:].sum() / (10.1 * horizon), percent, atol=5.1e-3)
    assert np.all(np.diff(table[:, 1:], axis=1) <= 40 * rtol) and np.all(np.diff(table[:, 1:], axis=0) >= -40 * rtol)


def test_marginal_values_converge_to_gallego_van_ryzin():
    """Ten units, mass 10, as 1,000 and 2,000 short periods: the error is O(dt) and halves."""
    with jax.enable_x64(True):
        truth = inventory.gallego_van_ryzin(10, 10.0)[0]
        errors = []
        for steps in (1000, 2000):
            rate = 10 / steps  # mass a period: max_p a dt exp(-p) (p - x) = mass exp(-x)
            table = inventory.marginal_values(lambda x, rate=rate: rate * jnp.exp(-x), steps, 10)
            errors.append(abs(float(jnp.sum(table[-1, 1:]) - truth)))
    assert errors[0] < 0.01 and abs(errors[0] / errors[1] - 2) < 0.02


def test_marginal_values_with_salvage_and_without_stock():
    table = inventory.marginal_values(inventory.grid_gain(PRICES, DEMAND), 50, 3, salvage=50.0)
    assert np.all(table[:, 1:] == 50)  # every price is below the salvage value
    assert inventory.marginal_values(inventory.grid_gain(PRICES, DEMAND), 5, 0).shape == (6, 1)


@PRECISIONS
def test_fluid_prices_published(x64, rtol):
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        value, mix, dual = jax.jit(inventory.fluid_prices)(PRICES, DEMAND, 0.25)
        other = inventory.fluid_prices(PRICES, DEMAND, 0.5)
    np.testing.assert_allclose(value, 10.10, rtol=rtol)
    np.testing.assert_allclose(mix, [0, 0, 0.75, 0.25], atol=rtol)
    np.testing.assert_allclose(dual, [37.4, 0.75], rtol=10 * rtol)
    np.testing.assert_allclose(other[0], 17.95, rtol=rtol)
    np.testing.assert_allclose(other[1], [0, 2 / 3, 1 / 3, 0], atol=rtol)


def linprog(reward, consumption, capacity):
    """The fluid value by HiGHS."""
    lp = optimize.linprog(
        -reward,
        A_ub=np.append(consumption.T, np.ones((1, len(reward))), axis=0),
        b_ub=np.append(capacity, 1),
        method="highs",
    )
    return -lp.fun


def check_lp(solution, reward, consumption, capacity, rtol):
    """Value, feasibility, dual feasibility and strong duality of one solution."""
    value, mix, duals = (np.asarray(x, float) for x in solution)
    size = np.abs(reward).max()
    np.testing.assert_allclose(value, linprog(reward, consumption, capacity), rtol=rtol, atol=rtol * size)
    np.testing.assert_allclose(value, reward @ mix, rtol=rtol, atol=rtol * size)
    assert np.all(mix >= 0) and mix.sum() <= 1 + rtol and np.all(duals >= 0)
    assert np.all(mix @ consumption <= capacity + rtol * consumption.max(0))
    period = max(0.0, np.max(reward - consumption @ duals))
    np.testing.assert_allclose(duals @ capacity + period, value, rtol=rtol, atol=rtol * size)


def test_fluid_prices_is_linear_programming():
    rng = np.random.default_rng(0)
    for size in (1, 3, 11):
        prices = np.sort(rng.uniform(1, 9, (40, size)))
        demand = np.sort(rng.uniform(size=(40, size)))[:, ::-1].copy()
        capacity = rng.uniform(0, 1.2, 40)
        capacity[:10], capacity[10:13] = demand[:10, size // 2], 0.0  # degenerate: a price sells exactly the capacity
        solutions = jax.jit(jax.vmap(inventory.fluid_prices))(prices, demand, capacity)
        for p, d, c, value, mix, dual in zip(prices, demand, capacity, *map(np.asarray, solutions), strict=True):
            assert np.sum(mix > 0) <= 2
            check_lp((value, mix, dual[:1]), p * d, d[:, None], np.array([c]), 1e-5)
            np.testing.assert_allclose(dual[0] * c + dual[1], value, rtol=1e-5, atol=1e-6)


# fluid linear programme


def network(demand):
    """Reward `[5]` and consumption `[5, 3]` of the network instance of Ferreira et al. (2018)."""
    prices = np.array([[1, 1.5], [1, 2], [2, 3], [4, 4], [4, 6.5]])
    one, two = prices.T
    buyers = {
        "linear": np.maximum([8 - 1.5 * one, 9 - 3 * two], 0).T,
        "exponential": np.array([5 * np.exp(-0.5 * one), 9 * np.exp(-two)]).T,
        "logit": 10 * np.exp(-prices) / (1 + np.exp(-prices).sum(1, keepdims=True)),
    }[demand]
    return np.sum(prices * buyers, axis=1), buyers @ np.array([[1, 3, 0], [1, 1, 5.0]])


@PRECISIONS
@pytest.mark.parametrize(
    "demand, capacity, value, mix",
    [
        ("linear", (3, 5, 7), 6.666667, {3: 5 / 6}),
        ("linear", (15, 12, 30), 9.75, {0: 1 / 3, 3: 2 / 3}),
        ("exponential", (3, 5, 7), 4.598510, {2: 0.7438, 3: 0.2562}),
        ("exponential", (15, 12, 30), 6.044910, {0: 1}),
        ("logit", (3, 5, 7), 3.768095, {0: 0.2568, 2: 0.7432}),
        ("logit", (15, 12, 30), 4.415905, {0: 1}),
    ],
)
def test_fluid_lp_published(demand, capacity, value, mix, x64, rtol):
    reward, consumption = network(demand)
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        solution = jax.jit(fluid_lp.fluid_lp)(reward, consumption, np.array(capacity, float))
    np.testing.assert_allclose(solution[0], value, atol=1e-6 if x64 else 4e-6)
    np.testing.assert_allclose(solution[1], [mix.get(k, 0) for k in range(5)], atol=5.1e-5)
    check_lp(solution, reward, consumption, np.array(capacity, float), rtol)


@PRECISIONS
@pytest.mark.parametrize("num, resources", [(1, 1), (5, 3), (12, 2), (30, 5)])
def test_fluid_lp_is_linear_programming(num, resources, x64, rtol):
    """Random instances; every second one degenerate: zero capacities, repeated columns, ties, resources in other units."""
    rng = np.random.default_rng(num)
    cases = []
    for trial in range(50):
        reward, consumption = (
            rng.normal(1, 1, num),
            rng.uniform(size=(num, resources)) * (rng.uniform(size=(num, resources)) < 0.7),
        )
        capacity = rng.uniform(0, 0.6, resources)
        if trial % 2:
            reward, consumption = np.round(2 * reward) / 2, np.round(2 * consumption)
            capacity = np.round(2 * capacity) / 2
            half = num // 2
            reward[:half], consumption[:half] = reward[half : 2 * half], consumption[half : 2 * half]
            capacity, consumption = capacity * 1e4, consumption * 1e4
        consumption[0] += np.where(consumption.any(0), 0, 1)
        cases.append((reward, consumption, capacity))
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        solutions = jax.jit(jax.vmap(fluid_lp.fluid_lp))(*map(np.stack, zip(*cases, strict=True)))
    for case, *solution in zip(cases, *map(np.asarray, solutions), strict=True):
        check_lp(solution, *case, rtol)


def test_one_resource_is_fluid_prices():
    enumerate_, pivot = jax.jit(inventory.fluid_prices), jax.jit(fluid_lp.fluid_lp)
    for capacity in (0.0, 0.1, 0.25, 0.5, 0.7, 0.9):
        enumerated = enumerate_(PRICES, DEMAND, capacity)
        pivoted = pivot(PRICES * DEMAND, DEMAND[:, None], np.array([capacity]))
        np.testing.assert_allclose(enumerated[0], pivoted[0], rtol=1e-6)
        np.testing.assert_allclose(enumerated[1], pivoted[1], atol=1e-5)


def test_fluid_lp_with_zero_capacities_ends():
    """In the manner of Beale's example, but without negative entries: several zero capacities tie every ratio."""
    reward = np.array([0.75, 0.1, 0.02, 0.3])
    consumption = np.array([[0.25, 0.5, 0], [0, 0, 1], [0.04, 0.02, 1], [0.9, 0.3, 0.4]])
    solve = jax.jit(fluid_lp.fluid_lp)
    for capacity in ([0, 0, 1], [0, 0, 0], [0, 0.3, 0]):
        capacity = np.array(capacity, float)
        check_lp(solve(reward, consumption, capacity), reward, consumption, capacity, 1e-5)


# replenishment


def demands(prices, noise=(0.2, 0.3, 0.3, 0.2)):
    """Additive demand: a falling whole number plus noise, `[K, 9]`."""
    pmf = np.zeros((len(prices), 9))
    for k in range(len(prices)):
        pmf[k, 5 - k : 5 - k + len(noise)] = noise
    return pmf


COSTS = dict(unit_cost=1.0, holding=0.3, backlog=1.4)
LIST = np.array([2.0, 2.9, 3.6, 4.1, 4.4, 4.6])


@PRECISIONS
def test_newsvendor_is_its_quantile(x64, rtol):
    pmf = stats.binom.pmf(np.arange(21), 20, 0.4)
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        cost = replenishment.newsvendor(pmf, 0.3, 1.4)
    gap = np.arange(21)[:, None] - np.arange(21)
    np.testing.assert_allclose(cost, np.where(gap > 0, 0.3 * gap, -1.4 * gap) @ pmf, rtol=rtol)
    assert np.argmin(cost) == stats.binom.ppf(1.4 / 1.7, 20, 0.4)


@PRECISIONS
def test_myopic_base_stock_is_the_average_reward_optimum(x64, rtol):
    pmf = demands(LIST)
    low, high = -12, 9
    stock = np.arange(low, high + 1)
    levels = np.arange(0, high + 1)
    reward = np.full((len(stock), len(LIST) * len(levels)), -1e3)
    transition = np.zeros((*reward.shape, len(stock)))
    for a, (k, y) in enumerate(itertools.product(range(len(LIST)), levels)):
        d = np.arange(9)
        loss = pmf[k] @ np.where(y > d, 0.3 * (y - d), 1.4 * (d - y))
        reward[stock <= y, a] = LIST[k] * pmf[k] @ d - (y - stock[stock <= y]) - loss
        np.add.at(transition[:, a], (slice(None), y - d - low), pmf[k])
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        price, level, value = (x.item() for x in jax.jit(replenishment.myopic_base_stock)(pmf, LIST, **COSTS))
        gain, _, q = map(np.asarray, jax.jit(dp.relative_value_iteration)(reward, transition, 1e-10))
    np.testing.assert_allclose(value, gain, rtol=5 * rtol)
    assert divmod(int(np.argmax(q[-low])), len(levels)) == (price, level)


@PRECISIONS
@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_list_price_is_backward_induction(discount, x64, rtol):
    """Against float64 loops on a grid that reaches far below zero; prices fall as inventory grows."""
    pmf, horizon, largest, low = demands(LIST), 12, 40, -150
    options = dict(COSTS, horizon=horizon, largest=largest, discount=discount)
    solve = jax.jit(
        functools.partial(replenishment.list_price, **options)
    )  # LIST is an argument: JAX caches constants by id
    with jax.enable_x64(x64), jax.numpy_rank_promotion("raise"):
        levels, policy, values = map(np.asarray, solve(pmf, LIST))
        myopic = [x.item() for x in replenishment.myopic_base_stock(pmf, LIST, **COSTS)]
    stock = np.arange(low, largest + 1)
    truth = 1.0 * stock
    d = np.arange(9)
    for h in range(horizon):
        worth = np.full((len(LIST), len(stock)), -np.inf)
        for i, y in enumerate(stock[9:], 9):
            now = LIST * (pmf @ d) - y - pmf @ np.where(y > d, 0.3 * (y - d), 1.4 * (d - y))
            worth[:, i] = now + discount * pmf @ truth[i - d]
        best = worth.max(0)
        truth = stock + np.maximum.accumulate(best[::-1])[::-1]
        np.testing.assert_allclose(values[h + 1], truth[-low:], rtol=5 * rtol, atol=5 * rtol)
        assert best[levels[h] - low] >= best.max() - 20 * rtol
        target = np.maximum(levels[h], np.arange(largest + 1)) - low
        assert np.all(worth[policy[h], target] >= truth[-low:] - np.arange(largest + 1) - 20 * rtol)
    assert np.all(np.diff(policy, axis=1) <= 0) and len(np.unique(policy[-1])) > 1  # index rises with the price
    if discount == 1:
        assert np.all(levels == myopic[1]) and np.all(policy[:, 0] == myopic[0])
        np.testing.assert_allclose(values[-1, 0], horizon * myopic[2], rtol=rtol)


# bad input


EVEN = np.full((2, 1, 2), 0.5)


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: dp.value_iteration(np.zeros((2, 1)), EVEN, 1.0), "discount"),
        (lambda: dp.value_iteration(np.zeros((2, 1)), EVEN, -0.1), "discount"),
        (lambda: dp.finite_horizon(np.zeros((3, 1)), EVEN, 2), "transition"),
        (lambda: dp.finite_horizon(np.zeros((2, 1)), EVEN * 1.1, 2), "sum to one"),
        (lambda: dp.finite_horizon(np.zeros((2, 1)), EVEN, 0), "horizon"),
        (lambda: dp.relative_value_iteration(np.zeros((2, 1)), EVEN, step=0.0), "step"),
        (lambda: dp.pareto_front(np.zeros((2, 1, 2)), EVEN, np.ones((3, 1))), "weights"),
        (lambda: dp.policy_gain(np.zeros(2), EVEN), "transition"),
        (lambda: inventory.gallego_van_ryzin(-1, 2.0), "stock"),
        (lambda: inventory.marginal_values(jnp.exp, 5, -1), "stock"),
        (lambda: inventory.fluid_prices([1.0], [0.5], -0.1), "capacity"),
        (lambda: inventory.fluid_prices([1.0], [0.5, 0.1], 0.1), "demand"),
        (lambda: inventory.grid_gain([1.0], [1.5]), "demand"),
        (lambda: fluid_lp.fluid_lp([1.0], [[1.0, 0.0]], [1.0, 1.0]), r"resources \[1\]"),
        (lambda: fluid_lp.fluid_lp([1.0], [[1.0]], [-1.0]), "capacity"),
        (lambda: fluid_lp.fluid_lp([1.0], [1.0], [1.0]), "consumption"),
        (lambda: replenishment.newsvendor([0.5, 0.4], 1.0, 1.0), "pmf"),
        (lambda: replenishment.myopic_base_stock([[0.5, 0.5]], [1.0, 2.0], 0.5, 1.0, 1.0), "prices"),
        (lambda: replenishment.list_price([[0.5, 0.5]], [1.0], 0.5, 1.0, 0.01, 3, 4, 0.9), "backlog"),
        (lambda: replenishment.list_price([[0.5, 0.5]], [1.0], 0.5, 1.0, 1.0, 3, 0), "largest"),
    ],
)
def test_bad_input_is_refused(call, name):
    with pytest.raises(ValueError, match=name):
        call()
