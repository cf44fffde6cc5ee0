"""The fields of a calibration: each must match its definition in `Calibration`, or a ValueError names it before use."""

from typing import Any

import numpy as np

DESCRIBED = ("name", "currency", "source", "licence", "reference", "provenance", "script")  # texts given by the author
WORDS = (*DESCRIBED, "seller", "price_name", "grid_rule")
PER_BRAND = ("price_means", "price_sds", "market_shares", "own_elasticities")
SYMMETRY = 1e-6  # tolerance for symmetry of rounded covariances, relative to their largest entry


def checked(fields: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """Fields of a calibration in the types of `Calibration`: tuples, and read-only float64 arrays.

    Args:
        fields: name -> value, as in a JSON file.
        known: the required names.

    Raises:
        ValueError: a field is missing, unknown or out of its range.
    """
    if not isinstance(fields, dict):
        raise ValueError(f"fields: expected a dict of the fields of a calibration, got {type(fields).__name__}")
    missing, unknown = [key for key in known if key not in fields], sorted(set(map(str, fields)) - set(known))
    if missing or unknown:
        raise ValueError(f"fields: a calibration has {known}; missing are {missing}, unknown {unknown}")
    out = dict(fields)
    for key in WORDS:
        if not isinstance(fields[key], str):
            raise ValueError(f"{key}: expected a text, got {fields[key]!r}")
    brands, names = (names_of(key, fields[key]) for key in ("brands", "names"))
    for key, value, allowed in (("seller", fields["seller"], brands), ("price_name", fields["price_name"], names)):
        if value not in allowed:
            raise ValueError(f"{key}: allowed are {list(allowed)}, got {value!r}")
    if not isinstance(fields["outside_option"], bool):
        raise ValueError(f"outside_option: expected true or false, got {fields['outside_option']!r}")
    observations = fields["observations"]
    if isinstance(observations, bool) or not isinstance(observations, int) or observations < 1:
        raise ValueError(f"observations: expected an integer of at least 1, got {observations!r}")
    count = len(names)
    shapes = {
        "coefficients": (count,),
        "covariance": (count, count),
        "design": (len(brands) + fields["outside_option"], count),
        "curve_covariance": (2, 2),
    }
    for key, shape in shapes.items():
        out[key] = _numbers(key, fields[key], shape)
        out[key].setflags(write=False)
    for key in ("covariance", "curve_covariance"):
        _covariance(key, out[key])
    for key in ("intercept", "slope", "price_low", "price_high", "log_likelihood"):
        out[key] = float(_numbers(key, fields[key], ()))
    if out["slope"] <= 0:
        raise ValueError(f"slope: expected a number above 0, so that demand falls, got {out['slope']}")
    if not 0 <= out["price_low"] < out["price_high"]:
        raise ValueError(f"price_low: expected 0 <= price_low < price_high, got {out['price_low']} and {out['price_high']}")
    if out["log_likelihood"] > 0:
        raise ValueError(f"log_likelihood: expected a number of at most 0, got {out['log_likelihood']}")
    for key in PER_BRAND:
        values = _numbers(key, fields[key], (len(brands),))
        if key != "own_elasticities" and values.min() < 0:
            raise ValueError(f"{key}: expected numbers of at least 0, got {values.tolist()}")
        out[key] = tuple(values.tolist())
    shares = out["market_shares"]
    if max(shares) > 1 or sum(shares) > 1 + 1e-6:
        raise ValueError(f"market_shares: expected shares that sum to at most 1, got {list(shares)}")
    return out | {"brands": brands, "names": names}


def names_of(key: str, value: Any) -> tuple[str, ...]:
    """`value`, a list or tuple of different names, as a tuple.

    Raises:
        ValueError: it is not such a list.
    """
    known = isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value)
    if not known or len(set(value)) < len(value):
        raise ValueError(f"{key}: expected different names, at least one, got {value!r}")
    return tuple(value)


def _numbers(key: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`value` as a finite float64 array of the given shape."""
    try:
        array = np.asarray(value)
        numbers = array.astype(np.float64) if array.dtype.kind in "fiu" else None
    except (TypeError, ValueError):
        numbers = None
    if numbers is None or numbers.shape != shape:
        got = value if numbers is None else list(numbers.shape)
        raise ValueError(f"{key}: expected {'numbers of shape ' + str(list(shape)) if shape else 'a number'}, got {got!r}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{key}: expected finite numbers, got {np.sum(~np.isfinite(numbers))} NaN or infinite")
    return numbers.copy()


def _covariance(key: str, matrix: np.ndarray) -> None:
    """Raise if a matrix is not symmetric and positive definite."""
    if np.abs(matrix - matrix.T).max() > SYMMETRY * np.abs(matrix).max() or np.linalg.eigvalsh(matrix)[0] <= 0:
        raise ValueError(f"{key}: expected a symmetric positive definite matrix, got {matrix.tolist()}")
