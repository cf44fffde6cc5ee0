"""Soft actor-critic: prices of an interval, from a replay of transitions, with a bonus for the entropy of the policy.

The policy p is a squashed Gaussian (`squashed`), two critics Q_1, Q_2 value an action, and target critics Q' follow them
slowly (w' <- w' + tau (w - w')). With the temperature c, a' drawn from p(s') and a from p(s), a gradient step lowers

    critics       sum_k (Q_k(s, a_t) - y)^2 / 2,    y = r + G (min_k Q'_k(s', a') - b c log p(a' | s')),
    policy        c log p(a | s) - min_k Q_k(s, a),
    temperature   -log c (log p(a | s) + H),

over a batch of the replay, in this order; G is the discount of what follows, or 0 after termination, and b is `Hyper.bonus`.
The temperature falls while the policy has more entropy than the target H, and rises while it has less.

A policy with entropy H = -1 an entry spreads over about a tenth of the half width of the interval. The agent that is scored
and saved posts the median of the policy.

Departures from Haarnoja et al.: observations are normalised by running statistics, and the reward of a period by its own
standard deviation, so that what an action changes is of order one whatever the discount is; the loss of the temperature is
divided by it; one learning rate with a schedule, see `optimiser`; many lanes act at once. With `centred` the mean reward of
a period is subtracted first, so that critics learn differences and no common level of up to 1 / (1 - discount) rewards. In
worlds whose episodes end after a fixed number of periods, this changes no comparison of policies; where a policy decides
when its episode ends, it would.

Sources: T. Haarnoja, A. Zhou, P. Abbeel, S. Levine (2018), "Soft actor-critic: off-policy maximum entropy deep reinforcement
learning with a stochastic actor", arXiv:1801.01290; T. Haarnoja et al. (2018), "Soft actor-critic algorithms and
applications", arXiv:1812.05905 (two critics, learned temperature); H. Yu, H. Zhang, W. Xu (2022), "Do you need the entropy
reward (in practice)?", arXiv:2201.12434 (b = 0); A. Naik, Y. Wan, M. Tomar, R. S. Sutton (2024), "Reward centering",
arXiv:2405.09999.
"""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, random
from jaxprice.agents import (
    choices,
    courses,
    episodes,
    learning,
    lifetimes,
    networks,
    optimiser,
    replay,
    running,
    squashed,
    worlds,
)


@struct.dataclass
class Hyper(optimiser.Hyper):
    """Hyperparameters of `optimiser.Hyper` (learning rate, discount, decay, warm-up), and float scalars of SAC.

    Attributes:
      tau: share of the way that the target critics go in a gradient step.
      target_entropy: H for each entry of an action.
      temperature: c at the start, in units of the scale of rewards.
      bonus: weight b of the entropy in the values; 1 in Haarnoja et al.
    """

    learning_rate: Any = 1e-3
    discount: Any = 0.99
    tau: Any = 0.01
    target_entropy: Any = -1.0
    temperature: Any = 0.1
    bonus: Any = 1.0

    def check(self):
        """Raise if a number is out of range.

        Raises:
          ValueError: a number is out of range.
        """
        optimiser.Hyper.check(dataclasses.replace(self, target_entropy=0.0))
        for name in ("tau", "bonus"):
            checks.number(name, getattr(self, name), low=0, high=1)
        checks.number("target_entropy", self.target_entropy, high=math.log(2))
        checks.positive("temperature", self.temperature)
        return self


@struct.dataclass
class Rest:
    """Everything but the policy.

    Attributes:
      replay: `replay.Replay`.
      rewards: `running.Running` of the reward of a period.
      critics: `optimiser.State` of the two critics, whose weights have a leading axis `[2]`.
      target: weights of the target critics.
      temperature: `optimiser.State` of log c.
    """

    replay: Any
    rewards: running.Running
    critics: optimiser.State
    target: Any
    temperature: optimiser.State


