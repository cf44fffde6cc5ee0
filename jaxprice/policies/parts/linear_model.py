"""Bayesian linear regression of the signal of a price on its features, one observation at a time.

A model is a mean m and a factor F of the covariance, F F' = S, for each vector of coefficients (`features`). With a prior
N(0, 1 / ridge) on each coefficient and observations of unit variance, S = A^-1 with A = ridge I + sum z z', and
m = A^-1 sum z y: ridge regression. An observation (z, y) of weight w updates, with f = F'z, g = F f, r = 1 + w f'f,

    m <- m + g w (y - z'm) / r,          F <- F - g f' w / (r + sqrt(r)),

the rank-one update of Sherman and Morrison, S <- S - w g g' / r, applied to a square root. It takes three products of D^2,
no loop and no solve. S = F F' stays positive definite in spite of rounding, and small variances keep all their digits. F is
a square matrix, not a triangle. Only the model of the posted price changes: K disjoint models are K d (d + 1) floats.

Sources: J. Sherman, W. J. Morrison (1950), doi:10.1214/aoms/1177729893; J. E. Potter (1963), the square root filter, as in
G. J. Bierman (1977), "Factorization methods for discrete sequential estimation".
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Float32, Int, Key, Num

from jaxprice import samplers
from jaxprice.policies.parts import arms, features, totals
from jaxprice.policies.parts.features import contract, squared_norm, total
from jaxprice.types import Policy


@struct.dataclass
class Model:
    """Means and factors of the covariance.

    The shapes are float `[D]` and `[D, D]` for one vector of coefficients, and `[K, d]` and `[K, d, d]` for one vector a
    price. The methods for one vector accept further axes of models at the end, `[D, ...]` and `[D, D, ...]`, with weights
    `[...]`. `lost` is the rounding error of the means (`totals`), because steps shrink as observations grow in number; None:
    not kept.
    """

    mean: Float[Array, "..."]
    factor: Float[Array, "..."]
    lost: Any = None

    def revise(
        self, z: Num[Array, " D"], target: Num[Array, "..."], weight: Num[Array, "..."] | float = 1.0
    ) -> tuple["Model", Float[Array, "..."]]:
        """Update one vector of coefficients by an observation with a weight: `(model, surprise)`.

        The surprise is the squared forecast error divided by its variance in units of the noise, (y - z'm)^2 / r.
        """
        f, g, r = self.gain(z, weight)
        error = target - total(z, self.mean)
        mean, lost = self.move(g * (weight * error / r)[None], r)
        return Model(mean, self.shrink(f, g, r, weight), lost), error**2 / r

    def move(self, step: Float[Array, "..."], r: Float[Array, "..."]) -> tuple[Float[Array, "..."], Any]:
        """The mean after a step, and its rounding error; r is as in `gain`."""
        if self.lost is None:
            return self.mean + step, None
        return totals.plus(self.mean, self.lost, step, ((r - 1) * totals.LONG < 1)[None])

    def gain(
        self, z: Num[Array, " D"], weight: Num[Array, "..."] | float = 1.0
    ) -> tuple[Float[Array, "D ..."], Float[Array, "D ..."], Float[Array, "..."]]:
        """f = F'z and g = S z, float `[D]` each, and r = 1 + weight f'f."""
        f = total(z, self.factor)
        g = jnp.sum(f[:, None] * jnp.swapaxes(self.factor, 0, 1), axis=0)
        return f, g, 1 + weight * jnp.sum(f * f, axis=0)

    def shrink(
        self, f: Float[Array, "D ..."], g: Float[Array, "D ..."], r: Float[Array, "..."], weight: Num[Array, "..."] | float
    ) -> Float[Array, "D D ..."]:
        """The factor after an observation with the direction from `gain`."""
        return self.factor - g[:, None] * (f * (weight / (r + jnp.sqrt(r)))[None])[None, :]

    def predict(self, form: features.Features, context: Num[Array, " d"]) -> Float[Array, "num_prices ..."]:
        """Mean signal of each price, float `[K]`."""
        return form.apply(self.mean, context)

    def std(self, form: features.Features, context: Num[Array, " d"]) -> Float[Array, "num_prices ..."]:
        """Standard deviation sqrt(z_k' S z_k) of each price, float `[K]`."""
        return jnp.sqrt(squared_norm(form.apply(self.factor, context)))

    def draw(
        self,
        z: Float[Array, " n"],
        form: features.Features,
        context: Num[Array, " d"],
        scale: Num[ArrayLike, "..."],
    ) -> Float[Array, " num_prices"]:
        """Value of each price for coefficients drawn from N(m, scale^2 S), float `[K]`; the scale may be `[K]`.

        Only z_k'theta_k matters. For disjoint models these are independent normals, one for each price, and no vector is
        drawn; otherwise all prices share one draw of D normals. `z` are standard normals of the shape that `draws` returns.
        """
        mean = self.predict(form, context)
        if form.disjoint:
            return mean + scale * self.std(form, context) * z
        return mean + scale * form.apply(contract(z, self.factor, axis=1), context)


def draws(form: features.Features) -> tuple[int, ...]:
    """Shape of the normals for `Model.draw`: one for each price if disjoint, otherwise one for each coefficient."""
    return form.shape[:1]


def normals(key: Key[Array, ""], shape: tuple[int, ...]) -> Float32[Array, "..."]:
    """Independent standard normals, float `[*shape]`."""
    return samplers.normal(jax.random.bits(key, shape, jnp.uint32))


def no_data(form: features.Features, ridge: ArrayLike) -> Model:
    """The `Model` before the first observation: N(0, 1 / ridge) for each coefficient."""
    size = form.shape[-1]
    factor = jnp.eye(size, dtype=jnp.float32) / jnp.sqrt(jnp.asarray(ridge, jnp.float32))
    zeros = jnp.zeros(form.shape, jnp.float32)
    return Model(zeros, jnp.broadcast_to(factor, (*form.shape, size)), zeros)


@struct.dataclass
class State:
    """State of a policy that decides by a linear model.

    Attributes:
      time: number of the next period, from 1, int scalar.
      noise: standard deviation of a signal, float scalar, for policies that draw.
      signal: the learning signal.
      form: features of the prices.
      model: the fitted model.
    """

    time: Int[Array, ""]
    noise: Float[Array, ""]
    signal: arms.Signal
    form: features.Features
    model: Model


def linear_policy(
    name: str,
    form: str,
    ridge: ArrayLike,
    signal: str,
    choose: Callable,
    noise: Num[Array, ""] | float | None = None,
    each: bool = False,
    chances: Callable | None = None,
) -> Policy:
    """Build a policy that keeps a linear model of the signal and plays the action that `choose` returns.

    Args:
      name: name of the policy, for error messages.
      form: "disjoint", "joint" or "additive".
      ridge: penalty on the squared coefficients, above 0.
      signal: "demand" or "reward".
      choose: `(key, state, context) -> action`.
      noise: standard deviation of a signal; by default that of `arms.noise_of_signal`.
      chances: `(state, context) -> probabilities` of that action, float `[num_prices]`; None where no formula is known.
      each: whether every buyer of a period is one observation, which gives the penalty less weight relative to a period.

    Raises:
      ValueError: a bad form, ridge or signal; at `init`, a market without a price grid or without a context.
    """
    features.check(form, ridge)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        described = features.describe(problem, form, name)
        deviation, learned = arms.noise_of_signal(problem, noise), arms.learn(problem, signal, name)
        return State(
            jnp.int32(1), deviation, learned, described, no_data(described, ridge / problem.buyers if each else ridge)
        )

    def act(key, state, observation):
        return choose(key, state, state.form.context(observation))

    def update(key, state, transition):
        del key
        z = state.form.of(state.form.context(transition.observation), transition.action)
        one = state.form.pick(state.model, transition.action)
        one, _ = one.revise(z, state.signal.of(transition))
        model = state.form.put(state.model, transition.action, one)
        return State(state.time + 1, state.noise, state.signal, state.form, model)

    if chances is None:
        return Policy(init, act, update)
    return Policy(init, act, update, lambda state, observation: chances(state, state.form.context(observation)))
