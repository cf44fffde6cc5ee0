"""Gittins indices of an arm with Bernoulli rewards and a Beta prior, by calibration; NumPy, float64.

An arm in state (a, b), p = a / (a + b), may be played, or given up for ever for a sure reward of lam a period. With
discount g, the gain of playing once more and then well, times 1 - g and less lam, is

    d(a, b; lam) = (1 - g)(p - lam) + g (p max(0, d(a+1, b)) + (1 - p) max(0, d(a, b+1))),

and the index of (a, b) is the lam with d = 0. The lattice ends after so many more observations with d = p - lam: nothing
is learned any more. With m periods left and no discount,

    d_m(a, b; lam) = p - lam + p max(0, d_{m-1}(a+1, b)) + (1 - p) max(0, d_{m-1}(a, b+1)),       d_0 = 0.

Both fall in lam and are convex. All states of a lattice share a grid of lam, and each finds its root between two of its
points, to 2e-4 (1e-5 up to ten observations); `index` narrows the grid around one state, to 1e-9.

Known values for Beta(1, 1): .7029, .7614 and .8699 at discounts .9, .95 and .99; 5/9 with two periods left.

Sources: J. C. Gittins (1979), "Bandit processes and dynamic allocation indices", doi:10.1111/j.2517-6161.1979.tb01068.x;
M. Rothschild (1974), "A two-armed bandit theory of market pricing", doi:10.1016/0022-0531(74)90066-0; J. Nino-Mora
(2011), "Computing a classic index for finite-horizon bandits", doi:10.1287/ijoc.1100.0398.
"""

import functools

import numpy as np

from jaxprice import checks

POINTS = 500  # of the grid of sure rewards


def index(a, b, discount, depth=None):
    """The index of one state.

    Args:
      a, b: shapes of the Beta law, above 0.
      discount: from .001 to .995.
      depth: observations until the lattice ends; by default enough for 1e-4 at any discount.

    Returns:
      A float.

    Raises:
      ValueError: numbers out of range.
    """
    depth = _checked(a, b, discount, depth)
    low, high = 0.0, 1.0
    for _ in range(6):
        rewards = np.linspace(low, high, 33)
        ((_, gain),) = _backwards(a, b, discount, rewards, depth, 0)
        last = int(np.clip(np.sum(gain[0] > 0) - 1, 0, rewards.size - 2))
        low, high = rewards[last], rewards[last + 1]
    return float((low + high) / 2)


@functools.lru_cache(maxsize=16)
def discounted_table(discount, size, a=1.0, b=1.0, depth=None):
    """Indices of all states after up to `size` observations.

    Args:
      discount: from .001 to .995.
      size: largest number of observations.
      a, b: shapes of the prior, above 0.
      depth: observations beyond `size` until the lattice ends; by default as in `index`.

    Returns:
      float64 `[size + 1, size + 1]`, read-only: row n, column s is the index after s successes in n observations; 0 for
      s > n.

    Raises:
      ValueError: numbers out of range.
    """
    depth = _checked(a, b, discount, depth)
    rewards = _grid(POINTS)
    table = np.zeros((size + 1, size + 1))
    for n, gain in _backwards(a, b, discount, rewards, size + depth, size):
        table[n, : n + 1] = _roots(gain, rewards)
    table.flags.writeable = False
    return table


@functools.lru_cache(maxsize=16)
def finite_table(horizon, a=1.0, b=1.0):
    """Indices of all states that a horizon leads to, without a discount.

    Args:
      horizon: periods, at most 200.
      a, b: shapes of the prior, above 0.

    Returns:
      A tuple of `horizon` float64 arrays, read-only: the m-th (from 1) is for m periods left, `[horizon - m + 1] * 2`, row n
      and column s as in `discounted_table`.

    Raises:
      ValueError: numbers out of range.
    """
    if checks.positive_int("horizon", horizon) > 200:
        raise ValueError(f"horizon must be at most 200 periods, got {horizon}")
    checks.number("a", a, low=1e-6)
    checks.number("b", b, low=1e-6)
    rewards = _grid(POINTS // 2)
    n, s = np.mgrid[: horizon + 1, : horizon + 1]
    p = np.clip((a + s) / (a + b + n), 0, 1)[..., None]
    gain, tables = np.zeros((horizon + 1, horizon + 1, rewards.size)), []
    for left in range(1, horizon + 1):
        size = horizon - left + 1
        chance, later = p[:size, :size], np.maximum(gain[1 : size + 1], 0)
        gain = chance - rewards + chance * later[:, 1 : size + 1] + (1 - chance) * later[:, :size]
        table = np.tril(_roots(gain, rewards))
        table.flags.writeable = False
        tables.append(table)
    return tuple(tables)


def _checked(a, b, discount, depth):
    """The depth, once all numbers are found in range."""
    checks.number("a", a, low=1e-6, scalar=True)
    checks.number("b", b, low=1e-6, scalar=True)
    checks.number("discount", discount, low=1e-3, high=0.995, scalar=True)
    return int(np.ceil(8 / (1 - discount))) + 20 if depth is None else checks.positive_int("depth", depth)


def _grid(points):
    """Sure rewards from 0 to 1, as dense as posteriors are narrow: their deviations go with sqrt(p (1 - p))."""
    return (1 - np.cos(np.linspace(0, np.pi, points + 1))) / 2


def _backwards(a, b, discount, rewards, depth, size):
    """Yields `(n, gain)` with gains `[n + 1, rewards]` for levels from `size` to 0; the lattice ends at level `depth`."""
    gain = None
    for n in range(depth, -1, -1):
        chance = ((a + np.arange(n + 1)) / (a + b + n))[:, None]
        now = chance - rewards
        if gain is None:
            gain = now
        else:
            later = np.maximum(gain, 0)
            gain = (1 - discount) * now + discount * (chance * later[1:] + (1 - chance) * later[:-1])
        if n <= size:
            yield n, gain


def _roots(gain, rewards):
    """Where gains that fall along the last axis are zero: of the line between two points, bent as the next point tells."""
    last = np.clip(np.sum(gain > 0, axis=-1) - 1, 0, rewards.size - 3)
    x0, x1, x2 = (rewards[last + i] for i in range(3))
    f0, f1, f2 = (np.take_along_axis(gain, last[..., None] + i, -1)[..., 0] for i in range(3))
    slope = (f1 - f0) / (x1 - x0)
    bend = ((f2 - f1) / (x2 - x1) - slope) / (x2 - x0)
    line = x0 + (x1 - x0) * np.clip(f0 / (f0 - f1), 0, 1)
    return line - bend * (line - x0) * (line - x1) / slope
