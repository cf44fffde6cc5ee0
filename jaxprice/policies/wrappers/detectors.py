"""Tests for a change of demand, arm by arm, for `restart_on`. An alarm means that demand has changed.

Both detectors keep two random walks of the signals x of each arm (see `arms`). After a jump of the mean by more than e the
walks drift upwards from zero,

    up <- max(0, up + x - r - e),      down <- max(0, down + r - x - e),

and raise the alarm when one of them reaches h. They differ in the reference r:

| detector | reference r |
|---|---|
| `cusum` | mean of the first M signals of the arm; the walks start after these |
| `page_hinkley` | mean of all signals of the arm so far, this one included; no alarm during the first M signals |

A reference that is fixed early is noisy for small M but never drifts to the new mean. A running mean improves with time but
absorbs a slow change. The default h = log(T / C) for a horizon T with C changes is that of `cusum_ucb`.

Suppose that the mean does not change, that the reference is the true mean and that signals are in [0, 1]. A walk that leaves
zero then reaches h before it returns with probability at most exp(-8 e h), because E exp(8 e (x - r - e)) is at most one by
Hoeffding's lemma. After a change of the mean by D > e an alarm takes about h / (D - e) signals.

Sources: E. S. Page (1954), "Continuous inspection schemes", doi:10.1093/biomet/41.1-2.100; D. V. Hinkley (1971), "Inference
about the change-point from cumulative sum tests", Biometrika 58; F. Liu, J. Lee, N. Shroff (2018), arXiv:1711.03539 (a
reference of M signals, in bandits).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, totals
from jaxprice.policies.registry import maker_with_arguments


class Detector(NamedTuple):
    """A test for change: two pure functions, for one lane.

    Attributes:
      init: `problem -> state`, before the first sale.
      update: `(state, transition) -> (state, alarm)`, after each sale; the alarm is a bool scalar.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any], tuple[Any, jax.Array]]


@struct.dataclass
class Walks:
    """State of both detectors.

    Attributes:
      signal: the learning signal.
      threshold: the h above, float scalar.
      counts: number of signals of each arm, int `[num_prices]`.
      reference, lost: mean of the first M signals, or of all, and its rounding error, float `[num_prices]`.
      up, down: the two walks, float `[num_prices]`.
    """

    signal: arms.Signal
    threshold: jax.Array
    counts: jax.Array
    reference: jax.Array
    lost: jax.Array
    up: jax.Array
    down: jax.Array


def detector(function):
    """Make `function` a maker of detectors: one object per call, with a description, as for policies."""
    return maker_with_arguments(function, label=lambda made: made.update)


@detector
def cusum(reference=50, tolerance=0.1, threshold=None, changes=1.0, signal="demand"):
    """Two-sided CUSUM test of each arm against the mean of its first signals.

    Args:
      reference: number M of signals in the mean that is the reference, an int.
      tolerance: the e above, the change that is ignored, at least 0; may be traced.
      threshold: the h above, above 0; may be traced. None: log(T / `changes`).
      changes: number of changes C that the default threshold is tuned to, above 0; may be traced.
      signal: "demand" or "reward", the signal that is tested.

    Returns:
      A `Detector`.

    Raises:
      ValueError: a number out of range, or an unknown signal; at `init`, a market without a price grid.
    """
    return _detector("cusum", reference, tolerance, threshold, changes, signal)


@detector
def page_hinkley(silent=20, tolerance=0.1, threshold=None, changes=1.0, signal="demand"):
    """Two-sided Page-Hinkley test of each arm against the mean of its signals so far.

    Args:
      silent: number M of signals of an arm before it can raise an alarm, an int.
      tolerance, threshold, changes, signal: as in `cusum`.

    Returns:
      A `Detector`.

    Raises:
      ValueError: as in `cusum`.
    """
    return _detector("page_hinkley", silent, tolerance, threshold, changes, signal)


def _detector(name, first, tolerance, threshold, changes, signal):
    running, option = name == "page_hinkley", "silent" if name == "page_hinkley" else "reference"
    checks.positive_int(option, first)
    checks.number("tolerance", tolerance, low=0)
    if threshold is not None:
        checks.number("threshold", threshold, low=1e-6)
    checks.number("changes", changes, low=1e-6)
    arms.check_signal(signal)

    def init(problem):
        learned = arms.learn(problem, signal, name)
        stretch = jnp.maximum(jnp.asarray(problem.horizon, jnp.float32) / changes, 2.0)
        level = jnp.asarray(jnp.log(stretch) if threshold is None else threshold, jnp.float32)
        zeros = jnp.zeros(problem.num_prices, jnp.float32)
        return Walks(learned, level, zeros.astype(jnp.int32), *[zeros] * 4)

    def update(state, transition):
        action, x = transition.action, state.signal.of(transition)
        count, old, lost = state.counts[action] + 1, state.reference[action], state.lost[action]
        learning = count <= first
        r, lost = totals.plus(old, lost, (x - old) / count.astype(jnp.float32), count >= totals.LONG)
        if not running:
            r, lost = jnp.where(learning, r, old), jnp.where(learning, lost, state.lost[action])
        excess = x - r
        up = jnp.maximum(0.0, state.up[action] + excess - tolerance)
        down = jnp.maximum(0.0, state.down[action] - excess - tolerance)
        if not running:
            up, down = jnp.where(learning, 0.0, up), jnp.where(learning, 0.0, down)
        after = Walks(
            state.signal,
            state.threshold,
            state.counts.at[action].set(count),
            state.reference.at[action].set(r),
            state.lost.at[action].set(lost),
            state.up.at[action].set(up),
            state.down.at[action].set(down),
        )
        return after, (jnp.maximum(up, down) >= state.threshold) & ~learning

    return Detector(init, update)
