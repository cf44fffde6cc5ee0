"""UCB1: play the arm with the largest upper confidence bound.

At pull t, arm k with n_k pulls and mean signal m_k has the index

    w_k (m_k + sqrt(scale * log(t) / n_k)),        scale = 2,

with signals in [0, 1]. When learning from demand, m_k is the conversion rate at price p_k and w_k = p_k - c. The bonus is
scaled by the price, because revenue at price p_k lies in [0, p_k] (Misra, Schwartz and Abernethy). When learning from
reward, w_k is equal for all arms: UCB1 as published. Every arm is pulled once first, from the lowest price up. Ties go to
the lowest price. t counts the coming pull (Auer et al. count past pulls).

Regret: at most 8 sum_k log(T) / Delta_k + O(1) for scale = 2 and rewards in [0, 1].

Sources: P. Auer, N. Cesa-Bianchi, P. Fischer (2002), doi:10.1023/A:1013689704352; K. Misra, E. M. Schwartz,
J. Abernethy (2019), doi:10.1287/mksc.2018.1129.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import arms
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Auer, Cesa-Bianchi and Fischer (2002)",
    regret="log T",
    feedback="demand or reward",
)
def ucb1(scale=2.0, signal="demand"):
    """UCB1.

    Args:
      scale: exploration constant, at least 0; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a negative scale, or an unknown signal.
    """
    checks.number("scale", scale, low=0)

    def choose(key, state):
        del key
        inverse = 1 / state.arms.counts
        bonus = jnp.sqrt(scale * jnp.log(state.time.astype(jnp.float32)))
        index = state.signal.weights * (state.arms.sums * inverse + bonus * jnp.sqrt(inverse))
        return arms.best(index, state.arms)

    return arms.index_policy("ucb1", signal, choose)
