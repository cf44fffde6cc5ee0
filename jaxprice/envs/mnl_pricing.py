"""Multinomial logit pricing: n products that compete for the same buyers, with one seller who prices all of them.

In each period the seller posts n prices, and each buyer takes one product or none. The probability of product j is

    q_j = exp((a_j - p_j)/m) / (exp(a_0/m) + sum_k exp((a_k - p_k)/m)),

where a_j is the quality of product j, a_0 that of buying nothing, and m the scale of the buyers' tastes. With unit costs c_j
the best prices have the same mark-up m (1 + W(X)) on all products, and earn m W(X) from a buyer, where X = sum_j exp((a_j -
c_j - a_0)/m - 1) and W is Lambert's function. This is the optimum over all prices. It must be in the price interval,
otherwise the market is refused. The seller knows costs and prices, not qualities and scale.

A buyer's choice is the inverse of the distribution function of (q_1, ..., q_n, none) at one uniform number, so policies face
the same buyers. With n = 1 this is posted pricing with logit demand.

Source: H. Li, W. T. Huh (2011), "Pricing multiple products with the multinomial logit and nested logit models",
doi:10.1287/msom.1110.0344.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, random, rules
from jaxprice.envs.market import MyopicMarket
from jaxprice.envs.options import amount, market, option, periods, whole
from jaxprice.oracles import logit_pricing
from jaxprice.types import Interval, Problem


@struct.dataclass
class Params:
    """One market.

    Attributes:
      quality: mean valuation of each product, float `[n]`.
      outside: quality of buying nothing.
      scale: scale of the buyers' tastes.
      low, high: lowest and highest price of each product, float `[n]`.
      cost: unit costs, float `[n]`.
      max_steps_in_episode: horizon.
    """

    quality: ArrayLike
    outside: ArrayLike
    scale: ArrayLike
    low: ArrayLike
    high: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@market(
    kind="several products",
    what="multinomial logit choice: prices",
    paper="Li and Huh (2011)",
    oracle="equal mark-up (Lambert W)",
)
@dataclasses.dataclass(frozen=True)
class MNLPricing(MyopicMarket):
    """Multinomial logit demand for several products; see the module.

    Observation: share of the horizon passed, last prices, last units sold a buyer; float `[1 + 2 n]`.
    Action: the prices, float `[n]`, clipped to the interval.
    Reward: sum of (price - cost) * units over products.
    Oracle: the best prices, float `[n]`, and their expected profit in a period (money).
    """

    num_products: int = option(3, "number of products n; that of `quality` if it is given", whole)
    buyers: int = option(1, "number of buyers in a period", whole)
    low: float = option(0.0, "lowest price of every product", amount)
    high: float = option(2.0, "highest price; the best prices have to lie below it", amount)
    horizon: int = periods()

    def check_options(self):
        checks.price_interval(self.low, self.high)
        checks.fits(num_products=self.num_products, buyers=self.buyers)

    @classmethod
    def make(cls, num_products=3, *, quality=None, cost=None, scale=None, outside=None, **choices):
        """A market and its params.

        Args:
          num_products: number of products n; or give `quality`.
          quality: mean valuation of each product, `[n]`; by default the market is drawn, with its costs and its scale.
          cost: unit costs, one number or `[n]`; 0 by default. This and the next two only with `quality`.
          scale: scale of the buyers' tastes; .25 by default.
          outside: quality of buying nothing; 0 by default.
          **choices: fields of the class.

        Raises:
          ValueError: numbers out of range, arrays of a wrong shape, a cost, scale or outside quality without qualities, best
            prices outside `[low, high]`.
        """
        numbers = {"cost": cost, "scale": scale, "outside": outside}
        if quality is None:
            if any(value is not None for value in numbers.values()):
                named = ", ".join(name for name, value in numbers.items() if value is not None)
                raise ValueError(
                    f"quality must be given where {named} is: without it, the whole market is drawn at random; got None"
                )
            return super().make(num_products=num_products, **choices)
        quality = checks.array("quality", quality, (None,))
        env = cls(quality.size, **choices)
        cost = 0.0 if cost is None else cost
        cost = np.full(quality.shape, cost, np.float32) if np.ndim(cost) == 0 else cost
        return env, env.params_of(
            quality,
            checks.array("cost", cost, quality.shape, low=0),
            np.float32(checks.positive("scale", 0.25 if scale is None else scale)),
            np.float32(checks.number("outside", 0.0 if outside is None else outside, scalar=True)),
        )

    @property
    def demand_shape(self):
        return (self.num_products,)

    def default_params(self):
        return jax.tree.map(np.asarray, jax.jit(self.sample_params)(jax.random.key(0)))

    def params_of(self, quality, cost, scale, outside):
        """Params with the given buyers and costs, and the prices of this environment."""
        shape = (self.num_products,)
        return Params(
            quality=quality,
            outside=outside,
            scale=scale,
            low=np.full(shape, self.low, np.float32),
            high=np.full(shape, self.high, np.float32),
            cost=cost,
            max_steps_in_episode=np.int32(self.horizon),
        )

    def sample_params(self, key):
        """Markets with the best prices in the interval, whose width is w.

        Unit costs low + U[0, .25] w; scale U[.1, .2] w; qualities minus costs normal with standard deviation scale, with a
        common shift so that W(X) is U[.5, 2.5]. A buyer then buys with probability 1/3 to 5/7 at the best prices, which are
        between low + .15 w and low + .95 w. Buying nothing has quality 0.
        """
        keys, width = jax.random.split(key, 3), self.high - self.low
        n = self.num_products
        cost = self.low + 0.25 * width * jax.random.uniform(keys[0], (n,), jnp.float32)
        u = jax.random.uniform(keys[1], (2,), jnp.float32)
        scale, w = width * (0.1 + 0.1 * u[0]), 0.5 + 2 * u[1]
        net = jax.random.normal(keys[2], (n,), jnp.float32)
        net = net - jax.nn.logsumexp(net) + 1 + w + jnp.log(w)
        return self.params_of(cost + scale * net, cost, scale, np.float32(0))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.interval(params)
        yield from rules.above(params, 0, "scale")
        scale, outside = params.scale[:, None], params.outside[:, None]
        best = np.asarray(logit_pricing.monopoly(params.quality, params.cost, scale, outside)[0])
        slack = rules.ROUNDING * params.high
        inside = (best >= params.low - slack) & (best <= params.high + slack)
        names = "low high quality outside scale cost"
        yield names, inside, "low and high that contain the best prices"
        # a probability of a sale that float32 distinguishes from zero
        yield names, ((params.quality - params.low - outside) / scale).max(axis=1) > -80, "buyers: nobody buys at any price"

    def problem(self, params):
        return Problem.of(params, Interval((self.num_products,)), buyers=self.buyers)

    def best(self, params, state=None):
        return jnp.asarray(logit_pricing.monopoly(params.quality, params.cost, params.scale, params.outside)[0], jnp.float32)

    def price(self, action, params):
        return jnp.clip(jnp.asarray(action, jnp.float32), params.low, params.high)

    def mean_demand(self, price, params, state=None):
        return logit_pricing.choice_probabilities(price, params.quality, params.scale, params.outside)

    def draw(self, key, action, mean, params):
        return units(jax.random.uniform(key, (self.buyers,), jnp.float32), mean)


def units(u, probabilities):
    """Units sold of each product when every buyer takes one product or none.

    Args:
      u: a uniform number for each buyer, float `[buyers]`.
      probabilities: probability of each product, float `[n]`; with the rest a buyer buys nothing.

    Returns:
      float32 `[n]`.
    """
    none = 1 - jnp.sum(probabilities, keepdims=True)
    chosen = random.choose(u, jnp.concatenate([probabilities, none]))
    bought = chosen[:, None] == jnp.arange(probabilities.shape[0])[None]
    return jnp.sum(bought.astype(jnp.float32), axis=0)
