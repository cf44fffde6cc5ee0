"""Thompson sampling with Gaussian posteriors: known noise, and a normal prior on the mean signal of every price.

With prior N(m, v^2) on the mean signal of each arm, noise of standard deviation s, and n_k signals with sum S_k,

    theta_k ~ N( (m / v^2 + S_k / s^2) / q_k, 1 / q_k ),   q_k = 1 / v^2 + n_k / s^2,   action = argmax_k w_k theta_k,

with signals and weights as in `ucb1`. A valid (sub-Gaussian) choice is s = 1/2 for signals in [0, 1], and 1 / (2 sqrt(n))
for the mean of n buyers. If the noise of the market is Gaussian, the seller knows its standard deviation. These are the
defaults.

Regret: O(sqrt(K T log K)) for s = 1 and rewards in [0, 1].

Source: S. Agrawal, N. Goyal (2013), "Further optimal regret bounds for Thompson sampling", arXiv:1209.3353.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, best_arm
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The learning signal, the noise of a signal (float scalar), and the sums over arms."""

    signal: arms.Signal
    noise: jax.Array
    arms: arms.Sums


@policy_maker(source="Agrawal and Goyal (2013)", regret="sqrt(K T log K)", feedback="demand or reward")
def gaussian_thompson(mean=0.5, std=1.0, noise=None, signal="demand"):
    """Thompson sampling with Gaussian posteriors.

    Args:
      mean, std: prior of an arm's mean signal, std above 0; may be traced.
      noise: standard deviation of a signal; by default that of `arms.noise_of_signal`.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: standard deviations that are not positive, or an unknown signal.
    """
    checks.number("mean", mean)
    checks.number("std", std, low=1e-6)
    if noise is not None:
        checks.number("noise", noise, low=1e-6)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        learned = arms.learn(problem, signal, "gaussian_thompson")
        return State(learned, arms.noise_of_signal(problem, noise), arms.no_sums(problem))

    def posterior(state):
        """Mean and precision of each arm."""
        precision = 1 / std**2 + state.arms.counts / state.noise**2
        return (mean / std**2 + state.arms.sums / state.noise**2) / precision, precision

    def act(key, state, observation):
        del observation
        center, precision = posterior(state)
        z = samplers.normal(jax.random.bits(key, precision.shape, jnp.uint32))
        return jnp.argmax(state.signal.weights * (center + z / jnp.sqrt(precision)))

    def update(key, state, transition):
        del key
        return State(state.signal, state.noise, state.arms.add(transition.action, state.signal.of(transition)))

    def chances(state):
        center, precision = posterior(state)
        return best_arm.of_normals(state.signal.weights * center, jnp.abs(state.signal.weights) / jnp.sqrt(precision))

    return Policy(init, act, update, arms.of_state(chances))
