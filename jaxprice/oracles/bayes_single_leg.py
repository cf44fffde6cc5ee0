"""A flight whose customers' willingness to pay is unknown: the exact Bayes optimum, and the exact value of any seller.

On each of T days Poisson customers come, `mean` of them on average, and buy at fare k with probability exp(-g x_k), where
x_k = p_k / p_0 - 1 and p_0 is the lowest fare. The rate g is one of g_1, ..., g_M with prior probabilities pi. A flight has
N seats, or any number. After n_k days at fare k with s_k sales the posterior is

    w_m  ~  pi_m exp(-g_m sum_k x_k s_k - mean sum_k n_k exp(-g_m x_k)).

Fares on a lattice, x_k = unit j_k with whole numbers j_k, therefore have the sufficient statistic

    (t, n_k for the fares above the lowest, S = sum_k j_k s_k, seats left),

S is one number. Days at the lowest fare, which everybody pays, teach nothing and need no count. When a day sells the last
seat, its demand is censored, but nothing is left to decide. With f(d | k, w) the predictive law of a day's demand,

    V_t(n, S, c) = max_k sum_d f(d | k, w) (p_k min(d, c) + V_{t+1}(n + e_k, S + j_k d, c - d)),   V_t(., 0) = 0.

The recursion goes backwards in float64. Demand above `largest` has probability below 1e-9 and is dropped, so values are
exact up to that share. There are 1.6 million states for 22 days, three fares and no limit of seats.

Three bounds: the clairvoyant knows g, so sum_m pi_m V^m is not below the optimum. QMDP plays argmax_k sum_m w_m Q^m_k and
Thompson sampling plays k with probability sum_m w_m 1{k = argmax Q^m}. Neither is above it, and both are exact here.

Sources: M. DeGroot (1970), "Optimal statistical decisions"; V. F. Araman, R. Caldentey (2009), "Dynamic pricing for
nonperishable products with demand learning", doi:10.1287/opre.1090.0725; M. Littman, A. Cassandra, L. Kaelbling (1995),
doi:10.1016/B978-1-55860-377-6.50052-9 (QMDP).
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from jaxprice import checks

TAIL, MOST = 1e-9, 5 * 10**7  # probability of demand that is dropped; largest number of states


@dataclasses.dataclass(frozen=True)
class Flight:
    """A flight and what the seller believes before the first day.

    Raises:
      ValueError: fares that do not increase from above 0 or are on no lattice, bad numbers, or more than `MOST` states.

    Attributes:
      fares: increasing, the first is p_0.
      rates: the rates g of the types, each above 0.
      prior: probabilities of the types; None means uniform.
      mean: mean number of customers on a day.
      days: number of days.
      seats: number of seats; None means any number.
    """

    fares: tuple[float, ...]
    rates: tuple[float, ...]
    mean: float
    days: int
    seats: int | None = None
    prior: tuple[float, ...] | None = None

    def __post_init__(self):
        fares = checks.price_grid(self.fares).astype(float)
        if fares[0] <= 0:
            raise ValueError(f"fares must be above 0, got {fares[0]:g}")
        rates = np.atleast_1d(checks.array("rates", self.rates, (None,), low=0).astype(float))
        if (rates <= 0).any():
            raise ValueError(f"rates must be above 0, got {self.rates}")
        prior = np.full(rates.size, 1 / rates.size) if self.prior is None else np.asarray(self.prior, float)
        if prior.shape != rates.shape or (prior < 0).any() or abs(prior.sum() - 1) > 1e-6:
            raise ValueError(f"prior must have a probability for each of the {rates.size} rates, got {self.prior}")
        checks.positive("mean", self.mean)
        checks.positive_int("days", self.days)
        if self.seats is not None:
            checks.positive_int("seats", self.seats)
        for name, value in (("fares", fares), ("rates", rates), ("prior", prior)):
            object.__setattr__(self, name, tuple(value.tolist()))
        if (states := self.count()) > MOST:
            raise ValueError(f"days, fares and seats would make {states} states, more than {MOST}")

    @property
    def steps(self):
        """The whole numbers j_k, int `[K]`."""
        shares = np.array(self.fares) / self.fares[0] - 1
        for parts in range(1, 101):  # the unit is the smallest distance from the lowest fare, or a part of it
            found = shares * parts / (shares[1] if shares.size > 1 else 1.0)
            if np.abs(found - np.round(found)).max() < 1e-5:
                return np.round(found).astype(int)
        raise ValueError(f"fares must be on a lattice, p_k = p_0 (1 + unit j_k) with whole j_k, got {self.fares}")

    @property
    def largest(self):
        """Largest demand of a day that is counted."""
        return int(stats.poisson(self.mean).isf(TAIL)) + 1

    def count(self):
        """Number of states of all days."""
        top = int(self.steps[-1]) * self.largest
        layers = (math.comb(t + len(self.fares) - 1, t) * (top * t + 1) for t in range(self.days))
        return sum(layers) * (1 if self.seats is None else self.seats + 1)

    def laws(self):
        """Probabilities of a day's demand for each type and fare, float `[M, K, largest + 1]`."""
        shares = np.array(self.fares) / self.fares[0] - 1
        means = self.mean * np.exp(-np.array(self.rates)[:, None] * shares)
        law: Any = stats.poisson
        return law.pmf(np.arange(self.largest + 1), means[..., None])

    def known(self):
        """Q of every type if it is known, float `[M, days, C, K]` by days passed; C = seats + 1, or 1 without a limit."""
        laws, value = self.laws(), np.zeros((len(self.rates), 1 if self.seats is None else self.seats + 1))
        out = []
        for _ in range(self.days):
            worth = [_day(laws[:, k], fare, value, self.seats, 0) for k, fare in enumerate(self.fares)]
            out.append(np.stack(worth, axis=2))
            value = out[-1].max(axis=2)
        return np.stack(out[::-1], axis=1)


