"""What policies believe that fit one curve to all prices: lines, logit curves, and curves with buyers' features.

A line through n points with mean price m_p, mean demand m_d, sum of squares S_pp and noise of deviation e has

    d(p) ~ N(m_d + s (p - m_p), e^2 (1 / n + (p - m_p)^2 / S_pp)),

with level and slope independent: two normal draws give the joint law of all prices. The centred sums are those of
`parts.line`, and a prior that the policy counts as observations is in them. A likelihood that is known over a box of
parameters gives a posterior under a flat prior: candidates with weights. Estimates by gradient steps or in epochs have no
spread: the belief is one number a price, `profit_std` is None.
"""

import jax
import numpy as np
from scipy import special

from jaxprice.explain.laws import Known, Weighted
from jaxprice.explain.readers import Reading, reader
from jaxprice.policies.moving import change_point_least_squares, discounted_least_squares
from jaxprice.policies.parametric import bayesian_linear_pricing, mle_cycle, mle_greedy, o3fu, slow_moving
from jaxprice.policies.parts import arms, line
from jaxprice.policies.related import meta_dynamic_pricing

CANDIDATES = 61  # parameters a side of the box of a likelihood


def of_line(view, mean_price, mean_demand, squares, product, count, noise, assumes=""):
    """The `Reading` of a line in the outer unit of money.

    Raises:
      ValueError: the line has no slope yet.
    """
    if not (count > 0 and squares > line.FLAT * view.unit**2):
        raise ValueError(
            f"{view.told.name or 'the policy'} has not posted two different prices yet, so its line has no slope"
        )
    away = view.prices - mean_price
    mean, std = mean_demand + product / squares * away, noise * np.sqrt(1 / count + away**2 / squares)
    z = view.normals((2,))
    values = mean + noise * (z[:, :1] / np.sqrt(count) + z[:, 1:] / np.sqrt(squares) * away)
    return of_draws(view, values, (mean, std), noise, assumes)


def of_draws(view, values, moments, noise, assumes=""):
    """The `Reading` of draws of the demand of a buyer, `[M, K]`, whose exact moments are `(mean, std)`."""
    law = Weighted(values, np.full(len(values), 1 / len(values)), view.margins * view.buyers, True, moments)
    mean, std = moments
    return Reading(law, noise, assumes, view.buyers * mean, view.buyers * std)


def known_noise(view, state):
    """Deviation of the demand of a buyer: that of the state, or the market's."""
    return float(getattr(state, "noise", arms.noise_of_signal(view.problem)))


@reader("market", "line", "posterior", of=meta_dynamic_pricing.State, names=("meta_dynamic_pricing",))
def line_of_a_product(state, view):
    """The posterior of the line of the present product under the prior that was learned from earlier ones."""
    (level, slope), (p, q, r) = (np.asarray(part, float) for part in state.posterior())
    centre, unit = (float(x) * view.unit for x in state.market.middle())
    away = (view.prices - centre) / unit - float(state.line.sums.price)
    covariance = np.linalg.inv(np.array([[p, q], [q, r]]))
    rows = np.stack([np.ones_like(away), away], axis=1)
    mean, std = rows @ (level, slope), np.sqrt(np.sum(rows @ covariance * rows, axis=1))
    values = mean + view.normals((2,)) @ np.linalg.cholesky(covariance).T @ rows.T
    return of_draws(view, values, (mean, std), float(state.noise))


@reader(
    "market",
    "line",
    of=(bayesian_linear_pricing.State, change_point_least_squares.State, o3fu.State),
    names=("bayesian_linear_pricing", "change_point_least_squares", "o3fu"),
)
def line_with_noise(state, view):
    """A line with a known noise; on the scale of the interval if it has a prior."""
    sums, time, noise = state.line.sums, float(state.time), known_noise(view, state)
    price, sold, squares, product = (float(x) for x in (sums.price, sums.demand, sums.squares, sums.product))
    if hasattr(state, "watch"):
        unit, centre, count = view.unit, 0.0, time
    else:
        centre, unit = (float(x) * view.unit for x in state.market.middle())
        std = float(view.told.number("std", 0.5))
        count = time + (float(state.weight) if hasattr(state, "weight") else max((noise / std) ** 2, 1e-30))
    return of_line(view, centre + unit * price, sold, squares * unit**2, product * unit, count, noise)


@reader(
    "market",
    "line",
    of=(line.State, discounted_least_squares.State, slow_moving.State),
    names=(
        *("constrained_least_squares", "controlled_variance", "deterministic_testing", "iterated_least_squares"),
        *("discounted_least_squares", "slow_moving"),
    ),
)
def plain_line(state, view):
    """Least squares without a prior, over all periods, discounted ones, or those of the present episode."""
    sums, unit = state.line.sums, view.unit
    count = float(next(getattr(state, name) for name in ("weight", "place", "time") if hasattr(state, name)))
    return of_line(
        view,
        float(sums.price) * unit,
        float(sums.demand),
        float(sums.squares) * unit**2,
        float(sums.product) * unit,
        count,
        known_noise(view, state),
        "a flat prior on the line",
    )


