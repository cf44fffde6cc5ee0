"""CUSUM-UCB: upper confidence bounds that restart an arm whose signals have changed, for demand that jumps.

With probability a the arm is uniformly random, so that changes of poor arms are noticed. Otherwise it is the arm with the
largest index. With N_k pulls of arm k since its last restart, and mean signal m_k, the index is

    w_k (m_k + sqrt(xi log(n) / N_k)),      n = 1 + sum_j N_j.

Each arm has a two-sided cumulative sum test. The mean r of the first M signals after a restart is the reference. Every
further signal x updates two random walks, which drift upwards after a jump by more than e:

    up <- max(0, up + x - r - e),      down <- max(0, down + r - x - e).

When a walk reaches h, this arm restarts and no other; the signal that raised the alarm is dropped with the rest. An arm
without pulls is played at once, the lowest price first. Ties go to the lowest price. Signals in [0, 1] and weights are as in
`ucb1`. With a = 0, xi = scale and a very large h, this is `ucb1`; n counts the coming pull (the paper counts past pulls).
For a horizon T with C changes the defaults are h = log(T / C) and a = sqrt(C log(T / C) / T), as in the authors'
experiments.

Regret against the best arm of each period: O(sqrt(C T log(T / C))), if changes are larger than 3 e and each arm gets M
signals between two changes.

Source: F. Liu, J. Lee, N. Shroff (2018), "A change-detection based framework for piecewise-stationary multi-armed bandit
problem", arXiv:1711.03539.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, recent, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of CUSUM-UCB.

    Attributes:
      exploration, threshold: the a and h above, float scalars.
      signal: the learning signal.
      counts: pulls of each arm since its restart, int `[num_prices]`.
      sums, lost: sums of these signals, and their rounding errors (`totals`), float `[num_prices]`.
      first: sum of the first M of these signals, float `[num_prices]`.
      up, down: the random walks, float `[num_prices]`.
      restarts: number of restarts of all arms, int scalar.
    """

    exploration: jax.Array
    threshold: jax.Array
    signal: arms.Signal
    counts: jax.Array
    sums: jax.Array
    lost: jax.Array
    first: jax.Array
    up: jax.Array
    down: jax.Array
    restarts: jax.Array


@policy_maker(
    source="Liu, Lee and Shroff (2018)",
    regret="sqrt(C T log(T / C)), C changes",
    feedback="demand or reward",
)
def cusum_ucb(reference=100, tolerance=0.1, threshold=None, exploration=None, changes=1.0, xi=1.0, signal="demand"):
    """CUSUM-UCB.

    Args:
      reference: number M of signals in the mean that is the reference, an int.
      tolerance: the e above, the change of a signal that is ignored, at least 0; may be traced.
      threshold: the h above, above 0; may be traced. By default tuned to horizon and `changes`.
      exploration: probability a of a uniformly random arm, in [0, 1]; may be traced. By default tuned to the same.
      changes: number of changes C that the defaults are tuned to, above 0; may be traced.
      xi: exploration constant of the index, at least 0; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a number out of range, or an unknown signal.
    """
    checks.positive_int("reference", reference)
    checks.number("tolerance", tolerance, low=0)
    if threshold is not None:
        checks.number("threshold", threshold, low=1e-6)
    if exploration is not None:
        checks.number("exploration", exploration, low=0, high=1)
    checks.number("changes", changes, low=1e-6)
    checks.number("xi", xi, low=0)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        learned = arms.learn(problem, signal, "cusum_ucb")
        stretch = jnp.maximum(jnp.asarray(problem.horizon, jnp.float32) / changes, 2.0)
        level = jnp.asarray(jnp.log(stretch) if threshold is None else threshold, jnp.float32)
        tuned = jnp.sqrt(jnp.log(stretch) / stretch)
        chance = jnp.asarray(tuned if exploration is None else exploration, jnp.float32)
        zeros = jnp.zeros(problem.num_prices, jnp.float32)
        return State(chance, level, learned, zeros.astype(jnp.int32), zeros, zeros, zeros, zeros, zeros, jnp.int32(0))

    def act(key, state, observation):
        del observation
        size, u = state.counts.shape[0], samplers.uniform(jax.random.bits(key, (), jnp.uint32))
        best = greedy(state)
        share = u / jnp.maximum(state.exploration, 1e-9)  # uniform in (0, 1) if the arm must be random
        return jnp.where(share < 1, jnp.minimum(share * size, size - 1).astype(jnp.int32), best)

    def greedy(state):
        """The arm with the largest bound, int scalar."""
        counts = state.counts.astype(jnp.float32)
        return recent.best(state.signal.weights, counts, state.sums, xi * jnp.log(1 + jnp.sum(counts))).astype(jnp.int32)

    def chances(state):
        return arms.greedy_or_even(greedy(state), state.exploration, state.counts.shape[0])

    def update(key, state, transition):
        del key
        action, x = transition.action, state.signal.of(transition)
        count = state.counts[action] + 1
        total, lost = totals.plus(state.sums[action], state.lost[action], x, count >= totals.LONG)
        first = jnp.where(count <= reference, total, state.first[action])
        excess = jnp.where(count > reference, x - first / reference, 0.0)
        up = jnp.maximum(0.0, state.up[action] + excess - tolerance)
        down = jnp.maximum(0.0, state.down[action] - excess - tolerance)
        alarm = jnp.maximum(up, down) >= state.threshold

        def put(old, new):
            return old.at[action].set(jnp.where(alarm, jnp.zeros_like(new), new))

        return State(
            state.exploration,
            state.threshold,
            state.signal,
            put(state.counts, count),
            put(state.sums, total),
            put(state.lost, lost),
            put(state.first, first),
            put(state.up, up),
            put(state.down, down),
            state.restarts + alarm.astype(jnp.int32),
        )

    return Policy(init, act, update, arms.of_state(chances))
