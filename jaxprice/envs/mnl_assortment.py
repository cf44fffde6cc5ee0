"""Assortments under multinomial logit choice (the MNL bandit): prices are fixed, and the seller chooses the products to
show.

In each period the seller offers a set S of at most s of n products, and one customer takes product i of it with probability
v_i / (1 + sum_{j in S} v_j), or nothing. A sale of product i earns r_i, so the seller expects
sum_{i in S} r_i v_i / (1 + sum_{i in S} v_i). The revenues r are known, the weights v must be learned. The best set is found
by Dinkelbach's iteration (`oracles.logit_pricing.assortment`), once at the start.

The customer's choice is the inverse of the distribution function of (v_1, ..., v_n, none) at one uniform number. The best
regret is of order sqrt(n T), up to logarithms.

Source: S. Agrawal, V. Avadhanula, V. Goyal, A. Zeevi (2019), "MNL-bandit: a dynamic learning approach to assortment
selection", doi:10.1287/opre.2018.1832.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice.envs.market import MyopicMarket
from jaxprice.envs.mnl_pricing import units
from jaxprice.envs.options import given, market, option, periods, whole
from jaxprice.oracles import logit_pricing
from jaxprice.types import Problem, Subset


@struct.dataclass
class Params:
    """One market.

    Attributes:
      revenues: revenue of a sale of each product, positive, float `[n]`.
      weights: attractiveness of each product, float `[n]`; buying nothing has weight one.
      max_steps_in_episode: horizon.
    """

    revenues: ArrayLike
    weights: ArrayLike
    max_steps_in_episode: ArrayLike

    @property
    def cost(self):
        """Unit cost: zero, because revenues are net."""
        return np.float32(0)


@market(
    kind="several products",
    what="multinomial logit choice: which products to show",
    paper="Agrawal, Avadhanula, Goyal and Zeevi (2019)",
    oracle="Dinkelbach",
)
@dataclasses.dataclass(frozen=True)
class MNLAssortment(MyopicMarket):
    """Assortments under multinomial logit choice; see the module.

    Observation: share of the horizon passed, last prices (the revenue of an offered product, otherwise 0), last sale (at
      most one entry is 1); float `[1 + 2 n]`.
    Action: the set, bool `[n]`; if it has more than `size` products, the first `size` are offered.
    Reward: the revenue of the product sold. The seller knows the revenues, `problem.low` and `problem.high`.
    Oracle: the best set, bool `[n]`, and its expected revenue in a period (money).
    """

    num_products: int = option(10, "number of products n; that of `revenues` or `weights` if they are given", whole)
    size: int = option(4, "largest number of products offered, at most n", whole)
    horizon: int = periods()

    def check_options(self):
        checks.fits(num_products=self.num_products)
        checks.whole("size", self.size, 1, self.num_products)

    @classmethod
    def make(cls, num_products=10, *, revenues=None, weights=None, **choices):
        """A market and its params.

        Args:
          num_products: number of products n; or give `revenues` or `weights`.
          revenues: revenue of a sale of each product, positive, `[n]`; drawn by default.
          weights: attractiveness of each product, relative to one for buying nothing, nonnegative, `[n]`; drawn by default.
          **choices: fields of the class.

        Raises:
          ValueError: numbers out of range, arrays of a wrong shape.
        """
        if revenues is not None:
            revenues = checks.array("revenues", revenues, (None,), low=float(np.finfo(np.float32).tiny))
            num_products = revenues.size
        if weights is not None:
            weights = checks.array("weights", weights, (None if revenues is None else num_products,), low=0)
            num_products = weights.size
        env = cls(num_products, **choices)
        return env, given(env.default_params(), revenues=revenues, weights=weights)

    @property
    def demand_shape(self):
        return (self.num_products,)

    def default_params(self):
        return jax.tree.map(np.asarray, jax.jit(self.sample_params)(jax.random.key(0)))

    def params_of(self, revenues, weights):
        """Params with the given products."""
        return Params(revenues=revenues, weights=weights, max_steps_in_episode=np.int32(self.horizon))

    def sample_params(self, key):
        """Revenues U[.2, 1], weights U[0, 1]."""
        u, v = jax.random.uniform(key, (2, self.num_products), jnp.float32)
        return self.params_of(0.2 + 0.8 * u, v)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.above(params, 0, "revenues")
        yield from rules.at_least(params, 0, "weights")
        yield "weights", (params.weights > 0).any(axis=1), "weights of which one is positive: nobody buys anything"

    def problem(self, params):
        return Problem.of(params, Subset(self.num_products, self.size), low=params.revenues, high=params.revenues)

    def best(self, params, state=None):
        return logit_pricing.assortment(params.revenues, params.weights, self.size)[0]

    def price(self, action, params):
        action = jnp.asarray(action, bool)
        offered = action & (jnp.cumsum(action) <= self.size)
        return jnp.where(offered, jnp.asarray(params.revenues), 0.0)

    def mean_demand(self, price, params, state=None):
        weights = jnp.where(price > 0, jnp.asarray(params.weights), 0.0)  # revenues are positive: 0 means no offer
        return weights / (1 + jnp.sum(weights))

    def draw(self, key, action, mean, params):
        return units(jax.random.uniform(key, (1,), jnp.float32), mean)
