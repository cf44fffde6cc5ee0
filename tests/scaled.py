"""Any market in another unit of money: every number of its params is multiplied by the matching power of the unit.

`scaled(env, params, factor)` is the same market with prices, costs and valuations `factor` times as large, and slopes of
demand smaller by the same factor. The buyers behave as before: sales and decisions are the same, and rewards are `factor`
times as large. `rows()` makes one small market of every kind.
"""

import dataclasses
import functools

import jax
import numpy as np

import jaxprice
from jaxprice import demand
from jaxprice.envs import ParametricDemand

MONEY = {  # leaves by the power of the unit of money that they are measured in
    1: """prices low high cost salvage start fixed holding shortage revenues radius theta quality outside
        midpoints half_width coupon saving threshold exposure_cost competitor_prices""",
    -1: "slope slopes rate beta gain loss sensitivity",
    0: """intercept level alpha means stds levels noise_scale arrival stock demand pmf consumption shares margin size
        capacity fairness delta rows labels hit miss memory contexts locations scales features elasticity types appeal
        redemption fit season promotion tastes competition rival loyalty exposure contentment aside rise fall discount
        sales answer lag changes slots transition period phase step budget a b weights frat5 arrivals
        max_steps_in_episode""",
}
OF_CURVES = {  # where the same name means another unit
    "Probit": {"location": 1, "scale": 1},
    "Exponential": {"scale": 0},
    "Atoms": {"values": 1},
}


def scaled(env, params, factor):
    """The market with money in units `factor` times as small: `(env, params)`, the oracle's tables solved anew."""
    tables = dict.fromkeys(env.tables)
    params = _scaled(dataclasses.replace(params, **tables) if tables else params, factor)
    if isinstance(env, ParametricDemand):
        env = _Boxed(**{field.name: getattr(env, field.name) for field in dataclasses.fields(env)}, unit=factor)
    return env, env.solved(params)


@dataclasses.dataclass(frozen=True)
class _Boxed(ParametricDemand):
    """A parametric market whose box is told in another unit of money."""

    unit: float = 1.0

    def problem(self, params):
        told = super().problem(params)
        slopes = {"keskin_zeevi": [1], "logit": [0], "uninformative": [0], "well_separated": [0], "separated_logit": [0]}
        powers = np.zeros(told.bounds.shape[1])
        powers[slopes.get(self.family, [1])] = -1
        return dataclasses.replace(told, bounds=(told.bounds * float(self.unit) ** powers).astype(np.float32))


