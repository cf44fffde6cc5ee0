"""The likelihood of a sale under noise of a known law, and the best price under it.

A buyer whom the seller offers the price p buys with probability G(w), where w is the surplus in units of the noise and G
the distribution function of the noise, logistic or standard normal. Both are symmetric, 1 - G(w) = G(-w), so with c = 1 for
a sale and -1 for a refusal the log likelihood of what happened is log G(c w), and

    d log G(c w) / dw = c m(c w),       m(v) = G'(v) / G(v),       - d^2 log G(c w) / dw^2 = k(c w),

| law | m(v) | k(v) |
|---|---|---|
| logistic | G(-v) | G(v) G(-v) |
| gaussian | phi(v) / Phi(v) | m (m + v) |

Both logs are concave, m falls and 0 < k(v) <= 1/4 (logistic) or 1 (gaussian). Below v = -4 the normal m is Laplace's
continued fraction, m + v = 1 / (t + 2 / (t + 3 / (t + ...))) with t = -v, where phi / Phi underflows and m + v cancels.

If w = u - b p, the profit (p - c) G(u - b p) is largest at p = c + g(u - b c) / b, g(u) = argmax_q q G(u - q) (Lambert's W
for the logistic law, a root for the normal one: `oracles.linear_valuation`), and rises before and falls after, so that on
an interval the best price is the clipped one.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.oracles import linear_valuation
from jaxprice.policies.parts import line

LAWS = {"logistic": "logistic", "logit": "logistic", "gaussian": "gaussian", "linear": "linear"}  # by `problem.law`
TAIL, LEVELS = 4.0, 14


def score(law, v):
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


def log_chance(law, v):
    """log G(v), float `[...]`."""
    return jax.nn.log_sigmoid(v) if law == "logistic" else jax.scipy.special.log_ndtr(v)


def sign(sale):
    """c: 1 for a sale, -1 for a refusal, float scalar."""
    return jnp.where(sale > 0, jnp.float32(1), jnp.float32(-1))


@struct.dataclass
class Market:
    """What the seller is told.

    Attributes:
      low, high, cost: ends of the price interval and unit cost, float scalars.
      scale: scale of the noise, float scalar; 1 where it is not told.
      law: "logistic" or "gaussian"; or "linear", for Gaussian demand, which has no G.
      size: entries of a context.
    """

    low: jax.Array
    high: jax.Array
    cost: jax.Array
    scale: jax.Array
    law: str = struct.field(pytree_node=False)
    size: int = struct.field(pytree_node=False)

    def context(self, observation):
        """The context, float `[d]`."""
        return jnp.asarray(observation[-self.size :], jnp.float32)

    def best_price(self, utility, slope):
        """The price of the interval with the largest (p - cost) G(utility - slope p), for a slope above 0; float scalars."""
        markup = linear_valuation.optimal_price(utility - slope * self.cost, self.law, 1.0) / slope
        return self.clip(self.cost + markup)

    def clip(self, price):
        """The nearest price of the interval."""
        return jnp.clip(price, self.low, self.high)


def require_context(problem, name):
    """Refuse a problem other than one price of an interval for a buyer with features.

    Raises:
      ValueError: a price grid, several products, or no context.
    """
    line.require_interval(problem, name)
    if not problem.context_size:
        raise ValueError(f"{name} prices by the features of the buyer, but this market shows none")


def market(problem, name, laws, *, scale=False):
    """What the seller is told of a problem, as `Market`.

    Args:
      problem: the problem.
      name: of the policy, for error messages.
      laws: entries of `LAWS` that it can be played under.
      scale: whether it has to know the scale of the noise.

    Raises:
      ValueError: the problem is not one price of an interval for one buyer with features, under one of these laws and, if
        asked for, noise of a known scale.
    """
    require_context(problem, name)
    if problem.buyers != 1:
        raise ValueError(f"{name} needs one buyer a period, but this market has {problem.buyers}")
    if problem.law not in laws:
        raise ValueError(f"{name} needs demand of a known law ({', '.join(laws)}), this market tells {problem.law!r}")
    if scale and "scale" not in problem.details:
        raise ValueError(f"{name} needs to know the scale of the noise, which this market does not tell")
    numbers = (problem.low, problem.high, problem.cost, problem.details["scale"] if scale else 1.0)
    low, high, cost, size = (jnp.asarray(x, jnp.float32) for x in numbers)
    return Market(low, high, cost, size, LAWS[problem.law], problem.context_size)
