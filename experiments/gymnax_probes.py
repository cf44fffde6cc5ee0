"""Deep learners on environments of gymnax: how many of ten seeds reach the known best return, and in how many seconds.

    python -m experiments.gymnax_probes
    python -m experiments.gymnax_probes --environments Catch-bsuite --learners pqn --out probes.jsonl

| environment | reached at | what it asks for |
|---|---|---|
| CartPole-v1 | 475 of 500 | values over hundreds of periods, and the time limit, which is no failure |
| Catch-bsuite | .95 of 1 | a picture of fifty pixels, a reward at the end of ten periods |
| DiscountingChain-bsuite | 1.05 of 1.1 | credit for the first action alone |

The return is the mean over 100 evaluation episodes of the greedy policy. Seconds include tracing and compilation, and all
seeds are trained in one call. gymnax is the extra `compat`.
"""

import dataclasses
import datetime
import importlib.metadata
import json
import time
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxprice
from experiments.agent_throughput import open_file
from experiments.frame import command
from jaxprice import checks
from jaxprice.agents import dqn, ppo, pqn

REACHED = {"CartPole-v1": 475, "Catch-bsuite": 0.95, "DiscountingChain-bsuite": 1.05}
LEARNERS = {"dqn": dqn, "ppo": ppo, "pqn": pqn}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to train."""

    environments: tuple[str, ...] = tuple(REACHED)
    """Which environments."""
    learners: tuple[str, ...] = ("dqn", "ppo", "pqn")
    """Which learners."""
    seeds: int = 10
    """Number of seeds."""
    out: Path | None = None
    """Append JSON lines to this file."""

    def __post_init__(self):
        for name, allowed in (("environments", REACHED), ("learners", LEARNERS)):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one (allowed: {', '.join(allowed)})")
            for one in getattr(self, name):
                checks.choice(name.removesuffix("s"), one, allowed)
        checks.positive_int("seeds", self.seeds)


def settings(environment, learner):
    """Options of `train` for an environment: number of steps, and what differs from the defaults."""
    if environment == "CartPole-v1":
        return {
            "dqn": {"steps": 200_000, "capacity": 200_000, "hyper": dqn.Hyper(learning_rate=5e-4, tau=0.01)},
            "ppo": {"steps": 200_000},
            "pqn": {"steps": 300_000},
        }[learner]
    return {"steps": {"dqn": 60_000, "ppo": 150_000, "pqn": 150_000}[learner]}


def measure(environment, learner, seeds):
    """A row of the table, as a dict.

    Raises:
      ModuleNotFoundError: gymnax is not installed.
    """
    import gymnax

    wall, cpu = time.perf_counter(), time.process_time()
    told = settings(environment, learner)
    env, _ = gymnax.make(environment)
    run = LEARNERS[learner].train(env, seeds=range(seeds), held_out=100, points=1, **told)
    returns = np.sort(run.curve["held_out"][-1])
    row = {"environment": environment, "learner": learner, "steps": told["steps"], "seeds": seeds}
    row |= {"reached": int(np.sum(returns >= REACHED[environment])), "returns": np.round(returns, 3).tolist()}
    row |= {"seconds": round(time.perf_counter() - wall, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
    row |= {"device": jax.local_devices()[0].device_kind, "devices": jax.local_device_count(), "jax": jax.__version__}
    return row | {"gymnax": importlib.metadata.version("gymnax"), "date": datetime.date.today().isoformat()}


def main(options):
    """Train, print, and append to the file.

    Raises:
      ValueError: the file cannot be written.
    """
    jaxprice.use_cpu_cores()  # before anything starts the backend
    console = Console()
    if options.out is not None:
        open_file(options.out)
    table = Table(title=f"gymnax, {options.seeds} seeds")
    for column in ("environment", "learner", "steps", "reached", "lowest", "median", "seconds", "of all cores"):
        table.add_column(column, justify="left" if column in ("environment", "learner") else "right")
    for environment in options.environments:
        for learner in options.learners:
            with console.status(f"{environment}, {learner}"):
                row = measure(environment, learner, options.seeds)
            shown = f"{row['steps']:,}", f"{row['reached']} of {row['seeds']}"
            spread = f"{row['returns'][0]:.4g}", f"{np.median(row['returns']):.4g}"
            table.add_row(environment, learner, *shown, *spread, f"{row['seconds']:.0f}", f"{row['cpu_seconds']:.0f}")
            if options.out is not None:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    console.print(table)


if __name__ == "__main__":
    command.run(main, Options)
