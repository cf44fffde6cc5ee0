"""Numbers and pictures of `meta_pricing`: from the regret of every lane to rows, tables and the figure."""

import csv

import matplotlib.pyplot as plt
import numpy as np
from rich.table import Table

from jaxprice import files, stats

SALES = (5, 10, 20, 50, 100)
HORIZON = 100
SHOWN = (1, 2, 5, 10, 20)  # numbers of the products of a sequence that are shown
HEADER = ("training", "market", "seller", "sales", "regret_percent", "se", "gap_percent", "gap_se", "seeds", "markets")
HEADER += ("effective",)  # effective number of observations of the standard errors


def times(horizon):
    """Numbers of sales after which regret is reported."""
    return [t for t in SALES if t <= horizon] + [horizon] * (horizon not in SALES)


def percent(out, times, products=1):
    """Regret of every lane after `times` sales of a product, in percent of the oracle's mean reward.

    Args:
      out: result of `simulate` for one policy, with traces.
      times: numbers of sales.
      products: number of products sold in sequence, with equally many sales.

    Returns:
      float `[sales, lanes]`; with several products `[products, sales, lanes]`.
    """
    lost = [np.asarray(out[f"trace_{which}"].values, float) for which in ("regret", "optimal")]
    lost = [x.reshape(products, -1, x.shape[-1]).cumsum(axis=1) for x in lost]
    regret, optimal = (x[:, np.asarray(times) - 1] for x in lost)
    share = 100 * regret / optimal.mean(axis=-1, keepdims=True)
    return share if products > 1 else share[0]


def summary(runs):
    """Mean and standard error of lanes `[seeds, lanes]`: over markets, and over training seeds if there are several."""
    means = runs.mean(axis=1)
    variance = runs.mean(axis=0).var(ddof=1) / runs.shape[1]
    if len(means) > 1:
        variance += means.var(ddof=1) / len(means)
    return means.mean(), variance**0.5


def effective(runs):
    """Effective number of observations of the standard error of `[seeds, lanes]`: Welch-Satterthwaite degrees plus one."""
    count, lanes = runs.shape
    markets = runs.mean(axis=0).var(ddof=1) / lanes
    seeds = runs.mean(axis=1).var(ddof=1) / count if count > 1 else 0.0
    spread = markets**2 / (lanes - 1) + (seeds**2 / (count - 1) if count > 1 else 0.0)
    return 1 + int((markets + seeds) ** 2 / spread) if spread > 0 else lanes


def rows_of(label, where, lost, sales=SALES):
    """Rows of one cell. The gap is to the first seller; runs of one agent are "name/0", "name/1", ..."""
    cells = {where: lost}
    if next(iter(lost.values())).ndim == 3:
        count, kind = len(next(iter(lost.values()))), where.split(",")[0]
        shown = [m for m in SHOWN if m <= count]
        cells = {f"{kind}, product {m} of {count}": {name: x[m - 1] for name, x in lost.items()} for m in shown}
    rows = []
    for market, regret in cells.items():
        benchmark = next(iter(regret.values()))
        for name in dict.fromkeys(name.split("/")[0] for name in regret):
            runs = np.stack([x for key, x in regret.items() if key.split("/")[0] == name])
            for k in range(runs.shape[1]):
                (mean, se), (gap, gap_se) = summary(runs[:, k]), summary(runs[:, k] - benchmark[k])
                numbers = [f"{x:.4f}" for x in (mean, se, gap, gap_se)]
                values = label, market, name, sales[k], *numbers, len(runs), runs.shape[-1]
                values = *values, min(effective(runs[:, k]), effective(runs[:, k] - benchmark[k]))
                rows.append(dict(zip(HEADER, values, strict=True)))
    return rows


