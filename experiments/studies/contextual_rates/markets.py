"""The markets of the three papers, each with its policy."""

import functools
import math

import numpy as np

import jaxprice
from jaxprice import policies

ZHAO, XU21, XU24 = "Zhao, Jiang and Yu (2024)", "Xu and Wang (2021)", "Xu and Wang (2024)"
VALUE = 0.6  # coefficient of each feature in the linear valuations
EPOCHS = ((1.0, 0.0), (0.0, 1.0))


def zhao(instance, d):
    """Market and policy of the first part."""
    return *jaxprice.make("GLMDemand", instance=instance, dimension=d), policies.etc_glm()


def valuations(policy, contexts, d=2):
    """Market and policy of Xu and Wang (2021): "i.i.d." or "adversary"."""
    kind = {"context": "adversarial", "contexts": EPOCHS} if contexts == "adversary" else {"context": "uniform"}
    market = jaxprice.make("LinearValuation", noise="gaussian", theta=[VALUE] * d, intercept=False, scale=0.25, **kind)
    return *market, {"EMLP": policies.emlp, "ONSP": policies.onsp}[policy](radius=math.sqrt(d / 2))


def elastic(policy, contexts, longest):
    """Market and policy of Xu and Wang (2024): "i.i.d.", "adversary" or "in turns"."""
    if contexts == "i.i.d.":
        return *jaxprice.make("GLMDemand", instance="S1", dimension=2), seller_of(policy, 3.0)
    shown = np.arange(longest) % 2
    if contexts == "adversary":
        shown = 1 - np.isin(np.arange(longest), trials(longest))
    known = {"theta": [VALUE] * 2, "contexts": np.eye(2, dtype=np.float32)[shown], "scale": 0.5, "scale_known": False}
    return *jaxprice.make(
        "LinearValuation", noise="gaussian", context="schedule", intercept=False, high=2.0, **known
    ), seller_of(policy, 2.0)


@functools.cache
def seller_of(policy, high):
    """PwP, with the paper's perturbation for any highest price, or RMLP-2: one object for markets with the same prices."""
    return policies.perturbed_pricing(scale=3 / high) if policy == "PwP" else policies.rmlp2()


def trials(longest):
    """Periods, from 0, in which RMLP-2 posts a random price: the first periods of episodes of 1, 2, ... periods."""
    starts = np.cumsum(np.arange(longest))
    return starts[starts < longest]


def best_prices(instance):
    """Lowest and highest best price over the buyers of an instance, one feature."""
    env, params = jaxprice.make("GLMDemand", instance=instance, dimension=1)
    ends = np.float32([[2.0], [1.0]] if instance == "S1" else [[1.0], [1.0]])  # x'alpha / x'beta is constant
    visit = jaxprice.envs.market.Visit
    return tuple(float(env.optimal_action(visit(np.int32(0), x), params)) for x in ends)
