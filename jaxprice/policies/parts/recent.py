"""The common part of policies that forget: sums over the last W pulls, and sums with smaller weights for older pulls.

A window stores the last W pulls of all arms together in a ring buffer of fixed length. A new pull takes the place of the
oldest one, which is subtracted from the sums. Adding and subtracting numbers leaves rounding errors. They are removed once
in W pulls, because the sums of pulls before and since the last turn of the buffer are stored separately. With W beyond the
horizon nothing is subtracted, and the sums are those of `arms.Sums`.

With a discount g in (0, 1], each period multiplies the sums of all arms by g before the new pull is added:

    N_k <- g N_k + 1{k pulled},      S_k <- g S_k + x 1{k pulled}.
"""

import math

import jax.numpy as jnp
from flax import struct
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num

from jaxprice import checks
from jaxprice.policies.parts import arms
from jaxprice.types import Problem

LONGEST = 2**24  # largest window


@struct.dataclass
class Window:
    """The last W pulls, W the length of the buffer.

    Attributes:
      time: number of pulls so far, int scalar.
      actions: arms of the pulls in the buffer, int `[W]`.
      signals: their signals, float `[W]`.
      oldest: arm and signal of the pull that leaves next, int and float scalars. They are read right after the buffer is
        written. XLA then updates the buffer in place; a read before the write would copy the whole buffer in every period.
      counts: number of pulls of each arm in the buffer, float `[num_prices]`; float32 counts up to `LONGEST`.
      before: sums of signals of the pulls before the last turn of the buffer, float `[num_prices]`.
      since: sums of signals of the pulls since then, float `[num_prices]`.
    """

    time: Int[Array, ""]
    actions: Int[Array, " W"]
    signals: Float[Array, " W"]
    oldest: tuple[Int[Array, ""], Float[Array, ""]]
    counts: Float[Array, " num_prices"]
    before: Float[Array, " num_prices"]
    since: Float[Array, " num_prices"]

    @property
    def sums(self) -> Float[Array, " num_prices"]:
        """Sums of signals over the window, float `[num_prices]`."""
        return self.before + self.since

    def add(self, action: Int[ArrayLike, ""], signal: Num[Array, ""] | float) -> "Window":
        """The window after one more pull."""
        length, (arm, left) = self.actions.shape[0], self.oldest
        place, following = self.time % length, (self.time + 1) % length
        full, turn = (self.time >= length).astype(jnp.float32), place == 0
        before = jnp.where(turn, self.since, self.before).at[arm].add(-full * left)
        since = jnp.where(turn, 0.0, self.since).at[action].add(signal)
        counts = self.counts.at[action].add(1.0).at[arm].add(-full)
        actions = lax.dynamic_update_index_in_dim(self.actions, jnp.asarray(action, jnp.int32), place, 0)
        signals = lax.dynamic_update_index_in_dim(self.signals, jnp.asarray(signal, jnp.float32), place, 0)
        arm, left = (lax.dynamic_index_in_dim(x, following, keepdims=False) for x in (actions, signals))
        return Window(self.time + 1, actions, signals, (arm, left), counts, before, since)


def check(window: int) -> int:
    """`window` as an int from 1 to `LONGEST`.

    Raises:
      ValueError: it is not such an int.
    """
    return checks.whole("window", window, 1, LONGEST)


def no_window(problem: Problem, length: int) -> Window:
    """The window before the first pull."""
    zeros = jnp.zeros(problem.num_prices, jnp.float32)
    buffer = jnp.zeros(length, jnp.float32)
    return Window(jnp.int32(0), buffer.astype(jnp.int32), buffer, (jnp.int32(0), jnp.float32(0)), zeros, zeros, zeros)


def best(
    weights: Float[Array, " num_prices"],
    counts: Float[Array, " num_prices"],
    sums: Float[Array, " num_prices"],
    scaled_log: Num[Array, ""] | float,
) -> Int[Array, ""]:
    """The arm to play by upper confidence bounds w_k (S_k / N_k + sqrt(scaled_log / N_k)).

    Args:
      weights: values of a signal of one, float `[num_prices]`.
      counts: pulls N_k, float `[num_prices]`; an arm with no pull, or less than `arms.NEVER`, is played at once.
      sums: sums of signals S_k, float `[num_prices]`.
      scaled_log: squared bonus after one pull, float scalar, at least 0.

    Returns:
      int scalar; ties go to the lowest price.
    """
    inverse = 1 / jnp.maximum(counts, arms.NEVER)
    index = weights * (sums * inverse + jnp.sqrt(scaled_log) * jnp.sqrt(inverse))
    return jnp.argmax(jnp.where(counts < arms.NEVER, jnp.inf, index))


def discount_or_tuned(
    discount: Num[Array, ""] | float | None, changes: Num[Array, ""] | float, problem: Problem
) -> Float[Array, ""]:
    """The discount, or 1 - sqrt(changes / T) / 4 for None, float scalar in (0, 1]."""
    if discount is not None:
        return jnp.float32(discount)
    horizon = jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 1.0)
    return 1 - jnp.sqrt(jnp.minimum(changes / horizon, 1.0)) / 4


def tuned_window(horizon: int, changes: float = 1.0) -> int:
    """The window 2 sqrt(T log(T) / changes) of Garivier and Moulines for rewards in [0, 1], an int of at least 1."""
    horizon = checks.positive_int("horizon", horizon)
    return max(1, round(2 * math.sqrt(horizon * math.log(horizon) / changes)))
