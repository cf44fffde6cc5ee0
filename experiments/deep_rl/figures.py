"""Pictures of `deep_rl`: learning curves, and the final sellers beside the optimal one."""

import jax
import numpy as np
from matplotlib import pyplot as plt

from experiments.deep_rl import chains, markets
from jaxprice import files, robust_stats


def curves(learned, path):
    """Share of the optimum while learning, by periods of a run and by CPU seconds of all runs together.

    Lines are interquartile means over runs, bands the middle halves of the runs. In `NetworkRevenue` the score is the bound
    minus regret, which is at most the reward: a lower bound of the share.
    """
    names = [name for name in markets.NAMES if any(name in cells for cells in learned.values())]
    figure, panels = plt.subplots(2, len(names), figsize=(3.1 * len(names), 5.4), layout="constrained", squeeze=False)
    for row, (clock, label) in zip(
        panels, (("curve_steps", "thousand periods of a run"), ("curve_cpu_s", "CPU seconds, all runs")), strict=True
    ):
        for axes, name in zip(row, names, strict=True):
            for number, (seller, cells) in enumerate(learned.items()):
                if name not in cells or "curve_share" not in cells[name]:
                    continue
                share = np.asarray(cells[name]["curve_share"], float)
                middle = robust_stats.interquartile_mean(share[..., None])
                low, high = np.quantile(share, [0.25, 0.75], axis=1)
                at = np.asarray(cells[name][clock], float) / (1000 if clock == "curve_steps" else 1)
                axes.plot(at, middle, color=f"C{number}", lw=1.3, label=seller)
                axes.fill_between(at, low, high, color=f"C{number}", alpha=0.2, lw=0)
            axes.axhline(1, color="black", lw=0.8, ls=":")
            axes.set(xlabel=label, ylim=(0.5, 1.02))
            axes.grid(alpha=0.3)
            if clock == "curve_steps":
                axes.set_title(name + (", lower bound" if name == "NetworkRevenue" else ""), fontsize=10)
        row[0].set_ylabel("share of the optimum")
    handles = {text: line for axes in panels.flat for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles) or 1, frameon=False)
    _save(figure, path)


def optimal(name, any_price=False):
    """Actions of the market's oracle `[T, S]`, or `[T]` with the path of references."""
    market = markets.market(name, any_price)
    act = lambda time, state, observation: market.env.optimal_action(state, market.params)  # noqa: E731
    _, actions, path = jax.jit(lambda: chains.share(market.chain, act))()
    return np.asarray(actions), None if path is None else np.asarray(path.reference)


