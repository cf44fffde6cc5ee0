"""Trees of arrays as rows of 32-bit words: the states of all products are one array `uint32 [products, words]`.

A row holds the leaves of one product one after the other, bit for bit. A 32-bit number is one word and a 64-bit number two;
a smaller number, a bool included, takes a word of its own. Rows make three things cheap: compiled code has one argument
instead of one a leaf, which costs more than the arithmetic of a single quote; a snapshot is one array; and states can be
compared bit for bit.
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import UInt32

from jaxprice import checks


class Packing:
    """How a tree of arrays is laid out in a row.

    Args:
      tree: the tree of one row, arrays or their shapes.

    Attributes:
      words: number of 32-bit words of a row.
    """

    def __init__(self, tree: Any):
        leaves, self.structure = jax.tree.flatten(tree)
        self.leaves = [(tuple(jnp.shape(x)), np.dtype(jnp.result_type(x))) for x in leaves]
        sizes = [math.prod(shape) * (2 if dtype.itemsize == 8 else 1) for shape, dtype in self.leaves]
        ends = np.cumsum([0, *sizes]).tolist()
        self.places = list(itertools.pairwise(ends))
        self.words = ends[-1]

    def pack(self, tree: Any) -> UInt32[Array, " words"]:
        """The row of one tree, in code for one lane."""
        leaves = [_to_words(jnp.asarray(x, dtype)) for x, (_, dtype) in zip(jax.tree.leaves(tree), self.leaves, strict=True)]
        return jnp.concatenate(leaves) if leaves else jnp.zeros(0, jnp.uint32)

    def unpack(self, row: UInt32[Array, " words"]) -> Any:
        """The tree of one row, in code for one lane."""
        parts = (row[first:last] for first, last in self.places)
        return self.structure.unflatten(
            [_from_words(part, shape, dtype) for part, (shape, dtype) in zip(parts, self.leaves, strict=True)]
        )

    def rows(self, name: str, tree: Any, count: int) -> UInt32[np.ndarray, "count words"]:
        """Rows of `count` trees on the host.

        Args:
          name: of the argument, for messages.
          tree: the trees, with leaves `[count, *shape]`.
          count: number of rows.

        Raises:
          ValueError: another structure or shape, or numbers that are not finite or do not fit the type.
        """
        structure = jax.tree.structure(tree)
        if structure != self.structure:
            raise ValueError(f"{name} must have the structure of problem.observation, {self.structure}, got {structure}")
        out = np.empty((count, self.words), np.uint32)
        for leaf, (first, last), (shape, dtype) in zip(jax.tree.leaves(tree), self.places, self.leaves, strict=True):
            out[:, first:last] = _words(_numbers(name, leaf, (count, *shape), dtype)).reshape(count, last - first)
        return out

    def trees(self, rows: UInt32[np.ndarray, "count words"]) -> Any:
        """The trees of some rows on the host, leaves `[count, *shape]`."""
        found = []
        for (first, last), (shape, dtype) in zip(self.places, self.leaves, strict=True):
            part = np.ascontiguousarray(rows[:, first:last])
            if dtype.kind == "b":
                part = part.astype(bool)
            elif dtype.itemsize < 4:
                part = part.astype(f"u{dtype.itemsize}").view(dtype)
            found.append(part.view(dtype).reshape(len(rows), *shape))
        return self.structure.unflatten(found)


def _numbers(name, leaf, shape, dtype):
    """A leaf as an array of the type and shape that rows hold."""
    try:
        array = np.asarray(leaf)
        if array.dtype.kind not in "iufb":
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got {checks.shown(leaf)}") from None
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {list(shape[1:])} as problem.observation, got {list(array.shape[1:])}")
    if array.dtype != dtype:
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array.astype(dtype)
        if dtype.kind in "iub" and not np.array_equal(cast.astype(array.dtype), array):
            raise ValueError(f"{name} must hold {dtype} numbers, got {checks.shown(array.tolist())}")
        array = cast
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers, got {checks.shown(array.tolist())}")
    return array


def _words(array):
    """An array as words on the host, one or two for each number."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind == "b":
        return array.astype(np.uint32)
    if array.dtype.itemsize < 4:
        return array.view(f"u{array.dtype.itemsize}").astype(np.uint32)
    return array.view(np.uint32)


def _to_words(x):
    if x.dtype == jnp.bool_:
        return jnp.reshape(x, -1).astype(jnp.uint32)
    if x.dtype.itemsize < 4:
        return jnp.reshape(jax.lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}"), -1).astype(jnp.uint32)
    return jnp.reshape(jax.lax.bitcast_convert_type(x, jnp.uint32), -1)


def _from_words(words, shape, dtype):
    if dtype.kind == "b":
        return jnp.reshape(words != 0, shape)
    if dtype.itemsize < 4:
        return jax.lax.bitcast_convert_type(jnp.reshape(words, shape).astype(f"uint{8 * dtype.itemsize}"), dtype)
    if dtype.itemsize == 8:
        return jax.lax.bitcast_convert_type(jnp.reshape(words, (*shape, 2)), dtype)
    return jax.lax.bitcast_convert_type(jnp.reshape(words, shape), dtype)
