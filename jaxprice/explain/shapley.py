"""Exact Shapley values: how a function's value is shared among groups of its inputs.

With v(S) the mean of the function when the groups in S have the values of one input and the others those of a background,

    phi_i = sum over S without i of |S|! (G - |S| - 1)! / G!  (v(S + i) - v(S)),        sum_i phi_i = v(all) - v(none).

All 2^G coalitions are evaluated, so the values are exact for the given background (G at most `MOST`). Groups are replaced
together and independently of the others ("interventional" values), as in the exact explainer of the `shap` package.

Sources: L. S. Shapley (1953), "A value for n-person games", doi:10.1515/9781400881970-018; S. M. Lundberg, S.-I. Lee (2017),
"A unified approach to interpreting model predictions", arXiv:1705.07874; D. Janzing, L. Minorics, P. Bloebaum (2020),
"Feature relevance quantification in explainable AI", arXiv:1910.13413 (interventional).
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from jaxprice import checks

MOST = 12  # largest number of groups


def coalitions(groups: int) -> Bool[np.ndarray, "coalitions groups"]:
    """All coalitions: row n has the groups that are bits of n, the first group in the lowest bit; bool `[2^G, G]`.

    Raises:
      ValueError: the number of groups is not in [1, 12].
    """
    size = checks.whole("groups", groups, 1, MOST)
    return (np.arange(2**size)[:, None] >> np.arange(size)[None, :]) % 2 == 1


def shapley(values: Float[np.ndarray, " coalitions"]) -> Float[np.ndarray, " groups"]:
    """Shapley values from the values of all coalitions, in the order of `coalitions`.

    Args:
      values: float `[2^G]`.

    Raises:
      ValueError: the number of values is not a power of two, or one of them is not finite.
    """
    values = np.asarray(values, float)
    size = int(values.size).bit_length() - 1
    if values.ndim != 1 or values.size != 2**size or size < 1:
        raise ValueError(f"values must be one for each of 2, 4, 8, ... coalitions, got shape {list(values.shape)}")
    if not np.all(np.isfinite(values)):
        raise ValueError("values must be finite")
    members, numbers = coalitions(size), np.arange(values.size)
    weights = np.array([math.factorial(k) * math.factorial(size - k - 1) / math.factorial(size) for k in range(size)])
    found = np.empty(size)
    for i in range(size):
        without = numbers[~members[:, i]]
        found[i] = np.sum(weights[members[without].sum(axis=1)] * (values[without | 1 << i] - values[without]))
    return found


def by_orders(values: Float[np.ndarray, " coalitions"]) -> Float[np.ndarray, " groups"]:
    """The same by its definition, the mean over all orders in which groups join; for tests, with few groups."""
    values = np.asarray(values, float)
    size = int(values.size).bit_length() - 1
    found, orders = np.zeros(size), list(itertools.permutations(range(size)))
    for order in orders:
        here = 0
        for i in order:
            found[i] += values[here | 1 << i] - values[here]
            here |= 1 << i
    return found / len(orders)


def of_function(function: Callable, point, background, groups=None) -> Float[np.ndarray, " groups"]:
    """Shapley values of a function of numbers.

    Args:
      function: float `[n, D]` -> float `[n]`.
      point: the input to explain, float `[D]`.
      background: inputs that stand for the groups that are absent, float `[B, D]`.
      groups: lists of columns, each column in one of them; by default one group a column.

    Raises:
      ValueError: shapes do not fit, or the groups are no partition of the columns.
    """
    point = np.asarray(checks.array("point", point, (None,)), float)
    background = np.asarray(checks.array("background", background, (None, len(point))), float)
    groups = [[k] for k in range(len(point))] if groups is None else [list(group) for group in groups]
    if sorted(k for group in groups for k in group) != list(range(len(point))):
        raise ValueError(f"groups must hold each of the columns 0 to {len(point) - 1} once, got {checks.shown(groups)}")
    mask = np.zeros((2 ** len(groups), len(point)), bool)
    for number, members in enumerate(coalitions(len(groups))):
        for group in itertools.compress(groups, members):
            mask[number, group] = True
    inputs = np.where(mask[:, None], point[None, None], background[None])
    values = np.asarray(function(inputs.reshape(-1, len(point))), float).reshape(len(mask), len(background))
    return shapley(values.mean(axis=1))
