"""The study of contextual bandits: exact values, printed numbers, its rows, and its most certain cells."""

import importlib.util

import numpy as np
import pytest

from experiments.frame import study
from experiments.studies import contextual_benchmark as this
from jaxprice.envs import wheel_bandit
from jaxprice.types import Policy


@pytest.mark.parametrize("delta", this.DELTAS)
def test_what_a_random_arm_loses(delta):
    """Mean and spread over the regions and arms, one by one."""
    chances, losses = [], []
    for region, share in (("rim", 1 - delta**2), ("inside", delta**2)):
        rewards = [1.2, 50, 1, 1, 1] if region == "rim" else [1.2, 1, 1, 1, 1]
        chances += [share / 5] * 5
        losses += [max(rewards) - reward for reward in rewards]
    mean = np.dot(chances, losses)
    assert wheel_bandit.uniform_regret(delta) == pytest.approx(mean)
    spread = np.sqrt(np.dot(chances, (np.array(losses) - mean) ** 2)) / mean
    assert this.uniform_spread(delta) == pytest.approx(spread)


def held(sizes, results):
    return {row.cell: row for row in this.rows(sizes, results)}


def test_printed_standard_errors_of_the_random_arm():
    """They are those of our wheel: all within 2 of their own standard errors, and not all on one side of any other wheel."""
    rows = held(this.STUDY.presets["smoke"], {})
    assert len(rows) == 5 and all(abs(row.z) < 2 for row in rows.values())
    assert rows["wheel 0.5, standard error of Uniform, 50 wheels of 2000"].ours == pytest.approx(0.2573, abs=1e-4)
    thinner = [100 * this.uniform_spread(delta, high=20.0) / np.sqrt(100_000) for delta in this.DELTAS]
    assert max(abs(x - row.ours) / row.ours for x, row in zip(thinner, rows.values(), strict=True)) > 0.02


def made_up(sizes):
    mean = np.array([wheel_bandit.uniform_regret(delta) for delta in this.DELTAS])
    short = {"regret": mean[:, None] * sizes.periods * np.array([0.4, 0.6])}
    results = {f"wheel: {name}": short for name in sizes.methods}
    for data in sizes.data:
        results |= {
            f"{data}: {name}": {"regret": np.array([100.0, 300.0]), "uniform": 1000.0} for name in this.on_tables(sizes)
        }
    return results


def test_rows(tmp_path):
    sizes = this.STUDY.presets["default"]
    results = made_up(sizes)
    rows = held(sizes, results)
    assert len(rows) == 5 + 5 * 10 + 2 * 9
    assert rows["wheel 0.9, 2,000 periods: LinUCB"][1:3] == (pytest.approx(50), pytest.approx(10))
    assert np.isnan(rows["wheel 0.9, 2,000 periods: NeuralLinear"].published)
    uniform = rows["wheel 0.9, standard error of Uniform, 50 wheels of 2000"]
    assert uniform.kind == "printed" and uniform.published_se == pytest.approx(0.79 / (2 * 49) ** 0.5)
    assert all(map(study.columns, rows.values()))
    assert rows["digits, 2,000 periods: NeuralTS"][1:3] == (pytest.approx(20), pytest.approx(10))
    study.plot_figure(this.STUDY, sizes, results, list(rows.values()), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_printed_numbers_stand_beside_the_same_horizon():
    sizes = this.STUDY.presets["full"]
    rows = held(sizes, made_up(sizes))
    printed = rows["wheel 0.9, 80,000 periods: NeuralLinear"]
    assert (printed.published, printed.published_se) == (4.65, 0.18)
    assert printed.z == pytest.approx((50 - 4.65) / np.hypot(10, 0.18))
    assert np.isnan(rows["wheel 0.9, 80,000 periods: LinFullPost"].published)


def test_policies_are_those_of_the_table():
    for name in this.LINEAR + this.NEURAL:
        assert isinstance(this.policy(name, 50.0), Policy)


def test_tables_without_scikit_learn_are_refused(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "jaxprice\[benchmarks\]"'):
        this.cells(this.STUDY.presets["default"], 0)
    assert set(this.cells(this.STUDY.presets["smoke"], 0)) == {"wheel: uniform", "wheel: LinFullPost"}


@pytest.mark.slow
def test_random_arms_and_linear_models_on_the_wheel():
    """Random arms lose what is known exactly, within 4 standard errors of 100 wheels of 500 periods. A linear model finds
    the quadrants of a wide rim: less than a third of that at delta = .5, and more at .99, where it is thin."""
    lost = {name: this.wheels(name, 100, 500, 0)["regret"] for name in ("uniform", "LinFullPost")}
    for k, delta in enumerate(this.DELTAS):
        mean, se = this.relative(lost["uniform"][k], 500 * wheel_bandit.uniform_regret(delta))
        assert abs(mean - 100) < 4 * se
    wide, thin = (
        this.relative(lost["LinFullPost"][k], 500 * wheel_bandit.uniform_regret(this.DELTAS[k]))[0] for k in (0, 4)
    )
    assert wide < 100 / 3 < thin
