"""Bootstrap Thompson sampling: replicates of a ridge regression with independent random weights; one is drawn in each
period.

Replicate j of B gives every sale a random weight W, and starts from its own artificial data:

    weights:   "double" (double or nothing): W = 0 or 2, equally likely;   "poisson": W ~ Poisson(1);
    m_j minimises   sum_t W_jt (y_t - z_t'm)^2 + ridge |m - e_j|^2,      e_j ~ N(0, (spread / sqrt(ridge))^2 I).

In each period one replicate is drawn uniformly, and the price is argmax_k w_k z_k'm_j, with features z_k of price p_k
(`features`), regressions as in `linear_model`, for each price or for all together, and signals y and weights w_k as in
`ucb1`. Ties go to the lowest price. The spread of the replicates replaces the posterior, and adapts to noise of any kind.
Without artificial data (spread 0) all replicates start equal, and a price that fails at first may never be tried again
(Osband and Van Roy); a small B has the same weakness later. B disjoint models of K prices are B K d (d + 1) floats.

Regret: no bound is known for finitely many replicates; in practice it is close to that of Thompson sampling.

Sources: D. Eckles, M. Kaptein (2014), "Thompson sampling with the online bootstrap", arXiv:1410.4009; I. Osband, B. Van Roy
(2015), "Bootstrapped Thompson sampling and deep exploration", arXiv:1507.00300.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, features, linear_model
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

POISSON = np.cumsum([np.exp(-1) / np.prod(np.arange(1.0, k + 1)) for k in range(9)]).astype(np.float32)  # P(W <= k)


@struct.dataclass
class State:
    """The learning signal, the features of prices, and the replicates, on the last axis of the model."""

    signal: arms.Signal
    form: features.Features
    model: linear_model.Model


@policy_maker(source="Eckles and Kaptein (2014)", feedback="demand or reward")
def bootstrapped(replicates=10, weights="double", spread=0.5, ridge=1.0, form="disjoint", signal="demand"):
    """Bootstrap Thompson sampling with ridge regressions.

    Args:
      replicates: number B of replicates.
      weights: "double" or "poisson".
      spread: prior standard deviation of a coefficient for ridge 1, at least 0; may be traced, as may `ridge`.
      ridge: penalty on the squared coefficients, above 0.
      form: "disjoint", "joint" or "additive", the features of a price.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: options out of range or unknown; at `init`, no price grid or no context.
    """
    checks.positive_int("replicates", replicates)
    checks.choice("weights", weights, ("double", "poisson"))
    checks.number("spread", spread, low=0)
    features.check(form, ridge)
    arms.check_signal(signal)

    def init(key, problem):
        described = features.describe(problem, form, "bootstrapped")
        start = linear_model.no_data(described, ridge)
        scale = spread / jnp.sqrt(jnp.asarray(ridge, jnp.float32))
        mean = scale * linear_model.normals(key, (*start.mean.shape, replicates))
        factor = jnp.broadcast_to(start.factor[..., None], (*start.factor.shape, replicates))
        model = linear_model.Model(mean, factor, jnp.zeros_like(mean))
        return State(arms.learn(problem, signal, "bootstrapped"), described, model)

    def act(key, state, observation):
        which = jnp.floor(samplers.uniform(jax.random.bits(key, (), jnp.uint32)) * replicates).astype(jnp.int32)
        values = state.model.predict(state.form, state.form.context(observation))
        return jnp.argmax(state.signal.weights * values.T[which])

    def update(key, state, transition):
        action, words = transition.action, jax.random.bits(key, (replicates,), jnp.uint32)
        if weights == "double":
            counted = jnp.where(words >> 31 == 0, 0.0, 2.0).astype(jnp.float32)
        else:
            counted = jnp.sum((samplers.uniform(words)[None, :] >= POISSON[:, None]).astype(jnp.float32), axis=0)
        z = state.form.of(state.form.context(transition.observation), action)
        one, _ = state.form.pick(state.model, action).revise(z, state.signal.of(transition), counted)
        return State(state.signal, state.form, state.form.put(state.model, action, one))

    return Policy(init, act, update)
