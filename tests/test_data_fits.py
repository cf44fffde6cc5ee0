"""Fits of demand against statsmodels, gpboost and brute force; and the markets that are made of them.

The numbers of other packages are printed by `python -m experiments.references.demand_fits`.
"""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxprice
from experiments.references import demand_fits
from jaxprice import policies
from jaxprice.data import estimation
from jaxprice.data.estimation.pooling import Cells
from jaxprice.envs.fitted_demand import negative_binomial
from tests.planted_sales import shop

names = ["constant", "price", "shown"]
statsmodels = {
    "poisson": (
        ("poisson", "log"),
        [-1.13846683, -1.933071806, 0.4608992638],
        [0.0292763201, 0.0526628358, 0.0344731601],
        -939.0980649221578,
    ),
    "negative_binomial": (
        ("negative_binomial", "log"),
        [-1.303063266, -1.9850568903, 0.6458262089, np.log(0.4527546655)],
        [0.0602943848, 0.1273170123, 0.0807054133, 0.0443009519 / 0.4527546655],
        -1137.038904877401,
    ),
    "bernoulli": (
        ("bernoulli", "logit"),
        [-1.1576452139, -2.2439541495, 0.4386391871],
        [0.0415615067, 0.0958821908, 0.0553700606],
        -786.3580519269146,
    ),
    "bernoulli_log": (
        ("bernoulli", "log"),
        [-1.9643615981, -0.6707078401, 0.2554550382],
        [0.042224369, 0.0836961342, 0.0545022491],
        -705.4592514918202,
    ),
}


@pytest.mark.parametrize("kind", statsmodels)
def test_fits_agree_with_statsmodels(kind):
    (family, link), coefficients, errors, log_likelihood = statsmodels[kind]
    design, visits, units = demand_fits.sales(kind)
    fit = estimation.fit_glm(design, units, names, family=family, link=link, visits=visits)
    np.testing.assert_allclose(fit.coefficients, coefficients, rtol=1e-6)
    np.testing.assert_allclose(fit.standard_errors, errors, rtol=1e-6)
    np.testing.assert_allclose(fit.log_likelihood, log_likelihood, rtol=1e-10)
    assert fit.coefficients.dtype == np.float64 and fit.observations == 400
    if kind == "poisson":
        robust = estimation.fit_glm(design, units, names, visits=visits, robust=True)
        np.testing.assert_allclose(robust.standard_errors, [0.0297174742, 0.0531541351, 0.0351393161], rtol=1e-6)
        twice = estimation.fit_glm(
            np.tile(design, (2, 1)), np.tile(units, 2), names, visits=np.tile(visits, 2), clusters=np.tile(np.arange(400), 2)
        )
        np.testing.assert_allclose(twice.standard_errors, robust.standard_errors, rtol=1e-6)
        weighted = estimation.fit_glm(design, units, names, visits=visits, weights=np.full(400, 2.0))
        np.testing.assert_allclose(weighted.standard_errors, np.array(errors) / np.sqrt(2), rtol=1e-6)


def test_counts_with_logit_link_maximise_their_likelihood():
    """Against the likelihood written with SciPy, which is at its maximum: no direction improves it."""
    design, visits, units = demand_fits.sales("poisson")
    fit = estimation.fit_glm(design, units, names, link="logit", visits=visits)

    def value(theta):
        return stats.poisson.logpmf(units, visits / (1 + np.exp(-design @ theta))).sum()

    at = value(fit.coefficients)
    np.testing.assert_allclose(fit.log_likelihood, at, rtol=1e-10)
    steps = fit.standard_errors * np.eye(3) * 0.1
    for step in [*steps, *-steps]:
        assert value(fit.coefficients + step) < at
    curvature = [(value(fit.coefficients + s) - 2 * at + value(fit.coefficients - s)) for s in steps]
    information = -np.array(curvature) / (0.1 * fit.standard_errors) ** 2
    np.testing.assert_allclose(information, np.diag(np.linalg.inv(fit.covariance)), rtol=1e-2)


