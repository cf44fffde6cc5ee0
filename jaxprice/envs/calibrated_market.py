"""Markets calibrated from real purchases: `make("apple")`, `make("yogurt")`, ...

A choice model fitted by maximum likelihood gives the seller's own demand as a logit curve in its price
(`jaxprice.data.calibrated` holds coefficients, covariance, licence and provenance). The market is the fitted curve on a
grid over the prices that were observed; the task distribution draws (intercept, slope) from the estimator's normal
approximation, so that lanes differ by as much as the data leave open. Prices are scaled to the unit that the data use.

Sources: the data sets named in each market's provenance.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import demand
from jaxprice.data import calibrated
from jaxprice.envs import posted_price


@dataclasses.dataclass(frozen=True)
class CalibratedMarket(posted_price.PostedPrice):
    """Posted price with a fitted logit curve.

    Observation: share of the horizon gone, last price, last demand of one buyer; float `[3]`.
    Action: index of the price grid, int scalar, or a price of the interval, float scalar.
    Reward: (price - cost) * demand, money, float scalar.
    Oracle: the best price of the grid or interval, and its expected profit in a period (money).

    Attributes:
      market: name of the calibration, one of `jaxprice.data.calibrated.names()`.
    """

    market: str = "apple"

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


def make(market="apple", *, num_prices=10, prices=None, cost=0.0, noise="bernoulli", buyers=1, horizon=1000):
    """A calibrated market and its params.

    Args:
      market: one of `jaxprice.data.calibrated.names()`.
      num_prices: size of the grid over the observed prices; None: any price between them.
      prices: the grid itself, `[num_prices]`, in the unit of the data.
      cost: unit cost in the same unit; zero maximises revenue.
      noise: "bernoulli" or "poisson".
      buyers: buyers a period.
      horizon: periods in an episode.

    Returns:
      `(environment, params)`.

    Raises:
      ValueError: an unknown market, or bad values as in `make("PostedPrice")`.
    """
    fit = calibrated.load(market)
    env, params = posted_price.make(
        demand.Logit(fit.slope, fit.intercept),
        num_prices=num_prices,
        prices=prices,
        low=fit.price_low if prices is None else None,
        high=fit.price_high if prices is None else None,
        cost=cost,
        noise=noise,
        buyers=buyers,
        horizon=horizon,
    )
    return CalibratedMarket(
        **{field.name: getattr(env, field.name) for field in dataclasses.fields(env)}, market=market
    ), params
