"""Replay: the last transitions of all lanes, on the device, from which a learner samples.

Each lane writes one row a period, so a row and its successors are a stretch of one lane's play. The return over n steps is
made when a transition is sampled,

    R = r_t + g r_(t+1) + ... + g^(m-1) r_(t+m-1),    m = min(n, periods until the episode ends),

and the value of the token after these m steps counts with the factor g^m, or 0 if the episode terminated.

With priorities, transition i is sampled with probability P_i = p_i^a / sum p^a, where p_i is its last error, and its loss
has the weight (N P_i)^(-b), divided by the largest of the batch. New transitions get the largest priority so far. Without
them, all transitions are equally likely.

Sources: L.-J. Lin (1992), "Self-improving reactive agents based on reinforcement learning, planning and teaching",
doi:10.1007/BF00992699; T. Schaul, J. Quan, I. Antonoglou, D. Silver (2016), "Prioritized experience replay",
arXiv:1511.05952 (proportional variant); M. Hessel et al. (2018), "Rainbow", arXiv:1710.02298 (n steps).
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks

SMALL = 1e-6  # added to priorities
LONGEST = 256  # largest number of steps of a return; each one is traced separately


@struct.dataclass
class Replay:
    """Transitions, every leaf of `rows` `[capacity, lanes, ...]`.

    Attributes:
      rows: `Row`.
      mass: p^a of each row, float `[capacity, lanes]`; zero if it cannot be sampled.
      written: number of rows written so far, int scalar.
      largest: largest p^a so far, float scalar.
    """

    rows: Any
    mass: jax.Array
    written: jax.Array
    largest: jax.Array


@struct.dataclass
class Row:
    """One period: token, action, reward (raw), the token that followed, and how it ended."""

    token: jax.Array
    action: jax.Array
    reward: jax.Array
    last: jax.Array
    terminated: jax.Array
    done: jax.Array


@struct.dataclass
class Batch:
    """Sampled transitions, `[batch, ...]`.

    Attributes:
      token, action: the decision.
      reward: discounted raw reward over the steps.
      last: the token after them.
      factor: discount of its value; 0 after termination.
      weight: weight of the loss.
      place: row and lane, int `[batch, 2]`.
    """

    token: jax.Array
    action: jax.Array
    reward: jax.Array
    last: jax.Array
    factor: jax.Array
    weight: jax.Array
    place: jax.Array


def start(capacity, lanes, token, action):
    """An empty replay of `capacity` rows.

    Args:
      token, action: one of each, for shapes and types.
    """

    def rows(like):
        like = jnp.asarray(like)
        return jnp.zeros((capacity, lanes, *like.shape), like.dtype)

    row = Row(token, action, jnp.float32(0), token, jnp.bool_(False), jnp.bool_(False))
    return Replay(jax.tree.map(rows, row), jnp.zeros((capacity, lanes), jnp.float32), jnp.int32(0), jnp.float32(1))


def rows_of(capacity, lanes, length, n_step):
    """Rows of a replay of at least `capacity` transitions.

    Raises:
      ValueError: it would be too short for one update and its steps, or no return would be complete in the first update.
    """
    if n_step > length:
        raise ValueError(f"n_step must be at most length, the {length} periods between two updates, got {n_step}")
    rows = -(-capacity // lanes)
    if rows < length + n_step:
        raise ValueError(
            f"capacity must be at least lanes x (length + n_step) = {lanes * (length + n_step)} transitions, got {capacity}"
        )
    return rows


def check_memory(rows, lanes, runs, size):
    """Raise if the replays of all runs do not fit into the memory of the machine.

    Args:
      rows, lanes, runs: their number.
      size: entries of a token.

    Raises:
      ValueError: they need more memory than there is.
    """
    needed = rows * lanes * runs * (8 * size + 18)
    free = _memory()
    if needed > 0.8 * free:
        raise ValueError(
            f"capacity must fit into memory: the replays of {runs} runs take {needed / 2**30:.1f} GiB, there are "
            f"{free / 2**30:.1f} GiB"
        )


def _memory():
    """Bytes of memory of the first device, or of the machine."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] * len(jax.local_devices())
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def write(replay, record, n_step):
    """The replay with a record `[T, lanes]`; rows can be sampled when their `n_step` steps are complete."""
    length = record.action.shape[0]
    capacity = replay.mass.shape[0]
    places = (replay.written + jnp.arange(length, dtype=jnp.int32)) % capacity
    step = record.step
    new = Row(record.token, record.action, step.reward, step.last, step.terminated, step.done)
    rows = jax.tree.map(lambda old, x: old.at[places].set(x), replay.rows, new)
    ready = replay.written + jnp.arange(length, dtype=jnp.int32) - (n_step - 1)
    filled = jnp.where(ready >= 0, replay.largest, 0.0)[:, None]
    mass = replay.mass.at[places].set(0.0)
    mass = mass.at[ready % capacity].set(jnp.broadcast_to(filled, (length, mass.shape[1])))
    return Replay(rows, mass, replay.written + length, replay.largest)


