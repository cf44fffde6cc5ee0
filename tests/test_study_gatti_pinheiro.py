"""The study of Gatti Pinheiro et al. (2022): its sellers against SciPy, its exact values against simulation, its table."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from rows import some
from scipy import optimize, stats

from experiments.frame import study
from experiments.studies.gatti_pinheiro import markets, sellers
from experiments.studies.gatti_pinheiro import study as paper
from jaxprice.types import Transition


@functools.cache
def season():
    return markets.types("season")


compiled = functools.cache(jax.jit)


def told(policy, sales, key=0):
    """The state of a seller after sales `(fare index, units)`, one a day, on seats that never bind."""
    env = markets.MARKETS["season"].env
    params = env.default_params()
    state = policy.init(jax.random.key(key), env.problem(params))
    obs = jnp.array([0.0, 0, 0, 1, 1], jnp.float32)
    update = compiled(policy.update)
    for day, (action, sold) in enumerate(sales):
        sale = Transition(obs, jnp.int32(action), jnp.float32(0), jnp.float32(sold), jnp.float32(0), obs)
        state = update(jax.random.key(1000 * key + day), state, sale)
    return state


def test_types_have_the_laws_of_scipy():
    types = season()
    frat5 = 1 + math.log(2) / types.rates
    np.testing.assert_allclose(frat5, np.linspace(1.5, 4.3, 57), rtol=1e-5)
    mean = 4 * 0.5 ** ((types.prices / 50 - 1) / (frat5[:, None] - 1))
    np.testing.assert_allclose(types.means, mean, rtol=1e-5)
    units = np.arange(types.scores.shape[2])
    np.testing.assert_allclose(types.scores, stats.poisson(mean[..., None]).logpmf(units), rtol=1e-4, atol=1e-4)
    likely = stats.poisson(mean[..., None]).sf(units - 1)
    np.testing.assert_allclose(np.exp(types.sold_out), likely, rtol=1e-4, atol=1e-9)
    np.testing.assert_array_equal(types.gains[:, 0, -1].argmax(axis=1), (types.prices * mean).argmax(axis=1))


@pytest.mark.parametrize("window", [22, None])
def test_the_estimate_is_the_likeliest_rate_of_the_days_remembered(window):
    """Against SciPy's maximum of the Poisson likelihood, as in the authors' program."""
    rng, types = np.random.default_rng(5), season()
    sales = [(int(k), int(rng.poisson(4 * math.exp(-0.5 * 0.4 * k)))) for k in rng.integers(0, 10, 60)]
    state = told(sellers.forecast_and_optimise(types, window), sales)
    seen = np.array(sales if window is None else sales[-window:], float)
    shares = 0.4 * seen[:, 0]

    def minus(rate):
        return np.sum(seen[:, 1] * rate * shares + 4 * np.exp(-rate * shares))

    best = optimize.minimize_scalar(minus, bounds=(types.rates.min(), types.rates.max()), method="bounded").x
    frat5 = 1 + math.log(2) / best
    assert abs(1 + math.log(2) / types.rates[int(state.estimate)] - frat5) <= 0.026 + 1e-3


def test_a_window_at_the_lowest_fare_says_nothing():
    """Then estimates are random and uniform in the rate; with all days remembered the earlier ones still count."""
    types, days = season(), [(5, 2)] * 10 + [(0, 4)] * 22
    forgets, keeps = sellers.forecast_and_optimise(types), sellers.forecast_and_optimise(types, None)
    rates = [types.rates[int(told(forgets, days, key).estimate)] for key in range(40)]
    low, high = types.rates.min(), types.rates.max()
    assert stats.kstest(rates, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    assert len({int(told(keeps, days, key).estimate) for key in range(5)}) == 1


@pytest.mark.parametrize("eta", [30.0, 1000.0, 20_000.0])
def test_the_shares_of_the_heuristic_are_the_maximum(eta):
    """Against SLSQP, the authors' optimiser, from many starts."""
    types, rng = season(), np.random.default_rng(0)
    prices, x = types.prices.astype(float), types.prices.astype(float) / 50 - 1
    for estimate in (0, 10, 30, 56):
        offers = rng.integers(0, 4, 10).astype(float) * (rng.random() < 0.7)
        rate, sales = float(types.rates[estimate]), types.means[estimate].astype(float)

        def minus(s, offers=offers, rate=rate, sales=sales):
            return -s @ (prices * sales) + eta / (rate * math.sqrt(max(np.sum(x**2 * (offers + s) * sales), 1e-3)))

        ours = np.array(sellers.shares_of(types, estimate, jnp.asarray(offers, jnp.float32), eta), float)
        assert ours.min() >= 0 and ours.sum() == pytest.approx(1, abs=1e-5) and (ours > 1e-4).sum() <= 2
        rule = {"type": "eq", "fun": lambda s: s.sum() - 1}
        starts = rng.dirichlet(np.ones(10), 6)
        found = [optimize.minimize(minus, s, bounds=[(0, 1)] * 10, constraints=rule, method="SLSQP").fun for s in starts]
        assert minus(ours) <= min(found) + 1e-5 * abs(min(found))


