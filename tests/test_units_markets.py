"""Another unit of money changes only the unit: every market and its oracle, at prices from 1e-12 to 1e12."""

import functools

import jax
import numpy as np
import pytest
import scaled

import jaxprice
from jaxprice.types import Discrete, Interval

LANES, PERIODS = 16, 4
UNITS = (1e-12, 1e-6, 1e3, 1e12)


@functools.partial(jax.jit, static_argnums=(0, 1))
def played(env, space, params):
    """Infos of some periods under random actions in shares of the action space, and the oracle's actions, per lane."""

    def lane(key):
        def period(state, k):
            best, optimal = env.optimal_action(state, params), env.optimal_reward(state, params)
            u = jax.random.uniform(k, space.shape, np.float32)
            problem = env.problem(params)
            if isinstance(space, Discrete):
                action = (u * space.n).astype(np.int32)
            elif isinstance(space, Interval):
                action = problem.low + u * (problem.high - problem.low)
            else:
                action = u < 0.5
            expected = env.expected_reward(state, action, params)
            _, state, _, terminated, info = env.step_env(k, state, action, params)
            info = {name: info[name] for name in ("price", "demand", "reward", "regret", "optimal_reward")}
            info["terminated"] = terminated
            return state, info | {"best": best, "optimal": optimal, "expected": expected}

        _, state = env.reset_env(key, params)
        return jax.lax.scan(period, state, jax.random.split(key, PERIODS))[1]

    return jax.vmap(lane)(jax.random.split(jax.random.key(0), LANES))


@pytest.mark.parametrize("row", scaled.rows())
def test_market_in_another_unit(row):
    env, params = scaled.market(row)
    space = env.problem(params).action_space
    money = {"price", "reward", "regret", "optimal_reward", "optimal", "expected"}
    if isinstance(space, Interval):
        money.add("best")
    before = jax.device_get(played(env, space, params))
    assert not before.pop("terminated").any()  # the horizon alone ends a season
    largest = np.abs(before["optimal"]).max() + np.abs(before["expected"]).max()
    for unit in UNITS:
        other, moved = scaled.scaled(env, params, unit)
        other.check_params(moved)
        after = jax.device_get(played(env, space, moved))
        for name, value in before.items():
            got = after[name].astype(float) / (unit if name in money else 1)
            if name == "best" and not isinstance(space, Interval):
                assert np.array_equal(got, value), (unit, name)
                continue
            size = np.abs(value).max() if name in ("price", "best", "demand") else largest
            tolerance = 5e-3 if name == "best" else 2e-5  # a peak is as flat as the square root of the rounding
            assert np.abs(got - value).max() <= tolerance * size, (unit, name, np.abs(got - value).max() / size)


def test_every_kind_of_market_has_a_row():
    kinds = {kind for kind, _ in scaled.SCALED_MARKETS.values()}
    assert set(jaxprice.list_envs()) - kinds == {"catsup", "cracker", "ketchup", "tuna", "yogurt"}  # as the apple
