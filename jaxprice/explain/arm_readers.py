"""What policies believe that keep something for each price alone: sums, windows, discounted sums, posteriors, stocks.

A signal x is demand per buyer, or reward in units of the largest one (`parts.arms`). From a number n of periods at a price
and the sum s of their signals,

| signal | belief about the mean signal |
|---|---|
| b buyers who buy or not | Beta(1 + b s, 1 + b (n - s)), the posterior of a uniform prior |
| share of the largest reward, in [0, 1] | Beta(1 + s, 1 + n - s): as if x were a chance; too wide, never too narrow |
| Poisson | Gamma(1 + b s) with rate 1 + b n, the posterior of an exponential prior with mean one |
| Gaussian with deviation e | N((1/2 + s / e^2) / h, 1 / h), h = 1 + n / e^2, the posterior of N(1/2, 1) |

Policies with a prior of their own (Thompson sampling and its relatives) are read with that prior. UCB and its relatives
have none: the belief is what their sums say to somebody with a wide one, and `Belief.assumes` says so.
"""

from typing import Any

import numpy as np

from jaxprice.explain.laws import Betas, Gammas, Independent, Normals
from jaxprice.explain.readers import Reading, reader
from jaxprice.policies.parts import arms

UNIFORM = "a uniform prior on each conversion rate"
SUMS = (
    *("boltzmann", "epsilon_greedy", "imed", "kl_ucb", "ucb1", "explore_then_commit", "kleinberg_leighton", "moss"),
    *("successive_elimination", "ucb_tuned", "ucb_v", "kl_ucb_gaussian", "gaussian_thompson", "meta_thompson"),
)


def of_signals(view, signal, law, counts, outcome, assumes=""):
    """The `Reading` of a law of the signals."""
    weights, unit = np.asarray(signal.weights, float), float(signal.unit)
    worth = weights * unit if signal.source == "demand" else np.full_like(weights, unit)
    units = np.full_like(worth, unit)
    if signal.source == "reward":
        margins = np.broadcast_to(view.margins, worth.shape) if np.ndim(view.margins) == 1 else np.full_like(worth, np.nan)
        units = unit / np.where(margins == 0, np.nan, margins)
    worth, known = worth * view.unit, Independent(law, worth * view.unit)
    return Reading(known, outcome, assumes, units * law.mean, np.abs(units) * law.std, counts)


def of_counts(view, signal, counts, sums, prior=(1.0, 1.0), assumes=UNIFORM, trials=None):
    """The `Reading` of counts of periods and sums of signals, float64 `[K]` each.

    `prior` are the shapes of a Beta or Gamma prior. `trials` are the observations of a period; by default its buyers, one
    for rewards.
    """
    problem, (a, b) = view.problem, prior
    trials = trials or (problem.buyers if signal.source == "demand" else 1)
    if problem.noise == "bernoulli":
        wins = np.clip(trials * sums, 0, trials * counts)
        return of_signals(view, signal, Betas(a + wins, b + trials * counts - wins), counts, "bernoulli", assumes)
    if problem.noise == "poisson" and signal.source == "demand":
        law = Gammas(a + trials * np.maximum(sums, 0), b + trials * counts)
        return of_signals(view, signal, law, counts, "poisson", "an exponential prior with mean one on demand per buyer")
    return of_normal(view, signal, counts, sums)


def of_normal(view, signal, counts, sums, mean: Any = 0.5, std=1.0, noise=None, assumes=None):
    """As `of_counts`, for normal posteriors with a prior N(mean, std^2) and noise of a known deviation."""
    noise = float(arms.noise_of_signal(view.problem) if noise is None else noise)
    precision = 1 / std**2 + counts / noise**2
    law = Normals((mean / std**2 + sums / noise**2) / precision, 1 / np.sqrt(precision))
    assumes = "the prior N(1/2, 1) on each mean signal" if assumes is None else assumes
    return of_signals(view, signal, law, counts, noise, assumes)