def sellers(learned, path):
    """The final sellers, medians over runs, beside the optimum: prices by time and stock, reference, inventory, rival."""
    network = [name for name, cells in learned.items() if any("curve_share" in cell for cell in cells.values())]
    on_grid = [name for name in network if name != "SAC"]
    count = max(len(on_grid) + 1, 4)
    figure, panels = plt.subplots(2, count, figsize=(3.1 * count, 6.2), layout="constrained", squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    _stock(figure, panels[0], {name: learned[name] for name in on_grid})
    _reference(panels[1, 0], learned, network)
    _replenishment(panels[1, 1], panels[1, 2], learned, on_grid)
    _rival(panels[1, 3], learned, network)
    _save(figure, path)


def _stock(figure, row, learned):
    """Prices by time and stock in `FiniteInventory`, one panel a seller."""
    market = markets.market("FiniteInventory")
    prices = np.asarray(market.params.prices)
    shown = {"optimum": optimal("FiniteInventory")[0]}
    for name, cells in learned.items():
        if "FiniteInventory" in cells:
            shown[name] = np.median(cells["FiniteInventory"]["actions"], axis=0)
    image = None
    for axes, (name, actions) in zip(row, shown.items(), strict=False):
        axes.set_axis_on()
        price = np.interp(actions, np.arange(prices.size), prices)[:, 1:]
        image = axes.pcolormesh(
            np.arange(price.shape[0]),
            np.arange(1, price.shape[1] + 1),
            price.T,
            vmin=prices[0],
            vmax=prices[-1],
            cmap="viridis",
        )
        axes.set(title=f"FiniteInventory: {name}", xlabel="periods played", ylabel="units left")
        axes.title.set_fontsize(9)
    figure.colorbar(image, ax=list(row), label="price", shrink=0.8)


def _reference(axes, learned, network):
    """Prices of a path against the reference that buyers had, in `ReferencePrice`."""
    axes.set_axis_on()
    prices = np.asarray(markets.market("ReferencePrice").params.prices)
    actions, references = optimal("ReferencePrice")
    axes.plot(references, prices[actions], "k_", ms=12, label="optimum")
    for number, name in enumerate(network):
        cell = learned[name].get("ReferencePrice")
        if cell is not None:
            posted = cell["actions"] if name == "SAC" else prices[cell["actions"]]
            axes.plot(np.ravel(cell["references"]), np.ravel(posted), ".", ms=3, alpha=0.4, color=f"C{number}", label=name)
    axes.set(title="ReferencePrice: 50 periods, all runs", xlabel="reference", ylabel="price")
    axes.title.set_fontsize(9)
    axes.legend(fontsize=7)


def _replenishment(left, right, learned, on_grid):
    """Price, and inventory after ordering, by inventory, in `Replenishment`."""
    market = markets.market("Replenishment")
    prices, levels = np.asarray(market.params.prices), market.env.num_levels
    stock = np.arange(levels)
    shown = {"optimum": optimal("Replenishment")[0][1][None]}
    for name in on_grid:
        if "Replenishment" in learned[name]:
            shown[name] = learned[name]["Replenishment"]["actions"][:, 1]
    for axes, label in ((left, "price"), (right, "units after the order")):
        axes.set_axis_on()
        for number, (name, actions) in enumerate(shown.items()):
            values = prices[actions // levels] if axes is left else np.maximum(stock, actions % levels)
            color = "black" if name == "optimum" else f"C{number - 1}"
            axes.plot(stock, values.mean(axis=0), color=color, marker=".", lw=1, label=name)
        axes.set(title="Replenishment: mean of the runs", xlabel="units before the order", ylabel=label)
        axes.title.set_fontsize(9)
    left.legend(fontsize=7)


def _rival(axes, learned, network):
    """Prices by the rival's price, in `ReactiveRival`."""
    axes.set_axis_on()
    prices = np.asarray(markets.market("ReactiveRival").params.prices)
    axes.step(prices, prices[optimal("ReactiveRival")[0][1]], "k", where="mid", label="optimum")
    for number, name in enumerate(network):
        cell = learned[name].get("ReactiveRival")
        if cell is not None:
            posted = cell["actions"][:, 1] if name == "SAC" else prices[cell["actions"][:, 1]]
            axes.plot(prices, np.median(posted, axis=0), ".-", lw=0.8, ms=4, color=f"C{number}", label=name)
    axes.set(title="ReactiveRival: median of the runs", xlabel="price of the rival", ylabel="price")
    axes.title.set_fontsize(9)
    axes.legend(fontsize=7)


def profiles(markets_of, learned, path):
    """Performance profiles: share of runs and markets above a share of the optimum, with bootstrap bands."""
    figure, axes = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
    thresholds = np.linspace(0.8, 1.0, 81)
    for number, (seller, cells) in enumerate(learned.items()):
        if set(cells) == set(markets_of):
            shares = np.stack([cells[name]["share"] for name in markets_of], axis=1)
            found = robust_stats.stratified_bootstrap(
                lambda x: robust_stats.performance_profile(x, thresholds), shares, repeats=1000
            )
            axes.plot(thresholds, found.value, color=f"C{number}", label=seller)
            axes.fill_between(thresholds, found.low, found.high, color=f"C{number}", alpha=0.2, lw=0)
    axes.axvline(0.98, color="black", lw=0.8, ls=":")
    axes.set(xlabel="share of the optimum", ylabel="share of runs and markets above it", xlim=(0.8, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, path)


def _save(figure, path):
    files.write_figure(path, figure)
    plt.close(figure)
