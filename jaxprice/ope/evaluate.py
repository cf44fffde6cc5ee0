"""Several estimators on many logs: values, standard errors and intervals in one table.

The logs are worked through in chunks of fixed size by one compiled program, so the memory for intermediate results does not
grow with the number of logs. In the program the estimators share weights, predictions and sums over actions.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxprice import checks
from jaxprice.ope import estimators as known
from jaxprice.ope.diagnostics import weight_diagnostics
from jaxprice.ope.estimate import Estimate
from jaxprice.ope.intervals import bootstrap, checked_level, clt, empirical_bernstein
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.reward_model import reward_model
from jaxprice.ope.target import check_overlap, checked_shape, checked_target, fits, missing, unchecked_target, unseen
from jaxprice.ope.weights import importance_weights

SHARED = 64  # consecutive logs that share the samples of the bootstrap
CELLS = 2**22  # decisions times actions of a chunk
CLIP = 10.0


class Model(NamedTuple):
    """Predicted rewards `[..., T, num_actions]`, and a function from the weights of decisions to them, or None."""

    predicted: Any
    refit: Callable | None


class Entry(NamedTuple):
    """An estimator by name.

    Attributes:
      run: maps a log, a target and a `Model` to an estimate.
      needs_model: whether it uses predicted rewards.
      needs_support: whether it needs overlap.
      horizons: whether it is for logs of selling horizons.
      largest: largest weight in its terms if these are weights times rewards, else None.
    """

    run: Callable[[DecisionLog, Any, Model], Estimate]
    needs_model: bool = False
    needs_support: bool = True
    horizons: bool = False
    largest: float | None = None


@functools.cache
def entries() -> dict[str, Entry]:
    """The estimators that `evaluate` knows by name, with their default options."""

    def weighted(run, **options):
        return Entry(lambda log, target, _: run(log, target), **options)

    def robust(run, **options):
        return Entry(lambda log, target, model: run(log, target, model.predicted), needs_model=True, **options)

    def direct(log, target, model):
        return known.direct_method(log, target, model.predicted if model.refit is None else model.refit)

    normalised = functools.partial(known.per_decision, self_normalised=True)
    return {
        "replay": weighted(known.replay),
        "ips": weighted(known.ips, largest=math.inf),
        "clipped_ips": weighted(functools.partial(known.clipped_ips, clip=CLIP), needs_support=False, largest=CLIP),
        "snips": weighted(known.snips),
        "direct_method": Entry(direct, needs_model=True, needs_support=False),
        "doubly_robust": robust(known.doubly_robust),
        "self_normalised_dr": robust(known.self_normalised_dr),
        "switch_dr": robust(known.switch_dr, needs_support=False),
        "shrunk_dr": robust(known.shrunk_dr, needs_support=False),
        "per_decision": weighted(known.per_decision, horizons=True),
        "self_normalised_per_decision": weighted(normalised, horizons=True),
    }


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


def evaluate(
    log: DecisionLog | Iterable[DecisionLog],
    target: Any,
    estimators: Sequence[str] | Mapping[str, Callable] | None = None,
    *,
    model: Any = reward_model,
    level: float = 0.95,
    interval: str = "clt",
    replicates: int = 1000,
    seed: int = 0,
    reward_range: tuple[float, float] | None = None,
    horizons: bool = False,
    allow_missing: bool = False,
    chunk: int | None = None,
) -> xr.Dataset:
    """What a target policy would have earned, by several estimators.

    A second call with the same functions and shapes reuses the compiled program.

    Args:
      log: logs `[..., T]` with a price grid (with `horizons`, `[..., E, T]`), or an iterable of them, of which one is held
        at a time.
      target: a rule as for `ope.target`: action, vector, table of probabilities, or function of one observation.
      estimators: names, see `evaluate.entries`; or functions of log, target and predicted rewards by name. None takes all
        that apply.
      model: predicted rewards `[..., T, num_actions]`, or a function of the log that returns them, such as
        `functools.partial(ope.reward_model, features=...)`. If it takes `weights` and `folds`, the direct method fits it on
        all decisions of a log, and its interval includes the noise of the fit.
      level: probability of the intervals.
      interval: "clt", "bootstrap", or "bernstein", which needs `reward_range` and all probabilities of the logging policy.
      replicates: samples of the bootstrap.
      seed: seed of the bootstrap; every 64 consecutive logs share its samples.
      reward_range: lowest and highest possible reward, for "bernstein".
      horizons: whether a log is `[E, T]`; values are then those of a horizon.
      allow_missing: evaluate a target without full support.
      chunk: logs at a time; None chooses.

    Returns:
      A dataset with dimensions `estimator` and `log` (`log_0`, `log_1`, ... for several axes, none for a single log):
      `value`, `se`, `low`, `high`, and the diagnostics of the weights, see `ope.Diagnostics`. With "bernstein", the bound
      uses the largest weight among the logged contexts, and is NaN for estimators other than `ips` and `clipped_ips`.

    Raises:
      ValueError: an unknown name, a target that does not fit the log or lacks support, or a missing reward range.
    """
    checks.choice("interval", interval, ("clt", "bootstrap", "bernstein"))
    if interval == "bernstein" and reward_range is None:
        raise ValueError("interval='bernstein' needs reward_range=(lowest, highest possible reward)")
    axes, key = 2 if horizons else 1, jax.random.key(checks.seed(seed))
    plan = Plan(
        (), target if callable(target) else None, model if callable(model) else None, checked_level(level), interval,
        checks.positive_int("replicates", replicates), reward_range, axes,
    )  # fmt: skip
    tables, lead, groups, names = [], None, 0, []
    for piece in [log] if isinstance(log, DecisionLog) else log:
        if len(piece.shape) < axes:
            raise ValueError(f"log must be [..., E, T] with horizons=True, got shape {list(piece.shape)}")
        if not piece.discrete:
            raise ValueError("log has prices from an interval; evaluate is for a price grid, see ope.kernel_ips")
        lead = piece.shape[:-axes] if isinstance(log, DecisionLog) else None
        table = _columns(piece, target if plan.rule is None else None, model if plan.model is None else None)
        chosen = plan._replace(runs=_chosen(table[1], plan, estimators))
        names = [name for name, _ in chosen.runs]
        flat, count = _flat(table, len(piece.shape) - axes), math.prod(piece.shape[:-axes])
        size = _size(piece, axes, count, chunk)
        for first in range(0, count, size):
            part, rule, predicted = flat if size == count else _part(flat, first, size, count)
            rule, predicted = _prepare(part, rule, predicted, plan=chosen)
            found = _chunk(part, rule, predicted, key, groups, plan=chosen)
            _raise_if_bad(part, rule, found, chosen, allow_missing)
            kept = min(size, count - first)
            tables.append({name: np.asarray(x)[..., :kept] for name, x in found.items() if name != "fine"})
            groups += -(-size // SHARED)
    if not tables:
        raise ValueError("log must hold at least one log, got none")
    joined = {name: np.concatenate([table[name] for table in tables], axis=-1) for name in tables[0]}
    return _dataset(joined, names, lead, {"level": level, "interval": interval})


def _columns(log, target, model):
    """The log, the table or vector of the target (None for a function), and predicted rewards (None for a function)."""
    if target is not None:
        target = checked_shape(log, unchecked_target(log, target))
    if model is not None:
        model, wanted = jnp.asarray(model), (*log.shape, log.num_actions)
        if model.shape != wanted:
            raise ValueError(f"model must hold predicted rewards {list(wanted)}, got shape {list(model.shape)}")
    return log, target, model


def _flat(columns, leading):
    """The columns with one leading axis; a vector target and the price grid belong to all logs."""

    def flatten(x):
        return jnp.reshape(x, (-1, *x.shape[leading:])) if leading != 1 else x

    log, target, model = columns
    fields = {name: getattr(log, name) for name in log.__dataclass_fields__ if name != "prices"}
    target = target if target is None or target.ndim == 1 else flatten(target)
    return log.replace(**jax.tree.map(flatten, fields)), target, jax.tree.map(flatten, model)


def _part(columns, first, size, count):
    """The logs from `first` on; the last one fills up the last chunk."""
    rows = slice(first, first + size) if first + size <= count else np.minimum(np.arange(first, first + size), count - 1)
    log, target, model = columns
    return log[rows], target if target is None or target.ndim == 1 else target[rows], None if model is None else model[rows]


def _size(log, axes, count, chunk):
    """Logs in a chunk: all, or a multiple of `SHARED`, with chunks of about equal size."""
    if chunk is None:
        chunk = max(1, CELLS // (math.prod(log.shape[-axes:]) * max(log.num_actions, 1)))
    chunk = checks.positive_int("chunk", chunk)
    even = -(-count // -(-count // chunk))
    return min(count, -(-even // SHARED) * SHARED)


def _chosen(target, plan, estimators):
    """`(name, entry)` of the estimators that were asked for."""
    horizons, listed = plan.axes == 2, entries()
    if isinstance(estimators, Mapping):
        return tuple((name, _custom(run, horizons)) for name, run in estimators.items())
    if estimators is None:
        random = target is None or not bool(jnp.all((target == 0) | (target == 1)))
        return tuple(
            (name, entry) for name, entry in listed.items()
            if entry.horizons == horizons and not (name == "replay" and random)
        )  # fmt: skip
    for name in estimators:
        checks.choice("estimator", name, listed)
        if listed[name].horizons != horizons:
            raise ValueError(f"estimator {name!r} needs horizons={listed[name].horizons}, got horizons={horizons}")
    return tuple((name, listed[name]) for name in estimators)


@functools.lru_cache(maxsize=64)
def _custom(run, horizons):
    return Entry(lambda log, target, model: run(log, target, model.predicted), needs_model=not horizons, horizons=horizons)


@functools.partial(jax.jit, static_argnames="plan")
def _prepare(log, target, predicted, *, plan):
    """The target's probabilities and predicted rewards of a chunk: a program of its own, so that they are computed once."""
    if plan.rule is not None:
        target = unchecked_target(log, plan.rule)
    if plan.model is not None and any(entry.needs_model for _, entry in plan.runs):
        predicted = plan.model(log)
    return target, predicted