@reader("signal", "a", "b", names=("bayes_ucb", "gittins", "information_directed", "optimistic_thompson", "thompson"))
def beta_posteriors(state, view):
    """Beta posteriors, with the prior of the policy."""
    a, b = np.asarray(state.a, float), np.asarray(state.b, float)
    start = float(view.told.number("a", 1.0) + view.told.number("b", 1.0))
    trials = state.buyers if state.signal.source == "demand" else 1
    return of_signals(view, state.signal, Betas(a, b), np.round((a + b - start) / trials, 6), "bernoulli")


@reader("signal", "sales", "refusals", names=("discounted_thompson",))
def discounted_sales(state, view):
    """Discounted sales and refusals, with the prior of the policy."""
    sales, refusals = np.asarray(state.sales, float), np.asarray(state.refusals, float)
    law = Betas(view.told.number("a", 1.0) + sales, view.told.number("b", 1.0) + refusals)
    trials = state.buyers if state.signal.source == "demand" else 1
    return of_signals(view, state.signal, law, (sales + refusals) / trials, "bernoulli")


@reader("signal", "prior", "precision", "center", "arms", names=("meta_thompson",))
def drawn_prior(state, view):
    """Normal posteriors around a prior mean that was drawn for the product."""
    spread, counts = float(view.told.number("spread", 0.1)), np.asarray(state.arms.pulls, float)
    prior, sums = np.asarray(state.prior, float), np.asarray(state.arms.sums, float)
    return of_normal(view, state.signal, counts, sums, prior, spread, state.noise, "")


@reader("signal", "catalogue", "precision", "center", "counts", names=("hierarchical_thompson",))
def shared_prior(state, view):
    """Normal posteriors of the present product under a common mean."""
    product = int(state.catalogue.now(state.time, view.observation))
    mean, variance = state.posterior(product, float(view.told.number("spread", 0.1)))
    law = Normals(np.asarray(mean, float), np.sqrt(np.asarray(variance, float)))
    return of_signals(view, state.signal, law, np.asarray(state.counts[:, product], float), float(state.noise))


@reader("margins", "arms", "half_width", names=("ucb_pi",))
def profits_of_segments(state, view):
    """Sums of profit per consumer; a period is one observation of the share that buys."""
    counts, margins = np.asarray(state.arms.pulls, float), np.asarray(state.margins, float)
    wins = np.clip(np.asarray(state.arms.sums, float) / np.where(margins == 0, 1, margins), 0, counts)
    law, buyers = Betas(1 + wins, 1 + counts - wins), view.problem.buyers
    worth = margins * float(state.unit) * buyers
    return Reading(Independent(law, worth), "bernoulli", UNIFORM, buyers * law.mean, buyers * law.std, counts)


@reader("market", "arms", "active", names=("zooming",))
def profits_of_points(state, view):
    """Sums of profit at the active prices of the interval."""
    low, high, cost = (float(x) * view.unit for x in (state.market.low, state.market.high, state.market.cost))
    active = np.asarray(state.active)
    counts, prices = np.asarray(state.arms.pulls, float)[active], np.linspace(low, high, len(active))[active]
    worth = np.full(len(counts), (high - cost if high > cost else 1.0) * state.market.buyers)
    wins = np.clip(np.asarray(state.arms.sums, float)[active], 0, counts)
    law = Betas(1 + wins, 1 + counts - wins)
    units = worth / np.where(prices == cost, np.nan, prices - cost)
    told = (units * law.mean, np.abs(units) * law.std, counts, prices)
    return Reading(Independent(law, worth), "bernoulli", "a uniform prior on the share of the largest profit", *told)


