"""PQN: Q-learning in many lanes at once, without replay and without a target network; layer normalisation keeps it stable.

With values ahead, the return with traces is

    G_t = r_t + g ((1 - l) max Q(s_(t+1), .) + l G_(t+1)),

where Q is 0 after termination, and l = 0 where an episode or the record ends. Q(s_t, a_t) fits G_t in mean square, in
several passes over random minibatches. Exploration is that of `dqn`.

`network="mlp"` sees the observation alone; "gru", "lstm" and "min_gru" remember an episode.

On a season of 30 periods with 10 units (`FiniteInventory`) the share of the optimum after 50,000 periods was .90 with 32
lanes of 32 periods, `trace=.65` and `discount=.99`. With the defaults, which make four times as many gradient steps, it is
.978 after 100,000 periods (four seeds from .966 to .992, .4 seconds of one core a run after compilation); rewards were not
yet centred. Long traces and exploration do not go together: on `Replenishment` of `experiments.deep_rl` (160,000 periods,
four seeds, a learning rate of .003) the share was .838 with `trace=.9` and `epsilon=.1`, .951 with .9 and .02, .888 with .65
and .1, and .982 with .65 and .02, because a trace goes on through the random actions.

Departure from Gallici et al.: observations and rewards are normalised by running statistics, Adam instead of rectified Adam,
and layers are normalised without learned scale and shift.

Source: M. Gallici, M. Fellows, B. Ellis, B. Pou, I. Masmitja, J. N. Foerster, M. Martin (2025), "Simplifying deep temporal
difference learning", arXiv:2407.04811.
"""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import struct

from jaxprice import checks, random
from jaxprice.agents import choices, courses, episodes, optimiser, ppo, worlds


@struct.dataclass
class Hyper(optimiser.Hyper):
    """Hyperparameters of `optimiser.Hyper` (learning rate, trace, discount, decay, warm-up), and those of exploration.

    Attributes:
      epsilon: probability of a random action at the end.
      explore: share of the updates after which it is reached.
    """

    learning_rate: Any = 1e-3
    trace: Any = 0.8
    discount: Any = 0.99
    epsilon: Any = 0.1
    explore: Any = 0.5

    def check(self):
        """Raise if a number is out of range.

        Raises:
          ValueError: a number is out of range.
        """
        for name in ("epsilon", "explore"):
            checks.number(name, getattr(self, name), low=0, high=1)
        super().check()
        return self


@dataclasses.dataclass(frozen=True)
class PQN:
    """One update by PQN.

    Attributes:
      epochs: number of passes over the periods of an update.
      minibatches: number of parts of a pass.
    """

    epochs: int = 2
    minibatches: int = 4
    looks_ahead: ClassVar[bool] = True

    choose, greedy, agent = choices.choose_epsilon, choices.greedy, choices.agent

    def start(self, course, seed):
        """The `State` before the first update."""
        return course.begin(seed)

    def __call__(self, course, state, hyper, streams, share):
        """The signature of a learner in `courses`."""
        memory = state.lanes.memory
        state, record = course.play(state, hyper, streams, share)
        step = record.step
        ahead = jnp.where(step.terminated, 0.0, record.ahead.logits.max(axis=-1))
        rewards = (step.reward - state.rewards.level) / course.scale(state)
        returns = choices.returns(rewards, ahead, step.done, hyper.discount, hyper.trace)
        batch = {"token": record.token, "fresh": record.fresh, "action": record.action, "returns": returns}

        def loss(says, part):
            chosen = jnp.take_along_axis(says.logits, part["action"][..., None], axis=-1)[..., 0]
            total = 0.5 * jnp.mean((chosen - part["returns"]) ** 2)
            return total, {"loss": total, "value": jnp.mean(chosen)}

        key = random.address(streams["update"], state.update, 0)
        state, metrics = course.epochs(state, key, loss, batch, memory, self.epochs, self.minibatches, hyper, share)
        return state, metrics | {"reward": step.reward.mean()}


def train(
    env,
    params=None,
    *,
    steps,
    seeds=0,
    network="mlp",
    lanes=16,
    length=16,
    epochs=2,
    minibatches=4,
    size=64,
    layers=None,
    layer_norm=True,
    normalise=True,
    centred=None,
    hyper=None,
    horizon=None,
    inputs=None,
    reward=None,
    **options,
):
    """Train sellers, or players of a gymnax environment, by PQN.

    Args:
      env: a market or an environment of gymnax whose actions are indices.
      params: its params; None draws a market of the task distribution for each episode.
      steps: number of periods that a run plays in all lanes together.
      seeds: one integer, or one integer a run.
      network: "mlp", or a network with memory: "gru", "lstm" or "min_gru".
      lanes, length: lanes, and periods that each plays between two updates.
      epochs, minibatches: passes over them, and parts of a pass.
      size, layers: of the network; `layers` for "mlp" and "min_gru".
      layer_norm: whether the layers of "mlp" are normalised.
      normalise: whether observations and rewards are normalised.
      centred: whether the mean reward of a period is subtracted, see `running`; by default, where `env` is a market.
      hyper: `pqn.Hyper`; by default with the discount 1 on a market with a season.
      horizon, inputs, reward: see `worlds.Market`.
      **options: options of `episodes.train`.

    Returns:
      `episodes.Trained`.

    Raises:
      ValueError: bad input.
    """
    world = worlds.make(env, params, horizon=horizon, fed=inputs, reward=reward)
    actions = choices.discrete(world, "pqn")
    checks.choice("network", network, ppo.NETWORKS)
    ppo.check_parts(network, lanes, length, minibatches)
    learner = PQN(checks.positive_int("epochs", epochs), int(minibatches))
    shape = {"size": size} | ({} if layers is None else {"layers": layers})
    shape |= {"layer_norm": checks.boolean("layer_norm", layer_norm)} if network == "mlp" else {}
    course = courses.course_of(world, learner, lanes, length, (network, shape), actions, 10.0, normalise, centred)
    return episodes.train(course, choices.hyper_of(hyper, (Hyper,), world, "pqn"), seeds, steps, **options)
