"""Demand curves of the seller's training that no market of the package has: three laws of valuations with a long tail.

| name | probability of a sale at price p | source of the form |
|---|---|---|
| Weibull | s exp(-(p / m)^k) | valuations of Weibull's law |
| log-logistic | s / (1 + (p / m)^k) | valuations whose logarithm is logistic |
| Lomax | s (1 + p / m)^-k | valuations of Pareto's second law |

Here s is the share of visitors who consider a purchase. Each is a near relation of a held-out family: exponential demand is
a Weibull law with k = 1, log-normal valuations look like log-logistic ones, and a Lomax law has constant elasticity k far in
its tail. The parameters of the held-out families, and their curves but for that case, are not used.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import ArrayLike

from jaxprice import demand as demand_curves


@struct.dataclass
class Tail:
    """Share s, scale m and shape k of a law of valuations, float scalars."""

    share: ArrayLike
    scale: ArrayLike
    shape: ArrayLike
    price_range: ClassVar[tuple[float, float]] = (0.1, 1.5)
    unit_cost: ClassVar[float] = 0.0
    scales: ClassVar[tuple[float, float]] = (0.2, 1.2)
    shapes: ClassVar[tuple[float, float]] = (0.6, 4.0)

    @classmethod
    def sample(cls, key):
        """Share U[.4, 1], scale and shape log-uniform in `scales` and `shapes`."""
        u = jax.random.uniform(key, (3,))
        scale, shape = (low * (high / low) ** x for (low, high), x in zip((cls.scales, cls.shapes), u[1:], strict=True))
        return cls(0.4 + 0.6 * u[0], scale, shape)


@struct.dataclass
class Weibull(Tail):
    """Valuations of Weibull's law."""

    def mean(self, price):
        return self.share * jnp.exp(-((price / self.scale) ** self.shape))


@struct.dataclass
class LogLogistic(Tail):
    """Valuations whose logarithm is logistic."""

    price_range: ClassVar[tuple[float, float]] = (0.1, 2.0)
    shapes: ClassVar[tuple[float, float]] = (1.5, 10.0)

    def mean(self, price):
        return self.share / (1 + (price / self.scale) ** self.shape)


@struct.dataclass
class Lomax(Tail):
    """Valuations of Pareto's second law, of a product with a unit cost."""

    price_range: ClassVar[tuple[float, float]] = (0.5, 2.5)
    unit_cost: ClassVar[float] = 0.3
    shapes: ClassVar[tuple[float, float]] = (1.2, 5.0)

    def mean(self, price):
        return self.share * (1 + price / self.scale) ** -self.shape


def families():
    """Name -> curve, for every family of the mixture."""
    ours = {"weibull": Weibull, "log-logistic": LogLogistic, "lomax": Lomax}
    theirs = ("linear", "logit", "probit", "uniform", "beta", "mixture")
    return {name: demand_curves.curves()[name] for name in theirs} | ours
