"""The markets of the seller: those of its training, five families that it never sees, and bandits with a Bayes value.

The held-out families were named before the first training and take no part in it: neither the mixture, nor the prior of the
filter, nor the choice of a run sees them.
"""

import dataclasses
import functools
from typing import Any

import jaxprice
from experiments.seller.mixture import MixedDemand

HELD_OUT = {
    "exponential demand": ("PostedPrice", {"demand": "exponential"}),
    "constant elasticity": ("PostedPrice", {"demand": "iso_elastic"}),
    "log-normal valuations": ("PostedPrice", {"demand": "log_normal"}),
    "three valuations": ("PostedPrice", {"demand": "atoms"}),
    "real products": ("CalibratedProducts", {}),
}
BANDITS = (20, 100)  # pulls of five Bernoulli arms


@dataclasses.dataclass(frozen=True)
class Group:
    """Markets of one kind in training.

    Attributes:
      env: the market.
      horizon: number of periods of a lifetime.
      lanes: lifetimes of an update.
      weight: number of updates in a round.
    """

    env: Any
    horizon: int
    lanes: int
    weight: int = 1


@functools.cache
def groups():
    """Name -> `Group`, for training."""
    moving = {"market": MixedDemand(standard=True), "horizon": 1000}
    return {
        "ten prices": Group(MixedDemand(), 100, 256, 2),
        "ten prices, long": Group(MixedDemand(), 1500, 16, 2),
        "change points": Group(_made("NonStationary", **moving, kind="piecewise", num_markets=3), 1000, 24),
        "elasticity": Group(_made("GLMDemand", dimension=4, num_prices=10), 600, 40),
        "valuations": Group(_made("LinearValuation", dimension=4, num_prices=10), 600, 40),
        "stock": Group(_made("FiniteInventory", horizon=400, stock=100), 400, 64, 2),
        "segments": Group(_made("SegmentedValuation", num_segments=100, num_prices=20), 600, 24),
        "arms": Group(_made("BernoulliBandit", num_arms=5), 100, 256),
    }


def schedule():
    """The names of the groups in the order of a round."""
    most = max(group.weight for group in groups().values())
    return [name for turn in range(most) for name, group in groups().items() if group.weight > turn]


def held_out():
    """Name -> environment, for the families that training never sees."""
    return {name: _made(kind, **options) for name, (kind, options) in HELD_OUT.items()}


def _made(market_name, **options):
    return jaxprice.make(market_name, **options)[0]
