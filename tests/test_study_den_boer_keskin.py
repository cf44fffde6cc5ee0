"""The study of testing and slow-moving prices under reference effects."""

import math

import numpy as np
import pytest

from experiments.studies import den_boer_keskin as paper
from jaxprice import stats


def test_the_market_and_the_tests_are_those_of_the_paper():
    _, params = paper.market("loss-averse")
    numbers = [params.intercept, params.slope, params.gain, params.loss, params.memory, params.noise_scale]
    np.testing.assert_allclose(numbers, [1.1, 0.5, 0.1, 0.3, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose([params.low, params.high], [0.5, 1.5])
    np.testing.assert_allclose(paper.tests(), [0.8333, 1.1667], atol=5e-5)
    assert paper.best_price() == pytest.approx(1.1) and paper.earned(1.1) == pytest.approx(0.605)
    assert float(params.value) == pytest.approx(0.605, abs=1e-5)  # loss-averse buyers allow no more than a price that stays
    assert float(paper.market("gain-seeking")[1].value) > 0.61  # cycles earn more


def deterministic_testing(gain, loss, horizon):
    """Prices of ILS-dt without noise, written out."""
    reference, n, sums, prices = 1.0, 0, np.zeros(4), []
    for t in range(1, horizon + 1):
        since = t - math.isqrt(t) ** 2
        if since < 2:
            price = paper.tests()[since]
        else:
            p, d, pp, pd = sums / n
            slope = (pd - p * d) / (pp - p * p)
            price = min(max((slope * p - d) / (2 * slope), 0.5), 1.5)
        demand = 1.1 - 0.5 * price + gain * max(reference - price, 0) - loss * max(price - reference, 0)
        sums += price, demand, price * price, price * demand
        reference, n = 0.1 * reference + 0.9 * price, n + 1
        prices.append(price)
    return prices


@pytest.mark.parametrize("gain, loss", [(0.1, 0.3), (0.0, 0.3), (0.2, 0.2)])
def test_the_limit_of_deterministic_testing(gain, loss):
    """The fixed point is where a run without noise goes: closer with time, and .002 away after 60,000 periods."""
    limit, prices = paper.limit_price(gain, loss), deterministic_testing(gain, loss, 60_000)
    gaps = [abs(prices[t - 1] - limit) for t in (600, 6_000, 59_990)]
    assert gaps[2] < gaps[0] and gaps[2] < 0.002


def test_the_limit_without_reference_effects_is_the_best_price():
    assert paper.limit_price(0.0, 0.0) == pytest.approx(1.1, abs=1e-9)


def made_up(sizes):
    when, batches = paper.times(sizes.doublings), sizes.batches
    found = {}
    for (policy, name), (rate, _) in paper.PLAYED.items():
        curve = 2.0 * when ** (1.0 if rate == "T" else 0.5)
        scales = np.linspace(0.9, 1.1, batches)[:, None]
        found[f"{policy}, {name}"] = {"regret": scales * curve, "last": np.full(batches * sizes.lanes, curve[-1])}
    for name in ("ILS-dt", "slow-moving", "ILS-dt, no noise"):
        found[f"prices of {name}"] = {"price": np.full((when.size, sizes.lanes), 0.9)}
    return found | {f"oracle, {name}": {"value": 0.605} for name in paper.MARKETS}


def test_rows_tell_the_exponents_of_what_was_played():
    sizes = paper.Sizes(12, 4, 3)
    rows = {row.cell: row for row in paper.rows(sizes, made_up(sizes))}
    assert rows["ILS-dt, loss-averse: exponent, 6 doublings"].ours == pytest.approx(1.0)
    assert rows["slow-moving, loss-averse: exponent, 2 doublings"].ours == pytest.approx(0.5)
    assert rows["slow-moving, loss-averse: regret"].ours == pytest.approx(2 * math.sqrt(2**12 - 2))
    assert rows["ILS-dt, loss-averse: last prices"].ours == pytest.approx(0.9)
    assert all(math.isnan(row.published) for row in rows.values())  # figures only


@pytest.mark.slow
def test_testing_has_linear_regret_with_reference_effects_and_not_without():
    """T = 2^13, 96 lanes: the published rates are 1 and 1/2 up to a logarithm, exponents over three doublings have
    standard errors of about .02. The tolerances, above .85 and in (.4, .65), are for a finite horizon."""
    sizes = paper.Sizes(13, 24, 4)
    runs = [paper.play(sizes, 0, "ILS-dt", name) for name in ("loss-averse", "no reference effect")]
    linear, root = (stats.growth_exponent(paper.times(13)[-4:], run["regret"].mean(axis=0)[-4:]) for run in runs)
    assert linear > 0.85 and 0.4 < root < 0.65
