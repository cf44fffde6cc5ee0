"""Bernoulli bandits with a Beta prior, solved exactly: what the best seller earns, and what a given policy earns.

k arms, with success probabilities p_i ~ Beta(a, b), are pulled n times in all; reward is the number of successes. What
matters of the past are successes s_i and failures f_i of each arm, and, arms being alike at first, only as a multiset. With
h pulls left and m_i = (a + s_i) / (a + b + s_i + f_i),

    V(S, 0) = 0,
    Q_i(S, h) = m_i (1 + V(S with s_i + 1, h - 1)) + (1 - m_i) V(S with f_i + 1, h - 1),
    V(S, h) = max_i Q_i(S, h)    or    sum_i P(i | S, h) Q_i(S, h)

for the Bayes optimum, or for a policy that pulls arm i with probability P(i | S, h). The pulls made are those in S, so there
is one layer of multisets for each number of pulls. Layers are built once, each with the places of what follows in the next
(`layers`), and swept backwards in float64, a layer at a time. Without more arms than pulls some arm is never reached: the
optimum of k >= n arms is that of n.

A policy here is a function `(successes, failures, left) -> probabilities`, arrays `[states, arms]`, with `left` pulls left
including this one. It must not care which arm is which: ties between arms go to all of them alike. Thompson sampling pulls
arm i with probability int f_i prod_{j != i} F_j dx, with the densities f and distribution functions F of the posteriors, a
polynomial for whole a and b, which Gauss-Legendre quadrature integrates exactly.

Values for Beta(1, 1): the optimum is 6.0217857143 for n = 10, k = 2 and 6.6599878748 for n = 10, k = 5.

Sources: R. N. Bradt, S. M. Johnson, S. Karlin (1956), "On sequential designs for maximizing the sum of n observations",
Annals of Mathematical Statistics 27, 1060-1074; D. A. Berry, B. Fristedt (1985), "Bandit problems",
doi:10.1007/978-94-015-3711-7; Y. Duan et al. (2016) for UCB1 and the other baselines in this form, arXiv:1611.02779.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from jaxprice import checks
from jaxprice.oracles import gittins as indices

MOST = 10**7  # states


class Layer(NamedTuple):
    """All multisets of arms after some number of pulls.

    Attributes:
      successes, failures: of each arm, int16 `[states, arms]`.
      won, lost: place in the next layer after a success or failure of each arm, int32 `[states, arms]`; zero in the last.
    """

    successes: np.ndarray
    failures: np.ndarray
    won: np.ndarray
    lost: np.ndarray


def optimum(arms, horizon, a=1.0, b=1.0):
    """The most that can be earned in expectation.

    Args:
      arms: number of arms.
      horizon: pulls.
      a, b: shapes of the prior, above 0.

    Returns:
      Expected total reward, a float.

    Raises:
      ValueError: numbers out of range, or more than `MOST` states.
    """
    horizon = checks.positive_int("horizon", horizon)
    arms = min(checks.positive_int("arms", arms), horizon)
    return _sweep(arms, horizon, a, b, lambda layer, left, worth: worth.max(axis=1))


def value(policy, arms, horizon, a=1.0, b=1.0):
    """What a policy earns in expectation.

    Args:
      policy: `(successes, failures, left) -> probabilities`, as the module says.
      arms, horizon, a, b: as in `optimum`.

    Returns:
      Expected total reward, a float.

    Raises:
      ValueError: numbers out of range, more than `MOST` states, or probabilities that are none.
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
    """Number of states of all layers, exact below 2^53."""
    arms = min(checks.positive_int("arms", arms), checks.positive_int("horizon", horizon))
    ways = np.zeros((arms + 1, horizon))  # by arms that were pulled, and pulls
    ways[0, 0] = 1
    for pulls in range(1, horizon):  # arms with so many pulls are of pulls + 1 kinds
        before = ways.copy()
        for same in range(1, min(arms, (horizon - 1) // pulls) + 1):
            more = before[: arms + 1 - same, : horizon - same * pulls]
            ways[same:, same * pulls :] += float(math.comb(pulls + same, same)) * more
    return int(ways.sum())


@functools.lru_cache(maxsize=4)
def layers(arms, horizon):
    """A tuple of `horizon` layers, the first of one state: nothing pulled.

    Raises:
      ValueError: no arms or pulls, or more than `MOST` states.
    """
    states = count(arms, horizon)
    if states > MOST:
        raise ValueError(f"arms={arms} and horizon={horizon} have {states:.2g} states, at most {MOST:.2g} are allowed")
    pulls, wins = np.tril_indices(horizon + 1)  # of the kinds of arms, in order
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
    """A whole number for each row of numbers under `below`, the same only for the same rows; int64 `[rows]`."""
    bits = below.bit_length()
    width, key = 62 // bits, None
    for start in range(0, rows.shape[1], width):
        part = rows[:, start : start + width].astype(np.int64)
        word = np.sum(part << (bits * np.arange(part.shape[1])), axis=1)
        if key is not None:
            key, word = (np.unique(x, return_inverse=True)[1] for x in (key, word))
            word = key * (word.max() + 1) + word
        key = word
    return key


def _sweep(arms, horizon, a, b, choose):
    """Backwards through the layers; `choose` makes values of a layer from the worth of each arm."""
    checks.number("a", a, low=1e-6, scalar=True)
    checks.number("b", b, low=1e-6, scalar=True)
    values = np.zeros(1)
    for left, layer in enumerate(reversed(layers(arms, horizon)), 1):
        mean = _mean(layer.successes, layer.failures, a, b)
        values = choose(layer, left, mean * (1 + values[layer.won]) + (1 - mean) * values[layer.lost])
    return float(values[0])


def random(successes, failures, left):
    """Every arm alike."""
    return np.full(successes.shape, 1 / successes.shape[1])


def epsilon_greedy(epsilon, a=1.0, b=1.0):
    """A random arm with probability `epsilon`, else one with the largest posterior mean."""
    checks.number("epsilon", epsilon, low=0, high=1, scalar=True)

    def policy(successes, failures, left):
        return epsilon / successes.shape[1] + (1 - epsilon) * _best(_mean(successes, failures, a, b), 1e-9)

    return policy


def greedy(a=1.0, b=1.0):
    """An arm with the largest posterior mean."""
    return epsilon_greedy(0.0, a, b)


def ucb1(c, a=1.0, b=1.0):
    """An arm with the largest mean + c sqrt(2 log(t + 1) / (a + b + pulls)), mean that of the posterior, t pulls made."""
    checks.number("c", c, low=0, scalar=True)

    def policy(successes, failures, left):
        pulls = np.add(successes, failures, dtype=float)
        width = c * np.sqrt(2 * np.log1p(pulls.sum(axis=1, keepdims=True)) / (a + b + pulls))
        return _best(_mean(successes, failures, a, b) + width, 1e-9)

    return policy


def gittins(horizon, a=1.0, b=1.0):
    """An arm with the largest finite-horizon Gittins index; indices within 1e-5 count as the same."""
    tables = indices.finite_table(horizon, a, b)

    def policy(successes, failures, left):
        return _best(tables[left - 1][np.add(successes, failures), successes], 1e-5)

    return policy


def thompson(a=1, b=1):
    """Each arm with the probability that a draw from its posterior is the largest, exactly.

    Raises:
      ValueError: shapes that are not whole numbers.
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
    """Densities, times the weights of a quadrature, and distribution functions at its nodes, by successes and failures."""
    degree = horizon - 1 + arms * (a + b - 1) - 1
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    nodes = (nodes + 1) / 2
    s, f = np.ogrid[:horizon, :horizon]
    law = stats.beta((a + s)[..., None], (b + f)[..., None])
    return law.pdf(nodes) * weights / 2, law.cdf(nodes)


def _mean(successes, failures, a, b):
    return (a + successes) / (a + b + successes + failures)


def _best(index, tolerance):
    """Probabilities of the arms whose index is the largest within a tolerance, all alike."""
    best = index >= index.max(axis=1, keepdims=True) - tolerance
    return best / best.sum(axis=1, keepdims=True)
