"""Censored demand: survival functions, what ignoring stock-outs costs, and the EM of airline practice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

from jaxprice.data import estimation
from jaxprice.data.estimation import likelihoods
from tests.planted_sales import shop

rows, shelf, truth = 2000, 7.0, np.array([1.8, -2.0])


def planted(dispersion, seed=0):
    """`(design, sales, sold_out, demand)` of a shop with seven units on the shelf."""
    rng = np.random.default_rng(seed)
    price = 0.3 * rng.normal(size=rows)
    design = np.column_stack([np.ones(rows), price])
    mean = np.exp(design @ truth)
    demand = rng.poisson(mean * rng.gamma(1 / dispersion, dispersion, rows) if dispersion else mean)
    return design, np.minimum(demand, shelf), demand >= shelf, demand


def test_survival_functions_are_scipys():
    means, bounds = np.array([0.01, 0.5, 5.0, 40.0, 600.0]), np.array([0.0, 1, 3, 30, 200, 700])
    m, c = (x.ravel() for x in np.meshgrid(means, bounds))
    with jax.enable_x64(True):
        for dispersion, family in ((0.0, "poisson"), (0.1, "negative_binomial"), (1.0, "negative_binomial")):
            found = jax.vmap(lambda c, m, a=dispersion, f=family: likelihoods.log_survival(c, m, a, f, 1024))(
                jnp.asarray(c), jnp.log(m)
            )
            law = stats.poisson(m) if not dispersion else stats.nbinom(1 / dispersion, 1 / (1 + dispersion * m))
            exact = law.logsf(c - 1)
            far = special.logsumexp(law.logpmf(c + np.arange(2000)[:, None]), axis=0)
            exact = np.where(exact < -30, far, exact)  # SciPy underflows far out
            np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-12)


def test_ignoring_stock_outs_biases_the_slope_by_a_stated_amount():
    """Taken as demand, capped sales have slope -.977, not -2: the root of E[(E[min(Y, 7) | x] - exp(a + b x)) (1, x)]."""
    design, sales, sold_out, _ = planted(0.0)
    assert 0.44 < sold_out.mean() < 0.48
    fit = estimation.fit_glm(design, sales, ["constant", "price"], censored=sold_out)
    assert np.abs((fit.coefficients - truth) / fit.standard_errors).max() < 3

    points, weights = np.polynomial.hermite_e.hermegauss(60)
    x, weights = 0.3 * points, weights / weights.sum()
    k = np.arange(shelf)
    capped = (1 - stats.poisson.cdf(k, np.exp(truth[0] + truth[1] * x)[:, None])).sum(1)

    def moments(theta):
        return np.stack([np.ones_like(x), x]) @ (weights * (capped - np.exp(theta[0] + theta[1] * x)))

    limit = optimize.root(moments, truth).x
    np.testing.assert_allclose(limit, [1.5958, -0.9767], atol=1e-4)
    ignored = estimation.fit_glm(design, sales, ["constant", "price"], robust=True)
    assert np.abs((ignored.coefficients - limit) / ignored.standard_errors).max() < 3.5
    dropped = estimation.fit_glm(design[~sold_out], sales[~sold_out], ["constant", "price"])
    assert dropped.coefficients[1] > -1.5  # leaving the periods out is no better: they are the busy ones


def test_overdispersed_demand_behind_stock_outs():
    design, sales, sold_out, _ = planted(0.5)
    fit = estimation.fit_glm(design, sales, ["constant", "price"], family="negative_binomial", censored=sold_out)
    found = np.array([*fit.coefficients[:2], fit.coefficients[2]])
    assert np.abs((found - [*truth, np.log(0.5)]) / fit.standard_errors).max() < 3

    def value(theta):
        m, r = np.exp(design @ theta[:2]), np.exp(-theta[2])
        law = stats.nbinom(r, r / (r + m))
        return np.where(sold_out, law.logsf(sales - 1), law.logpmf(sales)).sum()

    np.testing.assert_allclose(fit.log_likelihood, value(fit.coefficients), rtol=1e-8)
    for step in fit.standard_errors * np.eye(3) * 0.2:
        assert max(value(fit.coefficients + step), value(fit.coefficients - step)) < fit.log_likelihood


def test_no_bound_is_no_news():
    """A lower bound of zero has probability one: the rows might as well be absent."""
    design, sales, _, _ = planted(0.0)
    nothing = np.zeros(rows, bool)
    nothing[:500] = True
    units = np.where(nothing, 0.0, sales)
    with_bounds = estimation.fit_glm(design, units, ["constant", "price"], censored=nothing)
    without = estimation.fit_glm(design[500:], sales[500:], ["constant", "price"])
    np.testing.assert_allclose(with_bounds.coefficients, without.coefficients, rtol=1e-8)


def test_em_is_the_maximum_of_the_censored_likelihood():
    rng = np.random.default_rng(0)
    demand, limit = rng.normal(50, 12, 300), rng.integers(40, 60, 300).astype(float)
    sales, sold_out = np.minimum(demand, limit), demand >= limit
    found = estimation.unconstrain(sales, sold_out)
    mean, sd = stats.norm.fit(stats.CensoredData.right_censored(sales, sold_out))
    np.testing.assert_allclose([found.coefficients[0], found.sd], [mean, sd], rtol=1e-5)
    assert (np.diff(found.log_likelihood) > -1e-9).all() and found.iterations == len(found.log_likelihood)
    np.testing.assert_array_equal(found.demand[~sold_out], sales[~sold_out])
    assert (found.demand[sold_out] > limit[sold_out]).all()
    assert abs(found.coefficients[0] - 50) < 3 * 12 / np.sqrt(300) * 1.3 and sales.mean() < 45


def test_em_with_a_regressor_and_its_limits():
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(500), rng.normal(size=500)])
    demand = design @ [30.0, -5.0] + 6 * rng.normal(size=500)
    sales, sold_out = np.minimum(demand, 32.0), demand >= 32
    found = estimation.unconstrain(sales, sold_out, design)

    def loss(theta):
        mean, sd = design @ theta[:2], np.exp(theta[2])
        return -np.where(sold_out, stats.norm.logsf(32, mean, sd), stats.norm.logpdf(sales, mean, sd)).sum()

    best = optimize.minimize(loss, [25.0, 0.0, 2.0], method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose([*found.coefficients, np.log(found.sd)], best, atol=1e-4)
    with pytest.raises(ValueError, match="too few"):
        estimation.unconstrain(sales, np.ones(500, bool))
    with pytest.raises(ValueError, match="bools"):
        estimation.unconstrain(sales, sold_out.astype(int))
    with pytest.raises(ValueError, match="not converged after 2"):
        estimation.unconstrain(sales, sold_out, design, iterations=2)


def test_stock_outs_of_a_panel_count_as_bounds():
    frame, planted_truth, prices, traffic = shop(seed=6, products=3, weekly=20.0, slope_sd=0.1, weeks=60)
    units = frame.assign(week=frame["time"].dt.to_period("W").dt.start_time).groupby(["week", "product"])["units"].sum()
    out = units[units >= 22].reset_index().rename(columns={"week": "time"})[["time", "product"]]
    running = frame.assign(week=frame["time"].dt.to_period("W").dt.start_time)
    before = running.groupby(["week", "product"])["units"].cumsum() - running["units"]
    capped = frame.assign(units=np.minimum(running["units"], 22 - before)).query("units > 0")
    panel = estimation.panel(capped, prices=prices, visits=traffic, stock_outs=out)
    assert panel.stock_out.mean() > 0.3
    fit, ignored = estimation.fit_demand(panel), estimation.fit_demand(panel, stock_outs=False)
    assert np.abs((fit.slopes - planted_truth[:, 1]) / fit.slope_errors).max() < 3
    assert ((ignored.slopes - planted_truth[:, 1]) / ignored.slope_errors).min() > 2.5
