"""Selling from a limited stock: policies against references in plain loops, programmes by brute force, exact solutions."""

import dataclasses
import importlib
import itertools
import math

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, play, problem_of, state_after
from scipy import stats

from jaxprice import policies
from jaxprice.policies.inventory import stock

thompson = importlib.import_module("jaxprice.policies.inventory.ts_update")
SMALL = ("FiniteInventory", (("stock", 12), ("horizon", HORIZON), ("shut_off", True)))
DUAL = policies.primal_dual_bwk(confidence=0.02)  # small bounds, so that the weights of the resources matter
NAMES = [card.name for card in policies.cards() if card.family == "inventory"]


def facts(name):
    """What a seller is told, in NumPy: margins `[K, n]`, units `[n, M]`, stock `[M]`."""
    problem = problem_of(name)
    margins = np.asarray(problem.prices, float) - np.asarray(problem.cost, float)
    margins = margins.reshape(len(margins), -1)
    units = np.eye(1) if problem.consumption is None else np.asarray(problem.consumption, float)
    return margins, units, np.asarray(problem.stock, float).reshape(-1)


def actions_that_earn(margins):
    return [k for k in range(len(margins)) if (margins[k] > 0).any()]


def nothing(margins):
    return len(margins) - 1 if not margins[-1].any() else int(np.argmax(margins.sum(axis=1)))


class Reference:
    """The books of a seller, kept in plain loops."""

    def __init__(self, name, horizon=HORIZON, exponent=None, largest=1):
        self.margins, self.units, self.stock = facts(name)
        self.bernoulli = problem_of(name).noise == "bernoulli"
        self.left, self.t, self.horizon = self.stock.copy(), 0, horizon
        self.counts, self.sums = np.zeros(self.margins.shape), np.zeros(self.margins.shape)
        self.earning, self.idle = actions_that_earn(self.margins), nothing(self.margins)
        self.budget = 0 if exponent is None else max(math.ceil(horizon**exponent - 1e-3), len(self.earning))

    def tell(self, action, demand, learning=True):
        demand = np.reshape(demand, -1)
        for i, sold in enumerate(demand):
            self.left = self.left - sold * self.units[i]
        for i, sold in enumerate(demand):
            more = all(self.left[j] >= self.units[i, j] for j in range(len(self.left)))
            if learning and (more or (self.bernoulli and sold == 1)):
                self.counts[action, i] += 1
                self.sums[action, i] += sold
        self.t += 1

    @property
    def means(self):
        return self.sums / np.maximum(self.counts, 1)

    @property
    def rate(self):
        return self.left / max(self.horizon - self.t, 1)

    def programme(self, demand, capacity):
        """`(reward, use, capacity)` of the fluid programme."""
        return (self.margins * demand).sum(axis=1), demand @ self.units, capacity


def brute_force(reward, use, capacity):
    """Optimal values `[N]` and mixes `[N, K]` of programmes, by trying all bases; `[N, K]`, `[N, K, M]`, `[N, M]`."""
    size, (_, K, M) = len(reward), use.shape
    columns = np.concatenate([use.transpose(0, 2, 1), np.ones((size, 1, K))], axis=1)
    columns = np.concatenate([columns, np.broadcast_to(np.eye(M + 1), (size, M + 1, M + 1))], axis=2)
    limit = np.concatenate([capacity, np.ones((size, 1))], axis=1)
    gains = np.concatenate([reward, np.zeros((size, M + 1))], axis=1)
    best, mixes = np.full(size, -np.inf), np.zeros((size, K + M + 1))
    for basis in itertools.combinations(range(K + M + 1), M + 1):
        square = columns[:, :, basis]
        regular = np.abs(np.linalg.det(square)) > 1e-12
        amounts = np.linalg.solve(np.where(regular[:, None, None], square, np.eye(M + 1)), limit[..., None])[..., 0]
        value = (amounts * gains[:, basis]).sum(axis=1)
        wins = regular & (amounts.min(axis=1) >= -1e-9) & (value > best + 1e-12)
        best = np.where(wins, value, best)
        row = np.zeros_like(mixes)
        row[:, basis] = amounts
        mixes = np.where(wins[:, None], row, mixes)
    return best, mixes[:, :K]


