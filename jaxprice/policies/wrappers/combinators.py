"""The common part of functions that build a policy from others: checks, one object per call, descriptions, a buffer of
sales.

A combinator that is called twice with the same policies and numbers returns the same Policy, so that compiled code is found
again; traced numbers pass through. It accepts any `Policy` except the oracle, which acts on the true market and learns
nothing.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Bool

from jaxprice.policies.registry import maker_with_arguments
from jaxprice.types import Discrete, Interval, Oracle, Policy, Problem, Transition


def combinator(function: Callable | None = None, *, kinds: Any = ()) -> Any:
    """Make `function` a combinator. Its first parameter is `policy`, or `*policies`; `kinds` are as in `policy_maker`."""
    if function is None:
        return functools.partial(combinator, kinds=kinds)
    first = next(iter(inspect.signature(function).parameters))

    def check(arguments):
        given = arguments[first]
        for policy in given if first == "policies" else (given,):
            check_policy(policy, function.__name__)

    return maker_with_arguments(function, kinds=kinds, check=check)


def check_policy(policy: Any, name: str) -> None:
    """Raise for an object that is not a policy, and for the oracle.

    Raises:
      ValueError: the object is one of these; the message gives the `name` of the combinator.
    """
    if isinstance(policy, Oracle):
        raise ValueError(f"{name} takes policies that learn, not the oracle, which acts from the truth of the market")
    if not isinstance(policy, Policy):
        raise ValueError(f"{name} takes a Policy, got {policy!r}")


def passed_on(policy: Policy, inner: Callable) -> Any:
    """`Policy.probabilities` of a policy that plays the action of `policy` in the state `inner(state)`; None if unknown."""
    law = policy.probabilities
    return None if law is None else lambda state, observation: law(inner(state), observation)


def select(flag: Bool[ArrayLike, ""], chosen: Any, other: Any) -> Any:
    """`chosen` if `flag`, a bool scalar, otherwise `other`; pytrees of one structure."""
    return jax.tree.map(lambda a, b: jnp.where(flag, a, jnp.asarray(b)), chosen, other)


@struct.dataclass
class Buffer:
    """Transitions in a ring buffer of fixed length.

    Attributes:
      time: number of transitions added so far, int scalar.
      ring: a `Transition` with leaves `[length, ...]`; transition s is at position s modulo the length.
    """

    time: jax.Array
    ring: Transition

    @property
    def length(self) -> int:
        """Capacity of the buffer."""
        return self.ring.reward.shape[0]

    def add(self, transition: Transition) -> "Buffer":
        """The buffer with one more transition, in the place of the oldest."""
        place = self.time % self.length

        def put(ring, x):
            return lax.dynamic_update_index_in_dim(ring, jnp.asarray(x, ring.dtype), place, 0)

        return Buffer(self.time + 1, jax.tree.map(put, self.ring, transition))

    def __getitem__(self, number):
        """The transition with this number, from 0, int scalar; it must be one of the last `length`."""
        place = number % self.length
        return jax.tree.map(lambda ring: lax.dynamic_index_in_dim(ring, place, 0, keepdims=False), self.ring)


def empty_buffer(problem: Problem, length: int, name: str) -> Buffer:
    """The buffer before the first sale.

    Raises:
      ValueError: the problem does not show the shape of an observation; the message gives the `name` of the combinator.
    """
    if problem.observation is None:
        raise ValueError(
            f"{name} keeps observations and has to know their shape: give it problem.with_observation(observation)"
        )
    space = problem.action_space
    kind = jnp.int32 if isinstance(space, Discrete) else jnp.float32 if isinstance(space, Interval) else jnp.bool_
    posted = jnp.zeros((length, *problem.prices.shape[1:]), jnp.float32)
    if isinstance(space, Interval):
        posted = jnp.zeros((length, *space.shape), jnp.float32)
    observations = jax.tree.map(lambda x: jnp.zeros((length, *jnp.shape(x)), jnp.result_type(x)), problem.observation)
    blank = Transition(
        observation=observations,
        action=jnp.zeros((length, *space.shape), kind),
        price=posted,
        demand=posted,
        reward=jnp.zeros(length, jnp.float32),
        next_observation=observations,
    )
    return Buffer(jnp.int32(0), blank)
