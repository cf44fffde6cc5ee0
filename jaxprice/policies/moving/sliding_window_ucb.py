"""Sliding-window UCB: upper confidence bounds from the last W pulls, for demand that jumps.

With N_k pulls and mean signal m_k of arm k among the last W pulls of all arms, the index of arm k at pull t is

    w_k (m_k + sqrt(xi log(min(t, W)) / N_k)),

with signals in [0, 1], weights as in `ucb1`, and t the number of the coming pull. An arm without a pull in the window is
played at once, the lowest price first. Ties go to the lowest price. The window is a ring buffer of fixed length W, so memory
is 2 W numbers a lane for any horizon. With W beyond the horizon this is `ucb1(scale=xi)`. The proof needs xi above 1/2; the
default is that of the authors' experiments. For a horizon T with C changes they advise W = 2 sqrt(T log(T) / C), which
`recent.tuned_window` computes; the default 250 suits T = 10,000 and six changes.

Regret against the best arm of each period: O(sqrt(C T) log T) with that window.

Source: A. Garivier, E. Moulines (2011), "On upper-confidence bound policies for switching bandit problems",
doi:10.1007/978-3-642-24412-4_16; constants from arXiv:0805.3415.
"""

import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, recent
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The learning signal, and the last pulls."""

    signal: arms.Signal
    window: recent.Window


@policy_maker(
    source="Garivier and Moulines (2011)",
    regret="sqrt(C T) log T, C changes",
    feedback="demand or reward",
)
def sliding_window_ucb(window=250, xi=0.6, signal="demand"):
    """Sliding-window UCB.

    Args:
      window: length W of the window, an int.
      xi: exploration constant, at least 0; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a window that is not a positive int, a negative xi, or an unknown signal.
    """
    recent.check(window)
    checks.number("xi", xi, low=0)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        return State(arms.learn(problem, signal, "sliding_window_ucb"), recent.no_window(problem, window))

    def act(key, state, observation):
        del key, observation
        seen = state.window
        log_t = jnp.log(jnp.minimum(seen.time + 1, window).astype(jnp.float32))
        return recent.best(state.signal.weights, seen.counts, seen.sums, xi * log_t)

    def update(key, state, transition):
        del key
        return State(state.signal, state.window.add(transition.action, state.signal.of(transition)))

    return Policy(init, act, update)
