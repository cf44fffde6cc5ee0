"""The picture of the study: coverage of every interval in every market, with its own interval and the line of 95 %."""

import numpy as np

from experiments.ope_coverage.tables import LEVEL, asked, groups
from jaxprice import files


def draw(rows, path):
    """One panel a market: a dot for each logging seller and target, in the seller's colour, with its own 95 % interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = asked(rows)
    wide = min(3, len(panels))
    tall = -(-len(panels) // wide)
    figure, axes = plt.subplots(tall, wide, figsize=(5.6 * wide, 4.6 * tall), layout="constrained", squeeze=False)
    for ax, (name, mine) in zip(axes.flat, panels.items(), strict=False):
        names = list(dict.fromkeys(row["estimator"] for row in mine))
        sellers = list(dict.fromkeys(row["logging"] for row in mine))
        cells = list(groups(mine, "logging", "target"))
        shift = np.linspace(-0.32, 0.32, len(cells)) if len(cells) > 1 else [0.0]
        ax.axvline(LEVEL, color="black", lw=1)
        for k, seller in enumerate(sellers):
            own = [row for row in mine if row["logging"] == seller]
            y = [names.index(row["estimator"]) + shift[cells.index((row["logging"], row["target"]))] for row in own]
            x, e = ([row[key] for row in own] for key in ("coverage", "coverage_se"))
            ax.errorbar(x, y, xerr=1.96 * np.array(e), fmt="o", ms=2.5, lw=0.8, color=f"C{k}", label=seller)
        for k in range(1, len(names)):
            ax.axhline(k - 0.5, color="0.9", lw=0.6, zorder=0)
        ax.set_yticks(range(len(names)), names, fontsize=7)
        ax.set(xlim=(-0.02, 1.02), ylim=(len(names) - 0.5, -0.5), xlabel="coverage of the 95 % interval", title=name)
        ax.legend(fontsize=6, frameon=False, loc="upper center", bbox_to_anchor=(0.45, -0.13), ncols=3)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    files.write_figure(path, figure)
    plt.close(figure)
