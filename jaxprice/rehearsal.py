"""A rehearsal: one period is traced, not computed, to see that the engine can play the market and every policy in it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex

from jaxprice import checks, periods
from jaxprice.types import Discrete, Interval, Oracle, Subset, Transition

INFO = ("price", "demand", "reward", "regret", "optimal_reward")  # entries that the `info` of every market has


def rehearse(env, play):
    """Trace one period of every policy -> name -> bytes of its state for one lane, and whether it has effects.

    A policy may read the problem and check its options against the numbers there. If one market is given, all of its numbers
    are known. If markets are drawn, only the numbers that are the same in all of them are known, often the price grid.

    Raises:
      ValueError: a policy cannot act in the environment, or the policy or the environment breaks a condition of the engine.
    """
    _market(env, *play.shapes)
    return {name: _state(env, name, policy, play.known) for name, policy in play.policies.items()}


def may_end(env, play):
    """Whether the market may terminate before the horizon, that is, `step_env` returns anything but a constant False."""
    return _market(env, *play.shapes)


@functools.lru_cache(maxsize=256)
def _market(env, *shapes):
    """Whether a market may terminate before the horizon; raises if the engine cannot play its periods."""
    key, params = _key(), periods.of_shapes(shapes)
    obs, state = jax.eval_shape(env.reset_env, key, params)
    _check_mask(env, jax.eval_shape(env.allowed, state, params), jax.eval_shape(env.problem, params).action_space)
    closed, out = jax.make_jaxpr(env.step_env, return_shape=True)(key, state, _an_action(env, params), params)
    if len(out) != 5:
        wanted = "(observation, state, reward, terminated, info)"
        raise ValueError(f"{env.name}.step_env must return {wanted}, got {len(out)} things")
    after, moved, reward, terminated, info = out
    if not isinstance(info, dict) or any(name not in info for name in INFO):
        got = ", ".join(info) if isinstance(info, dict) else type(info).__name__
        raise ValueError(f"{env.name}.step_env must return an info with {', '.join(INFO)}, got {got}")
    _same(f"{env.name}.step_env", "reset_env", "state", moved, state)
    _same(f"{env.name}.step_env", "reset_env", "observation", after, obs)
    number = len(jax.tree.leaves((after, moved, reward)))
    ends = closed.jaxpr.outvars[number]
    constants = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    if jax.tree.structure(terminated) != jax.tree.structure(0) or terminated.shape:
        raise ValueError(f"{env.name}.step_env must return one bool for terminated, got {terminated}")
    return bool(np.any(ends.val if isinstance(ends, jex.Literal) else constants.get(ends, True)))


def _check_mask(env, mask, space):
    """Raise if `env.allowed` returns something else than None or a bool for each price of the grid."""
    if mask is None:
        return
    if not isinstance(space, Discrete) or space.shape:
        raise ValueError(f"{env.name}.allowed must return None: a mask is for one price of a grid, but actions are {space}")
    shape, dtype = getattr(mask, "shape", None), getattr(mask, "dtype", None)
    if shape != (space.n,) or dtype != jnp.bool_:
        got = f"{dtype}{list(shape)}" if shape is not None else checks.shown(mask)
        raise ValueError(f"{env.name}.allowed must return None or bool[{space.n}], got {got}")


def _key():
    return jax.eval_shape(lambda: jax.random.key(0))


def _an_action(env, params):
    """Shape of an action."""
    space = jax.eval_shape(env.problem, params).action_space
    return jax.ShapeDtypeStruct(space.shape, {Discrete: jnp.int32, Interval: jnp.float32, Subset: jnp.bool_}[type(space)])


def _same(function, other, what, after, before):
    """Raise if the body of a loop returns another structure, shape or type than its argument has."""
    for (path, new), (_, old) in zip(*(jax.tree_util.tree_flatten_with_path(x)[0] for x in (after, before)), strict=False):
        if (new.shape, new.dtype) != (old.shape, old.dtype):
            where = jax.tree_util.keystr(path)
            raise ValueError(
                f"{function} returns another {what} than {other}: {new.dtype}{list(new.shape)} in place of "
                f"{old.dtype}{list(old.shape)}{' in ' + where if where else ''}"
            )
    structures = jax.tree.structure(after), jax.tree.structure(before)
    if structures[0] != structures[1]:
        raise ValueError(f"{function} returns another {what} than {other}: {structures[0]} in place of {structures[1]}")


def _state(env, name, policy, params):
    """Raise if the policy cannot act here; return the size of its state for one lane, in bytes, and whether it has effects.

    Leaves of `params` are numbers or shapes.
    """
    if isinstance(policy, Oracle):
        return 0, False
    leaves, structure = jax.tree.flatten(params)
    given = [x if isinstance(x, jax.ShapeDtypeStruct) else None for x in leaves]
    known = None
    if not jax.tree.leaves(given):
        with jax.ensure_compile_time_eval():
            known = env.problem(params)
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x)), params)
    problem = jax.eval_shape(env.problem, params)

    def start(key, given):
        params = structure.unflatten([x if new is None else new for x, new in zip(leaves, given, strict=True)])
        obs, env_state = env.reset_env(key, params)
        state = policy.init(key, (known or env.problem(params)).with_observation(obs))
        return obs, env_state, state, policy.act(key, state, obs)

    first, (obs, env_state, state, action) = jax.make_jaxpr(start, return_shape=True)(_key(), given)
    space = problem.action_space
    shape, dtype = getattr(action, "shape", None), getattr(action, "dtype", None)
    if dtype is None or shape != space.shape or not jnp.issubdtype(dtype, space.kind):
        wanted = {
            Discrete: "an index of its price grid (an integer scalar)",
            Interval: "a price (a float scalar)",
            Subset: "a set of products (booleans)",
        }[type(space)]
        wanted += f" of shape {space.shape}" if space.shape else ""
        raise ValueError(f"policy {name!r} returns {dtype}{shape}, but {env.name} takes {wanted}")

    if len(jax.tree.leaves(given)) < len(leaves):
        _unread(env, name, policy, params, state)

    def learn(key, params, obs, env_state, state, action):
        after, _, reward, _, info = env.step_env(key, env_state, action, params)
        return policy.update(key, state, Transition(obs, action, info["price"], info["demand"], reward, after))

    then, learned = jax.make_jaxpr(learn, return_shape=True)(_key(), params, obs, env_state, state, action)
    _same(f"update of policy {name!r}", "init", "state", learned, state)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)), bool(first.effects or then.effects)


def _unread(env, name, policy, params, state):
    """Raise if `init` returns another `state` where it cannot read the numbers of the market, as in the compiled period."""

    def start(key, params):
        return policy.init(key, env.problem(params).with_observation(env.reset_env(key, params)[0]))

    blind = jax.eval_shape(start, _key(), params)
    if jax.tree.structure(blind) != jax.tree.structure(state) or any(
        (new.shape, new.dtype) != (old.shape, old.dtype)
        for new, old in zip(jax.tree.leaves(blind), jax.tree.leaves(state), strict=True)
    ):
        raise ValueError(
            f"policy {name!r} reads the prices of {env.name} to choose its form, but they stand in the params, which are "
            "traced when a period is compiled: let `problem` return a NumPy constant, such as np.ones(num_arms), or give "
            "the policy its form"
        )
