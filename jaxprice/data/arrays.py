"""Arrays that estimators take: numbers of a given rank, none missing."""

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike


def finite_array(argument: str, value: ArrayLike, rank: int) -> Float64[np.ndarray, "..."]:
    """`value` as a float64 array of `rank` axes.

    Raises:
        ValueError: it holds no numbers, has another rank, is empty, or a number is NaN or infinite; the message names the
            argument and the first such rows.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{argument}: expected an array of numbers, got {type(value).__name__}: {error}") from None
    if array.ndim != rank or 0 in array.shape:
        raise ValueError(f"{argument}: expected a non-empty array of rank {rank}, got shape {list(array.shape)}")
    if not np.isfinite(array).all():
        rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
        raise ValueError(f"{argument}: expected finite numbers, got NaN or infinite ones in rows {rows[:5].tolist()}")
    return array
