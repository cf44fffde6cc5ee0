"""LinUCB: ridge regression of demand on the buyer's features, and the price with the largest upper confidence bound.

With features z_k of price p_k (`features`) and a ridge regression of the signal on them (`linear_model`), for each price or
for all together, the policy posts the first price with the largest

    w_k (z_k'm_k + alpha sqrt(z_k' A_k^-1 z_k)),        A_k = ridge I + sum z z',   m_k = A_k^-1 sum z y,

with signals y and weights w_k as in `ucb1`: when learning from demand, the bonus is scaled by the price. The disjoint form
with equal weights is Algorithm 1 of Li et al. (ridge 1). If the context is the constant 1, it is UCB with means S / (n +
ridge) and bonuses alpha / sqrt(n + ridge). With `clip`, bounds on a conversion rate are clipped at 1.

alpha is a constant, as in the paper, where it is 1 + sqrt(log(2 / delta) / 2). In the uniform bound of Abbasi-Yadkori, Pal
and Szepesvari it grows as sqrt(D log t). Ties go to the lowest price.

Regret: O(D sqrt(T)) up to logarithms with alpha from that bound, and O(sqrt(D T)) for a variant with independent samples
(Chu et al.). If demand is not linear in the features, it is linear in T with a small factor.

Sources: L. Li, W. Chu, J. Langford, R. E. Schapire (2010), "A contextual-bandit approach to personalized news article
recommendation", arXiv:1003.0146; W. Chu, L. Li, L. Reyzin, R. E. Schapire (2011), "Contextual bandits with linear payoff
functions"; Y. Abbasi-Yadkori, D. Pal, C. Szepesvari (2011), "Improved algorithms for linear stochastic bandits".
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import linear_model
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Li, Chu, Langford and Schapire (2010)",
    regret="D sqrt(T)",
    feedback="demand or reward",
)
def lin_ucb(alpha=1.0, ridge=1.0, form="disjoint", clip=False, signal="demand"):
    """LinUCB.

    Args:
      alpha: width of the confidence bound, at least 0; may be traced.
      ridge: penalty on the squared coefficients, above 0; may be traced.
      form: "disjoint", "joint" or "additive", the features of a price.
      clip: whether to clip bounds on the signal at 1.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: numbers out of range, an unknown form or signal; at `init`, no price grid or no context.
    """
    checks.number("alpha", alpha, low=0)

    def choose(key, state, context):
        del key
        bound = state.model.predict(state.form, context) + alpha * state.model.std(state.form, context)
        return jnp.argmax(state.signal.weights * (jnp.minimum(bound, 1.0) if clip else bound))

    return linear_model.linear_policy("lin_ucb", form, ridge, signal, choose)
