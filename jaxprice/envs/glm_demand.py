"""Personalised pricing with generalised linear demand: each buyer has features x, which also determine its price
sensitivity.

The seller sees x and posts a price p. With a = alpha'x and b = beta'x, mean demand and the best price at unit cost c are

| link | demand | mean | best price |
|---|---|---|---|
| "logit" | a sale or none | 1 / (1 + exp(b p - a)) | c + (1 + W(exp(a - b c - 1))) / b |
| "linear" | Gaussian | a - b p | (a / b + c) / 2 |

W is Lambert's function. Profit is unimodal in the price, because b >= 0 and linear demand is nonnegative at any context and
price (`make` refuses other numbers). So the optimum on an interval is the clipped one; if b = 0 it is the upper end.
Contexts (d entries, drawn in each period):

| contexts | law |
|---|---|
| "positive" | independent U[1, 2] / sqrt(d) |
| "unit" | one of the unit vectors e_1, ..., e_d, all equally likely |
| "sphere" | uniform on the part of the unit sphere without negative entries |
| "uniform" | 1, then independent U[0, 1] / sqrt(d) |

Instances of Zhao, Jiang and Yu, logit link, prices in [0, 3], no cost:

| instance | alpha | beta | contexts | best prices |
|---|---|---|---|---|
| "S1" | 1.6 (1, ..., 1) / sqrt(d) | (1, ..., 1) / sqrt(d) | "positive" | in [1.3404, 1.8103] |
| "S2" | (1, ..., 1) | (1, ..., 1) | "unit" | 1 + W(1) = 1.567143 for every buyer |

The best regret is of order sqrt(d T), up to logarithms.

Sources: Z. Zhao, F. Jiang, Y. Yu (2024), "Contextual dynamic pricing: algorithms, optimality, and local differential privacy
constraints", arXiv:2406.02424; G.-Y. Ban, N. B. Keskin (2021), "Personalized dynamic pricing with machine learning:
high-dimensional features and heterogeneous elasticity", Management Science (linear demand; s of d features are relevant).
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, noise, rules
from jaxprice.envs.market import ContextualMarket, Visit, first_best
from jaxprice.envs.options import amount, choice, market, option, optional, periods, whole
from jaxprice.numerics import wright_omega
from jaxprice.types import Problem

LINKS = {"logit": "bernoulli", "linear": "gaussian"}  # and the noise of each
CONTEXTS = ("positive", "unit", "sphere", "uniform")
INSTANCES = {"S1": "positive", "S2": "unit"}  # and the contexts of each


@struct.dataclass
class Params:
    """One market.

    Attributes:
      alpha: effect of each feature on demand, float `[d]`.
      beta: effect of each feature on price sensitivity, float `[d]`.
      noise_scale: standard deviation of linear demand; None with the logit link.
      prices: the grid, float `[num_prices]`; `[0]` on an interval.
      low, high: lowest and highest price.
      cost: unit cost.
      max_steps_in_episode: horizon.
    """

    alpha: ArrayLike
    beta: ArrayLike
    noise_scale: Any
    prices: ArrayLike
    low: ArrayLike
    high: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@market(
    kind="buyers with features",
    what="features move intercept and elasticity; logit or linear link",
    paper="Zhao, Jiang and Yu (2024); Ban and Keskin (2021)",
    oracle="Lambert W for each buyer",
)
@dataclasses.dataclass(frozen=True)
class GLMDemand(ContextualMarket):
    """Generalised linear demand with features; see the module.

    Observation: share of the horizon passed, last price, last demand, context; float `[3 + d]`.
    Action: index of the grid, or a price.
    Reward: (price - cost) * demand. The seller knows the link, `problem.law`.
    Oracle: the best price for the present buyer, and its expected profit (money).
    """

    signed: ClassVar[bool] = False  # whether linear demand may be negative

    dimension: int = option(3, "number of features d; that of `alpha` and `beta` if they are given", whole)
    link: str = choice("logit", "a sale or none, or Gaussian demand", LINKS)
    context: str = choice("positive", "kind of contexts", CONTEXTS)
    sparsity: int | None = option(
        None, "features that matter in drawn markets, the first ones, at most `dimension`; None: all", optional(whole)
    )
    num_prices: int | None = option(None, "size of an evenly spaced grid; None: any price in `[low, high]`", optional(whole))
    low: float = option(0.0, "lowest price", amount)
    high: float = option(3.0, "highest price", amount)
    cost: float = option(0.0, "unit cost", amount)
    noise_scale: float = option(0.1, "standard deviation of linear demand", amount)
    horizon: int = periods()

    def check_options(self):
        checks.fits(dimension=self.dimension, num_prices=self.num_prices or 1)
        checks.price_interval(self.low, self.high, self.cost)
        if self.sparsity is not None:
            checks.whole("sparsity", self.sparsity, 1, self.dimension)
            if self.context == "unit" and self.sparsity < self.dimension:
                alone = "with unit contexts, where a buyer has one feature only"
                raise ValueError(f"sparsity must be None {alone}, got {self.sparsity}")

    @classmethod
    def make(cls, link="logit", *, instance=None, alpha=None, beta=None, context=None, sparsity=None, **choices):
        """A market and its params.

        Args:
          link: "logit" (a sale or none) or "linear" (Gaussian demand).
          instance: "S1" or "S2", which set `alpha`, `beta` and `context`; None: those given, or a drawn market.
          alpha: effect of each feature on demand, `[dimension]`; drawn by default, as is `beta`.
          beta: effect of each feature on price sensitivity, `[dimension]`; given together with `alpha`.
          context: kind of contexts: "positive" (the default), "unit", "sphere" or "uniform".
          sparsity: number of relevant features in drawn markets, at most `dimension`; None: all.
          **choices: fields of the class.

        Raises:
          ValueError: an unknown link, instance or kind of contexts, numbers out of range, arrays of a wrong shape, a price
            sensitivity or a linear demand that is negative for some context and price.
        """
        if instance is not None:
            told = {"alpha": alpha, "beta": beta, "context": context, "sparsity": sparsity}
            alpha, beta, context = _instance(instance, link, choices.get("dimension", 3), told)
        if (alpha is None) != (beta is None):
            raise ValueError("alpha and beta make up a market together: give both or neither")
        if alpha is not None:
            alpha = checks.array("alpha", alpha, (None,))
            beta = checks.array("beta", beta, (alpha.size,))
            choices["dimension"] = alpha.size
        env = cls(link=link, context="positive" if context is None else context, sparsity=sparsity, **choices)
        return env, env.default_params() if alpha is None else env.params_of(alpha, beta)

    @property
    def name(self):
        return f"{type(self).__name__}-{self.link}"

    def default_params(self):
        return jax.tree.map(np.asarray, jax.jit(self.sample_params)(jax.random.key(0)))

    def params_of(self, alpha, beta):
        """Params with the given effects, at the prices of this environment."""
        return Params(
            alpha=alpha,
            beta=beta,
            noise_scale=np.float32(self.noise_scale) if self.link == "linear" else None,
            prices=np.linspace(self.low, self.high, self.num_prices or 0, dtype=np.float32),
            low=np.float32(self.low),
            high=np.float32(self.high),
            cost=np.float32(self.cost),
            max_steps_in_episode=np.int32(self.horizon),
        )

    def sample_params(self, key):
        """Positive effects, so that mean price sensitivity beta'x is about 3 / high (logit), or 1 / (2 high) (linear).

        Entries of beta are U[.5, 1.5] times a common number. With the logit link, entries of alpha are U[.5, 1.5] times
        another number, and mean alpha'x is about 1.6. With the linear link each entry of alpha is high * U[1, 2] times that
        of beta, so that demand falls to zero at a price between high and 2 high.
        """
        d, matter = self.dimension, self.sparsity or self.dimension
        unit = d**-0.5
        sums = {"positive": 1.5 * unit * matter, "sphere": 0.8 * unit * matter, "uniform": 1 + 0.5 * unit * (matter - 1)}
        size = 1 / sums.get(self.context, 1.0)  # mean sum of the relevant entries of x
        u, v = jax.random.uniform(key, (2, d), jnp.float32)
        if self.link == "logit":
            alpha, beta = 1.6 * size * (0.5 + v), 3 / self.high * size * (0.5 + u)
        else:
            beta = 0.5 / self.high * size * (0.5 + u)
            alpha = self.high * beta * (1 + v)
        return self.params_of(*(jnp.where(jnp.arange(d) < matter, effect, 0.0) for effect in (alpha, beta)))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.offers(params, self.num_prices)
        yield from rules.at_least(params, 0, *([] if params.noise_scale is None else ["noise_scale"]))
        alpha, beta = params.alpha.astype(float), params.beta.astype(float)
        low, high = params.low[:, None], params.high[:, None]
        slack = 0.1 * rules.ROUNDING * (np.abs(alpha).sum(axis=1) + params.high * np.abs(beta).sum(axis=1))
        falls = lowest(beta, self.context) * params.high >= -slack
        yield "beta", falls, f"a price sensitivity beta'x that is not negative for any of the {self.context} contexts"
        most = -lowest(low * beta - alpha, self.context)
        names = "alpha beta low high"
        if self.link == "linear":
            least = lowest(alpha - high * beta, self.context)
            wanted = "linear demand (alpha - price * beta)'x that is never negative (lower high or beta, or raise alpha)"
            if not self.signed:
                yield names, least >= -slack, wanted
            yield names, most > 0, "demand at the lowest price: nobody buys at any price"
        else:  # a probability of a sale that float32 distinguishes from zero
            yield names, most > -80, "demand at the lowest price: nobody buys at any price"

    def problem(self, params):
        return Problem.of(params, noise=LINKS[self.link], law=self.link, context_size=self.dimension)

    def start(self, key, params):
        return Visit(jnp.int32(0), self._fresh(key))

    def move(self, key, state, params):
        return Visit(state.time, self._fresh(key))

    def _fresh(self, key):
        """A context."""
        d = self.dimension
        if self.context == "unit":
            return (jnp.arange(d) == jax.random.randint(key, (), 0, d)).astype(jnp.float32)
        if self.context == "sphere":
            z = jnp.abs(jax.random.normal(key, (d,), jnp.float32))
            return z / jnp.sqrt(jnp.sum(z * z))
        u = jax.random.uniform(key, (d,), jnp.float32)
        if self.context == "uniform":
            return (d**-0.5 * u).at[0].set(1.0)
        return d**-0.5 * (1 + u)

    def mean_demand(self, price, params, state=None):
        a, b = self._effects(state, params)
        return jax.nn.sigmoid(a - b * price) if self.link == "logit" else a - b * price

    def draw(self, key, action, mean, params):
        return noise.draw(key, mean, LINKS[self.link], scale=params.noise_scale)

    def best(self, params, state=None):
        if self.num_prices:
            prices = jnp.asarray(params.prices)
            return first_best((prices - params.cost) * self.mean_demand(prices, params, state))
        a, b = self._effects(state, params)
        slope = jnp.where(b > 0, b, 1.0)
        if self.link == "logit":
            price = params.cost + (1 + wright_omega(a - b * params.cost - 1)) / slope
        else:
            price = (a / slope + params.cost) / 2
        return jnp.clip(jnp.where(b > 0, price, params.high), params.low, params.high)

    def _effects(self, state, params):
        """Demand and price sensitivity of the present buyer: alpha'x and beta'x."""
        return tuple(jnp.sum(jnp.asarray(effect) * state.context) for effect in (params.alpha, params.beta))


def _instance(instance, link, dimension, told):
    """`(alpha, beta, context)` of an instance; raises if one of these is also given in `told`."""
    checks.choice("instance", instance, INSTANCES)
    taken = [name for name, value in told.items() if value is not None]
    if taken or link != "logit":
        raise ValueError(f"instance {instance} is a logit market of its own: leave out {', '.join(taken) or 'the link'}")
    size = whole("dimension", dimension)
    beta = np.full(size, size**-0.5 if instance == "S1" else 1.0)
    return 1.6 * beta if instance == "S1" else beta, beta, INSTANCES[instance]


def lowest(effect, context):
    """The infimum of effect'x over contexts of a kind, float `[...]`.

    Args:
      effect: NumPy array `[..., d]`.
      context: one of `CONTEXTS`.
    """
    effect = np.asarray(effect, float)
    unit = effect.shape[-1] ** -0.5
    if context == "positive":
        return unit * np.sum(np.minimum(effect, 2 * effect), axis=-1)
    if context == "uniform":
        return effect[..., 0] + unit * np.sum(np.minimum(effect[..., 1:], 0.0), axis=-1)
    against = np.linalg.norm(np.minimum(effect, 0.0), axis=-1) if context == "sphere" else np.zeros(effect.shape[:-1])
    return np.where(against > 0, -against, np.min(effect, axis=-1))
