"""Functions that JAX lacks: full-precision products, the Wright omega function, a maximiser, the nearest entry of a mask."""

import jax
import jax.numpy as jnp
import numpy as np


def dot(a, b):
    """`a @ b` at the precision of its arguments; accelerators round the factors by default."""
    return jnp.matmul(a, b, precision="highest")


def wright_omega(x):
    """Lambert's W(exp(x)), the solution w > 0 of w + log(w) = x, by eight Newton steps.

    Args:
      x: float `[...]`.

    Returns:
      float `[...]`, to working precision.
    """
    x = jnp.asarray(x)
    w = jnp.where(x > 1, x, jnp.exp(jnp.minimum(x, 1.0)))
    for _ in range(8):
        w = w * (1 + x - jnp.log(w)) / (1 + w)
    return jnp.where(x < -20, jnp.exp(x), w)  # below, w = exp(x) to working precision and log(w) may underflow


def maximise(function, low, high, *, points=512, steps=40):
    """The global maximiser of a function of one variable on an interval.

    A grid of `points` finds the highest peak wherever peaks are wider than a cell; golden-section search polishes it to
    the precision that function values allow, about the square root of the rounding unit.

    Args:
      function: float `[...]` -> float `[...]`.
      low, high: ends of the interval, float scalars.
      points: size of the grid.
      steps: golden-section steps.

    Returns:
      float scalar.
    """
    low, high = jnp.asarray(low, jnp.result_type(float)), jnp.asarray(high, jnp.result_type(float))
    width = (high - low) / (points - 1)
    best = low + width * jnp.argmax(function(low + width * jnp.arange(points)))
    ratio = (np.sqrt(5) - 1) / 2

    def shrink(_, ends):
        left, right = ends
        inner_left, inner_right = right - ratio * (right - left), left + ratio * (right - left)
        lower = function(inner_left) < function(inner_right)
        return jnp.where(lower, inner_left, left), jnp.where(lower, right, inner_right)

    left, right = jax.lax.fori_loop(0, steps, shrink, (jnp.maximum(best - width, low), jnp.minimum(best + width, high)))
    middle = (left + right) / 2
    return jnp.where(function(middle) >= function(best), middle, best)


def nearest_allowed(allowed, action):
    """The allowed action whose index is nearest to that of `action`, which is `action` itself where it is allowed.

    Args:
      allowed: bool `[..., n]`, with at least one True in each row.
      action: index, int `[...]`.

    Returns:
      int `[...]`, of the type of `action`; of two nearest ones the lower.
    """
    index = jnp.arange(allowed.shape[-1])
    distance = jnp.where(allowed, jnp.abs(index - jnp.asarray(action)[..., None]), allowed.shape[-1])
    return jnp.argmin(distance, axis=-1).astype(jnp.result_type(action))
