"""Discounted UCB: upper confidence bounds in which the weight of a pull is multiplied by g in every period.

With N_k and S_k the discounted pulls and signals of arm k (`recent` has the update), the index of arm k at pull t is

    w_k (S_k / N_k + 2 sqrt(xi log(n) / N_k)),      n = (1 - g^t) / (1 - g),

with signals in [0, 1] and weights as in `ucb1`. n is the discounted number of pulls, including the coming pull, whose weight
is one. With g = 1 nothing is forgotten and this is `ucb1(scale=4 xi)`. An arm without pulls is played at once, the lowest
price first, and so is an arm whose N_k has fallen below 1e-12. Ties go to the lowest price. The proof needs xi above 1/2;
the default is that of the authors' experiments. For a horizon T with C changes they advise g = 1 - sqrt(C / T) / 4, the
default.

Regret against the best arm of each period: O(sqrt(C T) log T) with that discount.

Source: A. Garivier, E. Moulines (2011), "On upper-confidence bound policies for switching bandit problems",
doi:10.1007/978-3-642-24412-4_16; constants from arXiv:0805.3415.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, recent, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of discounted UCB.

    Attributes:
      discount: g, float scalar.
      total: discounted number of pulls n, float scalar.
      signal: the learning signal.
      counts, sums: N_k and S_k, float `[num_prices]`.
      lost: rounding errors of total, counts and sums (`totals`): with g = 1 nothing decays.
    """

    discount: jax.Array
    total: jax.Array
    signal: arms.Signal
    counts: jax.Array
    sums: jax.Array
    lost: tuple[jax.Array, jax.Array, jax.Array]


@policy_maker(
    source="Garivier and Moulines (2011)",
    regret="sqrt(C T) log T, C changes",
    feedback="demand or reward",
)
def discounted_ucb(discount=None, changes=1.0, xi=0.6, signal="demand"):
    """Discounted UCB.

    Args:
      discount: factor g per period, in (0, 1]; may be traced. By default tuned to the horizon and to `changes`.
      changes: number of changes C that the default discount is tuned to, above 0; may be traced.
      xi: exploration constant, at least 0; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a number out of range, or an unknown signal.
    """
    if discount is not None:
        checks.number("discount", discount, low=1e-6, high=1)
    checks.number("changes", changes, low=1e-6)
    checks.number("xi", xi, low=0)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        learned = arms.learn(problem, signal, "discounted_ucb")
        zeros = jnp.zeros(problem.num_prices, jnp.float32)
        g, lost = recent.discount_or_tuned(discount, changes, problem), (jnp.float32(0), zeros, zeros)
        return State(g, jnp.float32(1), learned, zeros, zeros, lost)

    def act(key, state, observation):
        del key, observation
        return recent.best(state.signal.weights, state.counts, state.sums, 4 * xi * jnp.log(state.total))

    def update(key, state, transition):
        del key
        g, here = state.discount, jnp.arange(state.counts.shape[0], dtype=jnp.int32) == transition.action
        lost, long = [g * x for x in state.lost], state.counts >= totals.LONG
        total, less = totals.plus(g * state.total, lost[0], 1.0, state.total >= totals.LONG)
        counts, fewer = totals.plus(g * state.counts, lost[1], jnp.where(here, 1.0, 0.0), long)
        signals = jnp.where(here, state.signal.of(transition), 0.0)
        sums, rest = totals.plus(g * state.sums, lost[2], signals, long)
        return State(g, total, state.signal, counts, sums, (less, fewer, rest))

    return Policy(init, act, update)
