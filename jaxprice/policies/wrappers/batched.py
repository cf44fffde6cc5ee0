"""Batched learning: any policy, told of its sales in batches.

The inner policy acts every period, but learns only after every m-th sale, then from these m sales one after another, in
order. In between its state does not change; one that draws at random still draws anew every period. An incomplete last
batch is never learned from. With m = 1 this is the policy itself. The buffer holds m transitions.

Regret: batches are delays of m - 1, ..., 0 sales in turn, and cost as these do (see `delayed`): m adds to the regret, the
rate in T stays. Where the number of batches is the constraint, they had better grow (Perchet et al.); those here have one
size.

Source: V. Perchet, P. Rigollet, S. Chassang, E. Snowberg (2016), "Batched bandit problems", doi:10.1214/15-AOS1381.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxprice import checks
from jaxprice.policies.wrappers import combinators
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the inner policy, and the last sales; None for batches of one."""

    inner: Any
    buffer: combinators.Buffer | None


@combinators.combinator
def batched(policy, size):
    """A policy that learns in batches.

    Args:
      policy: the inner policy.
      size: sales m in a batch, an int of at least 1.

    Raises:
      ValueError: no policy, or a bad size; at `init`, no shape of an observation.
    """
    checks.positive_int("size", size)

    def init(key, problem):
        inner = policy.init(key, problem)
        return State(inner, None if size == 1 else combinators.empty_buffer(problem, size, "batched"))

    def act(key, state, observation):
        return policy.act(key, state.inner, observation)

    def update(key, state, transition):
        if size == 1:
            return State(policy.update(key, state.inner, transition), None)
        buffer = state.buffer.add(transition)

        def learn(i, inner):
            return policy.update(jax.random.fold_in(key, i), inner, buffer[i])

        # the clock is shared by all lanes, so a loop of no rounds costs nothing in between
        rounds = jnp.where(buffer.time % size == 0, size, 0)
        return State(lax.fori_loop(0, rounds, learn, state.inner), buffer)

    return Policy(init, act, update)
