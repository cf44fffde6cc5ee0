"""A panel of sales: product x period x group of households, with price, visits, units, promotions and stock-outs.

Demand is fitted on periods, those without a sale among them: a period in which a product was on the shelf and nobody took
it is evidence about its price. Three facts about shop data shape the panel.

* **Zero periods are kept**, from the first to the last period in which the product sold. Without them elasticities are
  biased toward zero.
* **The price is cross-fitted.** In a log of purchases the price of a period is seen only through purchases, so in a slow
  product the seen price is that of the buyer whose purchase is to be explained. Households are therefore divided into
  `folds`, and the price (and the promotion) that a fold faces is the median over the rows of the other folds. A fold's price
  does not move with that fold's purchases.
* **A period without any row of the other folds has the last price that they saw** (before their first row, the first
  one). `price_seen` tells such cells.

Visits are those of the table that you pass, else baskets with any product of the log. The latter leave out visitors who
bought nothing at all, and demand is then relative to buyers of the shop.

Source of cross-fitting: V. Chernozhukov et al. (2018), "Double/debiased machine learning for treatment and structural
parameters", doi:10.1111/ectj.12097.
"""

import dataclasses
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float64

from jaxprice import checks
from jaxprice.data.estimation import cells

if TYPE_CHECKING:
    import pandas as pd

PERIODS = {"day": 1, "week": 7}  # and their days


@dataclass(frozen=True, eq=False)
class Panel:
    """Sales by product (`G`), period (`T`) and fold of households (`F`); plain NumPy arrays.

    Attributes:
        products: identifiers of the products.
        periods: first day of each period, datetime64 `[T]`.
        price: price that the fold faces, in the currency of the data.
        price_seen: whether a row of the other folds (or a price list) shows this price; else it is carried over.
        units: units that the fold bought.
        visits: visits of the fold in the period.
        on_sale: whether the product is on the shelf in the period.
        stock_out: whether it sold out in the period, so that `units` is a lower bound of demand.
        promotions: names of the `P` promotion columns.
        promotion: their values, `[G, T, F, P]`.
        instruments: names of the `Q` columns that move the price and not demand.
        instrument: their values, `[G, T, F, Q]`.
        period_days: days in a period.
        buyers_only: whether visits are baskets with a purchase, since no table of visits was given.
        share_buying: share of all visits that hold a product of the panel.
    """

    products: tuple[Hashable, ...]
    periods: np.ndarray
    price: Float64[np.ndarray, "g t f"]
    price_seen: Bool[np.ndarray, "g t f"]
    units: Float64[np.ndarray, "g t f"]
    visits: Float64[np.ndarray, "g t f"]
    on_sale: Bool[np.ndarray, "g t"]
    stock_out: Bool[np.ndarray, "g t"]
    promotions: tuple[str, ...]
    promotion: Float64[np.ndarray, "g t f p"]
    instruments: tuple[str, ...]
    instrument: Float64[np.ndarray, "g t f q"]
    period_days: int
    buyers_only: bool
    share_buying: float

    @property
    def valid(self) -> Bool[np.ndarray, "g t f"]:
        """Cells that a fit uses: on sale, visited, and with a price."""
        return self.on_sale[:, :, None] & (self.visits > 0) & np.isfinite(self.price)

    @property
    def units_per_week(self) -> Float64[np.ndarray, " g"]:
        """Mean units a week on sale, of all folds."""
        weeks = np.maximum(self.on_sale.sum(1), 1) * self.period_days / 7
        return np.where(self.on_sale, self.units.sum(2), 0).sum(1) / weeks

    def between(self, start: Any = None, end: Any = None) -> "Panel":
        """The periods that begin at or after `start` and before `end`; None for no limit.

        Raises:
            ValueError: there are none.
        """
        low = self.periods[0] if start is None else np.datetime64(start)
        inside = self.periods >= low
        if end is not None:
            inside &= self.periods < np.datetime64(end)
        if not inside.any():
            raise ValueError(f"start, end: no period of {self.periods[0]} to {self.periods[-1]} begins in [{start}, {end})")
        names = ("price", "price_seen", "units", "visits", "on_sale", "stock_out", "promotion", "instrument")
        parts: dict[str, Any] = {name: getattr(self, name)[:, inside] for name in names}
        return dataclasses.replace(self, periods=self.periods[inside], **parts)


