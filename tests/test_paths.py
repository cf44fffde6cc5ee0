"""Paths of changing markets: their formulas in NumPy, and the resulting markets and regrets."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice.envs import non_stationary, paths

TIMES = range(1, 24)


def states(path, times=TIMES, seed=0):
    """States of a path in periods 0, 1, ..., float64."""
    state, out = path.start(), []
    out.append(state)
    for time in times:
        state = path.move(jax.random.fold_in(jax.random.key(seed), time), state, jnp.int32(time))
        out.append(state)
    return np.stack([np.asarray(state, float) for state in out])


@pytest.mark.parametrize(("period", "phase"), [(5.0, 0.1), (12.0, 0.0), (3.5, -0.4), (2.0, 0.25)])
def test_a_season_is_a_sine_between_two_markets(period, phase):
    turns = np.arange(len(TIMES) + 1) / period + phase
    expected = (1 + np.sin(2 * np.pi * turns)) / 2
    np.testing.assert_allclose(states(non_stationary.Season(np.float32(period), np.float32(phase))), expected, atol=2e-6)


def test_markets_of_a_season_lie_between_two_and_the_regret_is_against_the_best_price_of_the_period():
    period, phase, prices, cost = 6, 0.15, np.array([0.3, 0.5, 0.7]), 0.1
    options = {"demand": "linear", "prices": prices, "cost": cost}
    env, params = jaxprice.make("NonStationary", kind="season", options=options, period=period, phase=phase)
    (a0, a1), (b0, b1) = (np.asarray(x, float) for x in (params.markets.demand.intercept, params.markets.demand.slope))
    _, state = env.reset_env(jax.random.key(0), params)
    step = jax.jit(env.step_env)
    for time in range(8):
        w = (1 + np.sin(2 * np.pi * (time / period + phase))) / 2
        rewards = (prices - cost) * np.maximum(a0 + w * (a1 - a0) - (b0 + w * (b1 - b0)) * prices, 0)
        action = time % 3
        _, state, _, _, info = step(jax.random.key(time), state, jnp.int32(action), params)
        assert float(info["optimal_reward"]) == pytest.approx(rewards.max(), abs=2e-6)
        assert float(info["regret"]) == pytest.approx(rewards.max() - rewards[action], abs=2e-6)


def test_change_points_and_calendars():
    changes = non_stationary.Piecewise(np.int32([3, 7, 20]))
    np.testing.assert_array_equal(states(changes), np.sum(np.arange(24)[:, None] >= [3, 7, 20], axis=1))
    slots = np.int32([2, 0, 0, 1, 1])
    np.testing.assert_array_equal(states(non_stationary.Calendar(slots)), slots[np.arange(24) % 5])


def test_regimes_follow_their_chain():
    chain = np.float32([[0.7, 0.2, 0.1], [0.0, 0.4, 0.6], [0.5, 0.5, 0.0]])
    path = non_stationary.Regimes(chain)
    assert int(path.start()) == 0
    keys = jax.random.split(jax.random.key(1), 20_000)
    for here in range(3):
        after = np.asarray(jax.vmap(lambda key, here=here: path.move(key, jnp.int32(here), 1))(keys))
        seen = np.bincount(after, minlength=3) / keys.shape[0]
        assert np.all(np.abs(seen - chain[here]) < 4 * np.sqrt(chain[here] * (1 - chain[here]) / keys.shape[0]) + 1e-9)


def test_a_drift_is_a_reflected_walk_that_stops_when_its_budget_is_spent():
    path = non_stationary.Drift(np.float32(0.4), np.float32(1.3))
    walk, spent = states(path, range(1, 40)).T
    here, gone = 0.5, 0.0
    for time in range(1, 40):
        z = float(jax.random.normal(jax.random.fold_in(jax.random.key(0), time), dtype=jnp.float32))
        there = here + 0.4 * z
        while not 0 <= there <= 1:  # reflected at both ends
            there = -there if there < 0 else 2 - there
        move = np.clip(there - here, -max(1.3 - gone, 0), max(1.3 - gone, 0))
        here, gone = here + move, gone + abs(move)
        assert walk[time] == pytest.approx(here, abs=1e-5)
        assert spent[time] == pytest.approx(gone, abs=1e-5)
    assert spent[-1] == pytest.approx(1.3, abs=1e-5) and np.all(walk >= 0) and np.all(walk <= 1)


def test_numbers_of_a_market_that_moves_are_those_of_the_market_of_the_period():
    env, params = jaxprice.make("NonStationary", kind="piecewise", num_markets=3, changes=[2, 4], horizon=6)
    for state, m in ((0, 0), (2, 2)):
        now = env.market(jnp.int32(state), params)
        for ours, theirs in zip(
            jax.tree.leaves(dataclasses.replace(now, max_steps_in_episode=None)),
            jax.tree.leaves(dataclasses.replace(params.markets, max_steps_in_episode=None)),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs[m])
        assert int(now.max_steps_in_episode) == 6


def test_a_path_without_its_methods_cannot_be_made():
    class Still(paths.Path):
        def move(self, key, state, time):
            return state

    with pytest.raises(TypeError, match=r"Still .*rules"):
        Still()
    with pytest.raises(TypeError, match=r"Path .*move.*rules"):
        paths.Path()
