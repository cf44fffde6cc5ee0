"""The common part of policies with exponential weights: log weights of the arms, and a draw mixed with a uniform one.

Arm k is played with probability

    q_k = (1 - g) exp(l_k) / sum_j exp(l_j) + g / K,

After each period, an estimate of the gains updates the log weights l. A gain is the signal of a period, that is, its reward
divided by `buyers` times the largest margin. Gains must be comparable between arms, so learning from demand would change
nothing. The theory needs gains in [0, 1]; those of Bernoulli demand are. Other gains, such as losses or Gaussian rewards,
are mapped to [0, 1] by x = (signal - u) / (v - u), where [u, v] is the range of [0, 1] and all signals so far. For gains of
any sign and scale, no weight overflows then, and no arm is abandoned permanently. Log weights are relative to the largest,
which is zero.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float, Float32, Int, Key, Num

from jaxprice import random, samplers
from jaxprice.policies.parts import arms
from jaxprice.types import Policy


@struct.dataclass
class Range:
    """Ends u and v of the range of signals so far, float scalars."""

    low: Float[Array, ""]
    high: Float[Array, ""]

    def place(self, signal: Num[Array, ""] | float) -> tuple["Range", Float[Array, ""]]:
        """The range after one more signal, and the position of this signal in it, in [0, 1]."""
        low, high = jnp.minimum(self.low, signal), jnp.maximum(self.high, signal)
        return Range(low, high), (signal - low) / (high - low)


def unit_range() -> Range:
    """The range before the first signal."""
    return Range(jnp.float32(0), jnp.float32(1))


@struct.dataclass
class State:
    """State of a policy with exponential weights.

    Attributes:
      time: number of periods played, int scalar.
      signal: the learning signal.
      range: range of the signals.
      rates: the policy's own parameters, tuned or given, a NamedTuple of scalars.
      log_weights: log weights of the arms, at most 0, float `[num_prices]`.
      probabilities: q, float `[num_prices]`.
    """

    time: Int[Array, ""]
    signal: arms.Signal
    range: Range
    rates: Any
    log_weights: Float[Array, " num_prices"]
    probabilities: Float[Array, " num_prices"]


def weights_policy(name: str, tune: Callable, learn: Callable) -> Policy:
    """Build a policy that draws an arm according to its weight.

    Args:
      name: name of the policy, for error messages.
      tune: `(number of arms, horizon) -> rates`. The horizon is a float scalar, at least 1. `rates` is a NamedTuple with a
        field `mixing`, the g above, float scalar.
      learn: `(state, action, gain) -> log weights` after the period, up to a constant, float `[num_prices]`.

    Raises:
      ValueError: at `init`, a market without a price grid.
    """

    def init(key, problem):
        del key
        learned, size = arms.learn(problem, "reward", name), problem.num_prices
        rates = tune(size, jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 1.0))
        even = jnp.full(size, 1 / size, jnp.float32)
        return State(jnp.int32(0), learned, unit_range(), rates, jnp.zeros(size, jnp.float32), even)

    def act(key, state, observation):
        del observation
        return draw(key, state.probabilities)

    def update(key, state, transition):
        del key
        seen, gain = state.range.place(state.signal.of(transition))
        log_weights = learn(state, transition.action, gain)
        log_weights = log_weights - jnp.max(log_weights)
        weights = jnp.exp(log_weights)
        mixing = state.rates.mixing
        probabilities = (1 - mixing) * weights / jnp.sum(weights) + mixing / weights.shape[0]
        return State(state.time + 1, state.signal, seen, state.rates, log_weights, probabilities)

    return Policy(init, act, update, arms.of_state(lambda state: state.probabilities))


def draw(key: Key[Array, ""], probabilities: Float[Array, " num_prices"]) -> Int[Array, ""]:
    """An arm drawn according to the probabilities, float `[num_prices]`; int scalar."""
    return random.choose(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), probabilities)


def log_size(size: int) -> float:
    """Logarithm of the number of arms; of two if there is one arm, so that no rate is zero."""
    return math.log(max(size, 2))


def given_or(value: Num[Array, ""] | float | None, tuned: Num[Array, ""] | float) -> Float32[Array, ""]:
    """The given number, or its tuned value if it is None, float32 scalar."""
    return jnp.asarray(tuned if value is None else value, jnp.float32)
