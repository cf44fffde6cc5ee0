"""UCB-tuned: UCB1 with a bonus that depends on the variance of each arm.

At pull t the index of arm k is

    w_k (m_k + sqrt(log(t) / n_k * min(1/4, V_k))),      V_k = mean(x^2) - m_k^2 + sqrt(2 log(t) / n_k),

with signals x in [0, 1] and weights as in `ucb1`. 1/4 is the largest variance of a Bernoulli variable. Every arm is pulled
once first, from the lowest price up. Ties go to the lowest price. No regret bound is known; in practice it beats UCB1. The
variance of signals far above one is lost to float32 rounding.

Source: P. Auer, N. Cesa-Bianchi, P. Fischer (2002), section 4, doi:10.1023/A:1013689704352.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.parts import arms, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """Time of the next pull, the learning signal, sums over arms; sums of squares and their rounding errors."""

    time: jax.Array
    signal: arms.Signal
    arms: arms.Sums
    squares: jax.Array
    lost: jax.Array


@policy_maker(source="Auer, Cesa-Bianchi and Fischer (2002)", feedback="demand or reward")
def ucb_tuned(signal="demand"):
    """UCB-tuned.

    Args:
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: an unknown signal.
    """
    arms.check_signal(signal)

    def init(key, problem):
        del key
        sums = arms.no_sums(problem)
        return State(jnp.int32(1), arms.learn(problem, signal, "ucb_tuned"), sums, *[jnp.zeros_like(sums.sums)] * 2)

    def act(key, state, observation):
        del key, observation
        inverse = 1 / state.arms.counts
        mean = state.arms.sums * inverse
        width = jnp.log(state.time.astype(jnp.float32)) * inverse
        variance = jnp.maximum(state.squares * inverse - mean**2, 0.0) + jnp.sqrt(2 * width)
        index = state.signal.weights * (mean + jnp.sqrt(width * jnp.minimum(variance, 0.25)))
        return arms.best(index, state.arms)

    def update(key, state, transition):
        del key
        x = state.signal.of(transition)
        sums = state.arms.add(transition.action, x)
        squares = jnp.zeros_like(state.squares).at[transition.action].set(x**2)
        squares = totals.plus(state.squares, state.lost, squares, sums.pulls >= totals.LONG)
        return State(state.time + 1, state.signal, sums, *squares)

    return Policy(init, act, update)
