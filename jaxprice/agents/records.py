"""What a run of a deep learner consists of: its lanes, its state, and the record of what happened in an update."""

from typing import Any

import jax
from flax import struct

from jaxprice.agents import running, worlds


@struct.dataclass
class Lanes:
    """Lanes that play, every leaf `[lanes, ...]`.

    Attributes:
      world: state of the world.
      token: the next input of the network.
      memory: memory of the network.
      fresh: whether the episode begins now.
    """

    world: Any
    token: jax.Array
    memory: Any
    fresh: jax.Array


@struct.dataclass
class State:
    """The state of a run.

    Attributes:
      weights: "params", and "stats", the statistics of observations, if they are normalised.
      optimiser: state of the optimiser.
      update: number of updates done, int scalar.
      lanes: `Lanes`.
      observations: `running.Running` of tokens.
      rewards: `running.RewardScale`.
      rest: whatever else the learner needs.
    """

    weights: Any
    optimiser: Any
    update: jax.Array
    lanes: Lanes
    observations: running.Running
    rewards: running.RewardScale
    rest: Any = ()


@struct.dataclass
class Record:
    """What happened in `[T, lanes]`.

    Attributes:
      token, fresh: input of the network, and whether the episode began with it.
      action: the action.
      output: what the network said.
      step: `worlds.Step`.
      ahead: what the network says of `step.last`, if the learner asks for it (`looks_ahead`).
    """

    token: jax.Array
    fresh: jax.Array
    action: jax.Array
    output: Any
    step: worlds.Step
    ahead: Any = None
