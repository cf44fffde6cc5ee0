"""A market with the demand that was fitted to somebody's sales records: `fit.market("milk")`.

The mean demand of one visit at price p is that of `jaxprice.data.fit_demand`,

    D(p) = exp(a + b h(p / usual))  or  1 / (1 + exp(-a - b h(p / usual))),     h(r) = log r or r - 1,

at most 1 for Bernoulli demand. The task distribution draws (a, b) from the normal approximation of the estimate, so lanes
differ by as much as the data leave open. A slope b >= 0 is replaced by one hundredth of the estimated slope, unless demand
may rise. Bernoulli demand: a period is one visit. Counts: a period has `buyers` visits, and sales are Poisson, or negative
binomial with the fitted dispersion. A policy is told "poisson" in both cases; it does not know the dispersion.

Prices are in the currency of the records, between the lowest and the highest that the product had there, since nothing is
known beyond. The market of a new product has prices in units of the product's usual price.

Sources: those of the fit. The negative binomial quantile is summed like the Poisson one in `jaxprice.noise`.
"""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, noise, rules
from jaxprice.demand.curve import Curve
from jaxprice.envs import posted_price
from jaxprice.envs.posted_price import Params

LARGEST = (
    noise.POISSON_MEAN / 2
)  # mean sales of a period at the lowest price; half of what can be drawn, for the draws of (a, b)
TERMS = 1024  # of the negative binomial distribution function


@struct.dataclass
class FittedCurve(Curve):
    """Demand of one visit; `a` and `b` as in the docstring of the module, `usual` the usual price."""

    a: ArrayLike
    b: ArrayLike
    usual: ArrayLike
    most: ArrayLike
    link: str = struct.field(pytree_node=False)
    price_form: str = struct.field(pytree_node=False)

    def mean(self, price):
        ratio = price / self.usual
        eta = self.a + self.b * (jnp.log(ratio) if self.price_form == "log" else ratio - 1)
        return jnp.minimum(jnp.exp(jnp.minimum(eta, 80.0)) if self.link == "log" else jax.nn.sigmoid(eta), self.most)

    @classmethod
    def sample(cls, key):
        """An elasticity U[-3, -1], and a demand of U[.1, .5] at the usual price, which is 1."""
        u = jax.random.uniform(key, (2,))
        one = jnp.ones((), jnp.float32)
        return cls(jnp.log(0.1 + 0.4 * u[0]), -1 - 2 * u[1], one, one, link="log", price_form="log")


@dataclasses.dataclass(frozen=True)
class FittedDemand(posted_price.PostedPrice):
    """Posted price with fitted demand; `DemandFit.market` builds it.

    Observation: share of the horizon passed, last price, last demand of one buyer; float `[3]`.
    Action: index of the price grid, int scalar, or a price of the interval, float scalar.
    Reward: (price - cost) * demand, in the currency of the records, float scalar.
    Oracle: the best price of the grid or interval, and its expected profit in a period.

    Attributes:
      title: label in results.
      link: as in `DemandFit`.
      price_form: `price` of the `DemandFit`.
      usual: usual price.
      mean: (a, b) of the estimate.
      root: Cholesky factor of the covariance of (a, b), rows one after the other.
      dispersion: of the negative binomial, else 0.
      rising: whether demand may rise with the price.
    """

    title: str = "FittedDemand"
    link: str = "log"
    price_form: str = "log"
    usual: float = 1.0
    mean: tuple[float, float] = (0.0, -1.0)
    root: tuple[float, float, float] = (0.0, 0.0, 0.0)
    dispersion: float = 0.0
    rising: bool = False

    def check_options(self):
        if self.noise == "bernoulli":
            checks.fits(buyers=self.buyers)
        if self.prices is not None:
            object.__setattr__(self, "num_prices", len(self.prices))
        elif self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low!r} and high={self.high!r}")

    @property
    def name(self):
        return self.title

    def curve_of(self, a, b):
        """The curve with numbers (a, b), float scalars."""
        most = 1.0 if self.noise == "bernoulli" else noise.POISSON_MEAN / self.buyers
        numbers = (jnp.asarray(x, jnp.float32) for x in (a, b, self.usual, most))
        return FittedCurve(*numbers, link=self.link, price_form=self.price_form)

    def params_of(self, curve):
        low, high = (self.low or 0.0, self.high or 0.0) if self.prices is None else (self.prices[0], self.prices[-1])
        prices = self.prices
        if prices is None and self.num_prices is not None:
            prices = np.linspace(low, high, self.num_prices)
        return Params(
            demand=curve,
            prices=np.asarray(() if prices is None else prices, np.float32),
            low=np.float32(low),
            high=np.float32(high),
            cost=np.float32(self.cost or 0.0),
            noise_scale=np.float32(0),
            max_steps_in_episode=np.int32(self.horizon),
        )

    def default_params(self):
        return jax.tree.map(np.asarray, self.params_of(self.curve_of(*self.mean)))

    def sample_params(self, key):
        z = jax.random.normal(key, (2,), jnp.float32)
        a = self.mean[0] + self.root[0] * z[0]
        b = self.mean[1] + self.root[1] * z[0] + self.root[2] * z[1]
        return self.params_of(self.curve_of(a, b if self.rising else jnp.minimum(b, 0.01 * self.mean[1])))

    def rules(self, params):
        yield from super(posted_price.PostedPrice, self).rules(params)  # not those of its curves, which must fall
        yield from rules.at_least(params, 0, "low", "cost")
        if self.num_prices:
            yield from rules.grid(params)
        else:
            yield "low high", params.low < params.high, "low below high"
        yield "demand.usual", params.demand.usual > 0, "a usual price above 0"
        if not self.rising:
            yield "demand.b", params.demand.b < 0, "demand that falls with the price"

    def specialise(self, params):
        if self.dispersion or not self.num_prices:
            return self, params
        return super().specialise(params)

    def draw(self, key, action, mean, params):
        if not self.dispersion:
            return super().draw(key, action, mean, params)
        return negative_binomial(jax.random.uniform(key, jnp.shape(mean), jnp.float32), self.buyers * mean, self.dispersion)


