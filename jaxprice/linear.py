"""Many small systems of linear equations with positive definite matrices, and inverses of these, without LAPACK.

Gauss and Jordan's elimination needs no exchange of rows if the matrix is symmetric and positive definite; it is as stable as
Cholesky's factorisation then. All systems are eliminated together, column by column. `jnp.linalg` would call LAPACK system
by system, and in jaxlib 0.10 two such calls in one program may wait for each other for ever: each holds a thread of a pool
while its parts wait for one.

Source: N. J. Higham (2002), Accuracy and Stability of Numerical Algorithms, sections 9.4 and 14.4,
doi:10.1137/1.9780898718027.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def solve(matrix: Float[Array, "... n n"], right: Float[Array, "... n"]) -> Float[Array, "... n"]:
    """The solutions x of `matrix x = right`, differentiable in both.

    Args:
      matrix: symmetric and positive definite; leading axes must be those of `right`, or none.
      right: right-hand sides.
    """
    size = matrix.shape[-1]
    if size == 1:
        return right / matrix[..., 0]
    matrix = jnp.broadcast_to(matrix, (*right.shape, size))

    def product(x):
        return jnp.sum(matrix * x[..., None, :], axis=-1)

    return jax.lax.custom_linear_solve(product, right, lambda _, b: _eliminated(matrix, b), symmetric=True)


def _eliminated(matrix, right):
    """Solutions by elimination of one column after the other."""
    rows = jnp.arange(matrix.shape[-1], dtype=jnp.int32)

    def eliminate(k, table):
        pivot = jax.lax.dynamic_index_in_dim(table, k, axis=-2, keepdims=True)
        pivot = pivot / jax.lax.dynamic_index_in_dim(pivot, k, axis=-1, keepdims=True)
        column = jax.lax.dynamic_index_in_dim(table, k, axis=-1, keepdims=True)
        here = jnp.broadcast_to((rows == k)[:, None], table.shape)
        return jnp.where(here, pivot, table - column * pivot)

    table = jnp.concatenate([matrix, right[..., None]], axis=-1)
    return jax.lax.fori_loop(0, matrix.shape[-1], eliminate, table)[..., -1]


def inverse(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Inverse of a symmetric and positive definite matrix by n rank-one steps: the sweep operator, no pivots."""
    index = jnp.arange(matrix.shape[0])

    def sweep(k, a):
        row, here = a[k], index == k
        scaled = row / row[k]
        swept = a - row[:, None] * scaled[None, :]
        swept = jnp.where(here[:, None], scaled[None, :], jnp.where(here[None, :], scaled[:, None], swept))
        return jnp.where(here[:, None] & here[None, :], -1 / row[k], swept)

    return -jax.lax.fori_loop(0, matrix.shape[0], sweep, matrix)
