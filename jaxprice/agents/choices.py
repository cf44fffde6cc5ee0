"""What deep learners on `worlds` have in common: actions, defaults of hyperparameters, saved agents, and returns."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.agents import trained, worlds
from jaxprice.types import Discrete, Interval


def hyper_of(hyper, kinds, world, learner):
    """Hyperparameters after a check of their type; None gives the default ones.

    Then the discount of a market with a season is 1: its horizon is fixed, and what a late sale earns counts in full.

    Args:
      hyper: of one of the classes `kinds`, or None.
      kinds: `Hyper` of the learner, and others with the same fields.
      world: the world.
      learner: name of the learner.

    Raises:
      ValueError: another type.
    """
    if hyper is None:
        season = isinstance(world, worlds.Market) and not world.env.endless
        return kinds[0](discount=1.0) if season else kinds[0]()
    if type(hyper) not in kinds:
        raise ValueError(f"hyper must be {learner}.Hyper, got {checks.shown(hyper)}")
    return hyper


def discrete(world, learner):
    """The number of actions of a world, for a learner that chooses an index.

    Raises:
      ValueError: actions are not indices.
    """
    if not isinstance(world.space, Discrete):
        raise ValueError(f"{learner} chooses one of a number of actions, {world.name} takes {world.space}; sac takes prices")
    return world.space.n


def continuous(world, learner):
    """The number of entries of an action of a world, for a learner that chooses prices.

    Raises:
      ValueError: actions are indices.
    """
    if not isinstance(world.space, Interval):
        raise ValueError(f"{learner} chooses a price of an interval, {world.name} takes {world.space}; dqn chooses an index")
    return int(np.prod(world.space.shape))


def greedy(learner, course, output):
    """The action of the largest logit or value: a method of learners."""
    del learner, course
    return jnp.argmax(output.logits, axis=-1).astype(jnp.int32)


def choose_epsilon(learner, course, key, output, hyper, share):
    """A random action with a probability that falls from 1 to `hyper.epsilon`, otherwise the best: a method of learners."""
    epsilon = 1 - (1 - hyper.epsilon) * jnp.minimum(share / jnp.maximum(hyper.explore, 1e-6), 1.0)
    key_try, key_action = jax.random.split(key)
    other = jax.random.randint(key_action, (), 0, course.world.space.n, jnp.int32)
    return jnp.where(jax.random.uniform(key_try) < epsilon, other, greedy(learner, course, output))


def agent(learner, course, weights, about):
    """The `Agent` of a network of `networks.make`, which plays the action it holds for the best: a method of learners."""
    del learner
    name, options = course.built
    return trained.Agent(name, course.network.actions, weights, options, course.world.fed, "argmax", about)


def returns(rewards, values, done, discount, trace):
    """Returns with traces, `[T, lanes]`: G_t = r_t + g ((1 - l) v_(t+1) + l G_(t+1)), with l = 0 where an episode ends.

    Args:
      rewards: `[T, lanes]`.
      values: of what follows, `[T, lanes]`, zero after termination; v_(t+1) above, and the last G_(t+1).
      done: whether the episode ended.
      discount, trace: scalars.
    """

    def back(later, now):
        reward, value, ends = now
        later = reward + discount * jnp.where(ends, value, (1 - trace) * value + trace * later)
        return later, later

    return jax.lax.scan(back, values[-1], (rewards, values, done), reverse=True)[1]
