"""Paths of a market that changes between several markets (`non_stationary`): the market of each period, or the mixture of
two.

A path has the numbers of one market; it defines the initial state and the changes of the state.
"""

import abc

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, random, rules


class Path(abc.ABC):
    """A path of changes. `start` and `move` give its state, a scalar; `blends`: the market is a mixture of two.

    A path provides `rules` and `move`; without them its constructor raises a `TypeError`.
    """

    blends = False

    @staticmethod
    @abc.abstractmethod
    def rules(params, count):
        """The conditions on `params.path` for a number of markets, as in `Environment.rules`."""

    def start(self):
        """State in period 0."""
        return jnp.int32(0)

    @abc.abstractmethod
    def move(self, key, state, time):
        """State in period `time`, from the state of the previous period."""


@struct.dataclass
class Piecewise(Path):
    """Change points: first period of each market except the first, int `[M - 1]`, increasing."""

    changes: ArrayLike

    @staticmethod
    def rules(params, count):
        changes = params.path.changes
        rises = (changes >= 1).all(axis=1) & (np.diff(changes, axis=1) >= 0).all(axis=1)
        yield "path.changes", rises, "changes of at least 1 in order"

    def move(self, key, state, time):
        return jnp.sum(time >= jnp.asarray(self.changes)).astype(jnp.int32)


@struct.dataclass
class Calendar(Path):
    """The market of each slot of a cyclic calendar, int `[P]`."""

    slots: ArrayLike

    @staticmethod
    def rules(params, count):
        slots = params.path.slots
        yield "path.slots", (slots >= 0) & (slots < count), f"slots in [0, {count})"

    def start(self):
        return jnp.asarray(self.slots, jnp.int32)[0]

    def move(self, key, state, time):
        slots = jnp.asarray(self.slots, jnp.int32)
        return slots[time % slots.shape[0]]


@struct.dataclass
class Regimes(Path):
    """A Markov chain over markets: probabilities of the next market, float `[M, M]`."""

    transition: ArrayLike

    @staticmethod
    def rules(params, count):
        return rules.distributions(params, "path.transition")

    def move(self, key, state, time):
        return random.choose(jax.random.uniform(key, dtype=jnp.float32), jnp.asarray(self.transition)[state])


@struct.dataclass
class Season(Path):
    """A sinusoidal mixture of two markets: its period, and its phase as a share of the period; float scalars."""

    period: ArrayLike
    phase: ArrayLike
    blends = True

    @staticmethod
    def rules(params, count):
        return rules.above(params, 0, "path.period")

    def start(self):
        return self._weight(0)

    def move(self, key, state, time):
        return self._weight(time)

    def _weight(self, time):
        turn = jnp.mod(time / self.period + self.phase, 1.0)
        return 0.5 + 0.5 * jnp.sin(2 * jnp.pi * turn)


@struct.dataclass
class Drift(Path):
    """A reflected random walk between two markets: standard deviation of a step, and largest total distance."""

    step: ArrayLike
    budget: ArrayLike
    blends = True

    @staticmethod
    def rules(params, count):
        return rules.at_least(params, 0, "path.step", "path.budget")

    def start(self):
        return jnp.stack([jnp.float32(0.5), jnp.float32(0)])  # position, distance gone

    def move(self, key, state, time):
        here, gone = state
        move = self.step * jax.random.normal(key, dtype=jnp.float32)
        there = jnp.abs(jnp.mod(here + move + 1, 2.0) - 1)  # reflected at both ends
        left = jnp.maximum(self.budget - gone, 0.0)
        there = here + jnp.clip(there - here, -left, left)
        return jnp.stack([there, gone + jnp.abs(there - here)])


PATHS = {"piecewise": Piecewise, "calendar": Calendar, "regimes": Regimes, "season": Season, "drift": Drift}


def checked(name, value, count, horizon):
    """A number of a path, as an array."""
    if name == "changes":
        array = checks.array(name, value, (count - 1,)) if count > 1 else np.zeros(0)
        if np.any(array != np.round(array)) or np.any(np.diff(array) <= 0) or np.any(array < 1) or np.any(array >= horizon):
            raise ValueError(f"changes must be increasing integers in [1, {horizon}), before the horizon, got {value!r}")
        return array.astype(np.int32)
    if name == "slots":
        array = checks.array(name, value, (None,), low=0, high=count - 1)
        if np.any(array != np.round(array)):
            raise ValueError(f"slots must be integers in [0, {count}), got {value!r}")
        return array.astype(np.int32)
    if name == "transition":
        array = checks.array(name, value, (count, count), low=0, high=1)
        if np.any(np.abs(array.sum(axis=1) - 1) > 1e-5):
            raise ValueError(f"transition must have rows that sum to one, got {array.sum(axis=1).tolist()}")
        return array
    low = {"period": 2.0, "phase": -np.inf}.get(name, 0.0)
    return np.float32(checks.number(name, value, low=low, scalar=True))