def write(path, rows):
    """Write rows as CSV, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_csv(path, HEADER, rows)


def gather(folder, order):
    """The rows of all files of a folder; distributions in the order of `order`."""
    rows = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            rows += csv.DictReader(file)
    order = list(order)
    return sorted(rows, key=lambda row: order.index(row["training"]))


def show(rows, console):
    """One table a market: percent of the oracle's reward lost by number of sales, and the gap to the first seller."""
    for where in dict.fromkeys((row["training"], row["market"]) for row in rows):
        mine = [row for row in rows if (row["training"], row["market"]) == where]
        columns = sorted({int(row["sales"]) for row in mine})
        table = Table(title=f"trained on {where[0]}, played on {where[1]}: regret in % of the oracle (gap to the first)")
        for column in ("seller", *map(str, columns)):
            table.add_column(column, justify="left" if column == "seller" else "right")
        for seller in dict.fromkeys(row["seller"] for row in mine):
            cells = {int(row["sales"]): row for row in mine if row["seller"] == seller}
            texts = [f"{float(cells[t]['regret_percent']):.1f} ({gap(cells[t])})" for t in columns]
            table.add_row(seller, *texts)
        console.print(table)


def markdown(rows):
    """One table a market in Markdown, like those of `show`."""
    lines = [
        "Regret in percent of what the oracle earns; in brackets the paired difference to the first seller, with",
        "its 95 % interval over markets and training seeds. Written by `python -m experiments.meta_pricing`.",
    ]
    for where in dict.fromkeys((row["training"], row["market"]) for row in rows):
        mine = [row for row in rows if (row["training"], row["market"]) == where]
        sales = sorted({int(row["sales"]) for row in mine})
        seeds = max(int(row["seeds"]) for row in mine)
        lines += [
            "",
            f"**Trained on {where[0]}, played on {where[1]}** ({mine[0]['markets']} markets, {seeds} training seeds)",
            "",
        ]
        lines += ["| seller | " + " | ".join(f"{t} sales" for t in sales) + " |", "|---" * (len(sales) + 1) + "|"]
        for seller in dict.fromkeys(row["seller"] for row in mine):
            cells = {int(row["sales"]): row for row in mine if row["seller"] == seller}
            texts = [f"{float(cells[t]['regret_percent']):.1f}" for t in sales]
            if seller != mine[0]["seller"]:
                texts = [f"{text} ({gap(cells[t])})" for text, t in zip(texts, sales, strict=True)]
            lines.append(f"| {seller} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def gap(row):
    """The gap of a row with its 95 % interval, as text."""
    return f"{float(row['gap_percent']):+.1f} ± {reach(row) * float(row['gap_se']):.1f}"


def reach(row):
    """Half-width of a 95 % interval of a row in standard errors, by Student's t if few seeds dominate it."""
    if not row.get("effective"):  # rows of former versions lack it
        return float(stats.critical(int(row["seeds"]) if int(row["seeds"]) > 1 else int(row["markets"])))
    return float(stats.critical(max(2, int(row["effective"]))))


def plot_figure(rows, path):
    """Regret over sales, one panel for each distribution on which agents were trained."""
    labels = list(dict.fromkeys(row["training"] for row in rows))
    wide = min(3, len(labels))
    tall = -(-len(labels) // wide)
    figure, panels = plt.subplots(tall, wide, figsize=(4.2 * wide, 4.2 * tall), layout="constrained", squeeze=False)
    for axes, label in zip(panels.flat, labels, strict=False):
        mine = [row for row in rows if row["training"] == row["market"] == label]
        for seller in dict.fromkeys(row["seller"] for row in mine):
            cells = [row for row in mine if row["seller"] == seller]
            x, y, e = ([float(row[key]) for row in cells] for key in ("sales", "regret_percent", "se"))
            ends = [error * reach(row) for error, row in zip(e, cells, strict=True)]
            axes.errorbar(x, y, ends, label=seller, lw=1.2, capsize=2)
        axes.set(xscale="log", yscale="log", xlabel="sales", title=label)
        axes.set_xticks(SALES, map(str, SALES))
        axes.minorticks_off()
        low, high = axes.get_ylim()
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100) if low <= t <= high]
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
    for axes in panels.flat[len(labels) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("regret, % of the oracle's reward")
    files.write_figure(path, figure)
    plt.close(figure)
