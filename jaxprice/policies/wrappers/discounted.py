"""Discounting: an index policy in which a pull counts for g times less with every period that passes.

It works on the policies whose state is an `arms.IndexState`: all that they know is the number t of the next pull and, for
each arm, its pulls N_k and signals S_k. Before each update both sums are multiplied by g, and the policy chooses as if it
were pull number n, the discounted number of pulls with the one to come:

    N_k <- g N_k + 1{k pulled},      S_k <- g S_k + x 1{k pulled},      n <- 1 + g n.

These policies play at once an arm with less than half a pull (`arms.best`): here also one that was not pulled for the last
log(2 N_k) / log(1 / g) periods. So no arm is given up: for g close to one, each takes at least a share of about
(1 - g) / log(3) of the periods. While all N_k are above one half, `discounted(ucb1(scale=4 xi), g)` is `discounted_ucb`.
With g = 1 this is the policy itself. Policies that keep more than these sums, such as squares, are refused.

Regret against the best arm of each period: for UCB, O(sqrt(C T) log T) with C changes and g = 1 - sqrt(C / T) / 4.

Source: A. Garivier, E. Moulines (2011), "On upper-confidence bound policies for switching bandit problems",
doi:10.1007/978-3-642-24412-4_16, arXiv:0805.3415.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, totals
from jaxprice.policies.wrappers import combinators
from jaxprice.types import Policy


@struct.dataclass
class Faded:
    """`arms.Sums` in which pulls fade: counts, sums, and what rounding has kept from both, float `[num_prices]` each."""

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
    """State of the index policy, its sums faded; discounted number of pulls n, and what rounding has kept, float scalars."""

    inner: arms.IndexState
    total: jax.Array
    lost: jax.Array


@combinators.combinator
def discounted(policy, discount):
    """An index policy that forgets.

    Args:
      policy: the inner policy, one that keeps nothing but sums over arms.
      discount: factor g per period, in (0, 1]; may be traced.

    Raises:
      ValueError: no policy, or a discount out of range; at `init`, a policy that keeps more than sums over arms.
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
        return State(inner.replace(arms=Faded(inner.arms.counts, zeros, (zeros, zeros))), jnp.float32(1), jnp.float32(0))

    def act(key, state, observation):
        return policy.act(key, state.inner.replace(time=state.total), observation)

    def update(key, state, transition):
        g, sums = jnp.float32(discount), state.inner.arms
        lost = jax.tree.map(lambda x: g * x, sums.lost)
        shrunk = state.inner.replace(arms=Faded(jnp.maximum(g * sums.counts, arms.NEVER), g * sums.sums, lost))
        total = totals.plus(g * state.total, g * state.lost, 1.0, state.total >= totals.LONG)
        return State(policy.update(key, shrunk, transition), *total)

    return Policy(init, act, update)
