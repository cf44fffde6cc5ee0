"""Demand with its uncertainty, from a panel of sales: one estimator a file."""

from jaxprice.data.estimation.censored import Unconstrained, unconstrain
from jaxprice.data.estimation.demand_fit import DemandFit
from jaxprice.data.estimation.fit_demand import fit_demand
from jaxprice.data.estimation.glm import GLMFit, fit_glm
from jaxprice.data.estimation.instruments import InstrumentFit, control_function, two_stage_least_squares
from jaxprice.data.estimation.panel import Panel, panel
from jaxprice.data.estimation.pooling import Cells, PooledFit, fit_pooled
from jaxprice.data.estimation.prior import DemandPrior, fit_demand_prior
from jaxprice.data.estimation.product_features import ProductFeatures, product_features

__all__ = [
    "Cells",
    "DemandFit",
    "DemandPrior",
    "GLMFit",
    "InstrumentFit",
    "Panel",
    "PooledFit",
    "ProductFeatures",
    "Unconstrained",
    "control_function",
    "fit_demand",
    "fit_demand_prior",
    "fit_glm",
    "fit_pooled",
    "panel",
    "product_features",
    "two_stage_least_squares",
    "unconstrain",
]
