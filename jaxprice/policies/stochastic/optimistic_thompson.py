"""Optimistic Thompson sampling: a draw from the posterior, replaced by its mean if the draw is lower.

With Beta posteriors as in `thompson`,

    theta_k ~ Beta(a + s_k, b + f_k),     action = argmax_k w_k max(theta_k, m_k),     m_k = (a + s_k) / (a + b + s_k + f_k).

The value of exploration is then never negative: a low draw would make Thompson sampling avoid an arm for no reason. Every
buyer of a period counts as one observation. Learning from reward flips a coin, as in `thompson`. Ties go to the lowest
price.

Regret: O(log T) in experiments, slightly below Thompson sampling; May et al. prove convergence to the best arm. The draw of
a price below cost is not replaced.

Source: B. C. May, N. Korda, A. Lee, D. S. Leslie (2012), "Optimistic Bayesian sampling in contextual-bandit problems",
Journal of Machine Learning Research 13, 2069-2106.
"""

import jax
import jax.numpy as jnp

from jaxprice import samplers
from jaxprice.policies.parts.beta_posterior import posterior_policy
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="May, Korda, Lee and Leslie (2012)",
    regret="log T in experiments",
    feedback="Bernoulli demand, or reward",
)
def optimistic_thompson(a=1.0, b=1.0, signal="demand"):
    """Optimistic Thompson sampling with Beta posteriors.

    Args:
      a, b: shapes of the prior, at least 1; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: shapes below 1, or an unknown signal; at `init`, demand that is not Bernoulli.
    """

    def choose(key, state):
        z1, z2 = samplers.normal_pair_from_word(jax.random.bits(key, state.a.shape, jnp.uint32))
        theta = samplers.beta(z1, z2, state.a, state.b)
        return jnp.argmax(state.signal.weights * jnp.maximum(theta, state.mean))

    return posterior_policy("optimistic_thompson", a, b, signal, choose)
