"""Markets whose oracle plans ahead without end: the long-run average reward.

With gain g and bias w the oracle's equation is g + w(s) = max_a Q(s, a), Q(s, a) = E[r(s, a) + w(s')]. The regret of a
period is max_a' Q(s, a') - Q(s, a); summed over T periods it is T g + w(s_0) - E[w(s_T)] less the expected rewards. So

    E sum optimal_reward = T g = E sum (reward + regret) + E[w(s_T)] - w(s_0):

the two sides differ by what the last state is worth more than the first, which is bounded while T grows.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice.oracles.dynamic_programming import span_iteration
from jaxprice.types import Environment


class LongRunMarket(Environment):
    """A market with params whose `value`, filled in by `solve`, is the gain of the oracle."""

    endless: ClassVar = True

    def optimal_reward(self, state, params):
        """The long-run average reward of the oracle, whatever the state."""
        return jnp.asarray(params.value, jnp.float32)


def long_run(backup, bias, *, step=0.5, tolerance=1e-8, rounds=20_000):
    """Gain and bias by relative value iteration, w <- w + step (Tw - w), with any backup Tw(s) = max_a Q(s, a).

    Args:
      backup: `w -> Tw`, of the same shape.
      bias: the first w, float `[...]`.
      step: weight of the aperiodicity transformation, in (0, 1]; 1 is right only where no policy cycles.
      tolerance: twice the largest error of the gain, as a share of the largest value; below the working precision, about
        10 rounding units, it is taken as that precision.
      rounds: cap on the iterations; results are NaN where it was reached first.

    Returns:
      gain, scalar; bias, float `[...]`, of mean zero.
    """

    def residual(bias):
        value = backup(bias)
        scale = jnp.max(jnp.abs(value)) + jnp.max(jnp.abs(bias))
        return value - bias, max(tolerance, 16 * float(jnp.finfo(bias.dtype).eps)) * scale

    bias, gain = span_iteration(residual, lambda bias: bias - jnp.mean(bias), bias, step, rounds)
    return gain, bias


def checked(env, params):
    """Params of a market, solved, as NumPy arrays.

    Raises:
      ValueError: they are no market, or the oracle's iteration did not settle.
    """
    params = jax.tree.map(np.asarray, params)
    env.check_params(params)
    params = env.solved(params)
    if not np.all(np.isfinite(params.value)):
        raise ValueError("the best long-run average reward was not found: some state is never left, or hardly ever")
    return params
