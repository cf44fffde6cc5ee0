"""Confidence bounds that depend on the variance of each arm, from sums of signals and of their squares.

The mean of arm k is m_k. Its empirical variance is V_k = mean(x^2) - m_k^2, with divisor n_k, not n_k - 1. Every arm is
pulled once first, from the lowest price up. Ties go to the lowest price. The variance of signals far above one is lost to
float32 rounding.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.parts import arms, totals
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      time: number of the next pull, from 1, int scalar.
      signal: the learning signal.
      arms: pulls and sums of signals.
      squares: sums of squared signals, float `[num_prices]`.
      lost: their rounding errors, float `[num_prices]`.
    """

    time: jax.Array
    signal: arms.Signal
    arms: arms.Sums
    squares: jax.Array
    lost: jax.Array


def variance_policy(name, signal, bound):
    """The policy that plays the arm with the largest bound, times its weight.

    Args:
      name: of the policy, for error messages.
      signal: "demand" or "reward".
      bound: `(mean, variance, log_time, inverse) -> bound` of each arm, float `[num_prices]`, where `mean`, `variance` and
        `inverse`, one over the pulls, are float `[num_prices]`, and `log_time` is log(t) at pull t, float scalar.

    Raises:
      ValueError: an unknown signal; at `init`, a market without a price grid.
    """
    arms.check_signal(signal)

    def init(key, problem):
        del key
        sums = arms.no_sums(problem)
        return State(jnp.int32(1), arms.learn(problem, signal, name), sums, *[jnp.zeros_like(sums.sums)] * 2)

    def act(key, state, observation):
        del key, observation
        inverse = 1 / state.arms.counts
        mean = state.arms.sums * inverse
        variance = jnp.maximum(state.squares * inverse - mean**2, 0.0)
        index = state.signal.weights * bound(mean, variance, jnp.log(state.time.astype(jnp.float32)), inverse)
        return arms.best(index, state.arms)

    def update(key, state, transition):
        del key
        x = state.signal.of(transition)
        sums = state.arms.add(transition.action, x)
        squares = jnp.zeros_like(state.squares).at[transition.action].set(x**2)
        squares = totals.plus(state.squares, state.lost, squares, sums.pulls >= totals.LONG)
        return State(state.time + 1, state.signal, sums, *squares)

    return Policy(init, act, update)
