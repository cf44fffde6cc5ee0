"""Texts of a table as numbers and times. What cannot be read is found row by row, never guessed.

A date such as 11/1/2000 is read by the numbers of the whole column: if one first number is above 12 the day comes first, if
one second number is, the month does. If neither is, the column is ambiguous and refused until its format is given.
"""

import zoneinfo
from typing import Any

import numpy as np

from jaxprice import checks
from jaxprice.data import frames
from jaxprice.data.frames import Column

EPOCHS = ("s", "ms", "us", "ns", "D")  # units of times that are numbers since 1970-01-01
OFFSET = r"(?:[+-]\d{2}:?\d{2}|[Zz])$"
SLASHED = r"^(\d{1,2})[/.\-](\d{1,2})[/.\-]\d{2,4}(?:\D|$)"


def numbers(column: Column, decimal: str = ".") -> tuple[Column, "np.ndarray"]:
    """A column as float64, and where it holds something that is not a finite number. Missing entries are NaN.

    Raises:
      ValueError: the column holds neither numbers nor texts.
    """
    pandas = frames.pandas()

    types = pandas.api.types
    if types.is_bool_dtype(column.dtype) or types.is_datetime64_any_dtype(column.dtype):
        raise ValueError(f"column {column.name!r} must hold numbers, got {column.dtype}")
    if types.is_numeric_dtype(column.dtype):
        read, empty = column.astype("float64"), column.isna().to_numpy(bool)
    else:
        text = column.astype("str").str.strip().where(column.notna())
        if decimal != ".":
            text = text.str.replace(".", "?", regex=False).str.replace(decimal, ".", regex=False)
        read = pandas.to_numeric(text, errors="coerce").astype("float64")
        empty = (column.isna() | (text == "")).to_numpy(bool)
    finite = np.isfinite(read.to_numpy())
    return read.where(finite), ~finite & ~empty


def texts(column: Column) -> Column:
    """Identifiers without spaces around them; an empty one is missing. Numbers stay as they are."""
    pandas = frames.pandas()

    types = pandas.api.types
    if types.is_numeric_dtype(column.dtype) or isinstance(column.dtype, pandas.CategoricalDtype):
        return column
    stripped = column.astype("str").str.strip()
    return stripped.where(column.notna() & (stripped != ""))


def times(column: Column, time_format: str | None, tz: str | None) -> tuple[Column, "np.ndarray", str]:
    """A column as times on the clock of the shop, where it cannot be read, and what was done about time zones.

    Args:
      column: times, texts, or numbers.
      time_format: as in `strptime`; or one of "s", "ms", "us", "ns", "D" for numbers since 1970; None to find out.
      tz: zone of the shop, such as "Europe/Berlin". Times with an offset are moved to its clock.

    Raises:
      ValueError: the order of day and month cannot be told, numbers have no format, or offsets meet no zone or no offsets.
    """
    pandas = frames.pandas()

    if tz is not None:
        try:
            zoneinfo.ZoneInfo(tz)
        except (zoneinfo.ZoneInfoNotFoundError, TypeError, ValueError, OSError) as error:
            raise ValueError(f"tz must be a time zone such as 'Europe/Berlin', got {checks.shown(tz)}") from error
    here = f"column {column.name!r}"
    if pandas.api.types.is_datetime64_any_dtype(column.dtype):
        read, empty, offsets = column, column.isna().to_numpy(bool), getattr(column.dt, "tz", None) is not None
    else:
        read, empty, offsets = _from_text(column, time_format, here)
    wrong = read.isna().to_numpy(bool) & ~empty
    if not offsets:
        zone = "no time zone" if tz is None else f"taken as on the clock of {tz}: they have no offset"
        return read.astype("datetime64[us]"), wrong, zone
    if tz is None:
        raise ValueError(
            f"{here} holds times with an offset from UTC: give tz=, the zone of the shop, as in tz='Europe/Berlin'"
        )
    local = read.dt.tz_convert(tz).dt.tz_localize(None)
    return local.astype("datetime64[us]"), wrong, f"moved to the clock of {tz}"


def _from_text(column, time_format, here):
    pandas = frames.pandas()

    if pandas.api.types.is_numeric_dtype(column.dtype) and time_format in EPOCHS:
        return pandas.to_datetime(column, unit=time_format, errors="coerce"), column.isna().to_numpy(bool), False
    whole = pandas.api.types.is_integer_dtype(column.dtype)
    if time_format is None and pandas.api.types.is_numeric_dtype(column.dtype):
        raise ValueError(f"{here} holds numbers: give time_format=, such as '%Y%m%d', or 's' for seconds since 1970")
    text = column.astype("str").str.strip().where(column.notna())
    if pandas.api.types.is_numeric_dtype(column.dtype) and not whole:  # 20170131.0, because some are missing
        text = text.str.replace(r"\.0$", "", regex=True)
    empty = (column.isna() | (text == "")).to_numpy(bool)
    codes, values = pandas.factorize(text)  # a log has few different days
    values = pandas.Series(values, dtype="str")
    if time_format in EPOCHS:
        read = pandas.to_datetime(pandas.to_numeric(values, errors="coerce"), unit=time_format, errors="coerce")
        offsets = False
    else:
        offsets = _have_offsets(values[values != ""], here)
        read = _parsed(values, time_format, offsets, here)
    placed = read.reindex(codes).set_axis(column.index) if len(read) else pandas.Series(pandas.NaT, index=column.index)
    return placed, empty, offsets


def _have_offsets(values, here):
    found = values.str.contains(r":\d{2}.*" + OFFSET, regex=True).fillna(False).astype(bool)
    dated = values.str.contains(r"\d", regex=True)
    if found.any() and not found[dated].all():
        with_, without = values[found].iloc[0], values[dated & ~found].iloc[0]
        raise ValueError(f"{here} mixes times with an offset ({with_!r}) and without ({without!r}): give all of them one")
    return bool(found.any())


def _parsed(values, time_format, offsets, here):
    pandas = frames.pandas()

    options: dict[str, Any] = {"errors": "coerce", "utc": offsets}
    if time_format is not None:
        try:
            return pandas.to_datetime(values, format=time_format, **options)
        except ValueError as error:
            raise ValueError(f"time_format must be a format of strptime, got {time_format!r}: {error}") from error
    parts = values.str.extract(SLASHED).dropna().astype(int)
    if len(parts) * 2 < max(1, (values != "").sum()):
        iso = pandas.to_datetime(values, format="ISO8601", **options)
        return iso if iso.notna().any() else pandas.to_datetime(values, **options)
    day_first, month_first = bool((parts[0] > 12).any()), bool((parts[1] > 12).any())
    if day_first == month_first and not (parts[0] == parts[1]).all():
        example = values[parts.index[0]]
        why = "some dates have the day first and some the month" if day_first else "the day or the month may come first"
        raise ValueError(f"{here} holds dates such as {example!r}, but {why}: give time_format=, as in '%m/%d/%Y'")
    return pandas.to_datetime(values, format="mixed", dayfirst=day_first, **options)
