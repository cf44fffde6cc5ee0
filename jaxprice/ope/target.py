"""Target policies: what is to be evaluated, as the probabilities of all actions at each logged decision.

A target is a float array `[..., T, num_actions]`, or `[num_actions]` if the policy does not look at anything. `target`
builds it from a rule and checks it. For prices from an interval a target is the price that a rule would post, `[..., T]`.

A weighted estimate needs overlap: wherever the target can post a price, the logging policy could have posted it. The share
of the target's probability where it could not is `missing`; that part of the value cannot be learnt from the log.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from jaxprice import checks
from jaxprice.numerics import nearest_allowed
from jaxprice.ope.log import DecisionLog


def target(log: DecisionLog, rule: Any, *, renormalise: bool = False, nearest: bool = False) -> Float[Array, "..."]:
    """The action probabilities of a policy at each decision of a log, checked.

    Args:
      log: the log.
      rule: one of: an action (int); a table of actions, int `[..., T]`; a probability vector `[num_actions]`; probabilities
        `[..., T, num_actions]`; a function of one observation that returns an action or probabilities. If the log has prices
        from an interval: a price, prices `[..., T]`, or a function of one observation that returns a price.
      renormalise: divide the probabilities by their sum over the allowed actions.
      nearest: move the probability of a forbidden action to the allowed one with the nearest index, as the engine does in a
        market with a mask (`Environment.carried_out`). Without either, a target that puts probability on a forbidden action
        is refused.

    Returns:
      Probabilities `[..., T, num_actions]`, or `[num_actions]` if `rule` is an action or a vector and no mask is applied;
      for prices from an interval, prices `[..., T]`.

    Raises:
      ValueError: the shape does not fit the log, a probability is negative, a sum is not 1, or an action is not allowed; no
        allowed action has probability (with `renormalise`); both options are given.
    """
    return checked_target(log, unchecked_target(log, rule, renormalise=renormalise, nearest=nearest))


def unchecked_target(
    log: DecisionLog, rule: Any, *, renormalise: bool = False, nearest: bool = False
) -> Float[Array, "..."]:
    """`target` without checks of its numbers, for traced code."""
    if renormalise and nearest:
        raise ValueError("renormalise and nearest are two ways to treat forbidden actions: give one of them, got both")
    shape, count = log.shape, log.num_actions
    if callable(rule):
        if log.observation is None:
            raise ValueError("rule is a function of the observation, but the log has no observations; give probabilities")
        rows: Any = jax.vmap(rule)(one_axis(log.observation, len(shape)))
        rule = jnp.reshape(rows, (*shape, *rows.shape[1:]))
    found = jnp.asarray(rule)
    if not log.discrete:
        return jnp.broadcast_to(found, shape) if found.ndim == 0 else found
    if jnp.issubdtype(found.dtype, jnp.integer) and found.shape in ((), shape):
        if not checks.is_traced(found) and (bool(jnp.any(found < 0)) or bool(jnp.any(found >= count))):
            raise ValueError(f"target must be an action in [0, {count}), got {checks.shown(np.unique(found)[:8].tolist())}")
        found = jax.nn.one_hot(found, count)
    found = found.astype(jnp.result_type(float))
    if renormalise and log.allowed is not None:
        inside = jnp.where(log.allowed, jnp.broadcast_to(found, log.allowed.shape), 0.0)
        total = jnp.sum(inside, axis=-1, keepdims=True)
        if not checks.is_traced(total):
            _refuse(total[..., 0], ~(total[..., 0] > 0), "some probability on the allowed actions (see nearest)")
        found = inside / total
    if nearest and log.allowed is not None:
        found = to_nearest_allowed(found, log.allowed)
    return found


def to_nearest_allowed(probabilities: Float[Array, "... A"], allowed: Bool[Array, "... A"]) -> Float[Array, "... A"]:
    """Probabilities after that of each forbidden action has moved to the allowed one with the nearest index."""
    count = allowed.shape[-1]
    actions = jnp.arange(count, dtype=jnp.int32)
    taken = nearest_allowed(allowed[..., None, :], actions)  # [..., A]
    moved = taken[..., None, :] == actions[:, None]  # [..., to, from]
    return jnp.sum(jnp.where(moved, jnp.asarray(probabilities)[..., None, :], 0.0), axis=-1)


def one_axis(tree: Any, axes: int) -> Any:
    """Leaves `[*axes, *shape]` as `[n, *shape]`."""
    return jax.tree.map(lambda x: jnp.reshape(x, (-1, *x.shape[axes:])), tree)


def checked_target(log: DecisionLog, target: Any) -> Float[Array, "..."]:
    """`target` unchanged, after checking its shape and, if they are known, its numbers.

    Raises:
      ValueError: see `target`.
    """
    found = checked_shape(log, target)
    if checks.is_traced((found, log.action)):
        return found
    if not log.discrete:
        _refuse(found, ~jnp.isfinite(found), "finite prices or densities")
        return found
    if not all(bool(fine) for fine in _fits(found, log.allowed)):
        _refuse(found, ~(found >= 0), "probabilities of at least 0")
        _refuse(found.sum(-1), jnp.abs(found.sum(-1) - 1) > 1e-4, "probabilities with sum 1")
        allowed = jnp.array(True) if log.allowed is None else log.allowed
        wide = jnp.broadcast_to(found, allowed.shape)
        _refuse(
            wide, (wide > 0) & ~allowed, "probability 0 on actions outside the mask `allowed` (see renormalise, nearest)"
        )
    return found


def checked_shape(log: DecisionLog, target: Any) -> Float[Array, "..."]:
    """`target` as an array, after checking its shape.

    Raises:
      ValueError: the shape does not fit the log.
    """
    found = jnp.asarray(target)
    wanted = (*log.shape, log.num_actions) if log.discrete else log.shape
    if found.shape != wanted and not (log.discrete and found.shape == wanted[-1:]):
        allowed = f"{list(wanted)}" + (f" or [{wanted[-1]}]" if log.discrete else "")
        raise ValueError(f"target must have shape {allowed}, as the log has {list(log.shape)}; got {list(found.shape)}")
    return found


def missing(log: DecisionLog, target: Float[Array, "..."]) -> Float[Array, "..."]:
    """Share of the target's probability on actions of propensity 0, `[...]`; NaN if `probabilities` is None."""
    if log.probabilities is None:
        return jnp.full(log.shape[:-1], jnp.nan)
    wide = jnp.broadcast_to(target, log.probabilities.shape)
    return jnp.mean(jnp.sum(jnp.where(log.probabilities > 0, 0.0, wide), axis=-1), axis=-1)


