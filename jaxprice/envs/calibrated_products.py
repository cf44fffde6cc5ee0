"""Products calibrated from real purchases, as one task distribution; the seller does not know which product it sells.

Six markets have a demand curve fitted to real purchases (`CalibratedMarket`). A lane sells one of them, at prices in units
of its own highest observed price. All products therefore have the same grid, and prices do not reveal the product. The grid
starts where the observed prices of all products overlap, so that no curve is used beyond its data. A task is a product,
drawn with equal probabilities, and (intercept, slope), drawn from the normal approximation of its estimate:

    D(p) = 1 / (1 + exp(slope high p + intercept)),     low / high <= p <= 1.

With `markets` some products can be excluded from training, and used only for tests. For five of the six, demand is a share
of the category's purchases (no outside option, see `jaxprice.data`), so revenue is that of one purchase.

Sources: the data sets named in each calibration's provenance.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks, demand
from jaxprice.data import calibrated
from jaxprice.envs import posted_price
from jaxprice.envs.options import amount, market, option


@market(
    kind="one product",
    what="the fitted products, drawn at random at prices in units of their highest: a task distribution of real products",
    paper="see `jaxprice/data`",
    oracle="best price",
)
@dataclasses.dataclass(frozen=True)
class CalibratedProducts(posted_price.PostedPrice):
    """Posted price with the fitted logit curve of one of several products.

    Observation: share of the horizon passed, last price, last demand of one buyer; float `[3]`.
    Action: index of the price grid, int scalar, or a price of the interval, float scalar; the unit is the product's highest
      observed price.
    Reward: (price - cost) * demand, in that unit, float scalar.
    Oracle: the best price of the grid or interval, and its expected profit in a period.

    Attributes:
      markets: names of the calibrations, some of `jaxprice.data.calibrated.names()`.
    """

    derived: ClassVar = ("prices", "low", "high", "noise_scale")
    cost: float = option(0.0, "unit cost, in units of the highest price", amount)
    markets: tuple[str, ...] = ()

    @classmethod
    def make(cls, markets=None, **choices):
        """A market and its params, which are the estimate of the first product.

        Args:
          markets: names of calibrations, some of `jaxprice.data.calibrated.names()`; None: all.
          **choices: fields of the class; the grid covers the prices observed for all calibrations.

        Raises:
          ValueError: unknown markets or none, or bad values as in `make("PostedPrice")`.
        """
        known = calibrated.names()
        if not isinstance(markets, str | tuple | list | None):
            raise ValueError(f"markets must be names from {known}, got {checks.shown(markets)}")
        markets = tuple(known if markets is None else (markets,) if isinstance(markets, str) else markets)
        if not markets:
            raise ValueError(f"markets must name at least one of {known}, got none")
        for name in markets:
            checks.choice("calibration in markets", name, known)
        everywhere = max(calibrated.load(name).price_low / calibrated.load(name).price_high for name in known)
        env = cls(low=everywhere, high=1.0, markets=markets, **choices)
        return env, env.default_params()

    @property
    def name(self):
        return "CalibratedProducts"

    def default_params(self):
        fit = calibrated.load(self.markets[0])
        return self.params_of(demand.Logit(fit.slope * fit.price_high, fit.intercept))

    def sample_params(self, key):
        fits = [calibrated.load(market) for market in self.markets]
        means = np.asarray([(fit.intercept, fit.slope) for fit in fits], np.float32)
        roots = np.stack([np.linalg.cholesky(np.asarray(fit.curve_covariance)) for fit in fits]).astype(np.float32)
        highs = np.asarray([fit.price_high for fit in fits], np.float32)
        which, noise = jax.random.split(key)
        k = jax.random.randint(which, (), 0, len(fits))
        intercept, slope = jnp.asarray(means)[k] + jnp.asarray(roots)[k] @ jax.random.normal(noise, (2,), jnp.float32)
        slope = jnp.maximum(slope, 0.01 * jnp.asarray(means)[k, 1])
        return self.params_of(demand.Logit(slope * jnp.asarray(highs)[k], intercept))
