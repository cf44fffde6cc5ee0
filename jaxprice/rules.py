"""Rules that the numbers of a market must satisfy, checked before tracing.

An environment states its rules once, for a batch of markets: `Environment.rules(params)` yields `(names, holds, wanted)`.
`names` are the leaves that a rule concerns, `holds` is a bool for each market, and `wanted` is the text of the condition.
This module checks the rules, and its error names the first market that breaks one.
"""

import dataclasses
import functools
import operator

import jax
import numpy as np

from jaxprice import checks

SHOWN = 8  # how many numbers of an array a message shows
ROUNDING = 1e-5  # tolerance for bounds and sums in float32


def check(env, params):
    """Raise if params are not a market of `env`: one market, or a batch with a leading axis. Traced params pass unchecked.

    Args:
      env: an environment.
      params: its params, made of NumPy arrays, JAX arrays or Python numbers.

    Raises:
      ValueError: a leaf is not a number or not finite, or a rule of the environment is broken. The message names the leaf,
        its value, and in a batch the row.
    """
    if checks.is_traced(params):
        return
    with jax.ensure_compile_time_eval():  # rules that use JAX give numbers even inside a trace
        _check(env, params)


def _check(env, params):
    """`check` for params that are numbers."""
    drawn = _drawn(env)
    if drawn is not None and type(params) is not type(drawn):
        raise ValueError(f"params must be the {type(drawn).__name__} of {env.name}, got a {type(params).__name__}")
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
    if drawn is not None:
        _same_kind(env, params, drawn, [array[0] for array in arrays])
    markets = jax.tree.unflatten(structure, arrays)
    for name, array in zip(names, arrays, strict=True):
        if name.split(".")[0] not in env.tables and np.issubdtype(array.dtype, np.floating):
            infinite = name.split(".")[-1] in env.infinite
            holds = ~np.isnan(array) if infinite else np.isfinite(array)
            _look({name: array}, batched, name, holds, f"a finite {name}")
    for rule in env.rules(markets):
        _look(markets, batched, *rule)


def _same_kind(env, params, drawn, first):
    """Raise if params differ from drawn ones in structure, shape or kind of number; `first`: the leaves of one market."""
    bare, kind = (dataclasses.replace(x, **dict.fromkeys(env.tables)) for x in (params, drawn))
    wanted, structure = jax.tree_util.tree_flatten_with_path(kind)
    if jax.tree.structure(bare) != structure:
        raise ValueError(f"params must have the structure of those that {env.name} draws, {structure}, got {bare}")
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    arrays = dict(zip(names, first, strict=True))
    for path, leaf in wanted:
        name = jax.tree_util.keystr(path)
        array, integer = arrays[name], np.issubdtype(leaf.dtype, np.integer)
        name = name.lstrip(".")
        if array.shape != leaf.shape:
            raise ValueError(f"params must have a {name} of shape {list(leaf.shape)}, got {list(array.shape)}")
        if array.dtype.kind == "b" or (integer and array.dtype.kind not in "iu"):
            raise ValueError(f"params must have a {name} of {leaf.dtype}, got {array.dtype}")


@functools.lru_cache(maxsize=256)
def _drawn(env):
    """Shapes of the params that an environment draws, or None if it cannot draw."""
    try:
        return jax.eval_shape(env.sample_params, jax.random.key(0))
    except NotImplementedError:
        return None


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
    """Raise for the first market for which a rule does not hold."""
    holds = np.asarray(holds)
    holds = np.all(holds.reshape(len(holds), -1), axis=1)
    if holds.all():
        return
    row = int(np.argmin(holds))
    one = jax.tree.map(lambda x: x[row], markets)
    got = ", ".join(f"{name}={_shown(_leaf(one, name))}" for name in names.split())
    where = f" in row {row} of {holds.size} markets" if batched else ""
    raise ValueError(f"params must have {wanted}, got {got}{where}")


def _shown(value):
    """A leaf, or a curve made of several leaves, in few words."""
    if not isinstance(value, np.ndarray | np.generic):
        return jax.tree.map(_shown, value)
    value = np.asarray(value)
    if value.size <= SHOWN:
        return value.tolist()
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        bad = np.flatnonzero(~np.isfinite(value))
        return f"{value.ravel()[bad[0]]} among {value.size} numbers"
    return f"{value.size} numbers from {value.min():g} to {value.max():g}"


def at_least(params, low, *names):
    """Rule: the leaves are at least `low`."""
    for name in names:
        yield name, _leaf(params, name) >= low, f"a {name} of at least {low:g}"


def above(params, low, *names):
    """Rule: the leaves are above `low`."""
    for name in names:
        yield name, _leaf(params, name) > low, f"a {name} above {low:g}"


def shares(params, *names):
    """Rule: the leaves are in [0, 1], as probabilities are."""
    for name in names:
        value = _leaf(params, name)
        yield name, (value >= 0) & (value <= 1 + ROUNDING), f"a {name} in [0, 1]"


def distributions(params, *names):
    """Rule: the leaves are probabilities that sum to one over the last axis."""
    for name in names:
        value = _leaf(params, name)
        sums = np.abs(value.sum(axis=-1, dtype=float) - 1) <= 10 * ROUNDING
        yield name, (value >= 0).all(axis=-1) & sums, f"{name} that are not negative and sum to one over the last axis"


def grid(params):
    """Rule: the prices of a grid `[M, num_prices]` are nonnegative and increasing."""
    holds = (params.prices >= 0).all(axis=1) & (np.diff(params.prices, axis=1) > 0).all(axis=1)
    yield "prices", holds, "prices that are not negative and increase"


def interval(params, cost=True):
    """Rule: a price interval is nonnegative, with `low` below `high`, and the cost is nonnegative."""
    yield from at_least(params, 0, "low", *(["cost"] if cost else []))
    yield "low high", params.low < params.high, "low below high"


def offers(params, on_grid):
    """Rules for prices: an interval with a cost, and with `on_grid` also a grid."""
    yield from interval(params)
    if on_grid:
        yield from grid(params)


def within(name, rules):
    """The rules of one field of the params, with the name of the field in front of the leaf names."""
    for names, holds, wanted in rules:
        yield " ".join(f"{name}.{leaf}" for leaf in names.split()), holds, wanted


def flat(parts):
    """A batch of lists of parts, leaves `[M, K, ...]`, reshaped to one batch of parts, leaves `[M K, ...]`."""
    return jax.tree.map(lambda x: np.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])), parts)


def _leaf(params, name):
    return params[name] if isinstance(params, dict) else operator.attrgetter(name)(params)
