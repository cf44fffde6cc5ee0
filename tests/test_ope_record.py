"""Recorded decisions are those of `simulate`, and what is recorded beside them is true."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import policies
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.types import Policy

LANES, HORIZON = 64, 25
PRICES = [0.35, 0.55, 0.7, 0.9]


def same_decisions(log, env, policy, params, **options):
    kept = jaxprice.simulate(env, policy, seed=7, lanes=LANES, horizon=HORIZON, params=params, traces=True, **options)
    for name in ("action", "price", "demand", "reward"):
        wanted = np.moveaxis(kept[f"trace_{name}"].values[0], -1, 0)
        np.testing.assert_array_equal(getattr(log, name), wanted, err_msg=name)


def recorded(env, policy, params=None, **options):
    return jaxprice.record(env, policy, seed=7, lanes=LANES, horizon=HORIZON, params=params, **options)


@pytest.mark.parametrize(
    ("market", "options", "policy", "drawn"),
    [
        ("PostedPrice", {"demand": "linear", "prices": PRICES, "cost": 0.3}, policies.thompson(), False),
        ("PostedPrice", {"demand": "exponential", "num_prices": 3, "noise": "poisson", "buyers": 3}, policies.exp3(), True),
        ("GLMDemand", {"dimension": 3, "num_prices": 4}, policies.contextual_epsilon_greedy(), True),
        ("FiniteInventory", {"stock": 9, "horizon": HORIZON}, policies.ucb1(), False),
        ("ParametricDemand", {"family": "logit"}, policies.random_price(), False),
        ("PostedPrice", {"demand": "linear", "prices": PRICES, "cost": 0.3}, policies.oracle(), False),
    ],
    ids=["thompson", "exp3", "contextual", "inventory", "interval", "oracle"],
)
def test_decisions_are_those_of_simulate(market, options, policy, drawn):
    env, params = jaxprice.make(market, **options)
    params = None if drawn else params
    log = recorded(env, policy, params, draws=20, propensities=market != "ParametricDemand")
    same_decisions(log, env, policy, params)
    assert log.shape == (LANES, HORIZON)
    np.testing.assert_array_equal(log.time[3], np.arange(HORIZON))
    for after, before in zip(jax.tree.leaves(log.next_observation), jax.tree.leaves(log.observation), strict=True):
        np.testing.assert_array_equal(np.asarray(after)[:, :-1], np.asarray(before)[:, 1:])
    if log.probabilities is not None:
        assert np.all(np.asarray(log.propensity) > 0)
        np.testing.assert_allclose(np.sum(log.probabilities, axis=-1), 1, atol=1e-5)
        type(log).of(**{field.name: getattr(log, field.name) for field in dataclasses.fields(log)})


@pytest.mark.parametrize("options", [{"chunk": 40}, {"devices": 1}])
def test_a_lane_does_not_depend_on_its_company(options):
    env, params = jaxprice.make("PostedPrice", demand="linear", prices=PRICES, cost=0.3)
    whole = recorded(env, policies.exp3(), params)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(recorded(env, policies.exp3(), params, **options)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_truth_is_the_expected_reward_of_every_action():
    env, params = jaxprice.make("PostedPrice", demand="linear", prices=PRICES, cost=0.3)
    log, truth = recorded(env, policies.thompson(), params, truth=True, draws=1)
    prices = np.array(PRICES)
    wanted = (prices - 0.3) * np.asarray(params.demand.mean(prices))
    np.testing.assert_allclose(truth, np.broadcast_to(wanted, truth.shape), rtol=1e-5)
    np.testing.assert_allclose(log.prices, PRICES, rtol=1e-6)
    gaps = np.asarray(log.reward) - np.take_along_axis(np.asarray(truth), np.asarray(log.action)[..., None], -1)[..., 0]
    assert abs(gaps.mean()) < 4 * gaps.std() / np.sqrt(gaps.size)


def test_the_truth_of_a_buyer_depends_on_the_context():
    env, params = jaxprice.make("GLMDemand", dimension=3, num_prices=4)
    log, truth = recorded(env, policies.random_price(), params, truth=True)
    gaps = np.asarray(log.reward)[..., None] - np.asarray(truth)
    played = np.asarray(log.action)[..., None] == np.arange(4)
    np.testing.assert_allclose(log.prices, np.arange(4.0), atol=1e-6)
    error = (gaps * played).sum((0, 1))[1:] / np.sqrt((gaps**2 * played).sum((0, 1)))[1:]  # the price 0 earns nothing
    assert np.abs(error).max() < 4
    assert np.std(np.asarray(truth)[0], axis=0).max() > 0.01
    few, chosen = recorded(env, policies.random_price(), params, truth=[2, 0])
    np.testing.assert_array_equal(chosen, np.asarray(truth)[..., [2, 0]])
    _, greedy = recorded(env, policies.random_price(), params, truth=lambda seen: jnp.where(seen[-1:] > 0, 3, 1))
    rule = np.where(np.asarray(few.observation)[..., -1:] > 0, 3, 1)
    np.testing.assert_array_equal(greedy, np.take_along_axis(np.asarray(truth), rule, axis=-1))


@dataclasses.dataclass(frozen=True)
class Legal(BernoulliBandit):
    """A bandit in which only the arms up to the number of the period, modulo three, are allowed."""

    def allowed(self, state, params):
        return jnp.arange(3) <= state.time % 3


def test_the_mask_of_the_market_is_recorded():
    _, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.5, 0.8])
    log = recorded(Legal(num_arms=3), policies.fixed_price(), params, propensities=False)
    wanted = np.arange(3) <= np.arange(HORIZON)[:, None] % 3
    np.testing.assert_array_equal(log.allowed, np.broadcast_to(wanted, (LANES, HORIZON, 3)))
    assert np.isnan(np.asarray(log.propensity)).all() and log.probabilities is None


def test_propensities_of_a_policy_without_a_formula_may_be_given():
    env, params = jaxprice.make("ParametricDemand", family="logit")
    density = lambda state, observation: lambda price: 1 / (state.high - state.low)  # noqa: E731
    log = recorded(env, policies.random_price(), params, propensities=density)
    problem = env.problem(params)
    np.testing.assert_allclose(log.propensity, 1 / (problem.high - problem.low), rtol=1e-6)


def test_bad_arguments_are_refused_before_anything_is_played():
    env, params = jaxprice.make("PostedPrice", demand="linear", prices=PRICES, cost=0.3)

    def explode(*_):
        raise AssertionError

    never = Policy(explode, explode, explode)
    for options, message in [
        ({"propensities": 3}, "propensities must be True, False or a function, got 3"),
        ({"draws": 0}, "draws must be"),
        ({"truth": [0, 4]}, r"truth must be an integer in \[0, 3\]"),
        ({"horizon": 0}, "horizon must be"),
        ({"chunk": 0}, "chunk must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            jaxprice.record(env, never, **({"seed": 0, "lanes": 4, "horizon": 5, "params": params} | options))
    with pytest.raises(ValueError, match=r"policy must be one Policy.*thompson"):
        jaxprice.record(env, "thompson", lanes=4, horizon=5)
    interval, _ = jaxprice.make("ParametricDemand", family="logit")
    with pytest.raises(ValueError, match="propensities must be False or a function"):
        jaxprice.record(interval, policies.fixed_price(), lanes=4, horizon=5)
    with pytest.raises(ValueError, match="truth must be prices"):
        jaxprice.record(interval, policies.fixed_price(), lanes=4, horizon=5, truth=True, propensities=False)
    for market in ({"kind": "MultiProduct", "num_products": 2}, {"kind": "MNLAssortment", "num_products": 5, "size": 2}):
        several, _ = jaxprice.make(market.pop("kind"), **market)
        with pytest.raises(ValueError, match="env must take one action a period"):
            jaxprice.record(several, policies.random_price(), lanes=4, horizon=5)
