"""Calvano, Calzolari, Denicolo and Pastorello (2020): Q-learning sellers that reach collusive prices and maintain them.

    python -m experiments.studies.calvano_collusion                    # minutes on two cores
    python -m experiments.studies.calvano_collusion --preset smoke     # seconds; exploration, window a hundredth

Two or three sellers of differentiated goods with logit demand (`LogitOligopoly`) set one of 15 prices each, and learn by
Q-learning from the prices of the previous period; exploration decreases as exp(-beta t). Published are the profit gain Delta
after convergence, 0 at the one-shot Nash equilibrium and 1 at the joint monopoly: .85 at alpha = .15, beta = 4e-6, and .64
with three firms; its map over (alpha, beta); and the response to a forced deviation: punishment, then a gradual return.

A cell is a set of runs played to convergence (for learning and convergence see `q_duopoly`). Delta is the mean over the
limit cycle of the converged greedy prices, not the last period; its error is over runs. Cells: the representative parameters
in float32, and again with float64 tables, because a greedy price may depend on rounding; three firms; a grid of (alpha,
beta), whose pairs all meet the same random numbers. For the first cell, each seller deviates once in every state of a run's
limit cycle to its best static reply on the grid, then all play their greedy prices again (`greedy_play.deviate`). In the
authors' program a run is an equilibrium if no seller gains, in any state of the cycle, by another price for one period
(`one_period`); the paper finds this for about half of the runs. A best reply may earn more, because a seller's own table
need not be optimal off the cycle: value iteration (`losses`) computes this gain.

Departures: the paper has other numbers of runs (1,000 a cell) and of pairs (100 x 100). Here deviations are averaged over
both sellers and all states of the cycle, and ties of the largest Q go to the lower price. Periods to convergence are
reported with the window of 100,000 and, in the middle of the grid, without it, as the authors' program counts.

Sources: E. Calvano, G. Calzolari, V. Denicolo, S. Pastorello (2020), "Artificial intelligence, algorithmic pricing, and
collusion", American Economic Review 110(10), 3267-3297, doi:10.1257/aer.20190623; the authors' program, openICPSR 119462.
"""

import functools
import math
from typing import NamedTuple

import jax
import numpy as np

from experiments.frame import study
from experiments.studies.calvano_collusion import greedy_play, q_duopoly
from jaxprice.oracles import logit_pricing

RATE, DECAY, DISCOUNT = 0.15, 4e-6, 0.95
SHOWN = 20  # number of periods after a deviation
BATCH = 50  # number of runs in a cell


class Sizes(NamedTuple):
    """The amount of play.

    Attributes:
      runs, double_runs, three_runs: number of runs of two firms, with float64 tables, and of three firms.
      grid_runs: number of runs for each pair of the grid.
      rates, decays: the grid; its middle is that of the paper, alpha in [.025, .25] and beta in (0, 2e-5].
      hurry: factor by which exploration and the convergence window are shortened; 1 is the paper's.
    """

    runs: int
    double_runs: int
    three_runs: int
    grid_runs: int
    rates: tuple = (0.025, 0.08125, 0.1375, 0.19375, 0.25)
    decays: tuple = (2e-6, 6e-6, 1e-5, 1.5e-5, 2e-5)
    hurry: int = 1


