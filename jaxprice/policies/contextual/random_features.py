"""Kernel regression by random Fourier features: linear UCB or Thompson sampling on cosines of the context and the price.

Inputs are z_k = (context, price k / highest price), or the context alone in the form "disjoint". Frequencies omega_i ~ N(0,
I / bandwidth^2) and phases b_i ~ U[0, 2 pi] are drawn once, with the key of `init`. The features are

    phi_i(z) = sqrt(2 / D) cos(omega_i'z + b_i),      i = 1, ..., D,

As D grows, phi(z)'phi(z') converges to exp(-|z - z'|^2 / (2 bandwidth^2)), with an error of order 1 / sqrt(D). Ridge
regression of the signal on the features (`linear_model`), for all prices together, has A = ridge I + sum phi phi' and m =
A^-1 sum phi y. It approximates Gaussian process regression with that kernel and noise variance ridge. In the form
"disjoint", for arms of equal price, each arm has its own regression. The policy posts the first price with the largest

| method | index |
|---|---|
| "ucb" | w_k (phi_k'm + scale sqrt(phi_k' A^-1 phi_k)) |
| "thompson" | w_k phi_k'theta, theta ~ N(m, scale^2 A^-1), one draw for all prices |

with signals y and weights w_k as in `ucb1`. Nearby prices and similar buyers share data, and demand need not be linear in
anything. A period costs a few products of D^2, with "ucb" one for each price; the state is D^2 floats.

Regret: sqrt(T) up to logarithms if demand is linear in the features (as for `lin_ucb` and `lin_ts`); for the kernel itself,
O(gamma sqrt(T)) with gamma its information gain, a power of log T (Chowdhury and Gopalan). With fixed D the approximation
adds a linear part with a small factor.

Sources: A. Rahimi, B. Recht (2007), "Random features for large-scale kernel machines", NIPS; S. R. Chowdhury, A. Gopalan
(2017), "On kernelized multi-armed bandits", arXiv:1704.00445.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, features, linear_model
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

METHODS = ("ucb", "thompson")


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      signal: the learning signal.
      form: prices and context; in the form "disjoint" the features are those of the context.
      frequencies: float `[d + 1, D]`, or `[d, D]` in the form "disjoint".
      phases: float `[D]`.
      model: ridge regression on the features.
    """

    signal: arms.Signal
    form: features.Features
    frequencies: jax.Array
    phases: jax.Array
    model: linear_model.Model

    def map(self, context, level=None):
        """Features of a price in units of the highest, or of the context alone, float `[D]`."""
        angles = features.total(context, self.frequencies[: self.form.size])
        if level is not None:
            angles = angles + level * self.frequencies[-1]
        angles = angles + self.phases
        return math.sqrt(2 / self.phases.shape[0]) * jnp.cos(angles)


@policy_maker(
    source="Rahimi and Recht (2007)",
    regret="sqrt(T) in the features",
    feedback="demand or reward",
    kinds={"form": "word"},
)
def random_features(method="thompson", size=32, bandwidth=1.0, scale=0.5, ridge=0.25, signal="demand", form=None):
    """Linear UCB or Thompson sampling on random Fourier features.

    Args:
      method: "ucb" or "thompson".
      size: number D of features.
      bandwidth: distance over which demand varies, in units of contexts and of the highest price, above 0; may be traced, as
        may `scale` and `ridge`.
      scale: width of the bound, or factor of the posterior standard deviation. The exact posterior has the standard
        deviation of the noise here, at most 1/2 for a conversion rate.
      ridge: penalty on the squared coefficients, above 0; scale^2 for a prior variance of one.
      signal: "demand" or "reward", the learning signal.
      form: "additive", the price is an input, or "disjoint", each arm has its own regression; None: "additive", or
        "disjoint" if all prices are equal (`features`).

    Raises:
      ValueError: an unknown method, form or signal, numbers out of range; at `init`, no price grid or no context.
    """
    checks.choice("method", method, METHODS)
    checks.positive_int("size", size)
    checks.number("bandwidth", bandwidth, low=1e-6)
    checks.number("scale", scale, low=0)
    checks.number("ridge", ridge, low=1e-6)
    if form is not None:
        checks.choice("form", form, ("additive", "disjoint"))
    arms.check_signal(signal)

    def init(key, problem):
        told = features.describe(problem, form, "random_features", usual="additive")
        words = jax.random.bits(key, (told.size + (1 if told.disjoint else 2), size), jnp.uint32)
        return State(
            arms.learn(problem, signal, "random_features"),
            told,
            samplers.normal(words[:-1]) / jnp.asarray(bandwidth, jnp.float32),
            2 * jnp.float32(math.pi) * samplers.uniform(words[-1]),
            linear_model.no_data(dataclasses.replace(told, size=size if told.disjoint else size - 1), ridge),
        )

    def act(key, state, observation):
        model, context = state.model, state.form.context(observation)
        if state.form.disjoint:
            own, phi = state.form.replace(size=size), state.map(context)
            if method == "ucb":
                return jnp.argmax(state.signal.weights * (model.predict(own, phi) + scale * model.std(own, phi)))
            z = linear_model.normals(key, linear_model.draws(own))
            return jnp.argmax(state.signal.weights * model.draw(z, own, phi, scale))
        rows = jax.vmap(state.map, (None, 0))(context, state.form.levels)
        if method == "thompson":
            theta = model.mean + scale * features.total(linear_model.normals(key, (size,)), model.factor.T)
            return jnp.argmax(state.signal.weights * jnp.sum(rows * theta[None], axis=1))
        reach = jnp.sum(rows[:, :, None] * model.factor[None], axis=1)
        bound = jnp.sum(rows * model.mean[None], axis=1) + scale * jnp.sqrt(features.squared_norm(reach))
        return jnp.argmax(state.signal.weights * bound)

    def update(key, state, transition):
        del key
        level = None if state.form.disjoint else state.form.levels[transition.action]
        phi = state.map(state.form.context(transition.observation), level)
        one, _ = state.form.pick(state.model, transition.action).revise(phi, state.signal.of(transition))
        return state.replace(model=state.form.put(state.model, transition.action, one))

    return Policy(init, act, update)
