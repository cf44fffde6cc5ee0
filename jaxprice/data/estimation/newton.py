"""Newton's method for likelihoods that depend on a linear predictor and at most one further number, the log dispersion.

    log L(beta, s) = sum_i w_i l(x_i' beta, s; data_i).

JAX differentiates `l` of one row twice with respect to (eta, s). Gradient and observed information of the whole follow by
matrix products, so their cost is that of a weighted least-squares step. Where the information is not positive definite,
which the logit link of counts and the log dispersion allow away from the maximum, its eigenvalues are replaced by their
absolute values. Steps that do not improve the likelihood are halved.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Num

from jaxprice.data.estimation import likelihoods

SMALLEST = -14.0  # log dispersion below which a negative binomial is a Poisson law


@functools.partial(jax.jit, static_argnames=("family", "link", "largest"))
def derivatives(
    point: Float[Array, " K"],
    design: Float[Array, "N X"],
    units: Num[Array, " N"],
    visits: Num[Array, " N"],
    censored: Bool[Array, " N"],
    weights: Num[Array, " N"],
    *,
    family: str,
    link: str,
    largest: int,
) -> tuple[Float[Array, ""], Float[Array, " K"], Float[Array, "K K"]]:
    """Log likelihood, its gradient `[K']` and the observed information `[K', K']`; K' = K + 1 with a dispersion.

    Args:
      point: coefficients `[K]`, then the log dispersion if the family has one.
      design: `[N, K]`.
      units, visits, censored, weights: `[N]`.
      family, link, largest: as in `likelihoods.log_likelihood`.
    """
    row, at = _rows(point, design, family, link, largest)
    data = (at, units, visits, censored)
    value = jnp.sum(jnp.where(weights > 0, weights * jax.vmap(row)(*data), 0.0))
    first = jnp.where(weights[:, None] > 0, weights[:, None] * jax.vmap(jax.jacfwd(row))(*data), 0.0)
    second = jax.vmap(jax.jacfwd(jax.jacfwd(row)))(*data)
    second = jnp.where(weights[:, None, None] > 0, weights[:, None, None] * second, 0.0)
    gradient = design.T @ first[:, 0]
    information = -design.T @ (design * second[:, 0, 0][:, None])
    if family == "negative_binomial":
        cross = -(design.T @ second[:, 0, 1])
        corner = jnp.concatenate([cross, -jnp.sum(second[:, 1, 1])[None]])
        gradient = jnp.append(gradient, jnp.sum(first[:, 1]))
        information = jnp.concatenate([jnp.concatenate([information, cross[:, None]], axis=1), corner[None]])
    return value, gradient, information


@functools.partial(jax.jit, static_argnames=("family", "link", "largest"))
def scores(
    point: Float[Array, " K"],
    design: Float[Array, "N X"],
    units: Num[Array, " N"],
    visits: Num[Array, " N"],
    censored: Bool[Array, " N"],
    weights: Num[Array, " N"],
    *,
    family: str,
    link: str,
    largest: int,
) -> Float[Array, "N K"]:
    """Gradient of each row's log likelihood, `[N, K']`; arguments as in `derivatives`."""
    row, at = _rows(point, design, family, link, largest)
    first = jax.vmap(jax.jacfwd(row))(at, units, visits, censored)
    columns = design * first[:, :1]
    if family == "negative_binomial":
        columns = jnp.concatenate([columns, first[:, 1:]], axis=1)
    return jnp.where(weights[:, None] > 0, weights[:, None] * columns, 0.0)


def _rows(point, design, family, link, largest):
    """Log likelihood of a row as a function of (eta, log dispersion) and its data; and these two for every row, `[N, 2]`."""
    count = design.shape[1]

    def row(at, units, visits, censored):
        return likelihoods.log_likelihood(at[0], at[1], units, visits, censored, family=family, link=link, largest=largest)

    eta = design @ point[:count]
    shape = point[count] if family == "negative_binomial" else jnp.zeros((), point.dtype)
    return row, jnp.stack([eta, jnp.broadcast_to(shape, eta.shape)], axis=1)


def maximise(
    at: Callable, point: Float[np.ndarray, " K"], *, iterations: int = 100, tolerance: float = 1e-8
) -> tuple[Float[np.ndarray, " K"], Any, Float[np.ndarray, "K K"], bool]:
    """The maximum of a log likelihood.

    Args:
      at: `point -> (value, gradient, information)`, NumPy arrays.
      point: start `[K]`, with a finite value.
      iterations: largest number of steps.
      tolerance: convergence of the Newton step, in units of its own scale.

    Returns:
      `(point, value, information, converged)`.
    """
    value, gradient, information = at(point)
    converged = False
    for _ in range(iterations):
        step = _step(information, gradient)
        converged = bool(np.abs(step).max() < tolerance)
        new = at(point + step)
        for _ in range(40):
            if new[0] >= value - 1e-10 * (1 + abs(value)):
                break
            step = step / 2
            new = at(point + step)
        else:
            return point, value, information, converged
        point, (value, gradient, information) = point + step, new
        if converged or not np.isfinite(information).all():
            break
    return point, value, information, converged


def _step(information, gradient):
    """The Newton step; uphill where the information is indefinite, and at most 5 in each coordinate."""
    values, vectors = np.linalg.eigh(information)
    curvature = np.maximum(np.abs(values), 1e-12 * np.abs(values).max() + 1e-300)
    step = vectors @ ((vectors.T @ gradient) / curvature)
    return step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-300))
