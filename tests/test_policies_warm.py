"""Warm start: a policy that replays its own log goes on where it stopped."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import policies, random
from jaxprice.types import Transition

LANE, BEFORE, HORIZON = 3, 40, 60


@functools.cache
def market(kind):
    options = {"PostedPrice": {"demand": "linear", "prices": [0.35, 0.55, 0.7, 0.9], "cost": 0.3}}
    return jaxprice.make(kind, **options.get(kind, {"dimension": 3, "num_prices": 4}))


def recorded(kind, policy, horizon=HORIZON):
    env, params = market(kind)
    log = jaxprice.record(env, policy, seed=4, lanes=4, horizon=horizon, params=params, propensities=False)
    return jax.tree.map(lambda x: x[LANE], log.replace(prices=None))


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        ("PostedPrice", policies.thompson()),
        ("PostedPrice", policies.ucb1()),
        ("PostedPrice", policies.exp3()),
        ("GLMDemand", policies.contextual_epsilon_greedy()),
    ],
    ids=["thompson", "ucb1", "exp3", "contextual_epsilon_greedy"],
)
def test_a_warm_policy_continues_its_own_run(kind, policy):
    log = recorded(kind, policy)
    env, params = market(kind)
    params = params.replace(max_steps_in_episode=HORIZON)
    warm = policies.warm(policy, jax.tree.map(lambda x: x[:BEFORE], log))
    words = {role: random.stream(4, role) for role in random.ROLES}

    @jax.jit
    def goes_on(log):
        problem = env.problem(jax.tree.map(jnp.asarray, params))
        problem = problem.with_observation(jax.tree.map(lambda x: x[0], log.observation))

        def period(state, time):
            row = jax.tree.map(lambda x: x[time], log)
            action = warm.act(random.address(words["act"], time, LANE), state, row.observation)
            sale = Transition(row.observation, row.action, row.price, row.demand, row.reward, row.next_observation)
            return warm.update(random.address(words["update"], time, LANE), state, sale), action

        state = warm.init(random.address(words["init"], 0, LANE), problem)
        return jax.lax.scan(period, state, jnp.arange(BEFORE, HORIZON))[1]

    np.testing.assert_array_equal(goes_on(log), log.action[BEFORE:])


def test_it_earns_more_from_the_start_and_keeps_its_formula():
    env, params = market("PostedPrice")
    log = recorded("PostedPrice", policies.random_price(), horizon=2000)
    warm = policies.warm(policies.thompson(), log)
    assert warm.probabilities is policies.thompson().probabilities
    assert policies.describe(policies.warm(policies.thompson(), log)) == policies.describe(warm)
    assert policies.describe(warm) != policies.describe(policies.warm(policies.thompson(), log[1:]))
    assert policies.describe(policies.thompson()) == "thompson(a=1.0, b=1.0, signal='demand')"
    result = jaxprice.simulate(
        env, {"cold": policies.thompson(), "warm": warm}, seed=0, lanes=500, horizon=30, params=params, checkpoints=[30]
    )
    cold, hot = result["regret"].values[:, -1]
    assert hot < cold - 4 * float(np.hypot(*result["regret_se"].values[:, -1]))


def test_what_warm_refuses():
    log, policy = recorded("PostedPrice", policies.random_price()), policies.thompson()
    env, params = market("PostedPrice")
    problem = env.problem(params).with_observation(jnp.zeros(3))
    for given, message in [
        (3, "log must be a DecisionLog, got 3"),
        (jax.tree.map(lambda x: x[None], log), r"log must be one log, \[T\], got \[1, 60\]"),
        (log.replace(demand=log.demand.at[5].set(jnp.nan)), "demand of the log must be known, 1 of 60"),
    ]:
        with pytest.raises(ValueError, match=message):
            policies.warm(policy, given)
    for given, message in [
        (log.replace(action=log.action + 1), r"actions of the log must be in \[0, 4\), got 1 to 4"),
        (log.replace(action=log.price), "actions of the log must be those of the market"),
        (log.replace(observation=jnp.zeros((60, 7))), r"observations of the log must have shapes \[\(3,\)\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            policies.warm(policy, given).init(jax.random.key(0), problem)
    blind = policies.warm(policy, log.replace(observation=None, next_observation=None))
    kept = policies.warm(policy, log)
    states = [made.init(jax.random.key(0), problem) for made in (blind, kept)]
    jax.tree.map(np.testing.assert_array_equal, *states)
