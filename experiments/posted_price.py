"""Ten policies on eight posted-price markets, two of them calibrated from real purchases: the main job.

    python -m experiments.posted_price                  # a minute and a half on two cores
    python -m experiments.posted_price --preset smoke   # seconds
    python -m experiments.posted_price --preset full    # a million lanes, for a GPU
    python -m experiments.posted_price --redraw         # draws `share.png` from a saved table

The command prints a table (final regret with its 95 % interval, share of the optimal revenue, rank, paired difference to the
best policy). It writes the table to `--out`, with two pictures (who wins: `share.png`; how regret grows: `regret.png`) and
all statistics. A second run resumes, and computes cells again if their code was edited.
"""

import contextlib
import csv
import dataclasses
import time
from pathlib import Path
from typing import Literal

import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import jaxprice
from experiments.frame import command
from jaxprice import checks, files, plot, policies, stats
from jaxprice.experiment import Experiment, table


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    preset: Literal["smoke", "default", "full"] = "default"
    """smoke: 3 markets, 4 policies, 64 lanes, 500 periods; default: 1,000 lanes, 10,000 periods; full: 1,000,000 lanes."""
    out: Path = Path("results/posted_price")
    """Results folder."""
    lanes: int | None = None
    """Lanes, instead of the preset's."""
    horizon: int | None = None
    """Periods, instead of the preset's."""
    seed: int = 0
    """Seed of all lanes."""
    redraw: bool = False
    """Draw `share.png` again from the table in the results folder, without simulation."""


def sizes(options):
    """Lanes and horizon of a preset, or the given numbers.

    Raises:
      ValueError: a number is below one.
    """
    preset = {"smoke": (64, 500), "default": (1000, 10_000), "full": (1_000_000, 10_000)}[options.preset]
    given = zip(("lanes", "horizon"), (options.lanes, options.horizon), preset, strict=True)
    return tuple(usual if size is None else checks.positive_int(name, size) for name, size, usual in given)


def markets(preset):
    """Name -> `(environment, params)`: one market of each demand family, and two calibrated ones."""
    made = {
        "apple": jaxprice.make("apple"),
        "yogurt": jaxprice.make("yogurt"),
        "logit": jaxprice.make("PostedPrice", demand="logit"),
        "linear": jaxprice.make("PostedPrice", demand="linear"),
        "exponential": jaxprice.make("PostedPrice", demand="exponential"),
        "beta valuations": jaxprice.make("PostedPrice", demand="beta"),
        "two segments": jaxprice.make("PostedPrice", demand="mixture"),
        "iso-elastic": jaxprice.make("PostedPrice", demand="iso_elastic"),
    }
    return dict(list(made.items())[:3]) if preset == "smoke" else made


def sellers(preset):
    """Name -> policy: ten policies, some in two forms."""
    made = {
        "oracle": policies.oracle(),
        "fixed price": policies.fixed_price(),
        "random": policies.random_price(),
        "learn then earn 5%": policies.explore_then_commit(share=0.05),
        "eps-greedy 10%": policies.epsilon_greedy(epsilon=0.1),
        "eps-greedy decaying": policies.epsilon_greedy(epsilon=10.0, decay=True),
        "UCB1": policies.ucb1(),
        "UCB-tuned": policies.ucb_tuned(),
        "KL-UCB": policies.kl_ucb(),
        "Thompson": policies.thompson(),
        "Thompson Gaussian": policies.gaussian_thompson(),
        "Exp3": policies.exp3(),
    }
    return {name: made[name] for name in ("oracle", "eps-greedy 10%", "UCB1", "Thompson")} if preset == "smoke" else made


