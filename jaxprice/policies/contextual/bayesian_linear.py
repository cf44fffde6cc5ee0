"""Thompson sampling with Bayesian linear regression and unknown noise: normal-inverse-gamma posteriors.

With features z_k of price p_k (`features`), the model of the signal y, for each price or for all together, is

    y = z'theta + e,   e ~ N(0, s^2),      theta | s^2 ~ N(0, s^2 / ridge),      s^2 ~ inverse gamma(a, b),

The posterior after n observations is that of ridge regression (m, A), `linear_model`, with

    theta | s^2 ~ N(m, s^2 A^-1),      s^2 ~ inverse gamma(a + n / 2, b + (sum y^2 - m'A m) / 2).

The last sum grows by (y - z'm)^2 / (1 + z'A^-1 z), with m and A from before the observation, so it is never computed as a
difference. The policy draws s^2, then theta, and posts argmax_k w_k z_k'theta_k, with signals and weights as in `ucb1`. With
disjoint models each price has its own noise, and z_k'theta_k is drawn, which is equivalent. Ties go to the lowest price.

Riquelme et al. use a = b = 6 and ridge 1/4 for rewards of order one. Here b = (a - 1) / 4, which gives the noise variance a
prior mean of 1/4, the largest value for a conversion rate.

Regret: no bound is known for unknown noise; with known noise it is that of `lin_ts`.

Source: C. Riquelme, G. Tucker, J. Snoek (2018), "Deep Bayesian bandits showdown", arXiv:1802.09127 (LinFull).
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, features, linear_model, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class Noise:
    """Shape and scale of the inverse gamma distribution of the variance, float `[K]` if models are disjoint, otherwise
    scalars.

    Both are growing sums; `lost` are their rounding errors (`totals`).
    """

    a: jax.Array
    b: jax.Array
    lost: tuple[jax.Array, jax.Array]

    def add(self, surprise):
        """The distribution after one more observation."""
        long = self.a >= totals.LONG
        a, less = totals.plus(self.a, self.lost[0], 0.5, long)
        b, rest = totals.plus(self.b, self.lost[1], 0.5 * surprise, long)
        return Noise(a, b, (less, rest))


@struct.dataclass
class State:
    """The learning signal, the features of prices, the regression and the noise."""

    signal: arms.Signal
    form: features.Features
    model: linear_model.Model
    noise: Noise


@policy_maker(source="Riquelme, Tucker and Snoek (2018)", feedback="demand or reward")
def bayesian_linear(a=6.0, b=1.25, ridge=0.25, form="disjoint", signal="demand"):
    """Thompson sampling with normal-inverse-gamma posteriors.

    Args:
      a, b: shape (at least 1) and scale (above 0) of the prior of the noise variance; may be traced, as may `ridge`.
      ridge: penalty on the squared coefficients, above 0: the prior precision in units of the noise's.
      form: "disjoint", "joint" or "additive", the features of a price.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: numbers out of range, an unknown form or signal; at `init`, no price grid or no context.
    """
    checks.number("a", a, low=1)
    checks.number("b", b, low=1e-9)
    features.check(form, ridge)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        described = features.describe(problem, form, "bayesian_linear")
        learned = arms.learn(problem, signal, "bayesian_linear")
        nothing = jnp.zeros(described.shape[:-1], jnp.float32)
        noise = Noise(nothing + a, nothing + b, (nothing, nothing))
        return State(learned, described, linear_model.no_data(described, ridge), noise)

    def act(key, state, observation):
        words = jax.random.bits(key, linear_model.draws(state.form), jnp.uint32)
        z, for_noise = samplers.normal_pair_from_word(words)
        for_noise = for_noise if state.form.disjoint else for_noise[0]
        std = jnp.sqrt(state.noise.b / samplers.gamma(for_noise, state.noise.a))
        values = state.model.draw(z, state.form, state.form.context(observation), std)
        return jnp.argmax(state.signal.weights * values)

    def update(key, state, transition):
        del key
        action = transition.action
        z = state.form.of(state.form.context(transition.observation), action)
        model, noise = state.form.pick((state.model, state.noise), action)
        model, surprise = model.revise(z, state.signal.of(transition))
        new = model, noise.add(surprise)
        return State(state.signal, state.form, *state.form.put((state.model, state.noise), action, new))

    return Policy(init, act, update)
