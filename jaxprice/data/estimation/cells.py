"""Cells of a panel: the product, period and fold of each row, visits, and prices that are cross-fitted over households.

The words and the reasons are those of `jaxprice.data.estimation.panel`.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxprice.data.frames import Frame


class Index:
    """Positions of rows in the panel: product number and period number."""

    def __init__(self, first, days, count, number):
        self.first, self.days, self.count, self.number = first, days, count, number

    def when(self, times: Any) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Period of each time, `[n]`, and whether it is one of the panel."""
        t = ((start_of(times, self.days) - self.first) / np.timedelta64(self.days, "D")).astype(int)
        return t, (t >= 0) & (t < self.count)

    def of(self, frame: Frame) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """`(product, period, inside)`, each `[n]`."""
        g = self.number.reindex(frame["product"]).to_numpy()
        t, inside = self.when(frame["time"])
        inside = inside & np.isfinite(g)
        return np.where(inside, g, 0).astype(int), np.where(inside, t, 0), inside


def start_of(times: Any, days: int) -> np.ndarray:
    """First day of the period of each time, datetime64[D] `[n]`; weeks begin on Monday."""
    day = np.asarray(times, "datetime64[us]").astype("datetime64[D]")
    if not len(day) or np.isnat(day).any():
        raise ValueError(f"time: expected dates in every row, got {int(np.isnat(day).sum())} unreadable ones of {len(day)}")
    return day - ((day.astype(int) + 3) % 7).astype("timedelta64[D]") if days == 7 else day


def needs(argument: str, frame: Frame, names: Iterable[str]) -> None:
    """Raise if a frame lacks columns."""
    missing = [name for name in names if name not in frame]
    if missing:
        known = list(map(str, frame.columns))
        near = {name: difflib.get_close_matches(name, known, n=1) for name in missing}
        hint = (
            "; did you mean " + ", ".join(f"{n[0]!r} for {m!r}" for m, n in near.items() if n) if any(near.values()) else ""
        )
        raise ValueError(f"{argument}: columns {missing} are missing{hint}; there are {known}")


def products_of(frame: Frame, products: Iterable[Any] | None, at_least: int) -> list[Any]:
    counts = frame["product"].value_counts()
    enough = counts.index[counts >= at_least]
    if products is None:
        chosen = sorted(enough)
    else:
        chosen = list(products)
        known = set(counts.index)
        unknown = [p for p in chosen if p not in known]
        if unknown:
            raise ValueError(f"products: {unknown[:5]} are not in the sales, which have {len(counts)} products")
        large = set(enough)
        chosen = [p for p in chosen if p in large]
    if not chosen:
        raise ValueError(f"at_least: no product has {at_least} rows; the largest has {counts.max() if len(counts) else 0}")
    return chosen


def folds_of(frame: Frame, folds: int, seed: int) -> Int[np.ndarray, " n"]:
    """Fold of each row's household `[n]`: by customer, else basket, else row."""
    if folds == 1:
        return np.zeros(len(frame), int)
    code = np.arange(len(frame)) + 0
    for name in ("basket", "customer"):
        if name in frame:
            known = frame[name].notna().to_numpy()
            code = np.where(known, len(frame) * (1 + (name == "customer")) + frame[name].factorize()[0], code)
    labels, household = np.unique(code, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(labels)) % folds)[household]


