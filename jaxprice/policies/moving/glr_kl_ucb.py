"""GLR-klUCB: KL-UCB that restarts when a likelihood ratio test finds a change in the signals of an arm.

Test: after n signals of an arm since its restart, with means m(i:j) and Bernoulli divergence kl, a change is found if

    max over 0 < s < n of  s kl(m(1:s), m(1:n)) + (n - s) kl(m(s+1:n), m(1:n))  >=  log(n^(3/2) / d).

Sums are stored at H splits only: at every signal while n <= H; when these are full, at every second signal, then at every
fourth, and so on. Up to H signals the statistic is exact. After that it is the maximum over splits that are at most 2 n / H
apart. It never exceeds the exact one, so false alarms are no more likely, and a change is found about n / H signals later.
With the default H = 32 the delay costs about 5 % of the regret. If `splits` is at least the horizon, this is the exact scan
of the paper. Memory is H + 4 numbers an arm, and the work of a period is about 4 H logarithms. The exact scan of 10 arms
over 10,000 periods takes .4 MB a lane and 300 times the work of the default.

Index: with N_k pulls of mean m_k since the restart of arm k, and t - t_k pulls of all arms since then, the coming one
included,

    w_k max{ q : N_k kl(m_k, q) <= log(t - t_k) }.

After a change the arm restarts ("local"), or all arms do ("global"). To notice changes of poor arms, arms are played in turn
whenever t mod floor(K / a_r) is in 1, ..., K, with a_r = min(1, a sqrt(r + 1)) after r restarts. Signals and weights are as
in `kl_ucb`; with a = 0 and no change found, the two are equal. Means are clipped to [0, 1]. An arm without pulls is played
at once, the lowest price first. The defaults are those of the authors' experiments: a = sqrt(K log(T) / T), d = 1 / sqrt(T),
and the threshold above, which is smaller than that of the theorem.

Regret against the best arm of each period: O(sqrt(C K T log T)) with C changes, C unknown, on instances whose changes are
large and far enough apart.

Source: L. Besson, E. Kaufmann, O.-A. Maillard, J. Seznec (2022), "Efficient change-point detection for tackling
piecewise-stationary bandits", arXiv:1902.01575.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, totals
from jaxprice.policies.parts.kl_bound import upper_bound
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

RESTARTS = ("local", "global")


@struct.dataclass
class History:
    """Sums of the signals of each arm since its restart.

    Attributes:
      counts: number of signals, int `[num_prices]`.
      sums, lost: their sum, and its rounding error (`totals`), float `[num_prices]`.
      stride: number of signals between two splits, int `[num_prices]`, powers of two.
      marks: sum of the first `stride (j + 1)` signals, float `[num_prices, H]`; meaningless beyond `counts`.
    """

    counts: jax.Array
    sums: jax.Array
    lost: jax.Array
    stride: jax.Array
    marks: jax.Array

    def add(self, action, x):
        """The history after one more signal, and the test statistic of its arm."""
        size = self.marks.shape[1]
        count, marks = self.counts[action] + 1, self.marks[action]
        total, lost = totals.plus(self.sums[action], self.lost[action], x, count >= totals.LONG)
        full = count > size * self.stride[action]
        stride = self.stride[action] * jnp.where(full, 2, 1)
        marks = jnp.where(full, jnp.concatenate([marks[1::2], marks[1::2]]), marks)
        splits = stride * jnp.arange(1, size + 1, dtype=jnp.int32)
        marks = jnp.where(splits == count, total, marks)
        history = History(
            self.counts.at[action].set(count),
            self.sums.at[action].set(total),
            self.lost.at[action].set(lost),
            self.stride.at[action].set(stride),
            self.marks.at[action].set(marks),
        )
        ratios = likelihood_ratio(splits.astype(jnp.float32), marks, count.astype(jnp.float32), total)
        return history, jnp.max(jnp.where(splits < count, ratios, 0.0))

    def restart(self, which):
        """Drop the history of the arms `which`, bool `[num_prices]`."""
        return History(
            jnp.where(which, 0, self.counts),
            jnp.where(which, 0.0, self.sums),
            jnp.where(which, 0.0, self.lost),
            jnp.where(which, 1, self.stride),
            self.marks,
        )


@struct.dataclass
class State:
    """State of GLR-klUCB.

    Attributes:
      time: number of the next pull, from 1, int scalar.
      restarts: number of changes found so far, int scalar.
      exploration: the a above, float scalar.
      log_failure: logarithm of the d above, float scalar.
      signal: the learning signal.
      history: history of the signals.
      since: number of pulls of all arms before the restart of each arm, int `[num_prices]`.
    """

    time: jax.Array
    restarts: jax.Array
    exploration: jax.Array
    log_failure: jax.Array
    signal: arms.Signal
    history: History
    since: jax.Array


@policy_maker(
    source="Besson, Kaufmann, Maillard and Seznec (2022)",
    regret="sqrt(C K T log T), C changes",
    feedback="demand or reward",
)
def glr_kl_ucb(restart="local", splits=32, failure=None, exploration=None, signal="demand"):
    """GLR-klUCB.

    Args:
      restart: "local" or "global", the arms that restart after a change.
      splits: number H of stored split points for each arm, an even int up to 65,536; from the horizon on, the exact scan.
      failure: the d above, in (0, 1]; may be traced. By default tuned to the horizon.
      exploration: the a above, in [0, 1]; may be traced. By default tuned to the horizon.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: an unknown restart or signal, an odd number of splits, a number out of range.
    """
    checks.choice("restart", restart, RESTARTS)
    if checks.whole("splits", splits, 2, 2**16) % 2:
        raise ValueError(f"splits must be even, got {splits!r}")
    if failure is not None:
        checks.number("failure", failure, low=1e-30, high=1)
    if exploration is not None:
        checks.number("exploration", exploration, low=0, high=1)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        size, learned = problem.num_prices, arms.learn(problem, signal, "glr_kl_ucb")
        horizon = jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 2.0)
        tuned = jnp.minimum(1.0, jnp.sqrt(size * jnp.log(horizon) / horizon))
        rate = jnp.asarray(tuned if exploration is None else exploration, jnp.float32)
        log_failure = -0.5 * jnp.log(horizon) if failure is None else jnp.log(jnp.asarray(failure, jnp.float32))
        zeros, none = jnp.zeros(size, jnp.float32), jnp.zeros(size, jnp.int32)
        history = History(none, zeros, zeros, none + 1, jnp.zeros((size, splits), jnp.float32))
        return State(jnp.int32(1), jnp.int32(0), rate, log_failure, learned, history, none)

    def act(key, state, observation):
        del key, observation
        size, counts = state.since.shape[0], state.history.counts.astype(jnp.float32)
        inverse = 1 / jnp.maximum(counts, 1.0)
        budget = jnp.log((state.time - state.since).astype(jnp.float32))
        index = state.signal.weights * upper_bound(state.history.sums * inverse, budget * inverse)
        best = jnp.argmax(jnp.where(counts == 0, jnp.inf, index)).astype(jnp.int32)
        rate = jnp.minimum(1.0, state.exploration * jnp.sqrt(1 + state.restarts.astype(jnp.float32)))
        turn = state.time % jnp.floor(size / jnp.maximum(rate, 1e-8)).astype(jnp.int32)
        return jnp.where((turn >= 1) & (turn <= size), turn - 1, best)

    def update(key, state, transition):
        del key
        action = transition.action
        history, statistic = state.history.add(action, state.signal.of(transition))
        change = statistic >= 1.5 * jnp.log(history.counts[action].astype(jnp.float32)) - state.log_failure
        which = change & ((jnp.arange(state.since.shape[0]) == action) | (restart == "global"))
        return State(
            state.time + 1,
            state.restarts + change.astype(jnp.int32),
            state.exploration,
            state.log_failure,
            state.signal,
            history.restart(which),
            jnp.where(which, state.time, state.since),
        )

    return Policy(init, act, update)


def likelihood_ratio(s, part, n, total):
    """s kl(part / s, m) + (n - s) kl((total - part) / (n - s), m) with m = total / n.

    Args:
      s, part: number of signals before the split and their sum, float `[splits]`.
      n, total: number and sum of all signals, float scalars.

    Returns:
      float `[splits]`; if s >= n, any finite number.
    """
    rest = jnp.maximum(n - s, 1.0)
    mean = jnp.clip(total / n, 1e-7, 1 - 1e-6)
    return s * _divergence(part / s, mean) + rest * _divergence((total - part) / rest, mean)


def _divergence(p, q):
    """kl(p, q) of Bernoulli distributions, p clipped to [0, 1]; logarithms of ratios near one use `log1p` of the gap."""
    p = jnp.clip(p, 0.0, 1.0)
    gap = p - q
    inside = jnp.maximum(gap / q, -1 + 1e-7), jnp.maximum(-gap / (1 - q), -1 + 1e-7)  # p log p is zero at p = 0
    return p * jnp.log1p(inside[0]) + (1 - p) * jnp.log1p(inside[1])
