"""Shapley values against their definition, the `shap` package and closed forms; agents' inputs; trees that play."""

import importlib.util

import jax
import numpy as np
import pytest
from harness import learn

import jaxprice
from jaxprice import agents, explain, policies
from jaxprice.explain import shapley
from jaxprice.types import Transition

POINT = np.array([0.5, -1.0, 2.0, 0.3, 1.5])
SHAP = (  # shap 0.51.0, explainers.Exact with maskers.Independent, on `curved` with the background of `background()`
    *(0.792636790346918, 0.6901083850822342, 2.0265230765725604),
    *(1.0050452623662436, 0.1620427014705686),
)


def curved(x):
    """A function with interactions."""
    return np.sin(x[:, 0]) * x[:, 1] + np.exp(0.3 * x[:, 2]) * (x[:, 3] > 0) + x[:, 4] ** 2 * x[:, 0] - x[:, 1] * x[:, 2]


def background():
    return np.random.default_rng(7).normal(size=(20, 5)).astype(np.float32).astype(float)


def test_shapley_values_are_the_mean_over_all_orders_and_share_the_whole():
    for size in (1, 2, 3, 6):
        values = np.random.default_rng(size).normal(size=2**size)
        found = shapley.shapley(values)
        np.testing.assert_allclose(found, shapley.by_orders(values), atol=1e-12)
        assert found.sum() == pytest.approx(values[-1] - values[0], abs=1e-12)
    with pytest.raises(ValueError, match="one for each of 2, 4, 8"):
        shapley.shapley(np.zeros(3))


def test_an_additive_function_and_an_interaction_have_their_closed_forms():
    data = background()
    additive = shapley.of_function(lambda x: 3 * x[:, 0] - x[:, 4] ** 2, POINT, data)
    np.testing.assert_allclose(
        additive, [3 * (0.5 - data[:, 0].mean()), 0, 0, 0, (data[:, 4] ** 2).mean() - 2.25], atol=1e-6
    )
    x, y = data[:, 1], data[:, 2]
    both = shapley.of_function(lambda x: x[:, 1] * x[:, 2], POINT, data)  # v = {E xy, a E y, b E x, ab}
    a, b = POINT[1], POINT[2]
    first = 0.5 * (a * y.mean() - (x * y).mean()) + 0.5 * (a * b - b * x.mean())
    assert both[1] == pytest.approx(first, abs=1e-6) and both[0] == 0
    grouped = shapley.of_function(curved, POINT, data, [[0, 1], [2, 3], [4]])
    assert grouped.sum() == pytest.approx(curved(POINT[None])[0] - curved(data).mean(), abs=1e-6)
    with pytest.raises(ValueError, match="columns 0 to 4 once"):
        shapley.of_function(curved, POINT, data, [[0, 1], [1, 2, 3, 4]])


@pytest.mark.skipif(importlib.util.find_spec("shap") is None, reason="shap is not installed")
def test_shapley_values_are_those_of_shap():
    import shap

    data = background()
    explainer = shap.explainers.Exact(curved, shap.maskers.Independent(data, max_samples=len(data)))
    np.testing.assert_allclose(shapley.of_function(curved, POINT, data), explainer(POINT[None]).values[0], atol=1e-6)


def test_shapley_values_are_those_that_shap_once_gave():
    np.testing.assert_allclose(shapley.of_function(curved, POINT, background()), SHAP, atol=1e-6)


@pytest.fixture(scope="module")
def season():
    """Histories of an agent with stock in its observation, of a small market."""
    env, params = jaxprice.make("FiniteInventory", horizon=12, stock=5)
    log = jaxprice.record(env, policies.random_price(), lanes=24, horizon=12, params=params, propensities=False)
    problem = env.problem(params)
    network = agents.networks.make("gru", actions=problem.num_prices, size=8)
    seen = agents.inputs.before(problem, log.observation[0, 0])
    facts = agents.inputs.facts(problem.with_observation(log.observation[0, 0]))
    weights = agents.networks.initial(network, jax.random.key(3), facts, seen)
    weights = jax.tree.map(lambda x: 3 * x, weights)  # decisions that differ
    return problem, log, agents.Agent("gru", problem.num_prices, weights, {"size": 8})


def cut(log, length, lane=None):
    return jax.tree.map(lambda x: x[:, :length] if lane is None else x[lane, :length], log.replace(prices=None))


def test_shares_of_an_agents_inputs_add_up_and_are_the_brute_force(season):
    problem, log, agent = season
    found = explain.inputs(agent, problem, cut(log, 6, 0), cut(log, 6))
    assert found.groups == ("prices", "sales", "time", "stock")
    assert found.shares.sum() == pytest.approx(found.value - found.base, abs=1e-12)
    np.testing.assert_allclose(found.shares, shapley.by_orders(found.coalitions), atol=1e-12)
    assert np.abs(found.shares).max() > 1e-4
    policy, lane = agent.policy(), cut(log, 6, 0)
    state = policy.init(jax.random.key(0), problem.with_observation(log.observation[0, 0]))
    names = ("observation", "action", "price", "demand", "reward", "next_observation")
    state = learn(policy, state, Transition(**{name: getattr(lane, name) for name in names}))
    law = np.asarray(jax.nn.softmax(state.logits), float)
    assert found.value == pytest.approx(law @ np.asarray(problem.prices, float), rel=1e-5)  # step by step
    chance = explain.inputs(agent, problem, cut(log, 6, 0), cut(log, 6), outcome=2)
    assert chance.value == pytest.approx(law[2], rel=1e-5)


def test_a_price_depends_on_one_input_as_the_agent_says(season):
    problem, log, agent = season
    histories = cut(log, 6)
    left = explain.dependence(agent, problem, histories, "stock", np.asarray(log.observation)[:4, 6, 3])
    one = explain.inputs(agent, problem, cut(log, 6, 0), histories)
    mine = explain.dependence(agent, problem, jax.tree.map(lambda x: x[:1], histories), "stock", [log.observation[0, 6, 3]])
    assert mine.mean[0] == pytest.approx(one.value, rel=1e-5)  # its own stock changes nothing
    assert np.all(left.se > 0) and left.mean.shape == (4,)
    later = explain.dependence(agent, problem, histories, "time", [6, 9, 11])
    assert np.ptp(later.mean) > 0
    with pytest.raises(ValueError, match="at least 6"):
        explain.dependence(agent, problem, histories, "time", [3])
    with pytest.raises(ValueError, match="on must be an input"):
        explain.dependence(agent, problem, histories, 0, [0.5])


def test_a_tree_imitates_a_rule_that_it_can_hold_and_plays_it():
    """The optimal prices of a season with stock are a rule in time and stock."""
    pytest.importorskip("sklearn")
    env, _ = jaxprice.make("FiniteInventory", horizon=12, stock=3)
    table = policies.dp_pricing()
    rule = explain.rule(table, env, depth=8, lanes=200, horizon=12, least=2, entries=[0, 3])
    assert rule.agreement == 1 and rule.gap == (0, 0) and rule.original[0] > 0
    assert "if stock <= " in rule.text and "last price" not in rule.text
    shallow = explain.rule(table, env, depth=1, lanes=200, horizon=12)
    assert shallow.leaves == 2 and shallow.agreement < rule.agreement and shallow.gap[0] > 0
    with pytest.raises(ValueError, match="depth must be an integer"):
        explain.rule(table, env, depth=0)
