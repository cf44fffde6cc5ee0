"""Matrix products at full precision (accelerators round the factors by default), and an inverse for many lanes."""

import jax
import jax.numpy as jnp


def dot(a, b):
    """`a @ b` at the precision of its arguments."""
    return jnp.matmul(a, b, precision="highest")


def inverse(matrix):
    """Inverse of a positive definite `[D, D]` by D rank-one steps: the sweep operator without pivoting."""
    index = jnp.arange(matrix.shape[0])

    def sweep(k, a):
        row, here = a[k], index == k
        scaled = row / row[k]
        swept = a - row[:, None] * scaled[None, :]
        swept = jnp.where(here[:, None], scaled[None, :], jnp.where(here[None, :], scaled[:, None], swept))
        return jnp.where(here[:, None] & here[None, :], -1 / row[k], swept)

    return -jax.lax.fori_loop(0, matrix.shape[0], sweep, matrix)