@jax.jit
@jax.vmap
def solve(reward, use, capacity):
    return stock.shares(reward, use, capacity)


def assert_optimal(mixes, reward, use, capacity):
    """Feasible, and as good as the best vertex, to rounding."""
    mixes = np.asarray(mixes, float)
    best, _ = brute_force(reward, use, capacity)
    assert mixes.min() >= 0 and mixes.sum(axis=1).max() < 1 + 1e-5
    used = np.einsum("nk,nkm->nm", mixes, use)
    assert np.all(used <= capacity + 1e-5 * use.max(axis=1) + 1e-6)
    np.testing.assert_allclose((mixes * reward).sum(axis=1), best, rtol=2e-5, atol=1e-5)


def play_with(name, **numbers):
    """Play in the market "inventory" with other numbers, which compiles nothing new."""
    return play(policies.make(name), "inventory", changes=tuple(numbers.items()))


@pytest.mark.parametrize(
    ("name", "label"), [("ts_update", "inventory"), ("ts_update", "network"), ("primal_dual_bwk", SMALL)]
)
def test_books(name, label):
    """Sales are counted, never more than the stock; those that the stock cut short do not teach."""
    played, short = play(DUAL if name == "primal_dual_bwk" else policies.make(name), label), 0
    for k in range(LANES):
        reference = Reference(label)
        for t, (state, sale) in enumerate(played.lane(k)):
            np.testing.assert_array_equal(state.books.left, reference.left)
            np.testing.assert_array_equal(state.books.sums, reference.sums)
            np.testing.assert_array_equal(state.books.counts, reference.counts)
            assert state.books.time == t
            reference.tell(sale.action, sale.demand)
            assert reference.left.min() >= 0
            share = reference.left / np.maximum(reference.stock, 1)
            np.testing.assert_allclose(sale.next_observation[-len(share) :], share, rtol=1e-5, atol=1e-6)
        short += reference.t * reference.margins.shape[1] - reference.counts.sum()
    assert short > 0


def posterior_draws(state, size, rng):
    """Mean demands from the posterior by SciPy, float64 `[size, K, n]`."""
    sums, counts = np.asarray(state.books.sums, float), np.asarray(state.books.counts, float)
    shape = (size, *sums.shape)
    a, b = float(state.a), float(state.b)
    if state.season.most:
        return rng.beta(a + sums, b + counts - sums, shape)
    return rng.gamma(a + sums, 1 / (b + counts), shape)


def frequencies(state, capacity, size=20_000):
    """Choice probabilities of Thompson sampling with a capacity `[M]`, by posterior draws and brute force."""
    demand = posterior_draws(state, size, np.random.default_rng(0))
    margins, units = np.asarray(state.season.margins, float), np.asarray(state.season.units, float)
    reward, use = (margins[None] * demand).sum(axis=2), demand @ units
    _, mixes = brute_force(reward, use, np.tile(capacity, (size, 1)))
    expected = mixes.mean(axis=0)
    expected[int(state.season.idle)] += max(1 - expected.sum(), 0)
    return expected


HISTORY = ([0, 1, 2, 3, 2, 1, 2, 3, 2, 2, 1, 0], [1, 1, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1])


def test_posterior_draws():
    """Beta and Gamma draws against SciPy's laws: Kolmogorov-Smirnov at 20,000 draws."""
    draw = jax.jit(jax.vmap(thompson.draw, (0, None)))
    words = jax.random.bits(jax.random.key(3), (20_000, 4, 1), jnp.uint32)
    policy = policies.ts_update(a=1.5, b=2.0)
    state = state_after(policy, problem_of("inventory"), *HISTORY)
    drawn = np.asarray(draw(words, state))[:, :, 0]
    for k, (n, s) in enumerate([(2, 2), (3, 2), (5, 2), (2, 0)]):
        assert stats.kstest(drawn[:, k], stats.beta(1.5 + s, 2 + n - s).cdf).pvalue > 1e-4
        assert stats.kstest(drawn[:, k], stats.beta(1.5 + s, 3 + n - s).cdf).pvalue < 1e-4


