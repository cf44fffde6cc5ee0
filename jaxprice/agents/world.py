"""What a world is: the base class of `worlds`, and the record of one of its steps."""

import abc
from typing import Any

import jax
from flax import struct

from jaxprice.agents.inputs import Inputs


@struct.dataclass
class Step:
    """How a period ended.

    Attributes:
      token: the next input of the network, float `[D]`.
      last: the input that the action led to; it differs from `token` where an episode has ended, float `[D]`.
      reward: the reward for training, in units, float scalar.
      terminated, truncated: how the episode ended, bool scalars; both are False if it goes on.
      earned, best: expected reward under the agent and under the oracle, in money; for gymnax the reward, and 0.
    """

    token: jax.Array
    last: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    earned: jax.Array
    best: jax.Array

    @property
    def done(self):
        """Whether the episode has ended."""
        return self.terminated | self.truncated


class World(abc.ABC):
    """Base class of worlds.

    Attributes:
      name: label in results.
      space: `Discrete` or `Interval`, the actions.
      horizon: largest number of periods of an episode.
      fed: `Inputs` of the network.
      reward: name of the reward for training.
    """

    name: str
    space: Any
    horizon: int
    fed: Inputs = Inputs()
    reward: str = "sampled"

    def decided_by(self):
        """What decides the numbers of the world: name -> object, for a fingerprint."""
        return {"world": self}

    @abc.abstractmethod
    def reset(self, key):
        """Start an episode: `(state, token)`."""

    @abc.abstractmethod
    def step(self, key, key_reset, state, action):
        """One period, and the start of the next episode after the last period: `(state, Step)`."""
