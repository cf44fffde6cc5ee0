"""DQN and PPO as a user would write them, a Python loop over jitted pieces: the reference for the speed of `agents`.

The lanes of the market step together in one jitted call, a gradient step is another, and everything between is Python: the
ring of DQN is NumPy arrays on the host, PPO stacks the periods of an update and shuffles them with NumPy. Market, network,
Adam, lanes, batches, passes and discounts are those of the learner of ours that it is compared with; running statistics,
schedules, checkpoints and scores are left out.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxprice.agents import networks, worlds


class Plain:
    """What both loops share: a market in lanes, a network, Adam.

    Args:
      env, params: the market.
      lanes, length: lanes, and periods that each plays in an update.
      dueling: whether logits are values of actions.
      size: width of the network.
    """

    def __init__(self, env, params, lanes, length, dueling=False, size=64):
        self.world, self.lanes, self.length = worlds.make(env, params), lanes, length
        self.network = networks.make("mlp", actions=self.world.space.n, inputs=self.world.fed, size=size, dueling=dueling)
        self.optimiser = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))
        self.rng = np.random.default_rng(0)

    def start(self, seed=0):
        """Weights, state of Adam, state of the lanes, their tokens, and a key."""
        key, of_lanes, of_weights = jax.random.split(jax.random.key(seed), 3)
        state, token = jax.jit(jax.vmap(self.world.reset))(jax.random.split(of_lanes, self.lanes))
        weights = self.network.init(of_weights, token[0], method="first")
        return weights, self.optimiser.init(weights), state, token, key

    def says(self, weights, tokens):
        """Outputs of the network for tokens `[n, D]`."""
        return jax.vmap(lambda token: self.network.apply(weights, (), token, method="decide")[1])(tokens)

    def choose(self, key, logits):
        """Actions `[lanes]` of logits `[lanes, actions]`."""
        raise NotImplementedError

    @functools.partial(jax.jit, static_argnums=0)
    def step(self, weights, state, token, key):
        """One period in every lane: `(state, next token, key, what happened)`."""
        key, of_action, of_demand, of_reset = jax.random.split(key, 4)
        says = self.says(weights, token)
        action = self.choose(of_action, says.logits)
        keys = jax.random.split(of_demand, self.lanes), jax.random.split(of_reset, self.lanes)
        state, step = jax.vmap(self.world.step)(*keys, state, action)
        now = {"token": token, "action": action, "reward": step.reward, "last": step.last, "done": step.done}
        return state, step.token, key, now | {"logits": says.logits, "value": says.value}

    def descend(self, weights, optimiser, loss):
        """One step of Adam."""
        steps, optimiser = self.optimiser.update(jax.grad(loss)(weights), optimiser)
        return optax.apply_updates(weights, steps), optimiser


class PlainDQN(Plain):
    """Double DQN with dueling heads, uniform replay and one-step returns; a tenth of the actions is random."""

    def __init__(self, env, params, lanes=16, length=4, batch=128, gradient_steps=2, capacity=20_000):
        super().__init__(env, params, lanes, length, dueling=True)
        self.batch, self.gradient_steps, self.rows = batch, gradient_steps, capacity // lanes

    def choose(self, key, logits):
        """Epsilon-greedy actions."""
        key_try, key_other = jax.random.split(key)
        other = jax.random.randint(key_other, (self.lanes,), 0, logits.shape[-1])
        return jnp.where(jax.random.uniform(key_try, (self.lanes,)) < 0.1, other, logits.argmax(axis=-1)).astype(jnp.int32)

    @functools.partial(jax.jit, static_argnums=0)
    def learn(self, weights, target, optimiser, batch):
        """One gradient step, and one of the target network."""
        rows = jnp.arange(self.batch)
        best = self.says(weights, batch["last"]).logits.argmax(axis=-1)
        later = self.says(target, batch["last"]).logits[rows, best]
        wanted = batch["reward"] + jnp.where(batch["done"], 0.0, later)

        def loss(weights):
            return optax.huber_loss(self.says(weights, batch["token"]).logits[rows, batch["action"]], wanted).mean()

        weights, optimiser = self.descend(weights, optimiser, loss)
        return weights, jax.tree.map(lambda t, w: t + 0.05 * (w - t), target, weights), optimiser

    def train(self, updates):
        """Weights after `updates` updates."""
        weights, optimiser, state, token, key = self.start()
        target, ring, written = weights, {}, 0
        for _ in range(updates):
            for _ in range(self.length):
                state, token, key, now = self.step(weights, state, token, key)
                for name in ("token", "action", "reward", "last", "done"):
                    value = np.asarray(now[name])
                    ring.setdefault(name, np.zeros((self.rows, *value.shape), value.dtype))[written % self.rows] = value
                written += 1
            for _ in range(self.gradient_steps):
                row = self.rng.integers(0, min(written, self.rows), self.batch)
                lane = self.rng.integers(0, self.lanes, self.batch)
                batch = {name: array[row, lane] for name, array in ring.items()}
                weights, target, optimiser = self.learn(weights, target, optimiser, batch)
        return weights


class PlainPPO(Plain):
    """PPO with a clipped ratio for a season, whose last period ends an episode."""

    def __init__(self, env, params, lanes=32, length=32, epochs=4, minibatches=4):
        super().__init__(env, params, lanes, length)
        self.epochs, self.minibatches = epochs, minibatches

    def choose(self, key, logits):
        """Actions of the policy."""
        return jax.random.categorical(key, logits).astype(jnp.int32)

    @functools.partial(jax.jit, static_argnums=0)
    def prepared(self, weights, token, periods):
        """The batch of an update: advantages, returns and log-probabilities, `[T x lanes]`."""
        every = jax.tree.map(lambda *x: jnp.stack(x), *periods)
        later = jnp.concatenate([every["value"][1:], self.says(weights, token).value[None]])

        def back(ahead, now):
            reward, value, later, done = now
            ahead = reward + jnp.where(done, 0.0, later) - value + 0.95 * jnp.where(done, 0.0, ahead)
            return ahead, ahead

        parts = every["reward"], every["value"], later, every["done"]
        advantage = jax.lax.scan(back, jnp.zeros(self.lanes), parts, reverse=True)[1]
        batch = {"token": every["token"], "action": every["action"], "advantage": advantage}
        batch |= {"returns": advantage + every["value"], "old": self.log_prob(every["logits"], every["action"])}
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)

    def log_prob(self, logits, action):
        """Log-probability of actions."""
        return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]

    @functools.partial(jax.jit, static_argnums=0)
    def learn(self, weights, optimiser, batch):
        """One gradient step."""

        def loss(weights):
            says = self.says(weights, batch["token"])
            ratio = jnp.exp(self.log_prob(says.logits, batch["action"]) - batch["old"])
            advantage = (batch["advantage"] - batch["advantage"].mean()) / (batch["advantage"].std() + 1e-8)
            gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage).mean()
            log_probs = jax.nn.log_softmax(says.logits)
            entropy = -(jnp.exp(log_probs) * log_probs).sum(axis=-1).mean()
            return -gain + 0.5 * jnp.mean((says.value - batch["returns"]) ** 2) - 0.01 * entropy

        return self.descend(weights, optimiser, loss)

    def train(self, updates):
        """Weights after `updates` updates."""
        weights, optimiser, state, token, key = self.start()
        for _ in range(updates):
            periods = []
            for _ in range(self.length):
                state, token, key, now = self.step(weights, state, token, key)
                periods.append(now)
            batch = self.prepared(weights, token, periods)
            for _ in range(self.epochs):
                order = self.rng.permutation(self.lanes * self.length).reshape(self.minibatches, -1)
                for part in order:
                    weights, optimiser = self.learn(weights, optimiser, {name: x[part] for name, x in batch.items()})
        return weights
