"""A market with a price grid whose demand curve comes from a mixture of families, grids, costs and sizes of demand.

A lane draws one of these families: linear, logit, normal, uniform and beta valuations, two normal segments, Weibull,
log-logistic and Lomax valuations (`curves`), and steps (sorted powers of uniform numbers, a demand curve of no family). In
half of the lanes the grid is the one of the family. In the others its ends are drawn, a third of the grids is geometric,
half of the products have a unit cost, and half of the markets have visitors of whom only a share considers a purchase.

With `standard`, all markets have the same grid in (0, 1] and no cost, and a family keeps its shape on it. Two of these can
be the ends of a market that moves.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from experiments.seller import curves
from jaxprice import noise
from jaxprice.envs.market import MyopicMarket
from jaxprice.types import Problem

FAMILIES = tuple(curves.families())  # and steps
STANDARD_LOW = 0.0625  # lowest price of the standard grid


@struct.dataclass
class Params:
    """One market: mean demand at each price and the grid, float `[num_prices]`, its ends, the unit cost and the horizon."""

    means: ArrayLike
    prices: ArrayLike
    low: ArrayLike
    high: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@dataclasses.dataclass(frozen=True)
class MixedDemand(MyopicMarket):
    """One product with demand from a mixture of families; see the module.

    Observation, action, reward and oracle: as in `PostedPrice` with a grid.

    Attributes:
      num_prices: size of the grid.
      buyers: buyers a period.
      standard: whether all markets have the same grid and no cost.
    """

    num_prices: int = 10  # pyright: ignore[reportIncompatibleVariableOverride]
    buyers: int = 1
    standard: bool = False

    @property
    def num_actions(self):
        return self.num_prices

    def default_params(self):
        return jax.tree.map(np.asarray, jax.jit(self.sample_params)(jax.random.key(0)))

    def sample_params(self, key):
        keys = jax.random.split(key, len(FAMILIES) + 3)
        u = jax.random.uniform(keys[-1], (9,), jnp.float32)
        place = jnp.linspace(0.0, 1.0, self.num_prices, dtype=jnp.float32)
        grids, means, costs = [], [], []
        for name, one in zip(FAMILIES, keys, strict=False):
            kind = curves.families()[name]
            low, high = kind.price_range
            if not self.standard:
                own = u[0] < 0.5
                low, high = (
                    jnp.where(own, low, low + 0.3 * u[1] * (high - low)),
                    jnp.where(own, high, high * (0.6 + 0.4 * u[2])),
                )
            grid = low + (high - low) * place
            if not self.standard:
                bent = low * (high / low) ** place
                grid = jnp.where((u[0] >= 0.5) & (u[3] < 0.33), bent, grid)
            grids.append(grid)
            means.append(kind.sample(one).mean(grid))
            costs.append(kind.unit_cost + 0 * u[0])
        grids.append(STANDARD_LOW + (1 - STANDARD_LOW) * place)
        power = 0.5 + 2 * u[4]
        means.append(-jnp.sort(-(jax.random.uniform(keys[-2], (self.num_prices,), jnp.float32, 1e-3) ** power)))
        costs.append(0 * u[0])
        which = jax.random.randint(keys[-3], (), 0, len(FAMILIES) + 1)
        grid, mean, cost = (jnp.stack(parts)[which] for parts in (grids, means, costs))
        if self.standard:
            grid, cost = STANDARD_LOW + (1 - STANDARD_LOW) * place, jnp.float32(0)
        else:
            cost = jnp.where((u[0] >= 0.5) & (u[5] < 0.5), 0.5 * u[6] * grid[-1], cost)
            mean = mean * jnp.where((u[0] >= 0.5) & (u[7] < 0.5), jnp.exp(-3 * u[8]), 1.0)
        return Params(jnp.clip(mean, 0.0, 1.0), grid, grid[0], grid[-1], cost, np.int32(1000))

    def problem(self, params):
        return Problem.of(params, buyers=self.buyers)

    def table(self, params, state=None):
        return params.means

    def draw(self, key, action, mean, params):
        return noise.draw(key, mean, "bernoulli", scale=0.0, buyers=self.buyers)
