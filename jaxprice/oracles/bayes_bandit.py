"""Bernoulli bandits with a Beta prior, solved exactly: the optimal expected reward, and that of a given policy.

k arms with success probabilities p_i ~ Beta(a, b) are pulled n times in all. The reward is the number of successes. The
sufficient statistics are the successes s_i and failures f_i of each arm. They matter only as a multiset, because the arms
are exchangeable at the start. With h pulls left and m_i = (a + s_i) / (a + b + s_i + f_i),

    V(S, 0) = 0,
    Q_i(S, h) = m_i (1 + V(S with s_i + 1, h - 1)) + (1 - m_i) V(S with f_i + 1, h - 1),
    V(S, h) = max_i Q_i(S, h)    or    sum_i P(i | S, h) Q_i(S, h)

for the Bayes optimum, or for a policy that pulls arm i with probability P(i | S, h). S determines the number of past pulls,
so there is one layer of multisets for each number of pulls. Each layer is built once, with pointers to the successor states
in the next layer (`layers`). The recursion goes backwards in float64, one layer at a time. If there are more arms than
pulls, some arms are never pulled: the optimum for k >= n arms equals that for n arms.

A policy here is a function `(successes, failures, left) -> probabilities`, arrays `[states, arms]`, where `left` is the
number of pulls left, including this one. It must not depend on the labels of the arms: tied arms get equal probabilities.
Thompson sampling pulls arm i with probability int f_i prod_{j != i} F_j dx, where f and F are the densities and distribution
functions of the posteriors. For integer a and b this is the integral of a polynomial, which Gauss-Legendre quadrature
computes exactly.

Values for Beta(1, 1): the optimum is 6.0217857143 for n = 10, k = 2 and 6.6599878748 for n = 10, k = 5.

Sources: R. N. Bradt, S. M. Johnson, S. Karlin (1956), "On sequential designs for maximizing the sum of n observations",
Annals of Mathematical Statistics 27, 1060-1074; D. A. Berry, B. Fristedt (1985), "Bandit problems",
doi:10.1007/978-94-015-3711-7; Y. Duan et al. (2016) for UCB1 and the other baselines in this form, arXiv:1611.02779.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Int16, Int32
from scipy import stats

from jaxprice import checks
from jaxprice.oracles import gittins as indices

MOST = 10**7  # largest number of states


class Layer(NamedTuple):
    """All multisets of arms after some number of pulls.

    Attributes:
      successes, failures: numbers for each arm, int16 `[states, arms]`.
      won, lost: index in the next layer after a success or failure of each arm, int32 `[states, arms]`; zero in the last.
    """

    successes: Int16[np.ndarray, "states arms"]
    failures: Int16[np.ndarray, "states arms"]
    won: Int32[np.ndarray, "states arms"]
    lost: Int32[np.ndarray, "states arms"]


def optimum(arms: int, horizon: int, a: float = 1.0, b: float = 1.0) -> float:
    """The largest expected total reward of any policy.

    Args:
      arms: number of arms.
      horizon: number of pulls.
      a, b: shapes of the prior, above 0.

    Returns:
      Expected total reward, a float.

    Raises:
      ValueError: numbers out of range, or more than `MOST` states.
    """
    horizon = checks.positive_int("horizon", horizon)
    arms = min(checks.positive_int("arms", arms), horizon)
    return _sweep(arms, horizon, a, b, lambda layer, left, worth: worth.max(axis=1))


def value(policy: Callable, arms: int, horizon: int, a: float = 1.0, b: float = 1.0) -> float:
    """The expected total reward of a policy.

    Args:
      policy: `(successes, failures, left) -> probabilities`, see the module.
      arms, horizon, a, b: as in `optimum`.

    Returns:
      Expected total reward, a float.

    Raises:
      ValueError: numbers out of range, more than `MOST` states, or invalid probabilities.
    """

    def choose(layer, left, worth):
        chances = np.asarray(policy(layer.successes, layer.failures, left), float)
        if chances.shape != worth.shape:
            raise ValueError(f"policy must return probabilities of shape {worth.shape}, got {chances.shape}")
        if not np.all(chances >= -1e-9) or np.max(np.abs(chances.sum(axis=1) - 1)) > 1e-9:
            raise ValueError(f"policy must return probabilities that sum to one, with {left} pulls left it does not")
        return np.sum(chances * worth, axis=1)

    return _sweep(arms, horizon, a, b, choose)


def count(arms, horizon):
    """Total number of states of all layers, exact below 2^53."""
    arms = min(checks.positive_int("arms", arms), checks.positive_int("horizon", horizon))
    ways = np.zeros((arms + 1, horizon))  # indexed by the number of arms pulled and the number of pulls
    ways[0, 0] = 1
    for pulls in range(1, horizon):  # an arm with this number of pulls is in one of pulls + 1 states
        before = ways.copy()
        for same in range(1, min(arms, (horizon - 1) // pulls) + 1):
            more = before[: arms + 1 - same, : horizon - same * pulls]
            ways[same:, same * pulls :] += float(math.comb(pulls + same, same)) * more
    return int(ways.sum())


@functools.lru_cache(maxsize=4)
def layers(arms: int, horizon: int) -> tuple[Layer, ...]:
    """A tuple of `horizon` layers; the first one has a single state, without any pulls.

    Raises:
      ValueError: no arms or pulls, or more than `MOST` states.
    """
    states = count(arms, horizon)
    if states > MOST:
        raise ValueError(f"arms={arms} and horizon={horizon} have {states:.2g} states, at most {MOST:.2g} are allowed")
    pulls, wins = np.tril_indices(horizon + 1)  # of the possible states of an arm, in order
    kinds, found = np.zeros((1, arms), np.int32), []
    for t in range(horizon):
        m, s = pulls[kinds], wins[kinds]
        seen = s.astype(np.int16), (m - s).astype(np.int16)
        if t == horizon - 1:
            found.append(Layer(*seen, np.zeros_like(kinds), np.zeros_like(kinds)))
            break
        after = np.repeat(kinds[None], 2 * arms, axis=0)
        for i in range(arms):
            after[i, :, i] += m[:, i] + 2
            after[arms + i, :, i] += m[:, i] + 1
        after = np.sort(after, axis=-1).reshape(-1, arms)
        _, first, place = np.unique(_keys(after, len(pulls)), return_index=True, return_inverse=True)
        found.append(Layer(*seen, *(np.ascontiguousarray(x.T, np.int32) for x in place.reshape(2, arms, -1))))
        kinds = after[first]
    return tuple(found)


def _keys(rows, below):
    """An integer for each row of numbers below `below`; equal only for equal rows; int64 `[rows]`."""
    bits = below.bit_length()
    width, key = 62 // bits, np.zeros(0, np.int64)
    for start in range(0, rows.shape[1], width):
        part = rows[:, start : start + width].astype(np.int64)
        word = np.sum(part << (bits * np.arange(part.shape[1])), axis=1)
        if start:
            key, word = (np.unique(x, return_inverse=True)[1] for x in (key, word))
            word = key * (word.max() + 1) + word
        key = word
    return key


def _sweep(arms, horizon, a, b, choose):
    """The backward recursion through the layers; `choose` computes the values of a layer from the value of each arm."""
    checks.number("a", a, low=1e-6, scalar=True)
    checks.number("b", b, low=1e-6, scalar=True)
    values = np.zeros(1)
    for left, layer in enumerate(reversed(layers(arms, horizon)), 1):
        mean = _mean(layer.successes, layer.failures, a, b)
        values = choose(layer, left, mean * (1 + values[layer.won]) + (1 - mean) * values[layer.lost])
    return float(values[0])


def random(
    successes: Int[np.ndarray, "states arms"], failures: Int[np.ndarray, "states arms"], left: int
) -> Float[np.ndarray, "states arms"]:
    """Every arm with the same probability."""
    return np.full(successes.shape, 1 / successes.shape[1])


def epsilon_greedy(epsilon: float, a: float = 1.0, b: float = 1.0) -> Callable:
    """A random arm with probability `epsilon`, otherwise an arm with the largest posterior mean."""
    checks.number("epsilon", epsilon, low=0, high=1, scalar=True)

    def policy(successes, failures, left):
        return epsilon / successes.shape[1] + (1 - epsilon) * _best(_mean(successes, failures, a, b), 1e-9)

    return policy


def greedy(a: float = 1.0, b: float = 1.0) -> Callable:
    """An arm with the largest posterior mean."""
    return epsilon_greedy(0.0, a, b)


def ucb1(c: float, a: float = 1.0, b: float = 1.0) -> Callable:
    """An arm with the largest mean + c sqrt(2 log(t + 1) / (a + b + pulls)), with the posterior mean and t past pulls."""
    checks.number("c", c, low=0, scalar=True)

    def policy(successes, failures, left):
        pulls = np.add(successes, failures, dtype=float)
        width = c * np.sqrt(2 * np.log1p(pulls.sum(axis=1, keepdims=True)) / (a + b + pulls))
        return _best(_mean(successes, failures, a, b) + width, 1e-9)

    return policy


def gittins(horizon: int, a: float = 1.0, b: float = 1.0) -> Callable:
    """An arm with the largest finite-horizon Gittins index; indices within 1e-5 count as equal."""
    tables = indices.finite_table(horizon, a, b)

    def policy(successes, failures, left):
        return _best(tables[left - 1][np.add(successes, failures), successes], 1e-5)

    return policy


def thompson(a: int = 1, b: int = 1) -> Callable:
    """Each arm with the exact probability that its posterior draw is the largest.

    Raises:
      ValueError: the shapes are not integers.
    """
    a, b = checks.positive_int("a", a), checks.positive_int("b", b)

    def policy(successes, failures, left):
        states, arms = successes.shape
        density, below = _posteriors(int(successes[0].sum() + failures[0].sum()) + left, arms, a, b)
        chances = np.empty((states, arms))
        step = max(1, 2**21 // (arms * density.shape[-1]))
        for i in range(0, states, step):
            at = successes[i : i + step], failures[i : i + step]
            f, F = density[at], below[at]  # [states, arms, nodes]
            one = np.ones_like(F[:, :1])
            before = np.cumprod(np.concatenate([one, F[:, :-1]], axis=1), axis=1)
            after = np.cumprod(np.concatenate([one, F[:, :0:-1]], axis=1), axis=1)[:, ::-1]
            chances[i : i + step] = np.sum(f * before * after, axis=-1)
        return chances

    return policy


@functools.lru_cache(maxsize=4)
def _posteriors(horizon, arms, a, b):
    """Densities times quadrature weights, and distribution functions, at the nodes, by successes and failures."""
    degree = horizon - 1 + arms * (a + b - 1) - 1
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    nodes = (nodes + 1) / 2
    s, f = np.ogrid[:horizon, :horizon]
    law: Any = stats.beta((a + s)[..., None], (b + f)[..., None])
    return law.pdf(nodes) * weights / 2, law.cdf(nodes)


def _mean(successes, failures, a, b):
    return (a + successes) / (a + b + successes + failures)


def _best(index, tolerance):
    """Probabilities that are equal for all arms whose index is the largest within a tolerance."""
    best = index >= index.max(axis=1, keepdims=True) - tolerance
    return best / best.sum(axis=1, keepdims=True)
