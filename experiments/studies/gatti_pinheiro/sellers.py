"""Sellers of `gatti_pinheiro`: the paper's revenue management system, its heuristic of experiments, and Bayesian sellers.

All of them weigh the same types of customers, a grid over the known ranges of frat5 and of arrivals (`Types`). The estimate
is therefore one of the types. The grid of frat5 has steps of .05, where the best fare changes every .28.

Revenue management system (`forecast_and_optimise` with eta 0). Every day it estimates the type with the largest likelihood
of the last `window` days and posts that type's optimal fare for the seats and days left. Days at the lowest fare, which
everybody pays, say nothing of frat5. If the whole window is like that, every frat5 has the same likelihood. The authors'
optimiser then stays at its random start, which is uniform in the rate ln 2 / (frat5 - 1), and so does this one.

Heuristic (eta above 0), for seats that never bind. Let g be the estimated rate, x_k = p_k / p_0 - 1, and for fare k let d_k
be the mean sales of a day and o_k the number of days at this fare in the window. The shares s_k of the fares today maximise

    sum_k s_k p_k d_k - eta / (g sqrt(I(s))),   I(s) = sum_k x_k^2 (o_k + s_k) d_k,

the revenue less eta times the coefficient of variation of the estimate, whose information is I. The objective depends on
two linear functions of s, so two fares are enough, and the best share of every pair has a closed form. Where the authors use
a numerical optimiser, this is exact. Fares of the open flights, or the one fare of the day, are drawn with these shares.

Bayesian sellers keep the posterior of all days. A day that sells the last seat counts with the probability that so many
customers or more would buy, which the authors' forecaster leaves out.

Sources: G. Gatti Pinheiro, M. Defoin-Platel, J.-C. Regin (2022), doi:10.3390/a15050142; the same (2022), "Optimizing revenue
maximization and demand learning in airline revenue management", arXiv:2203.11065, and their code "Talos" (the heuristic).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from scipy import special

from jaxprice import checks
from jaxprice.oracles import single_leg
from jaxprice.types import Policy

TIED = 1e-4  # log-likelihoods that differ by rounding only


class Types(NamedTuple):
    """A grid of markets between which sellers must decide, NumPy arrays.

    Attributes:
      days, seats: of a flight.
      prices: the fares, `[K]`.
      rates: ln 2 / (frat5 - 1), `[G]`.
      means: mean demand of a period at each fare, `[G, K]`.
      scores: log-probability of each number of sales in a period, `[G, K, D]`.
      sold_out: log-probability of at least that number, `[G, K, D]`.
      gains: gain of each fare for the days passed and the seats left of a flight, `[G, days, seats + 1, K]`.
      start: log-probability of a random start, `[G]`.
    """

    days: int
    seats: int
    prices: np.ndarray
    rates: np.ndarray
    means: np.ndarray
    scores: np.ndarray
    sold_out: np.ndarray
    gains: np.ndarray
    start: np.ndarray


def types_of(env, step=0.05, arrivals=1):
    """The `Types` of a season.

    Args:
      env: an `AirlineSeason`.
      step: distance of values of frat5, the ends of the range included.
      arrivals: number of values of arrivals, the ends included; 1 takes the middle of the range.

    Raises:
      ValueError: no types.
    """
    (low, high), (least, most) = env.frat5_range, env.arrivals_range
    count = checks.positive_int("arrivals", arrivals)
    frat5 = np.linspace(low, high, 1 + round((high - low) / checks.positive("step", step)))
    customers = np.linspace(least, most, count) if count > 1 else np.array([(least + most) / 2])
    frat5, customers = (grid.ravel() for grid in np.meshgrid(frat5, customers, indexing="ij"))

    def solved(frat5, arrivals):
        params = env.solve(env.params_of(frat5, arrivals))
        margins = jnp.asarray(params.prices - params.cost)

        def gains(day, left):
            return single_leg.day_gains(margins, params.tails, params.values[env.days - 1 - day], left)

        every = jax.vmap(jax.vmap(gains, (None, 0)), (0, None))(jnp.arange(env.days), jnp.arange(env.capacity + 1))
        return env.mean_demand(params), every

    means, gains = jax.tree.map(np.asarray, jax.jit(jax.vmap(solved))(np.float32(frat5), np.float32(customers)))
    units, mean = np.arange(env.largest_demand + 1), means.astype(float)[..., None]
    scores = special.xlogy(units, mean) - mean - special.gammaln(units + 1)
    tails = np.where(units > 0, special.gammainc(np.maximum(units, 1), mean), 1.0)
    rates = math.log(2) / (frat5 - 1)
    return Types(
        env.days,
        env.capacity,
        np.float32(env.prices),
        np.float32(rates),
        means,
        np.float32(scores),
        np.float32(np.log(np.maximum(tails, 1e-30))),
        gains,
        np.float32(2 * np.log(rates)),  # the density of frat5 if the rate is uniform, up to a constant
    )


@struct.dataclass
class State:
    """State of a seller.

    Attributes:
      likelihood: log-likelihood of every type by day, the oldest day first, float `[window, G]`; the last row is today.
      offers: share of each day at every fare, float `[window, K]`, ordered alike.
      period: number of periods played, int scalar.
      estimate: the estimated type, int scalar.
      shares: shares of the fares today, cumulated, float `[K]`.
    """

    likelihood: jax.Array
    offers: jax.Array
    period: jax.Array
    estimate: jax.Array
    shares: jax.Array


def place(types, observation):
    """Days passed and seats left of the flight on sale, int scalars."""
    day = types.days - jnp.round(observation[4] * types.days).astype(jnp.int32)
    return day, jnp.round(observation[3] * types.seats).astype(jnp.int32)


def evidence(types, transition):
    """Log-likelihood of the sales of a period for every type, float `[G]`; zero if there was no seat to sell."""
    _, left = place(types, transition.observation)
    sold = jnp.clip(jnp.round(transition.demand).astype(jnp.int32), 0, types.scores.shape[2] - 1)
    at = (slice(None), transition.action, sold)
    found = jnp.where(sold >= left, jnp.asarray(types.sold_out)[at], jnp.asarray(types.scores)[at])
    return jnp.where(left > 0, found, 0.0)


def likeliest(key, types, likelihood):
    """The type with the largest likelihood, int scalar; a random one, uniform in the rate, of those that tie."""
    tied = likelihood >= jnp.max(likelihood) - TIED
    drawn = types.start + jax.random.gumbel(key, likelihood.shape, jnp.float32)
    return jnp.argmax(jnp.where(tied, drawn, -jnp.inf)).astype(jnp.int32)


def forecast_and_optimise(types, window=22, eta=0.0, flights=1):
    """The paper's revenue management system, and with `eta` its heuristic of experiments.

    Args:
      types: the `Types`.
      window: number of days whose sales are remembered; None: all of them.
      eta: weight of the uncertainty of the estimate, in money a day; at 0 the system posts the best fare of the estimate.
      flights: number of periods of a day, on which one flight after another gets its fare; estimates change once a day.

    Raises:
      ValueError: a negative eta, no window, several flights a day without known fares, seats that bind with `eta`.
    """
    rows = 1 if window is None else checks.positive_int("window", window)
    flights = checks.positive_int("flights", flights)
    eta = checks.number("eta", eta, low=0)
    if not checks.is_traced(eta) and np.any(np.asarray(eta) > 0) and types.seats < types.scores.shape[2] - 1:
        raise ValueError(f"eta needs seats that never bind, got {types.seats}")
    blank = jnp.zeros((rows, types.rates.size)), jnp.zeros((rows, types.prices.size))

    def planned(estimate, offers):
        return jnp.cumsum(shares_of(types, estimate, offers, eta, flights))

    def init(key, problem):
        if problem.num_prices != types.prices.size:
            raise ValueError(f"the types have {types.prices.size} fares, this market has {problem.num_prices}")
        estimate = likeliest(key, types, blank[0][0])
        return State(*blank, jnp.int32(0), estimate, planned(estimate, blank[1][0]))

    def act(key, state, observation):
        greedy = jnp.argmax(jnp.asarray(types.gains)[(state.estimate, *place(types, observation))]).astype(jnp.int32)
        u = jax.random.uniform(key, (), jnp.float32) * state.shares[-1]
        drawn = jnp.minimum(jnp.sum((state.shares <= u).astype(jnp.int32)), types.prices.size - 1)
        return jnp.where(jnp.asarray(eta) > 0, drawn, greedy)

    def update(key, state, transition):
        here = jnp.where(place(types, transition.observation)[1] > 0, 1.0 / flights, 0.0)
        offers = state.offers.at[-1, transition.action].add(here)
        likelihood = state.likelihood.at[-1].add(evidence(types, transition))
        over = (state.period + 1) % flights == 0
        estimate = likeliest(key, types, jnp.sum(likelihood, axis=0))
        if rows > 1:  # the oldest day is forgotten, and the new day is empty
            aged = tuple(jnp.concatenate([x[1:], jnp.zeros_like(x[:1])]) for x in (likelihood, offers))
        else:
            aged = (likelihood, offers) if window is None else (jnp.zeros_like(likelihood), jnp.zeros_like(offers))
        new = State(*aged, state.period + 1, estimate, planned(estimate, jnp.sum(aged[1], axis=0)))
        same = State(likelihood, offers, state.period + 1, state.estimate, state.shares)
        return jax.tree.map(lambda x, y: jnp.where(over, x, y), new, same)

    return Policy(init, act, update)


def shares_of(types, estimate, offers, eta, flights=1):
    """The heuristic's shares of the fares of a day, float `[K]`; see the module."""
    prices, rate = jnp.asarray(types.prices), jnp.asarray(types.rates)[estimate]
    sales = flights * jnp.asarray(types.means)[estimate]
    revenue, weight = prices * sales, (prices / prices[0] - 1) ** 2 * sales
    known = jnp.sum(weight * offers)
    lost, more = revenue[None] - revenue[:, None], weight[:, None] - weight[None]  # [a, b]: by a instead of b
    trade = (lost > 0) & (more > 0)
    target = (eta * jnp.maximum(more, 0.0) / (2 * rate * jnp.where(trade, lost, 1.0))) ** (2 / 3)
    share = jnp.clip((target - known - weight[None]) / jnp.where(trade, more, 1.0), 0.0, 1.0)
    share = jnp.where(trade, share, (revenue[:, None] >= revenue[None]).astype(jnp.float32))
    mixed = [x[None] + share * (x[:, None] - x[None]) for x in (revenue, weight)]
    information = jnp.maximum(known + mixed[1], 1e-3)
    best = jnp.argmax(jnp.ravel(mixed[0] - eta / (rate * jnp.sqrt(information))))
    a, b = jnp.divmod(best, prices.size)
    part = jnp.ravel(share)[best]
    return jnp.zeros(prices.size).at[a].add(part).at[b].add(1 - part)


def posterior_seller(types, greedy=False):
    """Thompson sampling with the posterior of the types; `greedy`: the fare with the largest posterior mean gain (QMDP)."""

    def init(key, problem):
        del key
        if problem.num_prices != types.prices.size:
            raise ValueError(f"the types have {types.prices.size} fares, this market has {problem.num_prices}")
        return jnp.zeros(types.rates.size, jnp.float32)

    def act(key, state, observation):
        gains = jnp.asarray(types.gains)[(slice(None), *place(types, observation))]
        if greedy:
            return jnp.argmax(jnp.sum(jnp.exp(state)[:, None] * gains, axis=0)).astype(jnp.int32)
        one = jnp.argmax(state + jax.random.gumbel(key, state.shape, jnp.float32))
        return jnp.argmax(gains[one]).astype(jnp.int32)

    def update(key, state, transition):
        del key
        new = state + evidence(types, transition)
        return new - jnp.max(new)

    return Policy(init, act, update)
