"""Deep learners against NumPy: running statistics, returns, gradient steps of PPO, PQN and DQN, ends of episodes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_worlds import ACTIONS, SIZE, Board, course, features, normed, shown, updates
from test_agents_formulas import Adam, log_softmax

import jaxprice
from jaxprice import agents, random
from jaxprice.agents import choices, dqn, lifetimes, ppo, pqn, replay, running, worlds
from jaxprice.agents.inputs import Output

LANES, LENGTH = 6, 8
SHARES = (0.3, 0.7)
COMMON = {"learning_rate": 0.05, "discount": 0.8, "decay": 0.1, "warm_up": 0.2}


def test_running_statistics_are_those_of_all_numbers():
    rng, seen = np.random.default_rng(0), np.zeros((0, 2))
    stats, add = running.start((2,)), jax.jit(running.add)
    for size in (1, 5, 5, 300, 5, 1, 1000):
        batch = rng.normal(size=(size, 2)) * [3.0, 0.01] + [1000.0, 0.0]
        seen = np.concatenate([seen, batch])
        stats = add(stats, jnp.float32(batch))
        np.testing.assert_allclose(stats.mean, seen.mean(axis=0), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(stats.variance, seen.var(axis=0), rtol=2e-3)
    assert stats.count == len(seen)
    old = dataclasses.replace(stats, count=jnp.float32(running.LONGEST))
    moved = add(old, jnp.full((2**12, 2), 2000.0))
    assert moved.count == running.LONGEST and np.all(moved.mean > old.mean)  # it still learns


def test_the_scale_of_rewards_against_a_loop():
    rng, discount, lanes = np.random.default_rng(1), 0.9, 3
    scale, sums, seen = running.start_rewards(lanes), np.zeros(lanes), []
    assert scale.scale == 1
    for _ in range(4):
        rewards, done = rng.normal(2.0, 1.0, (5, lanes)), rng.random((5, lanes)) < 0.3
        scale = running.add_rewards(scale, jnp.float32(rewards), jnp.asarray(done), discount)
        for t in range(5):
            sums = discount * sums + rewards[t]
            seen.append(sums)
            sums = np.where(done[t], 0.0, sums)
        np.testing.assert_allclose(scale.scale, np.mean(np.square(seen)) ** 0.5, rtol=1e-5)
        np.testing.assert_allclose(scale.sums, sums, rtol=1e-5, atol=1e-6)
    constant = running.add_rewards(running.start_rewards(1), jnp.full((4, 1), 3.0), jnp.ones((4, 1), bool), discount)
    np.testing.assert_allclose(constant.scale, 3.0, rtol=1e-5)
    nothing = running.add_rewards(running.start_rewards(1), jnp.zeros((4, 1)), jnp.ones((4, 1), bool), discount)
    assert nothing.scale == 1


def loop_of_returns(rewards, values, done, discount, trace):
    """The definition, backwards, one lane after another."""
    out = np.zeros(rewards.shape)
    for lane in range(rewards.shape[1]):
        later = values[-1, lane]
        for t in reversed(range(len(rewards))):
            value = values[t, lane]
            ahead = value if done[t, lane] else (1 - trace) * value + trace * later
            out[t, lane] = later = rewards[t, lane] + discount * ahead
    return out


@pytest.mark.parametrize("trace", [0.0, 0.4, 1.0])
def test_returns_with_traces(trace):
    rng = np.random.default_rng(2)
    rewards, values = rng.normal(size=(2, 9, 4))
    terminated, truncated = rng.random((2, 9, 4)) < 0.2
    values, done = np.where(terminated, 0.0, values), terminated | truncated
    found = choices.returns(jnp.float32(rewards), jnp.float32(values), jnp.asarray(done), 0.7, trace)
    np.testing.assert_allclose(found, loop_of_returns(rewards, values, done, 0.7, trace), rtol=1e-5, atol=1e-5)
    if trace == 0:
        np.testing.assert_allclose(found, rewards + 0.7 * values, rtol=1e-5, atol=1e-6)
    if trace == 1:  # discounted rewards to the end of the episode or of the record, and the value of what follows
        for lane in range(4):
            for t in range(9):
                end = next((k for k in range(t, 9) if done[k, lane]), 8)
                total = sum(0.7 ** (k - t) * rewards[k, lane] for k in range(t, end + 1))
                total += 0.7 ** (end + 1 - t) * values[end, lane]
                np.testing.assert_allclose(found[t, lane], total, rtol=1e-4, atol=1e-5)


def check_record(record):
    """The record tells the table: rewards, ends, and what the action led to."""
    board = Board()
    place = np.argmin(np.abs(record.token[..., None, :] - board.features).sum(axis=-1), axis=-1)
    np.testing.assert_array_equal(record.step.reward, board.pays[place, record.action])
    led = board.leads[place, record.action]
    np.testing.assert_array_equal(record.step.last, board.features[led])
    np.testing.assert_array_equal(record.step.terminated, board.ends[led] == 1)
    np.testing.assert_array_equal(record.step.truncated, board.ends[led] == 2)
    np.testing.assert_array_equal(record.token[1:], record.step.token[:-1])
    ended = record.step.terminated | record.step.truncated
    np.testing.assert_array_equal(record.fresh[1:], ended[:-1])
    assert not np.any(np.all(record.step.token == record.step.last, axis=-1) & ended)
    return ended


def level_and_scale(records, discount, normalise=True, centred=False):
    """What is subtracted from rewards, and what they are divided by, from all records so far, in a plain loop."""
    sums, seen, level = np.zeros(LANES), [], 0.0
    for k, record in enumerate(records):
        level = np.mean([one.step.reward for one in records[: k + 1]]) if centred else 0.0
        for t in range(LENGTH):
            sums = discount * sums + record.step.reward[t] - level
            seen.append(sums)
            sums = np.where(record.step.terminated[t] | record.step.truncated[t], 0.0, sums)
    return level, np.mean(np.square(seen)) ** 0.5 if normalise else 1.0


def parts_of(state, epochs, minibatches, recurrent, seed=5):
    """Places of each minibatch, from the address of the update."""
    key = random.address(lifetimes.streams(jnp.uint32(seed))["update"], state.update, 0)
    count = LANES if recurrent else LANES * LENGTH
    for one in jax.random.split(key, epochs):
        yield from np.asarray(jax.random.permutation(one, count)).reshape(minibatches, -1)


def picked(array, part, recurrent):
    return array[:, part].reshape(-1, *array.shape[2:]) if recurrent else array.reshape(-1, *array.shape[2:])[part]


def test_a_step_of_ppo_without_memory():
    check_ppo(memory=False, normalise=True)


@pytest.mark.parametrize("normalise", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_step_of_ppo_with_memory(normalise):
    check_ppo(memory=True, normalise=normalise)


def check_ppo(memory, normalise):
    """Two updates; minibatches are of periods, or of lanes where there is a memory, which goes on between updates."""
    hyper = ppo.Hyper(**COMMON, entropy=0.3, clip=0.1, trace=0.6, value_weight=1.7)
    learner = ppo.PPO(epochs=2, minibatches=3)
    ours, records = None, []
    for share, (state, record, after, metrics) in zip(
        SHARES, updates(course(learner, LANES, LENGTH, memory, 0.5, normalise), hyper, SHARES), strict=True
    ):
        ours = Adam(state.weights["params"], 0.5) if ours is None else ours
        ended = check_record(record)
        records.append(record)
        rewards = record.step.reward / level_and_scale(records, hyper.discount, normalise)[1]
        ahead = np.where(record.step.terminated, 0.0, record.ahead.value)
        returns = loop_of_returns(rewards, ahead, ended, hyper.discount, hyper.trace)
        hot = np.eye(ACTIONS)[record.action]
        old = np.sum(log_softmax(record.output.logits.astype(float)) * hot, axis=-1)
        arrays = {"x": features(state, record, after, memory), "hot": hot, "old": old}
        arrays |= {"returns": returns, "advantage": returns - record.output.value}
        told = []
        for part in parts_of(state, 2, 3, memory):
            one = {name: picked(array, part, memory) for name, array in arrays.items()}
            losses, gradient = ppo_loss(ours.weights, one, hyper, share)
            ours.step(gradient, hyper, share)
            told.append(losses)
        ours.check(shown(after))
        for name in told[0]:
            np.testing.assert_allclose(metrics[name], np.mean([one[name] for one in told]), rtol=1e-3)
        np.testing.assert_allclose(metrics["reward"], record.step.reward.mean(), rtol=1e-4)


def ppo_loss(weights, one, hyper, share):
    """Loss of a minibatch, its parts, and its gradient."""
    x, hot, n = one["x"], one["hot"], len(one["x"])
    log_probs = log_softmax(x @ weights["logits"])
    probs, entropies = np.exp(log_probs), -np.sum(np.exp(log_probs) * log_probs, axis=-1)
    ratio = np.exp(np.sum(log_probs * hot, axis=-1) - one["old"])
    advantage = (one["advantage"] - one["advantage"].mean()) / (one["advantage"].std() + 1e-8)
    cut = np.clip(ratio, 1 - hyper.clip, 1 + hyper.clip)
    holds = ratio * advantage <= cut * advantage
    bonus, errors = hyper.entropy * (1 - share), x @ weights["value"] - one["returns"]
    gain = np.where(holds, ratio, cut) * advantage
    total = -gain.mean() + hyper.value_weight * np.mean(errors**2) - bonus * entropies.mean()
    of_logits = -(holds * ratio * advantage)[:, None] * (hot - probs)
    of_logits += bonus * probs * (log_probs + entropies[:, None])
    gradient = {"logits": x.T @ of_logits / n, "value": hyper.value_weight * 2 * x.T @ errors / n}
    return {"loss": total, "value_loss": np.mean(errors**2), "entropy": entropies.mean()}, gradient


@pytest.mark.parametrize("memory", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_step_of_pqn(memory):
    hyper = pqn.Hyper(**COMMON, trace=0.6, epsilon=0.1, explore=0.5)
    ours, records = None, []
    for share, (state, record, after, metrics) in zip(
        SHARES, updates(course(pqn.PQN(2, 3), LANES, LENGTH, memory, centred=True), hyper, SHARES), strict=True
    ):
        ours = Adam(state.weights["params"], 100.0) if ours is None else ours
        ended = check_record(record)
        records.append(record)
        ahead = np.where(record.step.terminated, 0.0, record.ahead.logits.max(axis=-1))
        level, scale = level_and_scale(records, hyper.discount, centred=True)
        rewards = (record.step.reward - level) / scale
        arrays = {"returns": loop_of_returns(rewards, ahead, ended, hyper.discount, hyper.trace)}
        arrays |= {"x": features(state, record, after, memory), "hot": np.eye(ACTIONS)[record.action]}
        losses = []
        for part in parts_of(state, 2, 3, memory):
            one = {name: picked(array, part, memory) for name, array in arrays.items()}
            errors = np.sum(one["x"] @ ours.weights["logits"] * one["hot"], axis=-1) - one["returns"]
            losses.append(0.5 * np.mean(errors**2))
            of_logits = one["x"].T @ (errors[:, None] * one["hot"]) / len(errors)
            ours.step({"logits": of_logits, "value": np.zeros(SIZE)}, hyper, share)
        ours.check(shown(after))
        np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-3)


SAMPLE = jax.jit(replay.sample, static_argnames=("size", "n_step"))
SWITCHES = {
    "plain": {"double": False, "prioritised": False, "n_step": 1},
    "double": {"double": True, "prioritised": False, "n_step": 1},
    "steps and priorities": {"double": False, "prioritised": True, "n_step": 3},
}


@pytest.mark.parametrize("case", ["plain", "double", "steps and priorities"])
def test_a_step_of_dqn(case):
    """One switch at a time; the batches are those of `replay.sample`, which has tests of its own.

    Rewards are centred where returns have several steps: a return then loses a level for each of them."""
    hyper = dqn.Hyper(**COMMON | {"learning_rate": 0.4}, epsilon=0.1, explore=0.5, tau=0.1, alpha=0.7, beta=0.2)
    learner = dqn.DQN(rows=20, batch=16, gradient_steps=2, **SWITCHES[case])
    ours, ring, records = None, None, []
    differs, centred = 0, learner.n_step > 1
    board = course(learner, LANES, LENGTH, centred=centred)
    for share, (state, record, after, metrics) in zip(SHARES, updates(board, hyper, SHARES), strict=True):
        if ours is None:
            ours, ring = Adam(state.weights["params"], 100.0), state.rest.replay
            target = {name: np.asarray(w, float) for name, w in state.weights["params"].items()}
        check_record(record)
        records.append(record)
        level, scale = level_and_scale(records, hyper.discount, centred=centred)
        ring, losses = replay.write(ring, jax.tree.map(jnp.asarray, record), learner.n_step), []
        stats = {name: np.asarray(x, float) for name, x in after.weights["stats"]["normal"].items()}
        beta = hyper.beta + (1 - hyper.beta) * share if learner.prioritised else None
        key = random.address(lifetimes.streams(jnp.uint32(5))["update"], state.update, 0)
        for one in jax.random.split(key, 2):
            batch = SAMPLE(ring, one, size=16, n_step=learner.n_step, discount=hyper.discount, beta=beta, level=level)
            x, y = (normed(np.asarray(token, float), **stats) for token in (batch.token, batch.last))
            by = ours.weights if learner.double else target
            best = np.argmax(y @ by["logits"], axis=-1)
            differs += np.sum(best != np.argmax(y @ target["logits"], axis=-1))
            wanted = np.asarray(batch.reward) / scale + batch.factor * (y @ target["logits"])[np.arange(16), best]
            error = wanted - (x @ ours.weights["logits"])[np.arange(16), batch.action]
            huber = np.where(np.abs(error) < 1, error**2 / 2, np.abs(error) - 0.5)
            losses.append(np.mean(batch.weight * huber))
            slope = np.asarray(batch.weight) * np.clip(error, -1, 1)
            of_logits = -x.T @ (slope[:, None] * np.eye(ACTIONS)[np.asarray(batch.action)]) / 16
            ours.step({"logits": of_logits, "value": np.zeros(SIZE)}, hyper, share)
            target = {name: w + hyper.tau * (ours.weights[name] - w) for name, w in target.items()}
            if learner.prioritised:
                ring = replay.set_priorities(ring, batch.place, jnp.float32(error), hyper.alpha)
        ours.check(shown(after))
        np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-3)
        for name in target:
            np.testing.assert_allclose(after.rest.target[name], target[name], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(after.rest.replay.mass, ring.mass, rtol=1e-3, atol=2e-4)
        assert np.any(np.asarray(batch.weight) != 1) == learner.prioritised
    assert (differs > 0) == learner.double  # otherwise the switch would not show


def test_dueling_values_are_the_value_of_the_state_and_advantages():
    token = jnp.arange(3.0)
    net = agents.networks.make("mlp", actions=4, size=5, layers=1, dueling=True)
    weights = net.init(jax.random.key(0), token, method="first")
    weights = jax.tree.map(lambda w: w + 0.3, weights)
    plain = agents.networks.make("mlp", actions=4, size=5, layers=1)
    one, other = (n.apply(weights, (), token, method="decide")[1] for n in (net, plain))
    np.testing.assert_allclose(one.logits, other.value + other.logits - other.logits.mean(), rtol=1e-5)


def test_random_actions_while_it_learns():
    """With a probability that falls from 1 to epsilon over the first part of the updates, every action is as likely."""
    hyper, output = dqn.Hyper(epsilon=0.1, explore=0.4), Output(jnp.array([0.0, 2.0, 1.0]), None)
    board, n = course(dqn.DQN(), 1, 1), 4000
    keys = jax.random.split(jax.random.key(0), n)
    for share, chance in ((0.0, 1.0), (0.2, 0.55), (0.4, 0.1), (0.9, 0.1)):
        actions = jax.vmap(lambda key, s=share: board.learner.choose(board, key, output, hyper, s))(keys)
        wanted = chance / 3 + np.array([0, 1 - chance, 0])
        shares = np.bincount(actions, minlength=3) / n
        assert np.all(np.abs(shares - wanted) < 4.5 * (wanted * (1 - wanted) / n) ** 0.5)
    assert board.learner.greedy(board, output) == 1


def test_episodes_of_markets_begin_anew():
    """A season terminates and its next token is a first one; `last` is the token that the action led to."""
    env, params = jaxprice.make("FiniteInventory", horizon=3, stock=10)
    world = worlds.make(env, params)
    state, token = world.reset(jax.random.key(0))
    np.testing.assert_allclose(token[:2], [1, 0])  # first period, no time has passed
    step = jax.jit(world.step)
    for time in range(1, 7):
        state, now = step(*jax.random.split(jax.random.key(time)), state, jnp.int32(0))
        assert now.terminated == now.done == (time % 3 == 0) and not now.truncated
        np.testing.assert_allclose(now.last[:2], [0, ((time - 1) % 3 + 1) / 3], rtol=1e-6)
        np.testing.assert_allclose(now.token[:2], [1, 0] if now.done else now.last[:2])
        if not now.done:
            np.testing.assert_array_equal(now.token, now.last)
        assert now.best >= now.earned - 1e-5


def test_markets_without_a_season_are_truncated():
    env, params = jaxprice.make("Replenishment")
    assert env.endless
    world = worlds.make(env, params, horizon=2)
    state, token = world.reset(jax.random.key(0))
    for time in (1, 2, 3):
        state, now = world.step(*jax.random.split(jax.random.key(time)), state, jnp.int32(0))
        assert now.truncated == now.done == (time == 2) and not now.terminated
    assert token.shape == now.last.shape and not world.fed.time
