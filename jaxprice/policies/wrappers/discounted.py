"""Discounting: an index policy in which the weight of a pull is multiplied by g in every period.

It applies to policies whose state is an `arms.IndexState`: the number t of the next pull and, for each arm, its pulls N_k
and signals S_k. Before each update both sums are multiplied by g. The policy then chooses as if the next pull had number n,
the discounted number of pulls including the coming one:

    N_k <- g N_k + 1{k pulled},      S_k <- g S_k + x 1{k pulled},      n <- 1 + g n.

These policies play an arm with less than half a pull at once (`arms.best`). Here this includes an arm without a pull in the
last log(2 N_k) / log(1 / g) periods. So no arm is abandoned: for g close to one, each gets at least a share of about
(1 - g) / log(3) of the periods. While all N_k are above one half, `discounted(ucb1(scale=4 xi), g)` equals `discounted_ucb`.
With g = 1 this is the policy itself. Policies that keep other statistics, such as squares, are refused.

Regret against the best arm of each period: for UCB, O(sqrt(C T) log T) with C changes and g = 1 - sqrt(C / T) / 4.

Source: A. Garivier, E. Moulines (2011), "On upper-confidence bound policies for switching bandit problems",
doi:10.1007/978-3-642-24412-4_16, arXiv:0805.3415.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, totals
from jaxprice.policies.wrappers import combinators
from jaxprice.types import Policy


@struct.dataclass
class Faded:
    """`arms.Sums` with discounting: counts, sums, and rounding errors of both, float `[num_prices]` each."""

    counts: jax.Array
    sums: jax.Array
    lost: tuple[jax.Array, jax.Array]

    def add(self, action, signal):
        """The sums after one more pull."""
        here, long = jnp.arange(self.counts.shape[0], dtype=jnp.int32) == action, self.counts >= totals.LONG
        counts, less = totals.plus(self.counts, self.lost[0], jnp.where(here, 1.0, 0.0), long)
        sums, lost = totals.plus(self.sums, self.lost[1], jnp.where(here, signal, 0.0), long)
        return Faded(counts, sums, (less, lost))


@struct.dataclass
class State:
    """State of the index policy with discounted sums; discounted number of pulls n and its rounding error, float scalars."""

    inner: arms.IndexState
    total: jax.Array
    lost: jax.Array


@combinators.combinator
def discounted(policy, discount):
    """An index policy that forgets.

    Args:
      policy: the inner policy; its only statistics must be sums over arms.
      discount: factor g per period, in (0, 1]; may be traced.

    Raises:
      ValueError: the argument is not a policy, or the discount is out of range; at `init`, the policy has other statistics.
    """
    checks.number("discount", discount, low=1e-6, high=1, scalar=True)

    def init(key, problem):
        inner = policy.init(key, problem)
        if type(inner) is not arms.IndexState:
            raise ValueError(
                "discounted takes index policies that keep sums over arms only, such as ucb1, "
                f"but this one keeps a {type(inner).__module__}.{type(inner).__name__}"
            )
        zeros = jnp.zeros_like(inner.arms.sums)
        return State(
            dataclasses.replace(inner, arms=Faded(inner.arms.counts, zeros, (zeros, zeros))), jnp.float32(1), jnp.float32(0)
        )

    def act(key, state, observation):
        return policy.act(key, state.inner.replace(time=state.total), observation)

    def update(key, state, transition):
        g, sums = jnp.float32(discount), state.inner.arms
        lost = jax.tree.map(lambda x: g * x, sums.lost)
        shrunk = state.inner.replace(arms=Faded(jnp.maximum(g * sums.counts, arms.NEVER), g * sums.sums, lost))
        total = totals.plus(g * state.total, g * state.lost, 1.0, state.total >= totals.LONG)
        return State(policy.update(key, shrunk, transition), *total)

    return Policy(init, act, update, combinators.passed_on(policy, lambda state: state.inner.replace(time=state.total)))
