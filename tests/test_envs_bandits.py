"""Bandits of published benchmarks: payouts, contexts and tables against brute force, observations, bad input."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxprice
from jaxprice import policies
from jaxprice.envs import labelled_rows, wheel_bandit
from jaxprice.policies.parts import features

DRAWS = 20_000


def arrays(made):
    env, params = made
    return env, jax.tree.map(jnp.asarray, params)


@functools.cache
def starts(env):
    """Compiled: observation and state at the start, for many keys."""
    return jax.jit(jax.vmap(env.reset_env, (0, None)))


def keys(seed, count=DRAWS):
    return jax.random.split(jax.random.key(seed), count)


@pytest.mark.parametrize("target", [0, 6, 9])
def test_informative_payouts(target):
    """The target pays the prize, the last arm its place, and the observation says so once more."""
    env, params = arrays(jaxprice.make("InformativeBandit", target=target))
    obs, state = env.reset_env(jax.random.key(0), params)
    assert obs.shape == (14,) and not np.any(obs)
    assert int(env.optimal_action(state, params)) == target and float(env.optimal_reward(state, params)) == 5
    for arm in range(11):
        seen, after, reward, _, info = env.step_env(jax.random.key(arm), state, jnp.int32(arm), params)
        payout = (target + 1) / 10 if arm == 10 else 5.0 if arm == target else 1.0
        assert float(reward) == pytest.approx(payout, rel=1e-6)
        assert float(info["regret"]) == pytest.approx(5 - payout, abs=1e-6) and int(after.time) == 1
        np.testing.assert_allclose(seen[:3], [0.2, 5, payout / 5], rtol=1e-6)
        place = 10 if payout == 5 else round(10 * payout) - 1
        np.testing.assert_array_equal(seen[3:], np.arange(11) == place)


def test_informative_prior_is_uniform():
    env = jaxprice.make("InformativeBandit", num_arms=5, prize=3.0)[0]
    means = np.asarray(jax.jit(jax.vmap(lambda key: env.sample_params(key).means))(keys(1)))
    targets = np.argmax(means[:, :4], axis=1)
    assert stats.chisquare(np.bincount(targets, minlength=4)).pvalue > 1e-4
    np.testing.assert_allclose(3 * means[:, 4], (targets + 1) / 4, rtol=1e-6)
    np.testing.assert_array_equal((means[:, :4] == 1).sum(axis=1), 1)


def test_wheel_contexts_fill_the_disc():
    env, params = arrays(jaxprice.make("WheelBandit"))
    x = np.asarray(starts(env)(keys(2), params)[1].context, float)
    assert np.all(x[:, 0] == 1) and x.shape == (DRAWS, 3)
    assert stats.kstest((x[:, 1:] ** 2).sum(axis=1), "uniform").pvalue > 1e-4
    assert stats.kstest(np.arctan2(x[:, 2], x[:, 1]) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("delta", [0.0, 0.6, 0.97])
def test_wheel_rewards(delta):
    """Every arm in every region; and the regret of a random arm, over contexts."""
    env, params = arrays(jaxprice.make("WheelBandit", delta=delta))
    state = starts(env)(keys(3), params)[1]
    arms = jnp.arange(5)
    each = jax.jit(jax.vmap(lambda s: jax.vmap(lambda arm: env.expected_reward(s, arm, params))(arms)))
    rewards = np.asarray(each(state), float)
    x, y = np.asarray(state.context[:, 1:], float).T
    rim, quadrant = np.hypot(x, y) >= delta, np.select([(x > 0) & (y > 0), (x > 0), (y > 0)], [1, 2, 3], 4)
    wanted = np.tile([1.2, 1, 1, 1, 1], (DRAWS, 1))
    wanted[rim, quadrant[rim]] = 50
    np.testing.assert_allclose(rewards, wanted, rtol=1e-5)
    best = np.asarray(jax.vmap(lambda s: env.optimal_action(s, params))(state))
    np.testing.assert_array_equal(best, np.where(rim, quadrant, 0))
    lost = (rewards.max(axis=1, keepdims=True) - rewards).mean(axis=1)
    assert abs(lost.mean() - wheel_bandit.uniform_regret(delta)) <= 4 * lost.std() / np.sqrt(DRAWS) + 1e-5


def test_wheel_noise():
    env, params = arrays(jaxprice.make("WheelBandit", delta=0.9, noise_scale=2.0, intercept=False))
    obs, state = jax.tree.map(lambda x: x[0], starts(env)(keys(4, 1), params))
    assert obs.shape == (5,) and env.problem(params).context_size == 2
    step = jax.jit(jax.vmap(lambda key: env.step_env(key, state, 0, params)[2]))
    assert stats.kstest(np.asarray(step(keys(5)), float), stats.norm(1.2, 2).cdf).pvalue > 1e-4


def table():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, (40, 5))
    values[:, 2] = 7
    return values, rng.integers(0, 3, 40)


def test_rows_are_drawn_evenly_and_pay_for_their_label():
    values, labels = table()
    env, params = arrays(jaxprice.make("LabelledRows", features=values, labels=labels, hit=0.9, miss=0.2))
    rows = np.asarray(params.rows)
    assert rows.shape == (40, 5) and env.num_arms == 3  # a constant, and the four features that vary
    np.testing.assert_allclose(rows[:, 1:].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose((rows[:, 1:] ** 2).sum(axis=1).mean(), 1, rtol=1e-5)
    state = starts(env)(keys(6), params)[1]
    distance = np.abs(np.asarray(state.context)[:, None] - rows[None]).sum(axis=2)
    assert distance.min(axis=1).max() == 0
    drawn = distance.argmin(axis=1)
    assert stats.chisquare(np.bincount(drawn, minlength=40)).pvalue > 1e-4
    np.testing.assert_array_equal(state.label, labels[drawn])
    step = jax.jit(jax.vmap(lambda key, s: env.step_env(key, s, 1, params), (0, 0)))
    _, after, reward, _, info = jax.device_get(step(keys(7), state))
    right = np.asarray(state.label) == 1
    for chosen, chance in ((right, 0.9), (~right, 0.2)):
        assert abs(np.mean(reward[chosen]) - chance) < 4 * np.sqrt(chance * (1 - chance) / chosen.sum())
        np.testing.assert_allclose(info["regret"][chosen], 0.9 - chance, atol=1e-6)
    assert stats.chisquare(np.bincount(np.asarray(after.label), minlength=3), np.bincount(labels) * DRAWS / 40).pvalue > 1e-4


def test_tables_drawn_have_centres():
    env, _ = jaxprice.make("LabelledRows")
    params = jax.jit(env.sample_params)(jax.random.key(3))
    rows, labels = np.asarray(params.rows)[:, 1:], np.asarray(params.labels)
    within = np.mean([rows[labels == k].var(axis=0) for k in range(3)])
    assert within == pytest.approx(labelled_rows.SPREAD**2 / 4, rel=0.15)
    assert rows.var(axis=0).mean() > 2 * within


@pytest.mark.parametrize(("name", "shape", "labels"), [("digits", (1797, 62), 10), ("breast_cancer", (569, 31), 2),
                                                       ("wine", (178, 14), 3)])  # fmt: skip
def test_tables_that_scikit_learn_ships(name, shape, labels):
    pytest.importorskip("sklearn")
    env, params = jaxprice.make("LabelledRows", data=name)
    assert params.rows.shape == shape and env.num_arms == labels == len(np.unique(params.labels))


def test_missing_scikit_learn_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'pip install "jaxprice\[benchmarks\]"'):
        jaxprice.make("LabelledRows", data="wine")


FEW = {"features": [[0.0, 1.0], [1.0, 0.0]], "labels": [0, 1]}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("InformativeBandit", {"num_arms": 2}, "num_arms must be an integer of at least 3, got 2"),
        ("InformativeBandit", {"target": 10}, "target must be an integer in .0, 9., got 10"),
        ("InformativeBandit", {"target": 1.0}, "target must be an integer"),
        ("InformativeBandit", {"prize": 1.0}, "prize must be above 1"),
        ("InformativeBandit", {"horizon": 0}, "horizon must be an integer of at least 1"),
        ("WheelBandit", {"delta": 1.5}, r"delta must be in \[0, 1\], got 1.5"),
        ("WheelBandit", {"safe": 0.5}, "low must be below safe and safe below high"),
        ("WheelBandit", {"high": 1.1}, "low must be below safe and safe below high"),
        ("WheelBandit", {"noise_scale": -1.0}, "noise_scale must be in"),
        ("LabelledRows", {"data": "mushroom"}, "unknown data 'mushroom'"),
        ("LabelledRows", {"features": [[1.0]]}, "features and labels make up a table together"),
        ("LabelledRows", {"data": "wine", **FEW}, "is a table of its own"),
        ("LabelledRows", {**FEW, "labels": [0]}, "labels must have shape .2."),
        ("LabelledRows", {**FEW, "labels": [0, -1]}, "labels must be in .0, inf."),
        ("LabelledRows", {**FEW, "num_arms": 1}, "num_arms must be above the largest label 1, got 1"),
        ("LabelledRows", {"hit": 0.2, "miss": 0.3}, "miss must be below hit"),
        ("LabelledRows", {"hit": 1.2}, r"hit must be in \[0, 1\]"),
    ],
)
def test_bad_input_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        jaxprice.make(name, **options)


def test_networks_tell_arms_of_one_price_apart():
    """By their number, with inputs (x, e_k); the price as an input says nothing where all arms have the same."""
    env, params = arrays(jaxprice.make("WheelBandit"))
    problem, obs = env.problem(params), np.float32([0, 50, 1, 1, 0.3, -0.4])

    @jax.jit
    def inputs(problem, obs):
        """Of all arms in either form, and of each arm by itself."""
        apart, alike = (
            policies.neural_ucb(form=form, memory=32).init(jax.random.key(0), problem).learned
            for form in features.INPUTS[::-1]
        )
        return apart.prices(obs), alike.prices(obs), jnp.stack([apart.form.of(obs[3:], arm) for arm in range(5)])

    apart, alike, single = jax.device_get(inputs(problem, obs))
    np.testing.assert_array_equal(apart, np.column_stack([np.tile(obs[3:], (5, 1)), np.eye(5)]))
    np.testing.assert_array_equal(single, apart)
    assert len(np.unique(alike, axis=0)) == 1 and alike.shape == (5, 4)
    for name in ("neural_linear", "neural_ucb", "neural_thompson"):
        with pytest.raises(ValueError, match="unknown form 'joint'"):
            policies.make(name, form="joint")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["neural_linear", "neural_ucb", "neural_thompson"])
def test_networks_learn_a_label(name):
    """Two clouds and three labels, of which one is never right: a network loses less than a fifth of what chance does."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 100)
    values = np.where(labels[:, None] == 1, 2.0, -2.0) + rng.normal(size=(100, 2))
    env, params = jaxprice.make("LabelledRows", features=values, labels=labels, num_arms=3)
    policy = policies.make(name, form="arms", memory=256)
    out = jaxprice.simulate(env, policy, lanes=10, horizon=500, params=params)
    assert out["lane_regret"].values.mean() < 500 * (2 / 3) / 5
