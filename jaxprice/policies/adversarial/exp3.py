"""Exp3: exponential weights on importance-weighted rewards, for adversarial bandits.

With K arms, gains x in [0, 1] and mixing g, arm k is played with probability

    q_k = (1 - g) exp(G_k g / K) / sum_j exp(G_j g / K) + g / K,      G_k = sum of x / q_k over the pulls of k.

Gains are rewards divided by the largest margin, clipped to [0, 1] (`exponential`). Learning from demand would change
nothing, because gains must be comparable between arms. The default mixing g = min(1, sqrt(K log K / ((e - 1) T))) needs the
horizon T.

Regret against the best fixed arm: at most 2 sqrt(e - 1) sqrt(T K log K) = 2.63 sqrt(T K log K).

Source: P. Auer, N. Cesa-Bianchi, Y. Freund, R. E. Schapire (2002), "The nonstochastic multiarmed bandit problem",
doi:10.1137/S0097539701398375, section 3.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, random, samplers
from jaxprice.policies.parts import arms, exponential
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """Mixing (float scalar), the learning signal, log weights and probabilities of the arms, float `[num_prices]`."""

    mixing: jax.Array
    signal: arms.Signal
    range: exponential.Range
    log_weights: jax.Array
    probabilities: jax.Array


@policy_maker(source="Auer et al. (2002)", regret="sqrt(K T log K)", feedback="reward")
def exp3(mixing=None):
    """Exp3.

    Args:
      mixing: probability of a uniformly random arm, in (0, 1]; may be traced. By default tuned to the horizon.

    Raises:
      ValueError: a mixing out of range.
    """
    if mixing is not None:
        checks.number("mixing", mixing, low=1e-9, high=1)

    def init(key, problem):
        del key
        size = problem.num_prices
        learned = arms.learn(problem, "reward", "exp3")
        tuned = jnp.sqrt(size * math.log(max(size, 2)) / ((math.e - 1) * jnp.asarray(problem.horizon, jnp.float32)))
        rate = jnp.minimum(1.0, tuned) if mixing is None else jnp.float32(mixing)
        even = jnp.full(size, 1 / size, jnp.float32)
        return State(rate, learned, exponential.unit_range(), jnp.zeros(size, jnp.float32), even)

    def act(key, state, observation):
        del observation
        return random.choose(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), state.probabilities)

    def update(key, state, transition):
        del key
        size, action = state.probabilities.shape[0], transition.action
        seen, x = state.range.place(state.signal.of(transition))
        gain = x / state.probabilities[action]
        log_weights = state.log_weights.at[action].add(state.mixing * gain / size)
        log_weights = log_weights - jnp.max(log_weights)
        weights = jnp.exp(log_weights)
        probabilities = (1 - state.mixing) * weights / jnp.sum(weights) + state.mixing / size
        return State(state.mixing, state.signal, seen, log_weights, probabilities)

    return Policy(init, act, update)
