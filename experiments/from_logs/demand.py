"""Demand of the products: candidate models, judged on later periods, and the best price with its interval."""

import dataclasses
import warnings
from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

from jaxprice import data

DRAWS = 2000  # of (a, b), for the interval of a best price


class Judged(NamedTuple):
    """A model and its scores.

    Attributes:
      name: of the model.
      fit: fitted to everything before the test.
      earlier: fitted to the training part alone.
      validation, test: gain in log likelihood against the model without a price, nats a cell.
    """

    name: str
    fit: data.DemandFit
    earlier: data.DemandFit
    validation: float
    test: float


def before(panel, end):
    """The panel with no visits from `end` on, so that fits leave these periods out; shapes stay as they are."""
    return dataclasses.replace(panel, visits=np.where((panel.periods < end)[:, None], panel.visits, 0.0))


def judge(panel, cuts, promotions):
    """Models with the price, and with price and promotions, each fitted to the past and judged on what came later.

    A cell is a product, period and fold of households. The model without a price has the mean demand per visit of each
    product. Prices outside the range of the past are clipped to it.

    Args:
      panel: of all periods.
      cuts: first periods of validation and test.
      promotions: whether the panel has any.

    Returns:
      A list of `Judged`, and what was warned of, a list of texts.
    """
    found, told = [], []
    for name, used in (("price", False), ("price and promotions", True))[: 1 + promotions]:
        fits, gains = [], []
        for start, end in ((cuts[0], cuts[1]), (cuts[1], None)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fit = data.fit_demand(before(panel, start), promotions=used)
                gains.append(gain(fit, before(panel, start), panel.between(start, end)))
            fits.append(fit)
            told += [f"{name}: {warning.message}" for warning in caught]
        found.append(Judged(name, fits[1], fits[0], *gains))
    return found, list(dict.fromkeys(told))


def gain(fit, past, later):
    """Mean gain in Poisson log likelihood a cell of `later` against the mean demand of each product in `past`."""
    rows = [later.products.index(product) for product in fit.products]
    later, past = _of(later, rows, fit.products), _of(past, rows, fit.products)
    sold, came = (np.where(past.valid, x, 0.0).sum((1, 2)) for x in (past.units, past.visits))
    plain = np.maximum(sold, 0.5)[:, None, None] / np.maximum(came, 1.0)[:, None, None] * later.visits
    mean = fit.expected_units(later)
    inside = later.valid
    mean, plain, units = mean[inside], plain[inside], later.units[inside]
    return float(np.mean(xlogy(units, mean / plain) - mean + plain))


def _of(panel, rows, products):
    names = ("price", "price_seen", "units", "visits", "on_sale", "stock_out", "promotion", "instrument")
    return dataclasses.replace(panel, products=tuple(products), **{name: getattr(panel, name)[rows] for name in names})


class Best(NamedTuple):
    """The best price of a product: the estimate, the ends of its 95 % interval, and whether it is an end of the range."""

    price: float
    low: float
    high: float
    at_end: bool


def best_price(fit, product, cost, seed=0):
    """The price with the largest expected profit between the lowest and the highest price of the records.

    The interval has the best prices of curves drawn from the estimate and its covariance.
    """
    i = fit.row(product)
    low, high = fit.price_range[i]
    prices = np.linspace(low, high, 201)
    draws = np.random.default_rng([seed, i]).multivariate_normal(fit.coefficients[i], fit.covariance[i], DRAWS)
    numbers = np.concatenate([fit.coefficients[i][None], draws])
    best = prices[profit(numbers, prices, fit.usual[i], cost).argmax(axis=1)]
    ends = np.quantile(best[1:], [0.025, 0.975])
    return Best(float(best[0]), *map(float, ends), bool(best[0] in (prices[0], prices[-1])))


def profit(numbers, prices, usual, cost):
    """Expected profit a visit, `[n, P]`, of curves (a, b) `[n, 2]` with constant elasticity at prices `[P]`."""
    return np.exp(numbers[:, :1] + numbers[:, 1:] * np.log(prices / usual)) * (prices - cost)


def panel_of(source, products=None, folds=5):
    """The panel of a source, with its promotions."""
    products = source.products if products is None else products
    return data.panel(
        source.records,
        period=source.period,
        promotions=source.promotions,
        promotion_table=source.shown,
        visits=source.visitors,
        products=products,
        folds=folds,
    )
