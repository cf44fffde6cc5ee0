"""Real purchase data: from a shop's records to clean tables and their parts, choice models, and calibrated markets.

`read_transactions` turns a log of sales into `Records` with a report of what was found; `split_in_time` and `split_by`
divide them; `loaders` reads known data sets from an installed package or a path. They need pandas, imported at first use;
the extra `jaxprice[data]` adds what validates tables (pandera) and reads Parquet (pyarrow). No data set is part of this
package.

`panel` turns records into sales by product and period, and `fit_demand` fits their demand with its uncertainty. A fit's
`market` is an environment whose task distribution is that uncertainty; `fit_demand_prior` gives priors for products that
were never sold. The estimators are in `jaxprice.data.estimation`, one a file.

The package contains fitted parameters; they need no data set at run time. `load("apple")` returns a `Calibration`,
`names()` lists them, and `experiments/fits/calibrate.py` refits them from the original data.
"""

from jaxprice.data import loaders
from jaxprice.data.calibrated import Calibration, load, names
from jaxprice.data.cleaning import Rule, standard_rules
from jaxprice.data.discrete_choice import Fit, fit_binary_logit, fit_multinomial_logit, own_price_curve
from jaxprice.data.estimation import (
    DemandFit,
    DemandPrior,
    GLMFit,
    InstrumentFit,
    Panel,
    ProductFeatures,
    Unconstrained,
    control_function,
    fit_demand,
    fit_demand_prior,
    fit_glm,
    fit_pooled,
    panel,
    product_features,
    two_stage_least_squares,
    unconstrain,
)
from jaxprice.data.normaliser import Normaliser
from jaxprice.data.records import Records, sales_schema
from jaxprice.data.splits import Parts, split_by, split_in_time
from jaxprice.data.transactions import read_transactions

__all__ = [
    "Calibration",
    "DemandFit",
    "DemandPrior",
    "Fit",
    "GLMFit",
    "InstrumentFit",
    "Normaliser",
    "Panel",
    "Parts",
    "ProductFeatures",
    "Records",
    "Rule",
    "Unconstrained",
    "control_function",
    "fit_binary_logit",
    "fit_demand",
    "fit_demand_prior",
    "fit_glm",
    "fit_multinomial_logit",
    "fit_pooled",
    "load",
    "loaders",
    "names",
    "own_price_curve",
    "panel",
    "product_features",
    "read_transactions",
    "sales_schema",
    "split_by",
    "split_in_time",
    "standard_rules",
    "two_stage_least_squares",
    "unconstrain",
]
