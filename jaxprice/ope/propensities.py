"""Propensities: the probability of every action of a policy, given its state and what it sees.

| policy | probabilities | standard error |
|---|---|---|
| has `Policy.probabilities` | its formula; an integral for Thompson sampling with independent arms (`parts.best_arm`) | 0 |
| `act` does not read its key | one for the action of `act`, zero for the others | 0 |
| any other | counted over n independent keys | sqrt(q (1 - q) / (n + 1)) |

Counts c_k are smoothed by one more draw. If the logged action a is known, that draw is a itself,

    q_k = (c_k + 1{k = a}) / (n + 1),

so the probabilities sum to one and that of the logged action is never zero. Its inverse, the weight of an importance
weighted estimator, is nearly unbiased: E[1 / q_a] = (1 - (1 - p_a)^(n + 1)) / p_a for c_a binomial with probability p_a.
(1 / c_a itself has no mean.) Without a logged action the draw is spread evenly, q_k = (c_k + 1 / K) / (n + 1).

Source for the mean of the inverse: M. T. Chao, W. E. Strawderman (1972), "Negative moments of positive random variables",
doi:10.1080/01621459.1972.10482404.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core as jex
from jaxtyping import Float, Int, Key

from jaxprice import checks
from jaxprice.lanes import needed
from jaxprice.types import Oracle, Policy

KINDS = ("formula", "certain", "counted")


def propensities(
    policy: Policy,
    state: Any,
    observation: Any,
    *,
    num_actions: int | None = None,
    action: Int[Array, ""] | int | None = None,
    key: Key[Array, ""] | None = None,
    draws: int = 1000,
) -> tuple[Float[Array, " num_actions"], Float[Array, " num_actions"]]:
    """Probabilities of all actions of a policy on a price grid, and their standard errors.

    For many states, map this function: `jax.vmap(lambda state, seen: propensities(policy, state, seen))(states, seen)`.

    Args:
      policy: a `Policy`.
      state: its state.
      observation: what it sees before the sale.
      num_actions: number of actions; needed where the policy has no formula.
      action: the logged action, which smooths counted probabilities.
      key: key of the draws; needed where probabilities are counted.
      draws: number of draws n.

    Returns:
      `(probabilities, standard_errors)`, float32 `[num_actions]` each. Errors of formulas are zero.

    Raises:
      ValueError: the policy is none, is the oracle, or takes no index of a price grid; or an argument is missing that the
        policy needs.
    """
    check_policy(policy)
    draws = checks.positive_int("draws", draws)
    size = None if num_actions is None else checks.positive_int("num_actions", num_actions)
    how = kind(policy, state, observation)
    if how == "formula":
        found = formula(policy, state, observation)
        if size is not None and found.shape != (size,):
            raise ValueError(f"num_actions must be that of the policy's probabilities, {found.shape[0]}, got {size}")
        return found, jnp.zeros_like(found)
    if size is None:
        raise ValueError("num_actions must be given for a policy without a formula of its probabilities, got None")
    if how == "certain":
        return one_hot(certain_action(policy, state, observation), size), jnp.zeros(size, jnp.float32)
    if key is None:
        raise ValueError("key must be given where probabilities are counted: this policy has no formula; got None")
    return counted(policy, state, observation, key, draws, size, action, together=min(draws, 1000))


def check_policy(policy: Any) -> None:
    """Raise for an object that is not a policy, and for the oracle.

    Raises:
      ValueError: the object is one of these.
    """
    if not isinstance(policy, Policy):
        raise ValueError(f"policy must be a Policy, got {checks.shown(policy)}")
    if isinstance(policy, Oracle):
        raise ValueError("policy must act from what a seller knows, got the oracle; env.optimal_action is its action")


def kind(policy: Policy, state: Any, observation: Any) -> str:
    """How the probabilities of a policy are found, one of `KINDS`; arguments are arrays or shapes."""
    if policy.probabilities is not None:
        return "formula"
    key = jax.eval_shape(lambda: jax.random.key(0))
    action = jax.eval_shape(policy.act, key, state, observation)
    if action.shape or not jnp.issubdtype(action.dtype, jnp.integer):
        raise ValueError(f"policy must return an index of a price grid, got {action.dtype}{list(action.shape)}")
    return "counted" if _reads_key(policy, key, state, observation) else "certain"


def formula(policy: Policy, state: Any, observation: Any) -> Float[Array, " num_actions"]:
    """`policy.probabilities` on a price grid, float32 `[num_actions]`."""
    found: Any = policy.probabilities and policy.probabilities(state, observation)
    if callable(found) or jnp.ndim(found) != 1:
        raise ValueError("policy.probabilities must return [num_actions] here; densities are for prices from an interval")
    return jnp.asarray(found, jnp.float32)


def certain_action(policy: Policy, state: Any, observation: Any) -> Int[Array, ""]:
    """The action of a policy that does not read its key."""
    return policy.act(jax.random.key(0), state, observation)


def one_hot(action: Any, num_actions: int) -> Float[Array, " num_actions"]:
    """One at the action and zero elsewhere."""
    return (jnp.arange(num_actions, dtype=jnp.int32) == action).astype(jnp.float32)


def counted(policy, state, observation, key, draws, num_actions, action=None, together=1):
    """Smoothed frequencies of the actions of `policy` over `draws` keys, and their standard errors.

    Args:
      policy, state, observation, draws, num_actions, action: as in `propensities`.
      key: key of the draws.
      together: number of keys at a time. Few save memory where this runs in many lanes.

    Returns:
      `(probabilities, standard_errors)`, float32 `[num_actions]` each.
    """

    def one(k):
        return one_hot(policy.act(jax.random.fold_in(key, k), state, observation), num_actions)

    def batch(i, counts):
        numbers = i * together + jnp.arange(together, dtype=jnp.int32)
        hits = jnp.where((numbers < draws)[:, None], jax.vmap(one)(numbers), 0.0)
        return counts + jnp.sum(hits, axis=0)

    step = (lambda i, counts: counts + one(i)) if together == 1 else batch
    counts = jax.lax.fori_loop(0, -(-draws // together), step, jnp.zeros(num_actions, jnp.float32))
    more = jnp.full(num_actions, 1 / num_actions, jnp.float32) if action is None else one_hot(action, num_actions)
    found = (counts + more) / (draws + 1)
    return found, jnp.sqrt(found * (1 - found) / (draws + 1))


def density(policy: Policy, state: Any, observation: Any, price: Any) -> Float[Array, ""]:
    """The density of a price from an interval under a policy with `probabilities`, float32 scalar."""
    found: Any = policy.probabilities and policy.probabilities(state, observation)
    if not callable(found):
        raise ValueError("policy.probabilities must return a function from a price to its density in this market")
    return jnp.asarray(found(price), jnp.float32)


def _reads_key(policy, key, state, observation):
    """Whether the action depends on the key, or `act` has an effect."""
    leaves, structure = jax.tree.flatten((state, observation))
    shapes = [jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)) for x in leaves]

    def act(key, *leaves):
        return policy.act(key, *structure.unflatten(leaves))

    closed = jax.make_jaxpr(act)(key, *shapes)
    return _uses(closed.jaxpr, closed.jaxpr.invars[0], closed.jaxpr.outvars)


def _uses(jaxpr, var, wanted):
    """Whether the atoms `wanted` of a jaxpr depend on one of its variables; calls are looked into."""
    reached = needed(jaxpr, wanted)
    for eqn in jaxpr.eqns:
        if not reached.intersection(eqn.outvars) and not eqn.effects:
            continue
        at = [i for i, atom in enumerate(eqn.invars) if atom is var]
        inner = eqn.params.get("jaxpr") if eqn.primitive.name in ("jit", "pjit") else None
        if not at:
            continue
        if not isinstance(inner, jex.ClosedJaxpr) or any(
            _uses(inner.jaxpr, inner.jaxpr.invars[i], inner.jaxpr.outvars) for i in at
        ):
            return True
    return False
