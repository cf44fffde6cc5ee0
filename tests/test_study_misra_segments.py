"""The study of Misra, Schwartz and Abernethy (2019): exact values, settings, rows, and the published cells."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.frame import study
from experiments.studies import misra_segments

EXACT = {  # best price, best revenue, share of it of a price uniform on [0, 1] (ours: on the grid); quadrature
    "beta(2,9)": (0.16, 0.08396, 0.290),
    "beta(2,2)": (0.42, 0.25930, 0.585),
    "beta(9,2)": (0.67, 0.58566, 0.583),
    "beta(.2,.3)": (0.73, 0.22358, 0.707),
    "two points": (0.80, 0.24000, 0.572),
}


@pytest.mark.parametrize("law", EXACT)
def test_infinitely_many_segments(law):
    price, revenue, random = misra_segments.infinite(law)
    assert price == pytest.approx(EXACT[law][0])
    assert revenue == pytest.approx(EXACT[law][1], abs=5.1e-6) and random == pytest.approx(EXACT[law][2], abs=1e-3)


def test_demand_is_that_of_consumers_drawn_one_by_one():
    rng = np.random.default_rng(1)
    drawn = stats.beta(0.2, 0.3).rvs(400_000, random_state=rng) + rng.uniform(-0.1, 0.1, 400_000)
    for p in (0.05, 0.5, 0.98):
        ours = (misra_segments.capped("beta(.2,.3)", p + 0.1) - misra_segments.capped("beta(.2,.3)", p - 0.1)) / 0.2
        assert abs(ours - (drawn >= p).mean()) < 4 * math.sqrt(ours * (1 - ours) / drawn.size)


def test_settings_are_the_papers():
    full = misra_segments.STUDY.presets["full"]
    assert full == (1000, 20_000, 1000, 100, 10, ())
    assert misra_segments.STUDY.presets["default"][1:] == full[1:]  # fewer simulations, nothing else
    assert list(misra_segments.SHARES.values()) == [0.001, 0.01, 0.05, 0.1, 0.25] and len(misra_segments.LAWS) == 5


def test_markets_of_all_laws():
    sizes = misra_segments.Sizes(draws=3, segments=400, prices=20)
    drawn = [misra_segments.markets(sizes, 0, law) for law in misra_segments.LAWS]
    assert len({env for env, _ in drawn}) == 1 and drawn[0][0].buyers == 10  # one environment, compiled once
    for _, params in drawn:
        assert params.midpoints.shape == (3, 400) and params.max_steps_in_episode.shape == (3,)
        np.testing.assert_allclose(params.shares.sum(axis=1), 1, rtol=1e-5)
    assert set(np.unique(drawn[4][1].midpoints)) == {np.float32(0.2), np.float32(0.9)}
    means = [params.midpoints.mean() for _, params in drawn[:4]]
    np.testing.assert_allclose(means, [2 / 11, 1 / 2, 9 / 11, 0.4], atol=0.04)


def test_rows():
    sizes, rng = misra_segments.Sizes(draws=50), np.random.default_rng(0)
    results = {name: {"percent": rng.uniform(40, 90, 50)} for name in misra_segments.cells(sizes, 0)}
    table = {row.cell: row for row in misra_segments.rows(sizes, results)}
    percent = misra_segments.percents(results)
    assert np.array_equal(percent["UCB1"][2], results["UCB1, beta(9,2)"]["percent"])
    mean, least, most = (table[f"UCB1, {label}"] for label in ("mean", "smallest", "largest"))
    assert (mean.published, least.published, most.published) == (67, 34, 83)
    assert mean.ours == pytest.approx(percent["UCB1"].mean())
    assert least.ours == percent["UCB1"].min() and most.ours == percent["UCB1"].max()
    assert mean.se == pytest.approx(math.sqrt((percent["UCB1"].var(axis=1, ddof=1) / 50).sum()) / 5)
    assert 0 < least.se < 2 and 0 < most.se < 2
    assert sum(not math.isnan(row.published) for row in table.values()) == 7
    assert all(study.columns(row) for row in table.values()) and mean.kind == "printed"
    assert table["UCB-PI-tuned, mean"].published == 96 and table["UCB-PI-tuned, smallest"].published == 91
    fitted = table[f"{misra_segments.FITTED}, mean"]
    assert fitted.ours == pytest.approx(percent[misra_segments.FITTED].mean()) and math.isnan(fitted.published)
    assert "not compared" in fitted.note
    assert table["LTE 5 %, mean"].published == 95 and math.isnan(table["LTE 5 %, smallest"].published)
    gaps = percent["UCB-PI-tuned"] - percent["UCB-PI"]
    paired = table["UCB-PI-tuned less UCB-PI, paired"]
    assert paired.ours == pytest.approx(gaps.mean())
    assert paired.se == pytest.approx(math.sqrt((gaps.var(axis=1, ddof=1) / 50).sum()) / 5)
    assert table["Thompson, two points"].ours == pytest.approx(percent["Thompson"][4].mean())


@pytest.mark.slow
def test_published_means():
    """Three standard errors, beside 1.5, 1 and 2 points for the paper's rounding and for readings of what it leaves open."""
    sizes = misra_segments.Sizes(draws=6)
    for name, tolerance in {"UCB1": 1.5, "LTE 5 %": 1.0, "UCB-PI-tuned": 2.0}.items():
        mean, error = misra_segments.over_all(
            np.stack([misra_segments.play(sizes, 1, name, law)["percent"] for law in misra_segments.LAWS])
        )
        assert abs(mean - misra_segments.PUBLISHED[name][0]) < tolerance + 3 * error, (name, mean, error)