@dataclasses.dataclass(frozen=True)
class SAC:
    """One update by SAC.

    Attributes:
      rows: rows of the replay.
      batch: transitions of a gradient step.
      gradient_steps: gradient steps of an update.
      size, layers: of the critics.
      centred: whether the mean reward of a period is subtracted.
    """

    rows: int = 1024
    batch: int = 128
    gradient_steps: int = 1
    size: int = 64
    layers: int = 2
    centred: bool = True
    looks_ahead: ClassVar[bool] = False

    agent = choices.agent

    @property
    def critic(self):
        """The network of a critic."""
        return networks.Critic(self.size, self.layers)

    def start(self, course, seed):
        """The `State` before the first update; the temperature is set by the first update."""
        state = course.begin(seed)
        token, action = state.lanes.token[0], jnp.zeros(course.network.actions, jnp.float32)
        keys = jax.random.split(random.address(lifetimes.streams(seed)["init"], 0, 1), 2)
        critics = jax.lax.map(lambda key: self.critic.init(key, token, action)["params"], keys)
        rest = Rest(
            replay.start(self.rows, course.lanes, token, action),
            running.start(),
            optimiser.State(critics, course.adam.init(critics), jnp.int32(0)),
            critics,
            optimiser.State(jnp.float32(0), course.adam.init(jnp.float32(0)), jnp.int32(0)),
        )
        return state.replace(rest=rest)

    def choose(self, course, key, output, hyper, share):
        """An action of the policy, `[d]` in [-1, 1]."""
        del course, hyper, share
        return squashed.draw(output, jax.random.normal(key, output.mean.shape, jnp.float32))[0]

    def greedy(self, course, output):
        """The median of the policy."""
        del course
        return output.middle

    def __call__(self, course, state, hyper, streams, share):
        """The signature of a learner in `courses`."""
        begun = jnp.where(state.update == 0, jnp.log(hyper.temperature), state.rest.temperature.weights)
        state, record = course.play(state, hyper, streams, share)
        rest = state.rest.replace(temperature=state.rest.temperature.replace(weights=begun))
        rest = rest.replace(rewards=running.add(rest.rewards, record.step.reward.reshape(-1)))
        state = state.replace(rest=rest.replace(replay=replay.write(rest.replay, record, 1)))

        def step(state, key):
            key_batch, key_noise = jax.random.split(key)
            batch = replay.sample(state.rest.replay, key_batch, self.batch, 1, hyper.discount)
            noise = jax.random.normal(key_noise, (2, *batch.action.shape), jnp.float32)
            return self.descend(course, state, batch, noise, hyper, share)

        key = random.address(streams["update"], state.update, 0)
        state, metrics = jax.lax.scan(step, state, jax.random.split(key, self.gradient_steps))
        return state, jax.tree.map(jnp.mean, metrics) | {"reward": record.step.reward.mean()}

    def descend(self, course, state, batch, noise, hyper, share):
        """One gradient step of critics, policy and temperature: `(state, metrics)`.

        Args:
          course, state, hyper, share: as in an update.
          batch: `replay.Batch`.
          noise: standard normal numbers for a' and a, float `[2, batch, d]`.
        """
        rest, weights = state.rest, state.weights
        reward = batch.reward - (rest.rewards.mean if self.centred else 0.0)
        if course.normalise:
            square = rest.rewards.variance + (1e-4 * rest.rewards.mean) ** 2  # not rounding where all are alike
            reward = reward / jnp.sqrt(square + running.SMALL)
        temperature = jnp.exp(rest.temperature.weights)

        def law(params, tokens):
            return jax.vmap(lambda token: course.decide(weights | {"params": params}, (), token)[1])(tokens)

        def values(critics, tokens, actions) -> Any:
            if course.normalise:
                tokens = networks.Normaliser().apply({"stats": weights["stats"]["normal"]}, tokens)
            return jax.vmap(lambda params: self.critic.apply({"params": params}, tokens, actions))(critics)

        later, log_later = squashed.draw(law(weights["params"], batch.last), noise[0])
        worth = values(rest.target, batch.last, later).min(axis=0) - hyper.bonus * temperature * log_later
        target = reward + batch.factor * worth

        def critic_loss(critics):
            says = values(critics, batch.token, batch.action)
            return 0.5 * jnp.mean(jnp.sum((says - target) ** 2, axis=0)), says

        def actor_loss(params):
            action, log_prob = squashed.draw(law(params, batch.token), noise[1])
            gain = values(critics.weights, batch.token, action).min(axis=0)
            return jnp.mean(temperature * log_prob - gain), log_prob.mean()

        (loss, says), gradient = jax.value_and_grad(critic_loss, has_aux=True)(rest.critics.weights)
        critics = optimiser.descend(course.adam, rest.critics, gradient, hyper, share)
        (actor, log_prob), gradient = jax.value_and_grad(actor_loss, has_aux=True)(weights["params"])
        state = course.descend(state, gradient, hyper, share)
        gradient = -(log_prob + hyper.target_entropy * batch.action.shape[-1])
        still = dataclasses.replace(hyper, decay=0.0)
        cooled = optimiser.descend(course.adam, rest.temperature, gradient, still, share)
        follow = jax.tree.map(lambda t, w: t + hyper.tau * (w - t), rest.target, critics.weights)
        state = state.replace(rest=rest.replace(critics=critics, target=follow, temperature=cooled))
        metrics = {"loss": loss, "actor_loss": actor, "value": says.mean(), "temperature": temperature, "entropy": -log_prob}
        return state, metrics


