"""MOSS: a confidence bound whose bonus is zero once an arm has had its share of the pulls.

The index of arm k is

    w_k (m_k + sqrt(max(0, log(T / (K n_k))) / n_k)),

with signals in [0, 1], weights as in `ucb1`, K arms and the horizon T of the problem. With `anytime`, T is not needed:

    w_k (m_k + sqrt((1 + alpha) / 2 * max(0, log(t / (K n_k))) / n_k)),

where t counts the coming pull. Every arm is pulled once first, from the lowest price up. Ties go to the lowest price.

Regret: O(sqrt(K T)) with T known, optimal up to a constant; the same at any time with `anytime` and alpha = 1.35.

Sources: J.-Y. Audibert, S. Bubeck (2009), "Minimax policies for adversarial and stochastic bandits", COLT; R. Degenne,
V. Perchet (2016), "Anytime optimal algorithms in stochastic multi-armed bandits", ICML, PMLR 48:1587-1595.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """Time of the next pull (int scalar), horizon (float scalar), the learning signal, and the sums over arms."""

    time: jax.Array
    horizon: jax.Array
    signal: arms.Signal
    arms: arms.Sums


@policy_maker(source="Audibert and Bubeck (2009)", regret="sqrt(K T)", feedback="demand or reward")
def moss(anytime=False, alpha=1.35, signal="demand"):
    """MOSS.

    Args:
      anytime: whether to use the index without the horizon (Degenne and Perchet).
      alpha: exploration constant of the anytime index, at least 0; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a negative alpha, or an unknown signal.
    """
    checks.number("alpha", alpha, low=0)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        horizon = jnp.asarray(problem.horizon, jnp.float32)
        return State(jnp.int32(1), horizon, arms.learn(problem, signal, "moss"), arms.no_sums(problem))

    def act(key, state, observation):
        del key, observation
        time, scale = (state.time.astype(jnp.float32), (1 + alpha) / 2) if anytime else (state.horizon, 1.0)
        inverse = 1 / state.arms.counts
        share = jnp.log(jnp.maximum(time / inverse.shape[0] * inverse, 1.0))
        index = state.signal.weights * (state.arms.sums * inverse + jnp.sqrt(scale * share * inverse))
        return arms.best(index, state.arms)

    def update(key, state, transition):
        del key
        sums = state.arms.add(transition.action, state.signal.of(transition))
        return State(state.time + 1, state.horizon, state.signal, sums)

    return Policy(init, act, update)
