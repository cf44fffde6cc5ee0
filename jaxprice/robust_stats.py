"""Scores of few runs on several tasks: interquartile means, performance profiles, and intervals by the stratified bootstrap.

A learner has scores `[runs, tasks]`: run n on task m, with independent runs. With N runs and M tasks,

- interquartile mean: the mean of the N M scores without the lowest and the highest quarter, floor(N M / 4) scores each. It
  is less sensitive to single runs than the mean, and needs fewer runs than the median;
- optimality gap: the mean of `threshold - min(score, threshold)`, the distance that is missing to a threshold;
- probability of improvement of X over Y: the mean over tasks of P(X > Y) + P(X = Y) / 2, for a run of each;
- performance profile: the share of scores above each of several thresholds.

Intervals are percentiles over resampled scores. A sample draws N runs with replacement for each task separately (its
stratum), so the tasks stay what they are. With `tasks`, it also draws M tasks with replacement: this is the uncertainty
about tasks that might have been chosen instead, and is much wider.

Source: R. Agarwal, M. Schwarzer, P. S. Castro, A. C. Courville, M. G. Bellemare (2021), "Deep reinforcement learning at the
edge of the statistical precipice", arXiv:2108.13264. The tests compare with the authors' library rliable 1.2.0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from jaxprice import checks

ENTRIES = 2**22  # numbers of the samples that are held at once


class Interval(NamedTuple):
    """A statistic of the scores and the ends of its interval, each a float or float `[...]`, in units of the scores."""

    value: Any
    low: Any
    high: Any


def interquartile_mean(scores: Num[ArrayLike, "*samples runs tasks"]) -> Float[np.ndarray, "*samples"]:
    """Mean of the middle half of the scores of all runs and tasks, float `[...]`.

    Args:
      scores: float `[..., runs, tasks]`.

    Raises:
      ValueError: `scores` are not numbers, or have fewer than two axes.
    """
    scores = _scores("scores", scores)
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)


def task_mean(scores: Num[ArrayLike, "*samples runs tasks"]) -> Float[np.ndarray, "*samples"]:
    """Mean of the scores of all runs and tasks, float `[...]`.

    Raises:
      ValueError: as in `interquartile_mean`.
    """
    return _scores("scores", scores).mean(axis=(-2, -1))


def task_median(scores: Num[ArrayLike, "*samples runs tasks"]) -> Float[np.ndarray, "*samples"]:
    """Median over tasks of the mean score of a task, float `[...]`.

    Raises:
      ValueError: as in `interquartile_mean`.
    """
    return np.median(_scores("scores", scores).mean(axis=-2), axis=-1)


def optimality_gap(scores: Num[ArrayLike, "*samples runs tasks"], threshold: float = 1.0) -> Float[np.ndarray, "*samples"]:
    """Mean distance that is missing to `threshold`; scores above it count as equal to it. Float `[...]`.

    Args:
      scores: float `[..., runs, tasks]`.
      threshold: the score to reach, such as 1 for a share of the optimum.

    Raises:
      ValueError: as in `interquartile_mean`, or `threshold` is not a number.
    """
    checks.number("threshold", threshold, scalar=True)
    return threshold - np.minimum(_scores("scores", scores), threshold).mean(axis=(-2, -1))


def probability_of_improvement(
    scores: Num[ArrayLike, "*samples runs tasks"], other: Num[ArrayLike, "*samples others tasks"]
) -> Float[np.ndarray, "*samples"]:
    """Probability that a run of one learner has a higher score than one of another on the same task, mean over tasks.

    Args:
      scores: float `[..., runs, tasks]`.
      other: the other learner's, float `[..., others, tasks]`; the numbers of runs may differ.

    Returns:
      float `[...]` in [0, 1]; ties count one half.

    Raises:
      ValueError: as in `interquartile_mean`, or the learners have different numbers of tasks.
    """
    scores, other = _scores("scores", scores), _scores("other", other)
    if scores.shape[-1] != other.shape[-1]:
        raise ValueError(f"other must have the {scores.shape[-1]} tasks of scores, got {other.shape[-1]}")
    gaps = np.sign(scores[..., :, None, :] - other[..., None, :, :])
    return (0.5 + gaps.mean(axis=(-3, -2)) / 2).mean(axis=-1)


def performance_profile(
    scores: Num[ArrayLike, "*samples runs tasks"], thresholds: Num[ArrayLike, " T"]
) -> Float[np.ndarray, "*samples T"]:
    """Share of the scores of all runs and tasks that are above each threshold, float `[..., T]`.

    Args:
      scores: float `[..., runs, tasks]`.
      thresholds: float `[T]`.

    Raises:
      ValueError: as in `interquartile_mean`, or `thresholds` are not numbers `[T]`.
    """
    checks.array("thresholds", thresholds, (None,))
    scores, thresholds = _scores("scores", scores), np.asarray(thresholds, float)  # ties need all digits
    return np.stack([(scores > threshold).mean(axis=(-2, -1)) for threshold in thresholds], axis=-1)


def stratified_bootstrap(
    statistic: Callable[..., np.ndarray],
    *scores: Num[ArrayLike, "runs tasks"],
    level: float = 0.95,
    repeats: int = 5000,
    seed: int = 0,
    tasks: bool = False,
) -> Interval:
    """A statistic of the scores of one or more learners, with its interval.

        stratified_bootstrap(interquartile_mean, scores)
        stratified_bootstrap(probability_of_improvement, scores, other)
        stratified_bootstrap(lambda x: performance_profile(x, [0.9, 0.98]), scores)

    Args:
      statistic: function of scores `[..., runs, tasks]`, one argument for each learner, to float `[...]` or `[..., T]`.
      *scores: scores of a learner, float `[runs, tasks]`. Learners have the same tasks; their runs are drawn independently.
      level: probability of the interval.
      repeats: number of samples.
      seed: of the samples.
      tasks: whether tasks are drawn too. All learners of a sample meet the same tasks.

    Returns:
      An `Interval`: the statistic, and the percentiles of its samples.

    Raises:
      ValueError: no scores, or not numbers `[runs, tasks]`; different numbers of tasks; a level outside (0, 1); no samples.
    """
    if not scores:
        raise ValueError("scores must be [runs, tasks] of at least one learner, got none")
    given = [_scores("scores", rows) for rows in scores]
    shapes = [rows.shape for rows in given]
    if any(len(shape) != 2 for shape in shapes) or len({shape[-1] for shape in shapes}) > 1:
        raise ValueError(f"scores must be [runs, tasks] with the same tasks, got shapes {shapes}")
    checks.number("level", level, scalar=True)
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), such as 0.95, got {checks.shown(level)}")
    repeats, tasks = checks.positive_int("repeats", repeats), checks.boolean("tasks", tasks)
    rng, samples = np.random.default_rng(checks.seed(seed)), []
    count, batch = given[0].shape[-1], max(1, ENTRIES // sum(rows.size for rows in given))
    for first in range(0, repeats, batch):
        size = min(batch, repeats - first)
        columns = rng.integers(count, size=(size, 1, count)) if tasks else np.arange(count)[None, None]
        drawn = [rows[rng.integers(len(rows), size=(size, *rows.shape)), columns] for rows in given]
        samples.append(np.asarray(statistic(*drawn)))
    ends = np.quantile(np.concatenate(samples), [(1 - level) / 2, (1 + level) / 2], axis=0)
    value = np.asarray(statistic(*given))
    return Interval(*(float(x) if value.ndim == 0 else x for x in (value, *ends)))


def _scores(name, scores):
    """Scores as a float array of at least two axes.

    Raises:
      ValueError: they are not numbers, some are not finite, or there are none.
    """
    try:
        array = np.asarray(scores, float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim < 2 or not array.size:
        raise ValueError(f"{name} must be numbers [runs, tasks], got {checks.shown(scores)}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got {int((~np.isfinite(array)).sum())} that are not")
    return array
