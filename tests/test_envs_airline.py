"""The season of flights: its oracle against a plain recursion in NumPy and closed forms, and bad input."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxprice
from jaxprice import policies
from jaxprice.oracles import inventory, single_leg


def flight_values(fares, mean, days, seats, cost):
    """V_h(n) and the best fares in float64, by the definition: `[days + 1, seats + 1]`, `[days, seats + 1]`."""
    largest = int(mean.max() + 40 + 10 * math.sqrt(mean.max()))
    pmf = stats.poisson(mean[:, None]).pmf(np.arange(largest + 1))
    values, best = np.zeros((days + 1, seats + 1)), np.zeros((days, seats + 1), int)
    for h in range(days):
        for n in range(seats + 1):
            worth = np.zeros(len(fares))
            for k, fare in enumerate(fares):
                for d in range(largest + 1):
                    sold = min(d, n)
                    worth[k] += pmf[k, d] * ((fare - cost) * sold + values[h, n - sold])
            values[h + 1, n], best[h, n] = worth.max(), worth.argmax()
    return values, best


@functools.cache
def small():
    return jaxprice.make("AirlineSeason", days=5, stock=7, horizon=13, arrivals=(9, 14), frat5=2.2, cost=8.0)


def test_the_values_are_those_of_a_plain_recursion():
    env, params = small()
    fares = np.array(params.prices, float)
    mean = 11.5 / 5 * 0.5 ** ((fares / 50 - 1) / 1.2)
    np.testing.assert_allclose(env.mean_demand(params), mean, rtol=1e-5)
    values, best = flight_values(fares, mean, 5, 7, 8.0)
    np.testing.assert_allclose(np.cumsum(params.values, axis=1), values, rtol=2e-5, atol=2e-3)
    _, start = env.reset_env(jax.random.key(0), params)
    assert float(env.season_value(params)) == pytest.approx(2 * values[5, 7] + values[3, 7], rel=2e-5)
    assert float(start.optimal) == pytest.approx((2 * values[5, 7] + values[3, 7]) / 13, rel=2e-5)
    choose = jax.jit(lambda state: env.optimal_action(state, params))
    for time in range(13):
        ahead = min(5 - time % 5, 13 - time) - 1  # the third flight is cut by the horizon
        for n in range(8):
            state = start.replace(time=jnp.int32(time), stock=jnp.int32(n))
            assert int(choose(state)) == best[ahead, n], (time, n)


def test_half_of_the_customers_pay_frat5_times_the_lowest_fare():
    env, params = jaxprice.make("AirlineSeason", prices=(40, 100), frat5=2.5, arrivals=66)
    np.testing.assert_allclose(env.mean_demand(params), [3.0, 1.5], rtol=1e-6)


def test_seats_that_never_bind_have_the_closed_form():
    """The paper's first market: every day the fare with the largest revenue, and a seat is worth nothing."""
    fares = np.arange(50, 250, 20)
    revenue = 4 * fares * 0.5 ** ((fares / 50 - 1) / 2.3)
    env, params = jaxprice.make("AirlineSeason", days=1, arrivals=4, stock=25, frat5=3.3)
    assert env.largest_demand < 25
    assert float(env.season_value(params)) == pytest.approx(440 * revenue.max(), rel=1e-5)
    assert int(env.optimal_action(env.reset_env(jax.random.key(0), params)[1], params)) == revenue.argmax()
    env, params = jaxprice.make("AirlineSeason", arrivals=88, stock=200, frat5=3.3)
    assert float(env.season_value(params)) == pytest.approx(440 * revenue.max(), rel=1e-5)
    assert np.abs(params.values[:, 150:]).max() < 1e-3


def test_one_sale_a_day_is_finite_inventory():
    """With at most one customer a day the bid prices are those of the marginal values of one-unit sales."""
    margins, chance = jnp.asarray([2.0, 3.0, 5.0]), jnp.asarray([0.7, 0.5, 0.2])
    made = single_leg.bid_prices(margins, chance[:, None], 30, 6)
    gain = jnp.vectorize(lambda value: jnp.max(chance * (margins - value)))
    np.testing.assert_allclose(made[:, 1:], inventory.marginal_values(gain, 30, 6)[:, 1:], atol=2e-5)


