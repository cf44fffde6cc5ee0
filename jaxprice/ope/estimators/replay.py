"""Replay: the mean reward of the logged decisions in which the target would have done the same.

    v = sum_t 1{a_t = target(x_t)} r_t / sum_t 1{a_t = target(x_t)}

It is for deterministic targets. It is unbiased if the logging policy took all actions with the same probability, and
consistent if the propensity of the target's action does not depend on the context. Otherwise use `snips`.

Source: Li, Chu, Langford, Wang (2011), Unbiased offline evaluation of contextual-bandit-based news article recommendation
algorithms, WSDM, arXiv:1003.5956.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice import checks
from jaxprice.ope.estimate import Estimate, ratio
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.target import check_overlap, checked_target
from jaxprice.ope.weights import at_action


def replay(log: DecisionLog, target: Float[Array, "..."], *, allow_missing: bool = False) -> Estimate:
    """The replay estimate; NaN for a log in which no decision matches.

    Args:
      log: logs `[..., T]`.
      target: probabilities 0 and 1, `[..., T, num_actions]` or `[num_actions]`.
      allow_missing: accept a target part of which the log cannot tell about.

    Raises:
      ValueError: the target is random, does not fit the log, or lacks support.
    """
    target = checked_target(log, target)
    if not checks.is_traced(target) and not bool(jnp.all((target == 0) | (target == 1))):
        raise ValueError("target must be deterministic (probabilities 0 and 1) for replay; use snips for a random target")
    check_overlap(log, target, allow_missing)
    match = (at_action(log, target) == 1).astype(log.reward.dtype)
    return ratio(match * log.reward, match)
