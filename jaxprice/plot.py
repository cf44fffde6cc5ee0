"""Pictures of results; each function draws on a Matplotlib Axes and returns it."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jaxprice import checks, stats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BANDS = ("interval", "quantile")


def regret(result: xr.Dataset, *, ax: "Axes | None" = None, relative: bool = False, band: str | None = "interval") -> "Axes":
    """Cumulative regret over time, one line a policy.

    Policies with zero regret, such as the oracle, cannot be shown on a logarithmic axis and are left out.

    Args:
      result: what `simulate` returned.
      ax: Axes to draw on; a new figure by default.
      relative: divide by time, which gives regret per period.
      band: "interval" (95 % confidence interval of the mean), "quantile" (between the outermost quantiles) or None.

    Returns:
      `matplotlib.axes.Axes`, both axes logarithmic.

    Raises:
      ValueError: an unknown band, or an argument of the wrong kind.
    """
    _check_result(result, "regret", "regret_se")
    relative = checks.boolean("relative", relative)
    _check_axes(ax)
    if band is not None and (not isinstance(band, str) or band not in BANDS):
        raise ValueError(f"band must be 'interval', 'quantile' or None, got {checks.shown(band)}")
    if band == "quantile" and not result.sizes.get("quantile"):
        raise ValueError("band must be 'interval' or None where the result has no quantiles, got 'quantile'")
    ax = _new_axes(7, 4.5) if ax is None else ax
    time = result["time"].values
    unit = time if relative else np.ones_like(time)
    floor = 1e-9 * np.nanmax(np.abs(result["regret"].values / unit), initial=0.0)  # scales with the unit of money
    lines = {}
    for number, name in enumerate(result["policy"].values):
        one = result.isel(policy=number)
        mean = one["regret"].values / unit
        if np.all(np.abs(mean) <= floor):
            continue
        look: dict[str, Any] = {"color": _colour(number), "linestyle": ("-", "--", ":", "-.")[number // 10 % 4]}
        lines[str(name)] = ax.plot(time, np.maximum(mean, floor), label=_label(str(name)), linewidth=1.6, **look)[0]
        if band == "interval":
            ends = stats.interval(mean, one["regret_se"].values / unit, result.attrs.get("lanes"))
        elif band == "quantile":
            levels = result["quantile"].values
            ends = (one["regret_quantile"].values[:, k] / unit for k in (np.argmin(levels), np.argmax(levels)))
        else:
            continue
        low, high = (np.maximum(end, floor) for end in ends)
        ax.fill_between(time, low, high, alpha=0.2, color=look["color"], linewidth=0)
    ax.set(xscale="log", yscale="log", xlabel="period")
    _verbatim(ax.title, str(result.attrs.get("environment", "")))
    ax.set_ylabel("regret per period" if relative else "cumulative regret")
    ax.grid(True, which="major", alpha=0.3)
    if lines:
        legend = ax.legend(handles=list(lines.values()), fontsize=8, frameon=False)
        for text, name in zip(legend.get_texts(), lines, strict=True):
            _verbatim(text, name)
    return ax


def share(result: xr.Dataset, *, ax: "Axes | None" = None) -> "Axes":
    """Final share of the optimum, one dot a policy with its 95 % confidence interval, from best to worst.

    Policies without regret, such as the oracle, are left out, and so are those whose share is not defined.

    Args:
      result: what `simulate` returned; its last checkpoint is drawn.
      ax: Axes to draw on; a new figure by default.

    Returns:
      `matplotlib.axes.Axes`: percent of the optimum from left to right, and the number beside each dot.

    Raises:
      ValueError: an argument of the wrong kind.
    """
    _check_result(result, "regret", "share", "share_se")
    _check_axes(ax)
    last = result.isel(time=-1)
    means, names = last["share"].values, [str(name) for name in result["policy"].values]
    drawn = [k for k in np.argsort(-means, kind="stable") if np.isfinite(means[k]) and last["regret"].values[k] != 0]
    reach = stats.critical(result.attrs.get("lanes")) * last["share_se"].values
    ax = _new_axes(7, 1 + 0.3 * len(drawn)) if ax is None else ax
    ax.axvline(100, color="0.5", linestyle="--", linewidth=1)
    for place, k in enumerate(drawn):
        look: dict[str, Any] = {"color": _colour(k), "marker": "os^D"[k // 10 % 4]}
        ax.errorbar(100 * means[k], place, xerr=100 * reach[k], markersize=6, capsize=3, linewidth=1.6, **look)
        _beside(ax, place, "right", f"{100 * means[k]:.1f}", "0.3")
        _beside(ax, place, "left", names[k], "black")
    ax.set(ylim=(max(len(drawn), 1) - 0.4, -0.6), yticks=range(len(drawn)), yticklabels=[], xlabel="% of the optimum")
    _verbatim(ax.title, str(result.attrs.get("environment", "")))
    ax.grid(True, alpha=0.3)
    ax.tick_params(axis="y", length=0)
    return ax


def _beside(ax, place, side, words, colour):
    """Write beside a row of the picture, outside of its frame."""
    x, shift, align = (1, 6, "left") if side == "right" else (0, -6, "right")
    where = {"xycoords": ("axes fraction", "data"), "xytext": (shift, 0), "textcoords": "offset points"}
    text = ax.annotate("", (x, place), ha=align, va="center", fontsize=9, color=colour, annotation_clip=False, **where)
    _verbatim(text, words)


def _colour(number):
    """A policy has the same colour in every picture of a result."""
    return f"C{number % 10}"


def _new_axes(width, height):
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _check_axes(ax):
    """Raise if a value cannot be drawn on."""
    from matplotlib import axes

    if ax is not None and not isinstance(ax, axes.Axes):
        raise ValueError(f"ax must be Matplotlib Axes or None, got {checks.shown(ax)}")


def _check_result(result, *needed):
    """Raise if a value did not come from `simulate`."""
    if not isinstance(result, xr.Dataset) or not {*needed, "policy", "time"} <= {*result.variables}:
        raise ValueError(f"result must be what simulate returned, got {checks.shown(result)}")
    for name in needed:
        if result[name].dims != ("policy", "time"):
            got = dict(result[name].sizes)
            raise ValueError(f"result must have {name} over policy and time, as simulate returned it, got {got}")


def _label(name):
    """A name as a label that Matplotlib neither reads as mathematics nor leaves out of legends."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _verbatim(text, name):
    """Make a text show a name unchanged, with its dollars and braces."""
    text.set_text(name)
    text.set_parse_math(False)
    text.set_usetex(False)
