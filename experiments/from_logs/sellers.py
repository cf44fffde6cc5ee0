"""Policies compared in the market of a fit: its task distribution, and the true market where it is known."""

import warnings

import numpy as np

import jaxprice
from jaxprice import policies


def market(fit, product, cost, truth=None, num_prices=9):
    """The market of a product, without promotions; and the params of the true market, or None.

    Returns:
      `(env, true params or None, warnings as texts)`.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env, _ = fit.market(product, num_prices=num_prices, cost=cost)
    true = None
    if truth is not None:
        numbers = truth.at([product], fit.usual[fit.row(product)])[0]
        true = env.params_of(env.curve_of(*map(float, numbers)))
    return env, true, [str(warning.message) for warning in caught]


def chosen(fit, names, best):
    """The first product of which the whole interval says that demand falls; one with its best price inside the range if any.

    Args:
      fit: the demand.
      names: products, in order of preference.
      best: product -> `demand.Best`.

    Raises:
      ValueError: there is none.
    """
    falls = [name for name in names if fit.slopes[fit.row(name)] + 2 * fit.slope_errors[fit.row(name)] < 0]
    if not falls:
        raise ValueError(
            "the records show for no product that demand falls with its price, so there is no market to price in"
        )
    return next((name for name in falls if not best[name].at_end), falls[0])


def compare(env, true, usual, best, sizes, seed):
    """Regret of the policies: in markets drawn from what the fit leaves possible, and in the true one.

    Args:
      env: the market.
      true: params of the true market, or None.
      usual, best: the usual price, and the best price by the fit.
      sizes: `lanes` and `horizon` as in `simulate`, `markets`: draws of the prior, and `sellers`: names, or () for all.
      seed: of the simulation.

    Returns:
      Name of the setting -> `xarray.Dataset`.
    """
    low, high = float(env.low), float(env.high)
    sellers = {
        "oracle": policies.oracle(),
        "the usual price": policies.fixed_price(float(np.clip(usual, low, high))),
        "the fit's best price": policies.fixed_price(float(np.clip(best, low, high))),
        "random price": policies.random_price(),
        "UCB1": policies.ucb1(),
        "Thompson": policies.gaussian_thompson(),
        "Thompson, fit as prior": policies.prior_thompson(env, markets=sizes.markets),
        "greedy, fit as prior": policies.prior_thompson(env, markets=sizes.markets, greedy=True),
    }
    sellers = {name: sellers[name] for name in sizes.sellers or sellers}
    settings = {"drawn from the fit": None} | ({} if true is None else {"the true market": true})
    return {
        name: jaxprice.simulate(env, sellers, seed=seed, lanes=sizes.lanes, horizon=sizes.horizon, params=params)
        for name, params in settings.items()
    }
