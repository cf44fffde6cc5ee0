"""Gradient bandit: stochastic gradient ascent on the preferences of a softmax policy.

Arm k is played with probability pi_k = exp(H_k) / sum_j exp(H_j). After gain x from arm a,

    H_k += step (x - baseline) (1{k = a} - pi_k),

where all H start at zero. The baseline is the mean of the earlier gains, or zero without a baseline. For the first gain it
is that gain itself, so this gain teaches nothing. Gains are rewards divided by the largest margin, clipped to [0, 1]
(`exponential`). Learning from demand would change nothing, because gains must be comparable between arms. E[x (1{k = a} -
pi_k)] is the gradient of the expected gain in H_k, and a baseline does not change it: this is REINFORCE for a bandit.

Regret: without a baseline the policy converges to the best arm for any constant step (Mei et al. 2025). For a small step its
instantaneous regret is of order 1 / t (Mei et al. 2024), so regret is O(log T), with constants that can be very large. With
a running mean as baseline no rate is known, and with large steps the policy can play a wrong arm for a very long time.

Sources: R. S. Sutton, A. G. Barto (2018), "Reinforcement learning", second edition, section 2.8; R. J. Williams (1992),
doi:10.1007/BF00992696; J. Mei et al. (2024), arXiv:2402.17235; J. Mei et al. (2025), arXiv:2502.07141.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, random, samplers
from jaxprice.policies.parts import arms, exponential, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of a gradient bandit.

    Attributes:
      count: number of gains, int scalar.
      mean, lost: mean of the gains and its rounding error, float scalars.
      signal: the learning signal.
      range: range of the signals.
      preferences: preferences minus the largest, float `[num_prices]`.
    """

    count: jax.Array
    mean: jax.Array
    lost: jax.Array
    signal: arms.Signal
    range: exponential.Range
    preferences: jax.Array


@policy_maker(source="Sutton and Barto (2018)", regret="log T for small steps", feedback="reward")
def gradient_bandit(step=0.1, baseline=True):
    """Gradient bandit.

    Args:
      step: step of the gradient, above 0; may be traced.
      baseline: whether to subtract the running mean of the gains.

    Raises:
      ValueError: a step that is not positive.
    """
    checks.number("step", step, low=1e-9)

    def init(key, problem):
        del key
        learned = arms.learn(problem, "reward", "gradient_bandit")
        preferences = jnp.zeros(problem.num_prices, jnp.float32)
        return State(jnp.int32(0), jnp.float32(0), jnp.float32(0), learned, exponential.unit_range(), preferences)

    def act(key, state, observation):
        del observation
        return random.choose(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), jax.nn.softmax(state.preferences))

    def update(key, state, transition):
        del key
        seen, gain = state.range.place(state.signal.of(transition))
        action, count = transition.action, (state.count + 1).astype(jnp.float32)
        move = gain
        if baseline:
            move = jnp.where(state.count == 0, 0.0, gain - state.mean)
        preferences = (state.preferences - step * move * jax.nn.softmax(state.preferences)).at[action].add(step * move)
        mean, lost = totals.plus(state.mean, state.lost, (gain - state.mean) / count, count >= totals.LONG)
        preferences = jnp.maximum(preferences - jnp.max(preferences), -1e6)
        return State(state.count + 1, mean, lost, state.signal, seen, preferences)

    def probabilities(state, observation):
        del observation
        return jax.nn.softmax(state.preferences)

    return Policy(init, act, update, probabilities)
