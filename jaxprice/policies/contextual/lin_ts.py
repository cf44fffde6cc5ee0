"""Linear Thompson sampling: draw the coefficients of a linear demand model from their posterior, post the best price.

With features z_k of price p_k (`features`) and the regression (m, A) of the signal on them (`linear_model`), for each price
or for all together,

    theta ~ N(m, v^2 A^-1),      action = argmax_k w_k z_k'theta_k,      A = ridge / n I + sum z z',   m = A^-1 sum z y,

with n buyers a period, signals y and weights w_k as in `ucb1`, and v = scale * noise. This is the posterior for scale 1,
Gaussian noise with that standard deviation, and a prior N(0, n v^2 / ridge) on each coefficient. If the noise of the market
is Gaussian, the seller knows its standard deviation, and that is the default. Otherwise the default is 1 / (2 sqrt(n)), an
upper bound for a conversion rate of n buyers. If the noise is small, ridge should be small too, so that the prior does not
exclude the truth. With disjoint models the values z_k'theta_k are drawn, one normal for each price, which is equivalent.
Ties go to the lowest price.

Regret: O(D^(3/2) sqrt(T)) up to logarithms for v of order sqrt(D log T), as in the paper's proof (scale). In practice scale
1 works well.

Source: S. Agrawal, N. Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs", arXiv:1209.3352.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import best_arm, linear_model
from jaxprice.policies.registry import policy_maker


@policy_maker(source="Agrawal and Goyal (2013)", regret="D^(3/2) sqrt(T)", feedback="demand or reward")
def lin_ts(scale=1.0, ridge=1.0, noise=None, form="disjoint", signal="demand"):
    """Linear Thompson sampling.

    Args:
      scale: factor of the posterior standard deviations, above 0; may be traced.
      ridge: penalty on the squared coefficients, above 0; may be traced.
      noise: standard deviation of a signal, above 0; by default that of `arms.noise_of_signal`.
      form: "disjoint", "joint" or "additive", the features of a price.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: numbers out of range, an unknown form or signal; at `init`, no price grid or no context.
    """
    checks.number("scale", scale, low=1e-6)
    if noise is not None:
        checks.number("noise", noise, low=1e-6)

    def choose(key, state, context):
        z = linear_model.normals(key, linear_model.draws(state.form))
        values = state.model.draw(z, state.form, context, scale * state.noise)
        return jnp.argmax(state.signal.weights * values)

    def chances(state, context):
        weights, std = state.signal.weights, scale * state.noise * state.model.std(state.form, context)
        return best_arm.of_normals(weights * state.model.predict(state.form, context), jnp.abs(weights) * std)

    law = chances if form == "disjoint" else None  # otherwise all prices share one draw
    return linear_model.linear_policy("lin_ts", form, ridge, signal, choose, noise, each=True, chances=law)
