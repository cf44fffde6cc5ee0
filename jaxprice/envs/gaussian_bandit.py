"""Gaussian bandit: arm k pays means[k] + stds[k] * z with standard normal z.

Source: M. N. Katehakis and H. Robbins (1995), doi:10.1073/pnas.92.19.8584.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.envs.options import market, whole


@market(kind="bandit", what="plain arms with Gaussian rewards", paper="Katehakis and Robbins (1995)", oracle="best arm")
@dataclasses.dataclass(frozen=True)
class GaussianBandit(BernoulliBandit):
    """Gaussian arms; under the prior each mean is U[0, 1] and each standard deviation is one.

    Observation: share of the horizon passed, last price (always 1), last reward; float `[3]`.
    Action: index of an arm, int scalar.
    Reward: normal, float scalar.
    Oracle: the arm with the largest mean, and its mean.
    """

    noise = "gaussian"

    @classmethod
    def make(cls, means=None, stds=1.0, *, num_arms=None, horizon=1000):
        """A bandit and its params.

        Args:
          means: mean rewards, `[num_arms]`; by default evenly spaced from .1 to .9.
          stds: standard deviations, `[num_arms]` or one number for all.
          num_arms: number of arms if `means` is not given; 10 by default.
          horizon: pulls in an episode.
        """
        env, means = cls.with_means(means, num_arms, low=-np.inf, high=np.inf)
        stds = np.asarray(checks.number("stds", stds, low=0))
        if stds.ndim > 1 or stds.size not in (1, means.size):
            raise ValueError(f"stds must be one number or one for each of the {means.size} arms, got shape {stds.shape}")
        return env, env.params_of(means, stds, horizon=whole("horizon", horizon))

    def draw(self, key, action, mean, params):
        return mean + jnp.asarray(params.stds)[action] * jax.random.normal(key)