def test_pooled_fit_agrees_with_gpboost():
    group, design, visits, units = demand_fits.products()
    count, periods = group.max() + 1, np.sum(group == 0)
    shape = (count, periods)
    own, shared = design.reshape(*shape, 3)[..., :1], design.reshape(*shape, 3)[..., 1:]
    cells = Cells(own, shared, units.reshape(shape), visits.reshape(shape), np.zeros(shape, bool), np.ones(shape))
    fit = estimation.fit_pooled(cells)
    np.testing.assert_allclose([*fit.mean, *fit.shared], [-0.9216151261, -2.0680718193, 0.379967927], rtol=1e-4)
    errors = np.sqrt([fit.mean_covariance[0, 0], *np.diag(fit.shared_covariance)])
    np.testing.assert_allclose(errors, [0.1029994435, 0.0733789, 0.043566934], rtol=2e-3)
    np.testing.assert_allclose(fit.population, 0.2761113039, rtol=1e-3)
    np.testing.assert_allclose(fit.log_likelihood, -1192.6075076853333, rtol=1e-8)
    exact = estimation.fit_pooled(cells, nodes=15)
    grid = np.linspace(-5, 3, 4001)
    eta = grid[:, None, None] + (shared @ exact.shared)[None]
    logs = stats.poisson.logpmf(units.reshape(shape), visits.reshape(shape) * np.exp(eta)).sum(2)
    logs += stats.norm.logpdf(grid, exact.mean[0], np.sqrt(exact.population[0, 0]))[:, None]
    brute = np.log(np.trapezoid(np.exp(logs - logs.max(0)), grid, axis=0)) + logs.max(0)
    np.testing.assert_allclose(exact.log_likelihood, brute.sum(), rtol=1e-9)
    mass = np.exp(logs - logs.max(0)) / np.exp(logs - logs.max(0)).sum(0)
    np.testing.assert_allclose(exact.coefficients[:, 0], (mass * grid[:, None]).sum(0), atol=0.03)  # mode against mean


def test_no_overdispersion_gives_the_poisson_fit_and_says_so():
    design, visits, _ = demand_fits.sales("poisson")
    units = np.round(visits * np.exp(design @ [-1.0, -2.0, 0.5]))
    with pytest.warns(UserWarning, match="Poisson"):
        fit = estimation.fit_glm(design, units, names, family="negative_binomial", visits=visits)
    assert fit.family == "poisson" and fit.dispersion == 0 and len(fit.names) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "poison"}, "poisson"),
        ({"link": "probit"}, "logit"),
        ({"units": -np.ones(400)}, "at least 0"),
        ({"units": np.zeros(400)}, "nothing was sold"),
        ({"units": np.ones(3)}, "length 400"),
        ({"visits": np.zeros(400)}, "above 0"),
        ({"visits": np.ones(400), "family": "bernoulli", "link": "logit", "units": np.ones(400)}, "shares of purchases"),
        ({"visits": np.ones(400), "family": "bernoulli", "units": np.full(400, 3.0)}, "at most one unit"),
        ({"names": ["a", "a", "b"]}, "3 different names"),
        ({"censored": np.ones(400)}, "bools"),
        ({"censored": np.ones(400, bool)}, "all 400 periods sold out"),
        ({"design": np.ones((400, 3))}, "combinations"),
        ({"design": np.full((400, 3), np.nan)}, "finite"),
    ],
)
def test_bad_input_is_named(change, message):
    design, visits, units = demand_fits.sales("poisson")
    arguments = {"design": design, "units": units, "names": names, "visits": visits} | change
    with pytest.raises(ValueError, match=message):
        estimation.fit_glm(**arguments)


def test_separated_sales_have_no_maximum():
    design = np.column_stack([np.ones(60), np.linspace(-1, 1, 60)])
    with pytest.raises(ValueError, match="separate"):
        estimation.fit_glm(design, design[:, 1] > 0, ["constant", "price"], family="bernoulli", link="logit")


