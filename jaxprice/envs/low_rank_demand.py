"""Many products whose demand varies in few directions: linear demand of low rank.

    q = U z - U V U'p + eps,     p in the ball of radius r,     reward p'q,

with U `[n, d]` of orthonormal columns (products belong to d categories), V + V' >= 2 `curvature`, and independent Gaussian
noise. Revenue depends only on x = U'p: it is z'x - x'V x. So the best prices are U x*, where x* is the maximum over the ball
of radius r. It is (V + V')^-1 z if that lies inside, otherwise (V + V' + l I)^-1 z with the l > 0 for which it is on the
boundary, found by bisection in the eigenbasis of V + V'. As in the paper, prices and demand may be negative.

Source: J. Mueller, V. Syrgkanis, M. Taddy (2019), "Low-rank bandit methods for high-dimensional dynamic pricing",
arXiv:1801.10242; the ranges of random draws are those of its experiment, with one category a product.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, noise, rules
from jaxprice.envs.market import MyopicMarket
from jaxprice.envs.options import amount, given, market, option, periods, positive, switch, whole
from jaxprice.numerics import dot
from jaxprice.types import Interval, Problem

BISECTIONS = 60


@struct.dataclass
class Params:
    """One market.

    Attributes:
      features: U, orthonormal columns, float `[n, d]`.
      level: z, float `[d]`.
      slopes: V, float `[d, d]`.
      noise_scale: standard deviation of the demand of a product.
      radius: radius of the ball of prices.
      cost: unit cost, 0.
      max_steps_in_episode: horizon.
    """

    features: ArrayLike
    level: ArrayLike
    slopes: ArrayLike
    noise_scale: ArrayLike
    radius: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@market(
    kind="several products",
    what="many products, few directions",
    paper="Mueller, Syrgkanis and Taddy (2019)",
    oracle="quadratic form over a ball",
)
@dataclasses.dataclass(frozen=True)
class LowRankDemand(MyopicMarket):
    """Linear demand of low rank; see the module.

    Observation: share of the horizon passed, last prices, last demands; float `[1 + 2 n]`.
    Action: prices, float `[n]`, scaled back to the ball if they lie outside.
    Reward: p'q.
    Oracle: the best prices, float `[n]`, and their expected reward in a period (money).
    """

    num_products: int = option(100, "number of products n", whole)
    rank: int = option(10, "number of directions d, at most n", whole)
    curvature: float = option(5.0, "smallest eigenvalue of (V + V') / 2 in markets drawn", positive)
    radius: float = option(20.0, "radius of the ball of prices", positive)
    noise_scale: float = option(10.0, "standard deviation of the demand of a product", amount)
    horizon: int = periods()
    features_known: bool = option(False, 'whether the seller is told U (`problem.details["features"]`)', switch)

    def check_options(self):
        checks.fits(num_products=self.num_products, rank=self.rank)
        if self.rank > self.num_products:
            raise ValueError(f"rank must be at most num_products = {self.num_products}, got {self.rank}")

    @classmethod
    def make(cls, num_products=100, rank=10, *, level=None, slopes=None, **choices):
        """A market and its params.

        Args:
          num_products: number of products n.
          rank: number of directions d, at most n.
          level: z, `[d]`; drawn by default.
          slopes: V, `[d, d]` with V + V' positive definite; drawn by default.
          **choices: fields of the class.

        Raises:
          ValueError: sizes or numbers out of range, arrays of a wrong shape, V + V' not positive definite.
        """
        env = cls(num_products, rank, **choices)
        level = None if level is None else checks.array("level", level, (env.rank,))
        if slopes is not None:
            slopes = checks.array("slopes", slopes, (env.rank, env.rank))
            if np.linalg.eigvalsh(slopes.astype(float) + slopes.T)[0] <= 0:
                raise ValueError(f"slopes must be a matrix V with V + V' positive definite, got {slopes.tolist()}")
        return env, given(env.default_params(), level=level, slopes=slopes)

    @property
    def demand_shape(self):
        return (self.num_products,)

    def default_params(self):
        return jax.tree.map(np.asarray, jax.jit(self.sample_params)(jax.random.key(0)))

    def sample_params(self, key):
        """z ~ N(100, 20^2); V ~ N(0, 2^2), eigenvalues of V + V' at least 2 `curvature`; product i in category i mod d."""
        keys = jax.random.split(key)
        level = 100 + 20 * jax.random.normal(keys[0], (self.rank,), jnp.float32)
        raw = 2 * jax.random.normal(keys[1], (self.rank, self.rank), jnp.float32)
        values, vectors = jnp.linalg.eigh((raw + raw.T) / 2)
        slopes = dot(vectors * jnp.maximum(values, self.curvature)[None], vectors.T) + (raw - raw.T) / 2
        return self.params_of(level, slopes)

    def params_of(self, level, slopes):
        """Params with the given demand, and the categories and the ball of this environment."""
        member = np.arange(self.num_products)[:, None] % self.rank == np.arange(self.rank)
        return Params(
            features=(member / np.sqrt(member.sum(axis=0))).astype(np.float32),
            level=level,
            slopes=slopes,
            noise_scale=np.float32(self.noise_scale),
            radius=np.float32(self.radius),
            cost=np.float32(0),
            max_steps_in_episode=np.int32(self.horizon),
        )

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.above(params, 0, "radius")
        yield from rules.at_least(params, 0, "noise_scale")
        yield "cost", params.cost == 0, "a cost of 0"
        slopes = params.slopes.astype(float)
        least = np.linalg.eigvalsh(slopes + np.swapaxes(slopes, 1, 2))[:, 0]
        yield "slopes", least > 0, "slopes V with V + V' positive definite"
        products = np.einsum("mni,mnj->mij", params.features, params.features)
        apart = np.abs(products - np.eye(self.rank)).max(axis=(1, 2))
        yield "features", apart < 10 * rules.ROUNDING, "orthonormal columns of features"

    def problem(self, params):
        ones = np.ones(self.num_products, np.float32)
        return Problem.of(
            params,
            Interval((self.num_products,)),
            low=-params.radius * ones,
            high=params.radius * ones,
            details={"radius": params.radius} | ({"features": params.features} if self.features_known else {}),
            noise="gaussian",
        )

    def best(self, params, state=None):
        slopes, level = jnp.asarray(params.slopes), jnp.asarray(params.level)
        values, vectors = jnp.linalg.eigh(slopes + slopes.T)
        along = dot(vectors.T, level)

        def length(shift):
            return jnp.linalg.norm(along / (values + shift))

        def halve(_, ends):
            low, high = ends
            middle = (low + high) / 2
            outside = length(middle) > params.radius
            return jnp.where(outside, middle, low), jnp.where(outside, high, middle)

        largest = jnp.linalg.norm(along) / params.radius  # for this shift the length is certainly below the radius
        shift = jax.lax.fori_loop(0, BISECTIONS, halve, (jnp.zeros_like(largest), largest))[1]
        shift = jnp.where(length(0.0) > params.radius, shift, 0.0)
        x = dot(vectors, along / (values + shift))
        return dot(jnp.asarray(params.features), x)

    def price(self, action, params):
        action = jnp.asarray(action, jnp.float32)
        return action * jnp.minimum(1.0, params.radius / jnp.maximum(jnp.sqrt(jnp.sum(action**2)), 1e-30))

    def mean_demand(self, price, params, state=None):
        features, slopes = jnp.asarray(params.features), jnp.asarray(params.slopes)
        x = dot(price, features)
        along = params.level - jnp.sum(slopes * x[None], axis=1)
        return dot(features, along)

    def draw(self, key, action, mean, params):
        return noise.draw(key, mean, "gaussian", scale=params.noise_scale)
