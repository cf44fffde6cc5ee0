"""Parts of a table for training, validation and test: in time, or by whole customers, products or categories.

A split in time asks how well next month is predicted; cut at whole days or weeks, so that no period is in two parts. A split
by category asks how well a product is predicted that was never sold. A random split of products flatters whoever knows their
texts, since many products share one text (Compiani, Morozov and Seiler 2025, arXiv:2503.20711, split by category as well).

A customer's part follows from the name of the customer and the seed alone, up to the cuts, so the order of rows has no say.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxprice import checks
from jaxprice.data.frames import Frame
from jaxprice.data.records import Records


class Parts(NamedTuple):
    """Disjoint parts of a table that together have all of its rows; rows keep their index."""

    train: Frame
    validation: Frame
    test: Frame


def split_in_time(table: Records | Frame, validation: Any, test: Any, end: Any = None, *, column: str = "time") -> Parts:
    """Rows before `validation`, from then on until `test`, and from then on.

    Args:
      table: records, of which the sales are split, or a frame, such as a panel or `Records.visits`.
      validation: time or period at which validation starts.
      test: time or period at which the test starts.
      end: first time after the test; None for the end of the table. Later rows are in no part.
      column: of the times, or of the numbers of periods.

    Raises:
      ValueError: the table has no such column, a time is missing, the cuts are not in order, or a part is empty.
    """
    frame, times = _column(table, column)
    cuts = [_cut(name, at, times) for name, at in (("validation", validation), ("test", test))]
    last = None if end is None else _cut("end", end, times)
    if not cuts[0] < cuts[1] or (last is not None and not cuts[1] < last):
        raise ValueError(f"validation, test and end must be in this order, got {validation!r}, {test!r} and {end!r}")
    part = np.searchsorted(np.array(cuts), times, side="right")
    if last is not None:
        part = np.where(times >= last, 3, part)
    parts = Parts(*(frame[part == index] for index in range(3)))
    edges = ["the start", *map(str, cuts), "the end" if last is None else str(last)]
    for name, rows, low, high in zip(Parts._fields, parts, edges[:-1], edges[1:], strict=True):
        if rows.empty:
            raise ValueError(
                f"{name} part is empty: no {column} from {low} to {high}, but the table goes from "
                f"{times.min()} to {times.max()}"
            )
    return parts


def split_by(
    table: Records | Frame,
    column: str,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    *,
    seed: int = 0,
) -> Parts:
    """Parts without a common value in a column: whole customers, products or categories.

    The values are ordered by a hash of seed and value, and cut at the fractions, rounded.

    Args:
      table: records, of which the sales are split, or a frame.
      column: such as "customer", "product" or "category".
      fractions: of the values, for training, validation and test, with sum 1.
      seed: another one gives another split.

    Raises:
      ValueError: the table has no such column, a value is missing, fractions are not positive with sum 1, or a part is
        empty.
    """
    seed = checks.seed(seed)
    share = checks.array("fractions", fractions, [3], low=0)
    if abs(float(share.sum()) - 1) > 1e-5 or not (share > 0).all():
        raise ValueError(f"fractions must be three numbers above 0 with sum 1, got {checks.shown(fractions)}")
    frame, _ = _column(table, column)
    values = frame[column].unique()
    order = sorted(range(len(values)), key=lambda index: _address(seed, values[index]))
    cuts = np.rint(np.cumsum(np.asarray(fractions, float))[:2] * len(values)).astype(int)
    part_of = {values[index]: int(np.searchsorted(cuts, rank, side="right")) for rank, index in enumerate(order)}
    part = frame[column].map(part_of).to_numpy(int)
    parts = Parts(*(frame[part == index] for index in range(3)))
    for name, rows in zip(Parts._fields, parts, strict=True):
        if rows.empty:
            raise ValueError(f"{name} part is empty: {column!r} has {len(values)} values for fractions {list(fractions)}")
    return parts


def _address(seed, value):
    return hashlib.blake2b(f"{seed}|{value}".encode(), digest_size=8).digest()


def _column(table, column):
    frame = table.sales if isinstance(table, Records) else table
    if column not in frame:
        raise ValueError(f"table has no column {column!r} (columns: {', '.join(map(str, frame.columns))})")
    if frame[column].isna().any():
        rows = np.flatnonzero(frame[column].isna())
        raise ValueError(
            f"column {column!r} misses {len(rows)} values, as in rows {rows[:3].tolist()}: leave these out first"
        )
    return frame, frame[column].to_numpy()


def _cut(name, value, times):
    if np.issubdtype(times.dtype, np.datetime64):
        from jaxprice.data.cleaning import moment

        return moment(name, value).to_datetime64()
    if not np.issubdtype(times.dtype, np.number):
        raise ValueError(f"the column of times must hold times or numbers, got {times.dtype}")
    checks.number(name, value, scalar=True)
    return value
