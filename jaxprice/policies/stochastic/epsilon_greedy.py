"""Epsilon-greedy: a random arm with probability epsilon, otherwise the arm with the best mean.

The value of arm k is w_k m_k, with signals and weights as in `ucb1` (means, not sums). An arm without pulls counts as better
than any other. Ties go to the lowest price. With `decay`, epsilon at pull t is min(1, epsilon K / t). If epsilon is then at
least 5 / Delta_min^2, the instantaneous regret is O(1 / t) and the total regret O(log T) (Auer et al.). A fixed epsilon has
linear regret.

Source: P. Auer, N. Cesa-Bianchi, P. Fischer (2002), section 3, doi:10.1023/A:1013689704352; their c and d give
epsilon = c / d^2 here.
"""

import jax
import jax.numpy as jnp

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Auer, Cesa-Bianchi and Fischer (2002)",
    regret="log T with decay, else T",
    feedback="demand or reward",
)
def epsilon_greedy(epsilon=0.1, decay=False, signal="demand"):
    """Epsilon-greedy.

    Args:
      epsilon: probability of a random arm, in [0, 1]; with `decay` any number of at least 0. May be traced.
      decay: whether epsilon decreases as K / t.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: an epsilon out of range, or an unknown signal.
    """
    checks.number("epsilon", epsilon, low=0, high=jnp.inf if decay else 1)

    def choose(key, state):
        size, rate, greedy = rule(state)
        coin, which = samplers.uniform(jax.random.bits(key, (2,), jnp.uint32))
        return jnp.where(coin < rate, jnp.floor(which * size).astype(jnp.int32), greedy)

    def chances(state):
        size, rate, greedy = rule(state)
        return arms.greedy_or_even(greedy, rate, size)

    def rule(state):
        """Number of arms, probability of a random one, and the greedy one."""
        size = state.arms.counts.shape[0]
        rate = jnp.minimum(1.0, epsilon * size / state.time) if decay else epsilon
        return size, rate, arms.best(state.signal.weights * (state.arms.sums / state.arms.counts), state.arms)

    return arms.index_policy("epsilon_greedy", signal, choose, chances)
