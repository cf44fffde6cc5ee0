"""Markets whose oracle plans over an infinite horizon: the long-run average reward.

With gain g and bias w the oracle's equation is g + w(s) = max_a Q(s, a), Q(s, a) = E[r(s, a) + w(s')]. The regret of a
period is max_a' Q(s, a') - Q(s, a). Its sum over T periods is T g + w(s_0) - E[w(s_T)] minus the expected rewards. So

    E sum optimal_reward = T g = E sum (reward + regret) + E[w(s_T)] - w(s_0):

the two sides differ by the difference in worth between the last and the first state, which is bounded in T.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice.environment import Environment
from jaxprice.oracles.dynamic_programming import span_iteration


class LongRunMarket(Environment):
    """A market with params whose `value`, filled in by `solve`, is the gain of the oracle."""

    endless: ClassVar = True

    def optimal_reward(self, state, params):
        """The long-run average reward of the oracle, in every state."""
        return jnp.asarray(params.value, jnp.float32)


def long_run(backup, bias, *, step=0.5, tolerance=1e-8, rounds=20_000):
    """Gain and bias by relative value iteration, w <- w + step (Tw - w), for any backup Tw(s) = max_a Q(s, a).

    Args:
      backup: `w -> Tw`, of the same shape.
      bias: the first w, float `[...]`.
      step: weight of the aperiodicity transformation, in (0, 1]; 1 is correct only if no policy cycles.
      tolerance: twice the largest error of the gain, as a share of the largest value. It is raised to the working precision,
        about 10 rounding units.
      rounds: largest number of iterations; results are NaN if it is reached before convergence.

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
      ValueError: they are not a market, or the oracle's iteration did not converge.
    """
    params = jax.tree.map(np.asarray, params)
    env.check_params(params)
    params = env.solved(params)
    if not np.all(np.isfinite(params.value)):
        raise ValueError("the best long-run average reward was not found, since some state is never left, or hardly ever")
    return params
