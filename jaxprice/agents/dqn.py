"""DQN: Q-learning with a network, a replay of transitions and a target network; four extensions are switches.

With target weights w', which follow w slowly (w' <- w' + tau (w - w')), a gradient step lowers the Huber loss of

    d = R + G Q(s', a'; w') - Q(s, a; w),      a' = argmax Q(s', .; w'),

over a batch of the replay, where R is the return over n steps and G the discount of what follows (see `replay`).

| switch | change | source |
|---|---|---|
| `double` | a' = argmax Q(s', .; w) | van Hasselt, Guez, Silver (2016), arXiv:1509.06461 |
| `dueling` | Q(s, a) = V(s) + A(s, a) - mean A(s, .) | Wang et al. (2016), arXiv:1511.06581 |
| `n_step` | R over n steps instead of one | Hessel et al. (2018), arXiv:1710.02298 |
| `prioritised` | sample by the last error | Schaul et al. (2016), arXiv:1511.05952 |

While it learns, a random action is played with a probability that falls linearly from 1 to `Hyper.epsilon` over the first
share `Hyper.explore` of the updates.

On a season of 30 periods with 10 units (`FiniteInventory`, 50,000 periods of play, .7 seconds of one core a run after
compilation) the share of the optimum was .973 with `tau=.01` and `discount=.99`, .983 with `tau=.05`, and .993 with also
`discount=1`, which is the default there (one or two seeds each). With the defaults it is .996 after 100,000 periods (four
seeds from .992). Learning rates of .001 to .01, `epsilon` of .05 to .2 and uniform sampling moved it by less than .01.
These were measured before rewards were centred (`running`). Against a rival that undercuts (`ReactiveRival` of
`experiments.deep_rl`, 80,000 periods, four seeds) centring raised the share from .921 to .954.

Departures from Mnih et al.: observations and rewards are normalised by running statistics; the target network moves in every
gradient step instead of being copied after many; Adam instead of RMSProp; many lanes act at once, with one batch a few
periods.

Source: V. Mnih et al. (2015), "Human-level control through deep reinforcement learning", doi:10.1038/nature14236.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxprice import checks, random
from jaxprice.agents import choices, courses, episodes, learning, optimiser, replay, worlds


@struct.dataclass
class Hyper(optimiser.Hyper):
    """Hyperparameters of `optimiser.Hyper` (learning rate, discount, decay, warm-up), and float scalars of DQN.

    Attributes:
      epsilon: probability of a random action at the end.
      explore: share of the updates after which it is reached.
      tau: share of the way that the target network goes in a gradient step.
      alpha, beta: exponents of prioritised replay; beta rises linearly to 1.
    """

    learning_rate: Any = 1e-3
    discount: Any = 0.99
    epsilon: Any = 0.05
    explore: Any = 0.3
    tau: Any = 0.05
    alpha: Any = 0.6
    beta: Any = 0.4

    def check(self):
        """Raise if a number is out of range.

        Raises:
          ValueError: a number is out of range.
        """
        for name in ("epsilon", "explore", "tau", "alpha", "beta"):
            checks.number(name, getattr(self, name), low=0, high=1)
        super().check()
        return self


@struct.dataclass
class Rest:
    """The replay, and the params of the target network."""

    replay: Any
    target: Any


@dataclasses.dataclass(frozen=True)
class DQN:
    """One update by DQN.

    Attributes:
      double, prioritised: switches, see the module; `dueling` is an option of the network.
      n_step: steps of a return.
      rows: rows of the replay.
      batch: transitions of a gradient step.
      gradient_steps: gradient steps of an update.
    """

    double: bool = True
    prioritised: bool = True
    n_step: int = 3
    rows: int = 1024
    batch: int = 128
    gradient_steps: int = 1
    looks_ahead: ClassVar[bool] = False

    def start(self, course, seed):
        """The `State` before the first update."""
        state = course.begin(seed)
        empty = replay.start(self.rows, course.lanes, state.lanes.token[0], jnp.int32(0))
        return state.replace(rest=Rest(empty, state.weights["params"]))

    choose, greedy, agent = choices.choose_epsilon, choices.greedy, choices.agent

    def __call__(self, course, state, hyper, streams, share):
        """The signature of a learner in `courses`."""
        state, record = course.play(state, hyper, streams, share)
        state = state.replace(rest=state.rest.replace(replay=replay.write(state.rest.replay, record, self.n_step)))
        scale, level = course.scale(state), state.rewards.level
        beta = hyper.beta + (1 - hyper.beta) * share if self.prioritised else None

        def values(params, weights, tokens):
            says = jax.vmap(lambda token: course.decide(weights | {"params": params}, (), token)[1])
            return says(tokens).logits

        def loss(params, weights, batch, target):
            chosen = values(params, weights, batch.token)
            chosen = jnp.take_along_axis(chosen, batch.action[:, None], axis=-1)[:, 0]
            error = target - chosen
            return jnp.mean(batch.weight * optax.huber_loss(error)), (error, chosen)

        def step(state, key):
            batch = replay.sample(state.rest.replay, key, self.batch, self.n_step, hyper.discount, beta, level)
            later = values(state.rest.target, state.weights, batch.last)
            by = values(state.weights["params"], state.weights, batch.last) if self.double else later
            best = jnp.take_along_axis(later, jnp.argmax(by, axis=-1, keepdims=True), axis=-1)[:, 0]
            target = batch.reward / scale + batch.factor * best
            of = jax.value_and_grad(loss, has_aux=True)
            (total, (error, chosen)), gradient = of(state.weights["params"], state.weights, batch, target)
            state = course.descend(state, gradient, hyper, share)
            follow = jax.tree.map(lambda t, w: t + hyper.tau * (w - t), state.rest.target, state.weights["params"])
            rest = state.rest.replace(target=follow)
            if self.prioritised:
                rest = rest.replace(replay=replay.set_priorities(rest.replay, batch.place, error, hyper.alpha))
            return state.replace(rest=rest), {"loss": total, "value": jnp.mean(chosen)}

        key = random.address(streams["update"], state.update, 0)
        state, metrics = jax.lax.scan(step, state, jax.random.split(key, self.gradient_steps))
        return state, jax.tree.map(jnp.mean, metrics) | {"reward": record.step.reward.mean()}


def train(
    env,
    params=None,
    *,
    steps,
    seeds=0,
    lanes=16,
    length=4,
    double=True,
    dueling=True,
    n_step=3,
    prioritised=True,
    capacity=20_000,
    batch=128,
    gradient_steps=2,
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
    """Train sellers, or players of a gymnax environment, by DQN.

    Args:
      env: a market or an environment of gymnax whose actions are indices.
      params: its params; None draws a market of the task distribution for each episode.
      steps: number of periods that a run plays in all lanes together.
      seeds: one integer, or one integer a run.
      lanes, length: lanes, and periods that each plays between two updates.
      double, dueling, n_step, prioritised: see the module; `n_step=1` with the others False is plain DQN.
      capacity: number of transitions in the replay.
      batch, gradient_steps: transitions of a gradient step, and number of gradient steps of an update.
      size, layers: of the network.
      normalise: whether observations and rewards are normalised.
      centred: whether the mean reward of a period is subtracted, see `running`; by default, where `env` is a market.
      hyper: `dqn.Hyper`; by default with the discount 1 on a market with a season.
      horizon, inputs, reward: see `worlds.Market`.
      **options: options of `episodes.train`.

    Returns:
      `episodes.Trained`.

    Raises:
      ValueError: bad input; or the replay does not fit into memory.
    """
    world = worlds.make(env, params, horizon=horizon, fed=inputs, reward=reward)
    actions = choices.discrete(world, "dqn")
    capacity, batch, n_step = replay.check_whole(capacity, batch, n_step)
    rows = replay.rows_of(capacity, checks.positive_int("lanes", lanes), checks.positive_int("length", length), n_step)
    told = {"double": double, "prioritised": prioritised}
    told = {name: checks.boolean(name, value) for name, value in told.items()}
    learner = DQN(**told, n_step=n_step, rows=rows, batch=batch,
                  gradient_steps=checks.positive_int("gradient_steps", gradient_steps))  # fmt: skip
    shape = {"size": size, "layers": layers, "dueling": checks.boolean("dueling", dueling)}
    course = courses.course_of(world, learner, lanes, length, ("mlp", shape), actions, 10.0, normalise, centred)
    replay.check_memory(rows, lanes, len(learning.seeds_of(seeds)), worlds.check(world))
    return episodes.train(course, choices.hyper_of(hyper, (Hyper,), world, "dqn"), seeds, steps, **options)
