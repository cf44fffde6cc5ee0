"""The common part of gradient policies over a ball of price vectors: one-point gradient steps within a subspace.

Prices p are in the ball |p| <= r. The centre x is in the span of the orthonormal columns of B, `[n, d]`. With w uniform on
the unit sphere of that span and revenue y(p), a period posts x + a w and then updates

    x <- P( x + h (y - b) / C w ),     a = r min(1/2, gap sqrt(d) T^(-1/4)),    h = r step / sqrt(T),

where P is the projection on the ball of radius r - a, so that prices stay inside. With f the mean revenue, E[y w] = (a / d)
times the gradient in the span of f smoothed over the ball of radius a. If f is quadratic, this is exactly (a / d) times the
gradient of f at x. The baseline b is the mean revenue of the earlier periods, or 0. It does not change this expectation,
because E w = 0, but lowers the variance. The unit C is the largest |y| so far, which keeps steps short in any currency (C
includes the present y, which is a bias while C grows).

Source: A. D. Flaxman, A. T. Kalai, H. B. McMahan (2005), "Online convex optimization in the bandit setting: gradient descent
without a gradient", arXiv:cs/0408007 (steps and shifts of these orders, including the sqrt(d)).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Key, Num

from jaxprice import checks, samplers
from jaxprice.numerics import dot
from jaxprice.policies.parts import totals
from jaxprice.types import Interval, Problem, Transition


@struct.dataclass
class Ball:
    """The problem of the seller and its position.

    Attributes:
      radius: r, float scalar.
      shift: distance a of prices from the centre, float scalar.
      step: h, float scalar.
      centre: x, float `[n]`.
      unit: C, float scalar; 0 before the first period.
      mean, lost: mean revenue so far, and its rounding error (`totals`), float scalars.
      time: number of periods played, int scalar.
    """

    radius: jax.Array
    shift: jax.Array
    step: jax.Array
    centre: jax.Array
    unit: jax.Array
    mean: jax.Array
    lost: jax.Array
    time: jax.Array

    def price(self, key: Key[Array, ""], basis: Float[Array, "n rank"]) -> Float[Array, " n"]:
        """Prices of a period: the centre, shifted in a random direction of the span of `basis`, float `[n]`."""
        z = samplers.normal(jax.random.bits(key, basis.shape[1:], jnp.uint32))
        return self.centre + self.shift * dot(basis, z / length(z))

    def after(self, transition: Transition, baseline: bool) -> "Ball":
        """The ball after a period; `baseline`: whether to subtract the mean revenue."""
        y = transition.reward
        unit = jnp.maximum(self.unit, jnp.abs(y))
        base = jnp.where(self.time > 0, self.mean, 0.0) if baseline else 0.0
        direction = (transition.price - self.centre) / self.shift
        moved = self.centre + self.step * (y - base) / jnp.maximum(unit, 1e-30) * direction
        step = (y - self.mean) / (self.time + 1).astype(jnp.float32)
        mean, lost = totals.plus(self.mean, self.lost, step, self.time >= totals.LONG)
        return dataclasses.replace(self, centre=self.inside(moved), unit=unit, mean=mean, lost=lost, time=self.time + 1)

    def inside(self, centre: Float[Array, " n"]) -> Float[Array, " n"]:
        """The nearest point in the ball of radius r - a."""
        return centre * jnp.minimum(1.0, (self.radius - self.shift) / length(centre))


def start(problem: Problem, name: str, rank: int | None, step: Num[ArrayLike, ""], gap: Num[ArrayLike, ""]) -> Ball:
    """The `Ball` before the first period, with centre 0, for a subspace of the given rank (None: all prices).

    Raises:
      ValueError: the market does not take price vectors of a ball, or has fewer products than `rank`.
    """
    space = problem.action_space
    if not isinstance(space, Interval) or not space.shape or "radius" not in problem.details:
        raise ValueError(f"{name} prices several products within a ball, but this market has none")
    products = space.shape[0]
    rank = products if rank is None else rank
    if rank > products:
        raise ValueError(f"{name} needs a rank of at most the number of products {products}, got {rank}")
    radius = jnp.asarray(problem.details["radius"], jnp.float32)
    root = jnp.sqrt(jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 1.0))
    share = jnp.minimum(gap * rank**0.5 / jnp.sqrt(root), 0.5)
    zero = jnp.float32(0)
    centre = jnp.zeros(products, jnp.float32)
    shift, step = jnp.asarray(share * radius, jnp.float32), jnp.asarray(step * radius / root, jnp.float32)
    return Ball(radius, shift, step, centre, zero, zero, zero, jnp.int32(0))


def length(x: Float[Array, " n"]) -> Float[Array, ""]:
    """Euclidean length, at least 1e-30."""
    return jnp.maximum(jnp.sqrt(jnp.sum(x * x)), 1e-30)


def check_numbers(step: Any, gap: Any) -> None:
    """Raise if the step is negative or the gap is not positive."""
    checks.number("step", step, low=0)
    checks.number("gap", gap, low=1e-6)
