"""Arguments of `make`, for every market and option: a value of the wrong kind is refused by name, before any work."""

import dataclasses
import re
import time

import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import envs
from jaxprice.data import calibrated

NEVER = (object(), b"x", 1j, np.array(["a"]), lambda: 1, np.zeros((0, 2)))
NO_NUMBER = (True, np.array(True), "1", [1.0], [[1.0, 2.0]], [], {}, float("nan"), float("inf"), np.array([1, 2]))
NO_BOOLEAN = (0, 1, "false", "True", [True], np.array(True), np.array([True]), 1.0)
NO_NAME = (3, ["linear"], np.array(["linear"]), np.array(3), True, ("a", "b"), "nothing of this kind")
ARRAYS = {("GaussianBandit", "stds"), ("LogitOligopoly", "quality"), ("LogitOligopoly", "cost")}  # one number or several
ONE_NAME_A_MAKER = [name for name in jaxprice.list_envs() if name not in ("catsup", "cracker", "ketchup", "tuna", "yogurt")]


def options(name):
    """Option -> default."""
    return envs.card(name).options


def refused(name, option, value):
    """The message with which `make` refuses a value, which has to come at once."""
    start = time.process_time()
    with pytest.raises(ValueError) as error:
        jaxprice.make(name, **{option: value})
    assert time.process_time() - start < 5, (name, option, value)
    return str(error.value)


@pytest.mark.parametrize("name", ONE_NAME_A_MAKER)
def test_values_of_another_kind_are_refused_by_name(name):
    for option, default in options(name).items():
        for value in NEVER:
            assert option in refused(name, option, value), (option, value)
        if isinstance(default, bool):
            for value in NO_BOOLEAN:
                assert f"{option} must be True or False" in refused(name, option, value)
        elif isinstance(default, int | float):
            for value in NO_NUMBER:
                if (name, option) not in ARRAYS or np.ndim(value) != 1 or np.size(value) == 0:
                    assert option in refused(name, option, value), (option, value)
        elif isinstance(default, str) and option != "demand":
            for value in NO_NAME:
                assert option in refused(name, option, value), (option, value)


@pytest.mark.parametrize("name", ONE_NAME_A_MAKER)
def test_sizes_that_would_take_gigabytes_are_refused(name):
    for option, default in options(name).items():
        size = type(default) is int and option not in ("horizon", "target", "kind", "stock")
        if size or option in ("num_arms", "num_prices"):
            for value in (10**9, np.int64(10**9), 10**30):
                message = refused(name, option, value)
                assert option in message or "params must" in message, (option, message)
    if name == "FiniteInventory":
        assert "stock" in refused(name, "stock", 10**9) and "horizon" in refused(name, "horizon", 10**9)


def test_numbers_of_numpy_and_jax_are_taken_as_pythons():
    for kind in (int, np.int64, np.uint8, np.array, jnp.array):
        env, params = jaxprice.make("PostedPrice", num_prices=kind(3), buyers=kind(2), horizon=kind(7))
        assert env == jaxprice.make("PostedPrice", num_prices=3, buyers=2, horizon=7)[0]
        assert params.max_steps_in_episode == 7
    for kind in (np.float64, np.float32, np.array, jnp.array):
        env, params = jaxprice.make("BernoulliBandit", means=[kind(0.25), kind(0.5)])
        assert env.num_arms == 2 and params.means.dtype == np.float32
        env, _ = jaxprice.make("FairPricing", fairness=kind(0.25), cost=kind(1))
        assert env.fairness == 0.25 and isinstance(env.fairness, float) and isinstance(env.cost, float)
    for prices in ((1, 2), [1.0, 2.0], np.array([1, 2]), jnp.array([1.0, 2.0])):
        assert jaxprice.make("PostedPrice", prices=prices)[0].prices == (1.0, 2.0)


def test_names_that_are_none_are_refused_with_the_nearest():
    for name in (None, 3, ["PostedPrice"], np.array(["PostedPrice"]), "posted price", "", b"PostedPrice"):
        with pytest.raises(ValueError, match="environment"):
            jaxprice.make(name)
    with pytest.raises(ValueError, match="'PostedPrice'"):
        jaxprice.make("PostedPrices")
    with pytest.raises(ValueError, match="did you mean 'num_prices'"):
        jaxprice.make("PostedPrice", num_price=3)


def test_features_that_are_constant_are_refused():
    for intercept in (True, False):
        with pytest.raises(ValueError, match="features must vary"):
            jaxprice.make("LabelledRows", features=[[1.0, 2.0], [1.0, 2.0]], labels=[0, 1], intercept=intercept)
    env, params = jaxprice.make("LabelledRows", features=[[1.0, 2e-9], [1.0, 1e-9]], labels=[0, 1])
    assert env.num_features == 2 and np.ptp(params.rows[:, 1]) > 1  # small in the unit it is measured in, and not constant


@pytest.mark.parametrize("name", jaxprice.list_envs())
def test_the_docstring_of_a_market_tells_every_option(name):
    cls = envs.CalibratedMarket if name in calibrated.names() else getattr(envs, name)
    told = cls.__doc__.partition("Options of `make`:\n")[2]
    entries = re.findall(r"^  ([a-z0-9_, ]+): \S", told, re.MULTILINE)
    named = [option for entry in entries for option in entry.split(", ")]
    assert sorted(named) == sorted({*options(name), *(["market"] if cls is envs.CalibratedMarket else [])})


def test_the_constructor_checks_what_make_checks():
    for cls, option, value in (
        (envs.FairPricing, "fairness", 1.5),
        (envs.PostedPrice, "noise", "gauss"),
        (envs.LinearValuation, "sparsity", 4),
        (envs.WheelBandit, "safe", 60.0),
        (envs.Storefront, "weights", (1.0, 1.0, 0.0, 0.0, 0.0)),
        (envs.ReferencePrice, "start", 2.0),
    ):
        with pytest.raises(ValueError, match=option):
            cls(**{option: value})
        with pytest.raises(ValueError, match=option):
            dataclasses.replace(cls(), **{option: value})
        with pytest.raises(ValueError, match=option):
            jaxprice.make(cls.__name__, **{option: value})
    assert envs.PostedPrice(prices=[1, np.float64(2)]) == envs.PostedPrice(num_prices=np.int64(2), prices=(1.0, 2.0))


def test_the_table_of_markets_is_up_to_date():
    """`python -m experiments.tools.market_table --write` writes it."""
    from experiments.tools.market_table import PAGE, page

    assert PAGE.read_text() == page()
