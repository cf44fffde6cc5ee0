"""Statistics of few runs against rliable 1.2.0 on the same arrays (`references/rliable_values.py` made the values)."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxprice import robust_stats

here = Path(__file__).parent / "references"
sys.path.insert(0, str(here))
from rliable_values import arrays, cases, fewer, repeats, thresholds  # noqa: E402

known = json.loads((here / "rliable_values.json").read_text())["values"]
one_learner = ("interquartile_mean", "task_mean", "task_median", "optimality_gap")


def profile(scores):
    return robust_stats.performance_profile(scores, thresholds)


def noise_of_ends(samples):
    """Standard error of the difference of two estimates of the 2.5 and 97.5 % points, each from `repeats` samples."""
    density = scipy_stats.gaussian_kde(samples)
    ends = np.quantile(samples, [0.025, 0.975])
    return np.sqrt(2 * 0.025 * 0.975 / repeats) / density(ends)


@pytest.mark.parametrize("case", cases)
def test_values_are_those_of_rliable(case):
    scores, other = arrays(*cases[case])
    for name in one_learner:
        np.testing.assert_allclose(getattr(robust_stats, name)(scores), known[case][name]["value"], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(profile(scores), known[case]["performance_profile"]["value"], rtol=1e-12)
    found = robust_stats.probability_of_improvement(scores, other)
    np.testing.assert_allclose(found, known[case]["probability_of_improvement"]["value"], rtol=1e-12)


@pytest.mark.parametrize("case", cases)
@pytest.mark.parametrize("tasks", [False, True])
def test_intervals_are_those_of_rliable(case, tasks):
    """Up to the noise of both samples: five standard errors of their difference, and one step of a discrete statistic."""
    scores, other = arrays(*cases[case])
    step = 0.01 / scores.size  # scores are multiples of .01
    for name in one_learner:
        kept = []

        def statistic(drawn, name=name, kept=kept):
            kept.append(getattr(robust_stats, name)(drawn))
            return kept[-1]

        found = robust_stats.stratified_bootstrap(statistic, scores, repeats=repeats, seed=3, tasks=tasks)
        reference = np.array(known[case][name]["tasks" if tasks else "runs"])
        allowed = 5 * noise_of_ends(np.concatenate([x for x in kept if x.ndim])) + step
        assert np.all(np.abs([found.low, found.high] - reference) < allowed), (name, found, reference, allowed)
    if not tasks:
        found = robust_stats.stratified_bootstrap(
            robust_stats.probability_of_improvement, scores, other, repeats=fewer, seed=3
        )
        np.testing.assert_allclose(found[1:], known[case]["probability_of_improvement"]["runs"], atol=0.02)


def test_profiles_have_intervals_as_in_rliable():
    scores, _ = arrays(*cases["wide"])
    found = robust_stats.stratified_bootstrap(profile, scores, repeats=repeats)
    # shares of 120 scores move in steps of 1 / 120
    np.testing.assert_allclose([found.low, found.high], known["wide"]["performance_profile"]["runs"], atol=1.01 / 120)


def test_means_and_intervals_against_scipy_and_a_normal_law():
    rng = np.random.default_rng(0)
    for size in ((3, 1), (4, 3), (11, 2)):
        scores = rng.standard_normal(size)
        trimmed = scipy_stats.trim_mean(scores, 0.25, axis=None)
        np.testing.assert_allclose(robust_stats.interquartile_mean(scores), trimmed, rtol=1e-12)
        other = rng.standard_normal((5, size[1]))
        wins = [scipy_stats.mannwhitneyu(scores[:, m], other[:, m])[0] / (size[0] * 5) for m in range(size[1])]
        np.testing.assert_allclose(robust_stats.probability_of_improvement(scores, other), np.mean(wins), rtol=1e-12)
    scores = np.array([0.0, 10.0, 20.0]) + rng.standard_normal((400, 3))
    found = robust_stats.stratified_bootstrap(robust_stats.task_mean, scores)
    error = np.sqrt(scores.var(axis=0).sum() / 400) / 3  # strata: the spread between tasks does not count
    np.testing.assert_allclose([found.low, found.high], found.value + 1.96 * error * np.array([-1, 1]), rtol=0.005)
    wide = robust_stats.stratified_bootstrap(robust_stats.task_mean, scores, tasks=True)
    assert wide.high - wide.low > 50 * (found.high - found.low)


def test_learners_that_meet_drawn_tasks_meet_the_same_ones():
    scores = np.array([[0.0, 5.0], [0.0, 5.0]])
    found = robust_stats.stratified_bootstrap(robust_stats.probability_of_improvement, scores + 1, scores, tasks=True)
    assert found == (1.0, 1.0, 1.0)
    tied = robust_stats.stratified_bootstrap(robust_stats.probability_of_improvement, scores, scores, tasks=True)
    assert tied == (0.5, 0.5, 0.5)


def test_samples_are_a_function_of_the_seed_and_not_of_batches(monkeypatch):
    scores, _ = arrays(*cases["small"])
    first = robust_stats.stratified_bootstrap(robust_stats.interquartile_mean, scores, seed=5, repeats=300)
    assert first == robust_stats.stratified_bootstrap(robust_stats.interquartile_mean, scores, seed=5, repeats=300)
    assert first != robust_stats.stratified_bootstrap(robust_stats.interquartile_mean, scores, seed=6, repeats=300)
    monkeypatch.setattr(robust_stats, "ENTRIES", 200)
    assert first == robust_stats.stratified_bootstrap(robust_stats.interquartile_mean, scores, seed=5, repeats=300)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: robust_stats.interquartile_mean([1.0, 2.0]), r"scores must be numbers \[runs, tasks\], got \[1.0, 2.0\]"),
        (lambda x: robust_stats.task_mean("a"), "scores must be numbers .* got 'a'"),
        (lambda x: robust_stats.task_median([[np.nan, 1.0]]), "scores must be finite, got 1 that are not"),
        (lambda x: robust_stats.optimality_gap(x, np.nan), "threshold must be finite"),
        (lambda x: robust_stats.probability_of_improvement(x, x[:, :1]), "other must have the 3 tasks of scores, got 1"),
        (lambda x: robust_stats.performance_profile(x, []), "thresholds"),
        (lambda x: robust_stats.stratified_bootstrap(robust_stats.task_mean), "at least one learner, got none"),
        (lambda x: robust_stats.stratified_bootstrap(robust_stats.task_mean, x[None]), r"got shapes \[\(1, 5, 3\)\]"),
        (lambda x: robust_stats.stratified_bootstrap(robust_stats.task_mean, x, x[:, :2]), "with the same tasks"),
        (lambda x: robust_stats.stratified_bootstrap(robust_stats.task_mean, x, level=95), r"level must be in \(0, 1\)"),
        (lambda x: robust_stats.stratified_bootstrap(robust_stats.task_mean, x, repeats=0), "repeats"),
        (lambda x: robust_stats.stratified_bootstrap(robust_stats.task_mean, x, tasks=1), "tasks must be True or False"),
    ],
)
def test_bad_scores_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(arrays(*cases["small"])[0])
