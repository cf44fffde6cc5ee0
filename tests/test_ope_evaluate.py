"""The table of estimators against single calls, its invariance to chunks, and learning from logs with a planted optimum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from strict import strict

from experiments import ope_throughput
from experiments.references import off_policy
from jaxprice import ope

actions = 3
slope, level = np.array([1.0, 0.0, -1.0]), np.array([0.5, 0.9, 0.5])


def planted(logs=40, decisions=100, seed=0, noise=0.3):
    """Action 0 is best at high contexts, 2 at low ones, 1 in between."""
    rng = np.random.default_rng(seed)
    shape = (logs, decisions)
    context = rng.normal(size=shape)
    chance = rng.dirichlet(np.ones(actions), size=shape) * 0.4 + 0.2
    action = (rng.uniform(size=(*shape, 1)) > np.cumsum(chance, -1)[..., :-1]).sum(-1)
    reward = slope[action] * context + level[action] + noise * rng.normal(size=shape)
    return ope.DecisionLog.of(
        action=action, reward=reward, probabilities=chance, prices=[1.0, 2.0, 3.0], observation=context
    )


def rule(x):
    return jax.nn.softmax(2 * x * jnp.asarray(slope, x.dtype))


linear = functools.partial(ope.reward_model, features=lambda x: x[None])


def test_the_table_is_what_single_calls_say():
    log = planted()
    found = ope.evaluate(log, rule, model=linear)
    target, model = ope.target(log, rule), linear(log)
    expected = {
        "ips": ope.ips(log, target),
        "clipped_ips": ope.clipped_ips(log, target),
        "snips": ope.snips(log, target),
        "direct_method": ope.direct_method(log, target, lambda w: linear(log, folds=1, weights=w)),
        "doubly_robust": ope.doubly_robust(log, target, model),
        "self_normalised_dr": ope.self_normalised_dr(log, target, model),
        "switch_dr": ope.switch_dr(log, target, model),
        "shrunk_dr": ope.shrunk_dr(log, target, model),
    }
    assert list(found.estimator.values) == list(expected) and found.value.dims == ("estimator", "log")
    for name, estimate in expected.items():
        mine = found.sel(estimator=name)
        np.testing.assert_allclose(mine.value, estimate.value, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mine.se, estimate.se, rtol=1e-3)
        np.testing.assert_allclose([mine.low, mine.high], ope.clt(estimate), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.effective_sample_size, ope.diagnostics(log, target).effective_sample_size, rtol=1e-5)


@pytest.mark.parametrize("interval", ["clt", "bootstrap"])
def test_chunks_and_iterables_change_nothing(interval):
    log = planted(logs=150, decisions=40)
    options = {"estimators": ["ips", "doubly_robust"], "interval": interval, "replicates": 50}
    whole = ope.evaluate(log, rule, chunk=1000, **options)
    for other in (
        ope.evaluate(log, rule, chunk=1, **options),  # 64, 64 and 22 logs, as 64 share the samples of the bootstrap
        ope.evaluate((log[rows] for rows in (slice(0, 64), slice(64, 150))), rule, **options),
        ope.evaluate(log, ope.target(log, rule), model=ope.reward_model(log), chunk=100, **options),
    ):
        for name in ("value", "low", "high", "max_weight"):
            np.testing.assert_allclose(other[name], whole[name], rtol=1e-4, atol=1e-5)


def test_axes_of_logs_and_vector_targets():
    log = planted(logs=6, decisions=30)
    split = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]) if x.shape[:1] == (6,) else x, log)
    vector = np.array([0.2, 0.5, 0.3])
    flat, split, single = (ope.evaluate(part, vector, ["snips"]) for part in (log, split, log[4]))
    assert split.value.dims == ("estimator", "log_0", "log_1") and single.value.dims == ("estimator",)
    np.testing.assert_allclose(split.value.values.reshape(1, 6), flat.value, rtol=1e-6)
    np.testing.assert_allclose(single.value, flat.value[:, 4], rtol=1e-6)
    assert "replay" in ope.evaluate(log, 1).estimator and "replay" not in ope.evaluate(log, vector).estimator


def test_own_estimators_and_bernstein():
    log = planted(logs=3, noise=0.0)
    own = {"half": lambda log, target, model: ope.switch_dr(log, target, model, 0.5)}
    found = ope.evaluate(log, rule, own, model=jnp.zeros((*log.shape, actions)))
    target = ope.target(log, rule)
    np.testing.assert_allclose(found.value[0], ope.switch_dr(log, target, jnp.zeros((*log.shape, 3)), 0.5).value, rtol=1e-5)
    found = ope.evaluate(log, rule, interval="bernstein", reward_range=(-4.0, 5.0))
    largest = np.max(np.asarray(target / log.probabilities), axis=(1, 2))
    low, high = ope.empirical_bernstein(ope.ips(log, target), jnp.asarray(-4 * largest), jnp.asarray(5 * largest))
    np.testing.assert_allclose(found.sel(estimator="ips").low, low, rtol=1e-5)
    np.testing.assert_allclose(found.sel(estimator="ips").high, high, rtol=1e-5)
    assert np.isnan(found.sel(estimator="snips").low).all()


def test_horizons():
    log = planted(logs=6 * 20, decisions=4)
    log = jax.tree.map(lambda x: x.reshape(6, 20, *x.shape[1:]) if x.shape[:1] == (120,) else x, log)
    found = ope.evaluate(log, rule, horizons=True)
    expected = ope.per_decision(log, ope.target(log, rule))
    np.testing.assert_allclose(found.sel(estimator="per_decision").value, expected.value, rtol=1e-4)
    assert found.value.shape == (2, 6) and found.missing.shape == (6,)


def test_the_best_candidate_has_the_largest_lower_bound():
    log = planted(logs=30, decisions=400)
    rules = {"zero": 0, "one": 1, "two": 2, "best": rule}
    found = ope.best_policy(log, rules, model=linear)
    assert found.names == tuple(rules) and found.value.shape == (4, 30)
    assert np.mean(np.asarray(found.index) == 3) > 0.9
    single = ope.best_policy(log[0], rules, model=linear)
    assert single.best == "best"
    estimate = ope.doubly_robust(log, ope.target(log, rule), linear(log))
    np.testing.assert_allclose(found.low[3], ope.clt(estimate, 1 - 0.05 / 4)[0], rtol=1e-5)


def test_a_learned_policy_finds_the_planted_optimum_and_its_interval_holds():
    log = planted(logs=16, decisions=1500)
    learned = ope.learn_policy(log, lambda x: x[None], model=linear)
    draws = np.random.default_rng(1).normal(size=100_000)
    best = np.max(slope * draws[:, None] + level, axis=1).mean()
    chance = np.asarray(jax.nn.softmax(learned.theta[:, None, 0] + draws[:2000, None] * learned.theta[:, None, 1]))
    truth = np.sum(chance * (slope * draws[:2000, None] + level), axis=-1).mean(1)
    assert np.all(truth > best - 0.1) and best > 1.0 > level.max()
    covered = (np.asarray(learned.low) <= truth + 0.03) & (truth - 0.03 <= np.asarray(learned.high))
    assert covered.sum() >= 13
    assert np.all(learned.gain_low > 0.2)
    again = learned(jnp.array(0.5))
    assert again.shape == (16, actions)
    np.testing.assert_allclose(again.sum(-1), 1.0, rtol=1e-5)


def test_strict_settings():
    """64 bits, no silent broadcasting of ranks, no key used twice."""
    with strict():
        log = planted(logs=3, decisions=40)
        log = log.replace(demand=(log.reward > 0.5) * 1.0)
        demand = {"outcome": "demand", "link": "logit", "cost": 0.2}
        for interval in ("clt", "bootstrap"):
            ope.evaluate(log, [0.2, 0.5, 0.3], model=linear, interval=interval, replicates=8)
        ope.evaluate(log, rule, model=functools.partial(ope.reward_model, price_features=lambda x, p: p[None], **demand))
        ope.reward_model(log, lambda x: x[None], order="past", **demand)
        ope.learn_policy(log, lambda x: x[None], steps=2)
        several = jax.tree.map(lambda x: x[None] if x.shape[:1] == (3,) and x.ndim > 1 else x, log)
        states = jnp.asarray(several.action)
        target = ope.target(several, rule)
        ope.evaluate(several, rule, horizons=True)
        ope.fitted_q(several, target, ope.table_features(several, states, 3))
        ope.fitted_q(several, target, ope.table_features(several, states, 3), pooled=True)
        ope.marginalised(several, target, states, 3)
        prices = ope.DecisionLog.of(action=np.asarray(log.observation), reward=log.reward, propensity=np.ones(log.shape))
        goal = ope.target(prices, 0.5)
        ope.kernel_ips(prices, goal, support=(-5.0, 5.0))
        ope.kernel_dr(prices, goal, ope.price_model(prices, goal, lambda _, p: p[None]), self_normalised=True)


@pytest.mark.parametrize("task", ["whole", "bootstrap"])
def test_the_loop_in_numpy_finds_the_same(task):
    """The reference of the speed comparison: softmax target, model, all estimators."""
    options = ope_throughput.Options(logs=3, numpy_logs=2, decisions=300, actions=4, replicates=20, repeats=1)
    row = ope_throughput.measure(task, options)
    assert row["difference"] < 1e-3 and row["ratio_shared"] > 0


def test_the_references_agree():
    rng = np.random.default_rng(0)
    data = (
        rng.integers(3, size=50),
        rng.normal(size=50),
        np.full(50, 1 / 3),
        rng.dirichlet(np.ones(3), 50),
        rng.normal(size=(50, 3)),
    )
    for name, (value, _) in off_policy.estimates(*data).items():
        np.testing.assert_allclose(off_policy.apart(*data)[name].mean(), value, rtol=1e-10)


def test_bad_input():
    log = planted(logs=2, decisions=20)
    hidden = np.asarray(log.probabilities).copy()
    hidden[..., 2] = 0.0
    missing = log.replace(probabilities=jnp.asarray(hidden / hidden.sum(-1, keepdims=True)))
    for run, message in (
        (lambda: ope.evaluate(log, rule, ["isp"]), "did you mean 'ips'"),
        (lambda: ope.evaluate(log, rule, ["per_decision"]), "'per_decision' needs horizons=True"),
        (lambda: ope.evaluate(log, [0.5, 0.6, 0.1], ["ips"]), "target must hold probabilities with sum 1"),
        (
            lambda: ope.evaluate(log, lambda x: jnp.array([0.5, 0.6, 0.1]), ["ips"]),
            "target must hold probabilities with sum 1",
        ),
        (lambda: ope.evaluate(log, [0.5, 0.5]), r"target must have shape \[2, 20, 3\] or \[3\]"),
        (lambda: ope.evaluate(missing, 2, ["ips"]), "target has 1 of its probability"),
        (lambda: ope.evaluate(log, rule, interval="bernstein"), "needs reward_range"),
        (
            lambda: ope.evaluate(log, rule, ["ips"], interval="bernstein", reward_range=(0.0, 0.1)),
            "must contain all rewards",
        ),
        (lambda: ope.evaluate(log, rule, model=jnp.zeros((2, 20, 2))), r"model must hold predicted rewards \[2, 20, 3\]"),
        (lambda: ope.evaluate([], rule), "at least one log"),
        (lambda: ope.evaluate(log[0], rule, horizons=True), "horizons=True, got shape"),
        (lambda: ope.best_policy(log, {}), "at least one rule"),
        (lambda: ope.best_policy(missing, {"low": 0, "high": 2}), "candidate 'high': target has 1 of its"),
        (lambda: ope.learn_policy(log, lambda x: x[None], share=0.99), "share must leave at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            run()
    assert ope.evaluate(missing, 2, ["ips"], allow_missing=True).value.shape == (1, 2)
