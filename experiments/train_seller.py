"""Train the seller for all markets, score it against every other policy, and choose the run to ship.

    python -m experiments.train_seller                      # three runs, one after another; a killed run goes on
    python -m experiments.train_seller --seeds 1 --first-seed 1 --no-score   # one run alone, say beside another process
    python -m experiments.train_seller --no-train           # only the score of the trained runs, or of the shipped agent

Training is in `experiments.seller.training`, the score in `experiments.seller.scoring`, and the markets, with the five
families that training never sees, in `experiments.seller.markets`. Files in `--out`: `seller-<seed>.npz` (the agent of a
run), `table.csv` and `table.md` (loss of every run on every market, beside the best of all policies), and checkpoints, which
stay out of version control.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from experiments.frame import command
from experiments.seller import scoring, training
from jaxprice import agents, checks, files
from jaxprice.agents import seller_memory


@dataclasses.dataclass(frozen=True)
class Options:
    """What to train and to score."""

    seeds: int = 3
    """Number of runs."""
    first_seed: int = 0
    """Seed of the first run."""
    updates: int = 110
    """Updates of a run; the learning rate falls until the last one."""
    minutes: float | None = None
    """Stop the training of a run after so many minutes; the same command goes on with it. By default it is finished."""
    train: bool = True
    """Whether to train; otherwise the agents in `--out` are scored, or the shipped one if there are none."""
    score: bool = True
    """Whether to score."""
    lanes: int = 1000
    """Lanes of the score."""
    out: Path = Path("results/seller")
    """Results folder."""

    def __post_init__(self):
        for name in ("seeds", "updates", "lanes"):
            checks.positive_int(name, getattr(self, name))
        checks.whole("first_seed", self.first_seed, 0, 2**31)
        if self.minutes is not None:
            checks.positive("minutes", self.minutes)


def train(options, console):
    """Train the runs and save their agents."""
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        weights, curve = training.run(
            seed, options.updates, options.out / "checkpoints" / str(seed), minutes=options.minutes, told=console.print
        )
        agents.save(options.out / f"seller-{seed}.npz", agent_of(seed, weights, curve, options))


def agent_of(seed, weights, curve, options):
    """The agent of a run, with its card; one weight is set by hand, see `training.TAUGHT`."""
    told = {"name": "seller", "seed": seed, "updates": int(curve["update"][-1, 0]), "horizon": "20 to 1500"}
    told |= {
        "of": options.updates,
        "cpu_s": round(float(curve["cpu_s"][-1, 0])),
        "wall_s": round(float(curve["wall_s"][-1, 0])),
    }
    told |= {"method": "ppo", "hyper": {key: float(value) for key, value in vars(training.HYPER).items()}}
    weights = jax.tree.map(np.array, weights)
    told["after_training"] = f"direct weight of what a price teaches set to {training.TAUGHT}"
    weights["params"]["direct"]["kernel"][seller_memory.TOLD] = training.TAUGHT
    return agents.Agent("seller", 10, weights, training.OPTIONS, deploy="sample", told=told)


def main(options):
    """Train and score.

    Raises:
      ValueError: the results folder cannot be written.
    """
    console = Console()
    files.open_folder(options.out, "out", "agents", lambda: True)
    if options.train:
        train(options, console)
    if options.score:
        trained = {path.stem: agents.load(path) for path in sorted(options.out.glob("seller-*.npz"))}
        scoring.run(trained or {"shipped": agents.load("seller")}, options.lanes, options.out, console)


if __name__ == "__main__":
    command.run(main, Options)
