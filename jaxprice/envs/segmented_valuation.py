"""Segmented valuations: consumers belong to segments of known size with similar valuations.

Segment s has share psi_s (uniform on the simplex, known to the seller) and midpoint v_s, drawn from a distribution on [0,
1]. In each period one price is offered to a number of consumers. Each comes from segment s with probability psi_s, values
the product at v_s + U(-delta, delta) and buys if that is at least the price. The seller sees the segment of every consumer
and whether it bought. Expected demand of one consumer is sum_s psi_s clip((v_s + delta - p) / (2 delta), 0, 1), and the
oracle is the best price of the grid for it.

Source: K. Misra, E. M. Schwartz, J. Abernethy (2019), "Dynamic online pricing with incomplete information using
multiarmed bandit experiments", doi:10.1287/mksc.2018.1129: 100 prices, 1,000 segments, 10 consumers a period, delta .1.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, random, rules, samplers
from jaxprice.envs.market import MyopicMarket
from jaxprice.envs.options import choice, given, market, option, positive, whole
from jaxprice.types import Problem

LAWS = ("beta(2,9)", "beta(2,2)", "beta(9,2)", "beta(.2,.3)", "two points")


@struct.dataclass
class Params:
    """One market.

    Attributes:
      shares: size of each segment, float `[num_segments]`.
      midpoints: middle of each segment's valuations, float `[num_segments]`.
      half_width: half the width of valuations within a segment.
      prices: the grid, float `[num_prices]`.
      cost: unit cost.
      max_steps_in_episode: horizon.
    """

    shares: ArrayLike
    midpoints: ArrayLike
    half_width: ArrayLike
    prices: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@struct.dataclass
class Observation:
    """The seller's observation of the last period.

    Attributes:
      segments: segment of each consumer, int `[buyers]`; -1 before the first period.
      purchases: whether each bought, bool `[buyers]`.
      price: the offered price, float scalar.
      shares: sizes of the segments, float `[num_segments]`.
    """

    segments: ArrayLike
    purchases: ArrayLike
    price: ArrayLike
    shares: ArrayLike


@market(
    kind="one product",
    what="segments with unknown valuations",
    paper="Misra, Schwartz and Abernethy (2019)",
    oracle="sum over segments",
    merit="share of the optimum",
)
@dataclasses.dataclass(frozen=True)
class SegmentedValuation(MyopicMarket):
    """Segmented valuations whose midpoints follow one of `LAWS`.

    Observation: `Observation`: segments and purchases of the period's consumers, the price, and the shares of segments.
    Action: index of the price grid, int scalar.
    Reward: price * units sold, money, float scalar.
    Oracle: the best price of the grid, and its expected revenue in a period (money).
    """

    law: str = choice("beta(2,2)", "law of the midpoints", LAWS)
    num_segments: int = option(1000, "number of segments", whole)
    num_prices: int = option(100, "size of the grid 1/K, 2/K, ..., 1", whole)
    buyers: int = option(10, "number of consumers who see the price of a period", whole)

    def check_options(self):
        checks.fits(num_segments=self.num_segments, buyers=self.buyers)
        checks.fits(num_prices=self.num_prices)

    @classmethod
    def make(cls, law="beta(2,2)", *, half_width=0.1, horizon=1000, **choices):
        """A market and its params, one draw of shares and midpoints.

        Args:
          law: distribution of the midpoints, "beta(2,9)", "beta(2,2)", "beta(9,2)", "beta(.2,.3)" or "two points".
          half_width: half the width of valuations within a segment (delta), at most 1.
          horizon: periods in an episode.
          **choices: fields of the class.

        Raises:
          ValueError: an unknown law, or sizes or a width out of range.
        """
        env = cls(law, **choices)
        half_width = checks.number("half_width", positive("half_width", half_width), high=1)
        horizon = np.int32(whole("horizon", horizon))
        return env, given(env.default_params(), half_width=np.float32(half_width), max_steps_in_episode=horizon)

    @property
    def num_actions(self):
        return self.num_prices

    @property
    def name(self):
        return f"SegmentedValuation-{self.law}"

    def default_params(self):
        draw = jax.jit(lambda: self.sample_params(random.address(random.stream(0, "market"), 0, 0)))
        return jax.tree.map(np.asarray, draw())

    def params_of(self, shares, midpoints, half_width=0.1, horizon=1000):
        """Params with the given segments on the grid 1/K, 2/K, ..., 1."""
        return Params(
            shares=shares,
            midpoints=midpoints,
            half_width=np.float32(half_width),
            prices=(np.arange(self.num_prices, dtype=np.float32) + 1) / np.float32(self.num_prices),
            cost=np.float32(0),
            max_steps_in_episode=np.int32(horizon),
        )

    def sample_params(self, key):
        key_shares, key_midpoints, key_boost = jax.random.split(key, 3)
        gaps = -jnp.log(samplers.uniform(jax.random.bits(key_shares, (self.num_segments,), jnp.uint32)))
        shape = (self.num_segments,)
        if self.law == "two points":
            midpoints = jnp.where(jax.random.uniform(key_midpoints, shape) < 0.7, 0.2, 0.9)
        else:
            a, b = (float(x) for x in self.law[5:-1].split(","))
            z1, z2 = samplers.normal_pair_from_word(jax.random.bits(key_midpoints, shape, jnp.uint32))
            words = jax.random.bits(key_boost, (2, *shape), jnp.uint32)
            log_u1, log_u2 = (jnp.log(samplers.uniform(word)) for word in words)
            midpoints = samplers.beta_boosted(z1, z2, log_u1, log_u2, a, b)
        return self.params_of(gaps / jnp.sum(gaps), midpoints)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.grid(params)
        yield from rules.at_least(params, 0, "cost")
        yield from rules.distributions(params, "shares")
        yield from rules.above(params, 0, "half_width")
        most = np.where(params.shares > 0, params.midpoints, -np.inf).max(axis=1) + params.half_width
        yield "prices midpoints", most > params.prices[:, 0], "a price at which somebody buys"

    def problem(self, params):
        return Problem.of(params, buyers=self.buyers, noise="bernoulli", details={"shares": params.shares})

    def table(self, params, state=None):
        def at(price):
            reach = (params.midpoints + params.half_width - price) / (2 * params.half_width)
            return jnp.sum(params.shares * jnp.clip(reach, 0.0, 1.0))

        return jax.lax.map(at, jnp.asarray(params.prices))

    def draw(self, key, action, mean, params):
        return jnp.sum(self._consumers(key, jnp.asarray(params.prices)[action], params)[1].astype(jnp.float32))

    def _consumers(self, key, price, params):
        """The segment of each consumer, int `[buyers]`, and whether it buys at the price, bool `[buyers]`."""
        words = jax.random.bits(key, (2, self.buyers), jnp.uint32)
        segments = random.choose(samplers.uniform(words[0]), params.shares)
        valuations = jnp.asarray(params.midpoints)[segments] + params.half_width * (2 * samplers.uniform(words[1]) - 1)
        return segments, valuations >= price

    def step_env(self, key, state, action, params):
        price, mean = self.price_and_mean(state, action, params)
        segments, purchases = self._consumers(key, price, params)
        info = self.sold(state, action, price, mean, jnp.sum(purchases.astype(jnp.float32)), params)
        obs = Observation(segments, purchases, price, jnp.asarray(params.shares))
        return obs, dataclasses.replace(state, time=state.time + 1), info["reward"], jnp.bool_(False), info

    def observation(self, state, price, demand, params):
        nobody = jnp.full((self.buyers,), -1, jnp.int32)
        return Observation(nobody, jnp.zeros((self.buyers,), bool), jnp.float32(0), jnp.asarray(params.shares))
