"""Markets, one a file, and `make`, which builds any of them by name."""

import inspect

from jaxprice import checks, devices
from jaxprice.data import calibrated
from jaxprice.envs import bernoulli_bandit, calibrated_market, gaussian_bandit, posted_price, segmented_valuation
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.envs.calibrated_market import CalibratedMarket
from jaxprice.envs.gaussian_bandit import GaussianBandit
from jaxprice.envs.posted_price import PostedPrice
from jaxprice.envs.segmented_valuation import SegmentedValuation

__all__ = [
    "BernoulliBandit",
    "CalibratedMarket",
    "GaussianBandit",
    "PostedPrice",
    "SegmentedValuation",
    "list_envs",
    "make",
]


def _makers():
    makers = {
        "BernoulliBandit": bernoulli_bandit.make,
        "GaussianBandit": gaussian_bandit.make,
        "PostedPrice": posted_price.make,
        "SegmentedValuation": segmented_valuation.make,
    }
    return makers | dict.fromkeys(calibrated.names(), calibrated_market.make)


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
    allowed = [parameter for parameter in inspect.signature(makers[name]).parameters if parameter != "market"]
    for option in options:
        checks.choice(f"option of {name}", option, allowed)
    if makers[name] is calibrated_market.make:
        return calibrated_market.make(name, **options)
    return makers[name](**options)
