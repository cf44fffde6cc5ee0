"""What the weights say about an estimate before anybody reads its value.

    effective sample size    (sum w)^2 / sum w^2, Kish
    mean weight              1 in expectation with overlap; far from it means a wrong propensity or missing support
    largest weight, share of the largest 1 % of the decisions in the sum of the weights
    Pareto k                 shape of the generalised Pareto distribution fitted to the largest weights: moments of order
                             1/k and higher do not exist. Above .5 the variance of the weights is infinite, above .7 the
                             estimate cannot be relied on at usual sample sizes
    Hill's estimate          the same shape from the logarithms of the largest weights
    missing, unseen          share of the target's probability without support, known or by the log; see `ope.target`

Weights of a log with few actions are bounded, so their k tends to be negative; it speaks where propensities vary.

Sources: Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling, JMLR 25(72), arXiv:1507.02646. The
fit is that of Zhang, Stephens (2009), A new and efficient estimation method for the generalized Pareto distribution,
doi:10.1198/tech.2009.08017. Hill (1975), doi:10.1214/aos/1176343247.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

from jaxprice.ope.log import DecisionLog
from jaxprice.ope.target import checked_target, missing, unseen
from jaxprice.ope.weights import importance_weights


@struct.dataclass
class Diagnostics:
    """Diagnostics of importance weights, one number a log, float `[...]`.

    Attributes:
      effective_sample_size: number of decisions that the weighted ones are worth, as a count.
      mean_weight, mean_weight_se: mean of the weights and its standard error.
      max_weight: the largest weight.
      top_share: share of the largest 1 % of the weights in their sum.
      pareto_k: shape of the tail, NaN if fewer than 5 weights are in it or all of them are equal.
      hill: Hill's estimate of it; never negative.
      missing: share of the target's probability where the logging policy had none; NaN if that is unknown.
      unseen: share of the target's probability on actions that the log does not contain; NaN for prices from an interval.
    """

    effective_sample_size: Float[Array, "..."]
    mean_weight: Float[Array, "..."]
    mean_weight_se: Float[Array, "..."]
    max_weight: Float[Array, "..."]
    top_share: Float[Array, "..."]
    pareto_k: Float[Array, "..."]
    hill: Float[Array, "..."]
    missing: Float[Array, "..."]
    unseen: Float[Array, "..."]


def diagnostics(log: DecisionLog, target: Float[Array, "..."]) -> Diagnostics:
    """Diagnostics of the weights of a target in a log. It never refuses a target for lack of support.

    Args:
      log: logs `[..., T]`.
      target: see `ope.ips`.

    Raises:
      ValueError: the target does not fit the log.
    """
    target = checked_target(log, target)
    return _diagnostics(log, target)


@jax.jit
def _diagnostics(log, target):
    weights = importance_weights(log, target, allow_missing=True)
    without = jnp.full(log.shape[:-1], jnp.nan, weights.dtype)
    return weight_diagnostics(
        weights,
        missing=missing(log, target) if log.discrete else without,
        unseen=unseen(log, target) if log.discrete else without,
    )


def weight_diagnostics(weights: Float[Array, "... T"], *, missing: Any = np.nan, unseen: Any = np.nan) -> Diagnostics:
    """Diagnostics of given weights, such as the products over a selling horizon, `[..., T]`."""
    count = weights.shape[-1]
    total = jnp.sum(weights, axis=-1)
    squares = jnp.sum(jnp.square(weights), axis=-1)
    mean = total / count
    tail = max(1, math.ceil(min(0.2 * count, 3 * math.sqrt(count))))
    top, _ = jax.lax.top_k(weights, min(count, max(math.ceil(0.01 * count), tail + 1)))
    top = jax.lax.optimization_barrier(top)  # a slice of it would turn the partial sort into a full one
    spread = jnp.var(weights, axis=-1, ddof=1) if count > 1 else jnp.full_like(mean, jnp.nan)
    return Diagnostics(
        effective_sample_size=jnp.where(squares > 0, total**2 / jnp.where(squares > 0, squares, 1.0), 0.0),
        mean_weight=mean,
        mean_weight_se=jnp.sqrt(spread / count),
        max_weight=top[..., 0],
        top_share=jnp.sum(top[..., : math.ceil(0.01 * count)], axis=-1) / total,
        pareto_k=pareto_k(top[..., :tail] - top[..., tail:][..., :1]) if 5 <= tail < count else jnp.full_like(mean, jnp.nan),
        hill=_hill(top[..., : tail + 1]) if tail < count else jnp.full_like(mean, jnp.nan),
        missing=jnp.broadcast_to(jnp.asarray(missing, weights.dtype), mean.shape),
        unseen=jnp.broadcast_to(jnp.asarray(unseen, weights.dtype), mean.shape),
    )


def pareto_k(excess: Float[Array, "... M"]) -> Float[Array, "..."]:
    """Shape of the generalised Pareto distribution, from the excesses over a threshold in decreasing order, `[..., M]`.

    The estimate of Zhang and Stephens, drawn to .5 with the weight of ten observations as in Vehtari et al.; NaN if the
    largest excess is 0.
    """
    size = excess.shape[-1]
    points = 30 + int(math.sqrt(size))
    largest = jnp.where(excess[..., :1] > 0, excess[..., :1], 1.0)
    scaled = jnp.maximum(excess / largest, 1e-10)
    quartile = scaled[..., size - 1 - (int(size / 4 + 0.5) - 1)][..., None]
    grid = 1 - jnp.sqrt(points / (jnp.arange(1, points + 1, dtype=excess.dtype) - 0.5))
    theta = 1.0 + jnp.broadcast_to(grid, (*excess.shape[:-1], points)) / (3 * quartile)  # in units of 1 / largest; at most 1
    shape = jnp.mean(jnp.log1p(-theta[..., None] * scaled[..., None, :]), axis=-1)
    likelihood = size * (jnp.log(-theta / shape) - shape - 1)
    best = jnp.sum(jax.nn.softmax(likelihood, axis=-1) * theta, axis=-1, keepdims=True)
    found = jnp.mean(jnp.log1p(-best * scaled), axis=-1)
    return jnp.where(excess[..., 0] > 0, (size * found + 10 * 0.5) / (size + 10), jnp.nan)


def _hill(top):
    """Mean logarithm of the largest weights over the next one; NaN if that one is 0."""
    base = top[..., -1:]
    return jnp.where(base[..., 0] > 0, jnp.mean(jnp.log(top[..., :-1] / jnp.where(base > 0, base, 1.0)), axis=-1), jnp.nan)
