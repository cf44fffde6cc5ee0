"""What a cell of the study is: a market, a seller that writes the logs, targets, and their values.

A `Case` draws chunks of independent logs. `Logs` are such a chunk with its targets: the probabilities that an estimator
needs, and the exact value of each.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.ope_coverage.estimators import Family
from jaxprice import ope


class Sizes(NamedTuple):
    """Sizes of a run.

    Attributes:
      logs: logs of a cell.
      decisions: decisions of a log.
      chunk: logs that are computed at a time.
    """

    logs: int
    decisions: int
    chunk: int


class Target(NamedTuple):
    """A policy to evaluate.

    Attributes:
      policy: probabilities `[..., num_actions]`, or prices for an interval, as the estimators take them.
      values: what is asked -> its exact value, a number or `[logs]`.
      certain: whether it is deterministic.
    """

    policy: Any
    values: dict[str, Any]
    certain: bool


class Logs(NamedTuple):
    """A chunk of logs.

    Attributes:
      log: the `ope.DecisionLog`, `[logs, T]` or `[logs, E, T]`.
      targets: name -> `Target`.
      more: further arguments of the estimators, by name.
    """

    log: Any
    targets: dict[str, Target]
    more: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """A cell: a market and the seller that writes the logs.

    Attributes:
      market, logging: their names in tables.
      draw: `(seed, logs, decisions) -> Logs`.
      family: the estimators.
    """

    market: str
    logging: str
    draw: Callable[[int, int, int], Logs]
    family: Family


def measure(case: Case, sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """All estimates of a cell.

    Returns:
      `names`: (target, estimator) of each row, `[rows, 2]`; `value`, `se`, `low`, `high`, `truth`: float `[rows, logs]`;
      and `effective`: the effective sample size as a share of the decisions, `[rows, logs]`, NaN on an interval.
    """
    parts = []
    for first in range(0, sizes.logs, sizes.chunk):
        size = min(sizes.chunk, sizes.logs - first)
        drawn = case.draw(seed + first, size, sizes.decisions)
        parts.append(_chunk(case, drawn, jax.random.fold_in(jax.random.key(seed), first), size))
    names = np.array([name for name, _ in parts[0]])
    columns = ("value", "se", "low", "high", "truth", "effective")
    rows = {
        name: np.stack([np.concatenate([part[k][1][name] for part in parts]) for k in range(len(names))]) for name in columns
    }
    return {"names": names} | rows


def _chunk(case, drawn, key, size):
    """Rows of a chunk: `((target, estimator), columns)`."""
    rows, prepared = [], case.family.prepare(drawn.log, **drawn.more)
    for name, target in drawn.targets.items():
        found = case.family.estimate(key, drawn.log, target.policy, target.certain, prepared, **drawn.more)
        effective = np.asarray(effective_share(drawn.log, target.policy))
        for what, truth in target.values.items():
            truth = np.broadcast_to(np.asarray(truth, np.float64), (size,))
            for estimator, (one, low, high) in found.items():
                told = {"value": one.value, "se": one.se, "low": low, "high": high, "effective": effective}
                told = {column: np.asarray(x, np.float32) for column, x in told.items()} | {"truth": truth}
                rows.append(((f"{name}{what}", estimator), told))
    return rows


@jax.jit
def effective_share(log, target):
    """Effective sample size of the weights of a log over its decisions, `[logs]`; NaN for prices from an interval."""
    if not log.discrete:
        return jnp.full(log.shape[0], jnp.nan)
    weights = ope.importance_weights(log, target, allow_missing=True).reshape(log.shape[0], -1)
    squares = jnp.sum(jnp.square(weights), axis=-1)
    return jnp.square(jnp.sum(weights, axis=-1)) / jnp.where(squares > 0, squares, 1.0) / weights.shape[-1]
