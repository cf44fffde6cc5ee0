"""Markets calibrated from real purchases: `make("apple")`, `make("yogurt")`, ...

A choice model fitted by maximum likelihood gives the seller's own demand as a logit curve in its price (for coefficients,
covariance, licence and provenance see `jaxprice.data.calibrated`). The market is the fitted curve on a grid over the
observed prices. The task distribution draws (intercept, slope) from the normal approximation of the estimator, so lanes
differ according to the uncertainty of the data. Prices are in the unit of the data.

Sources: the data sets named in each market's provenance.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import demand
from jaxprice.data import calibrated
from jaxprice.envs import posted_price
from jaxprice.envs.options import amount, market, option


@market(
    kind="one product",
    what="fitted to real purchases",
    paper="see `jaxprice/data`",
    oracle="best price",
    names={name: {"market": name} for name in calibrated.names()},
)
@dataclasses.dataclass(frozen=True)
class CalibratedMarket(posted_price.PostedPrice):
    """Posted price with a fitted logit curve.

    Observation: share of the horizon passed, last price, last demand of one buyer; float `[3]`.
    Action: index of the price grid, int scalar, or a price of the interval, float scalar.
    Reward: (price - cost) * demand, money, float scalar.
    Oracle: the best price of the grid or interval, and its expected profit in a period (money).

    Attributes:
      market: name of the calibration, one of `jaxprice.data.calibrated.names()`.
    """

    derived: ClassVar = ("low", "high", "noise_scale")
    cost: float = option(0.0, "unit cost, in the unit of the data; zero maximises revenue", amount)
    market: str = "apple"

    @classmethod
    def make(cls, market="apple", **choices):
        """A market and its params.

        Args:
          market: one of `jaxprice.data.calibrated.names()`.
          **choices: fields of the class; prices are in the unit of the data.

        Raises:
          ValueError: an unknown market, or bad values as in `make("PostedPrice")`.
        """
        fit = calibrated.load(market)
        if choices.get("prices") is None:
            choices |= {"low": fit.price_low, "high": fit.price_high}
        env = cls(market=market, **choices)
        return env, env.default_params()

    @property
    def name(self):
        return self.market

    def params_of(self, curve):
        if self.prices is None and self.low is None:
            fit = calibrated.load(self.market)
            return dataclasses.replace(self, low=fit.price_low, high=fit.price_high).params_of(curve)
        return super().params_of(curve)

    def default_params(self):
        fit = calibrated.load(self.market)
        return self.params_of(demand.Logit(fit.slope, fit.intercept))

    def sample_params(self, key):
        fit = calibrated.load(self.market)
        root = np.linalg.cholesky(np.asarray(fit.curve_covariance)).astype(np.float32)
        intercept, slope = jnp.asarray([fit.intercept, fit.slope], jnp.float32) + root @ jax.random.normal(key, (2,))
        return self.params_of(demand.Logit(jnp.maximum(slope, 0.01 * fit.slope), intercept))
