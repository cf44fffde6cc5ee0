"""Bad input is refused before anything is traced: each check names the argument, what came and what is allowed."""

import difflib
import math
import operator

import jax
import numpy as np

LARGEST = 2**31 - 1  # of what is counted in int32
TABLE = 2**26  # numbers that one array of a market may hold, 256 MiB


def is_traced(value):
    """Whether a value is being traced, so that it has no numbers to check."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def shown(value):
    """`value` as an error message shows it: its `repr`, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:250]}... ({type(value).__name__})"


def whole(name, value, low=-math.inf, high=math.inf):
    """`value` as a Python int in `[low, high]`: an int, a NumPy integer of any width, or an integer array of rank 0.

    Raises:
      ValueError: it is not; bools and floats are not integers, and a traced value is not known.
    """
    if isinstance(value, jax.core.Tracer):
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


def positive_int(name, value):
    """`value` as an int of at least one that an int32 holds.

    Raises:
      ValueError: it is not one.
    """
    return whole(name, value, 1, LARGEST)


def seed(value):
    """`value` as a Python int in `[0, 2**64)`.

    Raises:
      ValueError: it is not.
    """
    try:
        return whole("seed", value, 0, 2**64 - 1)
    except ValueError:
        raise ValueError(f"seed must be an integer in [0, 2**64), got {shown(value)}") from None


def fits(**sizes):
    """Refuse sizes whose product, the numbers of an array that they make, is beyond `TABLE`: it would take too much memory.

    Raises:
      ValueError: it is.
    """
    numbers = math.prod(sizes.values())
    if numbers > TABLE:
        made = " and ".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(f"{made} would make an array of {numbers} numbers; at most {TABLE} (256 MiB) are made")


def boolean(name, value):
    """`value` as a bool: True, False, or NumPy's.

    Raises:
      ValueError: it is something else; numbers, strings and arrays are not taken for a bool.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def number(name, value, *, low=-math.inf, high=math.inf, scalar=False):
    """`value` as it is, after checking that it is finite and in `[low, high]`; what is traced has no numbers to check.

    With `scalar`, only one number is taken (Python's, NumPy's, or an array of rank 0); otherwise also arrays and lists.
    Strings, bools, complex numbers and what is empty are refused, and integers that an int32 does not hold.

    Raises:
      ValueError: it is not.
    """
    if is_traced(value):
        if isinstance(value, jax.core.Tracer) and (not _is_real(value.dtype) or (scalar and value.ndim)):
            raise ValueError(f"{name} must be {'one' if scalar else 'a'} number, got {value!r}")
        return value
    largest = np.abs(_numbers(name, value, low, high, scalar)).max()
    if largest > LARGEST and not jax.dtypes.issubdtype(np.asarray(value).dtype, np.floating):
        raise ValueError(f"{name} must be a float where it is beyond {LARGEST}, as in 1e10, got {shown(value)}")
    return value


def _numbers(name, value, low=-math.inf, high=math.inf, scalar=False):
    """`value` as a float64 array, or a ValueError as `number` has it."""
    try:
        whole = isinstance(value, int) and not isinstance(value, bool)  # of any size; NumPy's have 64 bits at most
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
    return jax.dtypes.issubdtype(dtype, np.integer) or jax.dtypes.issubdtype(dtype, np.floating)


def positive(name, value):
    """`value` as it is, one finite number above zero that a float32 tells from it; traced values pass.

    Raises:
      ValueError: it is not.
    """
    number(name, value, scalar=True)
    if not is_traced(value) and not value >= np.finfo(np.float32).tiny:
        raise ValueError(f"{name} must be above 0, got {shown(value)}")
    return value


def array(name, value, shape, *, low=-math.inf, high=math.inf):
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


def price_interval(low, high, cost=0.0):
    """`(low, high, cost)` as floats: finite, not negative, low below high.

    Raises:
      ValueError: they are not.
    """
    for name, value in (("low", low), ("high", high), ("cost", cost)):
        number(name, value, low=0, scalar=True)
    if not low < high:
        raise ValueError(f"low must be below high, got low={low!r} and high={high!r}")
    return float(low), float(high), float(cost)


def price_grid(prices):
    """`prices` as float32 `[num_prices]`: finite, not negative, strictly increasing.

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


def options(name, value):
    """`value`, a dict of options by name, or none for None.

    Raises:
      ValueError: it is something else.
    """
    if not isinstance(value, dict | None) or any(not isinstance(key, str) for key in value or ()):
        raise ValueError(f"{name} must be a dict of options by name, got {shown(value)}")
    return value or {}


def choice(name, value, allowed):
    """`value`, one of `allowed`.

    Raises:
      ValueError: it is not; the message names the nearest matches.
    """
    allowed = list(allowed)
    if not isinstance(value, str) or value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"unknown {name} {shown(value)}{hint} (allowed: {', '.join(sorted(allowed))})")
    return str(value)