def optimum(flight: Flight) -> float:
    """The largest expected revenue of a seller who does not know the type."""
    return _sweep(flight, lambda weights, time, worth: worth.max(axis=2))


def clairvoyant(flight: Flight) -> float:
    """The expected revenue of a seller who knows the type, averaged over the prior: an upper bound."""
    return float(np.array(flight.prior) @ flight.known()[:, 0, -1].max(axis=1))


def value(flight: Flight, policy: Callable) -> float:
    """The expected revenue of a seller.

    Args:
      flight: the flight.
      policy: `(weights, time) -> probabilities`, from posteriors `[S, M]` and the days passed to the probability of each
        fare, float `[S, C, K]`, where C = seats + 1 (0, 1, ..., seats left), or 1 without a limit.

    Raises:
      ValueError: the policy does not return probabilities.
    """

    def follow(weights, time, worth):
        chances = np.broadcast_to(policy(weights, time), worth.shape)
        if np.abs(chances.sum(axis=2) - 1).max() > 1e-9 or chances.min() < -1e-12:
            raise ValueError(f"policy must return probabilities that sum to one, on day {time} it does not")
        return np.sum(chances * worth, axis=2)

    return _sweep(flight, follow)


def qmdp(flight: Flight) -> Callable:
    """The policy that plans as if the type became known tomorrow; without a limit of seats, the best fare in the mean."""
    known = flight.known()

    def policy(weights, time):
        return _first_best(np.einsum("sm,mck->sck", weights, known[:, time]))

    return policy


def thompson(flight: Flight) -> Callable:
    """Thompson sampling: the best fare of a type drawn from the posterior."""
    best = _first_best(flight.known())

    def policy(weights, time):
        return np.einsum("sm,mck->sck", weights, best[:, time])

    return policy


def _first_best(worth):
    """One at the first largest entry of the last axis, else zero."""
    return np.eye(worth.shape[-1])[worth.argmax(axis=-1)]


def _sweep(flight, choose: Callable[..., Float[np.ndarray, "S C"]]):
    """The value at the start if `choose` makes values of states from `(weights, time, worth of each fare [S, C, K])`."""
    steps, laws, rates = flight.steps, flight.laws(), np.array(flight.rates)
    gone = flight.mean * np.exp(-rates[:, None] * (np.array(flight.fares) / flight.fares[0] - 1))  # [M, K]
    unit = (flight.fares[1] / flight.fares[0] - 1) / steps[1] if len(steps) > 1 else 1.0
    size, top, others = 1 if flight.seats is None else flight.seats + 1, int(steps[-1]) * flight.largest, len(steps) - 1
    later: Any = None
    for time in reversed(range(flight.days)):
        layer, sums = {}, np.arange(top * time + 1)
        blank = np.zeros((sums.size + top, size))
        for n in itertools.product(range(time + 1), repeat=others):
            if sum(n) > time:
                continue
            log = np.log(flight.prior)[None] - rates * unit * sums[:, None] - gone[:, 1:] @ np.array(n, float)
            weights = np.exp(log - log.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            worth = []
            for k, fare in enumerate(flight.fares):
                after = n if k == 0 else (*n[: k - 1], n[k - 1] + 1, *n[k:])
                ahead = blank if later is None else later[after]
                worth.append(_day(weights @ laws[:, k], fare, ahead, flight.seats, int(steps[k])))
            layer[n] = choose(weights, time, np.stack(worth, axis=2))
        later = layer
    return float(later[(0,) * others][0, -1])


def _day(law, fare, ahead, seats, step):
    """Expected revenue of a day at one fare and of those after it, float `[S, C]`.

    `law` `[S, D]` are probabilities of demand, `ahead` `[>= S + step (D - 1), C]` the values of tomorrow.
    """
    rows, units = law.shape[0], np.arange(law.shape[1])
    if seats is None:
        out = fare * (law @ units)[:, None]
        for d in units:
            out = out + law[:, d, None] * ahead[d * step : d * step + rows]
        return out
    out = fare * law @ np.minimum(units[:, None], np.arange(seats + 1)[None])
    for d in units[:seats]:
        out[:, d + 1 :] += law[:, d, None] * ahead[d * step : d * step + rows, 1 : seats + 1 - d]
    return out