@pytest.mark.parametrize("name", ["ts_update", "ts_fixed"])
def test_thompson_with_stock_chooses_by_its_posterior(name):
    """After six sales in 12 of 60 periods: 9 units left of 15 for 48 periods; unlike the other, and unlike no stock."""
    policy = policies.make(name, a=1.5, b=2.0)
    problem = problem_of("inventory", horizon=60, stock=jnp.int32(15))
    state = state_after(policy, problem, *HISTORY)
    np.testing.assert_array_equal(np.asarray(state.books.counts)[:, 0], [2, 3, 5, 2])
    np.testing.assert_array_equal(np.asarray(state.books.sums)[:, 0], [2, 2, 2, 0])
    fixed, update, free = (frequencies(state, [c]) for c in (15 / 60, 9 / 48, 2.0))
    expected, other = (update, fixed) if name == "ts_update" else (fixed, update)
    seen = np.bincount(harness.actions_of(policy, state), minlength=4) / harness.DRAWS
    error = np.sqrt(expected * (1 - expected) * (1 / harness.DRAWS + 1 / 20_000)) + 1e-5
    assert np.all(np.abs(seen - expected) < 4 * error), (seen, expected)
    assert all(np.abs((wrong - expected) / error).max() > 8 for wrong in (other, free))


def test_thompson_in_a_network():
    """Poisson demand with Gamma posteriors, three resources, one of them nearly gone."""
    policy = policies.ts_update()
    played = play(policy, "network")
    state = jax.tree.map(lambda x: jnp.asarray(x[40, 2]), played.states)
    books = dataclasses.replace(state.books, left=state.books.left * jnp.float32([1, 0.1, 1]))
    state = dataclasses.replace(state, books=books)
    size = 4000
    expected = frequencies(state, np.asarray(books.left, float) / (HORIZON - 40), size)
    wrong = frequencies(state, np.asarray(state.season.stock, float) / HORIZON, size)
    seen = np.bincount(harness.actions_of(policy, state), minlength=6) / harness.DRAWS
    error = np.sqrt(expected * (1 - expected) * (1 / harness.DRAWS + 1 / size)) + 1e-5
    assert np.all(np.abs(seen - expected) < 4 * error), (seen, expected)
    assert np.abs((wrong - expected) / error).max() > 8


@pytest.mark.parametrize("label", ["inventory", "network"])
def test_lp_resolving_step_for_step(label):
    """Exploration in turn; then the mix is optimal for the means and the stock left, and actions are drawn from it."""
    played = play(policies.lp_resolving(), label)
    programmes, actions = [], []
    for k in range(LANES):
        reference = Reference(label, exponent=0.5)
        for t, (_, sale) in enumerate(played.lane(k)):
            if t < reference.budget:
                assert sale.action == reference.earning[t % len(reference.earning)]
            else:
                programmes.append(reference.programme(reference.means, reference.rate))
                actions.append(sale.action)
            reference.tell(sale.action, sale.demand)
    programmes = [np.stack(x) for x in zip(*programmes, strict=True)]
    mixes = np.asarray(solve(*(jnp.float32(x) for x in programmes)), float)
    assert_optimal(mixes, *programmes)
    assert_drawn(np.array(actions), mixes, reference.idle)


