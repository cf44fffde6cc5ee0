"""Laws of what each price is worth: means, deviations, the probability of being best, and the value of exploring.

A belief says how much each price k may earn: v_k = w_k x_k, with x_k an unknown mean signal and w_k known. With the best
price A* = argmax_k v_k (ties to the first), p_j = P(A* = j) and M_jk = E[x_k | A* = j], the value of exploring is

    regret_k      = sum_j p_j (w_j M_jj - w_k M_jk) = E[max_j v_j] - E[v_k],
    information_k = sum_j p_j KL(law of an outcome at k, given A* = j || law of it),

one step of information-directed sampling. An outcome is the decision of one buyer (Bernoulli, Poisson), for which the sum
is the mutual information between A* and the outcome, in nats; or a signal with Gaussian noise s, for which both laws are
taken as normal with the predictive variance, KL = (M_jk - m_k)^2 / (2 (s^2 + var x_k)).

| law | p, M |
|---|---|
| `Independent`: Beta, normal, Gamma or Student's t for each price | integrals over the value of the best price |
| `Weighted`: candidates with weights | sums over candidates; if they are draws, with standard errors |
| `Known`: one number a price | all at the largest |

Integrals: P(A* = j) = int f_j(v) prod_{i != j} F_i(v) dv, and E[x_k 1{A* = j}] with F_k replaced by E[x_k 1{v_k <= v}]
(`distributions`). The line is cut at the
quantiles of all prices together, with six Gauss points a piece; errors are below 1e-8 for laws of similar width. Everything
is float64 on the host.

Sources: D. Russo, B. Van Roy (2018), "Learning to optimize via information-directed sampling", arXiv:1403.5556.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from jaxprice.explain.distributions import Betas, Gammas, Normals, Students

__all__ = ["Betas", "Exploration", "Gammas", "Independent", "Known", "Normals", "Students", "Weighted"]

LEVELS = stats.norm.cdf(np.linspace(-8, 8, 33))  # levels of the quantiles that cut the line
POINTS, WEIGHTS = np.polynomial.legendre.leggauss(6)
CHUNK = 4096  # points of the integrals at a time
SMALL = 1e-12


@dataclasses.dataclass(frozen=True)
class Exploration:
    """What a law says of exploring; float64 `[K]` each.

    Attributes:
      best, best_se: probability to be the best price, and its standard error, 0 where it is not drawn.
      regret: expected regret of one period.
      information: information of one outcome on which price is best, in nats.
    """

    best: Float[np.ndarray, " K"]
    best_se: Float[np.ndarray, " K"]
    regret: Float[np.ndarray, " K"]
    information: Float[np.ndarray, " K"]


@dataclasses.dataclass(frozen=True)
class Independent:
    """Independent laws `x` of the signals, and the worth w of a signal of one, float64 `[K]`."""

    x: Any
    worth: np.ndarray

    @property
    def mean(self):
        """Mean worth of each price, `[K]`."""
        return self.worth * self.x.mean

    @property
    def std(self):
        """Standard deviations, `[K]`."""
        return np.abs(self.worth) * self.x.std

    def exploration(self, outcome):
        """The `Exploration`; `outcome` is "bernoulli", "poisson", or the standard deviation of a Gaussian signal."""
        best, means = self.given_best()
        return exploration(best, means, self.worth, self.x.mean, self.x.std, outcome)

    def given_best(self):
        """`(p, M)`: float64 `[K]`, and `[K, K]` with the best price first."""
        mean, size = self.x.mean, len(self.worth)
        moving = (np.abs(self.worth) > 0) & (self.x.std > SMALL * (1e-300 + np.abs(mean)))  # the others have one value
        fixed = np.where(moving, -np.inf, self.worth * mean)
        floor = fixed.max(initial=-np.inf)
        best, joint = np.zeros(size), np.zeros((size, size))
        for x, width in _pieces(self.x, self.worth, moving, floor):
            below, partial, density = self._at(x, moving, mean)
            before = np.cumprod(np.concatenate([np.ones_like(below[:, :1]), below[:, :-1]], axis=1), axis=1)
            after = np.cumprod(np.concatenate([np.ones_like(below[:, :1]), below[:, :0:-1]], axis=1), axis=1)[:, ::-1]
            mass = width[:, None] * density * before * after
            ratio = np.where(below > 0, partial / np.where(below > 0, below, 1), mean)
            own = np.einsum("pk,p->k", mass, x) / np.where(self.worth == 0, 1, self.worth)
            best, joint = best + mass.sum(axis=0), joint + mass.T @ ratio
            joint[np.diag_indices(size)] += own - np.einsum("pk,pk->k", mass, ratio)
        if np.isfinite(floor):
            below, partial, _ = self._at(np.array([floor]), moving, mean)
            chance, first = below[0].prod(), int(np.argmax(fixed))
            best[first] += chance
            joint[first] += chance * np.where(below[0] > 0, partial[0] / np.where(below[0] > 0, below[0], 1), mean)
        total = best.sum()
        return best / total, np.where(best[:, None] > 0, joint / np.where(best > 0, best, 1)[:, None], mean)

    def _at(self, x, moving, mean):
        """P(v_k <= x), E[x_k 1{v_k <= x}] and the density of v_k at points `[P]`: `[P, K]` each."""
        scale = np.where(moving, self.worth, 1.0)
        signal = x[:, None] / scale
        below, partial, density = self.x.cdf(signal), self.x.partial(signal), self.x.pdf(signal) / np.abs(scale)
        falls = scale < 0
        below, partial = np.where(falls, 1 - below, below), np.where(falls, mean - partial, partial)
        return np.where(moving, below, 1.0), np.where(moving, partial, mean), np.where(moving, density, 0.0)


def _pieces(law, worth, moving, floor):
    """Points and widths of the integrals over values from `floor`, in chunks."""
    edges = np.stack([law.quantiles(level) for level in LEVELS]) * worth
    edges = np.sort(np.maximum(edges[:, moving].ravel(), floor))
    edges = np.unique(edges[np.isfinite(edges)])
    if len(edges) < 2:
        return
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    x = (middle[:, None] + half[:, None] * POINTS).ravel()
    width = (half[:, None] * WEIGHTS).ravel()
    for start in range(0, len(x), CHUNK):
        yield x[start : start + CHUNK], width[start : start + CHUNK]


@dataclasses.dataclass(frozen=True)
class Weighted:
    """Candidates for the signals, `x` float64 `[M, K]`, with weights that sum to one, `[M]`; the worth of a signal, `[K]`.

    `drawn` says whether the candidates are independent draws. `moments`, `(mean, std)` of the signals, replace those of the
    candidates where they are known exactly.
    """

    x: np.ndarray
    weights: np.ndarray
    worth: np.ndarray
    drawn: bool = False
    moments: Any = None

    def signals(self):
        """Mean and standard deviation of the signals, `[K]` each."""
        if self.moments is not None:
            return self.moments
        mean = self.weights @ self.x
        return mean, np.sqrt(np.maximum(self.weights @ (self.x - mean) ** 2, 0))

    @property
    def mean(self):
        """Mean worth of each price, `[K]`."""
        return self.worth * self.signals()[0]

    @property
    def std(self):
        """Standard deviations, `[K]`."""
        return np.abs(self.worth) * self.signals()[1]

    def exploration(self, outcome):
        """As `Independent.exploration`."""
        first = np.argmax(self.worth * self.x, axis=1)
        won = np.zeros_like(self.x)
        won[np.arange(len(first)), first] = self.weights
        best, mean = won.sum(axis=0), self.weights @ self.x
        means = np.where(best[:, None] > 0, won.T @ self.x / np.where(best > 0, best, 1)[:, None], mean)
        se = np.sqrt(best * (1 - best) / len(first)) if self.drawn else np.zeros_like(best)
        return exploration(best, means, self.worth, mean, self.signals()[1], outcome, se)


@dataclasses.dataclass(frozen=True)
class Known:
    """One number a price, float64 `[K]`, without a spread: `std` is None."""

    mean: np.ndarray
    std: Any = None

    def exploration(self, outcome):
        """As `Independent.exploration`."""
        del outcome
        best, zero = np.zeros_like(self.mean), np.zeros_like(self.mean)
        best[np.argmax(self.mean)] = 1
        return Exploration(best, zero, self.mean.max() - self.mean, zero)


def exploration(best, means, worth, mean, std, outcome, se=None):
    """The `Exploration` for p, M, w, and the mean and standard deviation of the signals."""
    ahead = best @ (worth * np.diagonal(means)) - worth * (best @ means)
    if outcome == "bernoulli":
        apart = _relative(means, mean) + _relative(1 - means, 1 - mean)
    elif outcome == "poisson":
        apart = _relative(means, mean) - means + mean
    else:
        apart = (means - mean) ** 2 / (2 * np.maximum(outcome**2 + std**2, 1e-300))
    zero = np.zeros_like(best) if se is None else se
    return Exploration(best, zero, np.maximum(ahead, 0), np.maximum(best @ apart, 0))


def _relative(x, y):
    """x log(x / y)."""
    x, y = np.maximum(x, 0), np.maximum(y, SMALL)
    return special.xlogy(x, x / y)
