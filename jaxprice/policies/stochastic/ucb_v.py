"""UCB-V: an upper confidence bound from the empirical Bernstein inequality.

At pull t the index of arm k is

    w_k (m_k + sqrt(2 zeta V_k log(t) / n_k) + 3 c zeta log(t) / n_k),      V_k = mean(x^2) - m_k^2,

with signals x in [0, 1] (b = 1 in the paper) and weights as in `ucb1`. V_k is the empirical variance with divisor n_k, not
n_k - 1, as in the paper. An arm with a small variance needs few pulls to be ruled out. Every arm is pulled once first, from
the lowest price up. Ties go to the lowest price. t counts the coming pull.

Regret: at most 10 sum_k (s_k^2 / Delta_k + 2) log(T) for zeta = 1.2 and c = 1, with s_k^2 the variance of arm k. The last
term of the index is of order log(t) / n with a constant of 3.6. It dominates over short horizons, and practice uses c far
below one. For zeta c < 1/6 there are bandits with polynomial regret. The variance of signals far above one is lost to
float32 rounding.

Source: J.-Y. Audibert, R. Munos, C. Szepesvari (2009), "Exploration-exploitation tradeoff using variance estimates in
multi-armed bandits", doi:10.1016/j.tcs.2009.01.016, section 3.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.registry import policy_maker
from jaxprice.policies.stochastic.variance_bound import variance_policy


@policy_maker(
    source="Audibert, Munos and Szepesvari (2009)",
    regret="log T",
    feedback="demand or reward",
)
def ucb_v(zeta=1.2, c=1.0, signal="demand"):
    """UCB-V.

    Args:
      zeta: exploration constant, at least 0 (above 1 in theory); may be traced.
      c: weight of the term that does not depend on the variance, at least 0; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a negative constant, or an unknown signal.
    """
    checks.number("zeta", zeta, low=0)
    checks.number("c", c, low=0)

    def bound(mean, variance, log_time, inverse):
        width = zeta * log_time * inverse
        return mean + jnp.sqrt(2 * variance * width) + 3 * c * width

    return variance_policy("ucb_v", signal, bound)
