"""The flight with unknown willingness to pay: against a search of all histories, and the order of its bounds."""

import functools

import numpy as np
import pytest
from scipy import stats

from jaxprice.oracles import bayes_single_leg as bayes


@functools.cache
def every_history(flight):
    """Revenue of the optimum, of QMDP and of Thompson sampling, by a search of all histories of fares and sales.

    The posterior is computed from the sales of every day, without sufficient statistics. A sold-out day has the probability
    of all demands that sell the flight out.
    """
    rates, prior, fares = np.array(flight.rates), np.array(flight.prior), np.array(flight.fares)
    means = flight.mean * np.exp(-rates[:, None] * (fares / fares[0] - 1))
    pmf = stats.poisson(means[..., None]).pmf(np.arange(flight.largest + 1))

    @functools.cache
    def known(m, days, left):
        if days == 0 or left == 0:
            return np.zeros(len(fares))
        worth = np.zeros(len(fares))
        for k, fare in enumerate(fares):
            for d, chance in enumerate(pmf[m, k]):
                sold = d if left is None else min(d, left)
                rest = None if left is None else left - sold
                worth[k] += chance * (fare * sold + known(m, days - 1, rest).max())
        return worth

    def best(days, left, weights):
        if days == 0 or left == 0:
            return np.zeros(3)
        each = np.array([known(m, days, left) for m in range(len(rates))])
        worth = np.zeros((len(fares), 3))
        for k, fare in enumerate(fares):
            limit = flight.largest if left is None else left
            for sold in range(min(limit, flight.largest) + 1):
                chance = pmf[:, k, sold]
                if left is not None and sold == left:
                    chance = pmf[:, k, left:].sum(axis=1)
                new = weights * chance
                if new.sum() > 0:
                    rest = None if left is None else left - sold
                    worth[k] += new.sum() * (fare * sold + best(days - 1, rest, new / new.sum()))
        drawn = sum(w * worth[np.argmax(q), 2] for w, q in zip(weights, each, strict=True))
        return np.array([worth[:, 0].max(), worth[np.argmax(weights @ each), 1], drawn])

    clairvoyant = sum(p * known(m, flight.days, flight.seats).max() for m, p in enumerate(prior))
    return best(flight.days, flight.seats, prior), clairvoyant


TINY = {
    "any number of seats": {"fares": (1.0, 2.0, 3.5), "rates": (0.3, 1.3), "mean": 0.1, "days": 3, "prior": (0.4, 0.6)},
    "two seats": {"fares": (1.0, 2.2, 3.0), "rates": (0.2, 0.8, 2.0), "mean": 0.6, "days": 3, "seats": 2},
    "two fares": {"fares": (2.0, 3.0), "rates": (0.2, 3.0), "mean": 0.5, "days": 4, "seats": 1},
    "one day": {"fares": (1.0, 1.5), "rates": (0.4, 2.0), "mean": 2.0, "days": 1, "seats": 3},
}


@pytest.mark.parametrize("name", TINY)
def test_against_a_search_of_all_histories(name):
    flight = bayes.Flight(**TINY[name])
    (best, qmdp, thompson), clairvoyant = every_history(flight)
    assert bayes.optimum(flight) == pytest.approx(best, rel=1e-7)
    assert bayes.value(flight, bayes.qmdp(flight)) == pytest.approx(qmdp, rel=1e-7)
    assert bayes.value(flight, bayes.thompson(flight)) == pytest.approx(thompson, rel=1e-7)
    assert bayes.clairvoyant(flight) == pytest.approx(clairvoyant, rel=1e-7)
    assert clairvoyant >= best >= max(qmdp, thompson)


def test_learning_is_worth_something():
    """Here the lowest fare is best before any sale, and only higher fares teach: the optimum tries one, QMDP never does."""
    flight = bayes.Flight(fares=(50, 110, 230), rates=(0.21, 1.39), mean=4.0, days=12, prior=(0.2, 0.8))
    best, greedy = bayes.optimum(flight), bayes.value(flight, bayes.qmdp(flight))
    assert greedy == pytest.approx(12 * 4 * 50, rel=1e-6)
    assert greedy < 0.95 * best < best < bayes.clairvoyant(flight)


def test_one_type_is_the_known_flight():
    flight = bayes.Flight(fares=(50, 110, 230), rates=(0.4,), mean=2.0, days=6, seats=5)
    made = [bayes.optimum(flight), bayes.clairvoyant(flight), bayes.value(flight, bayes.thompson(flight))]
    np.testing.assert_allclose(made, made[0], rtol=1e-12)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"fares": (1.0, 2.0, 2.0 + np.sqrt(0.5))}, "fares must be on a lattice"),
        ({"fares": (2.0, 1.0)}, "increas"),
        ({"fares": (0.0, 1.0)}, "fares must be above 0"),
        ({"rates": (0.0, 1.0)}, "rates"),
        ({"prior": (0.5, 0.4, 0.1)}, "prior must have a probability for each of the 2 rates"),
        ({"mean": 0.0}, "mean"),
        ({"days": 0}, "days"),
        ({"seats": 0}, "seats"),
        ({"days": 400}, "states, more than"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        bayes.Flight(**({"fares": (1.0, 2.0, 3.0), "rates": (0.3, 1.3), "mean": 1.0, "days": 3} | change))
