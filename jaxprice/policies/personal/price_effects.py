"""Personal price sensitivity: common part of policies for surplus that is linear in the features and in the price.

With features x and prices measured from the middle of the interval in units of its half width, s = (p - middle) / half,

    w = x'a - s x'b = z'theta,      z = (x, -s x),      theta = (a, b),

so the sensitivity to p is x'b / half, and x'a is the surplus at the middle price. Prices spread over the interval can
separate these two parts; they cannot separate the surplus at price zero from x'b. Linear valuations, for which sensitivity
is 1 / scale for all buyers, are of this form if one of the features is constant.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from jaxprice.policies.parts.features import total
from jaxprice.policies.personal.sale_likelihood import Market

LAWS = ("logit", "logistic", "gaussian")


@struct.dataclass
class Effects:
    """The coordinates of theta: middle and half width of the interval, smallest b'x, float scalars."""

    middle: jax.Array
    half: jax.Array
    least: jax.Array

    def features(self, context: Num[Array, " d"], price: Num[ArrayLike, ""]) -> Float[Array, " 2*d"]:
        """z, float `[2 d]`."""
        return jnp.concatenate([context, -(price - self.middle) / self.half * context])

    def line(self, theta: Float[Array, " D"], context: Num[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """`(u, slope)` with w = u - slope p, the slope at least `least` / half."""
        d = context.shape[0]
        slope = jnp.maximum(total(context, theta[d:]), self.least) / self.half
        return total(context, theta[:d]) + slope * self.middle, slope


def effects(market: Market, least: Num[ArrayLike, ""]) -> Effects:
    """The `Effects` for the problem of a seller."""
    return Effects((market.low + market.high) / 2, (market.high - market.low) / 2, jnp.asarray(least, jnp.float32))
