"""Upper bounds on the expected reward in a Bernoulli bandit with a Beta prior, for sizes that exact solution cannot reach.

There are k arms, p_i ~ Beta(a, b), and n pulls. Either of the two bounds can be the smaller one:

- Lagrangian (Whittle): allow any number of pulls in a period at a price lam_t >= 0 each, and pay back one such price a
  period. A policy with one pull a period loses nothing by this change, so

      V*(n, k) <= L(lam) = sum_t lam_t + k J(lam),

  where J is the value of a single arm that is pulled or rested in each period. With p = (a + s) / (a + b + s + f),

      V_t(s, f) = max(V_{t+1}(s, f), p - lam_t + p V_{t+1}(s + 1, f) + (1 - p) V_{t+1}(s, f + 1)),    J = V_1(0, 0).

  L is convex. Its slope in lam_t is 1 - k P(a single arm is pulled at t). Projected Adam descends from lam_t = .75. Every
  point on its path is a bound, and the code returns the smallest.
- Clairvoyant: a seller who knows the p_i earns n E[max_i p_i], which is n k / (k + 1) with uniform priors.

The optimum for k >= n arms equals that for n arms, so the Lagrangian bound is computed for at most n arms.

Sources: P. Whittle (1988), "Restless bandits: activity allocation in a changing world", doi:10.2307/3214163; D. Adelman,
A. J. Mersereau (2008), "Relaxations of weakly coupled stochastic dynamic programs", doi:10.1287/opre.1070.0445;
D. P. Kingma, J. Ba (2015), "Adam: a method for stochastic optimization", arXiv:1412.6980.
"""

import numpy as np
from jaxtyping import Float64
from scipy import integrate, special

from jaxprice import checks

START, STEP = 0.75, 0.02  # initial prices, and the largest change of a price in a step


def upper_bound(arms: int, horizon: int, a: float = 1.0, b: float = 1.0, iterations: int = 300) -> float:
    """The smaller of the two bounds on the expected total reward.

    Args:
      arms: number of arms.
      horizon: number of pulls.
      a, b: shapes of the prior, above 0.
      iterations: number of steps of the descent.

    Returns:
      A float.

    Raises:
      ValueError: numbers out of range.
    """
    return min(lagrangian(arms, horizon, a, b, iterations)[0], clairvoyant(arms, horizon, a, b))


def clairvoyant(arms: int, horizon: int, a: float = 1.0, b: float = 1.0) -> float:
    """Expected reward of a seller who knows every arm, a float; arguments and errors as in `upper_bound`."""
    arms, horizon = _checked(arms, horizon, a, b)
    missed = integrate.quad(lambda x: special.betainc(a, b, x) ** arms, 0, 1, epsabs=1e-12, epsrel=1e-12, limit=500)[0]
    return horizon * (1 - missed)


def lagrangian(
    arms: int, horizon: int, a: float = 1.0, b: float = 1.0, iterations: int = 300
) -> tuple[float, Float64[np.ndarray, " {horizon}"]]:
    """The Lagrangian bound, and the prices of a pull that attain it.

    Args:
      arms, horizon, a, b, iterations: as in `upper_bound`.

    Returns:
      `(bound, prices)`, a float and float64 `[horizon]`.

    Raises:
      ValueError: numbers out of range.
    """
    arms, horizon = _checked(arms, horizon, a, b)
    arms, iterations = min(arms, horizon), checks.positive_int("iterations", iterations)
    prices = np.full(horizon, START)
    best, found = np.inf, prices
    first, second = np.zeros(horizon), np.zeros(horizon)
    for i in range(iterations):
        bound, slope = relaxed(prices, arms, a, b)
        if bound < best:
            best, found = bound, prices
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        change = first / (1 - 0.9 ** (i + 1)) / (np.sqrt(second / (1 - 0.99 ** (i + 1))) + 1e-8)
        prices = np.maximum(prices - STEP * (1 + np.cos(np.pi * i / iterations)) / 2 * change, 0)
    return float(best), found


def relaxed(
    prices: Float64[np.ndarray, " horizon"], arms: int, a: float = 1.0, b: float = 1.0
) -> tuple[float, Float64[np.ndarray, " horizon"]]:
    """L at prices `[horizon]`, a float, and a subgradient, float64 `[horizon]`."""
    horizon = len(prices)
    n, s = np.mgrid[:horizon, :horizon]
    mean = np.clip((a + s) / (a + b + n), 0, 1)  # row: pulls of the arm, column: its successes
    values = np.zeros((horizon + 1, horizon + 1))
    pulled = [np.empty(0, bool)] * horizon
    for t in range(horizon - 1, -1, -1):
        size = t + 1
        p, rested = mean[:size, :size], values[:size, :size]
        lost = values[1 : size + 1, :size]
        now = p * (1 + values[1 : size + 1, 1 : size + 1] - lost) + lost - prices[t]
        pulled[t] = now > rested
        values[:size, :size] = np.maximum(now, rested)
    chance, share = np.zeros_like(values), np.zeros(horizon)
    chance[0, 0] = 1
    for t, pulls in enumerate(pulled):
        size = t + 1
        moved = chance[:size, :size] * pulls
        share[t] = moved.sum()
        chance[:size, :size] -= moved
        won = moved * mean[:size, :size]
        chance[1 : size + 1, 1 : size + 1] += won
        chance[1 : size + 1, :size] += moved - won
    return prices.sum() + arms * values[0, 0], 1 - arms * share


def _checked(arms, horizon, a, b):
    checks.number("a", a, low=1e-6, scalar=True)
    checks.number("b", b, low=1e-6, scalar=True)
    return checks.positive_int("arms", arms), checks.positive_int("horizon", horizon)
