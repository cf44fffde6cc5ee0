"""Checks of arguments before tracing. Each error names the argument, the value given and the values allowed."""

import difflib
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float32

Bound = float | np.number
LARGEST = 2**31 - 1  # largest value that an int32 can count
TABLE = 2**26  # largest number of entries in one array of a market, 256 MiB


def setting(name: str) -> Any:
    """The value of a setting of JAX, such as `"jax_enable_x64"`."""
    return getattr(jax.config, name)


def is_traced(value: Any) -> bool:
    """Whether a value is a JAX tracer, whose numbers cannot be checked."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def shown(value: Any) -> str:
    """`value` as an error message shows it: its `repr`, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:250]}... ({type(value).__name__})"


def whole(name: str, value: Any, low: Bound = -math.inf, high: Bound = math.inf) -> int:
    """`value` as a Python int in `[low, high]`: an int, a NumPy integer of any width, or an integer array of rank 0.

    Raises:
      ValueError: it is not an integer in the range. Bools, floats and traced values are refused.
    """
    if isinstance(value, Tracer):
        raise ValueError(f"{name} must be known before tracing, got {value!r}")
    try:
        number = None if _is_bool(value) or np.ndim(value) else operator.index(value)
    except (TypeError, ValueError):
        number = None
    if number is None or not low <= number <= high:
        if low == -math.inf and high == math.inf:
            allowed = "an integer"
        elif high == math.inf or (high == LARGEST and (number is None or number < low)):
            allowed = f"an integer of at least {low}"
        else:
            allowed = f"an integer in [{low}, {high}]"
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def positive_int(name: str, value: Any) -> int:
    """`value` as a positive int that fits into an int32.

    Raises:
      ValueError: it is not one.
    """
    return whole(name, value, 1, LARGEST)


def seed(value: Any) -> int:
    """`value` as a Python int in `[0, 2**64)`.

    Raises:
      ValueError: it is not.
    """
    try:
        return whole("seed", value, 0, 2**64 - 1)
    except ValueError:
        raise ValueError(f"seed must be an integer in [0, 2**64), got {shown(value)}") from None


def fits(**sizes: int) -> None:
    """Raise if the product of sizes, the number of entries of an array, exceeds `TABLE`, because it takes too much memory.

    Raises:
      ValueError: the product is too large.
    """
    numbers = math.prod(sizes.values())
    if numbers > TABLE:
        made = " and ".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(f"{made} would make an array of {numbers} numbers; at most {TABLE} (256 MiB) are made")


def boolean(name: str, value: Any) -> bool:
    """`value` as a bool: True, False, or a NumPy bool.

    Raises:
      ValueError: it is something else; numbers, strings and arrays do not count as bools.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def number(name: str, value: Any, *, low: Bound = -math.inf, high: Bound = math.inf, scalar: bool = False) -> Any:
    """`value` unchanged, after checking that it is finite and in `[low, high]`. Traced values pass unchecked.

    With `scalar`, only a single number is accepted (of Python or NumPy, or an array of rank 0); otherwise arrays and lists
    too. Strings, bools, complex numbers, empty values, and integers that do not fit into an int32 are refused.

    Raises:
      ValueError: it is not such a number.
    """
    if is_traced(value):
        if isinstance(value, Tracer) and (not _is_real(value.dtype) or (scalar and value.ndim)):
            raise ValueError(f"{name} must be {'one' if scalar else 'a'} number, got {value!r}")
        return value
    largest = np.abs(_numbers(name, value, low, high, scalar)).max()
    if largest > LARGEST and not jnp.issubdtype(np.asarray(value).dtype, np.floating):
        raise ValueError(f"{name} must be a float where it is beyond {LARGEST}, as in 1e10, got {shown(value)}")
    return value


def _numbers(name: str, value: Any, low: Bound = -math.inf, high: Bound = math.inf, scalar: bool = False) -> np.ndarray:
    """`value` as a float64 array, or a ValueError as in `number`."""
    try:
        whole = isinstance(value, int) and not isinstance(value, bool)  # Python's have any size, NumPy's 64 bits
        array = np.asarray(float(value) if whole else value)
        real = array.astype(float) if _is_real(array.dtype) and array.size else None
    except (TypeError, ValueError, OverflowError):
        real = None
    if real is None or (scalar and real.ndim):
        raise ValueError(f"{name} must be {'one' if scalar else 'a'} number, got {shown(value)}")
    with np.errstate(over="ignore"):
        finite = np.isfinite(real.astype(np.float32))
    if not (np.all(finite) and np.all(real >= low) and np.all(real <= high)):
        allowed = "finite" if low == -math.inf and high == math.inf else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return real


def _is_bool(value):
    return isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_


def _is_real(dtype):
    return jnp.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.floating)


def positive(name: str, value: Any) -> Any:
    """`value` unchanged, if it is one finite number that is above zero in float32. Traced values pass unchecked.

    Raises:
      ValueError: it is not.
    """
    number(name, value, scalar=True)
    if not is_traced(value) and not value >= np.finfo(np.float32).tiny:
        raise ValueError(f"{name} must be above 0, got {shown(value)}")
    return value


def array(
    name: str, value: Any, shape: Sequence[int | None], *, low: Bound = -math.inf, high: Bound = math.inf
) -> np.ndarray:
    """`value` as a float32 array of the given shape (None: any length of at least one), finite and in `[low, high]`.

    Raises:
      ValueError: it is not.
    """
    array = _numbers(name, value, low, high).astype(np.float32)
    fits = array.ndim == len(shape) and all(
        got == wanted or (wanted is None and got) for got, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have shape [{wanted}], got {list(array.shape)}")
    return array


def price_interval(low: Any, high: Any, cost: Any = 0.0) -> tuple[float, float, float]:
    """`(low, high, cost)` as floats: finite, nonnegative, `low` below `high`.

    Raises:
      ValueError: they are not.
    """
    for name, value in (("low", low), ("high", high), ("cost", cost)):
        number(name, value, low=0, scalar=True)
    if not low < high:
        raise ValueError(f"low must be below high, got low={low!r} and high={high!r}")
    return float(low), float(high), float(cost)


def price_grid(prices: Any) -> Float32[np.ndarray, " num_prices"]:
    """`prices` as float32 `[num_prices]`: finite, nonnegative, strictly increasing.

    Raises:
      ValueError: they are not.
    """
    array = np.asarray(_numbers("prices", prices) if np.size(prices) else prices, np.float32)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"prices must be a non-empty one-dimensional grid, got shape {array.shape}")
    if np.any(array < 0):
        raise ValueError(f"prices must be finite and not negative, got {shown(array.tolist())}")
    if np.any(np.diff(array) <= 0):
        raise ValueError(f"prices must be strictly increasing, got {shown(array.tolist())}")
    return array


def options(name: str, value: Any) -> dict[str, Any]:
    """`value`, a dict of options by name; None gives an empty dict.

    Raises:
      ValueError: it is something else.
    """
    if not isinstance(value, dict | None) or any(not isinstance(key, str) for key in value or ()):
        raise ValueError(f"{name} must be a dict of options by name, got {shown(value)}")
    return value or {}


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """`value`, one of `allowed`.

    Raises:
      ValueError: it is not one of them; the message names the closest matches.
    """
    allowed = list(allowed)
    if not isinstance(value, str) or value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"unknown {name} {shown(value)}{hint} (allowed: {', '.join(sorted(allowed))})")
    return str(value)
