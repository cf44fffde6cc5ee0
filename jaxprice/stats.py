"""Statistics over lanes: streamed moments and quantiles, intervals, paired comparisons.

The unit of analysis is the lane: its cumulative regret at a checkpoint is one observation, and standard errors are over
lanes. Policies that met the same markets and buyers are compared by the paired differences of their lanes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num, Shaped
from scipy.special import stdtrit

from jaxprice import checks

Z95 = 1.959964  # two-sided 95 % point of the normal distribution
FEW = 30  # with fewer observations, intervals use Student's t
RATIO = math.log(1.01)  # log ratio of the ends of a bin of the sketch
FIRST, LAST = (math.ceil(math.log(end / 1e-6) / RATIO) for end in (1e-38, 1e48))  # bins of the sketch; bin 0 ends at 1e-6
EXACT = 2**24  # values stored for exact quantiles; a sketch replaces them beyond
MEANS = ("regret", "reward", "revenue", "share")


class Moments:
    """Count, mean and variance over lanes of `[checkpoints, lanes]` arrays, in chunks.

    Source: T. F. Chan, G. H. Golub, R. J. LeVeque (1983), doi:10.1080/00031305.1983.10483115.
    """

    def __init__(self):
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, values: Num[np.ndarray, "*checkpoints lanes"]) -> None:
        """Add lanes, float `[..., lanes]`."""
        count, mean = values.shape[-1], values.mean(axis=-1)
        squares = ((values - mean[..., None]) ** 2).sum(axis=-1)
        total, gap = self.count + count, mean - self.mean
        self.squares = self.squares + squares + gap**2 * (self.count * count / total)
        self.mean = self.mean + gap * (count / total)
        self.count = total

    def standard_error(self) -> Float[ArrayLike, "*checkpoints"]:
        """Standard error of the mean; NaN for a single lane."""
        if self.count < 2:
            return np.full(np.shape(self.mean), np.nan)
        return np.sqrt(self.squares / (self.count - 1) / self.count)


class Quantiles:
    """Quantiles over lanes of `[checkpoints, lanes]` arrays, in chunks and in bounded memory.

    Quantiles are exact while all values fit into `EXACT` numbers. Beyond that, values are counted in logarithmic bins of
    either sign, which gives quantiles within 0.5 % of the value (C. Masson, J. E. Rim, H. K. Lee (2019), "DDSketch",
    doi:10.14778/3352063.3352135). The bins range from 1e-38 to 1e48, which is beyond any sum of float32 numbers. Smaller
    values count as zero, and infinite values as infinite. If a lane is NaN at a checkpoint, the quantiles there are NaN.
    """

    def __init__(self, levels: Sequence[float] | np.ndarray, exact: int = EXACT):
        self.levels, self.exact = np.asarray(levels, float), exact
        self.kept, self.size, self.counts, self.broken = [], 0, None, False

    def add(self, values: Num[np.ndarray, "checkpoints lanes"]) -> None:
        """Add lanes, float `[checkpoints, lanes]`."""
        self.size += values.size
        self.broken = self.broken | np.isnan(values).any(axis=1)
        if self.counts is None and self.size <= self.exact:
            with np.errstate(over="ignore"):
                self.kept.append(np.asarray(values, np.float32))
            return
        for rows in [*self.kept, values]:
            self._count(rows)
        self.kept = []

    @property
    def _reach(self):
        """The number of the bin of infinity. Zero has number 0, and magnitudes have the numbers in between."""
        return LAST - FIRST + 2

    def _count(self, values):
        if self.counts is None:
            self.counts = np.zeros((values.shape[0], 2 * self._reach + 1), np.int64)
        with np.errstate(divide="ignore", invalid="ignore"):
            bins = np.ceil(np.log(np.abs(values.astype(float)) / 1e-6) / RATIO) - FIRST + 1
        bins = np.nan_to_num(np.clip(bins, 0, self._reach)) * np.sign(np.nan_to_num(values)) + self._reach
        for row, numbers in zip(self.counts, bins.astype(int), strict=True):
            row += np.bincount(numbers, minlength=row.size)

    def result(self) -> Float[np.ndarray, "checkpoints levels"]:
        """Quantiles, float `[checkpoints, levels]`."""
        if self.counts is None:
            values = np.concatenate(self.kept, axis=-1)
            # interpolation between two infinite order statistics gives NaN
            found = np.quantile(values, self.levels, axis=-1, method="linear" if np.isfinite(values).all() else "lower").T
        else:
            number = np.abs(np.arange(-self._reach, self._reach + 1))
            value = 1e-6 * np.exp((number + FIRST - 1.5) * RATIO)
            value = np.where(number == 0, 0.0, np.where(number == self._reach, np.inf, value))
            value[: self._reach] *= -1
            cumulative = np.cumsum(self.counts, axis=1)
            rank = self.levels * (cumulative[0, -1] - 1)
            found = np.stack([value[np.searchsorted(row, rank, side="right")] for row in cumulative])
        return np.where(np.reshape(self.broken, (-1, 1)), np.nan, found) if np.any(self.broken) else found


def share(
    regret: Num[ArrayLike, "*shape"] | Sequence[float], optimal: Num[ArrayLike, "*shape"] | Sequence[float]
) -> Float[np.ndarray, "..."]:
    """Share of the oracle's expected reward that was earned, `1 - regret / optimal`; NaN where `optimal` is not positive.

    Args:
      regret, optimal: sums over time, float `[...]`.
    """
    regret, optimal = np.asarray(regret, float), np.asarray(optimal, float)
    positive = optimal > 0
    return np.where(positive, 1 - regret / np.where(positive, optimal, 1.0), np.nan)


class Summary:
    """Statistics of one policy over chunks of lanes.

    Args:
      times: checkpoints, int `[checkpoints]`.
      levels: levels of the quantiles of regret.
      per_lane: whether to store regret and share of every lane at the horizon, 16 bytes a lane.

    Attributes:
      worthless: number of lanes without a share, because their oracle expects to earn nothing until the horizon.
    """

    def __init__(
        self,
        times: Int[ArrayLike, " checkpoints"] | Sequence[int],
        levels: Sequence[float] | np.ndarray,
        per_lane: bool = True,
    ):
        self.times = np.asarray(times)
        self.moments = {name: Moments() for name in MEANS}
        self.quantiles = Quantiles(levels)
        self.last = {"regret": [], "share": []} if per_lane else {}
        self.traces, self.worthless = [], 0

    def add(
        self,
        columns: Mapping[str, Num[np.ndarray, "checkpoints lanes"]],
        trace: Mapping[str, Shaped[np.ndarray, "horizon *products lanes"]] | None = None,
    ) -> None:
        """Add a chunk: metric -> float `[checkpoints, lanes]`; with traces also name -> `[horizon, lanes]`."""
        columns = dict(columns)
        columns["share"] = share(columns["regret"], columns["optimal"])
        self.worthless += int(np.sum(~(columns["optimal"][-1] > 0)))
        for name, moments in self.moments.items():
            moments.add(columns[name])
        self.quantiles.add(columns["regret"])
        for name, chunks in self.last.items():
            chunks.append(columns[name][-1].copy())  # a view would keep all checkpoints in memory
        if trace is not None:
            self.traces.append(trace)

    def dataset(self) -> xr.Dataset:
        """The statistics as an `xarray.Dataset` over `time`, `quantile`, `lane` (and `step` with traces)."""
        data = {}
        for name, moments in self.moments.items():
            data[name] = ("time", moments.mean)
            data[f"{name}_se"] = ("time", moments.standard_error())
        data["regret_quantile"] = (("time", "quantile"), self.quantiles.result())
        for name, chunks in self.last.items():
            data[f"lane_{name}"] = ("lane", np.concatenate(chunks))
        for name in self.traces[0] if self.traces else ():
            values = np.concatenate([trace[name] for trace in self.traces], axis=-1)
            data[f"trace_{name}"] = (("step", "product", "lane") if values.ndim == 3 else ("step", "lane"), values)
        coords = {"time": self.times, "quantile": self.quantiles.levels}
        return xr.Dataset(data, coords)


def join(datasets: Mapping[str, xr.Dataset], attrs: Mapping[str, Any]) -> xr.Dataset:
    """Stack the datasets of policies along a new axis `policy`.

    Args:
      datasets: name -> `xarray.Dataset`.
      attrs: other attributes of the result.
    """
    names = xr.DataArray(list(datasets), dims="policy", name="policy")
    joined = xr.concat(list(datasets.values()), dim=names, join="exact")
    return joined.assign_attrs(attrs)


def critical(count: Any = None) -> float | Float[np.ndarray, "*shape"]:
    """Half-width of a 95 % interval of a mean, in standard errors, float `[...]`.

    With fewer than `FEW` observations it is the 97.5 % point of Student's t with `count - 1` degrees of freedom, because the
    standard error itself is uncertain. Otherwise it is that of the normal distribution.

    Args:
      count: number of observations in the mean, integers `[...]` of at least one; None means many.

    Returns:
      float `[...]`; NaN where there is only one observation.

    Raises:
      ValueError: `count` is not an integer of at least one.
    """
    if count is None:
        return Z95
    counts = np.asarray(count)
    if not np.issubdtype(counts.dtype, np.integer) or np.any(counts < 1):
        raise ValueError(f"count must be integers of at least 1, got {checks.shown(count)}")
    reach = np.where(counts < FEW, stdtrit(np.where(counts > 1, counts - 1.0, np.nan), 0.975), Z95)
    return float(reach) if reach.ndim == 0 else reach


def interval(mean: Any, standard_error: Any, count: Any = None) -> tuple[Any, Any]:
    """95 % confidence interval of a mean over lanes, seeds or batches: `(low, high)`.

    Args:
      mean, standard_error: float `[...]`.
      count: number of lanes, seeds or batches in the mean. Below 30, Student's t is used; None means many. See `critical`.

    Raises:
      ValueError: `count` is not an integer of at least one.
    """
    reach = critical(count)
    return mean - reach * standard_error, mean + reach * standard_error


def paired_difference(
    values: Num[ArrayLike, " lanes"] | Sequence[float], reference: Num[ArrayLike, " lanes"] | Sequence[float]
) -> tuple[float, float]:
    """Mean difference between two policies on the same lanes, and its standard error.

    Args:
      values, reference: one number a lane, float `[lanes]`, in the same order.

    Returns:
      `(difference, standard_error)`.

    Raises:
      ValueError: the two have different numbers of lanes, or none.
    """
    values, reference = _row("values", values), _row("reference", reference)
    if values.shape != reference.shape:
        raise ValueError(f"values and reference must be [lanes] each, got {values.shape} and {reference.shape}")
    gaps = values - reference
    return gaps.mean(), gaps.std(ddof=1) / np.sqrt(gaps.size) if gaps.size > 1 else math.nan


def growth_exponent(times: Num[ArrayLike, " C"] | Sequence[float], regret: Num[ArrayLike, " C"] | Sequence[float]) -> float:
    """Least-squares slope of log regret against log time, that is, the growth exponent of regret.

    Args:
      times: float `[C]`, positive, at least two different ones.
      regret: float `[C]`.

    Returns:
      float scalar; NaN if some regret is not positive, because it has no logarithm.

    Raises:
      ValueError: the values are not numbers, a time is not positive, or there are too few times.
    """
    times, regret = _row("times", times), _row("regret", regret)
    if times.shape != regret.shape or np.unique(times).size < 2:
        raise ValueError(f"times and regret must be [C] each, at least two times, got {times.shape} and {regret.shape}")
    if not np.all((times > 0) & np.isfinite(times)):
        raise ValueError(f"times must be positive and finite, got {checks.shown(times)}")
    if not np.all((regret > 0) & np.isfinite(regret)):
        return math.nan
    return float(np.polyfit(np.log(times), np.log(regret), 1)[0])


def _row(name, values):
    """Numbers as a float array of rank one."""
    try:
        row = np.asarray(values)
        real = np.issubdtype(row.dtype, np.integer) or np.issubdtype(row.dtype, np.floating)
    except (TypeError, ValueError):
        row, real = np.empty(0), False
    if not real or row.ndim != 1 or not row.size:
        raise ValueError(f"{name} must be numbers, [lanes] or [times] of them, got {checks.shown(values)}")
    return row.astype(float)