def panel(
    sales: Any,
    *,
    period: str = "week",
    promotions: Sequence[str] = (),
    instruments: Sequence[str] = (),
    visits: "pd.DataFrame | None" = None,
    prices: "pd.DataFrame | None" = None,
    promotion_table: "pd.DataFrame | None" = None,
    stock_outs: "pd.DataFrame | None" = None,
    products: Iterable[Hashable] | None = None,
    at_least: int = 1,
    folds: int = 5,
    seed: int = 0,
) -> Panel:
    """A panel from the rows of a sales log.

    Args:
        sales: a `Records`, or a frame with columns `time`, `product`, `units`, `posted_price`, and if known `customer` and
            `basket`. Rows in a `partial_week` are left out of a weekly panel.
        period: "week" (from Monday) or "day".
        promotions: columns of `sales` (or of `prices`, or of `promotion_table`) that move demand, such as "display"; a cell
            has their mean, and 0 where no row of the other folds shows them.
        instruments: columns that move the price and not demand, such as the cost.
        visits: frame of `time`, `visits`, and `product` if they differ by product: visitors, whether they bought or not.
            By default the baskets of the log.
        prices: frame of `time`, `product`, `price`: a price list. Then nothing is cross-fitted, and `folds` is 1.
        promotion_table: frame of `time`, `product` and the columns that `promotions` names: a calendar of promotions, which
            replaces what the rows of sales say. A row is about the period of its time; a cell has the mean of its rows, and
            0 where there is none.
        stock_outs: frame of `time`, `product`: sold-out periods. A column `stock_out` of `sales` counts too.
        products: the products; by default all.
        at_least: rows that a product needs.
        folds: groups of households for the cross-fitting; 1 takes the price from all rows.
        seed: of the random assignment of households to folds.

    Returns:
        The panel; products in the order of `products`, else sorted.

    Raises:
        ValueError: a column is missing, the period is unknown, a promotion is not a number, or no product is left.
    """
    import pandas as pd

    days = PERIODS[checks.choice("period", period, PERIODS)]
    checks.positive_int("folds", folds)
    baskets = getattr(sales, "visits", None)
    frame = getattr(sales, "sales", sales)
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"sales: expected Records or a pandas frame, got {type(sales).__name__}")
    if promotion_table is not None and not promotions:
        raise ValueError("promotions: expected names of columns of promotion_table, got none")
    of_rows = () if promotion_table is not None else tuple(promotions)
    seen = () if prices is not None else (*of_rows, *instruments)
    cells.needs("sales", frame, ("time", "product", "units", *(() if prices is not None else ("posted_price",)), *seen))
    if days == 7 and "partial_week" in frame:
        frame = frame[~frame["partial_week"].astype(bool)]
    frame = frame.reset_index(drop=True)
    chosen = cells.products_of(frame, products, at_least)
    folds = 1 if prices is not None else folds
    start = cells.start_of(frame["time"], days)
    number = pd.Series(np.arange(len(chosen)), index=pd.Index(chosen))
    first, last = start.min(), start.max()
    periods = np.arange(first, last + np.timedelta64(days, "D"), np.timedelta64(days, "D"))
    index = cells.Index(first, days, len(periods), number)
    fold = cells.folds_of(frame, folds, seed)
    traffic, share = (
        cells.baskets_of(frame, index, fold, folds, baskets) if visits is None else cells.visitors(visits, index, folds)
    )
    g, t, inside = index.of(frame)
    rows: pd.DataFrame = frame.loc[inside]
    g, t, fold = g[inside], t[inside], fold[inside]
    shape = (len(chosen), len(periods), folds)
    units = np.zeros(shape)
    np.add.at(units, (g, t, fold), rows["units"].to_numpy(float))
    stock_out = np.zeros(shape[:2], bool)
    if "stock_out" in rows:
        flagged = rows["stock_out"].to_numpy(bool)
        stock_out[g[flagged], t[flagged]] = True
    if stock_outs is not None:
        cells.needs("stock_outs", stock_outs, ("time", "product"))
        at, when, known = index.of(stock_outs)
        stock_out[at[known], when[known]] = True
    columns = (*of_rows, *instruments)
    if prices is None:
        price, more = cells.cross_fitted(rows, columns, g, t, fold, shape)
        sold = units.sum(2) > 0
    else:
        cells.needs("prices", prices, ("time", "product", "price", *columns))
        listed, when, known = index.of(prices)
        listed, when = listed[known], when[known]
        of_list = prices.loc[known].rename(columns={"price": "posted_price"}).reset_index(drop=True)
        price, more = cells.cross_fitted(of_list, columns, listed, when, np.zeros(len(listed), int), shape)
        sold = np.isfinite(price[:, :, 0])
    price_seen = np.isfinite(price)
    more = np.where(price_seen[..., None], more, np.nan)
    promotion = np.nan_to_num(more[..., : len(of_rows)], nan=0.0)
    if promotion_table is not None:
        promotion = cells.tabled("promotion_table", promotion_table, promotions, index, shape)
    return Panel(
        products=tuple(chosen),
        periods=periods,
        price=cells.carried(price),
        price_seen=price_seen,
        units=units,
        visits=np.broadcast_to(traffic, shape).copy(),
        on_sale=cells.span(sold | stock_out),
        stock_out=stock_out,
        promotions=tuple(promotions),
        promotion=promotion,
        instruments=tuple(instruments),
        instrument=cells.carried(more[..., len(of_rows) :]),
        period_days=days,
        buyers_only=visits is None,
        share_buying=share,
    )