def negative_binomial(u, mean, dispersion):
    """The u-quantile of a negative binomial law with variance m + dispersion m^2, by summing its probabilities.

    Args:
      u: uniform numbers in [0, 1), float `[...]`.
      mean: m, float `[...]`, at most `jaxprice.noise.POISSON_MEAN`; quantiles above `TERMS` are cut.
      dispersion: above 0.
    """
    u, mean = jnp.broadcast_arrays(jnp.asarray(u, jnp.float32), jnp.asarray(mean, jnp.float32))

    def term(k, carry):
        sales, probability, total = carry
        total = total + probability
        ratio = mean * (1 + dispersion * k) / ((1 + dispersion * mean) * (k + 1))
        return sales + (u >= total).astype(jnp.float32), probability * ratio, total

    first = jnp.exp(-jnp.log1p(dispersion * mean) / dispersion)
    zeros = jnp.zeros_like(mean)
    return jax.lax.fori_loop(0, TERMS, term, (zeros, first, zeros))[0]


def market_of(fit, product, promotions, slope, allow_rising, options):
    """`(env, params)` of a product of a `DemandFit`; see `DemandFit.market`."""
    known = ("num_prices", "prices", "low", "high", "cost", "horizon", "buyers")
    for name in options:
        checks.choice("option of market", name, known)
    if product is None and len(fit.products) == 1 and slope is None:
        product = fit.products[0]
    if product is not None and slope is not None:
        raise ValueError(f"slope: the prior is for a new product, and product is {product!r}")
    if product is None:
        i, title, unit = None, "new product", 1.0
        mean, covariance = fit.mean, fit.population + fit.mean_covariance
        if slope is not None:
            centre, sd = checks.array("slope", slope, (2,)).tolist()
            mean, covariance = (mean[0], centre), np.diag([covariance[0, 0], checks.positive("slope[1]", sd) ** 2])
        low, high = np.exp(np.median(np.log(fit.price_range / fit.usual[:, None]), axis=0))
        visits, dispersion = np.median(fit.visits), np.median(fit.dispersion)
        shift = float(np.mean([fit.shift(row, promotions) for row in range(len(fit.products))]))
    else:
        i = fit.row(product)
        title, unit = f"{product}", float(fit.usual[i])
        mean, covariance = fit.coefficients[i], fit.covariance[i]
        (low, high), visits, dispersion, shift = (
            fit.price_range[i],
            fit.visits[i],
            fit.dispersion[i],
            fit.shift(i, promotions),
        )
    mean = (float(mean[0] + shift), float(mean[1]))
    if mean[1] >= 0 and not checks.boolean("allow_rising", allow_rising):
        raise ValueError(
            f"demand of {title!r} rises with the price: slope {mean[1]:.3g}, standard error {covariance[1, 1] ** 0.5:.2g}. "
            "A seller would raise this price without end. Pool the products, use instruments, or pass allow_rising=True"
        )
    bernoulli = fit.family == "bernoulli"
    if options.get("prices") is None:
        options = {"low": float(low), "high": float(high)} | options
    env = FittedDemand(
        curve="fitted",
        title=title,
        noise="bernoulli" if bernoulli else "poisson",
        link=fit.link,
        price_form=fit.price,
        usual=unit,
        mean=mean,
        root=_root(covariance),
        dispersion=float(dispersion),
        rising=allow_rising,
        **({"buyers": 1} | options),
    )
    if not bernoulli and "buyers" not in options:
        env = dataclasses.replace(env, buyers=_buyers(env, visits, title))
    params = env.default_params()
    env.check_params(params)
    return env, params


def _buyers(env, visits, title):
    """Visits in a period of the market: those of the records, or fewer so that sales are small enough to draw."""
    prices = env.default_params().prices if env.prices or env.num_prices else np.linspace(env.low, env.high, 64)
    most = float(np.max(env.curve_of(*env.mean).mean(np.asarray(prices, np.float32))))
    fits = max(int(LARGEST / most), 1)
    if visits > fits:
        warnings.warn(
            f"a period of the market of {title!r} has {fits} visits, and not the {visits:.0f} of the records: more than "
            f"{LARGEST:g} mean sales a period are not drawn exactly. Profits scale with the visits",
            UserWarning,
            stacklevel=4,
        )
    return max(min(round(float(visits)), fits), 1)


def _root(covariance):
    """Cholesky factor `(r11, r21, r22)` of a positive semidefinite `[2, 2]`."""
    a = float(np.sqrt(max(covariance[0, 0], 0.0)))
    b = float(covariance[0, 1] / a) if a > 0 else 0.0
    return a, b, float(np.sqrt(max(covariance[1, 1] - b * b, 0.0)))