@reader("signal", "arms", names=SUMS)
def sums_over_arms(state, view):
    """Sums over arms, possibly discounted; with a Gaussian prior where the policy has one."""
    counts, sums = np.asarray(state.arms.counts, float), np.asarray(state.arms.sums, float)
    counts = np.where(counts < 2 * arms.NEVER, 0.0, counts)
    if view.told.name == "gaussian_thompson":
        mean, std = float(view.told.number("mean", 0.5)), float(view.told.number("std", 1.0))
        return of_normal(view, state.signal, counts, sums, mean, std, state.noise, "")
    return of_counts(view, state.signal, counts, sums)


@reader("signal", "seen", names=("monotone_ucb",))
def seen_by_arm(state, view):
    """Sums over arms of a policy that knows that demand falls, which this belief does not use."""
    counts, sums = np.asarray(state.seen.pulls, float), np.asarray(state.seen.sums, float)
    return of_counts(view, state.signal, counts, sums, assumes=f"{UNIFORM}, without the knowledge that demand falls")


@reader("signal", "window", names=("sliding_window_thompson", "sliding_window_ucb"))
def sums_in_a_window(state, view):
    """Sums over the last pulls; those of Thompson sampling are sales."""
    counts, sums = np.asarray(state.window.counts, float), np.maximum(np.asarray(state.window.sums, float), 0)
    if not hasattr(state, "buyers"):
        return of_counts(view, state.signal, counts, sums)
    prior = float(view.told.number("a", 1.0)), float(view.told.number("b", 1.0))
    trials = state.buyers if state.signal.source == "demand" else 1
    return of_counts(view, state.signal, counts, sums / trials, prior, "", trials)


@reader("signal", "counts", "sums", names=("cusum_ucb", "discounted_ucb"))
def plain_sums(state, view):
    """Counts and sums in the state itself, discounted or since a restart."""
    return of_counts(view, state.signal, np.asarray(state.counts, float), np.asarray(state.sums, float))


@reader("signal", "history", names=("glr_kl_ucb",))
def sums_since_a_change(state, view):
    """Counts and sums of a history since the last change."""
    return of_counts(view, state.signal, np.asarray(state.history.counts, float), np.asarray(state.history.sums, float))


@reader(
    "season",
    "books",
    names=(
        "blind_network",
        "blind_pricing",
        "lp_resolving",
        "lp_ucb",
        "primal_dual_bwk",
        "run_out_price",
        "ts_fixed",
        "ts_update",
    ),
)
def books_of_a_stock(state, view):
    """Sales that the stock did not limit. Profit is that of a period; the worth of a unit that is kept is left out."""
    margins, books, most = np.asarray(state.season.margins, float), state.books, state.season.most
    counts, sums = np.asarray(books.counts, float), np.asarray(books.sums, float)
    a, b = (float(getattr(state, name, 1.0)) for name in "ab")
    if most:
        law, outcome = Betas(a + np.clip(sums, 0, most * counts), b + np.maximum(most * counts - sums, 0)), "bernoulli"
    else:
        law, outcome = Gammas(a + sums, b + counts), "poisson"
    unit = most or 1
    mean, std = unit * law.mean, unit * law.std
    assumes = "" if hasattr(state, "a") else UNIFORM if most else "an exponential prior with mean one on demand"
    if margins.shape[1] == 1:
        one = type(law)(*(np.ravel(x) for x in vars(law).values()))
        return Reading(Independent(one, margins[:, 0] * unit), outcome, assumes, mean[:, 0], std[:, 0], counts[:, 0])
    profit, spread = np.sum(margins * mean, axis=1), np.sqrt(np.sum((margins * std) ** 2, axis=1))
    noise = float(np.sqrt(np.mean(np.sum(margins**2 * mean, axis=1))))
    total = mean.sum(axis=1), np.sqrt(np.sum(std**2, axis=1)), counts.min(axis=1)
    assumes = (assumes and f"{assumes}, and ") + "a normal law for the sum over products"
    return Reading(Independent(Normals(profit, np.maximum(spread, 1e-12)), np.ones_like(profit)), noise, assumes, *total)
