"""The likelihood of a sale for noise with a known distribution, and the best price for it.

A buyer who sees the price p buys with probability G(w), where w is the surplus in units of the noise and G the distribution
function of the noise, logistic or standard normal. Both are symmetric, 1 - G(w) = G(-w). So with c = 1 for a sale and -1 for
a refusal the log likelihood is log G(c w), and

    d log G(c w) / dw = c m(c w),       m(v) = G'(v) / G(v),       - d^2 log G(c w) / dw^2 = k(c w),

| law | m(v) | k(v) |
|---|---|---|
| logistic | G(-v) | G(v) G(-v) |
| gaussian | phi(v) / Phi(v) | m (m + v) |

Both logs are concave, m decreases and 0 < k(v) <= 1/4 (logistic) or 1 (gaussian). Below v = -4 the normal m is computed by
Laplace's continued fraction, m + v = 1 / (t + 2 / (t + 3 / (t + ...))) with t = -v, because phi / Phi underflows and m + v
cancels.

If w = u - b p, the profit (p - c) G(u - b p) is largest at p = c + g(u - b c) / b, g(u) = argmax_q q G(u - q) (Lambert's W
for the logistic distribution, a root for the normal one: `oracles.linear_valuation`). Profit increases before and decreases
after it, so the best price on an interval is the clipped one.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from jaxprice.oracles import linear_valuation
from jaxprice.policies.parts import line
from jaxprice.types import Problem

LAWS = {"logistic": "logistic", "logit": "logistic", "gaussian": "gaussian", "linear": "linear"}  # by `problem.law`
TAIL, LEVELS = 4.0, 14


def score(law: str, v: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """`(m(v), k(v))`, float `[...]` each; see the module."""
    if law == "logistic":
        m = jax.nn.sigmoid(-v)
        return m, m * jax.nn.sigmoid(v)
    t = jnp.maximum(-v, TAIL)
    fraction = t
    for level in range(LEVELS, 1, -1):
        fraction = t + level / fraction
    near = jnp.maximum(v, -TAIL)
    ratio = math.sqrt(2 / math.pi) * jnp.exp(-(near * near) / 2) / jax.lax.erfc(-near / math.sqrt(2))
    m = jnp.where(v < -TAIL, t + 1 / fraction, ratio)
    return m, m * jnp.where(v < -TAIL, 1 / fraction, ratio + near)


def log_chance(law: str, v: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """log G(v), float `[...]`."""
    return jax.nn.log_sigmoid(v) if law == "logistic" else jax.scipy.special.log_ndtr(v)


def sign(sale: Num[Array, ""]) -> Float[Array, ""]:
    """c: 1 for a sale, -1 for a refusal, float scalar."""
    return jnp.where(sale > 0, jnp.float32(1), jnp.float32(-1))


@struct.dataclass
class Market:
    """The problem of the seller.

    Attributes:
      low, high, cost: ends of the price interval and unit cost, float scalars.
      scale: scale of the noise, float scalar; 1 if it is unknown.
      law: "logistic" or "gaussian"; or "linear", for Gaussian demand, which has no G.
      size: number of entries of a context.
    """

    low: jax.Array
    high: jax.Array
    cost: jax.Array
    scale: jax.Array
    law: str = struct.field(pytree_node=False)
    size: int = struct.field(pytree_node=False)

    def context(self, observation: Num[Array, " n"]) -> Float[Array, " d"]:
        """The context, float `[d]`."""
        return jnp.asarray(observation[-self.size :], jnp.float32)

    def best_price(self, utility: Num[ArrayLike, ""], slope: Num[ArrayLike, ""]) -> Float[Array, ""]:
        """The price of the interval with the largest (p - cost) G(utility - slope p), for a slope above 0; float scalars."""
        markup = linear_valuation.optimal_price(utility - slope * self.cost, self.law, 1.0) / slope
        return self.clip(self.cost + markup)

    def clip(self, price: Num[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The nearest price of the interval."""
        return jnp.clip(price, self.low, self.high)


def require_context(problem: Problem, name: str) -> None:
    """Raise if a problem is not one price of an interval for a buyer with features.

    Raises:
      ValueError: a price grid, several products, or no context.
    """
    line.require_interval(problem, name)
    if not problem.context_size:
        raise ValueError(f"{name} needs the features of the buyer (a context), but this market has none")


def market(problem: Problem, name: str, laws: Sequence[str], *, scale: bool = False) -> Market:
    """The `Market` of a problem.

    Args:
      problem: the problem.
      name: name of the policy, for error messages.
      laws: entries of `LAWS` that the policy accepts.
      scale: whether the policy needs the scale of the noise.

    Raises:
      ValueError: the problem is not one price of an interval for one buyer with features, with one of these laws; or the
        scale of the noise is needed and unknown.
    """
    require_context(problem, name)
    if problem.buyers != 1:
        raise ValueError(f"{name} needs one buyer a period, but this market has {problem.buyers}")
    if problem.law not in laws:
        raise ValueError(
            f"{name} needs demand of a known law ({', '.join(laws)}), but that of this market is {problem.law!r}"
        )
    if scale and "scale" not in problem.details:
        raise ValueError(f"{name} needs the scale of the noise, but this market does not give it")
    numbers = (problem.low, problem.high, problem.cost, problem.details["scale"] if scale else 1.0)
    low, high, cost, size = (jnp.asarray(x, jnp.float32) for x in numbers)
    return Market(low, high, cost, size, LAWS[problem.law], problem.context_size)
