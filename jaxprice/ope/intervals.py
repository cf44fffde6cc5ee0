"""Confidence intervals for estimates: by the normal approximation, the bootstrap, and empirical Bernstein bounds.

`clt`: value +- t se with Student's quantile of `n - 1` degrees of freedom. It holds approximately, if `n` is large and no
weight dominates.

`bootstrap`: quantiles of the value over samples of the decisions with replacement, to first order: the mean of the
influences of the sample is added to the value. A sample of `n` with replacement is drawn as Poisson(1) counts, divided by
their mean. `bootstrap_pairs` computes the estimator anew on each sample.

`empirical_bernstein`: holds for every `n`, for the mean of `n` independent terms in a known range `[low, high]`. With
probability of at least `1 - delta`, the sample variance being `V`,

    |v - truth| <= sqrt(2 V log(4 / delta) / n) + 7 (high - low) log(4 / delta) / (3 (n - 1)).

It is wide if weights are large. It bounds the error around the expectation of the terms, so not the bias of clipping.

Sources: Efron (1979), doi:10.1214/aos/1176344552. Hanley, MacGibbon (2006), Creating non-parametric bootstrap samples using
Poisson frequencies, doi:10.1016/j.cmpb.2006.04.006. Maurer, Pontil (2009), Empirical Bernstein bounds and sample variance
penalization, COLT, arXiv:0907.3740, Theorem 4 on both sides.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float
from scipy.special import stdtrit

from jaxprice import checks
from jaxprice.ope.estimate import Estimate
from jaxprice.ope.log import DecisionLog

Ends = tuple[Float[Array, "..."], Float[Array, "..."]]
BATCH = 2**23  # random counts that are held at once


def checked_level(level: float) -> float:
    """`level` unchanged, if it is in (0, 1).

    Raises:
      ValueError: it is not.
    """
    checks.number("level", level, scalar=True)
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), such as 0.95, got {checks.shown(level)}")
    return level


def clt(estimate: Estimate, level: float = 0.95) -> Ends:
    """Interval by the central limit theorem, `(low, high)`, each `[...]`; NaN for a single decision.

    Args:
      estimate: the estimate.
      level: probability of the interval.

    Raises:
      ValueError: `level` is not in (0, 1).
    """
    count = estimate.influence.shape[-1]
    reach = float(stdtrit(count - 1, (1 + checked_level(level)) / 2)) if count > 1 else math.nan
    return estimate.value - reach * estimate.se, estimate.value + reach * estimate.se


def bootstrap(key: Array, estimate: Estimate, level: float = 0.95, replicates: int = 1000) -> Ends:
    """Percentile interval of the bootstrap on influences, `(low, high)`, each `[...]`.

    All logs and estimators of one call share the samples. Map the function over keys if they must be independent.

    Args:
      key: random key.
      estimate: the estimate.
      level: probability of the interval.
      replicates: number of samples.

    Raises:
      ValueError: `level` is not in (0, 1), or `replicates` is not positive.
    """
    tail, count = (1 - checked_level(level)) / 2, estimate.influence.shape[-1]
    influence = estimate.influence
    replicates = checks.positive_int("replicates", replicates)
    batch = max(1, min(replicates, BATCH // count))

    def sample(index):
        counts = poisson_counts(jax.random.fold_in(key, index), (count, batch)).astype(influence.dtype)
        size = jnp.ones(count, influence.dtype) @ counts  # a product, as a sum would draw the counts anew
        total = influence @ counts
        return total / jnp.broadcast_to(jnp.maximum(size, 1.0), total.shape)

    shifts = jnp.moveaxis(jax.lax.map(sample, jnp.arange(-(-replicates // batch))), 0, -2)
    shifts = shifts.reshape(*estimate.value.shape, -1)[..., :replicates]
    low, high = jnp.quantile(shifts, jnp.array([tail, 1 - tail], shifts.dtype), axis=-1)
    return estimate.value + low, estimate.value + high


def bootstrap_pairs(
    key: Array,
    log: DecisionLog,
    target: Float[Array, "..."],
    estimator: Callable[[DecisionLog, Array], Estimate],
    level: float = 0.95,
    replicates: int = 200,
) -> Ends:
    """Percentile interval of the bootstrap on decisions, `(low, high)`; each sample is estimated anew, models included.

    Args:
      key: random key.
      log: one log `[T]`, or horizons `[E, T]`, which are then drawn as wholes. Map over keys and logs for several.
      target: action probabilities of each decision, with the shape of the log in front, or `[num_actions]`.
      estimator: maps a log and a target to an estimate.
      level: probability of the interval.
      replicates: number of samples.

    Raises:
      ValueError: `level` is not in (0, 1), or `replicates` is not positive.
    """
    tail, count = (1 - checked_level(level)) / 2, log.shape[0]

    def sample(index):
        rows = jax.random.randint(jax.random.fold_in(key, index), (count,), 0, count)
        return estimator(log[rows], target if target.ndim == 1 else target[rows]).value

    values = jax.lax.map(sample, jnp.arange(checks.positive_int("replicates", replicates)))
    low, high = jnp.quantile(values, jnp.array([tail, 1 - tail], values.dtype), axis=0)
    return low, high


def empirical_bernstein(
    estimate: Estimate, low: Float[Array, "..."] | float, high: Float[Array, "..."] | float, level: float = 0.95
) -> Ends:
    """Interval from the sample variance and the range of the terms, `(low, high)`, each `[...]`.

    Args:
      estimate: an estimate that is a mean of independent terms.
      low, high: bounds of a term that hold for sure, such as 0 and the largest weight times the largest reward; `[...]`.
      level: probability of the interval.

    Raises:
      ValueError: the terms depend on each other (self-normalised estimators), or one is outside the bounds.
    """
    delta, count, terms = 1 - checked_level(level), estimate.terms.shape[-1], estimate.terms
    if not estimate.independent:
        raise ValueError("estimate must be a mean of independent terms for this bound; a self-normalised one is not")
    low, high = (jnp.broadcast_to(jnp.asarray(end, terms.dtype), estimate.value.shape) for end in (low, high))
    slack = 1e-4 * (high - low)[..., None]
    if not checks.is_traced((terms, low, high)):
        outside = (terms < low[..., None] - slack) | (terms > high[..., None] + slack)
        if bool(jnp.any(outside)):
            raise ValueError(
                f"low and high must bound the terms; {int(outside.sum()):,} of {outside.size:,} are outside "
                f"[{float(low.min()):g}, {float(high.max()):g}], in [{float(terms.min()):g}, {float(terms.max()):g}]"
            )
    if count < 2:
        return jnp.broadcast_to(low, estimate.value.shape), jnp.broadcast_to(high, estimate.value.shape)
    log_term = math.log(4 / delta)
    variance = jnp.var(terms, axis=-1, ddof=1)
    reach = jnp.sqrt(2 * variance * log_term / count) + 7 * (high - low) * log_term / (3 * (count - 1))
    return estimate.value - reach, estimate.value + reach


def poisson_counts(key: Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Poisson(1) counts, by comparing 16 random bits with the distribution function: its steps are off by at most 2^-16."""
    bits = jax.random.bits(key, shape, jnp.uint16)
    below = [sum(math.exp(-1) / math.factorial(j) for j in range(k + 1)) for k in range(7)]
    edges = [jnp.uint16(round(edge * 2**16)) for edge in below]
    return sum(((bits >= edge).astype(jnp.float32) for edge in edges), jnp.zeros(shape, jnp.float32))
