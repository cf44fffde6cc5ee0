"""The bandit table of Duan et al. (2016), RL^2, Table 1: nine settings, seven baselines, and agents trained here.

    python -m experiments.studies.rl2_bandits                   # all 63 baseline cells, minutes on two cores
    python -m experiments.studies.rl2_bandits --preset smoke    # seconds
    python -m experiments.studies.rl2_bandits --preset full     # at least a hundred thousand tasks, for a GPU

A cell is the expected total reward of n pulls with k arms whose means are U[0, 1]: n k / (k + 1), the reward of the best
arm, minus the mean pseudo-regret over tasks. For the baselines see `baselines`. Each hyperparameter is chosen on the tasks
that are reported, as in the paper, and once more on other tasks, which is unbiased. The hyperparameter of OTS is chosen on
the first batch alone, of 1,000 tasks by default, the number in the paper; by default from part of its grid.

z is our value minus the printed one divided by sqrt(se^2 + se_paper^2), with the paper's standard error of 1,000 sampled
totals estimated from ours. All methods meet the same tasks and the same random rewards at the same pull. So `gap`, the
reward minus that of the finite-horizon Gittins index, is paired. This index is not optimal, but nearly so
(`policies.gittins`). `gap` is empty if there is no table of the index for the horizon.

Agents are the files of `--agents`, such as `n10_k5.npz`, and those of the package, each in the setting of its card. SNAIL is
copied from its paper. The measures of exploration failure of Krishnamurthy et al. (2024) are not included: they need every
pull of every lane.

Files in `--out`: `table.csv` (after every setting), `gaps.png`, `manifest.json`, and all cells in `cells/`, from which a
second run resumes; cells are computed again if their code was edited.

Sources: Y. Duan, J. Schulman, X. Chen, P. L. Bartlett, I. Sutskever, P. Abbeel (2016), "RL^2: fast reinforcement learning
via slow reinforcement learning", arXiv:1611.02779, Table 1; N. Mishra, M. Rohaninejad, X. Chen, P. Abbeel (2018), "A simple
neural attentive meta-learner", arXiv:1707.03141, Table 3.
"""

import dataclasses
import functools
import hashlib
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import jaxprice
from experiments.frame import saved
from experiments.studies.rl2_bandits import baselines, table
from experiments.studies.rl2_bandits.table import METHODS, PRINTED
from jaxprice import agents, checks, devices, files, fingerprint, manifest, policies


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    preset: Literal["smoke", "default", "full"] = "default"
    """smoke: one setting, 400 tasks; default: 20,000, 10,000, 3,000 tasks for 10, 100, 500 pulls; full: 50 times that."""
    out: Path = Path("results/rl2_bandits")
    """Results folder."""
    agents: Path = Path("experiments/results/rl2_bandits/agents")
    """Folder of trained agents."""
    only: tuple[str, ...] = ()
    """Only these settings, such as n10_k5; by default all of the preset."""
    seed: int = 0
    """Seed of all tasks, below 40,000."""


class Plan(NamedTuple):
    """Settings, tasks of each number of pulls, tasks played together, draws that OTS tries, and ends of lattices."""

    cells: tuple
    tasks: dict
    lanes: int
    draws: tuple
    end: int


class Tuned(NamedTuple):
    """A baseline with a hyperparameter.

    Attributes:
      make: number -> `Policy`; the number may be traced.
      grid: label -> number, or table.
      batches: number of batches of tasks on which it is chosen; None: all.
    """

    make: Callable
    grid: dict
    batches: int | None = None


class Outcome(NamedTuple):
    """Regret of each task, float `[tasks]`, standard deviation of a sampled total, hyperparameter; `other_*`: unbiased."""

    regret: Any
    spread: float
    chosen: str
    other_regret: Any
    other_chosen: str


def plan_of(options):
    """The `Plan` of a preset.

    Raises:
      ValueError: an unknown setting, or a seed out of range.
    """
    if not 0 <= options.seed < 40_000:
        raise ValueError(f"seed must be in [0, 40000), got {options.seed}")
    names = {f"n{n}_k{k}": (n, k) for n, k in PRINTED}
    for name in options.only:
        checks.choice("setting", name, names)
    cells = tuple(names[name] for name in options.only) or tuple(PRINTED)
    if options.preset == "smoke":
        cells = cells if options.only else ((10, 5),)
        end = 2 * max(n for n, _ in cells) + 2
        return Plan(cells, dict.fromkeys((10, 100, 500), 400), 200, (1, 5), end)
    tasks, scale = {10: 20_000, 100: 10_000, 500: 3_000}, 50 if options.preset == "full" else 1
    draws = tuple(range(1, 21)) if options.preset == "full" else (1, 2, 3, 5, 7, 10, 14, 20)
    return Plan(cells, {n: scale * size for n, size in tasks.items()}, 1000 * scale, draws, 1000)


