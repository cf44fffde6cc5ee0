"""Speed of off-policy evaluation: all estimators on many logs, against a loop over logs in NumPy, in one run.

    python -m experiments.ope_throughput                  # 1,000 logs of 10,000 decisions
    python -m experiments.ope_throughput --out ope.jsonl

Three tasks, each for every log, with eight estimators:

    estimators   given the target's probabilities and predicted rewards of all actions: values, standard errors, intervals
    whole        from the log alone: a target that looks at the context, a cross-fitted model of the rewards, then the same
    bootstrap    as `whole`, with percentile intervals of the bootstrap instead

Ours also checks the target and computes the diagnostics of the weights. There are two NumPy columns. `shared` is the best
that we could write: weights, predictions and samples of the bootstrap are computed once for all estimators. `apart`
computes each estimator from the arrays of the log, as Open Bandit Pipeline does. NumPy works through fewer logs
(`numpy_logs`) on one core; ours uses all cores. Runs of all alternate, and the best of each counts. `difference` is the
largest difference between our values and those of `shared`, in standard errors. The first line shows whether memory is
flat: the peak of the process after evaluations of a tenth, half, all and twice the logs, drawn one chunk after the other.
"""

import dataclasses
import functools
import json
import resource
import time
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.frame import command
from experiments.references import off_policy
from jaxprice import checks, ope

