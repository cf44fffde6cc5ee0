"""Markets, one a file, and `make`, which builds any of them by name.

Which base class a market of your own takes:

| market | base class | what you write |
|---|---|---|
| stays as it is; arms, or a price grid | `market.MyopicMarket` | `num_actions`, `table`, `draw` |
| stays as it is; any price, or several products | `market.MyopicMarket` | `mean_demand`, `best`, `draw` |
| its buyers have features that the seller sees | `market.ContextualMarket` | the same, and `start`, `move` |
| today's price changes tomorrow's market, without end | `planning.LongRunMarket` | `solve`, all but `optimal_reward` |
| anything else: a season's stock, rival sellers, a wrapper | `types.Environment` | all |

References, loyalty and stock that is ordered anew are markets of the fourth kind. Every market also says what its numbers
are (`default_params`), how they are drawn (`sample_params`), what must hold of them (`rules`) and what the seller is told
(`problem`). A `TypeError` names the methods that a class lacks when it is made.
"""

import contextlib
import functools
import inspect

import jax

from jaxprice import checks, devices, fingerprint
from jaxprice.data import calibrated
from jaxprice.envs import (
    bernoulli_bandit,
    calibrated_market,
    calibrated_products,
    fair_pricing,
    finite_inventory,
    gaussian_bandit,
    glm_demand,
    informative_bandit,
    labelled_rows,
    linear_valuation,
    logit_oligopoly,
    low_rank_demand,
    mnl_assortment,
    mnl_pricing,
    multi_product,
    network_revenue,
    non_stationary,
    parametric_demand,
    posted_price,
    reference_price,
    related_products,
    replenishment,
    segmented_valuation,
    storefront,
    wheel_bandit,
)
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.envs.calibrated_market import CalibratedMarket
from jaxprice.envs.calibrated_products import CalibratedProducts
from jaxprice.envs.fair_pricing import FairPricing
from jaxprice.envs.finite_inventory import FiniteInventory
from jaxprice.envs.gaussian_bandit import GaussianBandit
from jaxprice.envs.glm_demand import GLMDemand
from jaxprice.envs.informative_bandit import InformativeBandit
from jaxprice.envs.labelled_rows import LabelledRows
from jaxprice.envs.linear_valuation import LinearValuation
from jaxprice.envs.logit_oligopoly import LogitOligopoly
from jaxprice.envs.low_rank_demand import LowRankDemand
from jaxprice.envs.mnl_assortment import MNLAssortment
from jaxprice.envs.mnl_pricing import MNLPricing
from jaxprice.envs.multi_product import MultiProduct
from jaxprice.envs.network_revenue import NetworkRevenue
from jaxprice.envs.non_stationary import NonStationary
from jaxprice.envs.parametric_demand import ParametricDemand
from jaxprice.envs.posted_price import PostedPrice
from jaxprice.envs.reference_price import ReferencePrice
from jaxprice.envs.related_products import RelatedProducts
from jaxprice.envs.replenishment import Replenishment
from jaxprice.envs.segmented_valuation import SegmentedValuation
from jaxprice.envs.storefront import Storefront
from jaxprice.envs.wheel_bandit import WheelBandit

_KINDS = {
    Storefront: storefront,
    Replenishment: replenishment,
    ReferencePrice: reference_price,
    MNLPricing: mnl_pricing,
    MNLAssortment: mnl_assortment,
    GLMDemand: glm_demand,
    FairPricing: fair_pricing,
    BernoulliBandit: bernoulli_bandit,
    FiniteInventory: finite_inventory,
    GaussianBandit: gaussian_bandit,
    LinearValuation: linear_valuation,
    LogitOligopoly: logit_oligopoly,
    MultiProduct: multi_product,
    NetworkRevenue: network_revenue,
    NonStationary: non_stationary,
    PostedPrice: posted_price,
    CalibratedProducts: calibrated_products,
    SegmentedValuation: segmented_valuation,
    RelatedProducts: related_products,
    ParametricDemand: parametric_demand,
    LowRankDemand: low_rank_demand,
    InformativeBandit: informative_bandit,
    WheelBandit: wheel_bandit,
    LabelledRows: labelled_rows,
}

__all__ = ["CalibratedMarket", "list_envs", "make", *(kind.__name__ for kind in _KINDS)]


_MAKERS = fingerprint.Registry(
    "markets",
    {kind.__name__: module.make for kind, module in _KINDS.items()}
    | {name: functools.partial(calibrated_market.make, name) for name in calibrated.names()},
)


def _makers():
    return _MAKERS


def list_envs():
    """Names that `make` knows: kinds of markets, and markets calibrated from real purchases."""
    return sorted(_makers())


def make(name, **options):
    """A market by name, ready to simulate.

    Args:
      name: one of `list_envs()`.
      **options: arguments of the market's own `make`, for instance `means=[.1, .9]` of "BernoulliBandit" or
        `demand="logit", num_prices=10` of "PostedPrice".

    Returns:
      `(environment, params)`; the params are NumPy arrays.

    Raises:
      ValueError: an unknown name or option (the message names the nearest), or a bad value.
    """
    makers = _makers()
    checks.choice("environment", name, makers)
    devices.use_cpu_cores()
    for option in options:
        checks.choice(f"option of {name}", option, inspect.signature(makers[name]).parameters)
    # numbers are computed now, whatever is being traced around the call, unless some of them are traced themselves
    with contextlib.nullcontext() if checks.is_traced(options) else jax.ensure_compile_time_eval():
        env, params = makers[name](**options)
        env.check_params(params)
    return env, params
