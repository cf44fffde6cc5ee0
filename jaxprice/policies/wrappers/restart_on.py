"""Restart on change: any policy, set back to its start when a detector finds that demand has changed.

After each sale the detector is asked (`cusum`, `page_hinkley`, or any `Detector`). On an alarm the state of the inner policy
is set back to what its `init` gave, and so is the detector; the sale that raised the alarm is dropped with all others. While
there is no alarm this is the policy itself. What `init` gave is kept, so the state is twice as large.

Prices that are not posted are not watched: a policy that has settled on one price notices no change of the others. Around
`mixture(policy, random_price(), weights=(1 - a, a))` all prices are, as in CUSUM-UCB, which restarts the one arm only
(`cusum_ucb`).

Regret against the best price of each period: with C changes that are found quickly, that of the inner policy over T / C
periods, C times, plus delays of detection and false alarms; O(sqrt(C T log T)) for UCB with random prices of a share
sqrt(C log(T) / T), if changes are large and far enough apart.

Source: F. Liu, J. Lee, N. Shroff (2018), "A change-detection based framework for piecewise-stationary multi-armed bandit
problem", arXiv:1711.03539.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.wrappers import combinators
from jaxprice.policies.wrappers.detectors import Detector
from jaxprice.types import Policy


@struct.dataclass
class State:
    """States of policy and detector, what they were at the start, and the number of restarts so far (int scalar)."""

    inner: Any
    detector: Any
    start: tuple[Any, Any]
    restarts: jax.Array


@combinators.combinator
def restart_on(policy, detector):
    """A policy that starts afresh when demand has changed.

    Args:
      policy: the inner policy.
      detector: a `Detector`, such as `cusum()`.

    Raises:
      ValueError: no policy, or no detector; at `init`, what the detector refuses.
    """
    if not isinstance(detector, Detector):
        raise ValueError(f"restart_on takes a Detector such as cusum() or page_hinkley(), got {detector!r}")

    def init(key, problem):
        start = policy.init(key, problem), detector.init(problem)
        return State(*start, start, jnp.int32(0))

    def act(key, state, observation):
        return policy.act(key, state.inner, observation)

    def update(key, state, transition):
        seen, alarm = detector.update(state.detector, transition)
        after = policy.update(key, state.inner, transition), seen
        inner, seen = combinators.select(alarm, state.start, after)
        return State(inner, seen, state.start, state.restarts + alarm.astype(jnp.int32))

    return Policy(init, act, update)