def baskets_of(
    frame: Frame, index: Index, fold: Int[np.ndarray, " n"], folds: int, baskets: Frame | None
) -> tuple[Float[np.ndarray, "1 T {folds}"], float]:
    """Baskets in each period and fold `[T, F]`, and the share of them with a product of the panel."""
    t, inside = index.when(frame["time"])
    mine = index.of(frame)[2]
    name = "basket" if "basket" in frame else "customer" if "customer" in frame else None
    who = np.arange(len(frame)) if name is None else frame[name].factorize()[0]
    keys = (who.astype(np.int64) * index.count + np.where(inside, t, 0)) * folds + fold
    counts = np.zeros((index.count, folds))
    found = np.unique(keys[inside])
    np.add.at(counts, (found // folds % index.count, found % folds), 1)
    buying = len(np.unique(keys[mine])) / max(len(found), 1)
    if baskets is not None and name == "basket":  # baskets whose rows were all taken out count too
        when, inside = index.when(baskets["time"])
        every = np.bincount(when[inside], minlength=index.count)[:, None]
        total = np.maximum(counts.sum(1, keepdims=True), 1)
        buying *= len(found) / max(every.sum(), 1)
        counts = counts * np.maximum(every, total) / total
    return counts[None], float(buying)


def visitors(visits: Frame, index: Index, folds: int) -> tuple[Float[np.ndarray, "G T {folds}"], float]:
    """Visits `[1 or G, T, F]` of a table, divided equally among the folds; and NaN for the share of them that buys."""
    needs("visits", visits, ("time", "visits"))
    numbers = visits["visits"].to_numpy(float)
    if not (np.isfinite(numbers).all() and (numbers >= 0).all()):
        raise ValueError("visits: expected finite numbers of at least 0")
    if "product" in visits:
        g, t, inside = index.of(visits)
        counts = np.zeros((len(index.number), index.count))
        np.add.at(counts, (g[inside], t[inside]), numbers[inside])
    else:
        t, inside = index.when(visits["time"])
        counts = np.zeros((1, index.count))
        np.add.at(counts[0], t[inside], numbers[inside])
    return counts[..., None] / folds * np.ones(folds), float("nan")


def tabled(
    argument: str, table: Frame, columns: Sequence[str], index: Index, shape: tuple[int, int, int]
) -> Float[np.ndarray, "G T F C"]:
    """Means of columns of a table over its rows in each cell, the same for all folds, `[G, T, F, C]`; 0 without a row."""
    needs(argument, table, ("time", "product", *columns))
    values = np.stack([_numbers(argument, table, name) for name in columns], axis=-1)
    g, t, inside = index.of(table)
    sums, rows = np.zeros((*shape[:2], len(columns))), np.zeros(shape[:2])
    np.add.at(sums, (g[inside], t[inside]), values[inside])
    np.add.at(rows, (g[inside], t[inside]), 1.0)
    means = sums / np.maximum(rows, 1.0)[..., None]
    return np.repeat(means[:, :, None], shape[2], axis=2)


def _numbers(argument, table, name):
    """A column as finite numbers `[n]`."""
    try:
        values = table[name].to_numpy(float)
    except (TypeError, ValueError):
        values = np.full(len(table), np.nan)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        came = table[name].tolist()[wrong[0]]
        raise ValueError(
            f"{argument}: column {name!r} must hold finite numbers, such as 0 and 1; {len(wrong)} of {len(values)} rows do "
            f"not, first row {wrong[0]}: {came!r}"
        )
    return values


def cross_fitted(
    rows: Frame,
    columns: Sequence[str],
    g: Int[np.ndarray, " n"],
    t: Int[np.ndarray, " n"],
    fold: Int[np.ndarray, " n"],
    shape: tuple[int, int, int],
) -> tuple[Float[np.ndarray, "G T F"], Float[np.ndarray, "G T F C"]]:
    """Median price `[G, T, F]` and mean of other columns `[G, T, F, C]`, over the rows of the other folds; NaN for none."""
    price, more = np.full(shape, np.nan), np.full((*shape, len(columns)), np.nan)
    cell = g * shape[1] + t
    values = rows[["posted_price", *columns]].astype(float).to_numpy()
    for f in range(shape[2]):
        keep = fold != f if shape[2] > 1 else np.ones(len(rows), bool)
        order = np.lexsort((values[keep, 0], cell[keep]))
        cells, first, count = np.unique(cell[keep][order], return_index=True, return_counts=True)
        kept = values[keep][order]
        low, high = first + (count - 1) // 2, first + count // 2
        at = np.unravel_index(cells, shape[:2])
        price[(*at, f)] = (kept[low, 0] + kept[high, 0]) / 2
        if len(cells):
            more[(*at, f)] = np.add.reduceat(kept[:, 1:], first, axis=0) / count[:, None]
    return price, more


def carried(values: Float[np.ndarray, "G T *rest"]) -> Float[np.ndarray, "G T *rest"]:
    """Gaps along axis 1 filled with the last value before them, and at the start with the first value after them."""
    count = values.shape[1]
    place = np.arange(count).reshape(1, count, *[1] * (values.ndim - 2))
    known = np.isfinite(values)
    before = np.maximum.accumulate(np.where(known, place, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, place, count)[:, ::-1], axis=1)[:, ::-1]
    source = np.where(before >= 0, before, np.minimum(after, count - 1))
    return np.take_along_axis(values, source, axis=1)


def span(sold: Bool[np.ndarray, "G T"]) -> Bool[np.ndarray, "G T"]:
    """From the first to the last true entry of each row, `[G, T]`."""
    return np.logical_or.accumulate(sold, 1) & np.logical_or.accumulate(sold[:, ::-1], 1)[:, ::-1]