def show(results, console):
    """Print the table, one block a market, with policies from best to worst."""
    rows = table(results)
    for environment in results:
        printed = Table(title=environment, title_justify="left", title_style="bold")
        for name, justify in (
            ("rank", "right"),
            ("policy", "left"),
            ("regret", "right"),
            ("95 % interval", "right"),
            ("% of optimum", "right"),
            ("behind the best (paired)", "right"),
        ):
            printed.add_column(name, justify=justify)
        for row in sorted((row for row in rows if row["environment"] == environment), key=lambda row: row["rank"]):
            low, high = stats.interval(row["regret"], row["regret_se"], row["lanes"])
            reach = stats.critical(row["lanes"])
            gap = "" if row["policy"] == "oracle" else f"{row['gap']:.4g} ± {reach * row['gap_se']:.2g}"
            printed.add_row(
                str(row["rank"]),
                row["policy"],
                f"{row['regret']:.4g}",
                f"{low:.4g} to {high:.4g}",
                f"{100 * row['share']:.2f}",
                "best" if row["gap"] == 0 and row["policy"] != "oracle" else gap,
            )
        console.print(printed)


def draw_regret(results, path):
    """Regret curves with 95 % bands, one panel a market."""
    with _panels(results, path, 4.2, 3.6) as (figure, panels):
        legend = {}
        for name, ax in panels.items():
            plot.regret(results[name], ax=ax)
            ax.set_title(name)
            legend |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
            ax.get_legend().remove()
        figure.legend(list(legend.values()), list(legend), loc="outside lower center", ncols=6, frameon=False)


def draw_share(results, path):
    """Who wins: the final share of the optimum with its 95 % interval, from best to worst, one panel a market."""
    with _panels(results, path, 3.7, 2.9) as (_, panels):
        for name, ax in panels.items():
            plot.share(results[name], ax=ax)
            ax.set_title(name)


@contextlib.contextmanager
def _panels(results, path, width, height):
    """A figure with a panel of this size in inches for each market, saved to `path` afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = min(4, len(results))
    rows = -(-len(results) // columns)
    size = (width * columns, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)  # inches; numbers stand right of each panel
    for ax in axes.flat[len(results) :]:
        ax.set_axis_off()
    yield figure, dict(zip(results, axes.flat, strict=False))
    files.write_figure(path, figure)
    plt.close(figure)


def read_table(path):
    """The last checkpoint of every market, from a saved table.

    Args:
      path: `table.csv` of this experiment.

    Returns:
      Name of the market -> `xarray.Dataset` with regret and share over policy and time, as `plot.share` takes it.

    Raises:
      ValueError: the file does not exist, or is not such a table.
    """
    named = {}
    try:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                named.setdefault(row["environment"], []).append(row)
        return {name: _last_checkpoint(rows) for name, rows in named.items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"out must hold the table of a finished run, got {path}: {error}") from error


def _last_checkpoint(rows):
    """The dataset of one market from its rows."""
    values = {key: [[float(row[key])] for row in rows] for key in ("regret", "share", "share_se")}
    where = {"policy": [row["policy"] for row in rows], "time": [int(rows[0]["horizon"])]}
    columns = {key: (("policy", "time"), value) for key, value in values.items()}
    return xr.Dataset(columns, where, {"lanes": int(rows[0]["lanes"])})


def main(options):
    """Run the experiment, print its table, draw its pictures."""
    console = Console()
    if options.redraw:
        draw_share(read_table(options.out / "table.csv"), options.out / "share.png")
        return
    lanes, horizon = sizes(options)
    experiment = Experiment(
        markets(options.preset), sellers(options.preset), lanes=lanes, horizon=horizon, seed=options.seed
    )
    start = time.perf_counter()
    bar = Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        job = bar.add_task("cells", total=len(experiment.cells()))

        def progress(environment, policy, pulls):
            bar.update(job, description=f"{policy} on {environment}", advance=pulls / (lanes * horizon))

        results = experiment.run(options.out, progress=progress)
    show(results, console)
    if files.can_write(options.out):
        draw_share(results, options.out / "share.png")
        draw_regret(results, options.out / "regret.png")
    console.print(
        f"{len(experiment.cells())} cells x {lanes:,} lanes x {horizon:,} periods in "
        f"{time.perf_counter() - start:.0f} s -> {options.out}/table.csv, share.png, regret.png, results.nc"
    )


if __name__ == "__main__":
    command.run(main, Options)