def assert_drawn(actions, mixes, idle):
    """Actions are drawn from mixes: sums of martingale differences within 4 standard errors, no action of share zero.

    But for a programme in a thousand with two optima, between which rounding chooses.
    """
    mixes = mixes.copy()
    mixes[:, idle] += np.maximum(1 - mixes.sum(axis=1), 0)
    assert (mixes[np.arange(len(actions)), actions] > 0).mean() > 0.998
    for k in range(mixes.shape[1]):
        error = math.sqrt((mixes[:, k] * (1 - mixes[:, k])).sum()) + 1e-6
        assert abs((actions == k).sum() - mixes[:, k].sum()) < 4 * error, k
    assert (mixes.max(axis=1) < 0.9).mean() > 0.1  # there was something to draw


def test_blind_network_step_for_step(label="inventory"):
    """Exploration in turn; the mix of what it taught, for the stock that it left; each action in a block of its own."""
    played = play(policies.blind_network(), label)
    solved = []
    for k in range(LANES):
        reference = Reference(label, exponent=2 / 3)
        for t, (state, sale) in enumerate(played.lane(k)):
            if t < reference.budget:
                assert sale.action == reference.earning[t % len(reference.earning)]
            else:
                if t == reference.budget:
                    solved.append((state.mix, *reference.programme(reference.means, reference.rate)))
                gone = (t - reference.budget + 0.5) / (HORIZON - reference.budget)
                ends = np.append(np.cumsum(np.asarray(state.mix, float)), 1.0)
                block = int(np.searchsorted(ends, gone, side="right"))
                if np.abs(ends - gone).min() > 1e-5:
                    assert sale.action == (block if block < len(ends) - 1 else reference.idle)
                np.testing.assert_array_equal(state.mix, solved[-1][0])
            reference.tell(sale.action, sale.demand, learning=t < reference.budget)
            np.testing.assert_array_equal(state.budget, reference.budget)
        np.testing.assert_array_equal(state.books.sums, reference.sums)
    assert_optimal(*(np.stack(x) for x in zip(*solved, strict=True)))


@pytest.mark.parametrize("units", [50, 75])
def test_blind_pricing_step_for_step(units):
    played, both = play_with("blind_pricing", stock=units), set()
    for k in range(LANES):
        reference = Reference("inventory", exponent=0.75)
        reference.left = reference.stock = np.array([float(units)])
        for t, (_, sale) in enumerate(played.lane(k)):
            means, margins = reference.means[:, 0], reference.margins[:, 0]
            if t < reference.budget:
                expected = t % 4
            else:
                best, out = np.argmax(np.round(margins * means, 4)), np.argmin(np.round(np.abs(means - units / HORIZON), 5))
                expected = max(best, out)
                both.add("best" if best >= out else "run out")
            if reference.left[0] < 1:
                expected = 3
            elif t >= reference.budget and means[expected] == 0:
                expected = sale.action  # ties
            assert sale.action == expected, (k, t)
            reference.tell(sale.action, sale.demand, learning=t < reference.budget)
    assert "run out" in both and (units == 50 or "best" in both)


INTERVAL = ("FiniteInventory", (("demand", "exponential"), ("stock", 20), ("horizon", HORIZON), ("low", 1.0), ("high", 3.0)))


def test_blind_pricing_on_an_interval():
    """Only the evenly spaced prices are posted: in turn, then one until the stock is gone, then the highest."""
    played = play(policies.blind_pricing(exponent=0.5, num_prices=5), INTERVAL)
    grid = np.linspace(1.0, 3.0, 5)
    for k in range(LANES):
        prices, sold = played.sales.price[:, k], np.cumsum(played.sales.demand[:, k])
        np.testing.assert_allclose(prices[:11], grid[np.arange(11) % 5], rtol=1e-6)
        rest = prices[11:]
        means = [played.sales.demand[:11, k][np.arange(11) % 5 == i].mean() for i in range(5)]
        best, out = np.argmax(np.round(grid * means, 4)), np.argmin(np.abs(np.array(means) - 20 / HORIZON))
        selling = np.append(0, sold[10:-1])[1:] < 20
        np.testing.assert_allclose(rest[selling], grid[max(best, out)], rtol=1e-6)
        np.testing.assert_allclose(rest[~selling], 3.0, rtol=1e-6)


