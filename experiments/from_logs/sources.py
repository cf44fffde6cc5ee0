"""Where the records come from: the planted log, Ta-Feng, the Complete Journey, or a file of one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.from_logs import planted
from jaxprice import data, files
from jaxprice.data.estimation import cells

SETS = ("planted", "ta_feng", "complete_journey")
SHARE = 0.6  # cost, as a share of the usual price, where it is not known


class Source(NamedTuple):
    """Records, and what is known about how they came about.

    Attributes:
      name: of the data.
      records: clean records.
      period: "week" or "day".
      products: those that are looked at.
      cuts: first days of the validation and of the test part; None for 60 and 80 % of the time.
      promotions: columns of the sales that move demand.
      shown: frame of `time`, `product` and the promotions, which replaces what the rows say; or None.
      visitors: frame of `time` and `visits`, or None: then baskets with a purchase are visits.
      costs: product -> cost of one unit.
      cost_known: whether costs are those of the source.
      usual: product -> list price that the shop's prices are relative to, or None.
      truth: what made the log, or None.
      unknown: sentences about what these data cannot tell.
    """

    name: str
    records: Any
    period: str
    products: list
    cuts: tuple[Any, Any] | None
    promotions: tuple[str, ...]
    shown: Any
    visitors: Any
    costs: Mapping
    cost_known: bool
    usual: Mapping | None
    truth: planted.Truth | None
    unknown: tuple[str, ...]


RANDOMISED = (
    "Prices were not drawn at random. Slopes are too small if the shop cut prices when it expected few sales, and too large "
    "if it cut them for holidays."
)
VISITS = "Visits are baskets with a purchase. Who left without one is not in the log, so demand is per buyer of the shop."
RANGE = "Demand beyond the prices that were posted: best prices at an end of the range may lie beyond it."
COSTS = "Costs are assumed, {share:.0%} of the usual price: profits and best prices hold under this assumption."


def planted_log(sizes, seed, folder):
    """The planted log, written into a folder as the file that a shop would hand over, and read from there."""
    made = planted.shop(sizes.products, sizes.weeks, sizes.visitors, seed)
    with files.whole(folder / "log.csv") as path:
        made.table.to_csv(path, index=False)
    columns = {
        "time": "sold_at",
        "product": "article",
        "customer": "customer",
        "basket": "receipt",
        "units": "quantity",
        "paid": "amount",
        "discount": "reduction",
        "currency": "money",
    }
    records = data.read_transactions(
        folder / "log.csv",
        columns,
        keep=["department", "display"],
        unreadable="quarantine",
        currency="EUR",
        rates={"CHF": planted.RATE},
        rules=data.standard_rules(excluded={"department": ["FUEL"]}),
    )
    records = records.replace(sales=records.sales.assign(display=records.sales["display"].astype(float)))
    truth = made.truth
    costs = dict(zip(truth.products, planted.COST_SHARE * truth.usual, strict=True))
    unknown = (
        "Whether customers wait for low prices, or come for them: the planted ones do not.",
        RANGE,
    )
    where = "planted log", records, "week", list(truth.products), None, ("display",), None, made.visitors
    return Source(*where, costs, True, dict(zip(truth.products, truth.usual, strict=True)), truth, unknown)


def ta_feng(path=None):
    """Ta-Feng, and the 40 products of the reference: of the 400 with most sales, those whose price moved most days."""
    from experiments.from_logs import published

    records = data.loaders.ta_feng(path)
    products = published.ta_feng_products(records)
    cost = records.sales.assign(cost=records.sales["cost"] / records.sales["units"])
    costs = cost.groupby("product", observed=True)["cost"].median().to_dict()
    first = records.sales["time"].min().normalize()
    cuts = tuple((first.to_datetime64() + np.timedelta64(days, "D")).astype("datetime64[D]") for days in published.DAYS)
    unknown = (
        RANDOMISED,
        VISITS,
        RANGE,
        "The cost is the column ASSET, which the source does not document.",
        "Four months: no season, and no answer of customers who learn the new prices.",
    )
    return Source("Ta-Feng", records, "day", products, cuts, (), None, None, costs, True, None, None, unknown)


def complete_journey(path=None, most=60):
    """The Complete Journey, the `most` products with the largest revenue among those of the reference."""
    from experiments.from_logs import published

    records = data.loaders.complete_journey(path)
    products = published.journey_products(records)
    shown = published.journey_promotions(records, products, path)
    top = _by_revenue(records.sales[records.sales["product"].isin(products)], most)
    cuts = tuple(np.datetime64(day) for day in published.WEEKS)
    unknown = (
        "These are educational data, possibly simulated: no number from them is evidence about a real shop.",
        RANDOMISED,
        VISITS,
        RANGE,
        COSTS.format(share=SHARE),
        "A display is known in weeks and stores; whether it was planned with the price is not.",
    )
    costs = _assumed(records.sales, top, SHARE)
    promotions = ("display", "mailer")
    return Source("Complete Journey", records, "week", top, cuts, promotions, shown, None, costs, False, None, None, unknown)


def own_file(
    path,
    columns,
    promotions=(),
    share=SHARE,
    period="week",
    reading=None,
    most=40,
    visits=None,
    promotion_table=None,
):
    """A file with a map of columns.

    Args:
      path, columns: as in `data.read_transactions`.
      promotions: columns that move demand, of the file or of `promotion_table`.
      share: cost, as a share of the usual price.
      period: "week" or "day".
      reading: further arguments of `data.read_transactions`.
      most: largest number of products.
      visits, promotion_table: CSV files with these tables, see `data.panel`; or None.

    Raises:
      ValueError: no product sells at two prices at least 50 times, or a table cannot be read.
    """
    reading = dict(reading or {})
    forms = {name: reading.get(name) for name in ("time_format", "tz", "decimal", "read_options")}
    of_rows = () if promotion_table is not None else tuple(promotions)
    kept = [*of_rows, *(name for name in reading.pop("keep", ()) if name not in of_rows)]
    visitors = None if visits is None else table_of("visits", visits, ("visits",), forms)
    shown = None if promotion_table is None else table_of("promotion-table", promotion_table, tuple(promotions), forms)
    records = data.read_transactions(Path(path), columns, keep=kept, **reading)
    sales = records.sales
    if of_rows:
        made = {name: numbers_of("promotions", sales[name]) for name in of_rows}
        records = records.replace(sales=sales.assign(**made))
        sales = records.sales
    prices = sales.groupby("product", observed=True)["posted_price"].agg(["size", "nunique"])
    enough = prices.index[(prices["size"] >= 50) & (prices["nunique"] > 1)]
    if not len(enough):
        raise ValueError(f"path: no product was sold at two prices in 50 rows; the largest has {prices['size'].max()} rows")
    products = _by_revenue(sales[sales["product"].isin(enough)], most)
    guessed = () if visitors is not None else (VISITS,) if "basket" in sales else (BASKETS, VISITS)
    unknown = (RANDOMISED, *guessed, RANGE, COSTS.format(share=share))
    costs = _assumed(sales, products, share)
    named = Path(path).name, records, period, products, None, tuple(promotions), shown, visitors
    return Source(*named, costs, False, None, None, unknown)


def table_of(option, path, columns, forms):
    """A CSV file with `time`, perhaps `product`, and columns of numbers.

    Args:
      option: its name on the command line.
      path: of the file.
      columns: names of the columns of numbers.
      forms: `time_format`, `tz`, `decimal` and `read_options` of the sales, which the table shares.

    Raises:
      ValueError: there is no such file, a column is missing, or a value cannot be read.
    """
    import pandas as pd

    from jaxprice.data import parsing

    if not Path(path).is_file():
        raise ValueError(f"{option}: there is no file {str(path)!r}")
    raw = pd.read_csv(path, **{"dtype": "str", "skipinitialspace": True} | dict(forms["read_options"] or {}))
    cells.needs(option, raw, ("time", *columns))
    times, wrong, _ = parsing.times(raw["time"], forms["time_format"], forms["tz"])
    if wrong.any() or times.isna().any():
        row = int(np.flatnonzero(wrong | times.isna().to_numpy())[0])
        raise ValueError(f"{option}: column 'time' must hold dates, but row {row} has {raw['time'].iloc[row]!r}")
    made = {name: numbers_of(option, raw[name], forms["decimal"] or ".") for name in columns}
    if "product" in raw:
        made["product"] = parsing.texts(raw["product"])
    return pd.DataFrame({"time": times} | made)


def numbers_of(option, column, decimal="."):
    """A column as numbers.

    Raises:
      ValueError: a value is missing or no number.
    """
    from jaxprice.data import parsing

    numbers, wrong = parsing.numbers(column, decimal)
    bad = np.flatnonzero(wrong | numbers.isna().to_numpy())
    if len(bad):
        came = column.tolist()[bad[0]]
        raise ValueError(
            f"{option}: column {column.name!r} must hold numbers such as 0 and 1 in every row; {len(bad)} rows do not, "
            f"first row {bad[0]}: {came!r}"
        )
    return numbers


BASKETS = "There are no baskets, so a visit is guessed from customers, or else each row is one."


def _by_revenue(sales, most):
    """The products with the largest revenue, in the order of their names."""
    revenue = sales.groupby("product", observed=True)["paid"].sum()
    return sorted(revenue.nlargest(most).index)


def _assumed(sales, products, share):
    usual = sales[sales["product"].isin(products)].groupby("product", observed=True)["posted_price"].median()
    return {product: share * float(usual[product]) for product in products}
