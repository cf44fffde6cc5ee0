"""Delayed feedback: any policy, in a market that reports each sale only some sales later.

The inner policy acts in every period. With law "fixed", its update for sale s (from 0) comes right after sale s + d. With
law "uniform", each sale has an independent delay, uniform on 0, ..., d. All sales that are due are learned at once, the
oldest first, so sales may arrive out of order. Sales that have not arrived by the horizon are never seen. With d = 0 this is
the policy itself.

The inner policy does not know the delays. A randomised policy (Thompson sampling, Exp3) keeps trying prices while it waits.
A deterministic policy (UCB1) repeats its price until a sale arrives, so it spends d + 1 periods on each price of its first
round. Its own clock counts the sales that it has learned from.

The buffer holds d + 1 transitions; with random delays a period costs d + 1 updates of the inner policy.

Regret: for stochastic demand, delays add a term of order d times the sum of the gaps to the regret of UCB (Joulani et al.).
For adversarial demand, Exp3 with its rate tuned to the delay has O(sqrt((K + d) T log K)) (Thune et al.).

Sources: P. Joulani, A. Gyorgy, C. Szepesvari (2013), "Online learning under delayed feedback", arXiv:1306.0686; T. S. Thune,
N. Cesa-Bianchi, Y. Seldin (2019), "Nonstochastic multiarmed bandits with unrestricted delays", NeurIPS 32.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxprice import checks, samplers
from jaxprice.policies.wrappers import combinators
from jaxprice.types import Policy

LAWS = ("fixed", "uniform")


@struct.dataclass
class State:
    """State of the policy, last sales, and the sale after which each of them arrives, int `[d + 1]`; None if not needed."""

    inner: Any
    buffer: combinators.Buffer | None
    arrival: jax.Array | None


@combinators.combinator
def delayed(policy, delay, law="fixed"):
    """A policy that receives each sale late.

    Args:
      policy: the inner policy.
      delay: delay in sales, or the longest one; an int of at least 0.
      law: "fixed", every sale has this delay; or "uniform", each sale draws its delay from 0, ..., `delay`.

    Raises:
      ValueError: the argument is not a policy, the delay is invalid or the law unknown; at `init`, the delay exceeds the
        horizon (if the horizon is a concrete number), or the shape of an observation is unknown.
    """
    delay = checks.whole("delay", delay, 0, checks.LARGEST - 1)
    checks.choice("law", law, LAWS)

    def init(key, problem):
        if not checks.is_traced(problem.horizon) and delay > (horizon := int(problem.horizon)):
            raise ValueError(f"delayed got a delay of {delay}, longer than the horizon of {horizon}")
        inner = policy.init(key, problem)
        if delay == 0:
            return State(inner, None, None)
        arrival = jnp.full(delay + 1, -1, jnp.int32) if law == "uniform" else None
        return State(inner, combinators.empty_buffer(problem, delay + 1, "delayed"), arrival)

    def act(key, state, observation):
        return policy.act(key, state.inner, observation)

    def update(key, state, transition):
        if delay == 0:
            return State(policy.update(key, state.inner, transition), None, None)
        now, buffer = state.buffer.time, state.buffer.add(transition)
        if law == "fixed":
            after = policy.update(key, state.inner, buffer[now - delay])  # read after the write: no copy
            return State(combinators.select(now >= delay, after, state.inner), buffer, None)
        u = samplers.uniform(jax.random.bits(jax.random.fold_in(key, delay + 1), (), jnp.uint32))
        due = now + jnp.minimum((u * (delay + 1)).astype(jnp.int32), delay)
        arrival = lax.dynamic_update_index_in_dim(state.arrival, due, now % buffer.length, 0)
        deliver = functools.partial(_deliver, policy, key, now, buffer, arrival)
        return State(lax.fori_loop(0, delay + 1, deliver, state.inner), buffer, arrival)

    return Policy(init, act, update, combinators.passed_on(policy, lambda state: state.inner))


def _deliver(policy, key, now, buffer, arrival, i, inner):
    """Learn from the i-th sale of the buffer, the oldest first, if it arrives now."""
    number = now - buffer.length + 1 + i  # negative for empty places, which never arrive
    due = lax.dynamic_index_in_dim(arrival, number % buffer.length, 0, keepdims=False) == now
    return combinators.select(due, policy.update(jax.random.fold_in(key, i), inner, buffer[number]), inner)
