"""Bounds and curves over a grid for policies that know that demand decreases with the price, from the lowest price up.

Both functions are loops over the prices. Over many lanes these are faster than `jax.lax.cummin` and similar primitives.

Source: T. Robertson, F. T. Wright, R. L. Dykstra (1988), "Order Restricted Statistical Inference", chapter 1 (the min-max
formula of isotonic regression).
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def smallest_so_far(x: Float[Array, " K"]) -> Float[Array, " K"]:
    """Running minimum: entry i is the smallest of `x[: i + 1]`, float `[K]`."""

    def place(least, here):
        least = jnp.minimum(least, here)
        return least, least

    return jax.lax.scan(place, jnp.asarray(jnp.inf, x.dtype), x)[1]


def falling(curve: Float[Array, " K"]) -> Float[Array, " K"]:
    """The nonincreasing curve nearest to `curve` `[K]` in squares: min over a <= i of max over b >= i of mean(a..b)."""
    index = jnp.arange(curve.shape[0])
    total = jnp.cumsum(curve)
    before = total - curve

    def place(largest, end):
        i, up_to = end
        inside = index <= i
        length = jnp.maximum(i - index + 1, 1).astype(jnp.float32)
        largest = jnp.where(inside, jnp.maximum(largest, (up_to[None] - before) / length), -jnp.inf)
        return largest, jnp.min(jnp.where(inside, largest, jnp.inf))

    return jax.lax.scan(place, jnp.full(curve.shape, -jnp.inf, jnp.float32), (index, total), reverse=True)[1]
