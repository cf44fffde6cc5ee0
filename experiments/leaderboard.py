"""The leaderboard: every policy on the standard suite, version v1.

    python -m experiments.leaderboard                   # all policies, 500 lanes
    python -m experiments.leaderboard --preset smoke    # a few policies, seconds
    python -m experiments.leaderboard --preset full     # 100,000 lanes, for a GPU

The suite is fixed: environments, horizons and the seed below are v1, and change only with the version. It has tracks, which
differ in the actions and observations of the seller. A policy runs, with its default options, in every environment that it
accepts. The trained seller for all markets (`agents.load("seller")`) is one of them if it comes with the package. A cell is
the share of the oracle's expected revenue that a policy earns, with its 95 % interval over lanes. Each lane draws its own
market, and all policies meet the same markets and buyers. A policy that accepts all environments of a track also gets the
mean of its cells there, its interval, and a rank.

Files in `--out`: `leaderboard.md`, `leaderboard.csv`, `leaderboard.tex`, `leaderboard.png` (a heat map), and every cell with
all its statistics. A second run resumes, and computes cells again if their code was edited.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import jaxprice
from experiments.frame import command
from jaxprice import agents, files, policies, stats
from jaxprice.experiment import Experiment

VERSION = "v1"
SEED = 20260
HORIZON = 2000
TRACKS = {
    "grid": {
        "linear": ("PostedPrice", {"demand": "linear"}),
        "logit": ("PostedPrice", {"demand": "logit"}),
        "beta valuations": ("PostedPrice", {"demand": "beta"}),
        "two segments": ("PostedPrice", {"demand": "mixture"}),
    },
    "grid, moving": {
        "change points": ("NonStationary", {"kind": "piecewise", "num_markets": 4, "horizon": HORIZON}),
        "season": ("NonStationary", {"kind": "season"}),
        "drift": ("NonStationary", {"kind": "drift"}),
    },
    "features": {
        "logit elasticity": ("GLMDemand", {"dimension": 4, "num_prices": 10}),
        "valuations": ("LinearValuation", {"dimension": 4, "num_prices": 10}),
    },
    "interval": {
        "linear box": ("ParametricDemand", {"family": "keskin_zeevi"}),
        "logit box": ("ParametricDemand", {"family": "logit"}),
    },
    "interval, features": {
        "elasticity": ("GLMDemand", {"dimension": 4}),
        "linear valuations": ("LinearValuation", {"dimension": 4}),
    },
    "stock": {
        "season's stock": ("FiniteInventory", {"horizon": HORIZON, "stock": HORIZON // 4}),
    },
    "network": {
        "three resources": ("NetworkRevenue", {"horizon": HORIZON}),
    },
    "segments": {
        "hundred segments": ("SegmentedValuation", {"num_segments": 100, "num_prices": 20}),
    },
    "memory": {
        "reference prices": ("ReferencePrice", {}),
    },
    "several products": {
        "low rank": ("LowRankDemand", {"num_products": 20, "rank": 2, "features_known": True}),
        "logit prices": ("MNLPricing", {}),
    },
    "assortments": {
        "logit assortments": ("MNLAssortment", {}),
    },
}
LANES = {"smoke": 16, "default": 500, "full": 100_000}
SMOKE = ("oracle", "random_price", "ucb1", "thompson")
TRAINED = ("seller",)  # agents that come with the package and sell in many markets


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    preset: Literal["smoke", "default", "full"] = "default"
    """smoke: 4 policies, 16 lanes, the first environment of each track; default: 500 lanes; full: 100,000 lanes."""
    out: Path = Path("results/leaderboard")
    """Results folder."""
    policies: tuple[str, ...] = ()
    """Only these policies; by default all of the preset."""
    tracks: tuple[str, ...] = ()
    """Only these tracks; by default all."""


def suite(preset):
    """Track -> environment label -> environment."""
    made = {track: {label: jaxprice.make(kind, **options)[0] for label, (kind, options) in rows.items()}
            for track, rows in TRACKS.items()}  # fmt: skip
    return {track: dict(list(rows.items())[:1]) for track, rows in made.items()} if preset == "smoke" else made


def contenders():
    """Names of all policies: those of `jaxprice.policies`, and trained agents."""
    return (*policies.list(), *(name for name in TRAINED if name in agents.list_agents()))


@functools.lru_cache(maxsize=256)
def made(name):
    """The policy with this name."""
    return agents.load(name) if name in TRAINED else policies.make(name)


def takes(policy, env):
    """Whether a policy can play in an environment."""
    if policy == "oracle":
        return True
    seller, problem = made(policy), _problem(env)
    try:
        jax.eval_shape(lambda key: seller.init(key, problem), jax.random.key(0))
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=64)
def _problem(env):
    """The problem of sellers in an environment, made once."""
    params = env.default_params()
    return env.problem(params).with_observation(env.reset_env(jax.random.key(0), params)[0])


def play(options, console):
    """Run the missing cells: `(track, label, policy)` -> share and its standard error."""
    for track in options.tracks:
        jaxprice.checks.choice("track", track, TRACKS)
    tracks = suite(options.preset)
    tracks = {track: tracks[track] for track in options.tracks or tracks}
    lanes = LANES[options.preset]
    horizon = 100 if options.preset == "smoke" else HORIZON
    names = options.policies or (SMOKE if options.preset == "smoke" else contenders())
    for name in names:
        jaxprice.checks.choice("policy", name, contenders())
    grids = {
        (track, label): Experiment(
            {label: (env, None)}, {name: made(name) for name in names if takes(name, env)}, lanes, horizon, SEED
        )
        for track, labels in tracks.items()
        for label, env in labels.items()
    }
    grids = {where: grid for where, grid in grids.items() if grid.policies}
    if not grids:
        raise ValueError(f"policies must take a market of the tracks {list(tracks)}, but none of {list(names)} does")
    shares = {}
    columns = TextColumn("{task.description:<48}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar:
        job = bar.add_task("cells", total=sum(len(grid.cells()) for grid in grids.values()))
        for (track, label), grid in grids.items():

            def progress(environment, policy, pulls):
                bar.update(job, description=f"{policy} on {environment}", advance=pulls / (lanes * horizon))

            result = grid.run(options.out / "runs" / label.replace(" ", "-"), progress=progress)[label].isel(time=-1)
            for name in grid.policies:
                one = result.sel(policy=name)
                shares[track, label, name] = float(one["share"]), float(one["share_se"])
    return tracks, shares


def rows_of(tracks, shares):
    """A dict for each policy in each track: its cells and, if it has all of them, their mean, its error and its rank."""
    rows = []
    for track, labels in tracks.items():
        ranked = []
        for name in dict.fromkeys(policy for where, _, policy in shares if where == track):
            row = {
                "track": track,
                "policy": name,
                "cells": {x: shares[track, x, name] for x in labels if (track, x, name) in shares},
            }
            whole = len(row["cells"]) == len(labels)
            values = np.array(list(row["cells"].values()))
            row["share"] = float(values[:, 0].mean()) if whole else math.nan
            row["share_se"] = float(np.sqrt((values[:, 1] ** 2).sum()) / len(values)) if whole else math.nan
            ranked.append(row | {"rank": 0})
        ranked.sort(key=lambda row: -np.nan_to_num(row["share"], nan=-np.inf))
        contenders = [row for row in ranked if row["policy"] != "oracle" and not math.isnan(row["share"])]
        for rank, row in enumerate(contenders, start=1):
            row["rank"] = rank
        rows += ranked
    return rows


def cell(value, error, lanes=None):
    """A share and half its 95 % interval, in percent."""
    return "" if math.isnan(value) else f"{100 * value:.2f} ± {100 * stats.critical(lanes) * error:.2f}"


def text(tracks, rows, lanes=None):
    """Title, header and lines of each track, all strings; intervals are over the given number of lanes (None: many)."""
    for track, labels in tracks.items():
        header = ["rank", "policy", "mean", *labels]
        lines = []
        for row in rows:
            if row["track"] == track:
                parts = [cell(*row["cells"].get(label, (math.nan, 0.0)), lanes) for label in labels]
                lines.append([str(row["rank"] or ""), row["policy"], cell(row["share"], row["share_se"], lanes), *parts])
        yield track, header, lines


def write(tracks, rows, out, lanes=None):
    """The table as Markdown, CSV and LaTeX."""
    markdown, latex = [f"# Leaderboard {VERSION}: share of the oracle's revenue, %", ""], []
    for track, header, lines in text(tracks, rows, lanes):
        markdown += [f"## {track}", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        markdown += ["| " + " | ".join(f"`{x}`" if k == 1 else x for k, x in enumerate(line)) + " |" for line in lines] + [
            ""
        ]
        latex += [f"% {track}", r"\begin{tabular}{rl" + "r" * (len(header) - 2) + "}", r"\hline"]
        for line in [header, *lines]:
            escaped = [x.replace("_", r"\_").replace("±", r"$\pm$") for x in line]
            latex.append(" & ".join(escaped) + r" \\" + (r" \hline" if line is header else ""))
        latex += [r"\hline", r"\end{tabular}", ""]
    files.write(out / "leaderboard.md", "\n".join(markdown))
    files.write(out / "leaderboard.tex", "\n".join(latex))
    cells = [
        (VERSION, row["track"], label, row["policy"], f"{share:.8g}", f"{error:.8g}", row["rank"] or "")
        for row in rows
        for label, (share, error) in row["cells"].items()
    ]
    header = ("version", "track", "environment", "policy", "share", "share_se", "rank in the track")
    files.write_csv(out / "leaderboard.csv", header, cells)


def plot_figure(tracks, rows, path):
    """A heat map: policies by environments, with the lost share of the revenue as colour."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import LogNorm

    labels = [(track, label) for track, inner in tracks.items() for label in inner]
    names = [name for name in dict.fromkeys(row["policy"] for row in rows) if name != "oracle"]
    lost = np.full((len(names), len(labels)), np.nan)
    for row in rows:
        for label, (share, _) in row["cells"].items():
            if row["policy"] in names:
                lost[names.index(row["policy"]), labels.index((row["track"], label))] = 100 * max(1 - share, 1e-4)
    figure, ax = plt.subplots(figsize=(2.5 + 0.55 * len(labels), 1.8 + 0.22 * len(names)), layout="constrained")
    image = ax.imshow(lost, aspect="auto", cmap="viridis_r", norm=LogNorm(0.1, 100))
    ax.set_xticks(range(len(labels)), [f"{track}: {label}" for track, label in labels], rotation=60, ha="right", fontsize=8)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    figure.colorbar(image, label="% of the oracle's revenue lost")
    ax.set_title(f"Leaderboard {VERSION}")
    files.write_figure(path, figure)
    plt.close(figure)


def main(options):
    """Play, print, write."""
    console = Console()
    tracks, shares = play(options, console)
    rows = rows_of(tracks, shares)
    for track, header, lines in text(tracks, rows, LANES[options.preset]):
        printed = Table(*header, title=track, title_justify="left")
        for line in lines:
            printed.add_row(*line)
        console.print(printed)
    if files.can_write(options.out):
        write(tracks, rows, options.out, LANES[options.preset])
        plot_figure(tracks, rows, options.out / "leaderboard.png")
    console.print(f"{len(shares)} cells -> {options.out}/leaderboard.md, .csv, .tex, .png")


if __name__ == "__main__":
    command.run(main, Options)
