"""The market of Chen, Miao and Wang (2023), and one with nonnegative demand: prices, demand, exact optima.

Demand at price p of a buyer with features x is a + b1 x1 + b2 x2 - .2 p + nu, nu ~ U[-.1, .1], x ~ U[0, 1]^2, and prices are
in [.5, 4.5]. (a, b1, b2) identifies a market, `PAPER` or `POSITIVE`. See `private_loss`.
"""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from jaxprice.envs.glm_demand import GLMDemand

LOW, HIGH, SLOPE, WIDTH = 0.5, 4.5, 0.2, 0.1  # prices, slope of demand, half-width of its noise
PAPER, POSITIVE = (0.4, 0.6, 0.6), (0.9, 0.45, 0.45)  # demand at price zero: constant, weight of each feature
GRID = 41
BOUNDS = {"features": 2, "lowest": 0.0, "highest": 3**-0.5}  # bounds of the features in observations


@dataclasses.dataclass(frozen=True)
class UniformNoise(GLMDemand):
    """`GLMDemand` whose linear demand has noise U[-WIDTH, WIDTH], and may be negative at high prices, as in the paper."""

    signed: ClassVar[bool] = True

    def draw(self, key, action, mean, params):
        return mean + WIDTH * (2 * jax.random.uniform(key, (), jnp.float32) - 1)


@functools.cache
def market(demand, num_prices=None):
    """`(environment, params)` for demand at price zero (constant, and weights of two features in [0, 1])."""
    kind = {"link": "linear", "context": "uniform", "dimension": 3, "low": LOW, "high": HIGH}
    base, _ = jaxprice.make("GLMDemand", **kind, noise_scale=WIDTH / 3**0.5, num_prices=num_prices)
    env = UniformNoise(**dataclasses.asdict(base))
    constant, *weights = demand
    unit = 3**0.5  # observations have features in units of its inverse
    effects = [constant, *(weight * unit for weight in weights)], [SLOPE, 0.0, 0.0]
    return env, env.params_of(*(np.asarray(effect, np.float32) for effect in effects))


def revenues(demand):
    """Smallest and largest revenue of a period at any price, features and noise."""
    most, least = sum(demand) + WIDTH, demand[0] - WIDTH
    best = min(max(most / (2 * SLOPE), LOW), HIGH)
    return min(0.0, *(p * (least - SLOPE * p) for p in (LOW, HIGH))), best * (most - SLOPE * best)


def optimum(demand):
    """Mean revenue of a period for the seller who knows demand, whose prices are inside the interval."""
    constant, *weights = demand
    mean, variance = constant + sum(weights) / 2, sum(weight**2 for weight in weights) / 12
    return (mean**2 + variance) / (4 * SLOPE)


def unlearned(demand):
    """Percentage regret of a seller who always offers the first five prices."""
    prices = np.linspace(LOW, HIGH, 5)
    return 100 * (1 - np.mean(prices * (demand[0] + sum(demand[1:]) / 2 - SLOPE * prices)) / optimum(demand))