def cells(sizes, seed):
    """The cells of `Study`: at most `BATCH` runs each; the grid is divided by beta."""
    q_duopoly.whole_loops()

    def play(firms, lanes, rate=RATE, decay=DECAY, dtype=np.float32, told=False):
        with jax.enable_x64(dtype == np.float64):
            game = greedy_play.game(firms)
            window = max(q_duopoly.WINDOW // sizes.hurry, 1)
            learned = {"rate": rate, "decay": decay * sizes.hurry, "discount": DISCOUNT, "window": window}
            run, converged = q_duopoly.converge(game, lanes, **learned, seed=seed, dtype=dtype)
        greedy = np.stack(run.greedy, axis=1)
        visited = greedy_play.limit_cycles(game, greedy, run.played)
        known = {"time": run.time, "converged": converged, "played": run.played, "greedy": greedy.astype(np.int8)}
        known |= greedy_play.described(game, visited)
        if told:
            known |= greedy_play.deviate(game, greedy, visited, DISCOUNT, SHOWN)
            known |= greedy_play.one_period(game, greedy, visited, DISCOUNT)
            known |= greedy_play.losses(game, greedy, visited, DISCOUNT)
        return known

    firms = {"two firms": (2, sizes.runs, np.float32), "two firms, float64": (2, sizes.double_runs, np.float64)}
    parts = {}
    for name, (n, runs, dtype) in (firms | {"three firms": (3, sizes.three_runs, np.float32)}).items():
        for first in range(0, runs, BATCH):
            lanes = np.arange(first, min(first + BATCH, runs))
            job = functools.partial(play, n, lanes, dtype=dtype, told=name == "two firms")
            parts[f"{name}: runs from {first}"] = job
    lanes, rates = np.repeat(np.arange(sizes.grid_runs), len(sizes.rates)), np.tile(sizes.rates, sizes.grid_runs)
    for decay in sizes.decays:
        parts[f"grid: beta {decay:g}"] = functools.partial(play, 2, lanes, rates, decay)
    return parts


def gathered(results, name):
    """The runs of all cells of a name, concatenated."""
    parts = [result for cell, result in results.items() if cell.split(":")[0] == name]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def over_grid(sizes, results, key):
    """Results of the grid's runs, float `[grid_runs, rates, decays]`."""
    shape = len(sizes.decays), sizes.grid_runs, len(sizes.rates)
    return gathered(results, "grid")[key].reshape(shape).transpose(1, 2, 0).astype(float)


def static(firms):
    """Nash and monopoly prices in double precision."""
    with jax.enable_x64(True):
        market = np.full(firms, 2.0), np.full(firms, 1.0), 0.25
        return float(logit_pricing.nash(*market)[0]), float(logit_pricing.monopoly(*market)[0][0])


def rows(sizes, results):
    """The rows of `Study`; results of a hurried preset are compared with nothing."""
    names = "two firms", "two firms, float64", "three firms", "grid"
    two, double, three, grid = (gathered(results, name) for name in names)
    asked = sizes.hurry == 1
    pair = f"alpha = {RATE:g}, beta = {DECAY * sizes.hurry:g}"

    def row(cell, values, known=(), note=""):
        values = np.asarray(values, float)
        known = dict(zip(("published", "digits", "source", "kind"), known if asked else (), strict=False))
        return study.Row(cell, *study.mean(values[~np.isnan(values)]), note=note, **known)

    known = {"source": "input file of the authors' program", "digits": 5, "kind": "printed"}
    table = [
        study.Row(f"{name} price, {firms} firms", price, 0.0, **printed)
        for firms, pairs in ((2, [{"published": x, **known} for x in (1.47293, 1.92498)]), (3, ({}, {})))
        for name, price, printed in zip(("Nash", "monopoly"), static(firms), pairs, strict=True)
    ]
    table += [
        row(f"Delta, 2 firms, {pair}", two["gain"], (0.85, 2, "p. 3277", "printed")),
        row(f"Delta, 2 firms, {pair}, float64 tables", double["gain"], (0.85, 2, "p. 3277", "printed")),
        row(f"Delta, 3 firms, {pair}", three["gain"], (0.64, 2, "p. 3288, as quoted by others", "quoted")),
        *(row(f"runs converged, {name}", x["converged"]) for name, x in zip(names, (two, double, three, grid), strict=True)),
        row("periods, 2 firms, window included", two["time"]),
        row("periods, 3 firms, window included", three["time"]),
        row("mean price, 2 firms", two["price"]),
        row("runs that end in one price each, 2 firms", two["length"] == 1),
        row("runs that end in a cycle of two, 2 firms", two["length"] == 2),
        row(
            "runs in equilibrium on the cycle: no gain from one period",
            two["equilibrium"],
            (0.5, 1, "pp. 3276-79, as quoted by others", "quoted"),
            'the criterion of the authors\' program; printed as "about half"',
        ),
        row("prices on the cycle: no gain from one period", two["kept"]),
        row("runs with best replies on the cycle", two["best_path"], note="stricter: any reply over all periods is tried"),
        row("value lost on the cycle against best replies", two["path_loss"]),
        row("states in which both prices are best replies", two["best_states"]),
    ]
    own, rivals = (two["path"] - two["price"][:, None, None]).swapaxes(0, 1)
    table += [
        row("deviation: deviator's price over the long run, period 1", own[:, 1]),
        *(row(f"deviation: rival's price over the long run, period {t}", rivals[:, t]) for t in (2, 5, 10)),
        row("deviation: share that pay", two["pays"]),
        row("deviation: gain in discounted profits", two["worth"]),
    ]
    gain, late = over_grid(sizes, results, "gain"), over_grid(sizes, results, "time") - q_duopoly.WINDOW // sizes.hurry
    middle = len(sizes.rates) // 2, len(sizes.decays) // 2
    means = gain.mean(axis=0)
    spread = gain.std(axis=0, ddof=1) / math.sqrt(sizes.grid_runs) if sizes.grid_runs > 1 else np.nan * means
    for name, find in (("smallest", np.argmin), ("largest", np.argmax)):
        i, j = np.unravel_index(find(means), means.shape)
        where = f"alpha = {sizes.rates[i]:g}, beta = {sizes.decays[j] * sizes.hurry:g}"
        table.append(study.Row(f"Delta, {name} of the grid, {where}", means[i, j], spread[i, j]))
    table.append(row("Delta, mean of the grid", gain.mean(axis=(1, 2))))
    where = f"alpha = {sizes.rates[middle[0]]:g}, beta = {sizes.decays[middle[1]] * sizes.hurry:g}"
    known = 850_000, -4, "p. 3276, as quoted by others", "quoted"
    told = 'without the window, as the authors\' program counts; printed as "about"'
    table.append(row(f"periods, middle of the grid, {where}", late[:, *middle], known, told))
    return table


def plot_figure(figure, sizes, results, rows):
    """Delta and periods over (alpha, beta), and prices after a deviation."""
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15))
    two, late = gathered(results, "two firms"), over_grid(sizes, results, "time") - q_duopoly.WINDOW // sizes.hurry
    maps = (
        (over_grid(sizes, results, "gain"), "profit gain $\\Delta$", "{:.2f}"),
        (late / 1e6, "periods to convergence, millions", "{:.2f}"),
    )
    for axes, (values, title, form) in zip(left.subplots(2, 1, sharex=True), maps, strict=True):
        means = values.mean(axis=0)
        image = axes.imshow(means, origin="lower", aspect="auto", cmap="viridis")
        low, high = image.get_clim()
        for i, j in np.ndindex(means.shape):
            colour = "black" if means[i, j] > (low + high) / 2 else "white"
            axes.text(j, i, form.format(means[i, j]), ha="center", va="center", fontsize=8, color=colour)
        axes.set_title(title, fontsize=10)
        axes.set_yticks(range(len(sizes.rates)), [f"{x:.3g}" for x in sizes.rates])
        axes.set_xticks(range(len(sizes.decays)), [f"{x * sizes.hurry * 1e6:g}" for x in sizes.decays])
        axes.set_ylabel("$\\alpha$")
    axes.set_xlabel("$\\beta \\times 10^6$")
    axes, times = right.subplots(), np.arange(SHOWN + 1)
    styles = (("deviator", "C3", "o"), ("rival", "C0", "s"))
    for (name, colour, marker), path in zip(styles, two["path"].swapaxes(0, 1), strict=True):
        axes.errorbar(times, *study.band(path), color=colour, marker=marker, markersize=4, capsize=2, label=name)
    nash, monopoly = static(2)
    axes.axhline(two["price"].mean(), color="grey", linewidth=1, label="long run")
    axes.axhline(monopoly, color="grey", linestyle="--", linewidth=1, label="monopoly")
    axes.axhline(nash, color="grey", linestyle=":", linewidth=1, label="Nash")
    axes.set_xticks(range(0, SHOWN + 1, 5))
    axes.set_xlabel("periods; the deviation is in period 1")
    axes.set_ylabel("price")
    axes.set_title(f"after a deviation, {len(two['gain'])} runs, 95 % intervals", fontsize=10)
    axes.legend(fontsize=8)


STUDY = study.Study(
    name="calvano_collusion",
    title="Q-learning sellers: profit gains, deviations (Calvano, Calzolari, Denicolo and Pastorello 2020)",
    presets={
        "smoke": Sizes(16, 4, 2, 4, hurry=100),
        "default": Sizes(300, 50, 20, 12),
        "full": Sizes(
            *(1000, 1000, 1000, 100),
            rates=tuple(np.linspace(0.025, 0.25, 11).round(6).tolist()),
            decays=tuple((np.arange(1, 10) * 2e-6).round(8).tolist()),
        ),
    },
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
    public="the public Python replication (M. Courthoud), an interpreted loop, made 10,700 periods a second on one of our "
    "cores in 100,000 periods: 14 hours for the 300 pairs, 470 times as long as ours on one core",
)
