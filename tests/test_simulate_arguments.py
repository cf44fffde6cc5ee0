"""What `simulate` refuses, before anything is traced."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import policies
from jaxprice.types import Policy


@pytest.fixture(scope="module")
def bandit():
    return jaxprice.make("BernoulliBandit", means=[0.1, 0.3, 0.5, 0.7, 0.9])


def explode(*_):
    raise AssertionError("traced before its arguments were checked")


UNTOUCHED = Policy(explode, explode, explode)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lanes": 0}, "lanes must be an integer of at least 1, got 0"),
        ({"lanes": 2.5}, "lanes .* got 2.5"),
        ({"lanes": True}, "lanes .* got True"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"horizon": -3}, "horizon .* got -3"),
        ({"horizon": 10.0}, "horizon .* got 10.0"),
        ({"checkpoints": []}, "checkpoints"),
        ({"checkpoints": [0, 10]}, "checkpoints .* horizon 10"),
        ({"checkpoints": [5]}, "checkpoints .* horizon 10"),
        ({"checkpoints": [5, 11]}, "checkpoints .* horizon 10"),
        ({"checkpoints": [5, 5, 10]}, "checkpoints must be increasing"),
        ({"checkpoints": [7, 3, 10]}, "checkpoints must be increasing"),
        ({"checkpoints": [1.5, 10.0]}, "checkpoints .* integers"),
        ({"checkpoints": [[1, 10]]}, "checkpoints"),
        ({"devices": 0}, "devices must be between 1 and .*, got 0"),
        ({"devices": 4096}, "devices must be between 1 and .*, got 4096"),
        ({"devices": []}, "devices must name at least one device"),
        ({"chunk": 0}, "chunk must be an integer of at least 1, got 0"),
        ({"quantiles": (0.5, 1.5)}, "quantiles"),
        ({"seed": 1.5}, "seed"),
        ({"seed": -1}, "seed must be an integer .*, got -1"),
        ({"seed": 2**64}, "seed must be an integer .*, got 18446744073709551616"),
        ({"params": 3.0}, "params must be .*float"),
        ({"params": [0.1, 0.9]}, "params must be .*list"),
    ],
)
def test_bad_numbers_are_refused_before_tracing(bandit, options, message):
    env, _ = bandit
    with pytest.raises(ValueError, match=message):
        jaxprice.simulate(env, UNTOUCHED, **({"lanes": 2, "horizon": 10} | options))


@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_of_another_size_is_refused(bandit, rows):
    env, params = bandit
    with pytest.raises(ValueError, match="params must hold one market or one for each of the 2 lanes"):
        batch = jax.tree.map(lambda x: np.stack([x] * rows), params)
        jaxprice.simulate(env, UNTOUCHED, lanes=2, horizon=10, params=batch)


def test_a_ragged_batch_is_refused(bandit):
    env, params = bandit
    batch = jax.tree.map(lambda x: np.stack([x] * 2), params)
    with pytest.raises(ValueError, match="params must hold one market or one for each of the 2 lanes"):
        jaxprice.simulate(env, UNTOUCHED, lanes=2, horizon=10, params=dataclasses.replace(batch, cost=np.float32(0)))


def test_params_of_another_market_are_refused(bandit):
    env, _ = bandit
    foreign = jaxprice.make("PostedPrice")[1]
    with pytest.raises(ValueError, match="params"):
        jaxprice.simulate(env, policies.ucb1(), lanes=2, horizon=10, params=foreign)


def test_params_with_another_number_of_arms_are_refused(bandit):
    env, _ = bandit
    fewer = jaxprice.make("BernoulliBandit", means=[0.2, 0.8])[1]
    with pytest.raises(ValueError, match="params"):
        jaxprice.simulate(env, policies.ucb1(), lanes=2, horizon=10, params=fewer)


@pytest.mark.parametrize(
    "policy", [{}, {"a": None}, {"a": policies.ucb1}, {"a": "ucb1"}], ids=["none", "None", "maker", "name"]
)
def test_what_is_no_policy_in_a_dict_is_refused(bandit, policy):
    with pytest.raises(ValueError, match="polic"):
        jaxprice.simulate(bandit[0], policy, lanes=2, horizon=10)


@pytest.mark.parametrize("policy", ["ucb1", policies.ucb1, [policies.ucb1()]], ids=["name", "maker", "list"])
def test_what_is_neither_policy_nor_dict_is_refused(bandit, policy):
    with pytest.raises(ValueError, match="policies"):
        jaxprice.simulate(bandit[0], policy, lanes=2, horizon=10)


def choosing(action):
    return Policy(lambda key, problem: (), lambda key, state, obs: action, lambda key, state, seen: state)


def test_action_spaces_must_match_both_ways():
    interval, _ = jaxprice.make("PostedPrice", num_prices=None)
    with pytest.raises(ValueError, match="ucb1 chooses from a price grid"):
        jaxprice.simulate(interval, policies.ucb1(), lanes=2, horizon=10)
    price, index = choosing(jnp.float32(0.5)), choosing(jnp.int32(0))
    grid, _ = jaxprice.make("PostedPrice", num_prices=4)
    with pytest.raises(ValueError, match=r"policy 'mine' returns float32.* takes an index of its price grid"):
        jaxprice.simulate(grid, {"mine": price}, lanes=2, horizon=10)
    with pytest.raises(ValueError, match=r"policy 'mine' returns int32.* takes a price"):
        jaxprice.simulate(interval, {"mine": index}, lanes=2, horizon=10)
    with pytest.raises(ValueError, match=r"policy 'mine' returns int32.*3"):
        jaxprice.simulate(grid, {"mine": choosing(jnp.zeros(3, jnp.int32))}, lanes=2, horizon=10)


def test_thompson_refuses_gaussian_demand():
    env, params = jaxprice.make("GaussianBandit")
    with pytest.raises(ValueError, match="thompson needs bernoulli demand"):
        jaxprice.simulate(env, policies.thompson(), lanes=2, horizon=10, params=params)