def bwk_reference(label, confidence):
    """PrimalDualBwK for one product with unit consumption."""
    reference = Reference(label)
    K, T, B = len(reference.margins), HORIZON, min(reference.stock[0], HORIZON)
    reference.constant = confidence * math.log(2 * T * K)
    reference.eps, reference.B = math.sqrt(math.log(2) / B), B
    reference.pulls, reference.rewards, reference.uses = np.zeros(K), np.zeros(K), np.zeros(K)
    reference.v = np.ones(2)
    return reference


def bwk_bounds(reference):
    """`(UCB of rewards, LCB of consumption of stock and of time)`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        r, c = reference.rewards / reference.pulls, reference.uses / reference.pulls
        high = np.clip(r + np.sqrt(reference.constant * r / reference.pulls) + reference.constant / reference.pulls, 0, 1)
        low = np.clip(c - np.sqrt(reference.constant * c / reference.pulls) - reference.constant / reference.pulls, 0, 1)
    return high, np.stack([np.nan_to_num(low), np.full(len(low), reference.B / HORIZON)], axis=1)


def test_primal_dual_bwk_step_for_step():
    """With a budget below the horizon, so that time is scaled."""
    played, led = play(DUAL, SMALL), 0
    for k in range(LANES):
        reference = bwk_reference(SMALL, 0.02)
        largest = reference.margins.max()
        for t, (state, sale) in enumerate(played.lane(k)):
            action = int(sale.action)
            np.testing.assert_allclose(
                np.exp(state.log_weights), reference.v / reference.v.max(), rtol=1e-4, err_msg=f"lane {k}, period {t}"
            )
            high, low = bwk_bounds(reference)
            if t < 4:
                assert action == t
            else:
                y = reference.v / reference.v.sum()
                index = (high / (low @ y))[:4]
                led += harness.assert_index(action, index / index.max())
                reference.v = reference.v * (1 + reference.eps) ** low[action]
            sold = float(sale.demand)
            reference.pulls[action] += 1
            reference.rewards[action] += reference.margins[action, 0] * sold / largest
            reference.uses[action] += sold
            reference.tell(action, sale.demand)
            if reference.left[0] < 1:
                break  # the game is over, and weights no longer matter
    assert led > 200


@pytest.mark.parametrize("label", [SMALL, "inventory"])
def test_primal_dual_bwk_never_sells_from_empty_stock(label):
    played = play(DUAL if label == SMALL else policies.primal_dual_bwk(), label)
    demand, action = played.sales.demand, played.sales.action
    stock_before = facts(label)[2][0] - np.vstack([np.zeros(LANES), np.cumsum(demand, axis=0)[:-1]])
    empty = stock_before < 1
    assert empty.any() and np.all(demand[empty] == 0)
    assert np.all(action[empty] == nothing(facts(label)[0]))
    assert np.all(np.cumsum(demand, axis=0) <= facts(label)[2][0])
    if label == SMALL:
        assert np.all(played.sales.price[empty] == 0) and not np.any(action[~empty] == 4)


def test_lp_ucb_step_for_step():
    """Bounds in float64; the mix is the optimum for them, and actions are drawn from it."""
    policy = policies.lp_ucb(confidence=0.05, shrink=0.1)
    played = play(policy, "inventory")
    constant, programmes, actions = 0.05 * math.log(2 * HORIZON * 4), [], []
    for k in range(LANES):
        reference = Reference("inventory")
        for _, sale in played.lane(k):
            n, m = np.maximum(reference.counts, 1e-6), reference.means
            width = np.sqrt(constant * m / n) + constant / n
            reward = (reference.margins * np.clip(m + width, 0, 1)).sum(axis=1)
            programmes.append((reward, np.clip(m - width, 0, 1), 0.9 * reference.stock / HORIZON))
            actions.append(sale.action)
            reference.tell(sale.action, sale.demand)
    programmes = [np.stack(x) for x in zip(*programmes, strict=True)]
    mixes = np.asarray(solve(*(jnp.float32(x) for x in programmes)), float)
    assert_optimal(mixes, *programmes)
    assert_drawn(np.array(actions), mixes, 3)
    np.testing.assert_allclose(played.states.capacity, 0.9 * 30 / HORIZON, rtol=1e-6)


EXTREMES = [{"stock": 0}, {"stock": 1}, {"max_steps_in_episode": 1}, {"demand": (0.0,) * 4}, {"demand": (1.0,) * 4}]


@pytest.mark.parametrize("name", NAMES)
def test_extremes(name):
    """No stock, one unit, a season long over, nobody or everybody buys: finite states, actions on the grid."""
    for numbers in EXTREMES:
        played = play_with(name, **numbers)
        for leaf in jax.tree.leaves((played.states, played.last)):
            assert np.all(np.isfinite(leaf)), numbers
        assert played.sales.action.min() >= 0 and played.sales.action.max() <= 3
        assert played.sales.demand.sum(axis=0).max() <= numbers.get("stock", 30)


def test_prices_below_cost_are_not_tried():
    """A price below the unit cost earns nothing, and the last action, at cost, is the offer of nothing."""
    problem = problem_of(SMALL, cost=jnp.float32(36.0), prices=jnp.float32([29.9, 34.9, 39.9, 44.9, 36.0]))
    season = stock.season(problem, "test")
    assert season.offers == 2 and season.idle == 4
    np.testing.assert_array_equal([season.explore(t) for t in range(4)], [2, 3, 2, 3])


BAD = {
    "ts_update": {"a": [0.5, math.nan], "b": [0.0]},
    "ts_fixed": {"a": [-1.0], "b": [0.9]},
    "lp_resolving": {"demand": [(-0.1, 0.2), math.nan], "exponent": [-0.1, 1.1]},
    "blind_network": {"exponent": [2.0]},
    "blind_pricing": {"exponent": [-1.0], "num_prices": [1, 2.5]},
    "run_out_price": {"demand": [(-1.0,) * 4], "exponent": [1.5]},
    "primal_dual_bwk": {"confidence": [0.0], "largest": [-1.0]},
    "lp_ucb": {"confidence": [-1.0], "shrink": [1.5, -0.1], "largest": [0.0]},
    "dp_pricing": {"demand": [(0.5, 1.5, 0.1, 0.1)], "capacity": [0, 3.5]},
}


@pytest.mark.parametrize("name", NAMES)
def test_bad_options_are_refused_by_name(name):
    for option, values in BAD[name].items():
        for value in values:
            with pytest.raises(ValueError, match=option):
                policies.make(name, **{option: value})


def test_markets_are_refused_by_the_name_of_the_policy():
    key, network = jax.random.key(0), problem_of("network")
    for name in NAMES:
        for problem in (problem_of("pricing"), problem_of("interval")):
            with pytest.raises(ValueError, match=name):
                policies.make(name).init(key, problem)
    for name in ("blind_pricing", "run_out_price", "dp_pricing"):
        with pytest.raises(ValueError, match=f"{name} needs one product"):
            policies.make(name).init(key, network)
    for name in ("primal_dual_bwk", "lp_ucb"):
        with pytest.raises(ValueError, match=f"{name} needs bounded demand"):
            policies.make(name).init(key, network)
        policies.make(name, largest=20.0).init(key, network)
    for name in ("lp_resolving", "run_out_price", "dp_pricing"):
        with pytest.raises(ValueError, match=f"{name} needs the demand of 4 actions"):
            policies.make(name, demand=(0.5, 0.4, 0.1)).init(key, problem_of("inventory"))
    with pytest.raises(ValueError, match="ts_update needs bernoulli or poisson"):
        policies.ts_update().init(key, problem_of("inventory", noise="gaussian"))
    with pytest.raises(ValueError, match="dp_pricing needs one bernoulli buyer"):
        policies.dp_pricing().init(key, problem_of("inventory", buyers=3))
