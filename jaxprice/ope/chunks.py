"""One chunk of logs, in compiled code: estimates, intervals and diagnostics, in which estimators share what they can."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxprice.ope.diagnostics import weight_diagnostics
from jaxprice.ope.entries import Entry, Model
from jaxprice.ope.estimate import Estimate
from jaxprice.ope.intervals import bootstrap, clt, empirical_bernstein
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.target import fits, missing, unchecked_target, unseen
from jaxprice.ope.weights import importance_weights

SHARED = 64  # consecutive logs that share the samples of the bootstrap


class Plan(NamedTuple):
    """What is compiled: all choices that are not arrays."""

    runs: tuple[tuple[str, Entry], ...]
    rule: Callable | None
    model: Callable | None
    level: float
    interval: str
    replicates: int
    reward_range: tuple[float, float] | None
    axes: int


@functools.partial(jax.jit, static_argnames="plan")
def prepare(log: DecisionLog, target: Any, predicted: Any, *, plan: Plan) -> tuple[Any, Any]:
    """The target's probabilities and predicted rewards of a chunk: a program of its own, so that they are computed once."""
    if plan.rule is not None:
        target = unchecked_target(log, plan.rule)
    if plan.model is not None and any(entry.needs_model for _, entry in plan.runs):
        predicted = plan.model(log)
    return target, predicted


@functools.partial(jax.jit, static_argnames="plan")
def work(log: DecisionLog, target: Any, predicted: Any, key: Array, group: Any, *, plan: Plan) -> dict[str, Any]:
    """Columns `[estimators, logs]` and diagnostics `[logs]` of a chunk, and whether its target passed each check.

    `group` counts the groups of logs with common samples before this chunk.
    """
    refit, fit = None, plan.model
    if fit is not None and {"weights", "folds"} <= set(inspect.signature(fit).parameters):
        refit = lambda weights: fit(log, folds=1, weights=weights)  # noqa: E731
    model = Model(predicted, refit)
    estimates = [entry.run(log, target, model) for _, entry in plan.runs]
    ends = _intervals(log, target, estimates, (key, group), plan)
    weights = importance_weights(log, target, allow_missing=True)
    over = tuple(range(1, plan.axes))  # the axis of horizons
    about = weight_diagnostics(
        jnp.prod(weights, axis=-1) if over else weights,
        missing=jnp.mean(missing(log, target), axis=over),
        unseen=unseen(log, target, axes=plan.axes),
    )
    low, high = (jnp.stack(column) for column in zip(*ends, strict=True))
    return {
        "value": jnp.stack([estimate.value for estimate in estimates]),
        "se": jnp.stack([estimate.se for estimate in estimates]),
        "low": low,
        "high": high,
        **vars(about),
        "fine": (*fits(target, log.allowed), _inside(log, plan)),
    }


def _inside(log, plan):
    if plan.reward_range is None:
        return jnp.array(True)
    return jnp.all((log.reward >= plan.reward_range[0]) & (log.reward <= plan.reward_range[1]))


def _intervals(log, target, estimates, key, plan):
    if plan.interval == "clt":
        return [clt(estimate, plan.level) for estimate in estimates]
    if plan.interval == "bootstrap":
        return _bootstrapped(estimates, key, plan)
    if log.probabilities is None:
        raise ValueError("interval='bernstein' needs log.probabilities: the largest possible weight must be known")
    wide = jnp.broadcast_to(target, log.probabilities.shape)
    ratio = jnp.where(wide > 0, wide / jnp.where(log.probabilities > 0, log.probabilities, jnp.nan), 0.0)
    largest = jnp.nanmax(ratio, axis=tuple(range(1, ratio.ndim)))
    ends = []
    for (_, entry), estimate in zip(plan.runs, estimates, strict=True):
        if entry.largest is None:
            ends.append((jnp.full_like(estimate.value, jnp.nan),) * 2)
        else:
            low, high = (jnp.minimum(largest, entry.largest) * end for end in plan.reward_range)
            ends.append(empirical_bernstein(estimate, jnp.minimum(low, 0.0), jnp.maximum(high, 0.0), plan.level))
    return ends


def _bootstrapped(estimates, key, plan):
    """Intervals on samples that all estimators, and the logs of a group, have in common."""
    count = estimates[0].value.shape[0]
    groups, (key, first) = -(-count // SHARED), key
    if len({estimate.influence.shape for estimate in estimates}) > 1:
        raise ValueError("interval='bootstrap' needs estimators with equally many terms; evaluate the others apart")

    def ends(group):
        index, value, influence = group  # [estimators, logs], [estimators, logs, n]
        return bootstrap(jax.random.fold_in(key, index), Estimate(value, influence, influence), plan.level, plan.replicates)

    def grouped(columns):
        x = jnp.stack(columns, axis=1)  # [logs, estimators, ...]
        x = jnp.pad(x, [(0, groups * width - count)] + [(0, 0)] * (x.ndim - 1))
        return jnp.moveaxis(x.reshape(groups, width, *x.shape[1:]), 2, 1)

    width = min(count, SHARED)
    values, influences = (grouped([getattr(estimate, name) for estimate in estimates]) for name in ("value", "influence"))
    low, high = jax.lax.map(ends, (first + jnp.arange(groups), values, influences))
    return [(low[:, i].reshape(-1)[:count], high[:, i].reshape(-1)[:count]) for i in range(len(estimates))]
