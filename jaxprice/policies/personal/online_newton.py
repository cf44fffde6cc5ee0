"""Online Newton steps on the likelihood of sales, within a ball.

With features z, surplus w = z'theta - o and c = 1 for a sale, -1 for a refusal, the gradient of minus the log likelihood is
- c m(c w) z (`sale_likelihood`). With A = start I + the sum of outer products of the gradients,

    theta <- Proj^A( theta + rate c m(c w) A^-1 z ),        Proj^A(y) = argmin over ||x|| <= radius of (x - y)' A (x - y).

A includes the product of the present gradient. The state has A^-1 = F F', with a rank-one update of F (`linear_model`).

The projection is x = (I + l A^-1)^-1 y with the multiplier l >= 0 for which ||x|| = radius. Newton's method on 1 / radius -
1 / ||x(l)||, which is convex and decreasing, increases to it from l = 0 and never overshoots. It stops when ||x|| equals the
radius to five digits, or to three if the eigenvalues of A^-1 are so far apart that l exceeds 1e4 and only rounding is left.
It takes three to eight rounds, each with an inverse by D rank-one steps. Rounds happen only in periods in which y is outside
the ball in at least one lane. With projection "euclidean", y is shortened: this is cheaper, but not the projection of the
theory.

Sources: E. Hazan, A. Agarwal, S. Kale (2007), "Logarithmic regret algorithms for online convex optimization",
doi:10.1007/s10994-007-5016-8; J. J. More, D. C. Sorensen (1983), "Computing a trust region step", doi:10.1137/0904038.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from jaxprice import checks, linear
from jaxprice.policies.parts import rounds
from jaxprice.policies.parts.features import total
from jaxprice.policies.parts.linear_model import Model
from jaxprice.policies.personal import sale_likelihood
from jaxprice.policies.personal.bounded_mle import onto_ball

PROJECTIONS = ("exact", "euclidean")
ROUNDS = 12  # largest number of rounds
CLOSE = 1e-5  # tolerance for the norm of x, relative to the radius


def check(rate: Any, start: Any, radius: Any, projection: str) -> None:
    """Raise if an option is invalid.

    Raises:
      ValueError: a rate, start or radius is not positive (a radius of None is valid), or the projection is unknown.
    """
    for name, value in (("rate", rate), ("start", start)):
        checks.number(name, value, low=1e-6)
    if radius is not None:
        checks.number("radius", radius, low=1e-30)
    checks.choice("projection", projection, PROJECTIONS)


def before(theta: Num[Array, " D"], start: Num[ArrayLike, ""]) -> Model:
    """The `Model` before the first sale: theta `[D]` and A = start I."""
    factor = jnp.eye(theta.shape[0], dtype=jnp.float32) / jnp.sqrt(jnp.asarray(start, jnp.float32))
    theta = jnp.asarray(theta, jnp.float32)
    return Model(theta, factor, jnp.zeros_like(theta))


def step(
    model: Model,
    law: str,
    z: Float[Array, " D"],
    offset: Num[ArrayLike, ""],
    sale: Num[Array, ""],
    rate: Any,
    radius: Num[ArrayLike, ""],
    projection: str,
) -> Model:
    """The `Model` after one sale or refusal."""
    c = sale_likelihood.sign(sale)
    m, _ = sale_likelihood.score(law, c * (total(z, model.mean) - offset))
    f, g, r = model.gain(z, m * m)
    factor = model.shrink(f, g, r, m * m)
    theta, lost = model.move((rate * c * m / r) * g, r)
    if projection == "exact":
        theta = project(theta, factor, radius)
    return Model(onto_ball(theta, radius, "l2"), factor, lost)


def project(y: Float[Array, " D"], factor: Float[Array, "D D"], radius: Num[ArrayLike, ""]) -> Float[Array, " D"]:
    """Proj^A(y), float `[D]`, for A^-1 = F F'; see the module."""

    def outside(carry):
        made, _, _, excess = carry
        return (made < ROUNDS) & ((excess > CLOSE) | ((made > 0) & (excess < -CLOSE)))

    def climb(carry, given):
        made, multiplier, _, _ = carry
        y, factor, radius = given
        spread = jnp.sum(factor[:, None, :] * factor[None, :, :], axis=-1)
        inverse = linear.inverse(jnp.eye(y.shape[0], dtype=jnp.float32) + multiplier * spread)
        x = _times(inverse, y)
        square = jnp.sum(x * x)
        turn = jnp.maximum(jnp.sum(x * _times(inverse, _times(spread, x))), 1e-30)
        excess = jnp.sqrt(square) / radius - 1
        return made + 1, jnp.maximum(multiplier + excess * square / turn, 0.0), x, excess

    radius = jnp.asarray(radius, jnp.float32)
    start = jnp.int32(0), jnp.float32(0), y, jnp.sqrt(jnp.sum(y * y)) / radius - 1
    return rounds.repeat(outside, climb, start, (y, factor, radius))[2]


def _times(matrix, vector):
    return jnp.sum(matrix * vector[None], axis=1)
