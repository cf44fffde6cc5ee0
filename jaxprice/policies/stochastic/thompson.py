"""Thompson sampling with Beta posteriors: draw a purchase probability for every price, post the best price for the draw.

Each price has an independent Beta(a, b) prior on its purchase probability. With s_k sales and f_k refusals at price p_k,

    theta_k ~ Beta(a + s_k, b + f_k),      action = argmax_k w_k theta_k,     w_k = p_k - c.

Every buyer of a period counts as one observation. When learning from reward (`signal="reward"`), the signal x in [0, 1]
first becomes a success with probability x (Agrawal and Goyal): this is Thompson sampling for a plain bandit. The Beta draws
come from `jaxprice.samplers`, with an error of the distribution function below 1e-5.

Regret: asymptotically the Lai-Robbins bound, sum_k Delta_k log(T) / kl(m_k, m*).

Sources: W. R. Thompson (1933), doi:10.1093/biomet/25.3-4.285; S. Agrawal, N. Goyal (2012), "Analysis of Thompson sampling
for the multi-armed bandit problem", arXiv:1111.1797.
"""

from jaxprice.policies.parts import best_arm
from jaxprice.policies.parts.beta_posterior import draw_best, posterior_policy
from jaxprice.policies.registry import policy_maker


@policy_maker(source="Thompson (1933)", regret="log T, optimal", feedback="Bernoulli demand, or reward")
def thompson(a=1.0, b=1.0, signal="demand"):
    """Thompson sampling with Beta posteriors.

    Args:
      a, b: shapes of the prior, at least 1; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: shapes below 1, or an unknown signal; at `init`, demand that is not Bernoulli.
    """

    def choose(key, state):
        return draw_best(key, state.signal.weights, state.a, state.b)

    def chances(state):
        return best_arm.of_betas(state.signal.weights, state.a, state.b)

    return posterior_policy("thompson", a, b, signal, choose, chances)
