"""Exact solutions: the expected profit of the best seller."""

from typing import TYPE_CHECKING

from jaxprice import lazy

if TYPE_CHECKING:
    from jaxprice.oracles import (
        bandit_bound,
        bayes_bandit,
        dynamic_programming,
        fluid_lp,
        gittins,
        inventory,
        lambert_w,
        linear_valuation,
        logit_pricing,
        reference_price,
        replenishment,
        reward_paths,
    )

__all__ = [
    "bandit_bound",
    "bayes_bandit",
    "dynamic_programming",
    "fluid_lp",
    "gittins",
    "inventory",
    "lambert_w",
    "linear_valuation",
    "logit_pricing",
    "reference_price",
    "replenishment",
    "reward_paths",
]

__getattr__, __dir__ = lazy.modules(__name__, __all__)
