"""What an off-policy estimator returns: a value, one term for each decision, and the influence of each decision.

An estimator maps a log of `n` independent decisions (or selling horizons) to a value `v`. Its linearisation is

    v = truth + (1/n) sum_i phi_i + remainder,      so      se^2 = sum_i (phi_i - mean phi)^2 / (n (n - 1)),

where `phi_i` is the influence of decision `i`. For a mean of terms the influence is the term minus the mean. For a ratio of
means, such as a self-normalised estimator, it is that of the delta method. For an estimator that is computed by recursion
or by regression, the influence is `n` times the derivative of the value in the weight of decision `i`, at equal weights: the
infinitesimal jackknife, by automatic differentiation.

Sources: Hampel (1974), The influence curve and its role in robust estimation, JASA 69, 383-393,
doi:10.1080/01621459.1974.10482962. Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6,
doi:10.1137/1.9781611970319.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float


@struct.dataclass
class Estimate:
    """The value of a policy, estimated from logs. The axis `n` counts decisions, or selling horizons.

    Attributes:
      value: mean reward of a decision (or of a horizon) under the target policy, float `[...]`.
      terms: one number for each decision, with mean `value`, float `[..., n]`.
      influence: what each decision contributes to the error, with mean zero, float `[..., n]`.
      independent: whether a term depends on its own decision alone, so that bounds for means of bounded terms apply.
    """

    value: Float[Array, "..."]
    terms: Float[Array, "... n"]
    influence: Float[Array, "... n"]
    independent: bool = struct.field(pytree_node=False, default=True)

    @property
    def se(self) -> Float[Array, "..."]:
        """Standard error of the value, `[...]`; NaN if there is only one decision."""
        count = self.influence.shape[-1]
        squares = jnp.sum(jnp.square(self.influence), axis=-1)
        return jnp.sqrt(squares / (count * (count - 1))) if count > 1 else jnp.full_like(squares, jnp.nan)


def mean(terms: Float[Array, "... n"]) -> Estimate:
    """The estimate that is the mean of independent terms."""
    value = jnp.mean(terms, axis=-1)
    return Estimate(value, terms, terms - value[..., None])


def ratio(
    numerator: Float[Array, "... n"], denominator: Float[Array, "... n"], shift: Float[Array, "... n"] | None = None
) -> Estimate:
    """The estimate `mean(shift) + mean(numerator) / mean(denominator)`; NaN if the denominators sum to 0."""
    below = jnp.mean(denominator, axis=-1, keepdims=True)
    value = jnp.mean(numerator, axis=-1, keepdims=True) / below
    terms, influence = numerator / below, (numerator - value * denominator) / below
    if shift is not None:
        level = jnp.mean(shift, axis=-1, keepdims=True)
        value, terms, influence = value + level, terms + shift, influence + shift - level
    return Estimate(value[..., 0], terms, influence, independent=False)


def by_gradient(value: Callable[[Array], Array], weights: Float[Array, "... n"]) -> Estimate:
    """The estimate of a function of the weights of the decisions, by the infinitesimal jackknife.

    Args:
      value: maps weights `[..., n]` to values `[...]`; a log's value depends on its own weights only, and not on their sum.
      weights: ones, `[..., n]`.
    """
    at, pull = jax.vjp(value, weights)
    influence = weights.shape[-1] * pull(jnp.ones_like(at))[0]
    influence = influence - jnp.mean(influence, axis=-1, keepdims=True)
    return Estimate(at, at[..., None] + influence, influence, independent=False)
