"""Sellers that write the logs: rules with known probabilities, on a price grid or on an interval.

A rule maps an observation to the probabilities of all prices. A seller that follows it draws a price by inversion of the
distribution function. The rules start from a prior guess of demand, as sellers do: they prefer prices that the guess calls
good, which need not be those that are.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy import special

from jaxprice import samplers
from jaxprice.types import Policy

Rule = Callable[[jax.Array], jax.Array]


def softmax(rewards: Rule, temperature: float) -> Rule:
    """Probabilities proportional to `exp(reward / temperature)`, with rewards `[num_actions]` of an observation."""
    return lambda seen: jax.nn.softmax(rewards(seen) / temperature)


def greedy(rewards: Rule) -> Rule:
    """The first price with the largest reward."""

    def rule(seen):
        found = rewards(seen)
        return (jnp.arange(found.shape[0]) == jnp.argmax(found)).astype(jnp.float32)

    return rule


def epsilon_greedy(rewards: Rule, epsilon: float) -> Rule:
    """The best price, and with probability `epsilon` a price of the whole grid, all equally likely."""
    best = greedy(rewards)

    def rule(seen):
        found = best(seen)
        return (1 - epsilon) * found + epsilon / found.shape[0]

    return rule


def uniform(num_actions: int) -> Rule:
    """All prices equally likely."""
    return lambda seen: jnp.full(num_actions, 1 / num_actions, jnp.float32)


def following(rule: Rule) -> Policy:
    """The policy that posts prices of a grid with the probabilities `rule(observation)`."""

    def act(key, state, observation):
        del state
        below = jnp.cumsum(rule(observation))
        u = samplers.uniform(jax.random.bits(key, (), jnp.uint32))
        return jnp.sum(below <= u * below[-1]).astype(jnp.int32)  # never a price of probability zero

    return Policy(_nothing, act, _unchanged, lambda state, observation: rule(observation))


def truncated_normal(centre: Rule, scale: float, low: float, high: float) -> Policy:
    """The policy that posts prices from a normal distribution around `centre(observation)`, cut to `[low, high]`.

    Args:
      centre: maps an observation to a price in the interval.
      scale: standard deviation before the cut; infinite for uniform prices.
      low, high: ends of the interval.
    """

    def mass(seen):
        below, above = ((end - centre(seen)) / scale for end in (low, high))
        return special.ndtr(below), special.ndtr(above)

    def act(key, state, observation):
        del state
        u = samplers.uniform(jax.random.bits(key, (), jnp.uint32))
        if math.isinf(scale):
            return low + u * (high - low)
        start, end = mass(observation)
        price = centre(observation) + scale * special.ndtri(start + u * (end - start))
        return jnp.clip(price, low, high)

    def law(state, observation):
        del state
        if math.isinf(scale):
            return lambda price: jnp.float32(1 / (high - low))
        start, end = mass(observation)

        def density(price):
            z = (price - centre(observation)) / scale
            return jnp.exp(-0.5 * z * z) / (math.sqrt(2 * math.pi) * scale * (end - start))

        return density

    return Policy(_nothing, act, _unchanged, law)


def _nothing(key, problem):
    """The state of a seller that remembers nothing."""
    del key, problem
    return jnp.int32(0)


def _unchanged(key, state, transition):
    del key, transition
    return state
