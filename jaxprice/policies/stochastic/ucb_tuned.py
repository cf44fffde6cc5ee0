"""UCB-tuned: UCB1 with a bonus that depends on the variance of each arm.

At pull t the index of arm k is

    w_k (m_k + sqrt(log(t) / n_k * min(1/4, V_k))),      V_k = mean(x^2) - m_k^2 + sqrt(2 log(t) / n_k),

with signals x in [0, 1] and weights as in `ucb1`. 1/4 is the largest variance of a Bernoulli variable. Every arm is pulled
once first, from the lowest price up. Ties go to the lowest price. No regret bound is known; in practice it beats UCB1. The
variance of signals far above one is lost to float32 rounding.

Source: P. Auer, N. Cesa-Bianchi, P. Fischer (2002), section 4, doi:10.1023/A:1013689704352.
"""

import jax.numpy as jnp

from jaxprice.policies.registry import policy_maker
from jaxprice.policies.stochastic.variance_bound import variance_policy


@policy_maker(source="Auer, Cesa-Bianchi and Fischer (2002)", feedback="demand or reward")
def ucb_tuned(signal="demand"):
    """UCB-tuned.

    Args:
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: an unknown signal.
    """

    def bound(mean, variance, log_time, inverse):
        width = log_time * inverse
        return mean + jnp.sqrt(width * jnp.minimum(variance + jnp.sqrt(2 * width), 0.25))

    return variance_policy("ucb_tuned", signal, bound)