@functools.partial(jax.jit, static_argnames="plan")
def _chunk(log, target, predicted, key, group, *, plan):
    """Columns `[estimators, logs]` and diagnostics `[logs]` of a chunk, and whether its target passed each check.

    `group` counts the groups of logs with common samples before this chunk.
    """
    refit = None
    if plan.model is not None and {"weights", "folds"} <= set(inspect.signature(plan.model).parameters):
        refit = lambda weights: plan.model(log, folds=1, weights=weights)  # noqa: E731
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


def _raise_if_bad(log, target, found, plan, allow_missing):
    """Raise what `checked_target` and `check_overlap` raise; a chunk that passed is not looked at again."""
    fine = found["fine"]
    support = any(entry.needs_support for _, entry in plan.runs) and not allow_missing
    if not all(bool(each) for each in fine[:-1]) or (support and not bool(jnp.mean(found["missing"]) <= 1e-6)):
        checked_target(log, target)
        check_overlap(log, target, not support)
    if not bool(fine[-1]):
        low, high = float(jnp.min(log.reward)), float(jnp.max(log.reward))
        raise ValueError(f"reward_range={plan.reward_range} must contain all rewards, got rewards in [{low:g}, {high:g}]")


def _dataset(table, names, lead, attributes):
    """The table with one dimension for each leading axis of the logs."""
    lead = (table["value"].shape[-1],) if lead is None else lead
    dims = ("log",) if len(lead) == 1 else tuple(f"log_{axis}" for axis in range(len(lead)))
    shaped = {name: x.reshape((*x.shape[:-1], *lead)) for name, x in table.items()}
    columns = {name: ((("estimator",) if table[name].ndim == 2 else ()) + dims, x) for name, x in shaped.items()}
    return xr.Dataset(columns, {"estimator": names}, attributes)