@reader("market", "points", "before", "since", names=("moving_window_least_squares",))
def line_in_a_window(state, view):
    """Least squares over the last periods."""
    centre, half = (float(x) * view.unit for x in state.market.middle())
    count = float(np.clip(int(state.time), 1, len(state.points)))
    x, d, squares, product = (np.asarray(state.before, float) + np.asarray(state.since, float)) / count
    sums = count * max(squares - x * x, 0) * half**2, count * (product - x * d) * half
    return of_line(view, centre + half * x, d, *sums, count, known_noise(view, state), "a flat prior on the line")


def of_candidates(view, chances, log_weights):
    """The `Reading` of curves, demand of a buyer float64 `[M, K]`, with log weights `[M]`."""
    weights = special.softmax(log_weights)
    law = Weighted(chances, weights, view.margins * view.buyers)
    mean, std = law.signals()
    return Reading(law, "bernoulli", "a flat prior on the box of parameters", view.buyers * mean, view.buyers * std)


@reader("market", "values", "low", "high", of=mle_greedy.State, names=("mle_greedy",))
def one_parameter(state, view):
    """The likelihood of one parameter at evenly spaced points."""
    z, kind = np.asarray(state.grid(), float)[:, None], view.told.options.get("curve", "logit")
    if kind == "logit":
        chances = special.expit(-(z * view.prices + view.told.number("intercept", 0.0)))
    else:
        level, slope = (0.5 + z, z) if kind == "uninformative" else (1.0, z / 2)
        chances = np.clip(level - slope * view.prices, 0, 1)
    return of_candidates(view, chances, np.asarray(state.values, float))


@reader("market", "likelihood", "bounds", of=mle_cycle.State, names=("mle_cycle",))
def two_parameters(state, view):
    """The likelihood of a logit curve on a grid over its box."""
    (low1, low2), (high1, high2) = np.asarray(state.bounds, float)
    z1, z2 = (x.ravel() for x in np.meshgrid(np.linspace(low1, high1, CANDIDATES), np.linspace(low2, high2, CANDIDATES)))
    total = max(float(np.sum(state.likelihood.counts)), 1.0)
    value = jax.vmap(lambda a, b: state.likelihood.at(a, b)[0])(np.float32(z1), np.float32(z2))
    chances = special.expit(-(z1[:, None] * view.prices / view.unit + z2[:, None]))
    return of_candidates(view, chances, total * np.asarray(value, float))


@reader("market", "effects", "model", of=None, names=("glm_greedy", "perturbed_pricing"))
def personal_effects(state, view):
    """Surplus that is linear in features and in features times the price; Laplace's approximation for `glm_greedy`."""
    theta, law = np.asarray(state.model.mean, float), state.market.law
    z = np.stack([state.effects.features(state.market.context(_seen(view)), price / view.unit) for price in view.prices])
    if view.told.name != "glm_greedy":
        return of_point(view, _chance(law, z @ theta))
    roots = z @ np.asarray(state.model.factor, float)
    noise = float(arms.noise_of_signal(view.problem))
    roots = noise * roots if law == "linear" else roots
    values, mean = z @ theta + view.normals((roots.shape[1],)) @ roots.T, z @ theta
    std, known = np.sqrt(np.sum(roots**2, axis=1)), None
    if law == "linear":
        known = mean, std
    law = Weighted(_chance(law, values), np.full(len(values), 1 / len(values)), view.margins * view.buyers, True, known)
    mean, std = law.signals()
    assumes = "" if known else "Laplace's approximation"
    return Reading(law, noise if known else "bernoulli", assumes, view.buyers * mean, view.buyers * std)


@reader("market", "effects", "theta", names=("etc_glm",))
def estimate_of_effects(state, view):
    """An estimate of the coefficients of features, and of features times the price."""
    z = np.stack([state.effects.features(state.market.context(_seen(view)), price / view.unit) for price in view.prices])
    return of_point(view, _chance(state.market.law, z @ np.asarray(state.theta, float)))


@reader("market", "radius", names=("emlp", "onsp", "rmlp"))
def estimate_of_valuations(state, view):
    """An estimate of linear valuations under noise of a known scale."""
    theta = np.asarray(state.theta if hasattr(state, "theta") else state.model.mean, float)
    value = float(np.asarray(state.market.context(_seen(view)), float) @ theta)
    return of_point(view, _chance(state.market.law, (value - view.prices / view.unit) / float(state.market.scale)))


def of_point(view, chances):
    """The `Reading` of one curve, demand of a buyer float64 `[K]`."""
    return Reading(Known(view.margins * view.buyers * chances), demand=view.buyers * chances)


def _seen(view):
    if view.observation is None:
        raise ValueError("observation must be given for a policy that sees the features of a buyer, got None")
    return view.observation


def _chance(law, surplus):
    """Purchase probability for a surplus in units of the noise; a linear one is demand itself."""
    if law == "linear":
        return surplus
    return special.expit(surplus) if law == "logistic" else special.ndtr(surplus)