def sample(replay, key, size, n_step, discount, beta=None, level=0.0):
    """A `Batch`.

    Args:
      replay: with at least one row that can be sampled.
      key: key.
      size: number of transitions.
      n_step: steps of a return.
      discount: discount of a period.
      beta: exponent of the weights of prioritised replay; None samples uniformly.
      level: number that is subtracted from the reward of every period.
    """
    capacity, lanes = replay.mass.shape
    key_row, key_lane = jax.random.split(key)
    chance = 1 - jax.random.uniform(key_row, (size,))  # in (0, 1], so that no row without mass is chosen
    if beta is None:
        complete = jnp.minimum(replay.written, capacity) - (n_step - 1)
        age = jnp.minimum((chance * complete).astype(jnp.int32), complete - 1) + (n_step - 1)
        row = (replay.written - 1 - age) % capacity
        lane = jax.random.randint(key_lane, (size,), 0, lanes, jnp.int32)
        weight = jnp.ones(size, jnp.float32)
    else:
        total = jnp.cumsum(replay.mass.sum(axis=1))
        wanted = (jnp.arange(size, dtype=jnp.float32) + chance) / size * total[-1]
        row = jnp.minimum(jnp.searchsorted(total, wanted), capacity - 1).astype(jnp.int32)
        inside = jnp.cumsum(replay.mass[row], axis=1)
        wanted = (1 - jax.random.uniform(key_lane, (size,))) * inside[:, -1]
        lane = jnp.minimum(jnp.sum(inside < wanted[:, None], axis=1), lanes - 1).astype(jnp.int32)
        likely = replay.mass[row, lane] / total[-1]
        count = jnp.sum(replay.mass > 0).astype(jnp.float32)
        weight = jnp.where(likely > 0, (count * jnp.maximum(likely, 1e-30)) ** -beta, 0.0)  # 0 after an error of rounding
        weight = weight / weight.max()
    return _returns(replay.rows, row, lane, n_step, discount, weight, level)


def _returns(rows, row, lane, n_step, discount, weight, level):
    """The transitions at `row`, `lane` with their returns."""
    capacity = rows.reward.shape[0]
    total, factor = jnp.zeros_like(weight), jnp.ones_like(weight)
    alive, last, terminated = jnp.ones_like(weight, bool), rows.last[row, lane], rows.terminated[row, lane]
    for k in range(n_step):
        at = (row + k) % capacity
        total = total + jnp.where(alive, factor * (rows.reward[at, lane] - level), 0.0)
        last = jnp.where(alive[:, None], rows.last[at, lane], last)
        terminated = jnp.where(alive, rows.terminated[at, lane], terminated)
        factor = jnp.where(alive, factor * discount, factor)
        alive = alive & ~rows.done[at, lane]
    factor = jnp.where(terminated, 0.0, factor)
    return Batch(rows.token[row, lane], rows.action[row, lane], total, last, factor, weight, jnp.stack([row, lane], axis=1))


def set_priorities(replay, place, errors, alpha):
    """The replay with the errors of a batch as priorities, with the exponent `alpha`; `place` int `[batch, 2]`."""
    mass = (jnp.abs(errors) + SMALL) ** alpha
    rows, lanes = place[:, 0], place[:, 1]
    return replay.replace(mass=replay.mass.at[rows, lanes].set(mass), largest=jnp.maximum(replay.largest, mass.max()))


def check_whole(capacity, batch, n_step):
    """`capacity`, `batch` and `n_step` as positive integers.

    Raises:
      ValueError: one of them is not.
    """
    return (
        checks.positive_int("capacity", capacity),
        checks.positive_int("batch", batch),
        checks.whole("n_step", n_step, 1, LONGEST),
    )