@pytest.fixture(scope="module")
def planted():
    """A shop with promotions, its panel with a price list, and the fit product by product."""
    frame, truth, prices, traffic = shop(seed=4, products=4, weekly=20.0, promotion=0.5, weeks=60, slope_sd=0.3)
    panel = estimation.panel(frame, prices=prices, visits=traffic, promotions=["shown"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return panel, truth, estimation.fit_demand(panel)


def test_separate_fits_find_the_planted_numbers(planted):
    panel, truth, fit = planted
    assert not fit.pooled and fit.products == panel.products and fit.promotions == ("shown",)
    z = (fit.slopes - truth[:, 1]) / fit.slope_errors
    assert np.abs(z).max() < 3.5 and np.abs((fit.effects - 0.5) / fit.effect_errors).max() < 3.5
    raw = estimation.fit_demand(panel, promotions=False)
    assert (raw.slopes < fit.slopes).mean() >= 0.75  # without the promotion, the price takes its effect
    units = fit.expected_units(panel)
    np.testing.assert_allclose(np.nansum(units, axis=(1, 2)), panel.units.sum((1, 2)), rtol=1e-6)


def test_demand_is_clipped_to_the_prices_of_the_data_with_a_warning(planted):
    _, _, fit = planted
    name, (low, high) = fit.products[1], fit.price_range[1]
    with pytest.warns(UserWarning, match="2 of 3 prices lie outside"):
        clipped = fit.demand(name, [low / 2, fit.usual[1], 2 * high])
    np.testing.assert_allclose(clipped, fit.demand(name, [low, fit.usual[1], high]))
    middle, below, above = fit.demand(name, fit.usual[1], level=0.95)
    error = np.sqrt(fit.covariance[1, 0, 0])
    np.testing.assert_allclose([np.log(above / middle), np.log(middle / below)], 1.959964 * error, rtol=1e-6)
    shown = fit.demand(name, fit.usual[1], {"shown": 1.0})
    np.testing.assert_allclose(np.log(shown / middle), fit.effects[1, 0])
    with pytest.raises(ValueError, match="shown"):
        fit.demand(name, 1.0, {"show": 1.0})
    with pytest.raises(ValueError, match="none of the 4 products"):
        fit.demand("milk", 1.0)


def test_the_market_has_the_fitted_demand_and_its_covariance(planted):
    _, _, fit = planted
    name = fit.products[2]
    env, params = fit.market(name, cost=0.5, num_prices=7, horizon=50, buyers=20)
    demand = fit.demand(name, np.clip(np.asarray(params.prices, float), *fit.price_range[2]))
    _, state = env.reset(jax.random.key(0), params)
    np.testing.assert_allclose(state.mean_demand, demand, rtol=1e-5)
    profit = 20 * (params.prices - 0.5) * demand
    assert int(env.optimal_action(state, params)) == int(np.argmax(profit))
    np.testing.assert_allclose(env.optimal_reward(state, params), profit.max(), rtol=1e-5)
    drawn = jax.vmap(env.sample_params)(jax.random.split(jax.random.key(1), 4000)).demand
    draws = np.stack([drawn.a, drawn.b], 1).astype(float)
    np.testing.assert_allclose(draws.mean(0), fit.coefficients[2], atol=4 * np.sqrt(np.diag(fit.covariance[2]) / 4000).max())
    np.testing.assert_allclose(np.cov(draws.T), fit.covariance[2], atol=0.1 * np.diag(fit.covariance[2]).max())
    interval, params = fit.market(name, num_prices=None)
    price = interval.best(params)
    grid = np.linspace(*fit.price_range[2], 20001)
    best = grid[np.argmax(grid * np.exp(np.log(fit.demand(name, np.clip(grid, *fit.price_range[2])))))]
    np.testing.assert_allclose(price, best, rtol=1e-3)


def test_a_new_product_is_drawn_from_the_population(planted):
    _, _, fit = planted
    env, params = fit.market(buyers=20)
    assert env.usual == 1 and params.low < 1 < params.high
    drawn = jax.vmap(env.sample_params)(jax.random.split(jax.random.key(1), 4000)).demand
    spread = fit.population + fit.mean_covariance
    np.testing.assert_allclose(np.var(np.asarray(drawn.a, float)), spread[0, 0], rtol=0.1)
    env, _ = fit.market(slope=(-3.0, 0.4), buyers=20)
    drawn = jax.vmap(env.sample_params)(jax.random.split(jax.random.key(1), 4000)).demand
    np.testing.assert_allclose([np.mean(drawn.b), np.std(drawn.b)], [-3.0, 0.4], atol=0.03)
    with pytest.raises(ValueError, match="slope"):
        fit.market(fit.products[0], slope=(-3.0, 0.4))


def test_rising_demand_is_told_and_refused():
    frame, _, prices, traffic = shop(seed=5, products=2, weekly=20.0, slope=1.0, slope_sd=0.01, weeks=60)
    rising = estimation.panel(frame, prices=prices, visits=traffic)
    with pytest.warns(UserWarning, match="rises with the price for 2 of 2"):
        fit = estimation.fit_demand(rising)
    with pytest.raises(ValueError, match="rises with the price: slope"):
        fit.market(fit.products[0])
    env, params = fit.market(fit.products[0], allow_rising=True, buyers=10)
    _, state = env.reset(jax.random.key(0), params)
    assert (np.diff(state.mean_demand) > 0).all() and int(env.optimal_action(state, params)) == env.num_prices - 1
    with pytest.raises(ValueError, match="num_prices"):
        fit.market(fit.products[0], allow_rising=True, num_price=3)


def test_shares_of_purchases_are_told():
    frame, _, prices, _ = shop(seed=4, products=4, weekly=20.0, promotion=0.5, weeks=60, slope_sd=0.3)
    with pytest.warns(UserWarning, match=r"100.0% of the visits hold a purchase"):
        estimation.fit_demand(estimation.panel(frame, prices=prices, promotions=["shown"]))


@pytest.mark.parametrize(
    ("family", "options", "choices"),
    [
        pytest.param("negative_binomial", {}, {"num_prices": None}, marks=pytest.mark.slow),
        pytest.param("negative_binomial", {}, {"num_prices": 4}, marks=pytest.mark.slow),
        pytest.param("bernoulli", {"link": "logit", "price": "level"}, {"prices": (2.0, 3.0)}, marks=pytest.mark.slow),
        ("bernoulli", {"link": "logit", "price": "level"}, {"num_prices": None}),
    ],
)
def test_every_kind_of_fitted_market_is_a_market(planted, family, options, choices):
    panel = planted[0]
    rng = np.random.default_rng(1)
    units = rng.poisson(panel.units * rng.gamma(2, 0.5, panel.units.shape)).astype(float)
    units = np.minimum(panel.units, panel.visits) if family == "bernoulli" else units
    fit = estimation.fit_demand(dataclasses.replace(panel, units=units), family=family, **options)
    env, params = fit.market("p001", cost=0.5, horizon=20, **({} if family == "bernoulli" else {"buyers": 30}), **choices)
    assert len(jaxprice.invariants.check_market(env, params, lanes=64, periods=6)) == 12


def test_negative_binomial_sales_are_drawn_by_their_quantile():
    u = np.linspace(0.001, 0.999, 201).astype(np.float32)
    for mean, dispersion in ((0.3, 0.5), (5.0, 1.0), (20.0, 2.0)):
        exact = stats.nbinom.ppf(u.astype(float), 1 / dispersion, 1 / (1 + dispersion * mean))
        drawn = negative_binomial(jnp.asarray(u), jnp.float32(mean), dispersion)
        assert np.mean(np.abs(drawn - exact) > 0) < 0.02 and np.abs(drawn - exact).max() <= 1


def test_five_lines_from_a_csv_to_a_compared_policy(tmp_path):
    frame, _, prices, traffic = shop(seed=4, products=4, weekly=20.0, promotion=0.5, weeks=60, slope_sd=0.3)
    frame.to_csv(tmp_path / "sales.csv", index=False)
    sales = pd.read_csv(tmp_path / "sales.csv", parse_dates=["time"])
    fit = estimation.fit_demand(estimation.panel(sales, visits=traffic, prices=prices, promotions=["shown"]))
    env, _ = fit.market("p001", cost=0.5, buyers=20, horizon=60)
    sellers = {"prior": policies.prior_thompson(env, markets=300), "ucb1": policies.ucb1()}
    result = jaxprice.simulate(env, sellers, seed=0, lanes=64, horizon=60)
    prior, ucb1 = result["regret"].isel(time=-1).values
    assert 0 < prior < ucb1
