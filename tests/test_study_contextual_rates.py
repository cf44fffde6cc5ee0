"""The study of the growth of regret with time and features."""

import math

import numpy as np
import pytest

from experiments.studies.contextual_rates import markets
from experiments.studies.contextual_rates import study as paper

SIZES = paper.Sizes(("S1", "S2"), (1, 4), (1000, 4000), 4, paper.SELLERS, (4, 6, 8), (2, 8), 2)


def test_markets_are_those_of_the_papers():
    low, high = paper.best_prices("S1")
    assert low == pytest.approx(1.3404, abs=1e-4) and high == pytest.approx(1.8103, abs=1e-4)
    assert paper.best_prices("S2")[0] == pytest.approx(1.5671433, abs=1e-5)  # 1 + W(1)
    env, params, _ = paper.valuations("EMLP", "adversary")
    assert env.law == "gaussian" and params.scale == 0.25 and not env.intercept
    np.testing.assert_array_equal(params.contexts, [[1, 0], [0, 1]])
    env, params, _ = paper.elastic("PwP", "adversary", 64)
    assert params.scale == 0.5 and not env.scale_known
    assert paper.valuations("ONSP", "i.i.d.", 8)[0].dimension == 8


def test_the_adversary_of_rmlp2_knows_its_trials():
    starts, t = [], 0
    for episode in range(1, 12):
        starts.append(t)
        t += episode
    np.testing.assert_array_equal(markets.trials(t), starts)
    contexts = paper.elastic("RMLP-2", "adversary", 64)[1].contexts
    np.testing.assert_array_equal(np.flatnonzero(contexts[:, 0]), markets.trials(64))
    np.testing.assert_array_equal(contexts.sum(axis=1), 1.0)


def test_the_regression_finds_both_exponents():
    d, T = np.array([1, 4, 9]), np.array([1e4, 4e4, 9e4])
    regret = 3 * d[:, None] ** 0.4 * T**0.6 * np.sqrt(np.log(T))
    np.testing.assert_allclose(paper.regression(d, T, regret), [0.4, 0.6], rtol=1e-6)


def test_steps_tell_a_logarithm_from_a_root():
    T = 2.0 ** np.array([8, 10, 12, 14])
    assert paper.steps(np.log(T)) == pytest.approx(1)
    assert paper.steps(np.sqrt(T)) == pytest.approx(2)
    assert paper.steps(T) == pytest.approx(4)


def made_up(sizes):
    lanes = np.linspace(0.9, 1.1, sizes.lanes)
    found = {}
    for d in sizes.features:
        curve = np.sqrt(d * np.array(sizes.horizons) * np.log(sizes.horizons))
        found |= {f"ETC, {instance}, d = {d}": {"regret": curve[:, None] * lanes} for instance in ("S1", "S2")}
    for policy, contexts, source, rate, when in paper.others(sizes):
        curve = np.log(when) if rate == "log T" else np.array(when, float)
        found[paper.label(policy, contexts, source)] = {"regret": curve[:, None] * lanes}
    for policy in paper.WIDE:
        found[paper.label(policy, "i.i.d.", paper.XU21, 8)] = {"regret": 4 * math.log(64) * lanes[None]}
    return found


def test_rows_tell_the_exponents_of_what_was_played():
    rows = {row.cell: row for row in paper.rows(SIZES, made_up(SIZES))}
    assert rows["ETC, S1: exponent of d"].ours == pytest.approx(0.5)
    assert rows["ETC, S2: exponent of T"].ours == pytest.approx(0.5)
    assert rows["ONSP, i.i.d.: steps"].ours == pytest.approx(1)
    assert rows["RMLP-2, adversary: exponent of T"].ours == pytest.approx(1)
    assert rows["EMLP, i.i.d.: exponent of d"].ours == pytest.approx(1)
    assert rows["EMLP, i.i.d.: regret at T = 256"].ours == pytest.approx(math.log(256))
    assert all(math.isnan(row.published) for row in rows.values())  # figures only


@pytest.mark.slow
def test_the_most_certain_rates():
    """T up to 2^12, 96 lanes. Against the adversary EMLP is almost linear and ONSP is not: steps are 4 for T, 2 for sqrt(T),
    1 for log T, and their standard errors about .2. ETC spends ceil(sqrt(d T log T)) periods on random prices, so that its
    exponents are near 1/2 with standard errors of .017 in d and .013 in T; the tolerance .15 leaves room for short horizons,
    at which they are .59 and .45."""
    sizes = paper.Sizes(("S1",), (1, 4, 9), (1000, 4000, 16_000), 96, ("EMLP", "ONSP"), (6, 8, 10, 12), (2,), 4)
    ends = {}
    for policy in ("EMLP", "ONSP"):
        made = lambda policy=policy: paper.valuations(policy, "adversary")  # noqa: E731
        ends[policy] = paper.play(sizes, 0, [2**k - 1 for k in sizes.doublings], made)["regret"].mean(axis=1)
    assert paper.steps(ends["EMLP"]) > 3 and paper.steps(ends["ONSP"]) < 2
    assert ends["EMLP"][-1] > 3 * ends["ONSP"][-1]
    found = [paper.play(sizes, 0, sizes.horizons, lambda d=d: paper.zhao("S1", d))["regret"] for d in sizes.features]
    np.testing.assert_allclose(paper.regression(sizes.features, sizes.horizons, np.mean(found, axis=2)), 0.5, atol=0.15)