NAMES = (
    "ips", "clipped_ips", "snips", "direct_method", "doubly_robust", "self_normalised_dr", "switch_dr", "shrunk_dr",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure."""

    only: Literal["all", "estimators", "whole", "bootstrap", "memory"] = "all"
    """Measure only this task."""
    logs: int = 1000
    """Logs, ours."""
    numpy_logs: int = 20
    """Logs of a timed run in NumPy."""
    decisions: int = 10_000
    """Decisions of each log."""
    actions: int = 10
    """Prices on the grid."""
    replicates: int = 200
    """Samples of the bootstrap."""
    repeats: int = 3
    """Number of runs; the best one counts."""
    out: Path | None = None
    """Append JSON lines to this file."""

    def __post_init__(self):
        for field in ("logs", "numpy_logs", "decisions", "actions", "replicates", "repeats"):
            checks.positive_int(field, getattr(self, field))


@functools.cache
def target(actions):
    """Rule of the target: softmax(context * slope of the action)."""
    slopes = np.linspace(-1, 1, actions, dtype=np.float32)
    return lambda context: jax.nn.softmax(context * slopes)


def model(log):
    """The mean reward of each action, from the other folds."""
    return ope.reward_model(log)


@functools.partial(jax.jit, static_argnames=("logs", "decisions", "actions"))
def draw(key, *, logs, decisions, actions):
    """Logs of a policy that takes all actions with the same probability."""
    action_key, context_key, reward_key = jax.random.split(key, 3)
    action = jax.random.randint(action_key, (logs, decisions), 0, actions, jnp.int32)
    context = jax.random.normal(context_key, (logs, decisions))
    reward = (1 + 0.1 * action + 0.3 * context) * jax.random.exponential(reward_key, (logs, decisions))
    prices = jnp.arange(1.0, actions + 1.0)
    return ope.DecisionLog(
        observation=context,
        action=action,
        price=prices[action],
        demand=reward / prices[action],
        reward=reward,
        propensity=jnp.full((logs, decisions), 1 / actions),
        time=jnp.broadcast_to(jnp.arange(decisions), (logs, decisions)),
        prices=prices,
    )


def numpy_loop(arrays, task, options, together, seed=0):
    """Values and standard errors `[logs, estimators]` of a loop over the first logs."""
    rng, found = np.random.default_rng(seed), []
    slopes = np.linspace(-1, 1, options.actions, dtype=np.float32)
    for context, action, reward, propensity, chance, predicted in arrays:
        if task != "estimators":
            chance = off_policy.softmax_target(context, slopes)
            predicted = off_policy.action_means(action, reward, options.actions)
        data = (action, reward, propensity, chance, predicted)
        if together:
            pairs = off_policy.estimates(*data)
        else:  # each from its terms
            pairs = {name: (terms.mean(), terms - terms.mean()) for name, terms in off_policy.apart(*data).items()}
        ends = [off_policy.clt(*pairs[name]) for name in NAMES]
        if task == "bootstrap" and together:
            off_policy.bootstrap(rng, np.stack([pairs[name][1] for name in NAMES]), options.replicates)
        elif task == "bootstrap":
            for name in NAMES:
                off_policy.bootstrap_apart(rng, pairs[name][1], options.replicates)
        found.append([(pairs[name][0], (high - low) / 3.92) for name, (low, high) in zip(NAMES, ends, strict=True)])
    return np.moveaxis(np.array(found), -1, 0)


def measure(task, options):
    """One row, as a dict."""
    size = {"decisions": options.decisions, "actions": options.actions}
    log = draw(jax.random.key(0), logs=options.logs, **size)
    rule, predicted = target(options.actions), model
    first = log[: options.numpy_logs]
    chance, means = (np.asarray(part) for part in (ope.target(first, rule), model(first)))
    columns = (first.observation, first.action, first.reward, first.propensity, chance, means)
    arrays = list(zip(*map(np.asarray, columns), strict=True))
    if task == "estimators":
        rule, predicted = jax.jit(ope.target, static_argnums=1)(log, rule), jax.jit(model)(log)
    interval = "bootstrap" if task == "bootstrap" else "clt"
    runs = {
        "ours": lambda: ope.evaluate(
            log, rule, NAMES, model=predicted, interval=interval, replicates=options.replicates
        ),
        "shared": lambda: numpy_loop(arrays, task, options, True),
        "apart": lambda: numpy_loop(arrays, task, options, False),
    }  # fmt: skip
    start = time.perf_counter()
    runs["ours"]()
    compiling = time.perf_counter() - start
    seconds, results = {name: [] for name in runs}, {}
    for _ in range(options.repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            results[name] = run()
            seconds[name].append(time.perf_counter() - start)
    each = {name: min(times) / (options.logs if name == "ours" else len(arrays)) for name, times in seconds.items()}
    values, errors = results["shared"]
    ours = results["ours"].value.values.T[: len(arrays)]
    return {
        "task": task,
        "logs": options.logs,
        **size,
        "replicates": options.replicates if task == "bootstrap" else None,
        **{f"{name}_ms_per_log": round(1e3 * value, 4) for name, value in each.items()},
        "ratio_shared": round(each["shared"] / each["ours"], 2),
        "ratio_apart": round(each["apart"] / each["ours"], 2),
        "first_call_s": round(compiling, 2),
        "difference": float(f"{np.max(np.abs(ours - values) / errors):.2g}"),
        "peak_mb": peak(),
        "device": jax.local_devices()[0].device_kind,
        "devices": jax.local_device_count(),
    }


def memory(options):
    """Peak memory of the process after evaluations of more and more logs, which are drawn chunk by chunk."""
    chunk = max(1, min(64, options.logs // 10))
    size = {"logs": chunk, "decisions": options.decisions, "actions": options.actions}

    def some(count):
        return (draw(jax.random.fold_in(jax.random.key(1), i), **size) for i in range(max(1, count // chunk)))

    peaks = {}
    for name, share in (("tenth", 0.1), ("half", 0.5), ("all", 1.0), ("twice", 2.0)):
        ope.evaluate(some(int(share * options.logs)), target(options.actions), NAMES, model=model)
        peaks[f"peak_mb_{name}"] = peak()
    return {"task": "memory", "logs": options.logs, **peaks}


def peak():
    """Peak memory of the process so far, in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(options):
    """Measure, print, and append to the file."""
    tasks = ("memory", "whole", "bootstrap", "estimators")  # memory first: a peak does not go down
    printed = Table(title=f"{options.logs:,} logs of {options.decisions:,} decisions: milliseconds a log")
    for column in ("task", "ours", "NumPy, shared", "ratio", "NumPy, apart", "ratio", "first call s", "difference"):
        printed.add_column(column, justify="left" if column == "task" else "right")
    console = Console()
    for task in tasks:
        if options.only not in ("all", task):
            continue
        with console.status(task):
            row = memory(options) if task == "memory" else measure(task, options)
        if task == "memory":
            peaks = ", ".join(f"{row[key]} after {key[8:]}" for key in row if key.startswith("peak_mb_"))
            console.print(f"peak memory in MiB: {peaks}")
        else:
            numbers = (
                row["ours_ms_per_log"], row["shared_ms_per_log"], row["ratio_shared"],
                row["apart_ms_per_log"], row["ratio_apart"], row["first_call_s"], row["difference"],
            )  # fmt: skip
            printed.add_row(task, *(f"{number:.3g}" for number in numbers))
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    if printed.row_count:
        console.print(printed)


if __name__ == "__main__":
    command.run(main, Options)
