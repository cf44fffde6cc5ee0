"""KL-UCB: the upper confidence bound of a Bernoulli mean from large deviations.

At pull t the index of arm k is w_k U_k, with signals in [0, 1], weights as in `ucb1` and

    U_k = max{ q : n_k kl(m_k, q) <= log(t) + c log(log(t)) },     kl(p, q) = p log(p/q) + (1-p) log((1-p)/(1-q)).

The equation is solved to 4e-6 without iterations (`parts.kl_bound`).

With `plus` (kl-UCB+), t / n_k replaces t in the bound, so an often played arm gets a smaller bonus than a rarely played one.

Regret: asymptotically sum_k Delta_k log(T) / kl(m_k, m*), the Lai-Robbins bound, also with `plus` (Honda). The proof needs c
= 3; the authors recommend c = 0 in practice, the default. Every arm is pulled once first, from the lowest price up. Ties go
to the lowest price. Signals outside [0, 1] (Gaussian or Poisson demand) are not covered by the theory; means are clipped.

Sources: A. Garivier, O. Cappe (2011), "The KL-UCB algorithm for bounded stochastic bandits and beyond", arXiv:1102.2490;
J. Honda (2019), "A note on KL-UCB+ policy for the stochastic bandit", arXiv:1903.07839.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import arms
from jaxprice.policies.parts.kl_bound import upper_bound
from jaxprice.policies.registry import policy_maker


@policy_maker(source="Garivier and Cappe (2011)", regret="log T, optimal", feedback="demand or reward")
def kl_ucb(c=0.0, signal="demand", plus=False):
    """KL-UCB with Bernoulli divergence.

    Args:
      c: weight of log(log(t)), at least 0; may be traced.
      signal: "demand" or "reward", the learning signal.
      plus: whether to play kl-UCB+, with t / n_k instead of t.

    Raises:
      ValueError: a negative c, or an unknown signal.
    """
    checks.number("c", c, low=0)

    def choose(key, state):
        del key
        inverse = 1 / state.arms.counts
        time = state.time.astype(jnp.float32)
        log_t = jnp.log(jnp.maximum(time * inverse, 1.0) if plus else time)
        budget = log_t + c * jnp.log(jnp.maximum(log_t, 1.0))
        return arms.best(state.signal.weights * upper_bound(state.arms.sums * inverse, budget * inverse), state.arms)

    return arms.index_policy("kl_ucb", signal, choose)