def test_a_day_of_several_flights_is_one_day_of_memory():
    """22 flights a day teach as much as one fare a day with 22 times the customers, and the estimate is of whole days."""
    one, many = season(), markets.types("22 flights")
    rng = np.random.default_rng(2)
    days = rng.integers(1, 10, (5, 22))
    sold = rng.poisson(4 / 22 * np.exp(-0.6 * 0.4 * days))
    flights = [(int(k), int(s)) for k, s in zip(days.ravel(), sold.ravel(), strict=True)]
    policy = sellers.forecast_and_optimise(many, 22, flights=22)
    state, started = told(policy, flights), told(policy, flights[:21])
    assert int(started.estimate) == int(told(policy, []).estimate)
    shares = 0.4 * days.ravel()
    likelihood = [-np.sum(r * shares * sold.ravel() + 4 / 22 * np.exp(-r * shares)) for r in one.rates.astype(float)]
    assert abs(int(state.estimate) - int(np.argmax(likelihood))) <= 1
    np.testing.assert_allclose(state.offers[-6:-1].sum(axis=1), 1, rtol=1e-5)


def test_a_sold_out_day_counts_as_at_least_that_many():
    types = markets.types("20 seats")
    obs = jnp.array([0.0, 0, 0, 3 / 20, 1], jnp.float32)
    sale = Transition(obs, jnp.int32(1), jnp.float32(0), jnp.float32(3), jnp.float32(0), obs)
    np.testing.assert_allclose(sellers.evidence(types, sale), types.sold_out[:, 1, 3])
    sale = dataclasses.replace(sale, demand=jnp.float32(2))
    np.testing.assert_allclose(sellers.evidence(types, sale), types.scores[:, 1, 2])
    empty = dataclasses.replace(sale, observation=obs.at[3].set(0.0), demand=jnp.float32(0))
    assert not np.any(sellers.evidence(types, empty))


@pytest.mark.parametrize("name", some(list(paper.EXACT), "22 days"))
def test_sellers_earn_their_exact_values(name):
    """Simulated Thompson sampling and QMDP, whose grid of types differs a little from that of the exact values."""
    exact = paper.exact_cell(name, (14,))
    assert exact["oracle"][0] > exact["Bayes optimum"][0] > exact["QMDP"][0] > exact["Thompson"][0]
    for rule in paper.RULES:
        seller = sellers.posterior_seller(markets.types(name), greedy=rule == "QMDP")
        ours, error = paper.share(markets.play(name, seller, 1024, 3))
        assert abs(ours - 100 * exact[rule][0] / exact["oracle"][0]) < 4 * error + 0.1


def made_up():
    """Results of every cell of the smoke preset and of the season's agent."""
    frat5 = np.linspace(1.6, 4.2, 40)
    cell = {"frat5": frat5, "best": np.stack([100 * frat5, 80 * frat5]), "regret": np.stack([10 * frat5, 4 * frat5])}
    cell["regret"][0] += np.tile([1.0, -1.0], 20)
    exact = {"oracle": [50.0, 40.0], "Bayes optimum": [45.0, 38.0], "Thompson": [40.0, 35.0], "QMDP": [44.0, 37.0]}
    exact = {key: np.array(x) for key, x in exact.items()}
    names = [*paper.cells(paper.STUDY.presets["smoke"], 0), f"season, {paper.AGENT}"]
    results = {name: exact if name.startswith("exact") else cell for name in names}
    return results | {"eta": {"lost": np.arange(12.0).reshape(2, 6)[:, ::-1]}}


def test_rows():
    """Shares, bands and exact values of made-up results."""
    rows = {row.cell: row for row in paper.rows(paper.STUDY.presets["smoke"], made_up())}
    row, frat5 = rows["season, QMDP"], np.linspace(1.6, 4.2, 40)
    spread = np.std(np.tile([1.0, -1.0], 20), ddof=1) / math.sqrt(40) / (100 * frat5.mean())
    assert row.ours == pytest.approx(90) and row.se == pytest.approx(100 * spread, rel=1e-3)
    assert rows["season, QMDP, after 66 days"].ours == pytest.approx(95)
    assert rows["season, QMDP, frat5 1.5-2.2"].ours == pytest.approx(90, abs=0.2)
    assert rows["22 days, Bayes optimum, exact, 4 types"].ours == pytest.approx(95)
    assert rows["22 days, QMDP"].published == pytest.approx(92.5) and rows["22 days, QMDP"].kind == "own"
    assert rows["eta of the heuristic, 22 days"].ours == paper.ETAS[-1]
    assert all(study.columns(row) for row in rows.values())


def test_the_figure_has_every_seller():
    sizes, results = paper.STUDY.presets["smoke"], made_up()
    figure = Figure(figsize=(9, 5))
    paper.plot_figure(figure, sizes, results, paper.rows(sizes, results))
    left, _, right = figure.axes
    shown = [text.get_text() for text in left.get_legend().get_texts()]
    assert shown == [*paper.played("season")[1:], paper.AGENT]
    names = [name for market in ("seats", *paper.EXACT) for name in paper.played(market)[1:]]
    assert [text.get_text().partition(", ")[2] for text in right.get_yticklabels()] == [*names[:6], paper.AGENT, *names[6:]]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"window": 0}, "window"),
        ({"eta": -1.0}, "eta"),
        ({"flights": 0}, "flights"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        sellers.forecast_and_optimise(season(), **options)
