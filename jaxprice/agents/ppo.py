"""PPO on worlds: policy gradient with a clipped ratio, for ordinary Markov decision processes, with or without a memory.

With rewards r_t and values v_t, the return with traces and the advantage are

    G_t = r_t + g ((1 - l) v_(t+1) + l G_(t+1)),     A_t = G_t - v_t,

where v_(t+1) = 0 after termination, and G_(t+1) = v_(t+1) where an episode or the record ends. The policy solves

    max  min(q_t A_t, clip(q_t, 1 - c, 1 + c) A_t) + h_t entropy,      q_t = pi(a_t) / pi_old(a_t),

with A_t normalised over the minibatch, and the value fits G_t in mean square. The weight h_t falls to zero.

`network="mlp"` sees the observation alone. With "gru", "lstm" or "min_gru" the memory persists through an episode. With
`params=None` every episode is another market. This is the setting of `rl2`, which plays whole lifetimes and can learn from
the oracle's regret; it is the better choice there.

Settings matter on markets with a season: in a `FiniteInventory` of 100 periods, where random prices earn .85 of the optimum,
these defaults earn .883 after 40,000 periods (four seeds from .853), and .953 with a rate of .003 and `entropy=.02`.
Before rewards were centred (`running`) the defaults earned .66, most runs at one price.

Sources: J. Schulman, F. Wolski, P. Dhariwal, A. Radford, O. Klimov (2017), arXiv:1707.06347; J. Schulman et al. (2016),
arXiv:1506.02438 (the advantages); M. Andrychowicz et al. (2021), "What matters in on-policy reinforcement learning?",
arXiv:2006.05990.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, random
from jaxprice.agents import choices, courses, episodes, optimiser, worlds

NETWORKS = ("mlp", "gru", "lstm", "min_gru", "none")


@struct.dataclass
class Hyper(optimiser.Hyper):
    """Hyperparameters, as in `optimiser.Hyper`, with the defaults of PPO on worlds."""

    learning_rate: Any = 1e-3
    entropy: Any = 0.01
    trace: Any = 0.95
    discount: Any = 0.99
    value_weight: Any = 0.5


@dataclasses.dataclass(frozen=True)
class PPO:
    """One update by PPO.

    Attributes:
      epochs: number of passes over the periods of an update.
      minibatches: number of parts of a pass.
    """

    epochs: int = 4
    minibatches: int = 4
    looks_ahead: ClassVar[bool] = True

    greedy, agent = choices.greedy, choices.agent

    def start(self, course, seed):
        """The `State` before the first update."""
        return course.begin(seed)

    def choose(self, course, key, output, hyper, share):
        """An action of the policy."""
        del course, hyper, share
        return jax.random.categorical(key, output.logits).astype(jnp.int32)

    def __call__(self, course, state, hyper, streams, share):
        """The signature of a learner in `courses`."""
        memory = state.lanes.memory
        state, record = course.play(state, hyper, streams, share)
        step, value = record.step, record.output.value
        ahead = jnp.where(step.terminated, 0.0, record.ahead.value)
        rewards = (step.reward - state.rewards.level) / course.scale(state)
        returns = choices.returns(rewards, ahead, step.done, hyper.discount, hyper.trace)
        batch = {
            "token": record.token,
            "fresh": record.fresh,
            "action": record.action,
            "log_prob": log_prob(record.output.logits, record.action),
            "advantage": returns - value,
            "returns": returns,
        }

        def loss(says, part):
            ratio = jnp.exp(log_prob(says.logits, part["action"]) - part["log_prob"])
            advantage = part["advantage"]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            cut = jnp.clip(ratio, 1 - hyper.clip, 1 + hyper.clip)
            gain = jnp.minimum(ratio * advantage, cut * advantage).mean()
            log_probs = jax.nn.log_softmax(says.logits)
            entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1).mean()
            error = jnp.mean((says.value - part["returns"]) ** 2)
            total = -gain + hyper.value_weight * error - hyper.entropy * (1 - share) * entropy
            return total, {"loss": total, "value_loss": error, "entropy": entropy}

        key = random.address(streams["update"], state.update, 0)
        state, metrics = course.epochs(state, key, loss, batch, memory, self.epochs, self.minibatches, hyper, share)
        return state, metrics | {"reward": step.reward.mean()}


def log_prob(logits, action):
    """Log-probability of actions, for logits `[..., actions]`."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]


def check_parts(network, lanes, length, minibatches):
    """Raise if an update cannot be divided into equal minibatches.

    Raises:
      ValueError: the number of periods (of lanes, with a memory) is no multiple of `minibatches`.
    """
    lanes, length = checks.positive_int("lanes", lanes), checks.positive_int("length", length)
    minibatches = checks.positive_int("minibatches", minibatches)
    whole, what = (lanes * length, "lanes x length") if network in ("mlp", "none") else (lanes, "lanes")
    if whole % minibatches:
        raise ValueError(f"{what} must be a multiple of the {minibatches} minibatches, got {whole}")


def train(
    env,
    params=None,
    *,
    steps,
    seeds=0,
    network="mlp",
    lanes=32,
    length=32,
    epochs=4,
    minibatches=4,
    size=64,
    layers=None,
    normalise=True,
    centred=None,
    hyper=None,
    horizon=None,
    inputs=None,
    reward=None,
    **options,
):
    """Train sellers, or players of a gymnax environment, by PPO.

    Args:
      env: a market or an environment of gymnax whose actions are indices.
      params: its params; None draws a market of the task distribution for each episode.
      steps: number of periods that a run plays in all lanes together.
      seeds: one integer, or one integer a run.
      network: "mlp", or a network with memory: "gru", "lstm" or "min_gru".
      lanes, length: lanes, and periods that each plays between two updates.
      epochs, minibatches: passes over them, and parts of a pass.
      size, layers: of the network; `layers` for "mlp" and "min_gru".
      normalise: whether observations and rewards are normalised.
      centred: whether the mean reward of a period is subtracted, see `running`; by default, where `env` is a market.
      hyper: `ppo.Hyper`; by default with the discount 1 on a market with a season.
      horizon, inputs, reward: see `worlds.Market`.
      **options: options of `episodes.train`.

    Returns:
      `episodes.Trained`.

    Raises:
      ValueError: bad input.
    """
    world = worlds.make(env, params, horizon=horizon, fed=inputs, reward=reward)
    actions = choices.discrete(world, "ppo")
    checks.choice("network", network, NETWORKS)
    check_parts(network, lanes, length, minibatches)
    learner = PPO(checks.positive_int("epochs", epochs), int(minibatches))
    shape = {"size": size} | ({} if layers is None else {"layers": layers}) | ({"tanh": True} if network == "mlp" else {})
    course = courses.course_of(world, learner, lanes, length, (network, shape), actions, 0.5, normalise, centred)
    return episodes.train(course, choices.hyper_of(hyper, (Hyper, optimiser.Hyper), world, "ppo"), seeds, steps, **options)
