"""Selling from a stock with known demand, or with the optimal policy: programmes by brute force, and exact solutions."""

import dataclasses
import functools
import math
import time

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, assert_choices, market, play, problem_of
from scipy import optimize
from test_policies_inventory import SMALL, Reference, assert_optimal, solve

import jaxprice
from jaxprice import policies
from jaxprice.envs.network_revenue import CONSUMPTION, FAMILIES, PRICES
from jaxprice.oracles import inventory as oracle
from jaxprice.policies.inventory import stock

TRUE = (0.8, 0.6, 0.3, 0.1)


def random_programmes(K, M, n, size=300, seed=0):
    rng = np.random.default_rng(seed)
    units = rng.integers(0, 4, (size, n, M)).astype(float)
    units[:, 0] = 1
    demand, prices = rng.gamma(1, 1, (size, K, n)), rng.uniform(0, 6, (size, K, n))
    use = np.einsum("bkn,bnm->bkm", demand, units)
    capacity = use.mean(axis=1) * rng.uniform(0, 1.5, (size, M)) * (rng.random((size, M)) < 0.9)
    return tuple(np.float32(x).astype(float) for x in ((prices * demand).sum(axis=2), use, capacity))


@pytest.mark.parametrize(("K", "M", "n"), [(4, 1, 1), (6, 3, 2), (4, 4, 3)])
def test_programme_against_brute_force(K, M, n):
    """A tenth of the resources are gone: degenerate programmes are among them."""
    programmes = random_programmes(K, M, n)
    assert_optimal(solve(*(jnp.float32(x) for x in programmes)), *programmes)


def test_programme_against_scipy_and_the_oracle():
    """Twenty prices, one resource; value and mix of `oracles.inventory.fluid_prices` too; more stock is never worse."""
    reward, use, capacity = random_programmes(20, 1, 1, size=20, seed=1)
    mixes = np.asarray(solve(*(jnp.float32(x) for x in (reward, use, capacity))), float)
    prices, demand = reward / np.maximum(use[..., 0], 1e-9), use[..., 0]
    others = jax.jit(jax.vmap(lambda p, d, c: oracle.fluid_prices(p, d, c)[1]))(prices, demand, capacity[:, 0])
    np.testing.assert_allclose(mixes, others, atol=2e-5)
    for r, u, c, x in zip(reward, use, capacity, mixes, strict=True):
        exact = optimize.linprog(-r, np.vstack([u.T, np.ones(20)]), np.append(c, 1))
        np.testing.assert_allclose(x, exact.x, atol=2e-5)
    levels = np.linspace(0, 3, 20)[:, None]
    mixes = solve(*(jnp.float32(x) for x in (np.tile(reward[:1], (20, 1)), np.tile(use[:1], (20, 1, 1)), levels)))
    values = (np.asarray(mixes) * reward[0]).sum(axis=1)
    assert np.all(np.diff(values) > -1e-5) and values[-1] > values[1] + 0.1


@pytest.mark.parametrize(
    ("capacity", "value", "mix"), [(0.25, 10.1, (0, 0, 0.75, 0.25)), (0.5, 17.95, (0, 2 / 3, 1 / 3, 0))]
)
def test_known_optimum_of_one_product(capacity, value, mix):
    demand = np.array(TRUE)
    reward = np.array([29.9, 34.9, 39.9, 44.9]) * demand
    got = stock.shares(jnp.float32(reward), jnp.float32(demand[:, None]), jnp.float32([capacity]))
    np.testing.assert_allclose(got, mix, atol=1e-5)
    np.testing.assert_allclose(np.asarray(got) @ reward, value, rtol=1e-5)


KNOWN = {  # optimum a period, by family and stock a period
    ("linear", (3, 5, 7)): 6.666667,
    ("exponential", (3, 5, 7)): 4.598510,
    ("logit", (3, 5, 7)): 3.768095,
    ("linear", (15, 12, 30)): 9.75,
    ("exponential", (15, 12, 30)): 6.044910,
    ("logit", (15, 12, 30)): 4.415905,
}


