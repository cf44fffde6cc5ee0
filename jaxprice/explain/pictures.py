"""A picture of a belief: expected profit with its spread, where the best price may be, and what each price teaches."""

import numpy as np


def belief(belief, ax=None):
    """Draw a `Belief`: profit +- one standard deviation over the price, and the probability of being best below it.

    Args:
      belief: a `Belief`.
      ax: Axes of Matplotlib to draw on; a new figure by default.

    Returns:
      The Axes with profit; that of probabilities shares its price axis, on the right.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(7, 4.5), layout="constrained")[1]
    order = np.argsort(belief.prices, kind="stable")
    x = belief.prices[order]
    distinct = len(np.unique(x)) == len(x)
    x = x if distinct else np.arange(len(x), dtype=float)
    spread = np.zeros_like(x) if belief.profit_std is None else belief.profit_std[order]
    ax.errorbar(x, belief.profit[order], spread, fmt="o", capsize=3, color="C0", zorder=3)
    ax.set(xlabel="price" if distinct else "action", ylabel="expected profit of a period", title=belief.policy)
    ax.yaxis.label.set_color("C0")
    right = ax.twinx()
    width = 0.3 * (np.diff(x).min() if len(x) > 1 else 1.0)
    right.bar(x - width / 2, belief.best[order], width, color="C1", alpha=0.35, label="best price (belief)")
    if belief.chosen is not None:
        right.bar(x + width / 2, belief.chosen[order], width, color="C2", alpha=0.35, label="posted next")
    right.set(ylabel="probability", ylim=(0, 1.3))
    right.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    ax.set_zorder(right.get_zorder() + 1)
    ax.patch.set_visible(False)
    return ax
