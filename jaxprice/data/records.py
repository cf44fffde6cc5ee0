"""Clean sales records: the table that demand is fitted on, with everything that was taken out of it kept beside it.

One row is one product in one basket. `Records.sales` has these columns. Those marked * exist only if the source has them.

| column | type | meaning |
|---|---|---|
| row | int64 | position of the row in the source, 0, 1, ... |
| time | datetime64[us] | when it was sold, on the clock of the shop, without a time zone |
| week | datetime64[us] | the Monday, 0:00, on which its week begins |
| partial_week | bool | whether the log does not cover the whole week, because it starts or ends inside of it |
| product | text or int | identifier of the product |
| customer* basket* store* category* | text or int | identifiers; a missing one is NA |
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
`Records.quarantined` has the columns of the source as they came, and `row` and `rule`, the rule that caught the row. Every
row of the source is in exactly one of the three.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

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

    sales: "pd.DataFrame"
    returns: "pd.DataFrame"
    quarantined: "pd.DataFrame"
    report: "pd.DataFrame"
    visits: "pd.DataFrame | None" = None
    currency: str = ""
    source: str = ""
    notice: str = ""

    def replace(self, **changes: Any) -> "Records":
        """A copy with other attributes."""
        return dataclasses.replace(self, **changes)
