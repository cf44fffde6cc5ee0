"""Checks that weights belong to a network: names, shapes, types and finite values, before the first period.

Here, weights are a flat dict `"params/core/into/kernel"` -> array. The observation of a market decides the number of inputs
of the first layer, and a file does not name the market. So the length of the observation is inferred from the weights. If no
length agrees with all shapes, the weights belong to another network.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.agents import inputs, networks


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
