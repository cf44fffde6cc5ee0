"""What policies with exponential weights share: log weights of the arms, and a draw by them, mixed with a uniform one.

Arm k is played with probability

    q_k = (1 - g) exp(l_k) / sum_j exp(l_j) + g / K,

and after each period the log weights l change by what an estimate of the gains says. A gain is the signal of a period, its
reward over `buyers` times the largest margin: gains must be comparable between arms, so that learning from demand would make
no difference. The theory wants them in [0, 1], where those of Bernoulli demand are. Others, such as losses or Gaussian
rewards, are put there by the range [u, v] of [0, 1] and all signals so far, x = (signal - u) / (v - u): whatever their sign
and scale, no weight overflows, and no arm is given up for good. Log weights are kept relative to the largest, which is zero.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import random, samplers
from jaxprice.policies.parts import arms
from jaxprice.types import Policy


@struct.dataclass
class Range:
    """Ends u and v of the range of signals so far, float scalars."""

    low: jax.Array
    high: jax.Array

    def place(self, signal):
        """The range with one more signal, and the place of that in it, in [0, 1]."""
        low, high = jnp.minimum(self.low, signal), jnp.maximum(self.high, signal)
        return Range(low, high), (signal - low) / (high - low)


def unit_range():
    """The range before the first signal."""
    return Range(jnp.float32(0), jnp.float32(1))


@struct.dataclass
class State:
    """State of a policy with exponential weights.

    Attributes:
      time: periods played, int scalar.
      signal: what a sale teaches.
      range: of the signals.
      rates: the policy's own numbers, tuned or given, a NamedTuple of scalars.
      log_weights: of the arms, at most 0, float `[num_prices]`.
      probabilities: q, float `[num_prices]`.
    """

    time: jax.Array
    signal: arms.Signal
    range: Range
    rates: Any
    log_weights: jax.Array
    probabilities: jax.Array


def weights_policy(name, tune, learn):
    """The policy that draws an arm by its weight.

    Args:
      name: of the policy, for error messages.
      tune: `(number of arms, horizon) -> rates`, where the horizon is a float scalar, at least 1, and the NamedTuple `rates`
        has a `mixing`, the g above, float scalar.
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

    return Policy(init, act, update)


def draw(key, probabilities):
    """An arm drawn by its probability, float `[num_prices]`; int scalar."""
    return random.choose(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), probabilities)


def log_size(size):
    """Logarithm of the number of arms, of two where there is one: no rate is then zero."""
    return math.log(max(size, 2))


def given_or(value, tuned):
    """A number that was given, or else its tuned value, float32 scalar."""
    return jnp.asarray(tuned if value is None else value, jnp.float32)