def train(
    env,
    params=None,
    *,
    steps,
    seeds=0,
    lanes=16,
    length=4,
    capacity=20_000,
    batch=128,
    gradient_steps=8,
    size=64,
    layers=2,
    normalise=True,
    centred=None,
    hyper=None,
    horizon=None,
    inputs=None,
    reward=None,
    **options,
):
    """Train sellers that post prices of an interval, or players of a gymnax environment with actions between bounds, by SAC.

    Args:
      env: a market or an environment of gymnax whose actions are continuous.
      params: its params; None draws a market of the task distribution for each episode.
      steps: number of periods that a run plays in all lanes together.
      seeds: one integer, or one integer a run.
      lanes, length: lanes, and periods that each plays between two updates.
      capacity: number of transitions in the replay.
      batch, gradient_steps: transitions of a gradient step, and number of gradient steps of an update.
      size, layers: of the networks of policy and critics.
      normalise: whether observations and rewards are normalised.
      centred: whether the mean reward of a period is subtracted, see the module; by default, where `env` is a market.
      hyper: `sac.Hyper`.
      horizon, inputs, reward: see `worlds.Market`.
      **options: options of `episodes.train`.

    Returns:
      `episodes.Trained`.

    Raises:
      ValueError: bad input; or the replay does not fit into memory.
    """
    reward = {} if reward is None else {"reward": reward}
    world = worlds.make(env, params, horizon=horizon, fed=inputs, **reward)
    entries = choices.continuous(world, "sac")
    capacity, batch, _ = replay.check_whole(capacity, batch, 1)
    rows = replay.rows_of(capacity, checks.positive_int("lanes", lanes), checks.positive_int("length", length), 1)
    whole = {"gradient_steps": gradient_steps, "size": size, "layers": layers}
    whole = {name: checks.positive_int(name, value) for name, value in whole.items()}
    centred = isinstance(world, worlds.Market) if centred is None else checks.boolean("centred", centred)
    learner = SAC(rows=rows, batch=batch, centred=centred, **whole)
    shape = {name: whole[name] for name in ("size", "layers")}
    course = courses.course_of(world, learner, lanes, length, ("gaussian", shape), entries, 10.0, normalise, False)
    token = jax.eval_shape(world.reset, jax.random.key(0))[1]
    replay.check_memory(rows, lanes, len(learning.seeds_of(seeds)), token.shape[0] + entries)
    hyper = Hyper() if hyper is None else hyper
    if not isinstance(hyper, Hyper):
        raise ValueError(f"hyper must be sac.Hyper, got {checks.shown(hyper)}")
    return episodes.train(course, hyper, seeds, steps, **options)