def test_known_optima_of_networks():
    prices = np.array(PRICES)
    demand = np.stack([FAMILIES[family](prices) for family, _ in KNOWN])
    reward, use = (prices * demand).sum(axis=2), demand @ np.array(CONSUMPTION)
    capacity = np.array([c for _, c in KNOWN], float)
    mixes = np.asarray(solve(*(jnp.float32(x) for x in (reward, use, capacity))), float)
    np.testing.assert_allclose((mixes * reward).sum(axis=1), list(KNOWN.values()), rtol=1e-5)
    np.testing.assert_allclose(mixes[0], [0, 0, 0, 5 / 6, 0], atol=1e-5)


def test_known_demand_plays_the_fluid_optimum():
    problem = problem_of("inventory")  # 30 units for 120 periods
    for resolve in (True, False):
        policy = policies.lp_resolving(demand=TRUE, resolve=resolve)
        assert_choices(policy, policy.init(jax.random.key(0), problem), [0, 0, 0.75, 0.25])
    # 10 units for the last 20 periods: a capacity of one half
    state = policies.lp_resolving(demand=TRUE).init(jax.random.key(0), problem)
    books = dataclasses.replace(state.books, left=jnp.float32([10]), time=jnp.int32(100))
    assert_choices(policies.lp_resolving(demand=TRUE), dataclasses.replace(state, books=books), [0, 2 / 3, 1 / 3, 0])


def test_run_out_price_step_for_step():
    played, led = play(policies.run_out_price(), "inventory"), 0
    for k in range(LANES):
        reference = Reference("inventory", exponent=0.5)
        for t, (_, sale) in enumerate(played.lane(k)):
            if reference.left[0] < 1:
                assert sale.action == (3 if t >= reference.budget else t % 4)
            elif t < reference.budget:
                assert sale.action == t % 4
            else:
                values = reference.margins[:, 0] * np.minimum(reference.means[:, 0], reference.rate[0])
                led += harness.assert_index(sale.action, values)
            reference.tell(sale.action, sale.demand)
    assert led > 0.3 * LANES * HORIZON


@pytest.mark.parametrize(("units", "mass"), [(10, 10.0), (5, 10.0), (20, 10.0)])
def test_run_out_price_of_gallego_and_van_ryzin(units, mass):
    """Exponential demand on a fine grid: 1 + log(m / s), the closed form."""
    prices, horizon = np.linspace(0.5, 3, 251), 200
    demand = mass * np.exp(1 - prices) / horizon
    problem = problem_of("inventory", horizon, prices=jnp.float32(prices), stock=jnp.int32(units))
    policy = policies.run_out_price(demand=jnp.float32(demand))
    chosen = prices[int(policy.act(None, policy.init(None, problem), None))]
    assert abs(chosen - float(oracle.run_out_price(units, mass))) <= 0.0101


def dp_table(margins, demand, horizon, units, salvage=0.0):
    """Best action `[h, n]` with h periods to go after this one, and the lead of its gain, by the recursion in float64."""
    value, best, lead = salvage * np.arange(units + 1.0), [], []
    for _ in range(horizon):
        worth = np.diff(value)
        each = demand * (margins - worth[:, None])
        order = np.sort(each, axis=1)
        best.append(np.argmax(each, axis=1))
        lead.append(order[:, -1] - order[:, -2])
        value[1:] += np.maximum(each.max(axis=1), 0)
    return np.array(best), np.array(lead), value


@pytest.mark.parametrize("salvage", [0.0, 20.0])
def test_dp_pricing_is_the_optimal_policy(salvage):
    """Every stock and every time; with more stock than `capacity`, that of the last row."""
    margins, units = np.array([29.9, 34.9, 39.9, 44.9]), 30
    policy = policies.dp_pricing(demand=TRUE, capacity=units)
    problem = problem_of("inventory", details={"salvage": jnp.float32(salvage)})
    state = policy.init(jax.random.key(0), problem)
    best, lead, value = dp_table(margins, np.array(TRUE), HORIZON, units, salvage)
    if not salvage:  # the market's own table
        assert abs(value[-1] - float(market("inventory")[0].season_value(market("inventory")[1]))) < 1e-3 * value[-1]

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def act(h, n):
        return policy.act(None, dataclasses.replace(state, periods=h, left=n), None)

    chosen = np.asarray(act(jnp.arange(HORIZON), jnp.arange(1.0, units + 5)))
    clear = lead > 1e-3
    assert clear.mean() > 0.9 and np.all(chosen[:, :units][clear] == best[clear])
    assert len(np.unique(chosen)) >= 3
    np.testing.assert_array_equal(chosen[:, units:], chosen[:, [units - 1] * 4])
    assert state.periods == HORIZON - 1 and int(policy.act(None, dataclasses.replace(state, left=jnp.float32(0)), None)) == 3


