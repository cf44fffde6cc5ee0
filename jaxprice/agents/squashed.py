"""Squashed Gaussian: the law of an action in [-1, 1]^d whose inverse hyperbolic tangent is normal.

With mean m, standard deviation s and a standard normal e, all `[d]`,

    u = m + s e,    a = tanh(u),    log p(a) = sum_i (log n(u_i; m_i, s_i) - log(1 - a_i^2)),

where n is the normal density. The last term is the change of variables. It is computed as

    log(1 - tanh(u)^2) = 2 (log 2 - u - log(1 + exp(-2 u))),

which stays exact where tanh(u) rounds to one. tanh(m) is the median of each entry.

Source: T. Haarnoja et al. (2018), "Soft actor-critic algorithms and applications", arXiv:1812.05905, appendix C.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float

NARROWEST, WIDEST = -8.0, 2.0  # of the logarithm of the standard deviation
EDGE = 1 - 1e-6  # largest action whose inverse tangent is taken


@struct.dataclass
class Law:
    """A squashed Gaussian.

    Attributes:
      mean: of the normal number, float `[..., d]`.
      log_std: logarithm of its standard deviation, float `[..., d]`.
    """

    mean: jax.Array
    log_std: jax.Array

    @property
    def middle(self):
        """The median of each entry, float `[..., d]`."""
        return jnp.tanh(self.mean)


def draw(law: Law, noise: Float[Array, "*n d"]) -> tuple[Float[Array, "*n d"], Float[Array, "*n"]]:
    """Actions from standard normal numbers, and the logarithm of their densities; both with gradients in the law."""
    u = law.mean + jnp.exp(law.log_std) * noise
    normal = -0.5 * (noise**2 + math.log(2 * math.pi)) - law.log_std
    return jnp.tanh(u), jnp.sum(normal - _slope(u), axis=-1)


def density(law: Law, action: Float[Array, "*n d"]) -> Float[Array, "*n"]:
    """The density of actions; zero outside [-1, 1]."""
    u = jnp.arctanh(jnp.clip(action, -EDGE, EDGE))
    normal = -0.5 * (((u - law.mean) / jnp.exp(law.log_std)) ** 2 + math.log(2 * math.pi)) - law.log_std
    inside = jnp.all(jnp.abs(action) <= 1, axis=-1)
    return jnp.where(inside, jnp.exp(jnp.sum(normal - _slope(u), axis=-1)), 0.0)


def _slope(u):
    """log(1 - tanh(u)^2)."""
    return 2 * (math.log(2) - u - jax.nn.softplus(-2 * u))
