"""The exact dynamic programme of small networks against recursion in plain Python, and against other oracles."""

import functools
import itertools

import jax
import numpy as np
import pytest
from scipy import stats

import jaxprice
from jaxprice.oracles import network_dp as network

PRICES = np.array([[1.0, 2.0], [1.5, 3.0], [2.0, 3.5]])
DEMAND = np.array([[0.8, 0.7], [0.5, 0.4], [0.3, 0.3]])
CONSUMPTION = np.array([[1, 1, 0], [0, 2, 1]])
STOCK = np.array([3, 4, 2])


def brute(prices, demand, consumption, stock, horizon, noise):
    """V_horizon(stock) and the loss of each action there, by recursion over whole demands."""
    most = 1 if noise == "bernoulli" else 25

    @functools.cache
    def law(k):
        """Demands of all products under action k: `(demands, probability)`."""
        rows = []
        for units in itertools.product(range(most + 1), repeat=prices.shape[1]):
            if noise == "bernoulli":
                chance = np.prod([d if n else 1 - d for n, d in zip(units, demand[k], strict=True)])
            else:
                chance = np.prod(stats.poisson.pmf(units, demand[k]))
            if chance > 1e-14:
                rows.append((units, chance))
        return rows

    @functools.cache
    def action_values(left, h):
        values = []
        for k in range(len(prices)):
            total = 0.0
            for units, chance in law(k):
                stock, earned = list(left), 0.0
                for i, n in enumerate(units):
                    sold = min([n] + [stock[j] // a for j, a in enumerate(consumption[i]) if a])
                    earned += prices[k, i] * sold
                    stock = [c - sold * a for c, a in zip(stock, consumption[i], strict=True)]
                total += chance * (earned + (max(action_values(tuple(stock), h - 1)) if h > 1 else 0.0))
            values.append(total)
        return values

    found = np.array(action_values(tuple(int(x) for x in stock), horizon))
    return found.max(), found.max() - found


@pytest.mark.parametrize("noise", ["bernoulli", "poisson"])
@pytest.mark.parametrize("horizon", [1, 4])
def test_the_value_is_that_of_recursion(noise, horizon):
    found = network.network_dp(PRICES, DEMAND, CONSUMPTION, STOCK, horizon, noise)
    value, losses = brute(PRICES, DEMAND, CONSUMPTION, STOCK, horizon, noise)
    np.testing.assert_allclose(found.values[horizon, -1], value, rtol=2e-6)
    np.testing.assert_allclose(found.losses[horizon - 1, -1], losses, atol=5e-6)
    np.testing.assert_array_equal(found.stocks[-1], STOCK)
    np.testing.assert_allclose(found.transition.sum(axis=-1), 1, rtol=1e-6)
    assert np.all(np.asarray(found.losses).min(axis=-1) == 0) and np.all(np.asarray(found.values)[:, 0] == 0)


def test_one_product_is_the_season_of_finite_inventory():
    env, params = jaxprice.make("FiniteInventory", horizon=30, stock=6)
    prices, demand = np.append(params.prices, 0)[:, None], np.append(params.demand, 0)[:, None]
    found = network.network_dp(prices, demand, [[1]], [6], 30, "bernoulli")
    np.testing.assert_allclose(found.values[30, -1], env.season_value(params), rtol=1e-6)


@pytest.mark.parametrize("noise", ["bernoulli", "poisson"])
def test_the_fluid_programme_bounds_it_and_the_market_agrees(noise):
    """Below the bound of the market; and the market's own sales and revenue are those of the tables."""
    options = {"prices": PRICES, "consumption": CONSUMPTION, "stock": STOCK, "horizon": 10, "noise": noise}
    env, params = jaxprice.make("NetworkRevenue", demand=DEMAND, **options)
    prices, demand = np.vstack([PRICES, np.zeros(2)]), np.vstack([DEMAND, np.zeros(2)])
    found = network.network_dp(prices, demand, CONSUMPTION, STOCK, 10, noise)
    assert 0.7 * 10 * params.value < found.values[10, -1] < 10 * params.value
    _, start = env.reset_env(jax.random.key(0), params)
    keys = jax.random.split(jax.random.key(1), 20_000)
    sizes = tuple(STOCK + 1)
    for left in ((3, 4, 2), (1, 3, 0), (0, 1, 1)):
        state = start.replace(stock=np.array(left, np.float32))
        play = jax.jit(jax.vmap(lambda key, state=state: env.step_env(key, state, 1, params)[1:3]))
        after, reward = play(keys)
        row = np.ravel_multi_index(left, sizes)
        expected = found.reward[row, 1]
        assert abs(reward.mean() - expected) < 4 * reward.std() / len(keys) ** 0.5 + 1e-6
        places = np.ravel_multi_index(np.asarray(after.stock).astype(int).T, sizes)
        shares = np.bincount(places, minlength=len(found.stocks)) / len(keys)
        chances = found.transition[row, 1]
        assert np.all(np.abs(shares - chances) < 5 * np.sqrt(chances * (1 - chances) / len(keys)) + 1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"demand": DEMAND[:2]}, r"demand must have shape \[3, 2\]"),
        ({"demand": DEMAND * 2}, r"demand must be in \[0, 1\]"),
        ({"noise": "normal"}, "unknown noise 'normal'"),
        ({"consumption": CONSUMPTION * 0.5}, "consumption must be whole numbers of units"),
        ({"consumption": CONSUMPTION * [[1], [0]]}, "every product use a resource"),
        ({"stock": [3, 4]}, r"stock must have shape \[3\]"),
        ({"stock": [3, 4, -1]}, "stock must be in"),
        ({"stock": [300, 300, 300]}, "states=27270901"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_bad_networks_are_refused(change, message):
    told = {"prices": PRICES, "demand": DEMAND, "consumption": CONSUMPTION, "stock": STOCK, "horizon": 3} | change
    with pytest.raises(ValueError, match=message):
        network.network_dp(**({"noise": "bernoulli"} | told))
