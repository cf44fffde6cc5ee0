"""Batched learning: any policy, which receives its sales in batches.

The inner policy acts in every period, but learns only after every m-th sale, from these m sales one after another, in order.
In between its state does not change; a randomised policy still draws anew in every period. The policy never learns from an
incomplete last batch. With m = 1 this is the policy itself. The buffer holds m transitions.

Regret: batches are delays of m - 1, ..., 0 sales in turn, with the same cost (see `delayed`): m is added to the regret, and
the rate in T stays the same. If the number of batches is limited, growing batches are better (Perchet et al.); the batches
here have a fixed size.

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
    """State of the inner policy, and the last sales, which are None for batches of one."""

    inner: Any
    buffer: combinators.Buffer | None


@combinators.combinator
def batched(policy, size):
    """A policy that learns in batches.

    Args:
      policy: the inner policy.
      size: number m of sales in a batch, an int of at least 1.

    Raises:
      ValueError: the argument is not a policy, or the size is invalid; at `init`, the shape of an observation is unknown.
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

        # all lanes share the clock, so a loop of zero rounds costs nothing in between
        rounds = jnp.where(buffer.time % size == 0, size, 0)
        return State(lax.fori_loop(0, rounds, learn, state.inner), buffer)

    return Policy(init, act, update, combinators.passed_on(policy, lambda state: state.inner))
