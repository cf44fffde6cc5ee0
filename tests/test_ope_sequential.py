"""Estimators for markets with state: expectations by enumeration, dynamic programming, recursions, derivatives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxprice import ope
from jaxprice.ope.estimate import by_gradient

states, actions, periods = 3, 2, 2


def market(seed=0):
    """Start distribution, transitions `[S, A, S]`, rewards `[S, A]`, logging and target policies `[T, S, A]`."""
    rng = np.random.default_rng(seed)
    return {
        "start": rng.dirichlet(np.ones(states)),
        "next": rng.dirichlet(np.ones(states), size=(states, actions)),
        "reward": rng.uniform(size=(states, actions)),
        "logging": rng.dirichlet(np.ones(actions) * 3, size=(periods, states)),
        "target": rng.dirichlet(np.ones(actions), size=(periods, states)),
    }


def value(m, discount=1.0):
    """Value of the target by backward induction."""
    later = np.zeros(states)
    for t in reversed(range(len(m["target"]))):
        q = m["reward"] + discount * m["next"] @ later
        later = np.sum(m["target"][t] * q, axis=1)
    return m["start"] @ later


def logs_of(m, state, action, reward):
    """Logs of horizons with known states, int `[..., E, T]`."""
    time = np.arange(state.shape[-1])
    log = ope.DecisionLog.of(
        action=action, reward=reward, probabilities=m["logging"][time, state], prices=[1.0, 2.0], observation=state
    )
    return log, jnp.asarray(m["target"][time, state])


def every_horizon(m, outcomes=(0.0,)):
    """All `(states, actions, noises)` of one horizon, and the probability of each under the logging policy."""
    rows = list(itertools.product(itertools.product(range(states), range(actions), range(len(outcomes))), repeat=periods))
    state, action, noise = np.moveaxis(np.array(rows), -1, 0)
    chance = m["start"][state[:, 0]] / len(outcomes) ** periods
    for t in range(periods):
        chance = chance * m["logging"][t, state[:, t], action[:, t]]
        if t + 1 < periods:
            chance = chance * m["next"][state[:, t], action[:, t], state[:, t + 1]]
    return state, action, m["reward"][state, action] + np.array(outcomes)[noise], chance


def drawn(m, horizons, seed, logs=1):
    """Horizons of the logging policy with noisy rewards, `[logs, horizons, T]`."""
    rng = np.random.default_rng(seed)

    def choose(chance):
        return (rng.uniform(size=(*chance.shape[:-1], 1)) > np.cumsum(chance, -1)[..., :-1]).sum(-1)

    now = choose(np.broadcast_to(m["start"], (logs, horizons, states)))
    state, action = [], []
    for t in range(len(m["logging"])):
        state.append(now)
        action.append(choose(m["logging"][t, now]))
        now = choose(m["next"][now, action[-1]])
    state, action = np.stack(state, -1), np.stack(action, -1)
    return state, action, m["reward"][state, action] + 0.3 * rng.normal(size=state.shape)


@pytest.mark.parametrize("discount", [1.0, 0.7])
def test_per_decision_weighting_is_unbiased_over_all_horizons(discount):
    m = market()
    state, action, reward, chance = every_horizon(m, outcomes=(-0.5, 0.5))
    np.testing.assert_allclose(chance.sum(), 1.0, rtol=1e-12)
    with jax.enable_x64(True):
        log, target = logs_of(m, state[:, None], action[:, None], reward[:, None])  # one horizon a log
        found = ope.per_decision(log, target, discount=discount).value
    np.testing.assert_allclose(chance @ np.asarray(found), value(m, discount), rtol=1e-10)


def test_two_horizons_of_all_kinds_also_give_the_exact_mean():
    """Pairs of horizons: the mean over horizons inside a log is weighted right."""
    m = market(1)
    state, action, reward, chance = every_horizon(m)
    first, second = np.divmod(np.arange(len(chance) ** 2), len(chance))
    pairs = np.stack([first, second], 1)
    with jax.enable_x64(True):
        log, target = logs_of(m, state[pairs], action[pairs], reward[pairs])
        found = ope.per_decision(log, target).value
    np.testing.assert_allclose((chance[first] * chance[second]) @ np.asarray(found), value(m), rtol=1e-10)


def replicated(m, copies=20_000):
    """A log in which each horizon occurs about as often as it should: the estimated market is the true one."""
    state, action, reward, chance = every_horizon(m)
    counts = np.round(chance * copies).astype(int)
    return tuple(np.repeat(part, counts, axis=0) for part in (state, action, reward))


def test_estimators_equal_dynamic_programming_on_full_data():
    m = market(2)
    state, action, reward = replicated(m)
    with jax.enable_x64(True):
        log, target = logs_of(m, state, action, reward)
        table = ope.table_features(log, jnp.asarray(state), states)
        exact = value(m, 0.9)
        fitted = ope.fitted_q(log, target, table, discount=0.9, ridge=1e-9).value
        pooled_target = dict(m, target=np.repeat(m["target"][:1], periods, 0))
        same = jnp.asarray(pooled_target["target"][0][state])
        pooled = ope.fitted_q(log, same, table, discount=0.9, ridge=1e-9, pooled=True).value
        marginal = ope.marginalised(log, target, jnp.asarray(state), states, discount=0.9).value
        weighted = ope.per_decision(log, target, discount=0.9, self_normalised=True).value
    np.testing.assert_allclose(fitted, exact, rtol=2e-3)  # rounding of the counts
    np.testing.assert_allclose(pooled, value(pooled_target, 0.9), rtol=2e-3)
    np.testing.assert_allclose(marginal, exact, rtol=2e-3)
    np.testing.assert_allclose(weighted, exact, rtol=2e-3)


def test_tabular_q_is_dynamic_programming_on_the_estimated_market():
    """Counts and means in NumPy, period by period, on a random log."""
    m = market(3)
    state, action, reward = (part[0] for part in drawn(m, 400, 0))
    later = None
    for t in reversed(range(periods)):
        q = np.zeros((states, actions))
        for s, a in itertools.product(range(states), range(actions)):
            here = (state[:, t] == s) & (action[:, t] == a)
            after = 0.0 if later is None else later[state[:, t + 1]] if t + 1 < periods else 0.0
            q[s, a] = np.mean((reward[:, t] + after)[here])
        later = np.sum(m["target"][t] * q, axis=1)
    with jax.enable_x64(True):
        log, target = logs_of(m, state, action, reward)
        table = ope.table_features(log, jnp.asarray(state), states)
        found = ope.fitted_q(log, target, table, ridge=1e-10).value
    np.testing.assert_allclose(found, later[state[:, 0]].mean(), rtol=1e-8)


def test_linear_q_is_a_loop_of_regressions():
    m = market(4)
    state, action, reward = (part[0] for part in drawn(m, 200, 1))
    features = np.random.default_rng(2).normal(size=(states, actions, 4))
    theta = np.zeros(4)
    for t in reversed(range(periods)):
        x, y = features[state[:, t], action[:, t]], reward[:, t].copy()
        if t + 1 < periods:
            after = state[:, t + 1]
            y += 0.9 * np.einsum("ea,eaf->ef", m["target"][t + 1, after], features[after]) @ theta
        theta = np.linalg.solve(x.T @ x + 0.3 * np.eye(4), x.T @ y)
    expected = (np.einsum("ea,eaf->ef", m["target"][0, state[:, 0]], features[state[:, 0]]) @ theta).mean()
    with jax.enable_x64(True):
        log, target = logs_of(m, state, action, reward)
        found = ope.fitted_q(log, target, jnp.asarray(features[state]), discount=0.9, ridge=0.3).value
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_marginalised_weighting_is_the_recursion_of_the_paper():
    m = market(5)
    state, action, reward = (part[0] for part in drawn(m, 300, 3))
    weight = m["target"][np.arange(periods), state, action] / m["logging"][np.arange(periods), state, action]
    density = np.bincount(state[:, 0], minlength=states) / 300
    expected = 0.0
    for t in range(periods):
        following = np.zeros(states)
        for s in range(states):
            here = state[:, t] == s
            expected += density[s] * np.mean((weight * reward)[here, t]) * 0.8**t
            if t + 1 < periods:
                moved = np.bincount(state[here, t + 1], weights=weight[here, t], minlength=states) / here.sum()
                following += density[s] * moved
        density = following
    with jax.enable_x64(True):
        log, target = logs_of(m, state, action, reward)
        found = ope.marginalised(log, target, jnp.asarray(state), states, discount=0.8).value
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_self_normalised_weights_and_their_influence():
    m = market(6)
    state, action, reward = drawn(m, 50, 4, logs=2)
    with jax.enable_x64(True):
        log, target = logs_of(m, state, action, reward)
        found = ope.per_decision(log, target, discount=0.9, self_normalised=True)
        weight = jnp.cumprod(ope.importance_weights(log, target), -1)
        gains = log.reward * 0.9 ** jnp.arange(periods)
        expected = by_gradient(
            lambda c: ((c[..., None] * weight * gains).sum(-2) / (c[..., None] * weight).sum(-2)).sum(-1), jnp.ones((2, 50))
        )
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-10)
    np.testing.assert_allclose(found.influence, expected.influence, atol=1e-10)
    np.testing.assert_allclose(np.asarray(found.terms).mean(-1), found.value, rtol=1e-10)


@pytest.mark.parametrize("name", ["per_decision", "self_normalised", "marginalised", "fitted_q"])
def test_standard_errors_are_those_of_repeated_logs(name):
    """400 logs of 150 horizons: the mean stated error is the spread of the values, and the values centre on the truth."""
    m = market(7)
    state, action, reward = drawn(m, 150, 5, logs=400)
    log, target = logs_of(m, state, action, reward)
    cells = jnp.asarray(state)
    run = {
        "per_decision": lambda: ope.per_decision(log, target),
        "self_normalised": lambda: ope.per_decision(log, target, self_normalised=True),
        "marginalised": lambda: ope.marginalised(log, target, cells, states),
        "fitted_q": lambda: ope.fitted_q(log, target, ope.table_features(log, cells, states)),
    }
    found = jax.tree.map(np.asarray, run[name]())
    spread = found.value.std(ddof=1)
    assert abs(found.value.mean() - value(m)) < 4 * spread / 20 + 0.01
    assert abs(np.sqrt(np.mean(np.square(found.se))) / spread - 1) < 4 / np.sqrt(2 * 400)


def test_bad_input():
    m = market()
    state, action, reward = (part[0] for part in drawn(m, 6, 0))
    log, target = logs_of(m, state, action, reward)
    table = ope.table_features(log, jnp.asarray(state), states)
    for run, message in (
        (lambda: ope.per_decision(log[0], target[0]), r"log must be \[..., E, T\] with E selling horizons, got shape \[2\]"),
        (lambda: ope.per_decision(log, target, discount=1.1), "discount must be in"),
        (
            lambda: ope.marginalised(log, target, jnp.asarray(state), 2),
            r"states must lie in \[0, 2\), got states in",
        ),
        (lambda: ope.marginalised(log, target, jnp.asarray(state[:, :1]), 3), r"states must be integers \[6, 2\]"),
        (lambda: ope.fitted_q(log, target, table[..., :1, :]), r"features must have shape \[6, 2, 2, 'F'\]"),
        (lambda: ope.fitted_q(log, target, table, ridge=0.0), "ridge must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            run()
