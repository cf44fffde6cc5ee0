"""Reward models: predicted rewards of all actions at each decision, never fitted on the decision itself.

The decisions of a log are dealt out to folds; the rewards of a fold are predicted by a model that was fitted on the others
(cross-fitting). With `order="past"` the folds are consecutive stretches of time and each is predicted from the earlier ones
alone, the first as 0: that keeps doubly robust terms unbiased if the logging policy learnt while it logged.

Models are ridge regressions of the reward, or of demand with the margin as a factor:

    r(x, a) = m_a + theta_a' phi(x)         `features`: one regression for each action, with a constant
    r(x, p) = m + theta' phi(x, p)          `price_features`: one regression for all prices

or logistic regressions, `D = 1 / (1 + exp(-...))`, by Newton's method. Without features, each action has its mean.

A fold's sums are subtracted from those of the whole log, so all folds cost about one pass.

Source: Chernozhukov et al. (2018), Double/debiased machine learning for treatment and structural parameters,
doi:10.1111/ectj.12097. Order "past": Hadad, Hirshberg, Zhan, Wager, Athey (2021), Confidence intervals for policy evaluation
in adaptive experiments, doi:10.1073/pnas.2014602118.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice import checks, linear
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.target import one_axis

Features = Callable[..., Array]


def reward_model(
    log: DecisionLog,
    features: Features | None = None,
    *,
    price_features: Features | None = None,
    folds: int = 3,
    order: str = "interleaved",
    outcome: str = "reward",
    cost: float = 0.0,
    link: str = "identity",
    ridge: float = 1.0,
    weights: Float[Array, "... T"] | None = None,
) -> Float[Array, "... T A"]:
    """Predicted rewards of all prices on the grid.

    Args:
      log: logs `[..., T]` with a price grid.
      features: maps one observation to `[F]`, without a constant; each action has its own regression.
      price_features: maps one observation and a price to `[F]`; one regression serves all prices.
      folds: number of folds, at least 2; 1 fits on everything, for the direct method.
      order: "interleaved" or "past".
      outcome: "reward", or "demand", which is then multiplied by price minus cost.
      cost: cost of a unit, if the outcome is demand.
      link: "identity" or "logit"; for "logit" the outcome must be in [0, 1].
      ridge: penalty on squared coefficients, in numbers of observations; it draws the means of actions to that of all.
      weights: weights of the decisions, `[..., T]`; None means 1.

    Returns:
      Predicted rewards `[..., T, num_actions]`.

    Raises:
      ValueError: an unknown option, a log without the grid, or outcomes that do not fit the link.
    """
    if not log.discrete or (log.prices is None and (price_features is not None or outcome == "demand")):
        raise ValueError("log must have a price grid `prices` for this model; see ope.price_model for an interval")
    if features is not None and price_features is not None:
        raise ValueError("give features or price_features, not both")
    y, fold, trained = _data(log, folds, order, outcome, link)
    weights = jnp.ones(log.shape, y.dtype) if weights is None else jnp.asarray(weights, y.dtype)
    fit = _logistic if link == "logit" else _linear
    if price_features is not None:
        prices = jnp.asarray(log.prices)
        design = _with_constant(_over_decisions(log, lambda x: jax.vmap(lambda p: price_features(x, p))(prices)))
        taken = jnp.take_along_axis(design, log.action[..., None, None], axis=-2)[..., 0, :]
        level, theta = fit(taken, y, jnp.zeros(log.shape, int), 1, weights, fold, trained, ridge)
        score = jnp.einsum("...taf,...tf->...ta", design, jnp.take(theta[..., 0, :], fold, axis=-2))
    else:
        constant = jnp.ones((*log.shape, 1), y.dtype)
        design = constant if features is None else _with_constant(_over_decisions(log, features))
        level, theta = fit(design, y, log.action, log.num_actions, weights, fold, trained, ridge)
        score = jnp.einsum("...tf,...taf->...ta", design, jnp.take(theta, fold, axis=-3))
    predicted = _inverse(link)(score + jnp.take(level, fold, axis=-1)[..., None])
    if outcome == "reward":
        return predicted
    return predicted * jnp.broadcast_to(jnp.asarray(log.prices, y.dtype) - cost, predicted.shape)


def price_model(
    log: DecisionLog,
    price: Float[Array, "... T"],
    price_features: Features,
    *,
    folds: int = 3,
    order: str = "interleaved",
    outcome: str = "reward",
    cost: float = 0.0,
    link: str = "identity",
    ridge: float = 1.0,
) -> tuple[Float[Array, "... T"], Float[Array, "... T"]]:
    """Predicted rewards at the prices of a target and at the logged ones, for `ope.kernel_dr`.

    Args:
      log: logs `[..., T]`.
      price: prices of the target, `[..., T]`.
      price_features: maps one observation (None if the log has none) and a price to `[F]`, without a constant.
      folds, order, outcome, cost, link, ridge: as for `reward_model`.

    Returns:
      Predictions at `price` and at the logged prices, each `[..., T]`.

    Raises:
      ValueError: an unknown option, or outcomes that do not fit the link.
    """
    y, fold, trained = _data(log, folds, order, outcome, link)
    target_features, taken = (_with_constant(_over_decisions(log, price_features, p)) for p in (price, log.price))
    fit = _logistic if link == "logit" else _linear
    level, theta = fit(taken, y, jnp.zeros(log.shape, int), 1, jnp.ones(log.shape, y.dtype), fold, trained, ridge)
    theta, level = jnp.take(theta[..., 0, :], fold, axis=-2), jnp.take(level, fold, axis=-1)
    at_target, at_logged = (_inverse(link)(level + jnp.sum(x * theta, axis=-1)) for x in (target_features, taken))
    return (at_target * (price - cost), at_logged * (log.price - cost)) if outcome == "demand" else (at_target, at_logged)


def _data(log, folds, order, outcome, link):
    """Outcomes `[..., T]`, the fold of each period `[T]`, and which folds train the model of which fold, `[K, K]`."""
    checks.choice("outcome", outcome, ("reward", "demand"))
    checks.choice("link", link, ("identity", "logit"))
    checks.choice("order", order, ("interleaved", "past"))
    periods = log.shape[-1]
    folds = checks.whole("folds", folds, 1, periods)
    y = log.reward if outcome == "reward" else log.demand
    if not checks.is_traced(y) and not bool(jnp.all(jnp.isfinite(y))):
        raise ValueError(f"outcome={outcome!r} must be finite in every decision of the log; use outcome='reward'")
    if link == "logit" and not checks.is_traced(y) and not bool(jnp.all((y >= 0) & (y <= 1))):
        raise ValueError(f"link='logit' needs outcomes in [0, 1], got {outcome} in [{y.min():g}, {y.max():g}]")
    index = jnp.arange(periods)
    fold = index % folds if order == "interleaved" else index * folds // periods
    each = jnp.arange(folds)
    others = each[:, None] > each[None] if order == "past" else each[:, None] != each[None]
    return y, fold, jnp.where(folds == 1, True, others).astype(y.dtype)


def _over_decisions(log, function, *columns):
    """Features of each decision: `function(observation, *columns)` mapped over `[..., T]`."""
    shape = log.shape
    if log.observation is None and not columns:
        rows = function(None)
        return jnp.broadcast_to(rows, (*shape, *rows.shape)).astype(log.reward.dtype)
    rows = jax.vmap(function)(*one_axis((log.observation, *columns), len(shape)))
    return jnp.reshape(rows, (*shape, *rows.shape[1:])).astype(log.reward.dtype)


def _with_constant(x):
    return jnp.concatenate([jnp.ones_like(x[..., :1]), x], axis=-1)


def _inverse(link):
    return jax.nn.sigmoid if link == "logit" else lambda score: score


def _sums(values, cell, cells):
    """Sums of `[..., T, *shape]` over the decisions of each cell, `[..., cells, *shape]`; `cell` is int `[..., T]`."""
    lead, shape = cell.shape[:-1], values.shape[cell.ndim :]

    def of_one_log(cell, values):
        return jnp.zeros((cells, *shape), values.dtype).at[cell].add(values)

    flat = jax.vmap(of_one_log)(jnp.reshape(cell, (-1, cell.shape[-1])), jnp.reshape(values, (-1, cell.shape[-1], *shape)))
    return jnp.reshape(flat, (*lead, cells, *shape))


def _linear(x, y, which, count, weights, fold, trained, ridge):
    """Ridge regressions around the overall mean.

    Args:
      x: design with a constant in front, `[..., T, F]`.
      y, weights: `[..., T]`.
      which: the regression that a decision belongs to, int `[..., T]`; count: number of regressions `A`.
      fold: `[T]`; trained: `[K, K]`, whether the fold of the column trains the model of the row.
      ridge: penalty.

    Returns:
      The overall means `[..., K]` and coefficients `[..., K, A, F]` of the deviations from them.
    """
    size, folds = x.shape[-1], len(trained)
    products = x[..., :, None] * jnp.concatenate([x, y[..., None]], axis=-1)[..., None, :]  # [..., T, F, F + 1]
    sums = _sums(weights[..., None, None] * products, jnp.broadcast_to(fold * count, which.shape) + which, folds * count)
    sums = jnp.reshape(sums, (*y.shape[:-1], folds, count, size, size + 1))
    sums = jnp.einsum("jk,...kafg->...jafg", trained, sums)
    gram, moment = sums[..., :-1], sums[..., -1]
    level = _quotient(jnp.sum(moment[..., 0], axis=-1), jnp.sum(gram[..., 0, 0], axis=-1))
    return level, solve_ridge(gram, moment - level[..., None, None] * gram[..., 0], ridge)


def _logistic(x, y, which, count, weights, fold, trained, ridge, steps=10):
    """Logistic regressions around the overall log odds; arguments and results as for `_linear`."""
    used = jnp.take(trained, fold, axis=1).T  # [T, K]
    used = jnp.broadcast_to(used, (*y.shape, len(trained))) * weights[..., None]
    mean = _quotient(jnp.sum(used * y[..., None], axis=-2), jnp.sum(used, axis=-2))
    mean = jnp.clip(mean, 1e-4, 1 - 1e-4)
    level = jnp.log(mean) - jnp.log1p(-mean)

    def newton(theta, _):
        mine = jnp.take_along_axis(theta, which[..., None, :, None], axis=-2)  # [..., K, T, F]
        demand = jax.nn.sigmoid(jnp.einsum("...tf,...ktf->...tk", x, mine) + level[..., None, :])
        slopes = (used * (y[..., None] - demand))[..., None] * x[..., None, :]
        curves = (used * demand * (1 - demand))[..., None, None] * (x[..., :, None] * x[..., None, :])[..., None, :, :]
        slope, gram = (jnp.moveaxis(_sums(part, which, count), y.ndim - 1, y.ndim) for part in (slopes, curves))
        return theta + solve_ridge(gram, slope - ridge * theta, ridge), None

    start = jnp.zeros((*y.shape[:-1], len(trained), count, x.shape[-1]), y.dtype)
    return level, jax.lax.scan(newton, start, length=steps)[0]


def _quotient(above, below):
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1.0), 0.0)


def solve_ridge(gram: Float[Array, "... F F"], moment: Float[Array, "... F"], ridge: float) -> Float[Array, "... F"]:
    """Solutions of `(gram + ridge identity) theta = moment`."""
    size = gram.shape[-1]
    if size == 1:
        return moment / (gram[..., 0] + ridge)
    penalty = jnp.broadcast_to(ridge * jnp.eye(size, dtype=gram.dtype), gram.shape)
    return linear.solve(gram + penalty, moment)
