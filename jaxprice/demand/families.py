"""Families of demand curves with a single peak of profit; for formulas and best prices see `jaxprice.demand`."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import rules
from jaxprice.demand.curve import Curve, Leaf
from jaxprice.numerics import wright_omega


@struct.dataclass
class Linear(Curve):
    """Demand that decreases linearly from `intercept`, by `slope` for a unit of price."""

    intercept: Leaf = 1.0
    slope: Leaf = 1.0

    def mean(self, price):
        return jnp.maximum(self.intercept - self.slope * price, 0.0)

    def optimal_price(self, cost, low, high):
        return jnp.clip((self.intercept + self.slope * cost) / (2 * self.slope), low, high)

    def rules(self):
        return rules.at_least(self, 0, "slope")

    @classmethod
    def sample(cls, key):
        """Demand at price zero U[.5, 1]; the price at which nobody buys U[.6, 1.2]."""
        u = jax.random.uniform(key, (2,))
        intercept = 0.5 + 0.5 * u[0]
        return cls(intercept, intercept / (0.6 + 0.6 * u[1]))


@struct.dataclass
class Logit(Curve):
    """A logistic purchase probability: `1 / (1 + exp(slope * price + intercept))`."""

    slope: Leaf = 1.0
    intercept: Leaf = -1.0
    price_range: ClassVar[tuple[float, float]] = (0.5, 8.0)

    def mean(self, price):
        return jax.nn.sigmoid(-(self.slope * price + self.intercept))

    def optimal_price(self, cost, low, high):
        markup = (1 + wright_omega(-1 - self.intercept - self.slope * cost)) / self.slope
        return jnp.clip(cost + markup, low, high)

    def rules(self):
        return rules.at_least(self, 0, "slope")

    @classmethod
    def sample(cls, key):
        """Slope U[.2, 2], intercept U[-1, 1] (Broder and Rusmevichientong's parameter set)."""
        u = jax.random.uniform(key, (2,))
        return cls(0.2 + 1.8 * u[0], 2 * u[1] - 1)


@struct.dataclass
class Probit(Curve):
    """Normal valuations with the given mean and standard deviation."""

    location: Leaf = 0.5
    scale: Leaf = 0.2

    def mean(self, price):
        return jax.scipy.special.ndtr((self.location - price) / self.scale)

    def rules(self):
        return rules.above(self, 0, "scale")

    @classmethod
    def sample(cls, key):
        """Location U[.3, .7], scale U[.1, .3]."""
        u = jax.random.uniform(key, (2,))
        return cls(0.3 + 0.4 * u[0], 0.1 + 0.2 * u[1])


@struct.dataclass
class Exponential(Curve):
    """`scale * exp(-rate * price)`."""

    scale: Leaf = 1.0
    rate: Leaf = 2.0
    price_range: ClassVar[tuple[float, float]] = (0.1, 1.5)

    def mean(self, price):
        return self.scale * jnp.exp(-self.rate * price)

    def optimal_price(self, cost, low, high):
        return jnp.clip(cost + 1 / jnp.asarray(self.rate), low, high)

    def rules(self):
        return rules.at_least(self, 0, "scale", "rate")

    @classmethod
    def sample(cls, key):
        """Scale U[.5, 1], rate U[1, 4]."""
        u = jax.random.uniform(key, (2,))
        return cls(0.5 + 0.5 * u[0], 1 + 3 * u[1])


@struct.dataclass
class IsoElastic(Curve):
    """`scale * price**-elasticity` with a constant elasticity above one."""

    scale: Leaf = 0.5
    elasticity: Leaf = 2.0
    price_range: ClassVar[tuple[float, float]] = (1.0, 4.0)
    unit_cost: ClassVar[float] = 0.8

    def mean(self, price):
        return self.scale * price**-self.elasticity

    def optimal_price(self, cost, low, high):
        return jnp.clip(cost * self.elasticity / (self.elasticity - 1), low, high)

    def rules(self):
        yield from rules.at_least(self, 0, "scale")
        yield from rules.above(self, 1, "elasticity")

    @classmethod
    def sample(cls, key):
        """Scale U[.2, .5], elasticity U[1.3, 3]."""
        u = jax.random.uniform(key, (2,))
        return cls(0.2 + 0.3 * u[0], 1.3 + 1.7 * u[1])


@struct.dataclass
class UniformValuation(Curve):
    """Valuations uniform between `low` and `high`."""

    low: Leaf = 0.0
    high: Leaf = 1.0

    def mean(self, price):
        return jnp.clip((self.high - price) / (self.high - self.low), 0.0, 1.0)

    def optimal_price(self, cost, low, high):
        return jnp.clip(jnp.maximum(self.low, (self.high + cost) / 2), low, high)

    def rules(self):
        yield "low high", self.low < self.high, "a lowest valuation below the highest"

    @classmethod
    def sample(cls, key):
        """Low end U[0, .3], high end U[.6, 1]."""
        u = jax.random.uniform(key, (2,))
        return cls(0.3 * u[0], 0.6 + 0.4 * u[1])


@struct.dataclass
class BetaValuation(Curve):
    """Valuations Beta(a, b) on [0, 1]."""

    a: Leaf = 2.0
    b: Leaf = 2.0
    price_range: ClassVar[tuple[float, float]] = (0.05, 0.95)

    def mean(self, price):
        return 1 - jax.scipy.special.betainc(self.a, self.b, jnp.clip(price, 0.0, 1.0))

    def rules(self):
        return rules.above(self, 0, "a", "b")

    @classmethod
    def sample(cls, key):
        """Both shapes U[1, 8]."""
        u = jax.random.uniform(key, (2,))
        return cls(1 + 7 * u[0], 1 + 7 * u[1])


@struct.dataclass
class LogNormalValuation(Curve):
    """The logarithm of valuations is normal with the given mean and standard deviation."""

    location: Leaf = -0.5
    scale: Leaf = 0.4
    price_range: ClassVar[tuple[float, float]] = (0.1, 2.0)

    def mean(self, price):
        return jax.scipy.special.ndtr((self.location - jnp.log(jnp.maximum(price, 1e-30))) / self.scale)

    def rules(self):
        return rules.above(self, 0, "scale")

    @classmethod
    def sample(cls, key):
        """Location U[-1, 0], scale U[.2, .6]."""
        u = jax.random.uniform(key, (2,))
        return cls(u[0] - 1, 0.2 + 0.4 * u[1])
