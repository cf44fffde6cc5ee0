"""Explore then commit, or learn then earn: balanced random prices first, then the best one until the horizon.

For the first share x of the horizon, prices are tried in rounds. Each round is the same random order of the grid, so after j
rounds every price was tried j times, and a budget below one round tries a random subset. Then the price with the best mean
value w_k m_k is posted until the end; signals and weights are as in `ucb1`. The policy learns nothing from sales after the
exploration.

Regret: O(T^(2/3)) with exploration of order T^(2/3); linear in T for a fixed share.

Source: K. Misra, E. M. Schwartz, J. Abernethy (2019), "learn then earn", doi:10.1287/mksc.2018.1129.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """Periods played and periods of exploration (int scalars), the order of prices (int `[num_prices]`), sums."""

    time: jax.Array
    budget: jax.Array
    order: jax.Array
    signal: arms.Signal
    arms: arms.Sums


@policy_maker(
    source="Misra, Schwartz and Abernethy (2019)",
    regret="T for a fixed share",
    feedback="demand or reward",
)
def explore_then_commit(share=0.05, signal="demand"):
    """Explore then commit.

    Args:
      share: share of the horizon for exploration, in [0, 1]; may be traced. At least one period.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a share out of range, or an unknown signal.
    """
    checks.number("share", share, low=0, high=1)
    arms.check_signal(signal)

    def init(key, problem):
        learned = arms.learn(problem, signal, "explore_then_commit")
        budget = jnp.maximum(jnp.round(share * problem.horizon), 1).astype(jnp.int32)
        order = jnp.argsort(jax.random.bits(key, (problem.num_prices,), jnp.uint32)).astype(jnp.int32)
        return State(jnp.int32(0), budget, order, learned, arms.no_sums(problem))

    def act(key, state, observation):
        del key, observation
        best = jnp.argmax(state.signal.weights * (state.arms.sums / state.arms.counts))
        return jnp.where(state.time < state.budget, state.order[state.time % state.order.shape[0]], best)

    def update(key, state, transition):
        del key
        sums = state.arms.add(transition.action, state.signal.of(transition))
        learning = state.time < state.budget
        sums = jax.tree.map(lambda new, old: jnp.where(learning, new, old), sums, state.arms)
        return State(state.time + 1, state.budget, state.order, state.signal, sums)

    return Policy(init, act, update)
