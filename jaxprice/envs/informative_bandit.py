"""The informative bandit: one arm pays little, but its payout identifies the target among the other arms.

There are n = num_arms - 1 candidates; one of them is the target (all equally likely). Every arm has a constant payout:

    the target pays `prize`,   other candidates pay 1,   the last arm pays i / n if candidate i = 1, ..., n is the target.

With n = 10 and a prize of 5, the last arm pays .55 on average, and an untried candidate 1.4. Over five pulls the best
strategy without knowledge of the target is to pull the last arm once and the target from then on. A policy that treats arms
as independent, or that only plays arms that may be best, never tries it.

In terms of pricing, every arm has the price `prize` and no cost, and demand is the payout in units of the price.

Source: J. X. Wang, Z. Kurth-Nelson, D. Tirumala, H. Soyer, J. Z. Leibo, R. Munos, C. Blundell, D. Kumaran, M. Botvinick
(2016), "Learning to reinforcement learn", arXiv:1611.05763, section 3.1.3.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice.envs.market import MyopicMarket
from jaxprice.envs.options import amount, market, option, whole
from jaxprice.types import Problem


@struct.dataclass
class Params:
    """One bandit.

    Attributes:
      means: demand for each arm, its payout in units of the prize, float `[num_arms]`.
      prices, cost: the prize `[num_arms]`, and zero.
      max_steps_in_episode: horizon.
    """

    means: ArrayLike
    prices: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@market(
    kind="bandit",
    what="one arm tells which of the others is the target",
    paper="Wang et al. (2016)",
    oracle="the target; Bayes optimum by DP in the study",
)
@dataclasses.dataclass(frozen=True)
class InformativeBandit(MyopicMarket):
    """The informative bandit; under the prior each candidate is the target with the same probability.

    Observation: share of the horizon passed, last price, last demand, and the last payout again, one-hot, as in the paper:
      float `[3 + num_arms]`. Its entry k is one after a payout of (k + 1) / n, the last one after more than 1, and all are
      zero before the first pull. A payout of 1 is that of an ordinary candidate and of the last arm with i = n.
    Action: index of an arm, int scalar.
    Reward: the payout, float scalar; only the target is random.
    Oracle: the target. A seller who does not know it can earn less (`experiments.studies.informative_bandit`).
    """

    num_arms: int = option(11, "number of arms, including the informative one; at least 3", whole)
    prize: float = option(5.0, "payout of the target, above 1", amount)
    noise = "gaussian"

    def check_options(self):
        checks.whole("num_arms", self.num_arms, 3, checks.LARGEST)
        checks.fits(num_arms=self.num_arms)
        if not self.prize > 1:
            raise ValueError(f"prize must be above 1, what the other candidates pay, got {self.prize!r}")

    @classmethod
    def make(cls, target=0, *, horizon=5, **choices):
        """A bandit and its params.

        Args:
          target: index of the target, below num_arms - 1.
          horizon: pulls in an episode.
          **choices: fields of the class.

        Raises:
          ValueError: numbers out of range.
        """
        env = cls(**choices)
        target = checks.whole("target", target, 0, env.num_arms - 2)
        return env, env.params_of(target, whole("horizon", horizon))

    @property
    def num_actions(self):
        return self.num_arms

    def default_params(self):
        return self.params_of(0)

    def params_of(self, target, horizon=5):
        """Params with the given target, an index of the candidates."""
        n, xp = self.num_arms - 1, jnp if isinstance(target, jax.Array) else np
        candidates = xp.where(xp.arange(n, dtype=xp.int32) == target, xp.float32(self.prize), xp.float32(1))
        payouts = xp.append(candidates, xp.asarray(target + 1, xp.float32) / xp.float32(n))
        return Params(
            means=payouts / xp.float32(self.prize),
            prices=np.full(self.num_arms, self.prize, np.float32),
            cost=np.float32(0),
            max_steps_in_episode=np.int32(horizon),
        )

    def sample_params(self, key):
        return self.params_of(jax.random.randint(key, (), 0, self.num_arms - 1, jnp.int32))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.above(params, 0, "prices")
        yield from rules.at_least(params, 0, "cost")
        yield from rules.shares(params, "means")

    def problem(self, params):
        return Problem.of(params, noise=self.noise)

    def table(self, params, state=None):
        return jnp.asarray(params.means)

    def draw(self, key, action, mean, params):
        return mean

    def observation(self, state, price, demand, params):
        n = self.num_arms - 1
        place = jnp.clip(jnp.round(n * self.prize * jnp.asarray(demand, jnp.float32)) - 1, 0, n).astype(jnp.int32)
        coded = (jnp.arange(n + 1, dtype=jnp.int32) == place) & (state.time > 0)
        return jnp.concatenate([super().observation(state, price, demand, params), coded.astype(jnp.float32)])
