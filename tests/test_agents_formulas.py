"""Formulas of training against NumPy: steps of the optimiser, whole updates of PPO, A2C and imitation, the held-out score.

A table of linear features replaces network and market, so that every gradient can be written down.
"""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import agents, policies
from jaxprice.agents import imitation, learning, lifetimes, networks, rl2
from jaxprice.agents.inputs import Output
from jaxprice.envs.bernoulli_bandit import BernoulliBandit

T, ACTIONS, FEATURES, LANES = 5, 3, 4, 8
BANDIT = BernoulliBandit(num_arms=ACTIONS)
HYPER = agents.Hyper(
    learning_rate=0.07, entropy=0.3, clip=0.2, trace=0.9, discount=0.8, value_weight=1.7, decay=0.3, warm_up=0.25
)


def rate(hyper, share):
    """Of learning, when `share` of the updates are done: a linear start, then a cosine from the peak to 5 % of it."""
    cosine = 0.05 + 0.95 * (1 + np.cos(np.pi * share)) / 2
    return hyper.learning_rate * cosine * min(1.0, (share + 1e-3) / max(hyper.warm_up, 1e-3))


class Adam:
    """The optimiser in NumPy: D. P. Kingma, J. Ba (2015), arXiv:1412.6980, with decoupled weight decay as I. Loshchilov,
    F. Hutter (2019), arXiv:1711.05101, and gradients cut to a norm."""

    def __init__(self, weights, clip_norm):
        self.weights = {name: np.asarray(w, float) for name, w in weights.items()}
        self.first, self.second = ({name: np.zeros_like(w) for name, w in self.weights.items()} for _ in range(2))
        self.clip_norm, self.count = clip_norm, 0

    def step(self, gradient, hyper, share):
        self.count += 1
        norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
        for name, g in gradient.items():
            g = g * min(1.0, self.clip_norm / norm)
            self.first[name] = 0.9 * self.first[name] + 0.1 * g
            self.second[name] = 0.999 * self.second[name] + 0.001 * g**2
            mean = self.first[name] / (1 - 0.9**self.count)
            spread = np.sqrt(self.second[name] / (1 - 0.999**self.count))
            w = self.weights[name]
            self.weights[name] = w - rate(hyper, share) * (mean / (spread + 1e-6) + hyper.decay * w)

    def check(self, state):
        """The weights, and the moments in the optimiser's state, which tell the scale of the gradients too."""
        moments = state.optimiser[1]
        for name in self.weights:
            np.testing.assert_allclose(state.weights[name], self.weights[name], rtol=2e-4, atol=2e-5)
            np.testing.assert_allclose(moments.mu[name], self.first[name], rtol=2e-4, atol=2e-6)
            np.testing.assert_allclose(moments.nu[name], self.second[name], rtol=4e-4, atol=2e-8)


@pytest.mark.parametrize("warm_up", [0.0, 0.25])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.6, 1.0])
def test_steps_of_the_optimiser(share, warm_up):
    """Gradients above and below the norm at which they are cut, some as small as what is added under the quotient."""
    rng, hyper = np.random.default_rng(0), dataclasses.replace(HYPER, warm_up=warm_up)
    weights = {"a": jnp.float32(rng.normal(size=(2, 3))), "b": jnp.float32(rng.normal(size=2))}
    ours, optimiser = Adam(weights, 0.5), learning.adam(0.5)
    state = learning.State(weights, optimiser.init(weights), jnp.int32(0))
    for scale in (0.1, 3.0, 0.05):
        gradient = {name: scale * rng.normal(size=w.shape) for name, w in weights.items()}
        gradient["b"][1] = 1e-6 * scale
        ours.step(gradient, hyper, share)
        state = learning.descend(optimiser, state, jax.tree.map(jnp.float32, gradient), hyper, jnp.float32(share))
    ours.check(state)
    assert state.update == 0