def unseen(log: DecisionLog, target: Float[Array, "..."], axes: int | None = None) -> Float[Array, "..."]:
    """Share of the target's probability on actions that a log never took, `[...]`.

    Args:
      log: the log.
      target: see `target`.
      axes: number of last axes that make up one log, 1 by default; None takes all logs as one.
    """
    axes = len(log.shape) if axes is None else axes
    lead, count = log.shape[: len(log.shape) - axes], log.num_actions
    actions = jnp.reshape(log.action, (*lead, -1))
    seen = jnp.vectorize(lambda taken: jnp.zeros(count, bool).at[taken].set(True), signature="(t)->(a)")(actions)
    over = tuple(range(-1 - axes, -1))
    if target.ndim == 1:
        return jnp.sum(jnp.where(seen, 0.0, jnp.broadcast_to(target, seen.shape)), axis=-1)
    nothing = jnp.zeros(lead, target.dtype)
    return jax.lax.cond(
        jnp.all(seen), lambda: nothing, lambda: jnp.sum(jnp.where(seen, 0.0, jnp.mean(target, axis=over)), axis=-1)
    )


def check_overlap(log: DecisionLog, target: Float[Array, "..."], allow_missing: bool = False) -> None:
    """Raise if the target takes actions that the log cannot tell about.

    Raises:
      ValueError: the logging policy had probability 0 for actions of the target; or its probabilities are unknown and no
        log contains such an action. The message states the share of the target's probability.
    """
    if allow_missing or not log.discrete or checks.is_traced((log.action, target)):
        return
    known = log.probabilities is not None
    share = float(_missing_mean(log, target) if known else _unseen_mean(log, target))
    if share > 1e-6:
        why = "which the logging policy took with probability 0" if known else "which occur nowhere in the log"
        raise ValueError(
            f"target has {share:.3g} of its probability on actions {why}: their rewards cannot be estimated from this log; "
            "clip the weights, use a reward model alone, or set allow_missing=True to leave this part out"
        )


def fits(target: Float[Array, "..."], allowed: Array | None) -> tuple[Array, Array, Array]:
    """Whether no probability is negative, all sums are 1, and no action is forbidden."""
    sums = jnp.sum(target, axis=-1)
    outside = jnp.array(False) if allowed is None else jnp.any((jnp.broadcast_to(target, allowed.shape) > 0) & ~allowed)
    return jnp.all(target >= 0), jnp.all(jnp.abs(sums - 1) <= 1e-4), ~outside


_fits = jax.jit(fits)
_missing_mean = jax.jit(lambda log, target: jnp.mean(missing(log, target)))
_unseen_mean = jax.jit(lambda log, target: unseen(log, target))


def _refuse(values, bad, wanted):
    bad = np.asarray(bad)
    if bad.any():
        rows = np.argwhere(bad)
        first = tuple(rows[0].tolist())
        came = checks.shown(np.asarray(values)[first].item())
        at = f", first at [{', '.join(map(str, first))}]" if first else ""
        raise ValueError(f"target must hold {wanted}; {len(rows):,} of {bad.size:,} do not{at}: {came}")
