"""Bad input is refused before anything is traced: each check names the argument, what came and what is allowed."""

import difflib
import math

import jax
import numpy as np


def is_traced(value):
    """Whether a value is being traced, so that it has no numbers to check."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def positive_int(name, value):
    """`value` as an int of at least one.

    Raises:
      ValueError: it is not one.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def number(name, value, *, low=-math.inf, high=math.inf, scalar=False):
    """`value` as it is, after checking that it is finite and in `[low, high]`; traced values pass.

    With `scalar`, arrays are refused.

    Raises:
      ValueError: it is not.
    """
    if not is_traced(value):
        try:
            array = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be a number, got {value!r}") from None
        if scalar and array.ndim:
            raise ValueError(f"{name} must be one number, got {value!r}")
        if not (np.all(np.isfinite(array)) and np.all(array >= low) and np.all(array <= high)):
            allowed = "finite" if low == -math.inf and high == math.inf else f"in [{low:g}, {high:g}]"
            raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return value


def array(name, value, shape, *, low=-math.inf, high=math.inf):
    """`value` as a float32 array of the given shape (None: any length of at least one), finite and in `[low, high]`.

    Raises:
      ValueError: it is not.
    """
    number(name, value, low=low, high=high)
    array = np.asarray(value, dtype=np.float32)
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
    array = np.asarray(prices, dtype=np.float32)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"prices must be a non-empty one-dimensional grid, got shape {array.shape}")
    if not np.all(np.isfinite(array)) or np.any(array < 0):
        raise ValueError(f"prices must be finite and not negative, got {array.tolist()}")
    if np.any(np.diff(array) <= 0):
        raise ValueError(f"prices must be strictly increasing, got {array.tolist()}")
    return array


def choice(name, value, allowed):
    """`value`, one of `allowed`.

    Raises:
      ValueError: it is not; the message names the nearest matches.
    """
    allowed = list(allowed)
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"unknown {name} {value!r}{hint} (allowed: {', '.join(sorted(allowed))})")
    return value
