"""Pictures of results; each function draws on a Matplotlib Axes and returns it."""

import numpy as np

from jaxprice import stats


def regret(result, *, ax=None, relative=False, band="interval"):
    """Cumulative regret over time, one line a policy.

    Args:
      result: what `simulate` returned.
      ax: Axes to draw on; a new figure by default.
      relative: divide by time: regret per period.
      band: "interval" (95 % confidence interval of the mean), "quantile" (between the outermost quantiles) or None.

    Returns:
      `matplotlib.axes.Axes`, both axes logarithmic.

    Raises:
      ValueError: an unknown band.
    """
    from matplotlib import pyplot as plt

    if band not in ("interval", "quantile", None):
        raise ValueError(f"band must be 'interval', 'quantile' or None, got {band!r}")
    ax = plt.subplots(figsize=(7, 4.5))[1] if ax is None else ax
    time = result["time"].values
    unit = time if relative else np.ones_like(time)
    floor = 1e-9
    styles = ("-", "--", ":", "-.")
    for number, name in enumerate(result["policy"].values):
        one = result.sel(policy=name)
        mean = one["regret"].values / unit
        if np.all(np.abs(mean) < floor):
            continue
        look = {"color": f"C{number % 10}", "linestyle": styles[number // 10 % 4]}  # a policy looks the same everywhere
        ax.plot(time, np.maximum(mean, floor), label=str(name), linewidth=1.6, **look)
        if band == "interval":
            ends = stats.interval(mean, one["regret_se"].values / unit)
        elif band == "quantile":
            ends = one["regret_quantile"].values[:, 0] / unit, one["regret_quantile"].values[:, -1] / unit
        else:
            continue
        ax.fill_between(time, *(np.maximum(end, floor) for end in ends), alpha=0.2, color=look["color"], linewidth=0)
    ax.set(xscale="log", yscale="log", xlabel="period", title=result.attrs.get("environment", ""))
    ax.set_ylabel("regret per period" if relative else "cumulative regret")
    ax.grid(True, which="major", alpha=0.3)
    ax.legend(fontsize=8, frameon=False)
    return ax
