"""Defaults equal the values in publications and docstrings, and a market defines each default only once."""

import inspect

import jax
import numpy as np
import pytest

import jaxprice
from jaxprice import envs, policies
from jaxprice.envs.finite_inventory import FiniteInventory
from jaxprice.envs.non_stationary import NonStationary

WHOLE = (
    *("AirlineSeason", "BernoulliBandit", "GaussianBandit", "FairPricing", "GLMDemand", "InformativeBandit", "LabelledRows"),
    *("LinearValuation", "LogitOligopoly", "LowRankDemand", "MNLAssortment", "MNLPricing", "MultiProduct", "PostedPrice"),
    *("ReactiveRival", "ReferencePrice", "Replenishment", "SegmentedValuation", "WheelBandit"),
)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_market_has_the_defaults_of_make(kind):
    """The environment alone, and its params, are what `make` gives without options."""
    env, params = jaxprice.make(kind)
    assert type(env)() == env
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.asarray, env.default_params()), params)


def test_a_market_that_moves_has_the_horizon_of_make():
    env, _ = jaxprice.make("NonStationary")
    assert NonStationary(env.base) == env


SOURCES = [  # of a policy or a market, an option, its value and where that is from
    ("sliding_window_ucb", "xi", 0.6),  # Garivier and Moulines (2011), their experiments
    ("kl_ucb", "c", 0.0),  # Garivier and Cappe (2011): in practice
    ("kl_ucb", "plus", False),  # KL-UCB, not their variant
    ("lp_resolving", "exponent", 0.5),  # sqrt(T) periods of exploration
    ("q_learning", "rate", 0.15),  # Calvano et al. (2020), their representative experiment; discount too
    ("q_learning", "discount", 0.95),
    ("q_learning", "initial", 0.0),
    ("WheelBandit", "safe", 1.2),  # Riquelme et al. (2018), their appendix
    ("WheelBandit", "low", 1.0),
    ("WheelBandit", "high", 50.0),
    ("WheelBandit", "noise_scale", 0.01),
    ("InformativeBandit", "num_arms", 11),  # Wang et al. (2016), "Learning to reinforcement learn"
    ("InformativeBandit", "prize", 5.0),
    ("FairPricing", "low", 0.0),  # Chen et al. (2021): prices in [0, 5], no cost
    ("FairPricing", "high", 5.0),
    ("FairPricing", "cost", 0.0),
    ("GLMDemand", "low", 0.0),
    ("MNLPricing", "low", 0.0),
    ("MNLPricing", "high", 2.0),
    ("NonStationary", "horizon", 1000),
]


@pytest.mark.parametrize(("name", "option", "value"), SOURCES)
def test_defaults_of_their_sources(name, option, value):
    if name.islower():
        assert inspect.signature(getattr(policies, name)).parameters[option].default == value
    else:
        assert envs.card(name).options[option] == value


def test_markets_as_they_are_described():
    """Means from .1 to .9; a demand from .9 to .1 on a grid of one's own size; Ferreira's network."""
    np.testing.assert_allclose(jaxprice.make("BernoulliBandit", num_arms=5)[1].means, [0.1, 0.3, 0.5, 0.7, 0.9], rtol=1e-6)
    params = FiniteInventory(num_prices=5, capacity=2, horizon=3, prices=None).default_params()
    np.testing.assert_allclose(params.demand, [0.9, 0.7, 0.5, 0.3, 0.1], rtol=1e-6)
    network = jaxprice.make("NetworkRevenue", horizon=10)[1]
    np.testing.assert_array_equal(network.prices, [[1, 1.5], [1, 2], [2, 3], [4, 4], [4, 6.5]])
    np.testing.assert_array_equal(network.stock, [30, 50, 70])


def test_the_table_of_policies_is_up_to_date():
    """`python -m experiments.tools.policy_table --write` writes it, with every default."""
    from experiments.tools.policy_table import PAGE, page

    assert PAGE.read_text() == page()


@pytest.mark.parametrize("option", ["noise", "std"])
def test_the_smallest_deviation_of_gaussian_thompson(option):
    assert policies.gaussian_thompson(**{option: 1e-6})
    with pytest.raises(ValueError, match=option):
        policies.gaussian_thompson(**{option: 9e-7})
