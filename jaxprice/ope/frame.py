"""Columns of a table as the arrays of a decision log: names checked, missing numbers refused, dates and texts as numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxprice import checks

SEVERAL = ("observation", "next_observation", "probabilities", "allowed")  # attributes that may have several columns


def columns_of(frame: Any, columns: Mapping | None, attributes: Any, more: Mapping) -> dict[str, Any]:
    """The arrays of a log, by attribute.

    Args:
      frame, columns, more: as in `DecisionLog.from_frame`.
      attributes: names of all attributes.

    Returns:
      attribute -> NumPy array `[T]`, or `[T, number of columns]`; and `more`.

    Raises:
      ValueError: as in `DecisionLog.from_frame`.
    """
    table = _table(frame)
    columns = dict(checks.options("columns", dict(columns) if isinstance(columns, Mapping) else columns))
    for name in (*columns, *more):
        checks.choice("attribute of a DecisionLog", name, attributes)
    if twice := sorted(set(columns) & set(more)):
        raise ValueError(f"{twice[0]} must be a column or an argument, got both")
    for name in attributes:
        if name in table and name not in more:
            columns.setdefault(name, name)
    arrays = {}
    for name, source in columns.items():
        if isinstance(source, list | tuple) and name in SEVERAL:
            arrays[name] = np.stack([_numbers(table, name, column) for column in source], axis=-1)
        else:
            arrays[name] = _numbers(table, name, source)
    return arrays | dict(more)


def _table(frame):
    """A mapping from names to columns."""
    if isinstance(frame, Mapping):
        return frame
    if isinstance(frame, list | tuple) and frame and all(isinstance(row, Mapping) for row in frame):
        names = list(frame[0])
        for number, row in enumerate(frame):
            if set(row) != set(names):
                differ = sorted(set(row) ^ set(names), key=str)
                raise ValueError(f"records must all have the columns of the first, record {number} differs in {differ[0]!r}")
        return {name: [row[name] for row in frame] for name in names}
    names = getattr(frame, "columns", None)
    if names is None:
        raise ValueError(f"frame must be a frame, a mapping of columns or a list of records, got {checks.shown(frame)}")
    return {str(name): frame[name] for name in names}


def _numbers(table, attribute, name):
    """A column as an array of numbers; texts are numbered if they name products, and dates if they are times."""
    column = table[checks.choice(f"column for {attribute} of a log", name, map(str, table))]
    column = np.array(column, object) if isinstance(column, list | tuple) else np.asarray(column)
    if column.dtype.kind == "O":
        _refuse_missing(name, np.array([value is None or value != value for value in column], bool))
        column = np.array(column.tolist())
        if column.dtype.kind == "O" and all(hasattr(value, "toordinal") for value in column):
            column = column.astype("datetime64[us]")
    if column.dtype.kind == "M" and attribute == "time":
        _refuse_missing(name, np.isnat(column))
        return (column - column.min()) / np.timedelta64(1, "D")
    if column.dtype.kind == "U" and attribute == "product":
        return np.unique(column, return_inverse=True)[1].astype(np.int32)
    if column.dtype.kind not in "iufb":
        wanted = {"time": "numbers or dates", "product": "whole numbers or texts"}.get(attribute, "numbers")
        raise ValueError(
            f"column {name!r}, the {attribute} of a log, must hold {wanted}, got {checks.shown(column[:3].tolist())}"
        )
    return column


def _refuse_missing(name, missing):
    if missing.any():
        rows = np.flatnonzero(missing)
        raise ValueError(
            f"column {name!r} must hold no missing values; {rows.size:,} of {missing.size:,} rows do, first row {rows[0]}"
        )
