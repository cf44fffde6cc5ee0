"""Products calibrated from real purchases, as one task distribution: which of them is sold is not told.

Six markets have a demand curve fitted to real purchases (`CalibratedMarket`). A lane sells one of them, at prices in units
of its own highest observed price, so that all have the same grid and a seller cannot tell by the prices which product it
has; the grid begins where the observed prices of all of them reach, so that no curve is used beyond its data. A task is a
product, drawn with equal chances, and (intercept, slope) drawn from the normal approximation of its estimate:

    D(p) = 1 / (1 + exp(slope high p + intercept)),     low / high <= p <= 1.

With `markets` some products can be kept from training, and shown only afterwards. Demand is a share of the category's
purchases for five of the six (no outside option, see `jaxprice.data`), so that revenue is that of one purchase.

Sources: the data sets named in each calibration's provenance.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks, demand
from jaxprice.data import calibrated
from jaxprice.envs import posted_price


@dataclasses.dataclass(frozen=True)
class CalibratedProducts(posted_price.PostedPrice):
    """Posted price with the fitted logit curve of one of several products.

    Observation: share of the horizon gone, last price, last demand of one buyer; float `[3]`.
    Action: index of the price grid, int scalar, or a price of the interval, float scalar; the unit is the product's highest
      observed price.
    Reward: (price - cost) * demand, in that unit, float scalar.
    Oracle: the best price of the grid or interval, and its expected profit in a period.

    Attributes:
      markets: names of the calibrations, some of `jaxprice.data.calibrated.names()`.
    """

    markets: tuple[str, ...] = ()

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


def make(markets=None, *, num_prices=10, cost=0.0, noise="bernoulli", buyers=1, horizon=1000):
    """Products calibrated from real purchases, and the params of the first of them at its estimate.

    Args:
      markets: names of calibrations, some of `jaxprice.data.calibrated.names()`; None: all.
      num_prices: size of an evenly spaced grid over the prices that were observed for all of them; None: any price there.
      cost: unit cost, in units of the highest price.
      noise: "bernoulli" or "poisson".
      buyers: buyers a period.
      horizon: periods in an episode.

    Returns:
      `(environment, params)`.

    Raises:
      ValueError: unknown markets or none, or bad values as in `make("PostedPrice")`.
    """
    known = calibrated.names()
    if not isinstance(markets, str | tuple | list | None):
        raise ValueError(f"markets must be names out of {known}, got {checks.shown(markets)}")
    markets = tuple(known if markets is None else (markets,) if isinstance(markets, str) else markets)
    if not markets:
        raise ValueError(f"markets must name at least one of {known}, got none")
    for market in markets:
        checks.choice("calibration in markets", market, known)
    everywhere = max(calibrated.load(market).price_low / calibrated.load(market).price_high for market in known)
    first = calibrated.load(markets[0])
    env, params = posted_price.make(
        demand.Logit(first.slope * first.price_high, first.intercept),
        num_prices=num_prices,
        low=everywhere,
        high=1.0,
        cost=cost,
        noise=noise,
        buyers=buyers,
        horizon=horizon,
    )
    fields = {field.name: getattr(env, field.name) for field in dataclasses.fields(env)}
    return CalibratedProducts(**fields, markets=markets), params