def test_dp_pricing_gives_up_nothing():
    """The market finds no regret in it, in any period; its state follows stock and time."""
    played = play(policies.dp_pricing(demand=TRUE, capacity=30), "inventory")
    assert np.abs(played.info["regret"]).max() < 1e-4
    np.testing.assert_array_equal(played.last.left, 30 - played.sales.demand.sum(axis=0))
    assert np.all(played.states.periods[:, 0] == HORIZON - 1 - np.arange(HORIZON))


def test_dp_pricing_of_gallego_and_van_ryzin():
    """p*(10, 10) = 1.24154 of the continuous market, by 2,000 periods and prices .005 apart."""
    prices, horizon = np.arange(1.0, 3.5, 0.005), 2000
    demand = 10.0 * np.exp(1 - prices) / horizon
    problem = problem_of("inventory", horizon, prices=jnp.float32(prices), stock=jnp.int32(10))
    policy = policies.dp_pricing(demand=jnp.float32(demand), capacity=10)
    state = jax.jit(policy.init)(jax.random.key(0), problem)
    assert abs(prices[int(policy.act(None, state, None))] - 1.24154) < 0.008


def test_dp_pricing_without_a_table():
    """The mean of uniform purchase probabilities in falling order; the offer of nothing sells nothing."""
    guess, told = policies.dp_pricing(), policies.dp_pricing(demand=(0.8, 0.6, 0.4, 0.2, 0.0))
    problem = problem_of(SMALL)
    first, second = guess.init(None, problem), told.init(None, problem)
    np.testing.assert_array_equal(first.moves, second.moves)


PUBLISHED = {  # percent of the fluid bound at T = 500, stock T / 4; standard errors of the published values at most .1
    "ts_update": (policies.ts_update(), 98.48),
    "ts_fixed": (policies.ts_fixed(), 94.18),
    "stock ignored": (policies.thompson(), 78.16),
    "known, solved once": (policies.lp_resolving(demand=TRUE, resolve=False), 96.99),
    "known, re-solved": (policies.lp_resolving(demand=TRUE), 99.68),
    "optimum": (policies.dp_pricing(demand=TRUE), 99.87),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shares(name):
    """Ferreira, Simchi-Levi and Wang's experiment with one product, re-run with 2,000 simulations."""
    policy, published = PUBLISHED[name]
    env, params = jaxprice.make("FiniteInventory", horizon=500, stock=125)
    result = jaxprice.simulate(env, policy, lanes=4000, horizon=500, params=params, checkpoints=[500])
    share, error = (100 * float(result[x].squeeze()) / (10.1 * 500) for x in ("reward", "reward_se"))
    theirs = error * math.sqrt(2)  # half as many simulations
    assert abs(share - published) < 4 * math.hypot(error, theirs) + 0.005, (share, error)


@pytest.mark.slow
def test_speed_against_scipy():
    """At least fifty times as many periods a second as calls of scipy.optimize.linprog."""
    demand, prices = np.array(TRUE), np.array([29.9, 34.9, 39.9, 44.9])
    start = time.process_time()
    for c in np.linspace(0.1, 0.5, 200):
        optimize.linprog(-prices * demand, [demand, np.ones(4)], [c, 1])
    theirs = 200 / (time.process_time() - start)
    env, params = jaxprice.make("FiniteInventory", horizon=500, stock=125)
    run = functools.partial(jaxprice.simulate, env, policies.ts_update(), lanes=2000, horizon=500, params=params)
    run()
    start = time.process_time()
    run(seed=1)
    ours = 2000 * 500 / (time.process_time() - start)
    assert ours > 50 * theirs, (ours, theirs)
