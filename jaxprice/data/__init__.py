"""Real purchase data: from a shop's records to clean tables and their parts, choice models, and calibrated markets.

`read_transactions` turns a log of sales into `Records` with a report of what was found; `split_in_time` and `split_by`
divide them; `loaders` reads known data sets from an installed package or a path. They need pandas and pandera, which the
extra `jaxprice[data]` installs and which are imported at first use. No data set is part of this package.

The package contains fitted parameters; they need no data set at run time. `load("apple")` returns a `Calibration`,
`names()` lists them, and `experiments/fits/calibrate.py` refits them from the original data.
"""

from jaxprice.data import loaders
from jaxprice.data.calibrated import Calibration, load, names
from jaxprice.data.cleaning import Rule, standard_rules
from jaxprice.data.discrete_choice import Fit, fit_binary_logit, fit_multinomial_logit, own_price_curve
from jaxprice.data.normaliser import Normaliser
from jaxprice.data.records import Records, sales_schema
from jaxprice.data.splits import Parts, split_by, split_in_time
from jaxprice.data.transactions import read_transactions

__all__ = [
    "Calibration",
    "Fit",
    "Normaliser",
    "Parts",
    "Records",
    "Rule",
    "fit_binary_logit",
    "fit_multinomial_logit",
    "load",
    "loaders",
    "names",
    "own_price_curve",
    "read_transactions",
    "sales_schema",
    "split_by",
    "split_in_time",
    "standard_rules",
]