@functools.cache
def tables(size, end):
    """Approximations of the Gittins index, label -> ranks."""
    made = {"closed form": baselines.closed_form(size), "stopping horizons": baselines.posterior_mean(size)}
    made |= {f"calibrated, {g}": baselines.calibrated(size, g, end) for g in (0.9, 0.99, 0.999, 0.9999)}
    return {label: jax.numpy.asarray(baselines.ranks(index)) for label, index in made.items()}


def methods(plan):
    """Name -> `Tuned` or `Policy`."""
    tenths = [i / 10 for i in range(11)]
    size = max(n for n, _ in plan.cells)
    gittins = tables(size, plan.end)
    return {
        "Random": policies.random_price(),
        "Gittins": Tuned(baselines.index_policy, gittins),
        "TS": policies.thompson(),
        "OTS": Tuned(baselines.ots_map, {f"N={n}": np.int32(n) for n in plan.draws}, batches=1),
        "UCB1": Tuned(baselines.ucb1, {f"c={c}": np.float32(c) for c in tenths}),
        "eps-greedy": Tuned(baselines.epsilon_greedy, {f"eps={e}": np.float32(e) for e in tenths}),
        "Greedy": Tuned(baselines.index_policy, {"": gittins["stopping horizons"]}),
    }


@functools.lru_cache(maxsize=32)
def _compiled(arms, make, lanes):
    """A batch of tasks: `(number, seed, horizon) -> (regret, reward)`, `[lanes]` each; all numbers share compiled code."""
    env, _ = jaxprice.make("BernoulliBandit", num_arms=arms)

    def totals(number, seed, horizon):
        out = jaxprice.rollout(env, make(number), seed=seed, lanes=lanes, horizon=horizon)
        return out["regret"], out["reward"]

    return jax.jit(totals, static_argnums=2)


def play(cell, policy, lanes, seeds):
    """The `Outcome` of a policy without hyperparameter, by `simulate`."""
    n, k = cell
    env, _ = jaxprice.make("BernoulliBandit", num_arms=k)
    runs = [
        jaxprice.simulate(env, policy, seed=int(seed), lanes=lanes, horizon=n, checkpoints=[n]).isel(policy=0, time=0)
        for seed in seeds
    ]
    regret = np.concatenate([run["lane_regret"].values for run in runs])
    spread = math.sqrt(np.mean([float(run["reward_se"]) ** 2 * lanes for run in runs]))
    return Outcome(regret, spread, "", regret, "")


def tune(cell, tuned, lanes, seeds, other):
    """The `Outcome` of a baseline with its hyperparameter chosen on the tasks of `seeds`, and chosen on those of `other`."""
    n, k = cell
    run, done = _compiled(k, tuned.make, lanes), {}

    def totals(label, seed):
        if (label, seed) not in done:
            done[label, seed] = run(tuned.grid[label], np.uint32(seed), n)
        return done[label, seed]

    def best(seeds):
        if len(tuned.grid) == 1:
            return next(iter(tuned.grid))
        outs = {label: [totals(label, seed)[0] for seed in seeds[: tuned.batches]] for label in tuned.grid}
        return min(outs, key=lambda label: np.mean([np.asarray(regret, float).mean() for regret in outs[label]]))

    def whole(label):
        regret, reward = zip(*(jax.device_get(totals(label, seed)) for seed in seeds), strict=True)
        return np.concatenate(regret).astype(float), float(np.concatenate(reward).std(ddof=1))

    chosen, other_chosen = best(seeds), best(other)
    return Outcome(*whole(chosen), chosen, whole(other_chosen)[0], other_chosen)


