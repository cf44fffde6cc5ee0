"""`read_transactions`: a shop's log of sales, as it came, to clean records and a report of what was found.

Each row of the source ends in exactly one table: sales, returns, or quarantined. These steps happen in this order, and each
writes a line of the report:

1. `unreadable`: numbers and dates that cannot be read. They are refused, or quarantined if you ask for it.
2. `duplicates`: the second and further copies of a row that agrees in every column of the source. A till that writes two
   lines for two pieces makes such rows as well; if yours does, say `duplicates="keep"`.
3. `missing_...`: rows without time, product, units or money.
4. `returns`: units or money below 0, or a status that means cancelled. They are kept apart. The sale that was cancelled
   stays a sale, since somebody did buy at that price.
5. the rules (`cleaning.standard_rules`): no units, no price, not sold by the piece, outliers.
6. `partial_weeks`: weeks that the log does not cover, flagged, or quarantined if you ask for it.

Money in several currencies is refused unless you give rates. What a price is: see `jaxprice.data.records`.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxprice import checks
from jaxprice.data import cleaning, frames, money, parsing
from jaxprice.data import columns as naming
from jaxprice.data.frames import Frame
from jaxprice.data.records import IDENTIFIERS, Records, checked


def read_transactions(
    source: str | Path | Frame,
    columns: Mapping[str, str] | None = None,
    *,
    keep: Sequence[str] = (),
    time_format: str | None = None,
    tz: str | None = None,
    decimal: str = ".",
    read_options: Mapping[str, Any] | None = None,
    unreadable: str = "refuse",
    duplicates: str = "quarantine",
    cancelled: Sequence[Any] = (),
    currency: str = "",
    rates: Mapping[str, float] | None = None,
    rules: Sequence[cleaning.Rule] | None = None,
    partial_weeks: str = "flag",
    week_starts: str = "Monday",
    notice: str = "",
) -> Records:
    """Reads a log of sales, checks it and cleans it.

    Args:
      source: a CSV file (also compressed), a Parquet file, or a pandas frame.
      columns: canonical name -> name in the source. `time`, `product`, `units` are needed, and `paid` or `posted_price`;
        `customer`, `basket`, `store`, `category`, `discount`, `coupon`, `refunded`, `currency`, `status` are optional. Those
        not given are taken under their own name if the source has it.
      keep: further columns of the source, carried along under their own names.
      time_format: of the dates, as in `strptime`; "s", "ms", "us", "ns" or "D" for numbers since 1970; None to find out.
      tz: zone of the shop, for times with an offset from UTC.
      decimal: the decimal point of numbers in texts.
      read_options: for `pandas.read_csv`, such as `{"sep": ";", "encoding": "latin-1"}`.
      unreadable: "refuse" or "quarantine".
      duplicates: "quarantine" or "keep".
      cancelled: values of column `status` that mean returned or cancelled.
      currency: of the money, or that into which it is converted.
      rates: currency -> value of one unit of it in `currency`.
      rules: in order; by default `cleaning.standard_rules()`.
      partial_weeks: "flag" or "quarantine".
      week_starts: first day of a week.
      notice: what a reader of any number from these data must be told.

    Returns:
      The records.

    Raises:
      ValueError: columns are missing (with the nearest names), numbers or dates cannot be read, currencies are mixed, an
        argument has no such value, or no row is left. The message names column, rows and rule. Nothing is written.
    """
    checks.choice("unreadable", unreadable, ("refuse", "quarantine"))
    checks.choice("duplicates", duplicates, ("quarantine", "keep"))
    checks.choice("partial_weeks", partial_weeks, ("flag", "quarantine"))
    first_day = _days().index(checks.choice("week_starts", week_starts, _days()))
    raw, name = _read(source, read_options)
    names = naming.resolve(raw.columns, columns, keep, name)
    ledger = _Ledger(len(raw))
    table, wrong, zone = _table(raw, names, time_format, tz, decimal, unreadable)
    table, currency = money.convert(table, raw, names, currency, rates)
    if unreadable == "quarantine":
        ledger.catch("unreadable", wrong, "quarantined: a number or date cannot be read")
    copies = raw.duplicated().to_numpy() if duplicates == "quarantine" else np.zeros(len(raw), bool)
    ledger.catch("duplicates", copies, "quarantined: equal to an earlier row" if duplicates == "quarantine" else "kept")
    for column in ("time", "product", "units", "paid"):
        ledger.catch(f"missing_{column}", table[column].isna().to_numpy(), f"quarantined: {column} is missing")
    if "currency" in names:
        ledger.catch("missing_currency", raw[names["currency"]].isna().to_numpy(), "quarantined: currency is missing")
    back = _returned(table, raw, names, cancelled)
    ledger.catch("returns", back, "kept apart: units or money below 0, or cancelled")
    visits = _visits(table[~back])
    left = table[ledger.free]
    money.check_signs(left, names)
    for column, count in money.filled(left, raw, names).items():
        ledger.note(f"no_{column}", count, f"{column} taken as 0")
    table = money.prices(table)
    for rule in cleaning.standard_rules() if rules is None else rules:
        ledger.catch(rule.name, _caught(rule, table, ledger.free), f"quarantined: {rule.reason}")
    if not ledger.free.any():
        raise ValueError(f"{name}: no row is left. {ledger.told()}")
    doubt = cleaning.suspects(table[ledger.free])
    if doubt:
        warnings.warn(f"{name}: {doubt}", stacklevel=2)
        ledger.note("units", 0, f"kept, but {doubt}")
    table = _weeks(table, ledger.free, first_day)
    partial = table["partial_week"].to_numpy() & ledger.free
    if partial_weeks == "quarantine":
        ledger.catch("partial_weeks", partial, "quarantined: the log does not cover the whole week")
    else:
        ledger.note("partial_weeks", int(partial.sum()), "flagged in column partial_week")
    ledger.note("time_zone", int(ledger.free.sum()), zone)
    if not ledger.free.any():
        raise ValueError(f"{name}: no row is left. {ledger.told()}")
    table = table[naming.ordered(table.columns)]
    caught = ledger.caught
    quarantined = (
        raw[caught != ""]
        .rename(columns={"row": "source_row", "rule": "source_rule"})
        .assign(row=np.flatnonzero(caught != ""), rule=caught[caught != ""])
    )
    return Records(
        sales=checked(table[ledger.free].sort_values("time", kind="stable").reset_index(drop=True)),
        returns=table[ledger.returned].reset_index(drop=True),
        quarantined=quarantined.reset_index(drop=True),
        report=ledger.report(),
        visits=visits,
        currency=currency,
        source=name,
        notice=notice,
    )


class _Ledger:
    """Which rule caught which row, and the report."""

    def __init__(self, rows):
        self.caught = np.full(rows, "", dtype=object)
        self.returned = np.zeros(rows, bool)
        self.free = np.ones(rows, bool)
        self.lines = [("read", rows, rows, "rows of the source")]

    def catch(self, rule, mask, done):
        """Take the free rows of a mask out, under the name of a rule."""
        mask = mask & self.free
        self.free = self.free & ~mask
        if rule == "returns":
            self.returned = mask
        else:
            self.caught[mask] = rule
        self.note(rule, int(mask.sum()), done)

    def note(self, rule, rows, done):
        """A line of the report that takes no row out."""
        self.lines.append((rule, rows, int(self.free.sum()), done))

    def report(self):
        pandas = frames.pandas()

        lines = [*self.lines, ("clean", int(self.free.sum()), int(self.free.sum()), "rows of sales")]
        return pandas.DataFrame(lines, columns=["rule", "rows", "left", "done"])

    def told(self):
        return "; ".join(f"{rule}: {rows}" for rule, rows, _, _ in self.lines if rows)


def _read(source, read_options):
    """The source as a frame with positions as its index, and its name."""
    pandas = frames.pandas()

    options = dict(checks.options("read_options", read_options))
    if isinstance(source, pandas.DataFrame):
        if options:
            raise ValueError("read_options are for files, but source is a frame")
        frame, name = source, "frame"
    else:
        path = Path(source)
        if not path.is_file():
            raise ValueError(f"source must be a file or a pandas frame, but there is no file {str(path)!r}")
        with path.open("rb") as file:
            name = f"{path.name}, sha256 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
        try:
            if path.suffix.lower() in (".parquet", ".pq"):
                frame = pandas.read_parquet(path, **options)
            else:
                frame = pandas.read_csv(path, **{"dtype": "str", "skipinitialspace": True} | options)
        except (UnicodeDecodeError, pandas.errors.ParserError, pandas.errors.EmptyDataError, TypeError, ValueError) as error:
            raise ValueError(f"source: {path.name} cannot be read with read_options={options}: {error}") from error
    if frame.columns.has_duplicates:
        twice = sorted({str(one) for one in frame.columns[frame.columns.duplicated()]})
        raise ValueError(f"source: columns must have different names, but {', '.join(twice)} come twice")
    if frame.empty:
        raise ValueError(f"source: {name} has no rows")
    return frame.reset_index(drop=True), name


def _table(raw, names, time_format, tz, decimal, unreadable):
    """The canonical columns and the kept ones, where a value cannot be read, and what was done about time zones."""
    pandas = frames.pandas()

    made = {"row": np.arange(len(raw))}
    wrong = np.zeros(len(raw), bool)
    zone = ""
    for name, column in names.items():
        if name == "time":
            made[name], bad, zone = parsing.times(raw[column], time_format, tz)
        elif name in naming.NUMBERS:
            made[name], bad = parsing.numbers(raw[column], decimal)
        elif name in (*IDENTIFIERS, "product"):
            made[name], bad = parsing.texts(raw[column]), np.zeros(len(raw), bool)
        else:  # currency and status are read where they are used; what is kept stays as it is
            if name not in naming.OPTIONAL:
                made[name] = raw[column]
            continue
        if bad.any() and unreadable == "refuse":
            rows = np.flatnonzero(bad)
            values = ", ".join(repr(raw[column].iloc[row]) for row in rows[:3])
            what = "dates" if name == "time" else f"numbers with decimal={decimal!r}"
            raise ValueError(
                f"column {column!r} ({name}) holds {len(rows)} values that cannot be read as {what}: {values} in rows "
                f"{rows[:3].tolist()} (0 is the first). Rule 'unreadable': correct them, or ask for unreadable='quarantine'"
            )
        wrong |= bad
    return money.complete(pandas.DataFrame(made, index=raw.index)), wrong, zone


def _returned(table, raw, names, cancelled):
    back = ((table["units"] < 0) | (table["paid"] < 0)).to_numpy()
    if isinstance(cancelled, str):
        raise ValueError(f"cancelled must be a list of values of column status, got {cancelled!r}")
    if ("status" in names) != bool(len(cancelled)):
        given = "columns['status'] without cancelled" if "status" in names else "cancelled without columns['status']"
        raise ValueError(f"cancelled must list the values of the status that mean a return, got {given}")
    return back | raw[names["status"]].isin(list(cancelled)).to_numpy() if len(cancelled) else back


def _caught(rule, table, free):
    """The rule's mask over all rows."""
    mask = np.asarray(rule.catches(table[free]))
    if mask.shape != (free.sum(),) or mask.dtype != bool:
        raise ValueError(
            f"rule {rule.name!r} must give a bool for each of {free.sum()} rows, got {mask.dtype} {list(mask.shape)}"
        )
    caught = np.zeros(len(free), bool)
    caught[free] = mask
    return caught


def _visits(table):
    """One row a basket, at the time of its first row that has one."""
    if "basket" not in table:
        return None
    seen = [name for name in ("basket", "time", "customer", "store") if name in table]
    known = table.loc[table["basket"].notna() & table["time"].notna(), seen].sort_values("time", kind="stable")
    return known.drop_duplicates("basket").reset_index(drop=True)


def _weeks(table, free, first_day):
    pandas = frames.pandas()

    day = table["time"].dt.normalize()
    week = day - pandas.to_timedelta((day.dt.day_of_week - first_day) % 7, unit="D")
    first, last = day[free].min(), day[free].max()
    partial = (week < first) | (week + pandas.Timedelta(days=6) > last)
    return table.assign(week=week.astype("datetime64[us]"), partial_week=partial.to_numpy(bool))


def _days():
    return ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
