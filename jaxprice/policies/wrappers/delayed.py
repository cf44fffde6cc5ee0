"""Delayed feedback: any policy, in a market where what was sold is only known some sales later.

The inner policy acts every period. With law "fixed" its update for sale s (from 0) comes right after sale s + d. With law
"uniform" each sale has a delay of its own, uniform on 0, ..., d, and all sales that are due are learned from at once, the
oldest first: sales may overtake each other. What has not arrived by the horizon is never seen. With d = 0 this is the
policy itself.

The inner policy is told nothing of the delays. One that draws at random (Thompson sampling, Exp3) goes on trying prices
while it waits; a deterministic one (UCB1) repeats its price until news comes, so it spends d + 1 periods on its first
price and again d + 1 on each other price of its first round. Its own clock counts the sales that it has learned from.

The buffer holds d + 1 transitions; with random delays a period costs d + 1 updates of the inner policy.

Regret: for stochastic demand, delays add to the regret of UCB a term of order d times the sum of the gaps (Joulani et al.);
for adversarial demand, Exp3 with its rate tuned to the delay has O(sqrt((K + d) T log K)) (Thune et al.).

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
    """State of the policy, last sales, and the sale after which each of them arrives, int `[d + 1]`; None: not needed."""

    inner: Any
    buffer: combinators.Buffer | None
    arrival: jax.Array | None


@combinators.combinator
def delayed(policy, delay, law="fixed"):
    """A policy that learns of each sale late.

    Args:
      policy: the inner policy.
      delay: delay in sales, or the longest one; an int of at least 0.
      law: "fixed", every sale has this delay, or "uniform", each has one drawn from 0, ..., `delay`.

    Raises:
      ValueError: no policy, a bad delay or an unknown law; at `init`, a delay longer than the horizon (where the horizon is
        a concrete number), or no shape of an observation.
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
            after = policy.update(key, state.inner, buffer[now - delay])  # read after the buffer is written, in place
            return State(combinators.select(now >= delay, after, state.inner), buffer, None)
        u = samplers.uniform(jax.random.bits(jax.random.fold_in(key, delay + 1), (), jnp.uint32))
        due = now + jnp.minimum((u * (delay + 1)).astype(jnp.int32), delay)
        arrival = lax.dynamic_update_index_in_dim(state.arrival, due, now % buffer.length, 0)
        deliver = functools.partial(_deliver, policy, key, now, buffer, arrival)
        return State(lax.fori_loop(0, delay + 1, deliver, state.inner), buffer, arrival)

    return Policy(init, act, update)


def _deliver(policy, key, now, buffer, arrival, i, inner):
    """Learn from the i-th sale of the buffer, the oldest first, if it arrives now."""
    number = now - buffer.length + 1 + i  # negative for places not yet filled, which arrive never
    due = lax.dynamic_index_in_dim(arrival, number % buffer.length, 0, keepdims=False) == now
    return combinators.select(due, policy.update(jax.random.fold_in(key, i), inner, buffer[number]), inner)
