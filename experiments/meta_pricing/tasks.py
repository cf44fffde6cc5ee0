"""Markets and classical sellers of `meta_pricing`: task distributions, stages to play, and the sellers without training."""

import dataclasses
import functools
import json
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxprice
from experiments.meta_pricing import tables
from experiments.meta_pricing.tables import HORIZON
from jaxprice import policies, random
from jaxprice.environment import Environment

PRODUCTS = 20  # number of products of a sequence
HIDDEN = "catsup"  # the product that calibrated agents never see in training
SEED = 977  # seed of held-out markets and buyers
TASKS = {  # distribution of training -> distributions to play
    "logit": ("logit", "beta", "linear"),
    "beta": ("beta", "logit"),
    "hierarchical": ("hierarchical", "another kind"),
    "valuations": ("valuations", "noisier valuations"),
    "stock": ("stock", "half the stock"),
    "calibrated": ("calibrated", HIDDEN),
}
LONGER = ("logit",)  # also played for twice the horizon
SEQUENCE = ("hierarchical",)  # also played as a sequence of products


@functools.cache
def market(name):
    """The task distribution with this label."""
    kind = {"options": {"demand": "linear"}, "spread": 0.2, "leaves": ("demand",)}
    known = jaxprice.data.calibrated.names()
    kinds = {
        "logit": ("PostedPrice", {"demand": "logit"}),
        "beta": ("PostedPrice", {"demand": "beta"}),
        "linear": ("PostedPrice", {"demand": "linear"}),
        "hierarchical": ("RelatedProducts", kind | {"kind": 7}),
        "another kind": ("RelatedProducts", kind | {"kind": 9}),
        "valuations": ("LinearValuation", {"dimension": 2, "num_prices": 10}),
        "noisier valuations": ("LinearValuation", {"dimension": 2, "num_prices": 10, "scale": 0.5}),
        "stock": ("FiniteInventory", {"horizon": HORIZON, "stock": HORIZON // 4}),
        "half the stock": ("FiniteInventory", {"horizon": HORIZON, "stock": HORIZON // 8}),
        "calibrated": ("CalibratedProducts", {"markets": tuple(name for name in known if name != HIDDEN)}),
        HIDDEN: ("CalibratedProducts", {"markets": (HIDDEN,)}),
    }
    kind, options = kinds[name]
    return jaxprice.make(kind, **options)[0]


def prior(label, greedy=False):
    """Thompson sampling with the true prior, or the greedy seller with it."""
    markets = {**dict.fromkeys(TASKS["valuations"], 500), **dict.fromkeys(TASKS["stock"], 1000)}.get(label, 2000)
    return policies.prior_thompson(market(label), markets=markets, greedy=greedy)


def classics(label):
    """Sellers without training; the first is the benchmark of the gaps."""
    sellers = {"Thompson, true prior": prior(label), "greedy, true prior": prior(label, greedy=True)}
    if label in TASKS["stock"]:
        return sellers | {"TS-fixed": policies.ts_fixed(), "TS-update": policies.ts_update()}
    if label in TASKS["valuations"]:
        return sellers | {"logistic Thompson": policies.logistic_thompson(), "LinUCB": policies.lin_ucb()}
    return sellers | {"Thompson": policies.thompson(), "UCB1": policies.ucb1()}


def learners(label):
    """Sellers of a sequence that learn from product to product, with the true spread of the products."""
    env = market(label)
    demand_of = jax.jit(jax.vmap(lambda key: env.reset_env(key, env.sample_params(key))[1].mean_demand))
    spread = float(np.asarray(demand_of(_keys(1, 4000))).std(axis=0).mean())
    return {
        "hierarchical Thompson": policies.hierarchical_thompson(PRODUCTS, spread=spread),
        "Meta-Thompson": policies.meta_thompson(PRODUCTS, spread=spread),
    }


class Stage(NamedTuple):
    """A setting in which sellers are compared.

    Attributes:
      name: name in its rows.
      env, params: the market; with params None every lane draws its own.
      products: number of products sold in sequence, each for `horizon` sales.
      lanes, horizon: number of lanes, and of periods.
    """

    name: str
    env: Environment
    lanes: int
    horizon: int = HORIZON
    params: Any = None
    products: int = 1

    def play(self, policy):
        """Regret by number of sales, in percent of the oracle's reward: `[sales, lanes]`, or `[products, sales, lanes]`."""
        policy = policies.per_product(policy, self.products) if self.products > 1 and _forgets(policy) else policy
        periods = self.products * self.horizon
        settings = {"seed": SEED, "lanes": self.lanes, "horizon": periods, "params": self.params}
        out = jaxprice.simulate(self.env, {"seller": policy}, traces=True, **settings)
        return tables.percent(out, tables.times(self.horizon), self.products)


def in_sequence(label, lanes):
    """The stage with a sequence of products of one kind, with equal numbers of sales."""
    base, horizon = market(label), PRODUCTS * HORIZON
    env, params = jaxprice.make("NonStationary", market=base, num_markets=PRODUCTS, horizon=horizon)
    products = jax.jit(jax.vmap(base.sample_params))(_keys(SEED, lanes * PRODUCTS))
    products = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(lanes, PRODUCTS, *leaf.shape[1:]), products)
    path = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (lanes, *np.shape(leaf))), params.path)
    params = dataclasses.replace(params, markets=products, path=path, max_steps_in_episode=np.full(lanes, horizon, np.int32))
    return Stage(f"{label}, in sequence", env, lanes, params=params, products=PRODUCTS)


def told(policy):
    """A description of a seller: the card of a trained agent, or the call that made the policy."""
    return json.dumps(policy.card, sort_keys=True) if hasattr(policy, "card") else policies.describe(policy)


def _forgets(policy):
    """Whether a seller must restart with each product of a sequence."""
    return not told(policy).startswith(("hierarchical_thompson", "meta_thompson"))


def _keys(seed, count):
    """The given number of keys, `[count]`."""
    words = random.stream(seed, "market")
    return jax.vmap(lambda number: random.address(words, 0, number))(np.arange(count, dtype=np.uint32))
