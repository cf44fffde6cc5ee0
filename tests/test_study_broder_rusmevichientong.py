"""The study of Broder and Rusmevichientong (2012): its settings, its table on invented results, and its exact cells."""

import numpy as np
import pytest
from scipy import integrate

import jaxprice
from experiments.studies import broder_rusmevichientong as paper
from jaxprice import policies, stats

SIZES = paper.Sizes(400, 50, 3, 100_000, 10_000)


def test_ensembles_and_the_random_fixed_price():
    """The density of ensemble 1 integrates to the u that it was drawn with; the random price loses 63.8 %."""
    u = np.array([0.0, 0.01, 0.2, 0.5, 0.77, 1.0])
    z = paper.inverse_law("ensemble 1", u)
    for probability, end in zip(u, z, strict=True):
        mass = integrate.quad(lambda x: 10 / 9 * np.cos(5 * np.pi / 9 * (x - 1.1)) ** 2, 0.2, end)[0]
        assert mass == pytest.approx(probability, abs=1e-5)
    assert 0.2 <= z[0] < 0.2001 and 1.9999 < z[-1] <= 2.0
    np.testing.assert_allclose(paper.inverse_law("ensemble 2", u), 0.2 + 1.8 * u)
    rng = np.random.default_rng(0)
    z1, price = paper.inverse_law("ensemble 1", rng.uniform(size=200_000)), rng.uniform(0.5, 8, 200_000)
    loss = 100 * (1 - price / (1 + np.exp(z1 * price)) / (0.2784645 / z1))  # z1 R* = W(1 / e)
    mean, spread = paper.fixed_price_loss("ensemble 1")
    assert mean == pytest.approx(63.8, abs=0.05)
    assert abs(mean - loss.mean()) < 4 * loss.std() / 447 and spread == pytest.approx(loss.std(), rel=0.01)


def test_settings_are_those_of_the_paper():
    """Exploration at 1/2 and 4.25, the box, and the best price of z = (1, -1)."""
    env, params = jaxprice.make("ParametricDemand", family="logit", parameters=paper.MARKET)
    problem = env.problem(params)
    np.testing.assert_allclose(problem.bounds, [[0.2, -1.0], [2.0, 1.0]])
    assert (problem.low, problem.high) == (0.5, 8.0)
    policy = policies.mle_cycle(first=0.0, second=0.5)
    played = jaxprice.simulate(env, policy, lanes=1, horizon=2, params=params, traces=True)
    np.testing.assert_allclose(played["trace_price"].values.ravel(), [0.5, 4.25])
    assert float(env.best(params)) == pytest.approx(1.5671433, rel=1e-6)


def test_rows():
    """A slope of one half, a straight line in log t, and a loss that is twice the published one."""
    times = np.array([10, 100, 1000, 10_000])
    noise = np.array([1.0, 1.1, 0.9])
    results = {f"MLE-CYCLE, batch {k}": {"time": times, "regret": x * times**0.5} for k, x in enumerate(noise)}
    results |= {f"MLE-GREEDY, batch {k}": {"time": times, "regret": x * np.log(times)} for k, x in enumerate(noise)}
    table = 0.01 * np.array([*paper.PUBLISHED.values()])
    results |= {"ensemble 1": {"loss": 2 * table, "se": table}, "ensemble 2": {"loss": table, "se": table}}
    rows = {row.cell: row for row in paper.rows(SIZES, results)}
    row = rows["MLE-GREEDY, ensemble 1, T=1000, loss %"]
    assert (row.ours, row.published) == (pytest.approx(2.4), 1.2)
    assert row.z == pytest.approx(1.2 / np.hypot(1.2, 1.2 * 2))  # 400 instances, theirs 100
    assert np.isnan(rows["MLE-GREEDY, ensemble 2, T=1000, loss %"].published)
    assert rows["MLE-CYCLE, slope of log regret, t >= 1000"].ours == pytest.approx(0.5)
    assert rows["MLE-CYCLE, regret / R* at 10000"].ours == pytest.approx(100)
    assert rows["MLE-GREEDY, growth in the last decade / in the one before"].ours == pytest.approx(1.0)
    assert sum(not np.isnan(row.published) for row in rows.values()) == 7


@pytest.mark.slow
def test_certain_cells():
    """Table 2 within four errors of both sides (theirs a mean of 100 instances), and the slope within .05.

    The slope is of 20,000 periods and not 100,000; over batches of 50 trials it varies by about .02.
    """
    cell = paper.ensemble_cell("ensemble 1", SIZES, 7)
    for k, published in enumerate(paper.PUBLISHED.values()):
        error = 100 * cell["se"][k] * np.sqrt(1 + SIZES.instances / paper.INSTANCES)
        assert abs(100 * cell["loss"][k] - published) < 4 * error + 0.005
    assert np.all(np.diff(cell["loss"]) < 0)
    batches = [paper.batch_cell("MLE-CYCLE", SIZES._replace(cycle_periods=20_000), 7, k) for k in range(2)]
    times, regret = batches[0]["time"], np.mean([batch["regret"] for batch in batches], axis=0)
    assert abs(stats.growth_exponent(times[times >= 1000], regret[times >= 1000]) - 0.49) < 0.05
