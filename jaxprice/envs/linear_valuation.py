"""Contextual pricing with linear valuations: a buyer with features x has the valuation v = x'theta + z.

The seller sees x, posts a price p, and sells if v >= p, so demand at p is S(p - x'theta) with S the survival function of
the noise z. The best price is g(x'theta) with g(u) = argmax_p (p - cost) S(p - u).

Noise: logistic and Gaussian with a scale, uniform on [-scale, scale], or a mixture of Gaussians whose standard deviations
are `scale` times those of the components. The seller knows the distribution, and the scale if `scale_known`. Contexts (d
entries, the first one 1 with `intercept`):

| contexts | the other entries |
|---|---|
| "gaussian" | independent N(0, 1) / sqrt(d), clipped at two standard deviations |
| "uniform" | independent U[-1, 1] / sqrt(d) |
| "autoregressive" | strongly mixing: x' = r x + sqrt(1 - r^2) z with r = .9, stationary N(0, 1) / sqrt(d) |
| "adversarial" | rows of a fixed table, in phases of doubling length: row floor(log2 t) mod R in period t |
| "schedule" | the same table, row by row, cyclically |

Sources: A. Javanmard, H. Nazerzadeh (2019), "Dynamic pricing in high-dimensions", arXiv:1609.07574 (sparse theta);
M. C. Cohen, I. Lobel, R. Paes Leme (2020), "Feature-based dynamic pricing", doi:10.1287/mnsc.2019.3485 (adversarial
contexts); J. Xu, Y.-X. Wang (2021), "Logarithmic regret in feature-based dynamic pricing", arXiv:2102.10221.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice import noise as noises
from jaxprice.envs.market import ContextualMarket, Visit, first_best
from jaxprice.envs.options import amount, choice, given, market, option, optional, periods, positive, switch, whole
from jaxprice.oracles import linear_valuation as oracle
from jaxprice.types import Problem

LAWS = ("logistic", "gaussian", "uniform", "mixture")
CONTEXTS = ("gaussian", "uniform", "autoregressive", "adversarial", "schedule")
MEMORY = 0.9  # correlation of successive autoregressive contexts


@struct.dataclass
class Params:
    """One market.

    Attributes:
      theta: value of each feature, float `[d]`; with an intercept, this is theta[0].
      scale: scale of the noise.
      weights, locations, scales: the mixture's components, float `[M]` each; `[0]` for other distributions.
      contexts: the table of "adversarial" and "schedule" contexts, float `[R, d]`; `[0, d]` for other contexts.
      prices: the grid, float `[num_prices]`; `[0]` on an interval.
      low, high: lowest and highest price.
      cost: unit cost.
      max_steps_in_episode: horizon.
    """

    theta: ArrayLike
    scale: ArrayLike
    weights: ArrayLike
    locations: ArrayLike
    scales: ArrayLike
    contexts: ArrayLike
    prices: ArrayLike
    low: ArrayLike
    high: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@market(
    kind="buyers with features",
    what="v = x'theta + z; logistic, Gaussian, uniform or mixture noise; random, mixing or adversarial contexts; sparsity",
    paper="Javanmard and Nazerzadeh (2019); Cohen, Lobel and Paes Leme (2020); Xu and Wang (2021)",
    oracle="g(x'theta), closed form or root",
)
@dataclasses.dataclass(frozen=True)
class LinearValuation(ContextualMarket):
    """Linear valuations with features; see the module.

    Observation: share of the horizon passed, last price, last sale, context; float `[3 + d]`.
    Action: index of the grid, or a price.
    Reward: (price - cost) * sale.
    Oracle: the best price for the present buyer, and its expected profit (money).

    Attributes:
      law: distribution of the noise, one of `LAWS`.
      num_contexts: number of rows of the table of contexts.
      components: number of components of the mixture.
    """

    dimension: int = option(3, "number of features d; that of `theta` if it is given", whole)
    law: str = "logistic"
    context: str = choice("gaussian", "kind of contexts", CONTEXTS)
    intercept: bool = option(True, "whether the first feature is always 1", switch)
    sparsity: int | None = option(
        None,
        "features that matter in drawn markets, the intercept included, at most `dimension`; None: all",
        optional(whole),
    )
    scale_known: bool = option(True, 'whether the seller is told the scale (`problem.details["scale"]`)', switch)
    num_prices: int | None = option(None, "size of an evenly spaced grid; None: any price in `[low, high]`", optional(whole))
    num_contexts: int = 8
    components: int = 2
    low: float = option(0.0, "lowest price", amount)
    high: float = option(3.0, "highest price", amount)
    cost: float = option(0.0, "unit cost", amount)
    scale: float = option(0.25, "scale of the noise", positive)
    horizon: int = periods()

    def check_options(self):
        checks.choice("noise", self.law, LAWS)
        checks.fits(dimension=self.dimension, num_prices=self.num_prices or 1)
        checks.price_interval(self.low, self.high, self.cost)
        if self.sparsity is not None:
            checks.whole("sparsity", self.sparsity, 1, self.dimension)

    @classmethod
    def make(cls, noise="logistic", *, theta=None, contexts=None, **choices):
        """A market and its params.

        Args:
          noise: "logistic", "gaussian", "uniform" or "mixture".
          theta: value of each feature, `[dimension]`; drawn by default.
          contexts: rows of adversarial and schedule contexts, `[rows, dimension]`; drawn by default.
          **choices: fields of the class.

        Raises:
          ValueError: an unknown law or kind of contexts, sizes or numbers out of range, arrays of a wrong shape.
        """
        if theta is not None:
            theta = checks.array("theta", theta, (None,))
            choices["dimension"] = theta.size
        env = cls(law=noise, **choices)
        if contexts is not None:
            if env.context not in ("adversarial", "schedule"):
                raise ValueError(
                    f"contexts is the table of adversarial and schedule contexts, but context is {env.context!r}"
                )
            contexts = checks.array("contexts", contexts, (None, env.dimension))
            env = dataclasses.replace(env, num_contexts=len(contexts))
        return env, given(env.default_params(), theta=theta, contexts=contexts)

    def default_params(self):
        return jax.tree.map(np.asarray, jax.jit(self.sample_params)(jax.random.key(0)))

    def params_of(self, theta, weights, locations, scales, contexts):
        """Params with the given numbers, and the prices and the scale of this environment."""
        prices = np.linspace(self.low, self.high, self.num_prices or 0, dtype=np.float32)
        numbers = {name: np.float32(getattr(self, name)) for name in ("scale", "low", "high", "cost")}
        return Params(
            theta=theta,
            weights=weights,
            locations=locations,
            scales=scales,
            contexts=contexts,
            prices=prices,
            max_steps_in_episode=np.int32(self.horizon),
            **numbers,
        )

    def sample_params(self, key):
        """Intercept U[.75, 1.25], if there is one; other entries N(0, 1/2), of which only the first `sparsity` are used."""
        keys = jax.random.split(key, 5)
        theta = 0.5**0.5 * jax.random.normal(keys[0], (self.dimension,), jnp.float32)
        if self.sparsity is not None:
            theta = jnp.where(jnp.arange(self.dimension) < self.sparsity, theta, 0.0)
        if self.intercept:
            theta = theta.at[0].set(0.75 + 0.5 * jax.random.uniform(keys[1], dtype=jnp.float32))
        mixed = self.components if self.law == "mixture" else 0
        weights = 0.5 + jax.random.uniform(keys[2], (mixed,), jnp.float32)
        locations = jax.random.normal(keys[3], (mixed,), jnp.float32)
        weights = weights / jnp.sum(weights)
        locations = locations - jnp.sum(weights * locations)
        rows = self.num_contexts if self.context in ("adversarial", "schedule") else 0
        contexts = jax.vmap(lambda k: self._fresh(k, "uniform"))(jax.random.split(keys[4], max(rows, 1)))[:rows]
        return self.params_of(theta, weights, locations, jnp.full(mixed, 0.5), contexts)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.offers(params, self.num_prices)
        yield from rules.above(params, 0, "scale")
        spread, middle = params.scale, 0.0
        if self.law == "mixture":
            yield from rules.distributions(params, "weights")
            yield from rules.above(params, 0, "scales")
            spread, middle = spread * params.scales.max(axis=1), spread * params.locations.max(axis=1)
        reach = {"uniform": 1.0, "logistic": 80.0}.get(self.law, 12.0)  # beyond this, sales underflow
        likely = self._highest(params) + middle + reach * spread > params.low
        yield "theta scale low", likely, "buyers: nobody buys at any price, whatever the features"

    def _highest(self, params):
        """The supremum of x'theta over contexts; for unbounded contexts, over eight standard deviations; NumPy `[M]`."""
        theta = params.theta.astype(float)
        if params.contexts.shape[1]:
            return np.einsum("mrd,md->mr", params.contexts, theta).max(axis=1)
        reach = {"uniform": 1.0, "gaussian": 2.0}.get(self.context, 8.0) * self.dimension**-0.5
        free = np.abs(theta[:, 1:] if self.intercept else theta).sum(axis=1)
        return reach * free + (theta[:, 0] if self.intercept else 0.0)

    def problem(self, params):
        return Problem.of(
            params, details={"scale": params.scale} if self.scale_known else {}, context_size=self.dimension, law=self.law
        )

    def start(self, key, params):
        context = self._row(jnp.int32(0), params) if params.contexts.shape[0] else self._fresh(key, self.context)
        return Visit(jnp.int32(0), context)

    def move(self, key, state, params):
        if params.contexts.shape[0]:
            return Visit(state.time, self._row(state.time + 1, params))
        fresh = self._fresh(key, self.context)
        if self.context == "autoregressive":
            mixed = MEMORY * state.context + (1 - MEMORY**2) ** 0.5 * fresh
            fresh = mixed.at[0].set(1.0) if self.intercept else mixed
        return Visit(state.time, fresh)

    def _fresh(self, key, kind):
        """A newly drawn context."""
        shape, unit = (self.dimension,), self.dimension**-0.5
        if kind == "uniform":
            context = unit * (2 * jax.random.uniform(key, shape, jnp.float32) - 1)
        else:
            context = unit * jax.random.normal(key, shape, jnp.float32)
            context = jnp.clip(context, -2 * unit, 2 * unit) if kind == "gaussian" else context
        return context.at[0].set(1.0) if self.intercept else context

    def _row(self, time, params):
        """The context of the table for period `time`, counted from 0."""
        if self.context == "adversarial":  # floor(log2(time + 1)), exactly
            time = 31 - jax.lax.clz(time + 1)
        return jnp.asarray(params.contexts)[time % params.contexts.shape[0]]

    def mean_demand(self, price, params, state=None):
        return oracle.survival(self.law, price - self._utility(state, params), **self._law(params))

    def draw(self, key, action, mean, params):
        return noises.draw(key, mean, "bernoulli")

    def best(self, params, state=None):
        utility = self._utility(state, params)
        if self.num_prices:
            mean = oracle.survival(self.law, jnp.asarray(params.prices) - utility, **self._law(params))
            return first_best((params.prices - params.cost) * mean)
        price = oracle.optimal_price(utility - params.cost, self.law, **self._law(params)) + params.cost
        return jnp.clip(price, params.low, params.high)

    def _utility(self, state, params):
        return jnp.sum(jnp.asarray(params.theta) * state.context)

    def _law(self, params):
        if self.law == "mixture":
            scales = params.scale * params.scales
            return {"scale": scales, "weights": params.weights, "locations": params.scale * params.locations}
        return {"scale": params.scale}
