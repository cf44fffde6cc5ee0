"""The table of `rl2_bandits`: printed numbers of the papers, our rows, the table and the picture."""

import math

from rich.table import Table

from experiments.frame import study
from jaxprice import files, stats

PAPER, SNAIL = "Duan et al. (2016), Table 1", "Mishra et al. (2018), Table 3"
PAPER_TASKS = 1000
METHODS = ("Random", "Gittins", "TS", "OTS", "UCB1", "eps-greedy", "Greedy")
PRINTED = {  # (pulls, arms): METHODS, RL^2, then SNAIL and its 95 % half-width
    (10, 5): (5.0, 6.6, 5.7, 6.5, 6.7, 6.6, 6.6, 6.7, 6.6, 0.1),
    (10, 10): (5.0, 6.6, 5.5, 6.2, 6.7, 6.6, 6.6, 6.7, 6.7, 0.1),
    (10, 50): (5.1, 6.5, 5.2, 5.5, 6.6, 6.5, 6.5, 6.8, 6.7, 0.1),
    (100, 5): (49.9, 78.3, 74.7, 77.9, 78.0, 75.4, 74.8, 78.7, 79.1, 1.0),
    (100, 10): (49.9, 82.8, 76.7, 81.4, 82.4, 77.4, 77.1, 83.5, 83.5, 0.8),
    (100, 50): (49.8, 85.2, 64.5, 67.7, 84.3, 78.3, 78.0, 84.9, 85.1, 0.6),
    (500, 5): (249.8, 405.8, 402.0, 406.7, 405.8, 388.2, 380.6, 401.6, 408.1, 4.9),
    (500, 10): (249.0, 437.8, 429.5, 438.9, 437.1, 408.0, 395.0, 432.5, 432.4, 3.5),
    (500, 50): (249.6, 463.7, 427.2, 437.6, 457.6, 413.6, 402.8, 438.9, 442.6, 2.5),
}
HEADER = ("cell", "published", "published_se", "ours", "se", "z", "kind", "source", "gap", "gap_se", "hyperparameter",
          "ours_unbiased", "se_unbiased", "hyperparameter_unbiased")  # fmt: skip


def rows_of(cell, outcomes):
    """A dict with the keys `HEADER` and `method`, `n` and `k` for each method; NaN where there is no number."""
    n, k = cell
    printed, best = PRINTED[cell], n * k / (k + 1)
    known = dict(zip((*METHODS, "RL^2"), printed, strict=False))
    blank = dict.fromkeys(HEADER, math.nan) | dict.fromkeys(("hyperparameter", "hyperparameter_unbiased"), "")
    blank |= {"n": n, "k": k}
    rows = []
    for name, outcome in outcomes.items():
        learned = name not in METHODS and name != "oracle"
        published = known.get("RL^2" if learned else name, math.nan)
        total, se = mean_and_error(best - outcome.regret)
        unbiased, unbiased_se = mean_and_error(best - outcome.other_regret)
        row = blank | {"method": name, "ours": total, "se": se}
        row |= told(published, outcome.spread, PAPER + (", RL^2" if learned else ""))
        row |= {"z": study.difference(total, se, row["published"], row["published_se"])}
        row |= {"hyperparameter": outcome.chosen, "hyperparameter_unbiased": outcome.other_chosen}
        row |= {"ours_unbiased": unbiased, "se_unbiased": unbiased_se, "spread": outcome.spread}
        if "oracle" in outcomes and name != "oracle":
            row["gap"], row["gap_se"] = map(float, stats.paired_difference(outcomes["oracle"].regret, outcome.regret))
        rows.append(row)
    spread = outcomes.get("oracle", outcome).spread
    rows.append(blank | {"method": "RL^2", "spread": spread} | told(known["RL^2"], spread, PAPER))
    spread = printed[9] / stats.Z95 * math.sqrt(PAPER_TASKS)
    rows.append(blank | {"method": "SNAIL", "spread": spread} | told(printed[8], spread, SNAIL))
    return [row | {"cell": f"n={n} k={k} {row['method']}"} for row in rows]


def told(published, spread, source):
    """The printed number, its standard error from the deviation of a task's total, source and kind; blank without one."""
    if math.isnan(published):
        return {"source": "", "kind": ""}
    return {"published": published, "published_se": spread / math.sqrt(PAPER_TASKS), "source": source, "kind": "printed"}


def mean_and_error(values):
    """Mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size))


def write(rows, path):
    """Write the columns `HEADER` as CSV, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{key: study.number(x, ".9g") if isinstance(x, float) else x for key, x in row.items()} for row in rows]
    files.write_csv(path, HEADER, lines)


def show(rows, console):
    """Print a table for each setting."""

    def number(x, digits=3):
        return "" if math.isnan(x) else f"{x:.{digits}f}"

    for n, k in dict.fromkeys((row["n"], row["k"]) for row in rows):
        printed = Table(title=f"n = {n}, k = {k}", title_justify="left", title_style="bold")
        for name in ("method", "printed", "ours", "se", "z", "gap to the oracle", "chosen", "chosen elsewhere"):
            printed.add_column(name, justify="left" if name in ("method", "chosen") else "right", no_wrap=True)
        for row in (row for row in rows if (row["n"], row["k"]) == (n, k)):
            gap = "" if math.isnan(row["gap"]) else f"{row['gap']:.3f} ± {stats.Z95 * row['gap_se']:.3f}"
            parts = number(row["published"], 1), number(row["ours"]), number(row["se"]), number(row["z"], 1)
            same = row["hyperparameter_unbiased"] == row["hyperparameter"]
            unbiased = "" if same else f"{row['hyperparameter_unbiased']}: {row['ours_unbiased']:.3f}"
            printed.add_row(row["method"], *parts, gap, row["hyperparameter"], unbiased)
        console.print(printed)


def plot_figure(rows, path):
    """Reward lost relative to the oracle, in % of the pulls, with 95 % intervals; hollow: printed, against our oracle."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    oracle = {(row["n"], row["k"]): row["ours"] for row in rows if row["method"] == "oracle"}
    if not oracle:
        return
    columns = min(3, len(oracle))
    lines = -(-len(oracle) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4.6 * columns, 3.2 * lines), squeeze=False, layout="constrained")
    for ax in axes.flat[len(oracle) :]:
        ax.set_axis_off()
    for ax, ((n, k), best) in zip(axes.flat, oracle.items(), strict=False):
        mine = [row for row in rows if (row["n"], row["k"]) == (n, k) and row["method"] != "oracle"]
        for place, row in enumerate(mine):
            error = row["spread"] / math.sqrt(PAPER_TASKS)
            if not math.isnan(row["published"]):
                lost = 100 * (best - row["published"]) / n
                ax.errorbar(lost, place + 0.2, xerr=100 * stats.Z95 * error / n, fmt="o", mfc="white", color="C1", lw=1)
            if not math.isnan(row["gap"]):
                ax.errorbar(
                    -100 * row["gap"] / n, place, xerr=100 * stats.Z95 * row["gap_se"] / n, fmt="o", color="C0", ms=4
                )
        ax.set_xscale("symlog", linthresh=0.1)
        ax.axvline(0, color="grey", lw=0.8)
        ax.set_yticks(range(len(mine)), [row["method"] for row in mine], fontsize=8)
        ax.invert_yaxis()
        ax.set_title(f"n = {n}, k = {k}", fontsize=10)
    figure.supxlabel(
        "lost to the finite-horizon Gittins index, % of the pulls (hollow: as printed in the papers)", fontsize=10
    )
    files.write_figure(path, figure)
    plt.close(figure)
