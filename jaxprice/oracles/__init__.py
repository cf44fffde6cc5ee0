"""Exact solutions: the expected profit of the best seller.

All modules are public, and the tests check each against an independent computation. Markets use the first group as their
oracles, and some policies plan with them. The second group is for studies, and for tests of your own markets and policies.

| module | problem |
|---|---|
| `linear_valuation` | the price for a buyer with features |
| `logit_pricing` | multinomial logit demand: monopoly and Nash prices, assortments, best replies |
| `inventory` | a limited stock: prices by time and stock left, run-out and fixed prices |
| `single_leg` | flights of an airline: the worth of a seat if several customers may buy on a day |
| `fluid_lp` | the linear programme of network revenue management |
| `dynamic_programming` | tabular decision processes: finite horizon, discounted or average reward, Pareto front |
| `gittins` | Gittins indices of a Bernoulli arm, discounted or of a finite horizon |

| module | problem |
|---|---|
| `replenishment` | prices and orders: newsvendor, myopic base stock, list price of a season |
| `network_dp` | a small network of products and resources: the exact optimum |
| `reference_price` | reference prices: steady price, best reply, equilibrium |
| `bayes_bandit` | a Bernoulli bandit with a prior: the optimum, and the value of index policies |
| `bandit_bound` | the same for more arms and pulls: upper bounds |
| `reward_paths` | the same for any deterministic policy: its value |
| `bayes_single_leg` | a flight with unknown willingness to pay: the Bayes optimum, and the value of any seller |
| `lambert_w` | Lambert's W, of which logit prices are formulas |
"""

from typing import TYPE_CHECKING

from jaxprice import lazy

if TYPE_CHECKING:
    from jaxprice.oracles import (
        bandit_bound,
        bayes_bandit,
        bayes_single_leg,
        dynamic_programming,
        fluid_lp,
        gittins,
        inventory,
        lambert_w,
        linear_valuation,
        logit_pricing,
        network_dp,
        reference_price,
        replenishment,
        reward_paths,
        single_leg,
    )

__all__ = [
    "bandit_bound",
    "bayes_bandit",
    "bayes_single_leg",
    "dynamic_programming",
    "fluid_lp",
    "gittins",
    "inventory",
    "lambert_w",
    "linear_valuation",
    "logit_pricing",
    "network_dp",
    "reference_price",
    "replenishment",
    "reward_paths",
    "single_leg",
]

__getattr__, __dir__ = lazy.modules(__name__, __all__)
