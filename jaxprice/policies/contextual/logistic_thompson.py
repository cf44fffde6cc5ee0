"""Logistic Thompson sampling: draw the coefficients of a logistic demand model from Laplace's approximation.

With features z_k of price p_k (`features`), sale probability sigma(z_k'theta), sigma(u) = 1 / (1 + exp(-u)), and the belief
N(m, S) about theta, for all prices together or for each, as in `logistic_model`,

    theta ~ N(m, scale^2 S),      action = argmax_k w_k sigma(z_k'theta),      w_k = p_k - c.

The first m is 0 and the first S is I / ridge. With `covariance="diagonal"` this is Algorithm 3 of Chapelle and Li with
batches of one period: S = diag(1 / q), and m moves to the minimiser of

    sum_i q_i (theta_i - m_i)^2 / 2 + n log(1 + exp(z'theta)) - y z'theta,      then   q_i <- q_i + n z_i^2 sigma'(z'm).

1 / q_i is the variance of theta_i if all others were known. If features are correlated (as x and price times x are), the
diagonal makes the draws too narrow and learning too slow. In the market S1 of `envs.glm_demand`, d = 3, ten prices, the
joint form then loses 3,600 in 20,000 periods (a random price 5,700, the full covariance 130). Hence the default is
`covariance="full"`, which keeps all of S at O(D^2) operations a period. Ties go to the lowest price.

Regret: no bound is known for the approximation; for exact posteriors it is O(D sqrt(T)) up to logarithms on average over the
prior.

Source: O. Chapelle, L. Li (2011), "An empirical evaluation of Thompson sampling".
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, features, linear_model, logistic_model, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

COVARIANCES = ("full", "diagonal")


@struct.dataclass
class Diagonal:
    """Means and precisions of independent coefficients, and rounding errors of both; float `[K, d]` or `[D]` each."""

    mean: jax.Array
    precision: jax.Array
    lost: tuple[jax.Array, jax.Array]

    def revise(self, z, sales, trials):
        """Update one vector of coefficients after a period."""
        step = z / self.precision
        u = logistic_model.mode(jnp.sum(z * self.mean), jnp.sum(z * step), sales, trials)
        long, known = self.precision >= totals.LONG, trials * logistic_model.curvature(u) * z**2
        mean, less = totals.plus(self.mean, self.lost[0], step * (sales - trials * jax.nn.sigmoid(u)), long)
        precision, rest = totals.plus(self.precision, self.lost[1], known, long)
        return Diagonal(mean, precision, (less, rest))

    def draw(self, z, form, context, scale):
        """Like `linear_model.Model.draw`."""
        if form.disjoint:
            spread = jnp.sqrt(form.apply(1 / self.precision, context**2))
            return form.apply(self.mean, context) + scale * spread * z
        return form.apply(self.mean + scale * z / jnp.sqrt(self.precision), context)


@struct.dataclass
class State:
    """The learning signal, the features of prices, and the belief about the coefficients (`Model` or `Diagonal`)."""

    signal: arms.Signal
    form: features.Features
    model: linear_model.Model | Diagonal


@policy_maker(
    source="Chapelle and Li (2011)",
    regret="D sqrt(T)",
    feedback="Bernoulli demand",
    kinds={"form": "word"},
)
def logistic_thompson(scale=1.0, ridge=1.0, covariance="full", form=None):
    """Logistic Thompson sampling.

    Args:
      scale: factor of the posterior standard deviations, above 0; may be traced.
      ridge: prior precision of the coefficients, above 0; may be traced.
      covariance: "full" or "diagonal".
      form: "disjoint", "joint" or "additive"; None: "joint", or "disjoint" if all prices are equal (`features`).

    Raises:
      ValueError: numbers out of range, an unknown covariance or form; at `init`, no price grid, no context or demand not
        Bernoulli.
    """
    checks.number("scale", scale, low=1e-6)
    checks.choice("covariance", covariance, COVARIANCES)
    features.check(form, ridge)
    revise = logistic_model.revise if covariance == "full" else Diagonal.revise

    def init(key, problem):
        del key
        described = features.describe(problem, form, "logistic_thompson")
        model = linear_model.no_data(described, ridge)
        if covariance == "diagonal":
            model = Diagonal(model.mean, jnp.full(described.shape, ridge, jnp.float32), (model.lost, model.lost))
        return State(logistic_model.learn(problem, "logistic_thompson"), described, model)

    def act(key, state, observation):
        z = linear_model.normals(key, linear_model.draws(state.form))
        logits = state.model.draw(z, state.form, state.form.context(observation), scale)
        return jnp.argmax(state.signal.weights * jax.nn.sigmoid(logits))

    def update(key, state, transition):
        del key
        z = state.form.of(state.form.context(transition.observation), transition.action)
        one = revise(state.form.pick(state.model, transition.action), z, transition.demand, state.signal.unit)
        return State(state.signal, state.form, state.form.put(state.model, transition.action, one))

    return Policy(init, act, update)
