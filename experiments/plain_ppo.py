"""PPO with a recurrent network, written the way single-file baselines are: what the throughput of training is set against.

One scan over time with a GRU cell inside, for acting and again for every gradient; keys split at every step in every lane;
an embedding, a GRU, and separate hidden layers for actor and critic; lifetimes shuffled anew in every epoch. The inputs are
those of RL^2: last action, last reward, whether the episode began.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax


class Cell(nn.Module):
    """One step of the network: `(carry, x) -> (carry, (logits, value))`."""

    actions: int
    size: int

    @nn.compact
    def __call__(self, carry, x):
        embedded = nn.relu(nn.Dense(self.size)(x))
        carry, hidden = nn.GRUCell(self.size)(carry, embedded)
        logits = nn.Dense(self.actions)(nn.relu(nn.Dense(self.size)(hidden)))
        value = nn.Dense(1)(nn.relu(nn.Dense(self.size)(hidden)))
        return carry, (logits, value[..., 0])


class PlainPPO:
    """Training on Bernoulli arms with uniform means.

    Args:
      arms, horizon: of the bandit.
      lanes, minibatches, epochs: of an update.
      size: of every layer.
    """

    def __init__(self, arms, horizon, lanes, minibatches=4, epochs=2, size=64):
        self.arms, self.horizon, self.lanes, self.size = arms, horizon, lanes, size
        self.minibatches, self.epochs = minibatches, epochs
        self.cell = Cell(arms, size)
        self.optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3, eps=1e-5))

    def start(self, key):
        """`(weights, state of the optimiser, key)`."""
        x = jnp.zeros((1, self.arms + 2))
        weights = self.cell.init(key, jnp.zeros((1, self.size)), x)
        return weights, self.optimiser.init(weights), key

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
            hidden, (logits, value) = self.cell.apply(weights, hidden, x)
            action = jax.vmap(jax.random.categorical)(of_action, logits)
            log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], -1)[:, 0]
            chance = jnp.take_along_axis(means, action[:, None], -1)[:, 0]
            reward = (jax.vmap(jax.random.uniform)(of_reward) < chance).astype(jnp.float32)
            return (hidden, action, reward, keys), (x, action, log_prob, value, reward)

        keys = jax.random.split(key, self.lanes)
        start = jnp.zeros((self.lanes, self.size)), jnp.zeros(self.lanes, jnp.int32), jnp.zeros(self.lanes), keys
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
            start = jnp.zeros((x.shape[1], self.size))
            _, (logits, value) = jax.lax.scan(functools.partial(self.cell.apply, weights), start, x)
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
