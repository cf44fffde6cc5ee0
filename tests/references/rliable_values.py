"""Writes `rliable_values.json`: what rliable 1.2.0 computes on arrays that `arrays` makes.

Run it with a Python that has the library (`pip install rliable==1.2.0 "pandas<3"`):

    python tests/references/rliable_values.py

Its bootstrap draws from NumPy's global generator, which the script seeds. Intervals of two generators agree up to the noise
of the samples, so there are many of them.

Source: R. Agarwal, M. Schwarzer, P. S. Castro, A. C. Courville, M. G. Bellemare (2021), arXiv:2108.13264.
https://github.com/google-research/rliable
"""

import json
from pathlib import Path

import numpy as np

cases = {"small": (1, 5, 4, 3), "wide": (2, 20, 17, 6), "odd": (3, 7, 3, 5)}  # seed, runs, runs of the other, tasks
thresholds, repeats, fewer = (0.2, 0.5, 0.8, 0.95), 10_000, 2000  # fewer samples where the library is slow


def arrays(seed: int, runs: int, others: int, tasks: int) -> tuple:
    """Scores of two learners, with outliers and ties, rounded so that they are equal on every machine."""
    rng = np.random.default_rng(seed)
    level = np.linspace(0.4, 0.9, tasks)
    scores = level + 0.1 * rng.standard_normal((runs, tasks)) - 0.5 * (rng.random((runs, tasks)) < 0.1)
    other = level - 0.03 + 0.1 * rng.standard_normal((others, tasks))
    return np.round(scores, 2), np.round(other, 2)


def main() -> None:
    from rliable import library, metrics

    found = {}
    for name, size in cases.items():
        scores, other = arrays(*size)
        statistics = {
            "interquartile_mean": metrics.aggregate_iqm,
            "task_mean": metrics.aggregate_mean,
            "task_median": metrics.aggregate_median,
            "optimality_gap": metrics.aggregate_optimality_gap,
        }
        rows = {key: {"value": float(statistic(scores))} for key, statistic in statistics.items()}
        for tasks in (False, True):
            np.random.seed(7)
            ends = library.get_interval_estimates(
                {"one": scores},
                lambda x: np.array([statistic(x) for statistic in statistics.values()]),  # noqa: B023
                reps=repeats,
                task_bootstrap=tasks,
            )[1]["one"]
            for key, low, high in zip(statistics, *ends, strict=True):
                rows[key]["tasks" if tasks else "runs"] = [float(low), float(high)]
        rows["probability_of_improvement"] = {"value": float(metrics.probability_of_improvement(scores, other))}
        np.random.seed(7)
        ends = library.get_interval_estimates(
            {"both": [scores, other]}, lambda x, y: np.array([metrics.probability_of_improvement(x, y)]), reps=fewer
        )[1]["both"]
        rows["probability_of_improvement"]["runs"] = ends[:, 0].tolist()
        np.random.seed(7)
        profile, ends = library.create_performance_profile({"one": scores}, np.array(thresholds), reps=repeats)
        rows["performance_profile"] = {"value": profile["one"].tolist(), "runs": ends["one"].tolist()}
        found[name] = rows
    Path(__file__).with_suffix(".json").write_text(json.dumps({"rliable": "1.2.0", "values": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
