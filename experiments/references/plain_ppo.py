"""PPO with a recurrent network in the style of single-file baselines: the reference for the throughput of training.

One scan over time with a cell inside, once for acting and again for every gradient; keys split at every step in every lane;
an embedding, the cell, and separate hidden layers for actor and critic; lifetimes shuffled in every epoch. The inputs are
those of RL^2: last action, last reward, whether the episode began. The cell is flax's GRU, or a step of one of our networks.
A transformer has no cell: it keeps all tokens of the lifetime and attends to them anew in every period, and learns from all
periods at once.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxprice.agents import cores


class Cell(nn.Module):
    """One step of the network for one lane: `(carry, x) -> (carry, (logits, value))`."""

    actions: int
    size: int
    core: str = "gru"

    @nn.compact
    def __call__(self, carry, x):
        embedded = nn.relu(nn.Dense(self.size)(x))
        if self.core == "gru":
            carry, hidden = nn.GRUCell(self.size)(carry, embedded)
        else:
            carry, hidden = cores.CORES[self.core](self.size).step(carry, embedded)
        logits = nn.Dense(self.actions)(nn.relu(nn.Dense(self.size)(hidden)))
        value = nn.Dense(1)(nn.relu(nn.Dense(self.size)(hidden)))
        return carry, (logits, value[..., 0])


class Attention(nn.Module):
    """A transformer over all tokens `[T, D]` of a lifetime of one lane: `(logits [T, actions], values [T])`."""

    actions: int
    size: int

    @nn.compact
    def __call__(self, x):
        hidden = cores.Transformer(self.size, longest=x.shape[0]).apply_sequence(nn.relu(nn.Dense(self.size)(x)))
        logits = nn.Dense(self.actions)(nn.relu(nn.Dense(self.size)(hidden)))
        return logits, nn.Dense(1)(nn.relu(nn.Dense(self.size)(hidden)))[..., 0]


class PlainPPO:
    """Training on Bernoulli arms with uniform means.

    Args:
      arms, horizon: size of the bandit.
      lanes, minibatches, epochs: settings of an update.
      size: number of units of every layer.
      core: "gru" is flax's cell; others are those of `cores`.
    """

    def __init__(self, arms, horizon, lanes, minibatches=4, epochs=2, size=64, core="gru"):
        self.arms, self.horizon, self.lanes, self.size = arms, horizon, lanes, size
        self.minibatches, self.epochs = minibatches, epochs
        self.whole = core == "transformer"
        self.cell = Attention(arms, size) if self.whole else Cell(arms, size, core)
        if self.whole:
            self.memory = jnp.int32(0), jnp.zeros((horizon, arms + 2))
        else:
            self.memory = jnp.zeros(size) if core == "gru" else cores.CORES[core](size).start()
        self.optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3, eps=1e-5))

    def start(self, key):
        """`(weights, state of the optimiser, key)`."""
        token = jnp.zeros(self.arms + 2)
        weights = self.cell.init(key, self.memory[1]) if self.whole else self.cell.init(key, self.memory, token)
        return weights, self.optimiser.init(weights), key

    def step(self, weights, memory, x):
        """One step of every lane."""
        if self.whole:

            def attend(memory, x):
                time, tokens = memory
                tokens = tokens.at[time].set(x)
                logits, value = self.cell.apply(weights, tokens)
                return (time + 1, tokens), (logits[time], value[time])

            return jax.vmap(attend)(memory, x)
        return jax.vmap(lambda memory, x: self.cell.apply(weights, memory, x))(memory, x)

    def fresh(self, lanes):
        """Memory before the first period."""
        return jax.tree.map(lambda leaf: jnp.zeros((lanes, *leaf.shape), leaf.dtype), self.memory)

    def act(self, weights, key):
        """Lifetimes: `(inputs, actions, log-probabilities, values, rewards)`, `[T, lanes, ...]`."""
        key, of_means = jax.random.split(key)
        means = jax.random.uniform(of_means, (self.lanes, self.arms))

        def period(carry, time):
            hidden, action, reward, keys = carry
            keys, of_action, of_reward = jax.vmap(lambda k: tuple(jax.random.split(k, 3)))(keys)
            first = jnp.full((self.lanes, 1), time == 0, jnp.float32)
            hot = jax.nn.one_hot(action, self.arms) * (1 - first)
            x = jnp.concatenate([hot, reward[:, None], first], axis=-1)
            hidden, (logits, value) = self.step(weights, hidden, x)
            action = jax.vmap(jax.random.categorical)(of_action, logits)
            log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], -1)[:, 0]
            chance = jnp.take_along_axis(means, action[:, None], -1)[:, 0]
            reward = (jax.vmap(jax.random.uniform)(of_reward) < chance).astype(jnp.float32)
            return (hidden, action, reward, keys), (x, action, log_prob, value, reward)

        keys = jax.random.split(key, self.lanes)
        start = self.fresh(self.lanes), jnp.zeros(self.lanes, jnp.int32), jnp.zeros(self.lanes), keys
        return jax.lax.scan(period, start, jnp.arange(self.horizon))[1]

    def update(self, state, _):
        """One update."""
        weights, optimiser, key = state
        key, of_lives, of_order = jax.random.split(key, 3)
        x, action, log_prob, value, reward = self.act(weights, of_lives)

        def back(ahead, now):
            reward, value, later = now
            ahead = reward + later - value + 0.95 * ahead
            return ahead, ahead

        later = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])])
        _, advantage = jax.lax.scan(back, jnp.zeros(self.lanes), (reward, value, later), reverse=True)
        batch = x, action, log_prob, advantage, advantage + value

        def loss(weights, batch):
            x, action, old, advantage, target = batch
            if self.whole:
                logits, value = jax.vmap(lambda x: self.cell.apply(weights, x), 1, 1)(x)
            else:
                step = functools.partial(self.step, weights)
                _, (logits, value) = jax.lax.scan(step, self.fresh(x.shape[1]), x)
            log_probs = jax.nn.log_softmax(logits)
            ratio = jnp.exp(jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0] - old)
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage).mean()
            entropy = -(jnp.exp(log_probs) * log_probs).sum(axis=-1).mean()
            return -gain + 0.5 * jnp.mean((value - target) ** 2) - 0.01 * entropy

        def minibatch(carry, batch):
            weights, optimiser = carry
            steps, optimiser = self.optimiser.update(jax.grad(loss)(weights, batch), optimiser)
            return (optax.apply_updates(weights, steps), optimiser), None

        def epoch(carry, key):
            order = jax.random.permutation(key, self.lanes)
            parts = jax.tree.map(lambda a: jnp.take(a, order, axis=1), batch)
            parts = jax.tree.map(lambda a: a.reshape(a.shape[0], self.minibatches, -1, *a.shape[2:]), parts)
            return jax.lax.scan(minibatch, carry, jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), parts))

        (weights, optimiser), _ = jax.lax.scan(epoch, (weights, optimiser), jax.random.split(of_order, self.epochs))
        return (weights, optimiser, key), reward.sum(axis=0).mean()

    @functools.partial(jax.jit, static_argnums=(0, 2))
    def train(self, state, updates):
        """`(state, mean reward of a lifetime at each update)`."""
        return jax.lax.scan(self.update, state, None, length=updates)
