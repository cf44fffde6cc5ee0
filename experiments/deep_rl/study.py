"""Deep reinforcement learning against the exact optimum: percent of it on six markets that plan ahead.

    python -m experiments.deep_rl                      # default: twenty runs of every learner
    python -m experiments.deep_rl --preset smoke       # two runs, three markets, a fiftieth of the steps
    python -m experiments.deep_rl --ablation           # DQN without each of its parts, on two markets
    python -m experiments.deep_rl --preset full        # fifty runs of a million periods, for a GPU or a night

Learners are DQN, PQN, PPO and SAC (`jaxprice.agents`; SAC posts any price, on the three markets that have an interval), and
tabular Q-learning, SARSA and expected SARSA. Beside them stand the optimum, the best fixed action, the best action of a
period, random actions, and the classic heuristics of each market. `markets` describes the markets.

Every learner is trained in one market, whose observation tells the state. Its final greedy seller is then a function of time
and state, so its expected reward is computed, not sampled (`chains`): the share of the optimum that it earns is exact, and
the only uncertainty is that between training runs. A number is the interquartile mean over runs, with a 95 % interval by
the stratified bootstrap (`jaxprice.robust_stats`, the method of R. Agarwal et al. 2021, arXiv:2108.13264); over all markets,
runs of each market are drawn separately. Heuristics that learn within their season are simulated, with an interval over
lanes.

Learning curves are scores of 64 fresh seasons, by periods of a run and by CPU seconds (those of all runs together, with
compilation). Files in `--out`: `table.csv` and `table.md`, `improvement.csv` (probability that a run of one learner has a
higher share than one of another), `curves.png`, `sellers.png`, `profiles.png`, `manifest.json`; with `--ablation`
`ablation.csv`, `ablation.md` and `ablation.png`. On CPUs each core computes cells in a process of its own. Every cell is
saved, so that a killed run continues, and is computed again if its code was edited.
"""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Literal, NamedTuple

import jax
from rich.console import Console
from rich.markdown import Markdown

import jaxprice
from experiments.deep_rl import figures, heuristics, learners, markets, tables, workers
from experiments.frame import saved
from jaxprice import checks, files, manifest


class Sizes(NamedTuple):
    """How much a preset computes: periods of a run, runs, lanes of heuristics, markets, markets of ablations."""

    steps: int
    runs: int
    lanes: int
    markets: tuple
    ablations: tuple


PRESETS = {
    "smoke": Sizes(2_000, 2, 200, ("FiniteInventory", "ReferencePrice", "ReactiveRival"), ("ReactiveRival",)),
    "default": Sizes(64_000, 20, 4000, markets.NAMES, ("FiniteInventory", "ReactiveRival")),
    "full": Sizes(1_000_000, 50, 100_000, markets.NAMES, markets.NAMES),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    preset: Literal["smoke", "default", "full"] = "default"
    """smoke: a minute or two; default: twenty runs; full: fifty runs of a million periods, for a GPU."""
    only: tuple[str, ...] = ()
    """Only these learners; all by default. Tables and pictures then show only them."""
    ablation: bool = False
    """Instead of the table, DQN without each of its parts."""
    seed: int = 0
    """Seed of the first run."""
    out: Path = Path("results/deep_rl")
    """Results folder."""
    processes: int | None = None
    """Processes; by default one a core on CPUs, and one for the smoke preset or an accelerator."""


def chosen(options):
    """The learners of a command.

    Raises:
      ValueError: an unknown name.
    """
    known = learners.ablations() if options.ablation else learners.recipes()
    for name in options.only:
        checks.choice("learner", name, known)
    return {name: recipe for name, recipe in known.items() if name in (options.only or known)}


def cells(options, sizes):
    """Cells to compute: `(market, seller, function without arguments)`; the seller "" stands for the heuristics."""
    names = sizes.ablations if options.ablation else sizes.markets
    for seller, recipe in chosen(options).items():
        for name in names:
            if learners.plays(recipe, name):
                arguments = recipe, name, sizes.steps, sizes.runs, options.seed
                yield name, seller, functools.partial(learners.measured, *arguments)
    if not options.ablation:
        for name in names:
            yield name, "", functools.partial(_heuristics, name, sizes.lanes, options.seed)


def _heuristics(name, lanes, seed):
    return heuristics.measured(markets.market(name), lanes, seed)


def _told(title, cell, about):
    """A line about a finished cell."""
    told = f"{title}: {about['cpu_seconds']:.0f} CPU seconds"
    if "steps" not in cell:
        return told
    return f"{told}, {tables.shown(tables.of_runs('', '', 'network', cell['share'][:, None], cell))}"


def main(options):
    """Train, score, print and write.

    Raises:
      ValueError: an unknown learner, a bad seed, or the results folder cannot be written.
    """
    jaxprice.use_cpu_cores()
    if options.preset == "smoke":
        jaxprice.devices.compile_quickly()
    sizes, console = PRESETS[options.preset], Console()
    checks.whole("seed", options.seed, 0, 2**31 - 1)
    alone = options.preset == "smoke" or jax.default_backend() != "cpu"
    processes = (1 if alone else workers.cores()) if options.processes is None else options.processes
    checks.positive_int("processes", processes)
    wanted = list(cells(options, sizes))
    told = {"study": "deep_rl", "preset": options.preset, "seed": options.seed, "steps": sizes.steps, "runs": sizes.runs}
    out = saved.open_folder(options.out, told)
    titles = [f"{name}, {seller or 'no training'}" for name, seller, _ in wanted]
    jobs = {title: make for title, (_, _, make) in zip(titles, wanted, strict=True)}
    jobs = dict(sorted(jobs.items(), key=lambda job: not job[0].endswith("SAC")))  # the longest first
    found, start = {}, time.perf_counter()
    with saved.resumable(out), console.status(f"{len(jobs)} cells in {processes} processes"):
        for title, done in workers.computed(out / "cells", jobs, processes):
            found[title] = done
            console.print(_told(title, *done), style="dim")
    seconds, abouts, without, learned = time.perf_counter() - start, {}, {}, {}
    for (name, seller, _), title in zip(wanted, titles, strict=True):
        cell, abouts[title] = found[title]
        if seller:
            learned.setdefault(seller, {})[name] = cell
        else:
            without[name] = cell
    played = tuple(dict.fromkeys(name for name, _, _ in wanted))
    rows = tables.rows_of(played, without, learned) if without else tables.learned_rows(played, learned)
    text = tables.markdown(rows, played)
    console.print(Markdown(text))
    if not files.can_write(out):
        return rows
    stem = "ablation" if options.ablation else "table"
    tables.write(out / f"{stem}.csv", rows)
    files.write(out / f"{stem}.md", text)
    if options.ablation:
        figures.curves(learned, out / "ablation.png")
    else:
        figures.curves(learned, out / "curves.png")
        figures.sellers(learned, out / "sellers.png")
        figures.profiles(played, learned, out / "profiles.png")
        if compared := tables.improvements(played, learned):
            tables.write(out / "improvement.csv", compared)
    before = files.read_json(out / "manifest.json") or {}
    clocks = {key: before[key] for key in ("seconds", "ablation_seconds") if key in before}
    names = "revision", "date", "seconds", "cpu_seconds"
    about = told | manifest.of_run() | clocks | {"cells": before.get("cells", {}) | manifest.of_cells(abouts, names)}
    about |= {"processes": processes, "ablation_seconds" if options.ablation else "seconds": round(seconds, 1)}
    files.write_json(out / "manifest.json", about)
    console.print(f"{out}/{stem}.csv, {stem}.md and pictures")
    return rows
