"""The wheel bandit: rewards are equal almost everywhere, and large in a thin rim that only exploration finds.

A context x is uniform in the unit disc. Arm 0 always has mean reward `safe`. The four others correspond to the quadrants and
have mean `low`; outside the circle of radius delta, the arm of the quadrant of x has mean `high`, with low < safe < high:

    mean of arm k = high   if |x| >= delta and x is in quadrant k (1: +, +; 2: +, -; 3: -, +; 4: -, -),
                    safe   otherwise if k = 0,   low   otherwise.

Rewards are Gaussian. The rim covers 1 - delta^2 of the disc, so the regret of a uniformly random arm in a period is exactly

    delta^2 4 (safe - low) / 5 + (1 - delta^2) ((high - safe) + 3 (high - low)) / 5.

The context has a leading constant 1 (`intercept`), as the linear models of the paper's code. In terms of pricing, every arm
has the price `high` and no cost, and demand is the reward in units of the price.

Source: C. Riquelme, G. Tucker, J. Snoek (2018), "Deep Bayesian bandits showdown", arXiv:1802.09127; the task distribution,
delta ~ U[0, 1], is that of M. Garnelo et al. (2018), "Neural processes", arXiv:1807.01622.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import rules
from jaxprice.envs.market import ContextualMarket, Visit
from jaxprice.envs.options import amount, market, option, periods, share, switch
from jaxprice.types import Problem

ARMS = 5


@struct.dataclass
class Params:
    """One wheel.

    Attributes:
      delta: radius of the circle, in [0, 1].
      levels: mean demand `[3]` where the mean reward is safe, low and high.
      noise_scale: standard deviation of demand.
      prices, cost: the largest mean reward `[5]`, and zero.
      max_steps_in_episode: horizon.
    """

    delta: ArrayLike
    levels: ArrayLike
    noise_scale: ArrayLike
    prices: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@market(
    kind="bandit",
    what="contexts in a disc, large rewards in a thin rim",
    paper="Riquelme, Tucker and Snoek (2018)",
    oracle="best arm of the context",
    merit="regret, % of a random arm's",
)
@dataclasses.dataclass(frozen=True)
class WheelBandit(ContextualMarket):
    """The wheel; see the module.

    Observation: share of the horizon passed, last price, last demand, context; float `[3 + 2]`, or `[3 + 3]` with intercept.
    Action: index of an arm, int scalar.
    Reward: Gaussian, float scalar.
    Oracle: the arm of the quadrant outside the circle, arm 0 inside.
    """

    intercept: bool = option(True, "whether the context has a constant 1 in front", switch)
    safe: float = option(1.2, "mean reward of arm 0, above `low`", amount)
    low: float = option(1.0, "mean reward of the arms of quadrants", amount)
    high: float = option(50.0, "mean reward of the arm of the quadrant in the rim, above `safe`", amount)
    noise_scale: float = option(0.01, "standard deviation of rewards", amount)
    horizon: int = periods(2000)

    def check_options(self):
        if not self.low < self.safe < self.high:
            got = f"low={self.low!r}, safe={self.safe!r}, high={self.high!r}"
            raise ValueError(f"low must be below safe and safe below high, got {got}")

    @classmethod
    def make(cls, delta=0.95, **choices):
        """A wheel and its params.

        Args:
          delta: radius of the circle within which arm 0 is best, in [0, 1].
          **choices: fields of the class.

        Raises:
          ValueError: numbers out of range.
        """
        env = cls(**choices)
        return env, env.params_of(share("delta", delta))

    @property
    def num_actions(self):
        return ARMS

    def default_params(self):
        return self.params_of(0.95)

    def params_of(self, delta):
        """Params with the given radius."""
        return Params(
            delta=delta if isinstance(delta, jax.Array) else np.float32(delta),
            levels=np.array([self.safe / self.high, self.low / self.high, 1], np.float32),
            noise_scale=np.float32(self.noise_scale / self.high),
            prices=np.full(ARMS, self.high, np.float32),
            cost=np.float32(0),
            max_steps_in_episode=np.int32(self.horizon),
        )

    def sample_params(self, key):
        return self.params_of(jax.random.uniform(key, (), jnp.float32))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.above(params, 0, "prices")
        yield from rules.at_least(params, 0, "noise_scale", "cost")
        yield from rules.shares(params, "delta")
        safe, low, high = params.levels.T
        yield "levels", (low < safe) & (safe < high), "levels (safe, low, high) with low below safe and safe below high"

    def problem(self, params):
        return Problem.of(
            params,
            prices=np.full(ARMS, self.high, np.float32),  # concrete before tracing: policies use this
            noise="gaussian",
            context_size=2 + self.intercept,
        )

    def start(self, key, params):
        return Visit(jnp.int32(0), self._fresh(key))

    def move(self, key, state, params):
        return Visit(state.time, self._fresh(key))

    def _fresh(self, key):
        u = jax.random.uniform(key, (2,), jnp.float32)
        radius, angle = jnp.sqrt(u[0]), np.float32(2 * np.pi) * u[1]
        x = [radius * jnp.cos(angle), radius * jnp.sin(angle)]
        return jnp.stack([jnp.float32(1), *x] if self.intercept else x)

    def table(self, params, state: Any = None):
        x, y = state.context[-2], state.context[-1]
        quadrant = 1 + 2 * (x <= 0).astype(jnp.int32) + (y <= 0).astype(jnp.int32)
        arms = jnp.arange(ARMS, dtype=jnp.int32)
        rim, levels = x * x + y * y >= params.delta**2, jnp.asarray(params.levels)
        return jnp.where(rim & (arms == quadrant), levels[2], jnp.where(arms == 0, levels[0], levels[1]))

    def draw(self, key, action, mean, params):
        return mean + params.noise_scale * jax.random.normal(key, (), jnp.float32)


def uniform_regret(delta, safe=1.2, low=1.0, high=50.0):
    """Expected regret of a uniformly random arm in a period, float."""
    return 0.8 * delta**2 * (safe - low) + (1 - delta**2) * (high - safe + 3 * (high - low)) / 5