def test_the_oracle_earns_the_value():
    """Simulated revenue of the optimal fares against the exact value, and reward + regret of another seller."""
    env, params = small()
    sellers = {"oracle": policies.oracle(), "random": policies.random_price()}
    out = jaxprice.simulate(env, sellers, seed=1, lanes=20_000, horizon=13, params=params, checkpoints=[13])
    value = float(env.season_value(params))
    reward, error, regret = (out[name].values[:, -1] for name in ("reward", "reward_se", "regret"))
    assert regret[0] == 0 and regret[1] > 0.1 * value
    assert abs(reward[0] - value) < 4 * error[0]
    assert abs(reward[1] + regret[1] - value) < 4 * error[1]


def test_a_flight_sells_its_seats_and_the_next_one_has_all_of_them():
    env, params = jaxprice.make("AirlineSeason", days=3, stock=2, horizon=9, arrivals=300)
    _, state = env.reset_env(jax.random.key(0), params)
    step = jax.jit(lambda key, state: env.step_env(key, state, jnp.int32(0), params))
    seen = []
    for time in range(6):
        obs, state, reward, _, info = step(jax.random.key(time), state)
        seen.append((float(info["demand"]), float(reward), int(state.stock), round(float(obs[4]), 3)))
    day = [(2.0, 100.0, 0, 0.667), (0.0, 0.0, 0, 0.333), (0.0, 0.0, 2, 1.0)]
    assert seen == day + day


def test_what_the_seller_sees_is_enough_to_plan():
    """With the true params, the state that `believed` finds in an observation has the optimal fares, as sellers need it."""
    env, params = small()
    problem, (obs, state) = env.problem(params), env.reset_env(jax.random.key(0), params)

    @jax.jit
    def looked(obs, state):
        known, same = env.believed(obs, params, problem)
        mean, worth = jax.vmap(lambda k: env.offer(known, k, same))(jnp.arange(10))
        return known.time, known.stock, mean, jnp.argmax(worth), env.optimal_action(state, params)

    step = jax.jit(lambda key, state, action: env.step_env(key, state, action, params)[:2])
    for time in range(13):
        seen, left, mean, best, wanted = looked(obs, state)
        assert (int(seen), int(left), int(best)) == (time, int(state.stock), int(wanted))
        np.testing.assert_allclose(mean, env.mean_demand(params) if left > 0 else 0 * mean, rtol=1e-5)
        obs, state = step(jax.random.key(time), state, jnp.int32(time % 4))


def test_drawn_markets_are_uniform_on_their_ranges():
    env, _ = jaxprice.make("AirlineSeason", days=2, stock=2, horizon=2, frat5_range=(2, 4), arrivals=(10, 20))
    drawn = jax.jit(jax.vmap(env.sample_params))(jax.random.split(jax.random.key(0), 2000))
    for value, low in ((drawn.frat5, 2), (drawn.arrivals / 5, 2)):
        assert stats.kstest(np.asarray(value, float), stats.uniform(low, 2).cdf).pvalue > 1e-3


def test_the_seller_is_told_the_ranges_and_the_seats():
    env, params = jaxprice.make("AirlineSeason", arrivals=88, stock=200)
    problem = env.problem(params)
    np.testing.assert_allclose(problem.bounds, [[1.5, 88], [4.3, 88]])
    assert problem.noise == "poisson" and problem.stock is None
    assert problem.details == {"days": 22, "seats": 200}
    one, its = jaxprice.make("AirlineSeason", horizon=22)
    assert one.problem(its).stock == 50 and one.longest == 22


@pytest.mark.parametrize(
    "options, message",
    [
        ({"frat5": 5.0}, r"a frat5 in \[1\.5, 4\.3\], got frat5=5"),
        ({"frat5_range": (1.0, 2.0)}, "frat5_range must be above 1"),
        ({"frat5_range": (3.0, 2.0)}, r"frat5_range must be a number or a range \(low, high\)"),
        ({"arrivals": 0}, "arrivals must be above 0"),
        ({"arrivals": (1, 2, 3)}, "arrivals must be a number or a range"),
        ({"stock": 0}, "stock must be"),
        ({"prices": (0, 10)}, "prices must be above 0"),
        ({"days": 0}, "days must be"),
        ({"cost": -1.0}, "cost"),
        ({"fares": (1, 2)}, "unknown option of AirlineSeason .fares.; did you mean .prices."),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        jaxprice.make("AirlineSeason", **options)