def found_agents(folder, cell):
    """Name -> `(agent, digest)` for one setting, from the folder and from the package, without duplicates.

    The setting is on the agent's card, or in the name of its file.

    Raises:
      ValueError: the file of an agent is named after another setting than that of its card.
    """
    made = {}
    for path in [*sorted(folder.glob("*.npz")), *agents.list_agents()]:
        agent, named = agents.load_agent(path), re.search(r"n(\d+)_k(\d+)(?!\d)", Path(path).stem)
        if agent.told.get("market", "BernoulliBandit") != "BernoulliBandit":
            continue
        here = agent.told.get("horizon", int(named[1]) if named else None), agent.actions
        if named and here != (int(named[1]), int(named[2])):
            raise ValueError(f"agent {str(path)!r} must be for (pulls, arms) as its name says, but its card says {here}")
        arrays = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(agent.weights))
        digest = hashlib.sha256(arrays).hexdigest()
        if here == cell and digest not in [known for _, known in made.values()]:
            name = agent.told.get("name", "").removeprefix(f"n{cell[0]}_k{cell[1]}").strip("_") or "RL^2"
            made[f"{name} (ours)" if f"{name} (ours)" not in made else f"{name} (ours), {Path(path).stem}"] = agent, digest
    return made


def run_cell(cell, plan, options, made, step, walk):
    """`(method -> Outcome, title -> origin and date)`, with "oracle" if there is a table for the horizon."""
    n, k = cell
    first = 100_000 * options.seed
    seeds = [first + i for i in range(plan.tasks[n] // plan.lanes)]
    other = [first + 50_000 + i for i in range(len(seeds))]
    outcomes, abouts = {}, {}

    def keep(name, make):
        step(f"{name}, n={n}, k={k}")
        title = f"n{n}_k{k}-{name}"
        found, abouts[title] = saved.load_or_make(options.out / "cells", title, lambda: make()._asdict(), walk)
        outcomes[name] = Outcome(*(found[field] if found[field].ndim else found[field].item() for field in Outcome._fields))

    for name, method in made.items():
        if isinstance(method, Tuned):
            keep(name, functools.partial(tune, cell, method, plan.lanes, seeds, other))
        else:
            keep(name, functools.partial(play, cell, method, plan.lanes, seeds))
    for name, (agent, _) in found_agents(options.agents, cell).items():
        keep(name, functools.partial(play, cell, agent.policy(), plan.lanes, seeds))
    try:
        oracle = policies.gittins(horizon=n)
    except ValueError:
        return outcomes, abouts
    keep("oracle", functools.partial(play, cell, oracle, plan.lanes, seeds))
    return outcomes, abouts


def main(options):
    """Play, print, write."""
    devices.use_cpu_cores()
    if options.preset == "smoke":
        devices.compile_quickly()
    console, plan = Console(), plan_of(options)
    if not console.is_terminal:
        console = Console(width=110)
    told = {"study": "rl2_bandits", "preset": options.preset, "seed": options.seed}
    out = saved.open_folder(options.out, told)
    options, writable = dataclasses.replace(options, out=out), files.can_write(out)
    start, made, rows, abouts, walk = time.perf_counter(), methods(plan), [], {}, fingerprint.Walk(narrow=True)
    columns = TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar, saved.resumable(out):
        job = bar.add_task("", total=len(plan.cells) * (len(made) + 1))

        def step(text):
            bar.update(job, description=text, advance=1)

        for cell in plan.cells:
            outcomes, by = run_cell(cell, plan, options, made, step, walk)
            rows, abouts = rows + table.rows_of(cell, outcomes), abouts | by
            if writable:
                table.write(rows, out / "table.csv")
    table.show(rows, console)
    if writable:
        table.plot_figure(rows, out / "gaps.png")
        about = {"options": dataclasses.asdict(options)}
        about["plan"] = plan._asdict() | {"cells": [str(cell) for cell in plan.cells]}
        title = "Duan et al. (2016), RL^2, Table 1: nine bandits, seven baselines, agents"
        about |= saved.told_of("rl2_bandits", title, options.preset, time.perf_counter() - start, time.process_time())
        files.write_json(out / "manifest.json", told | about | {"made": manifest.of_cells(abouts)})
    scores = [abs(row["z"]) for row in rows if row["method"] in METHODS]
    console.print(
        f"{sum(z <= 3 for z in scores)} of {len(scores)} baseline cells within 3 standard errors of the printed ones, "
        f"{sum(z <= 2 for z in scores)} within 2 -> {options.out}/table.csv, gaps.png"
    )
