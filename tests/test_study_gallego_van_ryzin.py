"""The study of Gallego and van Ryzin (1994): exact values against brute force, its table, and simulated seasons."""

import math

import numpy as np
import pytest
from scipy import stats as laws

from experiments.frame import study
from experiments.studies import gallego_van_ryzin as paper

SIZES = paper.Sizes(4000, 1000, (10, 40), 2, 100, ("optimal on the grid", "TS-update"))


def test_published_ratios_are_the_closed_forms():
    """n = m = 10 from the sum and from the Poisson law, to the digits of the table."""
    values = [math.log(sum(10.0**i / math.factorial(i) for i in range(n + 1))) for n in (9, 10)]
    sold = laws.poisson(10 * np.exp(1 - np.linspace(1, 1.6, 1201))[:, None]).sf(np.arange(10)).sum(axis=1)
    single = np.linspace(1, 1.6, 1201) * sold
    known = [values[1], 1 + values[1] - values[0], values[1] / 10, single[0] / values[1], single.max() / values[1]]
    for name, value in zip(("J*", "p*", "J* / J^D", "J^FP / J*", "best fixed price / J*"), known, strict=True):
        assert paper.PUBLISHED[name] == round(value, 4 if "/" in name else 5), name


def test_exact_seasons():
    """V of three customers and two units, and of one price, by enumeration."""

    def value(stock, periods):
        if stock == 0 or periods == 0:
            return 0.0
        kept, sold = value(stock, periods - 1), value(stock - 1, periods - 1)
        prices = np.linspace(0.5, 3, 25_001)
        return max(np.exp(-prices) * (prices + sold) + (1 - np.exp(-prices)) * kept)

    assert paper.optimum(2, paper.worths(2, 3), 3) == pytest.approx(value(2, 3), rel=1e-8)
    q, total = math.exp(-1.3), 0.0
    for bought in np.ndindex(2, 2, 2):
        total += 1.3 * min(sum(bought), 2) * q ** sum(bought) * (1 - q) ** (3 - sum(bought))
    assert paper.one_price(2, 3, 1.3) == pytest.approx(total, rel=1e-12)
    assert paper.season_of(10) == 54


def test_rows():
    """Ratios, errors and slopes of made-up results."""
    n = np.array(paper.STOCKS, float)
    exact = {"value": n, "price": 1 + 1 / n, "fluid": 2 * n, "fixed": n * (1 - 0.4 / np.sqrt(n)), "best": 0.9 * n}
    at = paper.STOCKS.index(10)
    exact["cut"] = 10 * (1 + 1 / np.array(paper.CUTS))
    simulated = {"reward": [9.0, 8.0, 8.5], "reward_se": [0.1] * 3, "share": [1.0, 0.8, 0.9], "share_se": [0.01] * 3}
    results = {"exact": exact, "simulated": {key: np.array(x) for key, x in simulated.items()} | {"cut": 10.5}}
    results["optimal on the grid"] = {"share": np.full((2, 2), 0.99)}
    results["TS-update"] = {"share": 1 - np.array([[0.5], [0.7]]) * np.array([10.0, 40.0]) ** -0.5}
    rows = {row.cell: row for row in paper.rows(SIZES, results)}
    assert rows["J* / J^D, n = m = 10, exact"].ours == exact["value"][at] / exact["fluid"][at] == 0.5
    assert rows["slope of log(1 - J^FP / J*), n = m >= 100"].ours == pytest.approx(-0.5)
    assert rows["V(dt) / J* - 1, %, 100 periods, exact"].ours == pytest.approx(1)
    assert rows["order of V(dt) - J* in dt"].ours == pytest.approx(1)
    row = rows["J^FP / J*, simulated"]
    assert (row.ours, row.se) == (pytest.approx(0.84), pytest.approx(0.0105)) and "+0.05" in row.note
    assert rows["TS-update, slope of log(1 - share) over log n"].ours == pytest.approx(-0.5)
    assert 0.95 < rows["fluid price kept, n=10, share of V, exact"].ours < 0.97
    assert rows["J^FP / J*, n = m = 100, exact"].source == "guarantee: at least 0.9500"
    known = [row for row in rows.values() if not np.isnan(row.published)]
    assert len(known) == 8 and {row.kind for row in known} == {"derived"} and all(map(study.columns, rows.values()))


@pytest.mark.slow
def test_certain_cells():
    """Revenue within four standard errors of the exact values of the same cut, which is within .5 % of J*."""
    out = paper.simulated_cell(SIZES, 3)
    assert out["cut"] == pytest.approx(paper.PUBLISHED["J*"], rel=5e-3)
    assert abs(out["reward"][0] - out["cut"]) < 4 * out["reward_se"][0]
    q = 10 * math.e / SIZES.periods * math.exp(-1)
    fixed = laws.binom(SIZES.periods, q).sf(np.arange(10)).sum()
    assert abs(out["reward"][1] - fixed) < 4 * out["reward_se"][1]
    assert abs(out["share"][1] - fixed / out["cut"]) < 4 * out["share_se"][1]
    learned = paper.season_cell("TS-update", SIZES, 3)["share"].mean(axis=0)
    known = paper.season_cell("optimal on the grid", SIZES, 3)["share"].mean(axis=0)
    assert np.all(known > 0.98) and np.all(learned < known) and learned[1] > learned[0] > 0.5
