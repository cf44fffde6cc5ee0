"""Bayes-UCB: an upper quantile of the posterior as the confidence bound.

With Beta posteriors as in `thompson`, the index of arm k at pull t is w_k q_k with

    P(theta_k > q_k) = 1 / (t log(t)^c),      theta_k ~ Beta(a + s_k, b + f_k).

t counts the coming period, and is replaced by 3 in the first two. The quantile is that of `beta_law`, a closed form with an
error below 5e-4 posterior standard deviations or 3e-6. There is no first round: arms without data have the quantile of the
prior. Every buyer of a period counts as one observation. Learning from reward flips a coin, as in `thompson`. Ties go to the
lowest price.

The paper of 2012 has log(T)^c with the horizon T and proves its bound for c = 5. That of 2018 has log(t), which needs no
horizon. Both papers recommend c = 0 in practice, the default.

Regret: asymptotically sum_k Delta_k log(T) / kl(m_k, m*), the Lai-Robbins bound.

Sources: E. Kaufmann, O. Cappe, A. Garivier (2012), "On Bayesian upper confidence bounds for bandit problems", AISTATS,
PMLR 22:592-600; E. Kaufmann (2018), "On Bayesian index policies for sequential resource allocation", arXiv:1601.01190.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts.beta_law import upper_quantile
from jaxprice.policies.parts.beta_posterior import posterior_policy
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Kaufmann, Cappe and Garivier (2012)",
    regret="log T, optimal",
    feedback="Bernoulli demand, or reward",
)
def bayes_ucb(c=0.0, a=1.0, b=1.0, signal="demand"):
    """Bayes-UCB with Beta posteriors.

    Args:
      c: weight of log(log(t)), at least 0; may be traced.
      a, b: shapes of the prior, at least 1; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a negative c, shapes below 1, or an unknown signal; at `init`, demand that is not Bernoulli.
    """
    checks.number("c", c, low=0)

    def choose(key, state):
        del key
        log_t = jnp.log(jnp.maximum(state.time, 3).astype(jnp.float32))
        log_tail = -jnp.minimum(log_t + c * jnp.log(log_t), 28.0)
        return jnp.argmax(state.signal.weights * upper_quantile(state.a, state.b, log_tail))

    return posterior_policy("bayes_ucb", a, b, signal, choose)