def test_the_rate_of_learning_starts_rises_and_ends_as_told():
    still = agents.Hyper(learning_rate=1.0, decay=1.0, warm_up=0.2)
    optimiser = learning.adam(1.0)
    state = learning.State({"w": jnp.float32(1)}, optimiser.init({"w": jnp.float32(1)}), jnp.int32(0))
    none = {"w": jnp.float32(0)}  # without a gradient, a weight of one loses the rate
    lost = [1 - learning.descend(optimiser, state, none, still, jnp.float32(s)).weights["w"] for s in (0, 0.1, 0.2, 0.5, 1)]
    cosine = 0.05 + 0.95 * (1 + np.cos(np.pi * np.array([0, 0.1, 0.2]))) / 2
    np.testing.assert_allclose(lost[:3], cosine * [0.005, 0.505, 1], rtol=1e-5)
    np.testing.assert_allclose(lost[3:], [0.525, 0.05], rtol=1e-5)


class Table:
    """Stands in for `lifetimes.Play`: what lane n lives through is a row of arrays; logits and values are linear."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.horizon = T
        self.seen = rng.normal(size=(LANES, T, FEATURES))
        self.action, self.label = rng.integers(0, ACTIONS, (2, LANES, T))
        self.reward, self.value = rng.random((2, LANES, T))
        self.weights = {"logits": 0.5 * rng.normal(size=(FEATURES, ACTIONS)), "value": 0.5 * rng.normal(size=FEATURES)}
        likely = (self.seen @ self.weights["logits"]).argmax(axis=-1)
        self.label = np.where(rng.random((LANES, T)) < 0.6, likely, self.label)  # which the agent holds for the best too
        played = np.take_along_axis(log_softmax(self.seen @ self.weights["logits"]), self.action[..., None], -1)[..., 0]
        self.log_prob = played + rng.uniform(-0.6, 0.6, (LANES, T))  # ratios beyond the clip on either side

    def live(self, weights, streams, number):
        lives = lifetimes.Lifetime(*[None] * 9)
        scale = 1 + weights["value"][0]  # who lives longer learns to see otherwise, with no gradient
        arrays = {"reward": self.reward, "value": self.value, "log_prob": self.log_prob, "seen": self.seen}
        lives = lives.replace(**{name: jnp.asarray(array, jnp.float32)[number] for name, array in arrays.items()})
        lives = lives.replace(**{name: jnp.asarray(getattr(self, name))[number] for name in ("action", "label")})
        return lives.replace(seen=lives.seen * scale)

    def says(self, weights, lives):
        return Output(lives.seen @ weights["logits"], lives.seen @ weights["value"])

    def state(self, clip_norm):
        weights = jax.tree.map(jnp.float32, self.weights)
        return learning.State(weights, learning.adam(clip_norm).init(weights), jnp.int32(0))


def updated(learn, table, state, hyper, minibatches, share, clip_norm):
    """One update on one device: `(state, metrics)`."""
    training = SimpleNamespace(play=table, clip_norm=clip_norm)
    lanes = jnp.arange(LANES, dtype=jnp.uint32).reshape(minibatches, -1)
    spec, mesh = jax.sharding.PartitionSpec(), jaxprice.devices.mesh(1)

    def one(state, lanes):
        return learn(training, state, hyper, None, lanes, jnp.float32(share))

    return jax.jit(jax.shard_map(one, mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=False))(state, lanes)


def log_softmax(logits):
    return logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))


def estimates(table, hyper):
    """Advantages and returns, as the sums that they are."""
    centred, values = table.reward - table.reward.mean(), table.value * T
    raw = np.zeros((LANES, T))
    for t in range(T):
        for i in range(t, T):
            later = values[:, i + 1] if i + 1 < T else 0.0
            error = centred[:, i] + hyper.discount * later - values[:, i]
            raw[:, t] += (hyper.discount * hyper.trace) ** (i - t) * error
    level = raw - raw.mean(axis=0)
    return level / np.sqrt(np.mean(level**2)), raw + values


def ppo(weights, x, part, table, advantage, returns, hyper, share):
    """Loss of a minibatch, its parts, and its gradient."""
    log_probs, n = log_softmax(x @ weights["logits"]), part.size * T
    probs, hot = np.exp(log_probs), np.eye(ACTIONS)[table.action[part]]
    ratio = np.exp(np.sum(log_probs * hot, axis=-1) - table.log_prob[part])
    cut = np.minimum(np.maximum(ratio, 1 - hyper.clip), 1 + hyper.clip)
    worse = ratio * advantage <= cut * advantage  # where the cut does not hold back
    gain = np.where(worse, ratio, cut) * advantage
    entropies, bonus = -np.sum(probs * log_probs, axis=-1), hyper.entropy * (1 - share)
    errors = x @ weights["value"] - returns / T
    total = -gain.mean() + hyper.value_weight * np.mean(errors**2) - bonus * entropies.mean()
    of_logits = -(worse * ratio * advantage)[..., None] * (hot - probs)
    of_logits += bonus * probs * (log_probs + entropies[..., None])
    gradient = {
        "logits": np.einsum("ltf,lta->fa", x, of_logits) / n,
        "value": hyper.value_weight * 2 * np.einsum("ltf,lt->f", x, errors) / n,
    }
    beyond = [(ratio < 1 - hyper.clip) & (advantage < 0), (ratio > 1 + hyper.clip) & (advantage > 0)]
    assert all(np.any(side) for side in beyond) and np.any(worse & (np.abs(ratio - 1) > hyper.clip))
    return {"loss": total, "value_loss": np.mean(errors**2), "entropy": entropies.mean()}, gradient


@pytest.mark.parametrize(("kind", "passes", "minibatches"), [("ppo", 2, 2), ("a2c", 1, 1)])
@pytest.mark.parametrize("clip_norm", [0.1, 100.0])
def test_an_update_of_ppo(kind, passes, minibatches, clip_norm):
    learn, share, table = rl2.PPO() if kind == "ppo" else rl2.a2c(), 0.3, Table()
    state, metrics = updated(learn, table, table.state(clip_norm), HYPER, minibatches, share, clip_norm)
    ours, told = Adam(table.weights, clip_norm), []
    advantage, returns = estimates(table, HYPER)
    x = table.seen * (1 + table.weights["value"][0])  # lived with the first weights
    for _ in range(passes):
        for part in np.arange(LANES).reshape(minibatches, -1):
            losses, gradient = ppo(ours.weights, x[part], part, table, advantage[part], returns[part], HYPER, share)
            ours.step(gradient, HYPER, share)
            told.append(losses)
    ours.check(state)
    for name in told[0]:
        np.testing.assert_allclose(metrics[name], np.mean([one[name] for one in told]), rtol=1e-4)
    np.testing.assert_allclose(metrics["reward"], table.reward.sum(axis=1).mean(), rtol=1e-5)
    assert state.update == 0


def test_advantages_of_lifetimes_that_are_all_alike_are_zero():
    table = Table()
    table.reward, table.value = np.ones((LANES, T)), np.zeros((LANES, T))
    _, metrics = updated(rl2.PPO(), table, table.state(1.0), HYPER, 2, 0.0, 1.0)
    assert all(np.all(np.isfinite(x)) for x in metrics.values())


@pytest.mark.parametrize("minibatches", [1, 2])
def test_an_update_of_imitation(minibatches):
    """Every minibatch is lived with the weights of the moment, and learned with no gradient through how it was lived."""
    table, share = Table(), 0.4
    state, metrics = updated(imitation.CrossEntropy(), table, table.state(0.2), HYPER, minibatches, share, 0.2)
    ours, told = Adam(table.weights, 0.2), []
    for part in np.arange(LANES).reshape(minibatches, -1):
        x = table.seen[part] * (1 + ours.weights["value"][0])
        log_probs, hot = log_softmax(x @ ours.weights["logits"]), np.eye(ACTIONS)[table.label[part]]
        error, agrees = -np.sum(hot * log_probs, axis=-1).mean(), np.mean(log_probs.argmax(axis=-1) == table.label[part])
        told.append((error, agrees))
        of_logits = np.einsum("ltf,lta->fa", x, np.exp(log_probs) - hot) / part.size / T
        ours.step({"logits": of_logits, "value": np.zeros(FEATURES)}, HYPER, share)
    ours.check(state)
    np.testing.assert_allclose([metrics["loss"], metrics["agreement"]], np.mean(told, axis=0), rtol=1e-4)


def test_what_train_asks_for(monkeypatch):
    """Defaults: two passes over four minibatches and the clip of PPO, one pass over the whole for A2C."""
    asked = []
    monkeypatch.setattr(learning, "run", lambda *args, **options: asked.append((*args, options)))
    net = networks.make("none", actions=ACTIONS, size=4)
    for algorithm in ("ppo", "a2c"):
        rl2.train(BANDIT, net, horizon=T, updates=3, algorithm=algorithm, return_reward="mean")
    imitation.train(BANDIT, net, policies.gittins(horizon=T), horizon=T, updates=3, seeds=5)
    imitation.train(BANDIT, net, policies.oracle(), actor=policies.thompson(), horizon=T, updates=3)
    told = [(one[0].lanes, one[0].minibatches, one[0].clip_norm, one[1], one[3:]) for one in asked]
    assert told == [
        (256, 4, 0.5, rl2.PPO(epochs=2), (0, 3, {"judge": "argmax"})),
        (256, 1, 0.5, rl2.PPO(epochs=1), (0, 3, {"judge": "argmax"})),
        (64, 1, 1.0, imitation.CrossEntropy(), (5, 3, {"judge": "argmax"})),
        (64, 1, 1.0, imitation.CrossEntropy(), (0, 3, {"judge": "sample"})),
    ]
    gentle = agents.Hyper(learning_rate=2e-3, decay=1e-4, warm_up=0.1)
    assert [one[2] for one in asked] == [agents.Hyper(), agents.Hyper(), gentle, gentle]
    assert all(one[0].play.deploy == "sample" for one in asked)
    assert (asked[3][0].play.actor, asked[3][0].play.teacher) == (policies.thompson(), policies.oracle())


def test_updates_lanes_and_the_score():
    """Lane numbers go on from update to update, the share of updates done goes from 0; the score is on markets held out."""

    def learn(training, state, hyper, streams, lanes, share):
        metrics = {"loss": share, "first": lanes[0, 0], "last": lanes[-1, -1], "seed": streams["market"].sum()}
        return state, jax.tree.map(jnp.float32, metrics)

    net, seeds, held_out = networks.make("none", actions=ACTIONS, size=4), [3, 4], 16
    play = lifetimes.Play(BANDIT, net, T)
    options = {"chunk": 1, "held_out": held_out, "devices": 1, "judge": "argmax"}
    weights, curve = learning.run(learning.Training(play, 6, 2), learn, HYPER, seeds, 3, **options)
    np.testing.assert_allclose(curve["loss"][:, 0], [0, 1 / 3, 2 / 3], rtol=1e-6)
    np.testing.assert_array_equal(curve["first"][:, 1], [0, 6, 12])
    np.testing.assert_array_equal(curve["last"][:, 1], [5, 11, 17])
    np.testing.assert_array_equal(curve["update"], [[1, 1], [2, 2], [3, 3]])
    for run, seed in enumerate(seeds):
        np.testing.assert_allclose(curve["seed"][0, run], float(lifetimes.streams(seed)["market"].sum()), rtol=1e-6)
        live = jax.vmap(dataclasses.replace(play, deploy="argmax").live, (None, None, 0))
        lives = live(agents.one(weights, run), lifetimes.streams(2**32 - 1 - seed), jnp.arange(held_out, dtype=jnp.uint32))
        earned, best = np.mean(lives.expected), np.mean(lives.optimal)
        np.testing.assert_allclose(curve["held_out"][-1, run], earned / best, rtol=1e-5)
        np.testing.assert_allclose(curve["held_out_regret"][-1, run], best - earned, rtol=1e-4)
