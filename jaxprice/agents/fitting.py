"""Checks that weights belong to a network: names, shapes, types and finite values, before the first period.

Here, weights are a flat dict `"params/core/into/kernel"` -> array. The observation of a market decides the number of inputs
of the first layer, and a file does not name the market. So the length of the observation is inferred from the weights. If no
length agrees with all shapes, the weights belong to another network.

A file may hold matrices in eight bits: integers q from -127 to 127 and a scale for each output channel, under the name of
the matrix with `SCALE`. The weight is q times the scale, one rounding in float32, so that it is the same on every machine.
"""

import functools
import types
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.agents import inputs, networks

SCALE = "@scale"  # ending of the name of the scales of a matrix in eight bits


def flat(weights) -> dict[str, Any]:
    """Nested weights as a flat dict.

    Raises:
      ValueError: they are not a nested dict.
    """
    if not isinstance(weights, Mapping):
        raise ValueError(f"weights must be a nested dict of arrays, got {checks.shown(weights)}")
    return {"/".join(map(str, key)): value for key, value in flax.traverse_util.flatten_dict(dict(weights)).items()}


def nested(weights):
    """A flat dict as nested weights."""
    return flax.traverse_util.unflatten_dict(weights, sep="/")


def folded(headers) -> dict[str, Any]:
    """Headers of arrays as `expanded` makes them: name -> an object with `shape` and `dtype`.

    Raises:
      ValueError: a scale has no matrix in eight bits, or another shape or type than one float32 a channel.
    """
    found = {name: header for name, header in headers.items() if not name.endswith(SCALE)}
    for name, scale in headers.items():
        if not name.endswith(SCALE):
            continue
        whole = found.get(name.removesuffix(SCALE))
        if whole is None or np.dtype(whole.dtype) != np.int8 or len(whole.shape) < 2:
            raise ValueError(f"the scale {name!r} belongs to no matrix in eight bits")
        wanted = (*(1,) * (len(whole.shape) - 1), whole.shape[-1])
        if tuple(scale.shape) != wanted or np.dtype(scale.dtype) != np.float32:
            raise ValueError(
                f"the scale {name!r} must be float32 {wanted}, got {np.dtype(scale.dtype)} {tuple(scale.shape)}"
            )
        found[name.removesuffix(SCALE)] = types.SimpleNamespace(shape=whole.shape, dtype=np.dtype(np.float32))
    return found


def expanded(weights) -> dict[str, Any]:
    """Flat weights without scales: matrices in eight bits, times their scale, are float32. Check `folded` before."""
    found = {name: np.asarray(weight) for name, weight in weights.items() if not name.endswith(SCALE)}
    for name, scale in weights.items():
        if name.endswith(SCALE):
            whole = found[name.removesuffix(SCALE)]
            with np.errstate(over="ignore", invalid="ignore"):
                found[name.removesuffix(SCALE)] = whole.astype(np.float32) * np.asarray(scale, np.float32)
    return found


def packed(weights) -> dict[str, np.ndarray]:
    """Flat weights with matrices rounded to eight bits for each output channel, and their scales; `expanded` goes back."""
    found = {}
    for name, weight in weights.items():
        weight = np.asarray(weight, np.float32)
        found[name] = weight
        if weight.ndim >= 2:
            largest = np.abs(weight).max(axis=tuple(range(weight.ndim - 1)), keepdims=True)
            scale = np.maximum(largest, np.float32(1e-12)) / np.float32(127)
            found[name] = np.clip(np.round(weight / scale), -127, 127).astype(np.int8)
            found[name + SCALE] = scale.astype(np.float32)
    return found


def shapes(network, facts, seen) -> dict[str, jax.ShapeDtypeStruct]:
    """The weights that a network has in a market with `facts` and `seen` of one lane: flat, `jax.ShapeDtypeStruct` each."""
    return flat(jax.eval_shape(lambda key: networks.initial(network, key, facts, seen), jax.random.key(0)))


def check_shapes(network, actions, weights):
    """Raise if weights do not belong to a network, for any length of the observation.

    Args:
      network: from `networks.make`.
      actions: number of actions.
      weights: name -> array, or an object with `shape` and `dtype`.

    Raises:
      ValueError: names, shapes or types differ.
    """
    none, one = _shapes(network, actions, 0), _shapes(network, actions, 1)
    if missing := sorted(set(none) - set(weights)):
        raise ValueError(f"the weights lack {checks.shown(missing)} of the network")
    if extra := sorted(set(weights) - set(none)):
        raise ValueError(f"the weights hold {checks.shown(extra)}, which the network does not have")
    for name, weight in weights.items():
        dtype = np.dtype(weight.dtype)
        if dtype.kind != "f" or dtype.itemsize > 8:
            raise ValueError(f"the weights {name!r} must be real numbers of at most 64 bits, got {dtype}")
    wanted = none
    for name in none:
        if none[name].shape != one[name].shape and len(weights[name].shape) == len(none[name].shape):
            length, step = none[name].shape[0], one[name].shape[0] - none[name].shape[0]
            shown = max(0, (weights[name].shape[0] - length) // step)
            wanted = _shapes(network, actions, shown)
            break
    for name, weight in weights.items():
        if tuple(weight.shape) != wanted[name].shape:
            raise ValueError(f"the weights {name!r} must have shape {wanted[name].shape}, got {tuple(weight.shape)}")


def checked(network, actions, weights):
    """Flat weights as float32 NumPy arrays.

    Raises:
      ValueError: they do not belong to the network, or are not finite.
    """
    weights = {name: np.asarray(weight) for name, weight in weights.items()}
    check_shapes(network, actions, weights)
    with np.errstate(over="ignore"):
        weights = {name: weight.astype(np.float32) for name, weight in weights.items()}
    for name, weight in weights.items():
        if bad := int(np.sum(~np.isfinite(weight))):
            raise ValueError(f"the weights {name!r} must be finite, but {bad} of {weight.size} are not")
    return weights


@functools.lru_cache(maxsize=64)
def _shapes(network, actions, shown) -> dict[str, jax.ShapeDtypeStruct]:
    """Like `shapes`, for a market that shows `shown` numbers besides time, price and demand."""

    def array(*shape, dtype=jnp.float32) -> Any:  # a shape stands for an array
        return jax.ShapeDtypeStruct(shape, dtype)

    whole = array(dtype=jnp.int32)
    interval = isinstance(network, networks.GaussianNetwork)
    known, ends = (2, {"low": array(), "high": array()}) if interval else (actions, {})
    facts = inputs.Facts(array(known), array(known), array(), array(), 1, **ends)
    seen = inputs.Seen(array() if interval else whole, array(), array(), whole, array(shown), array(shown))
    return flat(jax.eval_shape(lambda facts, seen: networks.initial(network, jax.random.key(0), facts, seen), facts, seen))
