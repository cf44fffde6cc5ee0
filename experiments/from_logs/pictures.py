"""The pictures: what cleaning did, demand curves over the observed prices, price rules, and policies."""

import contextlib
import math

import numpy as np

from jaxprice import files, plot

BAND = 1.96


@contextlib.contextmanager
def figure(path, rows=1, columns=1, size=(6.4, 3.6)):
    """Axes `[rows, columns]` of a figure that is written to `path` afterwards; `size` is that of a panel in inches."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shape = {"figsize": (size[0] * columns, size[1] * rows), "squeeze": False, "layout": "constrained"}
    made, axes = plt.subplots(rows, columns, **shape)
    try:
        yield made, axes
        files.write_figure(path, made)
    finally:
        plt.close(made)


def cleaning(report, path):
    """Rows that each rule caught, on a logarithmic axis; rules that caught none are left out."""
    named = report[(report["rows"] > 0) & ~report["rule"].isin(["read", "clean", "time_zone"])]
    with figure(path, size=(7.4, 1.4 + 0.28 * max(len(named), 1))) as (_, axes):
        ax = axes[0, 0]
        places = np.arange(len(named))
        kept = named["rule"].eq("partial_weeks") | named["rule"].str.startswith("no_discount")
        colours = np.where(kept, "C7", np.where(named["rule"].eq("returns"), "C1", "C3"))
        ax.barh(places, named["rows"], color=list(colours))
        for place, count in zip(places, named["rows"], strict=True):
            ax.annotate(f" {count:,}", (count, place), va="center", fontsize=8)
        ax.set(yticks=places, yticklabels=named["rule"].tolist(), xscale="log", xlabel="rows")
        ax.invert_yaxis()
        ax.margins(x=0.15)
        first, last = report.iloc[0], report.iloc[-1]
        ax.set_title(f"{first['rows']:,} rows read, {last['rows']:,} clean (grey: kept, orange: kept apart)", fontsize=9)


def demand(fit, panel, names, truth, best, path):
    """Curves with 95 % bands over the observed prices, units a period as seen, and the best price.

    Seen units are divided by the fitted effect of the promotions, so that they belong to a period without.
    """
    columns = min(3, len(names))
    with figure(path, -(-len(names) // columns), columns, (3.6, 2.7)) as (_, axes):
        for ax in axes.flat[len(names) :]:
            ax.set_axis_off()
        for ax, name in zip(axes.flat, names, strict=False):
            i = fit.row(name)
            low, high = fit.price_range[i] * [1 + 1e-9, 1 - 1e-9]
            prices = np.linspace(low, high, 100)
            middle, below, above = (fit.visits[i] * x for x in fit.demand(name, prices, level=0.95))
            ax.fill_between(prices, below, above, color="C0", alpha=0.25, linewidth=0)
            ax.plot(prices, middle, color="C0", label="fitted, 95 % band")
            x, y, error = seen(fit, panel, name)
            ax.errorbar(x, y, BAND * error, fmt="o", color="0.35", markersize=3, capsize=2, linewidth=1, label="sold")
            if truth is not None:
                a, b = truth.at([name], fit.usual[[i]])[0]
                true = fit.visits[i] * np.exp(a + b * np.log(prices / fit.usual[i]))
                ax.plot(prices, true, color="C3", linestyle="--", label="true")
            ax.axvspan(best[name].low, best[name].high, color="C2", alpha=0.2, linewidth=0, label="best price, 95 %")
            ax.set_title(f"{name}: slope {fit.slopes[i]:.2f} ± {BAND * fit.slope_errors[i]:.2f}", fontsize=9)
            ax.set_ylim(bottom=0)
            ax.grid(True, alpha=0.3)
        for ax in axes[-1]:
            ax.set_xlabel("price")
        for ax in axes[:, 0]:
            ax.set_ylabel("units a period")
        axes[0, 0].legend(frameon=False, fontsize=7)


def seen(fit, panel, name, groups=6):
    """Mean units a period at groups of observed prices, with standard errors: three arrays."""
    i, g = fit.row(name), panel.products.index(name)
    use = panel.valid[g].all(1) & panel.price_seen[g].any(1)
    price = np.median(panel.price[g][use], axis=1)
    order = [panel.promotions.index(promotion) for promotion in fit.promotions]
    lift = np.exp(panel.promotion[g].mean(1)[use][:, order] @ fit.effects[i])
    units = panel.units[g].sum(1)[use] / lift * fit.visits[i] / panel.visits[g].sum(1)[use]
    levels = np.unique(np.round(price / fit.usual[i], 2))
    ends = levels if len(levels) <= groups else np.quantile(price / fit.usual[i], np.linspace(0, 1, groups + 1)[:-1])
    group = np.searchsorted(np.unique(ends)[1:], np.round(price / fit.usual[i], 2), side="right")
    found = []
    for one in np.unique(group):
        inside = group == one
        values = units[inside]
        spread = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        found.append((price[inside].mean(), values.mean(), spread))
    return np.array(found).T


def off_policy(values, path):
    """The value of each rule by each estimator with its 95 % interval, and the truth."""
    rules = list(dict.fromkeys(value.rule for value in values))
    estimators = list(dict.fromkeys(value.estimator for value in values if value.estimator != "mean"))
    with figure(path, size=(8.5, 1.2 + 0.75 * len(rules))) as (_, axes):
        ax = axes[0, 0]
        for value in values:
            place = rules.index(value.rule)
            k = estimators.index(value.estimator) if value.estimator in estimators else 0
            shift = 0.0 if value.estimator == "mean" else 0.13 * (k - (len(estimators) - 1) / 2)
            first = value.rule == rules[1] and value.estimator != "mean"
            look = {"color": f"C{k}" if value.estimator != "mean" else "black", "label": value.estimator if first else None}
            ax.errorbar(
                value.value, place + shift, xerr=BAND * value.se, fmt="o", markersize=4, capsize=2, linewidth=1.3, **look
            )
            if value.estimator == "mean" or first or value.estimator == estimators[-1]:
                ax.plot([value.truth] * 2, [place - 0.42, place + 0.42], color="C3", linewidth=1, linestyle="--")
        ax.set(yticks=range(len(rules)), yticklabels=rules, xlabel="profit, % of the product's mean revenue before")
        low, high = (
            np.nanmin([v.value - 3 * v.se for v in values if "robust" in v.estimator]),
            np.nanmax([v.value + 3 * v.se for v in values if "robust" in v.estimator]),
        )
        ax.set_xlim(low - 0.4 * (high - low), high + 0.4 * (high - low))
        ax.invert_yaxis()
        ax.grid(True, axis="x", alpha=0.3)
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        if not math.isnan(values[0].truth):
            ax.set_title("dashed: the truth", fontsize=9)


def sellers(results, path):
    """Who wins: the final share of the optimum, one panel a setting."""
    with figure(path, 1, len(results), (4.6, 3.0)) as (_, axes):
        for ax, (name, result) in zip(axes.flat, results.items(), strict=True):
            plot.share(result, ax=ax)
            ax.set_title(name, fontsize=9)
