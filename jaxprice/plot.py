"""Pictures of results; each function draws on a Matplotlib Axes and returns it."""

import numpy as np
import xarray as xr

from jaxprice import checks, stats

BANDS = ("interval", "quantile")


def regret(result, *, ax=None, relative=False, band="interval"):
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
    from matplotlib import axes
    from matplotlib import pyplot as plt

    _check_result(result)
    relative = checks.boolean("relative", relative)
    if ax is not None and not isinstance(ax, axes.Axes):
        raise ValueError(f"ax must be Matplotlib Axes or None, got {checks.shown(ax)}")
    if band is not None and (not isinstance(band, str) or band not in BANDS):
        raise ValueError(f"band must be 'interval', 'quantile' or None, got {checks.shown(band)}")
    if band == "quantile" and not result.sizes.get("quantile"):
        raise ValueError("band must be 'interval' or None where the result has no quantiles, got 'quantile'")
    ax = plt.subplots(figsize=(7, 4.5))[1] if ax is None else ax
    time = result["time"].values
    unit = time if relative else np.ones_like(time)
    floor = 1e-9 * np.nanmax(np.abs(result["regret"].values / unit), initial=0.0)  # scales with the unit of money
    styles, lines = ("-", "--", ":", "-."), {}
    for number, name in enumerate(result["policy"].values):
        one = result.isel(policy=number)
        mean = one["regret"].values / unit
        if np.all(np.abs(mean) <= floor):
            continue
        look = {"color": f"C{number % 10}", "linestyle": styles[number // 10 % 4]}  # the same in every panel
        lines[str(name)] = ax.plot(time, np.maximum(mean, floor), label=_label(str(name)), linewidth=1.6, **look)[0]
        if band == "interval":
            ends = stats.interval(mean, one["regret_se"].values / unit, result.attrs.get("lanes"))
        elif band == "quantile":
            levels = result["quantile"].values
            ends = (one["regret_quantile"].values[:, k] / unit for k in (np.argmin(levels), np.argmax(levels)))
        else:
            continue
        ax.fill_between(time, *(np.maximum(end, floor) for end in ends), alpha=0.2, color=look["color"], linewidth=0)
    ax.set(xscale="log", yscale="log", xlabel="period")
    _verbatim(ax.title, str(result.attrs.get("environment", "")))
    ax.set_ylabel("regret per period" if relative else "cumulative regret")
    ax.grid(True, which="major", alpha=0.3)
    if lines:
        legend = ax.legend(handles=list(lines.values()), fontsize=8, frameon=False)
        for text, name in zip(legend.get_texts(), lines, strict=True):
            _verbatim(text, name)
    return ax


def _check_result(result):
    """Raise if a value did not come from `simulate`."""
    needed = ("regret", "regret_se")
    if not isinstance(result, xr.Dataset) or not {*needed, "policy", "time"} <= {*result.variables}:
        raise ValueError(f"result must be what simulate returned, got {checks.shown(result)}")
    if any(result[name].dims != ("policy", "time") for name in needed):
        got = dict(result["regret"].sizes)
        raise ValueError(f"result must have regret over policy and time, as simulate returned it, got {got}")


def _label(name):
    """A name as a label that Matplotlib neither reads as mathematics nor leaves out of legends."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _verbatim(text, name):
    """Make a text show a name unchanged, with its dollars and braces."""
    text.set_text(name)
    text.set_parse_math(False)
    text.set_usetex(False)
