"""Several products whose prices influence each other's demand.

In each period the seller posts a price for each of n products and sees the demand of each. Mean demand at prices p in a box
is

    linear        d(p) = a - B p, B + B' positive definite; Gaussian noise
    exponential   d_i(p) = a_i exp(-(B p)_i), B diagonal; Poisson noise

With linear demand the profit (p - c)'(a - B p) is strictly concave. Its maximum over the box is found by coordinate ascent,
which therefore converges; it is exactly (B + B')^-1 (a + B'c) if that lies inside. Exponential products do not influence
each other: p_i = c_i + 1 / B_ii. Noise may make Gaussian demand negative. Its mean must be nonnegative, which is checked at
the corners of the box where it is lowest.

Source: N. B. Keskin, A. Zeevi (2014), "Dynamic pricing with an unknown demand model: asymptotically optimal semi-myopic
policies", doi:10.1287/opre.2014.1294.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, linear, noise, rules
from jaxprice.envs.market import MyopicMarket
from jaxprice.envs.options import amount, choice, given, market, option, periods, whole
from jaxprice.numerics import dot
from jaxprice.types import Interval, Problem

FAMILIES = {"linear": "gaussian", "exponential": "poisson"}  # and the noise of each
ROUNDS = 100  # rounds of coordinate ascent: a factor of at least 1/3 each in drawn markets


@struct.dataclass
class Params:
    """One market.

    Attributes:
      intercept: mean demand at price zero, float `[n]`.
      slopes: the matrix B, float `[n, n]`.
      noise_scale: standard deviation of demand under Gaussian noise; None under Poisson noise.
      low, high: lowest and highest price, float `[n]`.
      cost: unit costs, float `[n]`.
      max_steps_in_episode: horizon.
    """

    intercept: ArrayLike
    slopes: ArrayLike
    noise_scale: ArrayLike | None
    low: ArrayLike
    high: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@market(
    kind="several products",
    what="linear or exponential demand, substitution",
    paper="Keskin and Zeevi (2014)",
    oracle="quadratic programme",
)
@dataclasses.dataclass(frozen=True)
class MultiProduct(MyopicMarket):
    """Linear or exponential demand for several products; see the module.

    Observation: share of the horizon passed, last prices, last demands; float `[1 + 2 n]`.
    Action: the prices, float `[n]`, clipped to the box.
    Reward: sum of (price - cost) * demand over products.
    Oracle: the best prices in the box, float `[n]`, and their expected profit in a period (money).
    """

    num_products: int = option(2, "number of products n; that of `intercept` if it is given", whole)
    family: str = choice("linear", "curve of demand, with Gaussian or Poisson noise", FAMILIES)
    low: float = option(0.5, "lowest price of every product", amount)
    high: float = option(1.5, "highest price of every product", amount)
    cost: float = option(0.0, "unit cost of every product", amount)
    noise_scale: float = option(0.1, "standard deviation of demand under Gaussian noise", amount)
    horizon: int = periods()

    def check_options(self):
        checks.fits(num_products=self.num_products, others=self.num_products)
        checks.price_interval(self.low, self.high, self.cost)

    @classmethod
    def make(cls, family="linear", *, intercept=None, slopes=None, **choices):
        """A market and its params.

        Args:
          family: "linear" (Gaussian noise) or "exponential" (Poisson noise).
          intercept: mean demand at price zero, `[n]`.
          slopes: matrix B, `[n, n]`: decrease of the demand of i with the price of j; diagonal for "exponential".
          **choices: fields of the class.

        Raises:
          ValueError: an unknown family, numbers out of range, arrays of a wrong shape.
        """
        if intercept is not None:
            intercept = checks.array("intercept", intercept, (None,))
            choices["num_products"] = intercept.size
        env = cls(family=family, **choices)
        n = env.num_products
        slopes = None if slopes is None else checks.array("slopes", slopes, (n, n))
        return env, given(env.default_params(), intercept=intercept, slopes=slopes)

    @property
    def name(self):
        return f"{type(self).__name__}-{self.family}"

    @property
    def demand_shape(self):
        return (self.num_products,)

    def params_of(self, intercept, slopes):
        """Params with the given demand, and the prices of this environment."""
        shape = (self.num_products,)
        return Params(
            intercept=intercept,
            slopes=slopes,
            noise_scale=np.float32(self.noise_scale) if self.family == "linear" else None,
            low=np.full(shape, self.low, np.float32),
            high=np.full(shape, self.high, np.float32),
            cost=np.full(shape, self.cost, np.float32),
            max_steps_in_episode=np.int32(self.horizon),
        )

    def default_params(self):
        """Keskin and Zeevi's single product, a = 1.1 and b = .5, n times, each a substitute of the others."""
        n = self.num_products
        slopes = 0.5 * np.eye(n, dtype=np.float32)
        if self.family == "linear" and n > 1:
            slopes -= np.float32(0.2 / (n - 1)) * (1 - np.eye(n, dtype=np.float32))
        return self.params_of(np.full(n, 1.1, np.float32), slopes)

    def sample_params(self, key):
        """Intercepts U[1, 1.4], own slopes U[.6, .9] / high, and substitution of at most half as much."""
        n = self.num_products
        keys = jax.random.split(key, 3)
        own = (0.4 + 0.2 * jax.random.uniform(keys[0], (n,), jnp.float32)) * (1.5 / self.high)
        intercept = 1 + 0.4 * jax.random.uniform(keys[1], (n,), jnp.float32)
        slopes = jnp.diag(own)
        if self.family == "linear" and n > 1:
            cross = 0.2 * (1.5 / self.high) * jax.random.uniform(keys[2], (n, n), jnp.float32) / (n - 1)
            slopes = slopes - jnp.where(jnp.eye(n, dtype=bool), 0.0, cross)
        return self.params_of(intercept, slopes)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.interval(params)
        yield from rules.at_least(params, 0, *(["noise_scale"] if self.family == "linear" else []))
        slopes = params.slopes.astype(float)
        least = np.linalg.eigvalsh(slopes + np.swapaxes(slopes, 1, 2))[:, 0]
        yield "slopes", least > 0, "slopes B with B + B' positive definite"
        if self.family == "linear":
            low, high = params.low[:, None].astype(float), params.high[:, None].astype(float)
            falls = slopes > 0
            least = params.intercept - np.where(falls, slopes * high, slopes * low).sum(axis=2)
            most = params.intercept - np.where(falls, slopes * low, slopes * high).sum(axis=2)
            names = "intercept slopes low high"
            yield names, least >= -rules.ROUNDING * most, "demand that is not negative at any prices in the box"
            yield names, most > 0, "demand for every product at some prices in the box"
            return
        own = np.diagonal(slopes, axis1=1, axis2=2)
        yield "slopes", (slopes != 0).sum(axis=(1, 2)) == self.num_products, "diagonal slopes of exponential demand"
        yield from rules.above(params, 0, "intercept")
        most, limit = params.intercept * np.exp(-own * params.low), noise.POISSON_MEAN
        yield "intercept", (most > np.finfo(np.float32).tiny) & (most <= limit), f"Poisson demand in (0, {limit:g}] a period"

    def problem(self, params):
        return Problem.of(params, Interval((self.num_products,)), noise=FAMILIES[self.family])

    def best(self, params, state=None):
        slopes, low, high, cost = (jnp.asarray(x) for x in (params.slopes, params.low, params.high, params.cost))
        if self.family == "exponential":
            return jnp.clip(cost + 1 / jnp.diag(slopes), low, high)
        curvature, ascent = slopes + slopes.T, params.intercept + dot(cost, slopes)

        def climb(k, prices):
            i = k % self.num_products
            step = (ascent[i] - dot(curvature[i], prices)) / curvature[i, i]
            return prices.at[i].set(jnp.clip(prices[i] + step, low[i], high[i]))

        interior = linear.solve(curvature, ascent)
        inside = jnp.all((interior >= low) & (interior <= high))
        climbed = jax.lax.fori_loop(0, ROUNDS * self.num_products, climb, jnp.clip(interior, low, high))
        return jnp.where(inside, interior, climbed)

    def price(self, action, params):
        return jnp.clip(jnp.asarray(action, jnp.float32), params.low, params.high)

    def mean_demand(self, price, params, state=None):
        across = jnp.sum(jnp.asarray(params.slopes) * price[None], axis=1)
        if self.family == "linear":
            return params.intercept - across
        return params.intercept * jnp.exp(-across)

    def draw(self, key, action, mean, params):
        return noise.draw(key, mean, FAMILIES[self.family], scale=params.noise_scale)
