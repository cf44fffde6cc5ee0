"""Money of a row: one currency, reductions that are positive, and the three prices of a unit."""

from collections.abc import Mapping

import numpy as np

from jaxprice import checks
from jaxprice.data.frames import Frame
from jaxprice.data.records import MONEY

REDUCTIONS = ("discount", "coupon", "refunded")


def complete(table: Frame) -> Frame:
    """The table with all columns of money: reductions that are not known are 0, and `paid` follows from `posted_price`."""
    table = table.assign(**{name: table[name].fillna(0.0) if name in table else 0.0 for name in REDUCTIONS})
    if "paid" not in table:
        table = table.assign(paid=table["posted_price"] * table["units"] - table["coupon"])
    return table


def filled(table: Frame, raw: Frame, names: Mapping[str, str]) -> dict[str, int]:
    """Reduction -> number of rows of the table where the source has none, and so 0 was taken."""
    counts = {name: int(raw.loc[table.index, names[name]].isna().sum()) for name in REDUCTIONS if name in names}
    return {name: count for name, count in counts.items() if count}


def convert(
    table: Frame,
    raw: Frame,
    names: Mapping[str, str],
    currency: str,
    rates: Mapping[str, float] | None,
) -> tuple[Frame, str]:
    """The table with all money in one currency, and this currency.

    Args:
      table: canonical columns.
      raw: the source.
      names: canonical name -> column of the source.
      currency: the wanted one; "" for that of the source.
      rates: currency -> value of one unit of it in `currency`.

    Raises:
      ValueError: the source mixes currencies without rates, a rate is missing or not above 0, or the names do not agree.
    """
    if not isinstance(currency, str):
        raise ValueError(f"currency must be a text, got {checks.shown(currency)}")
    rates = checks.options("rates", None if rates is None else dict(rates))
    for name, rate in rates.items():
        checks.positive(f"rates[{name!r}]", rate)
    if "currency" not in names:
        if rates:
            raise ValueError("rates need columns['currency'], which says what each row was paid in")
        return table, currency
    column = raw[names["currency"]].astype("str").str.strip().where(raw[names["currency"]].notna())
    counts = column.value_counts()
    seen = ", ".join(f"{name} ({count} rows)" for name, count in counts.items())
    wanted = currency or (str(counts.index[0]) if len(counts) == 1 else "")
    known = {wanted: 1.0} | rates
    lacking = [str(name) for name in counts.index if name not in known]
    if lacking or not wanted:
        raise ValueError(
            f"column {names['currency']!r} holds the currencies {seen}. Rule 'currencies': give currency=, the one to "
            f"convert into, and rates=, the value in it of one unit of each of {', '.join(lacking) or 'the others'}"
        )
    factor = column.map(known).astype("float64")
    money = [name for name in (*MONEY, "posted_price") if name in table]
    return table.assign(**{name: table[name] * factor.fillna(1.0) for name in money}), wanted


def check_signs(table: Frame, names: Mapping[str, str]) -> None:
    """Refuse a reduction that the source writes as negative numbers.

    Raises:
      ValueError: most entries that are not 0 are negative.
    """
    for name in REDUCTIONS:
        below, above = (int(count) for count in ((table[name] < 0).sum(), (table[name] > 0).sum()))
        if below > above:
            rows = table.index[table[name] < 0][:3].tolist()
            raise ValueError(
                f"column {names[name]!r} ({name}) must hold money off as positive numbers, but {below} of {below + above} "
                f"are negative, as in rows {rows}: change its sign"
            )


def prices(table: Frame) -> Frame:
    """The table with the prices of one unit, by the formula in `jaxprice.data.records`; NaN for 0 units.

    A posted price that the source has is taken as it is.
    """
    units = table["units"].to_numpy(float)
    units = np.where(units == 0, np.nan, units)
    posted = (table["paid"] + table["coupon"]) / units
    if "posted_price" in table:
        posted = table["posted_price"].fillna(posted)
    return table.assign(
        posted_price=posted,
        regular_price=posted + table["discount"] / units,
        paid_price=(table["paid"] - table["refunded"]) / units,
    )
