"""Policies if all arms have one price: those that see features distinguish the arms, those that model the price refuse."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import problem_of

import jaxprice
from jaxprice import policies
from jaxprice.envs import LabelledRows

LINEAR = ["lin_ucb", "lin_ts", "bayesian_linear", "bootstrapped", "contextual_epsilon_greedy"]
BY_PRICE = ["glm_ucb", "logistic_thompson", "random_features", "neural_linear", "neural_ucb", "neural_thompson"]


def table(size=3, seed=0):
    """Rows in as many clusters as labels, which a linear rule tells apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, size, 300)
    centres = 2.0 * np.eye(size)
    rows = centres[labels] + 0.3 * rng.standard_normal((300, size))
    return {"features": np.concatenate([np.ones((300, 1)), rows], axis=1), "labels": labels, "num_arms": size}


@pytest.mark.parametrize("name", LINEAR + [pytest.param(name, marks=pytest.mark.optimised) for name in BY_PRICE])
def test_every_policy_learns_the_labels(name):
    env, params = jaxprice.make("LabelledRows", **table(), horizon=600)
    made = {"it": policies.make(name), "random": policies.random_price()}
    share = jaxprice.simulate(env, made, params=params, lanes=4, horizon=600, checkpoints=[600])["share"].isel(time=-1)
    assert abs(float(share.sel(policy="random")) - 1 / 3) < 0.05
    least = 0.6 if name.startswith("neural") else 0.75  # one step of Adam a sale
    assert float(share.sel(policy="it")) > least, float(share.sel(policy="it"))


@pytest.mark.parametrize("market", ["LabelledRows", "WheelBandit"])
@pytest.mark.parametrize("name", [name for name in LINEAR + BY_PRICE if name != "random_features"])
def test_a_form_that_cannot_tell_the_arms_apart_is_refused(name, market):
    env, params = jaxprice.make(market)
    fitting = "arms" if name.startswith("neural") else "disjoint"
    for form in ("joint", "additive"):
        if name.startswith("neural") and form == "joint":
            continue
        with pytest.raises(ValueError, match=f"{name} with form='{form}' .* use form='{fitting}'"):
            jaxprice.simulate(env, policies.make(name, form=form), params=params, lanes=2, horizon=3)
    if (name, market) not in {("glm_ucb", "WheelBandit"), ("logistic_thompson", "WheelBandit")}:  # rewards are not sales
        state = policies.make(name).init(jax.random.key(0), env.problem(params))
        shown = getattr(state, "form", None) or state.learned.form
        assert shown.form == fitting


def test_where_prices_differ_the_defaults_are_what_they_were():
    problem = problem_of("features")
    for name, form in [(name, "joint") for name in BY_PRICE[:2]] + [(name, "additive") for name in BY_PRICE[2:]]:
        state = policies.make(name).init(jax.random.key(0), problem)
        shown = getattr(state, "form", None) or state.learned.form
        assert shown.form == form


def test_prices_are_known_before_tracing_where_they_are_all_one():
    for name in ("LabelledRows", "WheelBandit"):
        env, params = jaxprice.make(name)
        seen = []
        jax.eval_shape(lambda params, env=env, seen=seen: seen.append(env.problem(params).one_price), params)
        assert seen == [True]
        np.testing.assert_array_equal(env.problem(params).prices, params.prices)
    assert not problem_of("features").one_price


@dataclasses.dataclass(frozen=True)
class PricesInParams(LabelledRows):
    """A bandit of a user's own, which returns the arms' one price from its params, as NumPy or as JAX array."""

    own: bool = False

    def problem(self, params):
        prices = jnp.asarray(params.prices) if self.own else params.prices
        return dataclasses.replace(super().problem(params), prices=prices)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("name", ["glm_ucb", "logistic_thompson", "random_features", "neural_linear", "neural_ucb"])
def test_a_form_that_only_known_prices_give_is_refused(name, own):
    """When the period is compiled the prices are traced, and the policy would silently play arm 0 forever."""
    _, params = jaxprice.make("LabelledRows", num_arms=3)
    env = PricesInParams(num_arms=3, own=own)
    with pytest.raises(ValueError, match=f"policy '{name}' reads the prices of .* NumPy constant"):
        jaxprice.simulate(env, {name: policies.make(name)}, params=params, lanes=2, horizon=3)
    jaxprice.simulate(env, {"lin_ucb": policies.lin_ucb()}, params=params, lanes=2, horizon=3)  # needs no prices


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("market", ["BernoulliBandit", "GaussianBandit"])
@pytest.mark.parametrize("name", ["gp_ucb", "gp_thompson", "monotone_ucb", "bayesian_linear_pricing", "o3fu"])
def test_a_model_of_the_price_refuses_arms_of_one_price(name, market, drawn):
    """Such a policy sees one price, so that it would play the first arm forever."""
    env, params = jaxprice.make(market, num_arms=4)
    with pytest.raises(ValueError, match=f"{name} learns demand as a function of the price, but all 4 actions"):
        jaxprice.simulate(env, policies.make(name), params=None if drawn else params, lanes=2, horizon=3)
