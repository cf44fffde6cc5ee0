"""Importance weights and sums over actions, which the estimators share.

The weight of a decision is the probability of its action under the target divided by its propensity,

    w_t = target(a_t | x_t) / propensity_t.      Its mean is 1 wherever there is overlap.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice.ope.log import DecisionLog
from jaxprice.ope.target import check_overlap, checked_target


def importance_weights(
    log: DecisionLog, target: Float[Array, "..."], *, allow_missing: bool = False
) -> Float[Array, "... T"]:
    """The weight of each decision.

    Args:
      log: the log.
      target: action probabilities `[..., T, num_actions]` or `[num_actions]`; if prices come from an interval, the density
        of the target at the logged price, `[..., T]`.
      allow_missing: leave out the part of the target without support instead of refusing it.

    Raises:
      ValueError: the target does not fit the log or lacks support, see `ope.target`.
    """
    target = checked_target(log, target)
    check_overlap(log, target, allow_missing)
    return (at_action(log, target) if log.discrete else target) / log.propensity


def at_action(log: DecisionLog, table: Float[Array, "..."]) -> Float[Array, "... T"]:
    """The entries of the logged actions in a table `[..., T, num_actions]` or `[num_actions]`."""
    if table.ndim == 1:
        return table[log.action]
    return jnp.take_along_axis(table, log.action[..., None], axis=-1)[..., 0]


def expectation(target: Float[Array, "..."], model: Float[Array, "... T A"]) -> Float[Array, "... T"]:
    """Expected prediction under the target: the sum over actions of probability times prediction."""
    if target.ndim == 1:
        return model @ target.astype(model.dtype)
    return jnp.sum(target * model, axis=-1)


def checked_model(log: DecisionLog, model) -> Float[Array, "... T A"]:
    """`model` unchanged: predicted rewards of all actions, `[..., T, num_actions]`.

    Raises:
      ValueError: it has another shape.
    """
    found, wanted = jnp.asarray(model), (*log.shape, log.num_actions)
    if found.shape != wanted:
        raise ValueError(f"model must hold predicted rewards {list(wanted)}, got shape {list(found.shape)}")
    return found
