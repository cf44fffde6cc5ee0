"""KL-UCB with Gaussian divergence: the upper confidence bound of a mean under normal noise of known variance.

With noise N(0, s_k^2), the equation n_k (q - m_k)^2 / (2 s_k^2) = log(t) has the solution

    index_k = w_k (m_k + sqrt(2 s_k^2 log(t) / n_k)),

with signals and weights as in `ucb1`. If the noise of the market is Gaussian, the seller knows its standard deviation. The
default is then s = noise_scale / buyers for demand, and w_k s / max_j w_j for reward (w_k the margin at price k), so that
both signals give the same prices. For signals in [0, 1], s = 1/2 is valid (Hoeffding) and gives UCB1 with scale 1/2; the
mean of n buyers has s = 1 / (2 sqrt(n)). Every arm is pulled once first, from the lowest price up. Ties go to the lowest
price. t counts the coming pull.

Regret: asymptotically sum_k 2 s^2 log(T) / Delta_k, optimal for Gaussian rewards.

Source: O. Cappe, A. Garivier, O.-A. Maillard, R. Munos, G. Stoltz (2013), "Kullback-Leibler upper confidence bounds for
optimal sequential allocation", doi:10.1214/13-AOS1119.
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
    """Time of the next pull, the learning signal, noise of each arm's signal (float `[num_prices]`), sums over arms."""

    time: jax.Array
    signal: arms.Signal
    noise: jax.Array
    arms: arms.Sums


@policy_maker(source="Cappe et al. (2013)", regret="log T, optimal", feedback="demand or reward")
def kl_ucb_gaussian(noise=None, signal="demand"):
    """KL-UCB for Gaussian noise.

    Args:
      noise: standard deviation of a signal, equal for all prices, at least 0; may be traced. By default that of the market
        if its noise is Gaussian, otherwise 1/2 divided by the root of the number of buyers.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a negative noise, or an unknown signal.
    """
    if noise is not None:
        checks.number("noise", noise, low=0)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        learned = arms.learn(problem, signal, "kl_ucb_gaussian")
        sums = arms.no_sums(problem)
        spread = jnp.zeros_like(sums.sums) + arms.noise_of_signal(problem, noise, least=0.0)
        if noise is None and problem.noise == "gaussian" and signal == "reward":
            margins = jnp.asarray(problem.margins, jnp.float32)
            if margins.ndim == 2:  # one reward for several products with independent noise
                margins = jnp.sqrt(jnp.sum(margins**2, axis=1))
            spread = jnp.abs(problem.noise_scale / learned.unit * margins)
        return State(jnp.int32(1), learned, spread, sums)

    def act(key, state, observation):
        del key, observation
        inverse = 1 / state.arms.counts
        bonus = state.noise * jnp.sqrt(2 * jnp.log(state.time.astype(jnp.float32)) * inverse)
        return arms.best(state.signal.weights * (state.arms.sums * inverse + bonus), state.arms)

    def update(key, state, transition):
        del key
        sums = state.arms.add(transition.action, state.signal.of(transition))
        return State(state.time + 1, state.signal, state.noise, sums)

    return Policy(init, act, update)
