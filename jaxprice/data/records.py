"""Clean sales records: the table that demand is fitted on, with everything that was taken out of it kept beside it.

One row is one product in one basket. `Records.sales` has these columns. Those marked * exist only if the source has them.

| column | type | meaning |
|---|---|---|
| row | int64 | position of the row in the source, 0, 1, ... |
| time | datetime64[us] | when it was sold, on the clock of the shop, without a time zone |
| week | datetime64[us] | the Monday, 0:00, on which its week begins |
| partial_week | bool | whether the log does not cover the whole week, because it starts or ends inside of it |
| product | text, int or category | identifier of the product |
| customer* basket* store* category* | text, int or category | identifiers; a missing one is NA |
| units | float64, above 0 | units sold |
| paid | float64, above 0 | money that the shop received for all units of the row |
| discount | float64 | money off the regular price, for every buyer; 0 if the source has none |
| coupon | float64 | money off for the holder of a coupon, given by the shop, so not part of `paid` |
| refunded | float64 | money off for the holder of a coupon that the maker refunds to the shop, so part of `paid` |
| posted_price | float64, above 0 | price of one unit on the shelf: what a buyer without coupons pays |
| regular_price | float64 | price of one unit without the discount |
| paid_price | float64 | what this buyer gave for one unit, coupons deducted |

The three prices follow from the money (all three reductions are positive numbers, for all units of the row):

    posted_price  = (paid + coupon) / units
    regular_price = (paid + coupon + discount) / units
    paid_price    = (paid - refunded) / units

A demand model takes `posted_price`, since that is the price that the seller chose and that everybody saw. A buyer's coupon
is a feature of the buyer. The formula is that of users of the Complete Journey data (shared by the R package of that name).

`Records.returns` has the same columns without bounds: units and money with the sign that the source gives them.
`Records.quarantined` has the columns of the source as they came, and `row` and `rule`, the rule that caught the row; columns
of the source with these names become `source_row` and `source_rule`. Every row of the source is in exactly one of the three.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jaxprice.data.frames import Frame

IDENTIFIERS = ("customer", "basket", "store", "category")  # of a sale, if the source has them
MONEY = ("paid", "discount", "coupon", "refunded")  # for all units of a row
PRICES = ("posted_price", "regular_price", "paid_price")  # of one unit


@dataclass(frozen=True, eq=False)
class Records:
    """Sales, checked and cleaned. `read_transactions` makes it, and the loaders of known data sets.

    Attributes:
      sales: one row a product and basket, in order of time; columns as above, then the columns that the caller kept.
      returns: returned and cancelled rows, with the same columns.
      quarantined: rows that a rule caught, as they came, with `row` and `rule`.
      report: one row a rule, in the order in which they were applied: `rule`, `rows` that it caught, rows `left`, and what
        was `done`.
      visits: one row a basket of the source, whether or not its sales are clean: `basket`, `time`, and `customer` and
        `store` if known. None if the source has no baskets.
      currency: of all money; "" if not known.
      source: where the rows come from, with a hash for a file.
      notice: what a reader of any number from these data must be told; "" for none.
    """

    sales: Frame
    returns: Frame
    quarantined: Frame
    report: Frame
    visits: Frame | None = None
    currency: str = ""
    source: str = ""
    notice: str = ""

    def replace(self, **changes: Any) -> "Records":
        """A copy with other attributes."""
        return dataclasses.replace(self, **changes)

    def save(self, folder: str | Path, *, format: str = "parquet") -> None:
        """Writes all tables into a folder of their own: see `jaxprice.data.saving`.

        Raises:
          ValueError: the folder holds anything else, or other records; nothing is written then.
        """
        from jaxprice.data import saving

        saving.save(self, folder, format=format)

    @classmethod
    def load(cls, folder: str | Path) -> "Records":
        """The records of a folder that `save` wrote.

        Raises:
          ValueError: there are none, or a file is missing or was changed.
        """
        from jaxprice.data import saving

        return saving.load(folder)


class Column(NamedTuple):
    """What a column of `Records.sales` must be.

    Attributes:
      kind: its type; "" for any, and then values may be missing where `needed` is false.
      low: values are at least this; None for any number.
      strict: whether `low` itself is refused.
      needed: whether the column must exist.
    """

    kind: str = ""
    low: float | None = None
    strict: bool = False
    needed: bool = True


def sales_columns() -> dict[str, Column]:
    """The columns of `Records.sales`; further ones are allowed. Numbers are finite, and no row comes twice."""
    above, not_below = Column("float64", 0.0, strict=True), Column("float64", 0.0)
    return {
        "row": Column("int64", 0),
        "time": Column("datetime64[us]"),
        "week": Column("datetime64[us]"),
        "partial_week": Column("bool"),
        "product": Column(),
        **dict.fromkeys(IDENTIFIERS, Column(needed=False)),
        **dict.fromkeys(("units", "paid", "posted_price", "regular_price"), above),
        **dict.fromkeys(("discount", "coupon", "refunded"), not_below),
        "paid_price": Column("float64"),
    }


def sales_schema() -> Any:
    """The pandera schema of `Records.sales`; further columns are allowed.

    Raises:
      ImportError: pandera is not installed.
    """
    try:
        import pandera.pandas as pa
    except ImportError as error:
        raise ImportError("the schema of records needs pandera: pip install 'jaxprice[data]'") from error
    made: dict[str, Any] = {}
    for name, column in sales_columns().items():
        rules = [pa.Check.lt(float("inf"))] if column.kind == "float64" else []
        if column.low is not None:
            rules.append((pa.Check.gt if column.strict else pa.Check.ge)(column.low))
        made[name] = pa.Column(
            column.kind or None, rules, nullable=not column.needed, required=column.needed, unique=name == "row"
        )
    in_order = pa.Check(lambda frame: frame["time"].is_monotonic_increasing, name="in order of time")
    return pa.DataFrameSchema(made, checks=in_order, name="sales")


def checked(sales: Frame) -> Frame:
    """`sales` unchanged, if it has the columns, types and ranges of `Records.sales`.

    It is validated with pandera where that is installed, else column by column here.

    Raises:
      ValueError: it has not; the message names column, rule, number of rows, and the first rows and values.
    """
    try:
        schema = sales_schema()
        from pandera.errors import SchemaErrors
    except ImportError:
        return _checked_by_column(sales)
    try:
        schema.validate(sales, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        told = []
        for (column, rule), found in cases.groupby(["column", "check"], sort=False, dropna=False):
            rows = [row for row in found["index"].tolist() if row is not None and row == row][:3]
            values = ", ".join(map(str, found["failure_case"].tolist()[:3]))
            told.append(f"{column!r} breaks {rule!r} {len(found)} times: {values}" + (f" in rows {rows}" if rows else ""))
        raise ValueError(f"sales: {'; '.join(told)}") from error
    return sales


def _checked_by_column(sales):
    """`checked` without pandera."""
    told = []
    for name, column in sales_columns().items():
        if name not in sales:
            told += [f"{name!r} is missing"] if column.needed else []
            continue
        values = sales[name]
        if column.kind and str(values.dtype) != column.kind:
            told.append(f"{name!r} breaks 'dtype {column.kind}': {values.dtype}")
            continue
        broken = {"not_nullable": values.isna() & column.needed}
        if column.kind == "float64":
            broken["less_than(inf)"] = values == float("inf")
        if column.low is not None:
            rule = "greater_than" if column.strict else "greater_than_or_equal_to"
            broken[f"{rule}({column.low})"] = (values <= column.low) if column.strict else (values < column.low)
        if name == "row":
            broken["field_uniqueness"] = values.duplicated(keep=False)
        for rule, where in broken.items():
            if where.any():
                shown, rows = values[where].tolist()[:3], where[where].index.tolist()[:3]
                told.append(f"{name!r} breaks {rule!r} {where.sum()} times: {', '.join(map(str, shown))} in rows {rows}")
    if "time" in sales and not sales["time"].is_monotonic_increasing:
        told.append("'time' breaks 'in order of time'")
    if told:
        raise ValueError(f"sales: {'; '.join(told)}")
    return sales
