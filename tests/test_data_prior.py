"""Priors for products never sold: calibration by held-out groups, and what a prior is worth to a seller."""

import dataclasses

import numpy as np
import pytest
from scipy import integrate

from jaxprice.data import estimation
from tests.grid_posterior import log_posterior, thompson_regret

grid, prices = np.linspace(-6, 1, 141), np.linspace(0.7, 1.6, 19)


def planted(seed, signal, noise, count=600, new=400, size=16):
    """`(features [N + M, size], true elasticities, estimates [N], errors [N])`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count + new, size))
    b = -2.2 + x @ rng.normal(size=size) * signal / np.sqrt(size) + noise * rng.normal(size=count + new)
    errors = rng.uniform(0.2, 0.8, count)
    return x, b, b[:count] + errors * rng.normal(size=count), errors


def lost(weights, truth, seed=0):
    """Mean regret after 20 and 100 periods, in periods of optimal profit."""
    level = np.random.default_rng(seed).gamma(2, 2.5, len(truth))
    return thompson_regret(weights, grid, truth, level, prices, 0.6, 100, seed)[:, [19, 99]].mean(0)


def test_the_posterior_of_the_seller_is_that_of_brute_force_integration():
    x, y = np.log([1.0, 1.3, 0.8, 1.1]), np.array([4.0, 1, 9, 3])
    log_prior = -0.5 * ((grid + 2) / 0.8) ** 2
    found = log_posterior(log_prior, grid, x, y)
    found = np.exp(found - found.max()) / np.exp(found - found.max()).sum()

    def joint(a, b):
        rate = a * np.exp(b * x)
        return a * np.exp(-0.4 * a) * np.prod(rate**y * np.exp(-rate))

    brute = np.array([integrate.quad(joint, 0, 60, args=(b,), epsabs=0, epsrel=1e-11)[0] for b in grid]) * np.exp(log_prior)
    np.testing.assert_allclose(found, brute / brute.sum(), atol=1e-8)


def test_a_planted_signal_is_found_and_its_sd_is_that_of_new_products():
    x, b, estimates, errors = planted(0, 0.75, 0.35)
    prior = estimation.fit_demand_prior(x[:600], estimates, errors, np.arange(600) // 10)
    mean, sd = prior.predict(x[600:])
    z = (b[600:] - mean) / sd
    assert sd.shape == (400,) and abs(z.std() - 1) < 0.12 and abs(z.mean()) < 0.15
    assert np.std(b) * 0.85 < prior.global_sd < np.std(b) * 1.15 and prior.r_squared > 0.6
    weights = prior.weights(x[600:603], grid)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights @ grid, mean[:3], atol=1e-3)
    half = prior.weights(x[600:603], grid, 0.5)
    np.testing.assert_allclose(half, (weights + prior.weights(x[600:603], grid, 1.0)) / 2)


def test_what_a_prior_is_worth():
    """A text with a signal, then all products alike, then permuted texts; a mixture bounds the harm."""
    x, b, estimates, errors = planted(0, 0.75, 0.35)
    prior = estimation.fit_demand_prior(x[:600], estimates, errors, np.arange(600) // 10)
    permuted = x[600:][np.random.default_rng(1).permutation(400)]
    text, everywhere = lost(prior.weights(x[600:], grid), b[600:]), lost(prior.weights(x[600:], grid, 1.0), b[600:])
    wrong, mixed = lost(prior.weights(permuted, grid), b[600:]), lost(prior.weights(permuted, grid, 0.5), b[600:])
    assert (text < everywhere).all() and (everywhere < wrong).all()
    assert mixed[0] < everywhere[0] + 0.25 and mixed[1] < wrong[1]


def test_a_prior_that_is_too_narrow_is_worse_than_none():
    x, b, estimates, errors = planted(2, 0.3, 0.75)
    prior = estimation.fit_demand_prior(x[:600], estimates, errors, np.arange(600) // 10)
    narrow = dataclasses.replace(prior, sd=prior.sd / 3)
    assert lost(narrow.weights(x[600:], grid), b[600:])[1] > lost(prior.weights(x[600:], grid, 1.0), b[600:])[1]


def test_texts_that_only_name_their_group_do_not_help_new_groups():
    """Each group has its own value and its own random text: held-out products of known groups profit, new groups do not."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(120), 5)
    b = -2 + 0.8 * rng.normal(size=120)[group] + 0.3 * rng.normal(size=600)
    errors = rng.uniform(0.2, 0.5, 600)
    estimates = b + errors * rng.normal(size=600)
    text = estimation.product_features(text=rng.normal(size=(120, 200))[group]).matrix
    known = estimation.fit_demand_prior(text, estimates, errors, np.arange(600))
    new = estimation.fit_demand_prior(text, estimates, errors, group)
    assert known.r_squared > 0.4 and new.r_squared < 0.05 and new.penalty > known.penalty
    assert known.sd < 0.8 * new.sd and abs(new.sd - new.global_sd) < 0.05


def test_useless_features_leave_the_global_prior():
    rng = np.random.default_rng(4)
    estimates, errors = -2 + 0.5 * rng.normal(size=100), np.full(100, 0.1)
    prior = estimation.fit_demand_prior(rng.normal(size=(100, 300)), estimates, errors, np.arange(100))
    mean, sd = prior.predict(rng.normal(size=(5, 300)))
    np.testing.assert_allclose(mean, estimates.mean(), atol=0.15)
    assert abs(sd[0] - 0.5) < 0.1
    exact = estimation.fit_demand_prior(np.ones((100, 1)), np.full(100, -2.0) + 1e-3 * estimates, errors, np.arange(100))
    np.testing.assert_allclose(exact.sd**2, 0.05)


def test_features_of_products():
    labels = {"brand": ["x"] * 4 + ["y"] * 3 + ["z"]}
    numbers = {"ounces": [8, 16, 8, np.nan, 12, 12, 20, 8]}
    text = np.random.default_rng(0).normal(size=(8, 6))
    made = estimation.product_features(labels, numbers, text, components=2)
    assert made.levels == {"brand": ["x", "y"]} and made.matrix.shape == (8, 2 + 2 + 2)
    for block in (made.matrix[:, :2], made.matrix[:, 2:4], made.matrix[:, 4:]):
        np.testing.assert_allclose(np.linalg.norm(block, axis=1).mean(), 1)
    assert made.matrix[7, :2].sum() == 0 and made.matrix[3, 2] == 0 and made.matrix[3, 3] > 0
    np.testing.assert_allclose(made.of(labels, numbers, text), made.matrix)
    np.testing.assert_allclose(made.of({"brand": ["new"]}, {"ounces": [np.nan]}, text[:1])[0, :2], 0)
    assert made.matrix[1, 2] > made.matrix[0, 2] == made.matrix[2, 2]
    with pytest.raises(ValueError, match="labels: expected"):
        made.of({}, numbers, text)
    with pytest.raises(ValueError, match="as many products"):
        made.of({"brand": ["x"]}, numbers, text)
    with pytest.raises(ValueError, match="above 0"):
        estimation.product_features(numbers={"ounces": [0.0]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std_errors": np.zeros(20)}, "std_errors: expected numbers above 0"),
        ({"groups": np.zeros(20)}, "at least 2"),
        ({"groups": np.zeros(3)}, "length 20"),
        ({"estimates": np.full(20, np.nan)}, "estimates: expected finite"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"features": np.eye(20), "estimates": np.ones(20), "std_errors": np.ones(20), "groups": np.arange(20)}
    with pytest.raises(ValueError, match=message):
        estimation.fit_demand_prior(**(arguments | change))