def _scaled(node, factor):
    """A dataclass of params, its leaves scaled."""
    kind, changed = type(node).__name__, {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if value is None:
            continue
        if dataclasses.is_dataclass(value):
            changed[field.name] = _scaled(value, factor)
            continue
        if kind == "IsoElastic" and field.name == "scale":  # scale * price ** -elasticity
            change = float(factor) ** np.asarray(node.elasticity, float)
        elif kind == "LogNormalValuation" and field.name in ("location", "scale"):
            changed[field.name] = np.asarray(value + (np.log(factor) if field.name == "location" else 0), np.float32)
            continue
        else:
            change = float(factor) ** _power(kind, field.name)
        array = np.asarray(value)
        if np.issubdtype(array.dtype, np.floating):
            array = (array.astype(float) * change).astype(array.dtype)
        changed[field.name] = array
    return dataclasses.replace(node, **changed)


def _power(kind, name):
    """Power of the unit of money in a leaf."""
    if name in OF_CURVES.get(kind, {}):
        return OF_CURVES[kind][name]
    if name == "scale":  # of valuations
        return 1
    powers = [power for power, names in MONEY.items() if name in names.split()]
    if not powers:
        raise KeyError(f"{kind}.{name}: in which unit is it?")
    return powers[0]


SCALED_MARKETS = {
    "bandit": ("BernoulliBandit", {"num_arms": 4}),
    "gaussian bandit": ("GaussianBandit", {"num_arms": 4}),
    "informative bandit": ("InformativeBandit", {}),
    "wheel": ("WheelBandit", {"high": 3.0}),
    "labelled rows": ("LabelledRows", {"hit": 0.9, "miss": 0.2}),
    "linear": ("PostedPrice", {"demand": "linear", "num_prices": 6, "cost": 0.2}),
    **{
        f"{curve}, interval": ("PostedPrice", {"demand": curve, "num_prices": None, "noise": "gaussian"})
        for curve in demand.curves()
        if curve != "beta"  # valuations in [0, 1]
    },
    "poisson": ("PostedPrice", {"demand": "exponential", "noise": "poisson", "buyers": 3}),
    "apple": ("apple", {}),
    "calibrated products": ("CalibratedProducts", {}),
    "segments": ("SegmentedValuation", {"num_segments": 20, "num_prices": 10, "buyers": 3}),
    "keskin and zeevi": ("ParametricDemand", {"family": "keskin_zeevi"}),
    "parametric logit": ("ParametricDemand", {"family": "logit", "num_prices": 8}),
    "parametric poisson": ("ParametricDemand", {"family": "exponential"}),
    "linear valuation": ("LinearValuation", {"cost": 0.1}),
    "valuation, gaussian": ("LinearValuation", {"noise": "gaussian", "num_prices": 7, "context": "uniform"}),
    "valuation, uniform": ("LinearValuation", {"noise": "uniform"}),
    "valuation, mixture": ("LinearValuation", {"noise": "mixture"}),
    "glm": ("GLMDemand", {"cost": 0.2}),
    "glm, linear": ("GLMDemand", {"link": "linear", "num_prices": 6}),
    "inventory": ("FiniteInventory", {"stock": 3, "horizon": 12, "salvage": 20.0, "shut_off": True}),
    "inventory, interval": ("FiniteInventory", {"demand": "logit", "stock": 3, "horizon": 12, "cost": 0.4}),
    "airline": ("AirlineSeason", {"days": 4, "stock": 6, "horizon": 10, "arrivals": (8, 14), "cost": 5.0}),
    "network": ("NetworkRevenue", {"horizon": 20}),
    "several products": ("MultiProduct", {"num_products": 2, "cost": 0.1}),
    "several products, poisson": ("MultiProduct", {"num_products": 2, "family": "exponential"}),
    "low rank": ("LowRankDemand", {"num_products": 6, "rank": 2, "noise_scale": 1.0}),
    "mnl prices": ("MNLPricing", {"num_products": 3, "buyers": 2}),
    "assortments": ("MNLAssortment", {"num_products": 5, "size": 2}),
    "oligopoly": ("LogitOligopoly", {"num_prices": 5}),
    "fair prices": ("FairPricing", {"cost": 0.2}),
    "fair prices, linear": ("FairPricing", {"curve": "linear"}),
    "reference price": ("ReferencePrice", {"num_prices": 6}),
    "reference price, interval": ("ReferencePrice", {"cost": 0.1, "resolution": 21}),
    "replenishment": ("Replenishment", {"largest": 8, "largest_demand": 8}),
    "rival": ("ReactiveRival", {"num_prices": 10, "cost": 2.0}),
    "rival, any price": ("ReactiveRival", {"rule": "cartel", "num_prices": 7, "any_price": True}),
    "storefront": ("Storefront", {"size": "small", "weights": [0.7, 0, 0.3, 0, 0]}),
    "change points": ("NonStationary", {"kind": "piecewise", "num_markets": 3, "horizon": 12}),
    "season": ("NonStationary", {"kind": "season", "market": "LinearValuation"}),
    "related products": ("RelatedProducts", {"market": "FiniteInventory", "options": {"horizon": 12, "stock": 3}}),
}


@functools.cache
def market(row):
    """`(environment, params)` of a row of `SCALED_MARKETS`."""
    kind, options = SCALED_MARKETS[row]
    env, params = jaxprice.make(kind, **options)
    return env, jax.tree.map(np.asarray, params)


def rows():
    """Names of all rows."""
    return list(SCALED_MARKETS)
