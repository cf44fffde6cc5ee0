"""Restart on change: any policy, reset to its initial state when a detector finds that demand has changed.

The detector (`cusum`, `page_hinkley`, or any `Detector`) sees each sale. On an alarm, the inner policy returns to the state
from its `init`, and the detector is reset too; the sale that raised the alarm is dropped with all others. Without an alarm
this is the policy itself. The initial states are stored, so the state is twice as large.

Prices that are not posted are not tested: a policy that always posts one price notices no change at the others. In
`mixture(policy, random_price(), weights=(1 - a, a))` all prices are tested, as in CUSUM-UCB, which restarts only the one arm
(`cusum_ucb`).

Regret against the best price of each period: with C changes that are found quickly, C times that of the inner policy over T
/ C periods, plus detection delays and false alarms. For UCB with random prices of a share sqrt(C log(T) / T) it is
O(sqrt(C T log T)), if changes are large and far enough apart.

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
    """States of policy and detector, their initial states, and the number of restarts so far (int scalar)."""

    inner: Any
    detector: Any
    start: tuple[Any, Any]
    restarts: jax.Array


@combinators.combinator
def restart_on(policy, detector):
    """A policy that restarts when demand has changed.

    Args:
      policy: the inner policy.
      detector: a `Detector`, such as `cusum()`.

    Raises:
      ValueError: the arguments are not a policy and a detector; at `init`, the detector refuses the problem.
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

    return Policy(init, act, update, combinators.passed_on(policy, lambda state: state.inner))
