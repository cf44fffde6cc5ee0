"""Rules that take rows out of sales records: what was not sold, what was not sold by the piece, what cannot be its price.

A rule looks at the rows that all earlier rules left, so the order matters and the report keeps it. It sees the columns of
`Records.sales` and those that the caller kept. Write your own as `Rule("name", catches, "what such a row is")`.

    rules = data.standard_rules(max_units=100, excluded={"department": ["FUEL", "COUPON"]})
    data.read_transactions("sales.csv", columns, keep=["department"], rules=rules)

A median over the whole log uses prices of the test part to decide which rows the training part has. `medians_until` ends
that.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxprice import checks
from jaxprice.data import frames
from jaxprice.data.frames import Frame

SUSPECT = 100  # units a row; a product whose median is above it may be sold by weight or volume


class Rule(NamedTuple):
    """A reason to take rows out.

    Attributes:
      name: in the report, and in column `rule` of the quarantined rows.
      catches: table -> bool `[rows]`, true where a row is to be taken out.
      reason: what such a row is, in words.
    """

    name: str
    catches: Callable[[Frame], Any]
    reason: str


def standard_rules(
    *,
    excluded: Mapping[str, Sequence[Any]] | None = None,
    required: Sequence[str] = (),
    max_units: float | None = None,
    between: tuple[Any, Any] | None = None,
    outlier_ratio: float | None = 4.0,
    medians_until: Any = None,
) -> tuple[Rule, ...]:
    """The usual rules, in the usual order.

    Args:
      excluded: column -> values that are not merchandise sold by the piece, such as a department of gasoline.
      required: further columns that must not be missing, such as the type of the product.
      max_units: rows with more units are not sold by the piece, or are an error of the till; None for no limit.
      between: first time, and the time from which on rows are out; for dates that cannot be, such as 1900-01-01.
      outlier_ratio: a posted price this many times above or below its product's median is an error; None for no limit.
      medians_until: medians come from earlier rows only, the training part; None for all rows.

    Raises:
      ValueError: a limit is not a number above its least value, or a column is given twice.
    """
    rules = [no_units(), no_price(), wrong_reduction()]
    rules += [period(*between)] if between is not None else []
    rules += [without(column, values) for column, values in checks.options("excluded", excluded).items()]
    rules += [needs(column) for column in required]
    rules += [many_units(max_units)] if max_units is not None else []
    rules += [outliers(outlier_ratio, until=medians_until)] if outlier_ratio is not None else []
    names = [rule.name for rule in rules]
    if len(set(names)) < len(names):
        raise ValueError(f"required must name each column once, got {checks.shown(list(required))}")
    return tuple(rules)


def no_units() -> Rule:
    """Rows of 0 units, which have no price."""
    return Rule("no_units", lambda table: table["units"] == 0, "0 units have no price")


def no_price() -> Rule:
    """Rows for which nothing was paid: gifts, or a price that was not recorded."""
    return Rule(
        "no_price",
        lambda table: (table["paid"] <= 0) | ~(table["posted_price"] > 0),
        "nothing was paid, or the price is not above 0",
    )


def wrong_reduction() -> Rule:
    """Rows with a negative discount or coupon."""
    return Rule(
        "negative_reduction",
        lambda table: (table[["discount", "coupon", "refunded"]] < 0).any(axis=1),
        "a discount or coupon is below 0",
    )


def without(column: str, values: Sequence[Any]) -> Rule:
    """Rows with one of some values in a column.

    Raises:
      ValueError: when applied: there is no such column, or a value never occurs but one that looks like it does.
    """
    if isinstance(values, str) or not list(values):
        raise ValueError(f"excluded[{column!r}] must be a list of values, got {checks.shown(values)}")
    values = list(values)

    def catches(table):
        seen = set(_column(table, column, "excluded").dropna().unique())
        for value in values:
            others = [str(one) for one in seen if one not in values]
            near = difflib.get_close_matches(str(value), others, n=1, cutoff=0.8) if value not in seen else []
            if near:
                raise ValueError(f"excluded: no row has {value!r} in column {column!r}; did you mean {near[0]!r}?")
        return table[column].isin(values)

    return Rule(f"excluded_{column}", catches, f"{column} is {', '.join(map(str, values))}")


def needs(column: str) -> Rule:
    """Rows without a value in a column.

    Raises:
      ValueError: when applied: there is no such column.
    """
    return Rule(f"missing_{column}", lambda table: _column(table, column, "required").isna(), f"{column} is missing")


def many_units(limit: float) -> Rule:
    """Rows with more units than a limit.

    Raises:
      ValueError: the limit is not a number above 0.
    """
    checks.positive("max_units", limit)
    return Rule("max_units", lambda table: table["units"] > limit, f"more than {limit:g} units")


def period(start: Any, end: Any) -> Rule:
    """Rows that were not sold in `[start, end)`.

    Raises:
      ValueError: these are not times in order.
    """
    low, high = moment("between", start), moment("between", end)
    if not low < high:
        raise ValueError(f"between must be a time and a later one, got {start!r} and {end!r}")
    return Rule(
        "outside_period", lambda table: (table["time"] < low) | (table["time"] >= high), f"not sold in [{low}, {high})"
    )


def outliers(ratio: float = 4.0, *, until: Any = None) -> Rule:
    """Rows whose posted price is `ratio` times the median price of the product, or more; or `1 / ratio` times, or less.

    Args:
      ratio: above 1.
      until: only earlier rows count in the medians. Rows of products without any are not caught.

    Raises:
      ValueError: the ratio is not above 1, or `until` is not a time.
    """
    checks.number("outlier_ratio", ratio, scalar=True)
    if not ratio > 1:
        raise ValueError(f"outlier_ratio must be above 1, got {ratio!r}")
    last = None if until is None else moment("medians_until", until)

    def catches(table):
        counted = table if last is None else table[table["time"] < last]
        medians = counted.groupby("product", observed=True)["posted_price"].median()
        off = table["posted_price"].to_numpy() / table["product"].map(medians).to_numpy(float)
        with np.errstate(invalid="ignore"):
            return (off >= ratio) | (off <= 1 / ratio)

    before = "" if last is None else f" before {last}"
    return Rule("outlier", catches, f"price {ratio:g} times its product's median{before} or more, or 1/{ratio:g} or less")


def suspects(table: Frame) -> str:
    """A warning about products that do not seem to be sold by the piece, or ""."""
    medians = table.groupby("product", observed=True)["units"].median()
    large = medians[medians > SUSPECT]
    if large.empty:
        return ""
    rows = int(table["product"].isin(large.index).sum())
    shown = ", ".join(map(str, large.nlargest(3).index))
    return (
        f"{len(large)} products ({shown}, ...) with {rows} rows have a median of more than {SUSPECT} units a row: "
        "give max_units= or excluded= to standard_rules if these are not pieces"
    )


def moment(name: str, value: Any) -> Any:
    """`value` as a time without zone.

    Raises:
      ValueError: it is not one.
    """
    pandas = frames.pandas()

    try:
        made = pandas.Timestamp(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a time such as '2017-10-01', got {checks.shown(value)}") from error
    if made is pandas.NaT or made.tzinfo is not None or (isinstance(value, int | float) and math.isfinite(value)):
        raise ValueError(f"{name} must be a time without zone, such as '2017-10-01', got {checks.shown(value)}")
    return made


def _column(table, column, argument):
    if column not in table:
        near = difflib.get_close_matches(str(column), list(map(str, table.columns)), n=2, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"{argument}: no column {column!r} among {', '.join(map(str, table.columns))}{hint}")
    return table[column]
