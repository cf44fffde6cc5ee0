"""Rules for a market's numbers, looked at before anything is traced, wherever the numbers come from.

An environment states its rules once, for a batch of markets: `Environment.rules(params)` yields `(names, holds, wanted)`,
with `names` the leaves that a rule is about, `holds` a bool for each market, and `wanted` what must be. Here they are
looked at, and the first market that breaks one is named.
"""

import operator

import jax
import numpy as np

from jaxprice import checks

SHOWN = 8  # numbers of an array that a message shows


def check(env, params):
    """Refuse params that are not a market of `env`: one market, or a batch with a leading axis; traced params pass.

    Args:
      env: an environment.
      params: its params, of NumPy arrays, JAX arrays or Python numbers.

    Raises:
      ValueError: a leaf that is not a number or not finite, or a rule of the environment that is broken; it names the leaf,
        what it is, and in a batch the row.
    """
    if checks.is_traced(params):
        return
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    names = [jax.tree_util.keystr(path).lstrip(".") for path, _ in leaves]
    arrays = [_numbers(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)]
    batched = np.ndim(params.max_steps_in_episode) > 0
    if not batched:
        arrays = [array[None] for array in arrays]
    elif any(not array.ndim for array in arrays) or len({len(array) for array in arrays}) > 1:
        sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in zip(names, arrays, strict=True))
        raise ValueError(f"params must be one market, or a batch in which every leaf has the same leading axis, got {sizes}")
    if not len(arrays[0]):
        raise ValueError("params must hold at least one market, got a batch of none")
    markets = jax.tree.unflatten(structure, arrays)
    for name, array in zip(names, arrays, strict=True):
        if name.split(".")[0] not in env.tables and np.issubdtype(array.dtype, np.floating):
            infinite = name.split(".")[-1] in env.infinite
            _look(markets, batched, name, ~np.isnan(array) if infinite else np.isfinite(array), f"a finite {name}")
    for rule in env.rules(markets):
        _look(markets, batched, *rule)


def _numbers(name, leaf):
    """A leaf as a NumPy array of numbers."""
    try:
        array = np.asarray(leaf)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.dtype.kind not in "fiub" and not jax.numpy.issubdtype(array.dtype, np.floating):
        raise ValueError(f"params must be numbers, got {name}={leaf!r}")
    return array


def _look(markets, batched, names, holds, wanted):
    """Refuse the first market for which a rule does not hold."""
    holds = np.asarray(holds)
    holds = holds.reshape(len(holds), -1).all(axis=1)
    if holds.all():
        return
    row = int(np.argmin(holds))
    got = ", ".join(f"{name}={_shown(operator.attrgetter(name)(markets)[row])}" for name in names.split())
    where = f" in row {row} of {len(holds)} markets" if batched else ""
    raise ValueError(f"params must have {wanted}, got {got}{where}")


def _shown(value):
    """A leaf in few words."""
    value = np.asarray(value)
    if value.size <= SHOWN:
        return value.tolist()
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        bad = np.flatnonzero(~np.isfinite(value))
        return f"{value.ravel()[bad[0]]} among {value.size} numbers"
    return f"{value.size} numbers from {value.min():g} to {value.max():g}"
