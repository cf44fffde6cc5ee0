"""Successive elimination: pull all arms that may still be best equally often, and drop those that cannot be.

A round pulls every remaining arm once, from the lowest price up. After round n, with K arms,

    radius = sqrt(scale * log(c K n^2 / delta) / n),

arm k is dropped if w_k (m_k + radius) < max_j w_j (m_j - radius), over the remaining arms, with signals in [0, 1] and
weights as in `ucb1`. With equal weights that is the paper's rule, max_j m_j - m_k > 2 radius. The last arm is pulled until
the horizon. If two arms are equally good, both remain.

The paper identifies the best arm with probability 1 - delta (c > 4, scale = 1; Hoeffding's inequality allows scale = 1/2).
For regret, the default is delta = 1 / T, with T the horizon of the problem.

Regret: with delta = 1 / T, O(sum_k log(K T) / Delta_k), and O(sqrt(K T log(K T))) for any gaps.

Source: E. Even-Dar, S. Mannor, Y. Mansour (2006), "Action elimination and stopping conditions for the multi-armed bandit
and reinforcement learning problems", Journal of Machine Learning Research 7, 1079-1105.
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
    """Logarithm of c K / delta (float scalar), remaining arms (bool `[num_prices]`), the learning signal, sums over arms."""

    log_odds: jax.Array
    active: jax.Array
    signal: arms.Signal
    arms: arms.Sums


@policy_maker(
    source="Even-Dar, Mannor and Mansour (2006)",
    regret="log T",
    feedback="demand or reward",
)
def successive_elimination(delta=None, c=5.0, scale=1.0, signal="demand"):
    """Successive elimination.

    Args:
      delta: probability of dropping the best arm, in (0, 1); may be traced. By default 1 / T.
      c: constant of the union bound, above 0; may be traced.
      scale: constant of the radius, at least 0; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a number out of range, or an unknown signal.
    """
    if delta is not None:
        checks.number("delta", delta, low=1e-30, high=1)
    checks.number("c", c, low=1e-6)
    checks.number("scale", scale, low=0)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        learned = arms.learn(problem, signal, "successive_elimination")
        log_delta = -jnp.log(jnp.asarray(problem.horizon, jnp.float32)) if delta is None else jnp.log(jnp.float32(delta))
        log_odds = jnp.log(jnp.float32(c)) + jnp.log(jnp.float32(problem.num_prices)) - log_delta
        return State(log_odds, jnp.ones(problem.num_prices, bool), learned, arms.no_sums(problem))

    def act(key, state, observation):
        del key, observation
        return jnp.argmin(jnp.where(state.active, jnp.floor(state.arms.counts), jnp.inf))

    def update(key, state, transition):
        del key
        sums = state.arms.add(transition.action, state.signal.of(transition))
        pulls = jnp.where(state.active, jnp.floor(sums.counts), jnp.inf)
        n, most = jnp.min(pulls), jnp.max(jnp.where(state.active, pulls, 0.0))
        rounds = jnp.maximum(n, 1.0)
        radius = jnp.sqrt(scale * jnp.maximum(state.log_odds + 2 * jnp.log(rounds), 0.0) / rounds)
        mean, weights = sums.sums / sums.counts, state.signal.weights
        lower = jnp.max(jnp.where(state.active, weights * mean - jnp.abs(weights) * radius, -jnp.inf))
        beaten = weights * mean + jnp.abs(weights) * radius < lower
        return State(state.log_odds, state.active & ~((n == most) & beaten), state.signal, sums)

    return Policy(init, act, update)
