"""Sliding-window Thompson sampling: Beta posteriors from the last W pulls.

With s_k sales and f_k refusals at price p_k among the last W pulls of all prices together,

    theta_k ~ Beta(a + s_k, b + f_k),      action = argmax_k w_k theta_k.

Buyers, weights and learning from reward are as in `thompson`; with W beyond the horizon the two are equal. A price that was
not posted within the window is drawn from its prior. The window is a ring buffer of fixed length W, so memory is 2 W numbers
a lane for any horizon. The Beta draws come from `jaxprice.samplers`.

Regret against the best arm of each period: with C changes and W of order sqrt(T / C), O(sqrt(C T)) up to logarithms. M.
Fiandri, A. M. Metelli and F. Trovo (2024), arXiv:2409.05181, correct the analysis.

Source: F. Trovo, S. Paladino, M. Restelli, N. Gatti (2020), "Sliding-window Thompson sampling for non-stationary settings",
Journal of Artificial Intelligence Research 68, 311-364.
"""

import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, best_arm, beta_posterior, recent
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The learning signal, the last pulls with the number of sales of each as signals, and buyers in a period."""

    signal: arms.Signal
    window: recent.Window
    buyers: int = struct.field(pytree_node=False)


@policy_maker(
    source="Trovo, Paladino, Restelli and Gatti (2020)",
    regret="sqrt(C T), C changes, up to logarithms",
    feedback="Bernoulli demand, or reward",
)
def sliding_window_thompson(window=250, a=1.0, b=1.0, signal="demand"):
    """Sliding-window Thompson sampling.

    Args:
      window: length W of the window, an int.
      a, b: shapes of the prior, at least 1; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a window that is not a positive int, shapes below 1, or an unknown signal; at `init`, demand that is not
        Bernoulli.
    """
    recent.check(window)
    checks.number("a", a, low=1)
    checks.number("b", b, low=1)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        beta_posterior.check_bernoulli(problem, "sliding_window_thompson")
        learned = arms.learn(problem, signal, "sliding_window_thompson")
        return State(learned, recent.no_window(problem, window), problem.buyers)

    def shapes(state):
        """Shapes of the posteriors."""
        sales = jnp.maximum(state.window.sums, 0.0)
        trials = state.window.counts * (state.buyers if signal == "demand" else 1)
        refusals = jnp.maximum(trials - sales, 0.0)
        return a + sales, b + refusals

    def act(key, state, observation):
        del observation
        return beta_posterior.draw_best(key, state.signal.weights, *shapes(state))

    def update(key, state, transition):
        _, wins = beta_posterior.trials_and_wins(key, state, transition)
        return State(state.signal, state.window.add(transition.action, wins), state.buyers)

    def chances(state):
        return best_arm.of_betas(state.signal.weights, *shapes(state))

    return Policy(init, act, update, arms.of_state(chances))
