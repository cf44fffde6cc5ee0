"""Estimated propensities: a multinomial logit of the logged action on what the seller saw, with cross-fitting.

With features x_t of decision t, and M_t the allowed actions,

    P(a_t = k) = exp(x_t' theta_k) / sum_{j in M_t} exp(x_t' theta_j)      for k in M_t, else 0.

The maximum of the log likelihood minus (ridge / 2) |theta|^2 is found by Newton's method with a bound on the Hessian, which
is inverted once (Boehning): with A = (1/2) sum x x' + ridge I, every step theta_k + A^-1 gradient_k raises the likelihood.
Steps are accelerated (Nesterov), and start again where the acceleration points downhill.

The decisions of a log are cut into folds of consecutive periods, and the propensities of a fold come from the fit to the
others (cross-fitting), so that no decision enters the estimate of its own propensity. Consecutive periods, because decisions
near in time are dependent if the seller learns.

What it can and cannot do. Propensities that follow the features are recovered, up to the error of the fit. If the seller
acted on something that is not among the features (confounding), or changed the rule over time and time is not among them,
the estimates are wrong, and nothing in the log shows it. Weights by estimated propensities can have a smaller variance than
those by true ones (Hirano, Imbens and Ridder 2003).

Sources: D. Boehning (1992), "Multinomial logistic regression algorithm", doi:10.1007/BF00048682; V. Chernozhukov et al.
(2018), "Double/debiased machine learning", doi:10.1111/ectj.12097; K. Hirano, G. W. Imbens, G. Ridder (2003),
doi:10.1111/1468-0262.00442.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxprice import checks, linear
from jaxprice.ope.log import DecisionLog

LEAST = 1e-6  # smallest propensity of a logged action
STEPS, SMALL = 300, 1e-5  # at most so many steps, and the largest change of a coefficient in the last one
TOGETHER = 32  # logs at a time


def estimated_propensities(
    log: DecisionLog, features: Callable | Float[Array, "... T d"] | None = None, folds: int = 5, *, ridge: float = 1.0
) -> DecisionLog:
    """The log with estimated propensities, probabilities and their standard errors.

    Args:
      log: a log of indices of a grid, `[..., T]`; its own propensities are not read. Each log has its own fit.
      features: a function from one observation to `[d]`; or an array `[..., T, d]`; by default all numbers of the
        observation. A constant is added, and features are scaled to unit variance within each log.
      folds: number of folds, at least 2 and at most T.
      ridge: penalty on squared coefficients, above 0, as so many decisions' worth.

    Returns:
      The log with `probabilities` `[..., T, num_actions]`, zero where not allowed; `propensity`; and `propensity_se`
      `[..., T]`, by the delta method from the information of the fit. A logged action has a propensity of at least 1e-6.

    Raises:
      ValueError: prices come from an interval, the number of actions is not known, or an argument is wrong.
    """
    if not log.discrete or not log.num_actions:
        raise ValueError("log must hold indices of a grid of known size: give it `prices` or `allowed`")
    horizon = log.shape[-1]
    folds = checks.whole("folds", folds, 2, max(horizon, 2))
    if horizon < 2:
        raise ValueError(f"log must have at least 2 decisions for cross-fitting, got {horizon}")
    checks.positive("ridge", ridge)
    table = _features(log, features)
    allowed = jnp.ones((1,) * (len(log.shape) + 1), bool) if log.allowed is None else log.allowed
    allowed = jnp.broadcast_to(allowed, (*log.shape, log.num_actions))
    flat = [x.reshape(-1, *x.shape[len(log.shape) - 1 :]) for x in (table, log.action, allowed)]
    found, errors = _all_logs(folds, ridge, *flat)
    found = found.reshape(*log.shape, log.num_actions)
    its = jnp.take_along_axis(found, log.action[..., None], axis=-1)[..., 0]
    return dataclasses.replace(
        log, probabilities=found, propensity=jnp.maximum(its, LEAST), propensity_se=errors.reshape(log.shape)
    )


@functools.partial(jax.jit, static_argnums=0)
def _all_logs(folds, ridge, *columns):
    """`_cross_fitted` for every log, `TOGETHER` at a time, so that memory does not grow with their number."""
    return jax.lax.map(lambda one: _cross_fitted(folds, ridge, *one), columns, batch_size=TOGETHER)


def _features(log, features):
    """Features with a constant, float `[..., T, d + 1]`."""
    shape = log.shape
    if features is None or callable(features):
        if log.observation is None and features is not None:
            raise ValueError("features is a function of the observation, but the log has none: give an array")
        leaves = jax.tree.leaves(log.observation)
        if features is None:
            table = jnp.concatenate(
                [jnp.zeros((*shape, 0)), *(jnp.reshape(x, (*shape, -1)).astype(float) for x in leaves)], axis=-1
            )
        else:
            rows: Any = jax.tree.map(lambda x: jnp.reshape(x, (-1, *x.shape[len(shape) :])), log.observation)
            table: Any = jax.vmap(features)(rows)
            table = jnp.reshape(table, (*shape, -1))
    else:
        table = jnp.asarray(features)
        if table.shape[:-1] != shape or table.ndim != len(shape) + 1:
            raise ValueError(f"features must have shape {[*shape, 'd']}, got {list(table.shape)}")
    if not checks.is_traced(table) and not np.isfinite(np.asarray(table)).all():
        raise ValueError("features must be finite numbers")
    table = table.astype(jnp.result_type(float))
    centred = table - jnp.mean(table, axis=-2, keepdims=True)
    spread = jnp.std(table, axis=-2, keepdims=True)
    scaled = jnp.where(spread > 1e-6, centred / jnp.maximum(spread, 1e-6), 0.0)
    return jnp.concatenate([jnp.ones((*shape, 1), scaled.dtype), scaled], axis=-1)


def _cross_fitted(
    folds: int, ridge: float, x: Float[Array, "T d"], action: Int[Array, " T"], allowed: Bool[Array, "T K"]
) -> tuple[Float[Array, "T K"], Float[Array, " T"]]:
    """Probabilities of one log, and standard errors of the logged actions'."""
    horizon, count = allowed.shape
    fold = jnp.asarray(np.arange(horizon) * folds // horizon)
    taken = jax.nn.one_hot(action, count, dtype=x.dtype)

    def of_fold(k):
        weight = (fold != k).astype(x.dtype)
        theta = fit(x, taken, allowed, weight, ridge)
        p = law(x, theta, allowed)
        return p, _errors(x, p, weight, ridge, taken)

    found, errors = jax.lax.map(of_fold, jnp.arange(folds))
    rows = jnp.arange(horizon)
    return found[fold, rows], errors[fold, rows]


def law(x: Float[Array, "T d"], theta: Float[Array, "d K"], allowed: Bool[Array, "T K"]) -> Float[Array, "T K"]:
    """The probabilities of the logit."""
    return jax.nn.softmax(jnp.where(allowed, jnp.matmul(x, theta, precision="highest"), -jnp.inf), axis=-1)


def fit(
    x: Float[Array, "T d"],
    taken: Float[Array, "T K"],
    allowed: Bool[Array, "T K"],
    weight: Float[Array, " T"],
    ridge: float,
) -> Float[Array, "d K"]:
    """The maximum of the penalised log likelihood, coefficients `[d, K]`.

    Args:
      x: features.
      taken: one at the logged action, zero elsewhere.
      allowed: the mask.
      weight: weight of each decision.
      ridge: penalty.
    """
    bound = 0.5 * jnp.einsum("td,te,t->de", x, x, weight, precision="highest") + ridge * jnp.eye(x.shape[1], dtype=x.dtype)
    inverse = linear.inverse(bound)

    def gradient(theta):
        left = weight[:, None] * (taken - law(x, theta, allowed))
        return jnp.einsum("td,tk->dk", x, left, precision="highest") - ridge * theta

    def going(carry):
        *_, moved, steps = carry
        return (moved > SMALL) & (steps < STEPS)

    def step(carry):
        theta, look, momentum, _, steps = carry
        uphill = gradient(look)
        move = jnp.matmul(inverse, uphill, precision="highest")
        after = look + move
        falls = jnp.sum(uphill * (after - theta)) < 0
        speed = jnp.where(falls, 1.0, 0.5 * (1 + jnp.sqrt(1 + 4 * momentum**2)))
        ahead = jnp.where(falls, 0.0, (momentum - 1) / speed)
        return after, after + ahead * (after - theta), speed, jnp.max(jnp.abs(move)), steps + 1

    start = jnp.zeros((x.shape[1], taken.shape[1]), x.dtype)
    one = jnp.asarray(1.0, x.dtype)
    return jax.lax.while_loop(going, step, (start, start, one, one, jnp.int32(0)))[0]


def _errors(x, p, weight, ridge, taken):
    """Standard errors of the logged actions' probabilities, by the delta method, `[T]`.

    The information is that of the indicator of each action separately, sum p_k (1 - p_k) x x': for two actions it is exact,
    for more it ignores the covariance between coefficients of different actions.
    """
    variance = weight[:, None] * p * (1 - p)
    information = jnp.einsum("tk,td,te->kde", variance, x, x, precision="highest")
    covariance = jax.vmap(linear.inverse)(information + ridge * jnp.eye(x.shape[1], dtype=x.dtype))
    spread = jnp.einsum("td,kde,te->tk", x, covariance, x, precision="highest")
    return jnp.sum(taken * p * (1 - p) * jnp.sqrt(jnp.maximum(spread, 0.0)), axis=-1)
