"""GLM-UCB: logistic regression of sales on the buyer's features, and the price with the largest upper confidence bound.

With features z_k of price p_k (`features`), sale probability sigma(z_k'theta), sigma(u) = 1 / (1 + exp(-u)), and the
estimate (m, H) of `logistic_model`, for all prices together or for each, the policy posts the first price with the largest

    w_k sigma(z_k'm + alpha sqrt(z_k' H^-1 z_k)),        H = ridge I + sum sigma'(z'm) z z',      w_k = p_k - c.

Departures: (1) The papers compute the maximum likelihood estimate on all data in every period; here the estimate is updated
sequentially, at O(D^2) operations. (2) Optimism is on the logit, as in Li, Lu and Zhou, so that no bound on a probability
exceeds 1; Filippi et al. add the bonus to the mean. (3) The norm is that of the information H, for which the standard error
of the logit is one; the papers use sum z z' and a factor 1 / min sigma' (Faury et al.). (4) ridge replaces the initial
random periods. alpha is a constant, while in the proofs it grows as sqrt(D log t). Ties go to the lowest price.

Regret: O(D sqrt(T)) up to logarithms.

Sources: S. Filippi, O. Cappe, A. Garivier, C. Szepesvari (2010), "Parametric bandits: the generalized linear case"; L. Li,
Y. Lu, D. Zhou (2017), "Provably optimal algorithms for generalized linear contextual bandits", arXiv:1703.00048; L. Faury,
M. Abeille, C. Calauzenes, O. Fercoq (2020), "Improved optimistic algorithms for logistic bandits", arXiv:2002.07530.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, features, linear_model, logistic_model
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The learning signal, the features of prices, the estimate."""

    signal: arms.Signal
    form: features.Features
    model: linear_model.Model


@policy_maker(
    source="Filippi, Cappe, Garivier and Szepesvari (2010)",
    regret="D sqrt(T)",
    feedback="Bernoulli demand",
    kinds={"form": "word"},
)
def glm_ucb(alpha=1.0, ridge=1.0, form=None):
    """GLM-UCB with the logistic link.

    Args:
      alpha: width of the confidence bound in standard errors of the logit, at least 0; may be traced.
      ridge: penalty on the squared coefficients, above 0; may be traced.
      form: "disjoint", "joint" or "additive"; None: "joint", or "disjoint" if all prices are equal (`features`).

    Raises:
      ValueError: numbers out of range, an unknown form; at `init`, no price grid, no context or demand not Bernoulli.
    """
    checks.number("alpha", alpha, low=0)
    features.check(form, ridge)

    def init(key, problem):
        del key
        described = features.describe(problem, form, "glm_ucb")
        return State(logistic_model.learn(problem, "glm_ucb"), described, linear_model.no_data(described, ridge))

    def act(key, state, observation):
        del key
        context = state.form.context(observation)
        bound = state.model.predict(state.form, context) + alpha * state.model.std(state.form, context)
        return jnp.argmax(state.signal.weights * jax.nn.sigmoid(bound))

    def update(key, state, transition):
        del key
        z = state.form.of(state.form.context(transition.observation), transition.action)
        one = state.form.pick(state.model, transition.action)
        one = logistic_model.revise(one, z, transition.demand, state.signal.unit)
        return State(state.signal, state.form, state.form.put(state.model, transition.action, one))

    return Policy(init, act, update)
