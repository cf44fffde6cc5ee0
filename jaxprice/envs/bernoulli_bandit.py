"""Bernoulli bandit: arm k pays one with probability means[k], otherwise nothing.

In terms of pricing, every arm has price one and cost zero, and a reward is a sale. With the uniform prior of `sample_params`
it is the standard test bed of Thompson sampling and of RL^2.

Source: H. Robbins (1952), doi:10.1090/S0002-9904-1952-09620-8; W. R. Thompson (1933), doi:10.1093/biomet/25.3-4.285.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice.envs.market import MyopicMarket
from jaxprice.envs.options import market, option, whole
from jaxprice.types import Problem


@struct.dataclass
class Params:
    """One bandit.

    Attributes:
      means: probability that each arm pays, float `[num_arms]`.
      stds: standard deviation of each arm's reward if it is Gaussian, float `[num_arms]`.
      prices, cost: ones `[num_arms]` and zero.
      max_steps_in_episode: horizon.
    """

    means: ArrayLike
    stds: ArrayLike
    prices: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@market(kind="bandit", what="plain arms that pay or not", paper="Robbins (1952)", oracle="best arm")
@dataclasses.dataclass(frozen=True)
class BernoulliBandit(MyopicMarket):
    """Bernoulli arms, with each mean U[0, 1] under the prior.

    Observation: share of the horizon passed, last price (always 1), last reward; float `[3]`.
    Action: index of an arm, int scalar.
    Reward: 0 or 1, float scalar.
    Oracle: the arm with the largest mean, and its mean.
    """

    num_arms: int = option(10, "number of arms; that of `means` if they are given", whole)
    noise = "bernoulli"

    def check_options(self):
        checks.fits(num_arms=self.num_arms)

    @classmethod
    def make(cls, means=None, *, num_arms=None, horizon=1000):
        """A bandit and its params.

        Args:
          means: success probabilities, `[num_arms]`; by default evenly spaced from .1 to .9.
          num_arms: number of arms if `means` is not given; 10 by default.
          horizon: pulls in an episode.
        """
        env, means = cls.with_means(means, num_arms, low=0.0, high=1.0)
        return env, env.params_of(means, horizon=whole("horizon", horizon))

    @classmethod
    def with_means(cls, means, num_arms, *, low, high):
        """A bandit of the given size, and its means: float `[num_arms]` in `[low, high]`, or evenly spaced.

        Raises:
          ValueError: bad means, no arms, or a number of arms that contradicts the means.
        """
        if means is None:
            env = cls(10 if num_arms is None else num_arms)
            return env, np.linspace(0.1, 0.9, env.num_arms)
        means = checks.array("means", means, (None,), low=low, high=high)
        if num_arms is not None and whole("num_arms", num_arms) != means.size:
            raise ValueError(f"num_arms is {num_arms}, but means has {means.size} entries")
        return cls(means.size), means

    @property
    def num_actions(self):
        return self.num_arms

    def default_params(self):
        return self.params_of(np.linspace(0.1, 0.9, self.num_arms))

    def params_of(self, means, stds: ArrayLike = 1.0, horizon: int = 1000):
        """Params with the given means and standard deviations."""
        means = means if isinstance(means, jax.Array) else np.asarray(means, np.float32)
        return Params(
            means=means,
            stds=np.broadcast_to(np.asarray(stds, np.float32), (self.num_arms,)),
            prices=np.ones(self.num_arms, np.float32),
            cost=np.float32(0),
            max_steps_in_episode=np.int32(horizon),
        )

    def sample_params(self, key):
        return self.params_of(jax.random.uniform(key, (self.num_arms,)))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.above(params, 0, "prices")
        yield from rules.at_least(params, 0, "stds", "cost")
        if self.noise == "bernoulli":
            yield from rules.shares(params, "means")

    def problem(self, params):
        return Problem.of(params, low=np.float32(1), high=np.float32(1), noise_scale=params.stds.mean(), noise=self.noise)

    def table(self, params, state=None):
        return jnp.asarray(params.means)

    def draw(self, key, action, mean, params):
        return (jax.random.uniform(key) < mean).astype(jnp.float32)
