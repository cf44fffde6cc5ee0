"""Several estimators on many logs: values, standard errors and intervals in one table.

The logs are worked through in chunks of fixed size by one compiled program (`ope.chunks`), so the memory for intermediate
results does not grow with the number of logs.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxprice import checks
from jaxprice.ope import chunks
from jaxprice.ope.chunks import SHARED, Plan
from jaxprice.ope.entries import chosen
from jaxprice.ope.intervals import checked_level
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.reward_model import reward_model
from jaxprice.ope.target import check_overlap, checked_shape, checked_target, unchecked_target

CELLS = 2**22  # decisions times actions of a chunk


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
      estimators: names, see `ope.entries`; or functions of log, target and predicted rewards by name. None takes all
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
    given = target if plan.rule is None else None, model if plan.model is None else None
    tables, lead, groups, names = [], None, 0, []
    for piece in [log] if isinstance(log, DecisionLog) else log:
        if len(piece.shape) < axes:
            raise ValueError(f"log must be [..., E, T] with horizons=True, got shape {list(piece.shape)}")
        if not piece.discrete:
            raise ValueError("log has prices from an interval; evaluate is for a price grid, see ope.kernel_ips")
        lead = piece.shape[:-axes] if isinstance(log, DecisionLog) else None
        names, more, groups = _worked(piece, given, plan, estimators, key, groups, allow_missing, chunk)
        tables += more
        del piece  # before the next one is made
    if not tables:
        raise ValueError("log must hold at least one log, got none")
    joined = {name: np.concatenate([table[name] for table in tables], axis=-1) for name in tables[0]}
    return _dataset(joined, names, lead, {"level": level, "interval": interval})


def _worked(log, given, plan, estimators, key, groups, allow_missing, chunk):
    """Names of the estimators, the tables of all chunks of the logs, and the number of groups so far.

    Large arrays of a chunk live in this call alone, and results are copied out of the memory in which they were computed.
    """
    table, tables = _columns(log, *given), []
    plan = plan._replace(runs=chosen(table[1], plan.axes == 2, estimators))
    flat, count = _flat(table, len(log.shape) - plan.axes), math.prod(log.shape[: -plan.axes])
    size = _size(log, plan.axes, count, chunk)
    for first in range(0, count, size):
        part, rule, predicted = flat if size == count else _part(flat, first, size, count)
        rule, predicted = chunks.prepare(part, rule, predicted, plan=plan)
        found = chunks.work(part, rule, predicted, key, groups, plan=plan)
        _raise_if_bad(part, rule, found, plan, allow_missing)
        kept = min(size, count - first)
        tables.append({name: np.array(x)[..., :kept] for name, x in found.items() if name != "fine"})
        groups += -(-size // SHARED)
    return [name for name, _ in plan.runs], tables, groups


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
