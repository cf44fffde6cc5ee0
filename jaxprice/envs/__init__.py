"""Markets, one a file, and `make`, which builds any of them by name.

The base class for a market of your own:

| market | base class | what you write |
|---|---|---|
| constant over time; arms, or a price grid | `market.MyopicMarket` | `num_actions`, `table`, `draw` |
| constant over time; any price, or several products | `market.MyopicMarket` | `mean_demand`, `best`, `draw` |
| its buyers have features that the seller sees | `market.ContextualMarket` | the same, and `start`, `move` |
| today's price changes tomorrow's market, infinite horizon | `planning.LongRunMarket` | `solve`, all but `optimal_reward` |
| anything else: a season's stock, rival sellers, a wrapper | `environment.Environment` | all |

Reference prices, loyalty, replenishment and a rival that reacts are markets of the fourth kind. Every market also defines
its default numbers (`default_params`), random draws (`sample_params`), conditions on the numbers (`rules`) and the seller's
knowledge (`problem`). If a class lacks methods, its constructor raises a `TypeError` that names them.

To make a market known to `make`, add a file here whose class is decorated with `options.market` and has `options.option`s as
fields; a line below; and a row of the table in `experiments/README.md`, by `python -m experiments.tools.market_table
--write`.
"""

import contextlib

import jax

from jaxprice import checks, devices
from jaxprice.envs.airline_season import AirlineSeason as AirlineSeason
from jaxprice.envs.bernoulli_bandit import BernoulliBandit as BernoulliBandit
from jaxprice.envs.calibrated_market import CalibratedMarket as CalibratedMarket
from jaxprice.envs.calibrated_products import CalibratedProducts as CalibratedProducts
from jaxprice.envs.fair_pricing import FairPricing as FairPricing
from jaxprice.envs.finite_inventory import FiniteInventory as FiniteInventory
from jaxprice.envs.gaussian_bandit import GaussianBandit as GaussianBandit
from jaxprice.envs.glm_demand import GLMDemand as GLMDemand
from jaxprice.envs.informative_bandit import InformativeBandit as InformativeBandit
from jaxprice.envs.labelled_rows import LabelledRows as LabelledRows
from jaxprice.envs.linear_valuation import LinearValuation as LinearValuation
from jaxprice.envs.logit_oligopoly import LogitOligopoly as LogitOligopoly
from jaxprice.envs.low_rank_demand import LowRankDemand as LowRankDemand
from jaxprice.envs.mnl_assortment import MNLAssortment as MNLAssortment
from jaxprice.envs.mnl_pricing import MNLPricing as MNLPricing
from jaxprice.envs.multi_product import MultiProduct as MultiProduct
from jaxprice.envs.network_revenue import NetworkRevenue as NetworkRevenue
from jaxprice.envs.non_stationary import NonStationary as NonStationary
from jaxprice.envs.options import MAKERS, card
from jaxprice.envs.options import cards as cards
from jaxprice.envs.parametric_demand import ParametricDemand as ParametricDemand
from jaxprice.envs.posted_price import PostedPrice as PostedPrice
from jaxprice.envs.reactive_rival import ReactiveRival as ReactiveRival
from jaxprice.envs.reference_price import ReferencePrice as ReferencePrice
from jaxprice.envs.related_products import RelatedProducts as RelatedProducts
from jaxprice.envs.replenishment import Replenishment as Replenishment
from jaxprice.envs.segmented_valuation import SegmentedValuation as SegmentedValuation
from jaxprice.envs.storefront import Storefront as Storefront
from jaxprice.envs.wheel_bandit import WheelBandit as WheelBandit

__all__ = [*sorted(["CalibratedMarket", "cards", "list_envs", "make", *(name for name in MAKERS if name[0].isupper())])]


def list_envs():
    """Names for `make`: kinds of markets, and markets calibrated from real purchases."""
    return sorted(MAKERS)


def make(name, **options):
    """A market by name, ready to simulate.

    Args:
      name: one of `list_envs()`.
      **options: options of the market, which `help` on its class lists: `means=[.1, .9]` for "BernoulliBandit", or
        `demand="logit", num_prices=10` for "PostedPrice".

    Returns:
      `(environment, params)`; the params are NumPy arrays.

    Raises:
      ValueError: an unknown name or option (the message names the closest match), or a bad value.
    """
    checks.choice("environment", name, MAKERS)
    devices.use_cpu_cores()
    for option in options:
        checks.choice(f"option of {name}", option, card(name).options)
    # numbers are computed now, even if the call is inside a trace, unless some of the options are traced
    with contextlib.nullcontext() if checks.is_traced(options) else jax.ensure_compile_time_eval():
        env, params = MAKERS[name](**options)
        env.check_params(params)
    return env, params
