"""The agents in the package: they load, describe themselves, and earn the rewards on their cards."""

import importlib.resources

import numpy as np
import pytest

import jaxprice
from jaxprice import agents, policies
from jaxprice.oracles import bayes_bandit, reward_paths

OPTIMUM = 6.6599878748  # of ten pulls of five arms


@pytest.mark.parametrize("name", agents.list_agents())
def test_it_says_what_it_is_and_is_small(name):
    agent = agents.load_agent(name)
    assert {"name", "horizon", "updates", "seed"} <= set(agent.told)
    assert agent.policy().card == agent.card
    file = importlib.resources.files("jaxprice.agents") / "weights" / f"{name}.npz"
    assert len(file.read_bytes()) < 1_000_000


def test_the_bandit_agent_is_nearly_optimal():
    env, _ = jaxprice.make("BernoulliBandit", num_arms=5)
    value = reward_paths.value(env, agents.load("bandit_rl2"), 10)
    assert 6.655 <= value <= OPTIMUM + 1e-5
    assert value == pytest.approx(agents.load_agent("bandit_rl2").told["scores"]["exact"], abs=1e-3)
    assert bayes_bandit.optimum(5, 10) == pytest.approx(OPTIMUM, abs=1e-8)


@pytest.mark.slow
def test_the_bandit_agent_in_context_is_close_to_gittins():
    env, _ = jaxprice.make("BernoulliBandit", num_arms=5)
    sellers = {"agent": agents.load("bandit_in_context"), "gittins": policies.gittins(horizon=100)}
    regret = jaxprice.simulate(env, sellers, seed=11, lanes=4000, horizon=100)["lane_regret"]
    gap = (regret.sel(policy="agent") - regret.sel(policy="gittins")).values
    assert gap.mean() < 0.10 + 3 * gap.std() / 4000**0.5


@pytest.mark.slow
def test_the_pricing_agent_in_context_beats_thompson_with_the_true_prior_in_the_first_sales():
    env, _ = jaxprice.make("PostedPrice", demand="logit", num_prices=10)
    sellers = {"agent": agents.load("pricing_in_context"), "thompson": policies.prior_thompson(env)}
    lost = {}
    for seller, policy in sellers.items():
        run = jaxprice.simulate(env, {seller: policy}, seed=11, lanes=3000, horizon=100, traces=True)
        lost[seller] = run["trace_regret"].values.squeeze()[:20].sum(axis=0)
    gap = lost["agent"] - lost["thompson"]
    assert gap.mean() < -4 * gap.std() / np.sqrt(3000)
