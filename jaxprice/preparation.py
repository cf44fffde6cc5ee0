"""Checks and preparation before the first period, for `simulate` and `rollout`.

Markets may come from `make`, from `replace`, from a file or from a device. Here they become NumPy arrays with the structure,
shapes and types of the environment. Impossible markets are refused. The tables of the oracle are solved again, because
numbers in the market may have been replaced.
"""

import dataclasses
import difflib
import functools
import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex

from jaxprice import checks, periods, random
from jaxprice.types import Discrete, Environment, Interval, Oracle, Policy, Subset, Transition

INFO = ("price", "demand", "reward", "regret", "optimal_reward")  # entries that the `info` of every market has


class Prepared(NamedTuple):
    """The checked arguments of a run.

    Attributes:
      policies: name -> `Policy`.
      seed: an int, or a traced integer.
      lanes, horizon: ints.
      params: markets as arrays, or None if each lane draws its own.
      batched: whether params have a leading axis of lanes.
      shapes: shapes of one market, hashable.
      known: one market with numbers for the leaves that are the same in all lanes, and shapes for the other leaves.
    """

    policies: dict
    seed: Any
    lanes: int
    horizon: int
    params: Any
    batched: bool
    shapes: tuple
    known: Any


def prepare(env, policies, seed, lanes, horizon, params):
    """Check the arguments that `simulate` and `rollout` share, and prepare the markets -> `Prepared`.

    Raises:
      ValueError: an argument is wrong. No policy has been called at this point.
    """
    _check_env(env)
    policies = _named(policies)
    lanes, horizon = checks.positive_int("lanes", lanes), checks.positive_int("horizon", horizon)
    if env.longest is not None and horizon > env.longest:
        raise ValueError(f"horizon must be at most {env.longest}, for which {env.name} was made, got {horizon}")
    for name, policy in policies.items():
        longest = getattr(policy, "longest", None)
        if longest is not None and horizon > longest:
            raise ValueError(f"policy {name!r} was made for at most {longest} periods, got the horizon {horizon}")
    if not isinstance(seed, jax.core.Tracer):
        seed = checks.seed(seed)
    random.stream(seed, "market")
    kind, shared = _kind(env)
    if params is None:
        batched, one, known = False, kind, dataclasses.replace(shared, max_steps_in_episode=np.int32(horizon))
    else:
        params, batched = _markets(env, kind, params, lanes, horizon)
        one = _one(params, batched)
        known = one if batched else params
    return Prepared(policies, seed, lanes, horizon, params, batched, periods.shapes(one, False), known)


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


def one_market(env, params, horizon):
    """The market `params`, or the default of the environment, prepared for a horizon.

    Raises:
      ValueError: `env` is no environment, or `params` are a batch or not a market of the environment.
    """
    _check_env(env)
    params = env.default_params() if params is None else params
    ready, batched = _markets(env, _kind(env)[0], params, 1, horizon)
    if batched:
        raise ValueError("params must be one market, got a batch")
    return ready


def _check_env(env):
    """Raise if `env` is no environment, and suggest how to make one."""
    if isinstance(env, Environment):
        try:
            hash(env)
        except TypeError:
            raise ValueError(f"env must be a frozen dataclass of hashable choices, got {checks.shown(env)}") from None
        return
    hint = ""
    if isinstance(env, str):
        near = difflib.get_close_matches(env, _module("jaxprice.envs").list_envs(), n=1, cutoff=0.4)
        hint = f"; env, params = jaxprice.make({near[0]!r}) makes one" if near else "; jaxprice.list_envs() has their names"
    elif isinstance(env, tuple) and env and isinstance(env[0], Environment):
        hint = "; make returns two things: env, params = jaxprice.make(...), then env and params=params"
    elif isinstance(env, type) and issubclass(env, Environment):
        hint = f"; {env.__name__} is the class: env, params = jaxprice.make({env.__name__!r}) makes one"
    raise ValueError(f"env must be an Environment, got {checks.shown(env)}{hint}")


def _module(name):
    """A module, imported by name: fingerprints of results must not reach the code that only writes messages."""
    return importlib.import_module(name)


def _named(policies):
    """Policies by name."""
    if isinstance(policies, Policy):
        policies = {"policy": policies}
    if not isinstance(policies, dict):
        raise ValueError(f"policies must be a Policy or a dict of them, got {checks.shown(policies)}{hint(policies)}")
    if not policies:
        raise ValueError("policies must name at least one policy, got none")
    for name, policy in policies.items():
        if not isinstance(name, str):
            raise ValueError(f"names of policies must be strings, got {name!r}")
        if not isinstance(policy, Policy):
            raise ValueError(f"policies[{name!r}] must be a Policy, got {checks.shown(policy)}{hint(policy)}")
        if not all(callable(part) for part in policy):
            raise ValueError(f"policies[{name!r}] must be a Policy of three functions, got {checks.shown(policy)}")
        try:
            hash(policy)
        except TypeError as error:
            raise ValueError(f"policies[{name!r}] must be made of hashable functions: {error}") from None
    return {str(name): policy for name, policy in policies.items()}


def hint(thing):
    """A suggestion for an error message: how to make a policy if the caller gave `thing`."""
    if isinstance(thing, Policy):
        return ""
    makers = _module("jaxprice.policies").makers()
    if isinstance(thing, str):
        near = difflib.get_close_matches(thing, makers, n=1, cutoff=0.5)
        return f"; jaxprice.policies.{near[0]}() makes one" if near else "; jaxprice.policies.list() has their names"
    name = getattr(thing, "__name__", "")
    if name in makers:
        return f"; {name} makes one when it is called: {name}()"
    if isinstance(thing, list | tuple | set) and thing and all(isinstance(part, Policy) for part in thing):
        return "; give each a name: {'first': ..., 'second': ...}"
    if isinstance(thing, tuple) and len(thing) == 3 and all(callable(part) for part in thing):
        return "; jaxprice.Policy(init, act, update) makes one of three functions"
    return ""


def _kind(env):
    """The shapes of a drawn market; and the same market with numbers where all draws have equal numbers."""
    drawn = []

    def draw(key):
        drawn.append(env.sample_params(key))
        return drawn[0]

    kind = jax.eval_shape(draw, jax.random.key(0))
    return kind, jax.tree.map(lambda shape, x: shape if checks.is_traced(x) else x, kind, drawn[0])


def _bare(env, params):
    """Params without the tables of the oracle, which `solve` fills in."""
    return dataclasses.replace(params, **dict.fromkeys(env.tables)) if env.tables else params


def _markets(env, kind, params, lanes, horizon):
    """Prepared params, NumPy arrays unless they are traced; and whether they are a batch."""
    if type(params) is not type(kind):
        got = "a tuple; make returns (env, params)" if isinstance(params, tuple) else _named_type(type(params))
        own = f"; env.default_params() and env.sample_params(key) are {env.name}'s"
        raise ValueError(f"params must be the {_named_type(type(kind))} of {env.name}, got {got}{own}")
    batched = np.ndim(params.max_steps_in_episode) > 0
    params = _fit(env, _bare(env, kind), _bare(env, params), lanes, batched)
    params = dataclasses.replace(params, max_steps_in_episode=np.full((lanes,) * batched, horizon, np.int32))
    env.check_params(params)
    return _fit(env, kind, env.solved(params, batched), lanes, batched), batched


def _named_type(cls):
    """The name of a class in a message, with its module, because every market calls its params `Params`."""
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def _fit(env, kind, params, lanes, batched):
    """Params as arrays of the structure, shapes and types of `kind`, with a leading axis of lanes if they are batched."""
    wanted, structure = jax.tree_util.tree_flatten_with_path(kind)
    try:
        leaves = structure.flatten_up_to(params)
    except ValueError as error:
        raise ValueError(f"params must be those of {env.name}, which has another structure: {error}") from None
    arrays, own = [], f"those of {env.name}, as it was made"
    for (path, like), leaf in zip(wanted, leaves, strict=True):
        name = jax.tree_util.keystr(path).lstrip(".")
        array = jnp.asarray(leaf) if checks.is_traced(leaf) else _array(name, leaf, like.dtype)
        shape = np.shape(array)
        if batched and shape[:1] != (lanes,):
            one = f"params must hold one market or one for each of the {lanes} lanes"
            raise ValueError(f"{one}, got {name} of shape {list(shape)}")
        if shape[batched:] != like.shape:
            got, each = list(shape[batched:]), " for each lane" if batched else ""
            raise ValueError(f"params must be {own}: {name} must have shape {list(like.shape)}{each}, got {got}")
        arrays.append(array)
    return structure.unflatten(arrays)


def _array(name, leaf, dtype):
    """A leaf as a NumPy array with JAX's width, and with the kind of `dtype`: floats, integers or bools."""
    try:
        array = np.asarray(leaf)
        with np.errstate(over="ignore"):
            array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
        if jnp.issubdtype(array.dtype, np.number) and not jnp.issubdtype(dtype, np.bool_):
            whole = jnp.issubdtype(dtype, np.integer)
            cast = array if jnp.issubdtype(array.dtype, np.integer if whole else np.floating) else array.astype(dtype)
            if not whole or np.array_equal(cast, np.asarray(leaf)):
                return cast
        elif array.dtype == dtype:
            return array
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"params must be numbers that {np.dtype(dtype).name} can hold, got {name}={checks.shown(leaf)}")


def _one(params, batched):
    """Shapes of one market of params."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[batched:], jnp.result_type(x)), params)


def _like(tree):
    """Structure, shapes and types of a tree."""
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


@functools.lru_cache(maxsize=256)
def _market(env, *shapes):
    """Whether a market may terminate before the horizon; raises if the engine cannot play its periods."""
    key, params = _key(), periods.of_shapes(shapes)
    obs, state = jax.eval_shape(env.reset_env, key, params)
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
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x)), params)
    problem = jax.eval_shape(env.problem, params)

    def start(key, given):
        params = structure.unflatten([x if new is None else new for x, new in zip(leaves, given, strict=True)])
        obs, env_state = env.reset_env(key, params)
        state = policy.init(key, env.problem(params).with_observation(obs))
        return obs, env_state, state, policy.act(key, state, obs)

    first, (obs, env_state, state, action) = jax.make_jaxpr(start, return_shape=True)(_key(), given)
    space = problem.action_space
    shape, dtype = getattr(action, "shape", None), getattr(action, "dtype", None)
    if shape != space.shape or not jnp.issubdtype(dtype, space.kind):
        wanted = {
            Discrete: "an index of its price grid (an integer scalar)",
            Interval: "a price (a float scalar)",
            Subset: "a set of products (booleans)",
        }[type(space)]
        wanted += f" of shape {space.shape}" if space.shape else ""
        raise ValueError(f"policy {name!r} returns {dtype}{shape}, but {env.name} takes {wanted}")

    def learn(key, params, obs, env_state, state, action):
        after, _, reward, _, info = env.step_env(key, env_state, action, params)
        return policy.update(key, state, Transition(obs, action, info["price"], info["demand"], reward, after))

    then, learned = jax.make_jaxpr(learn, return_shape=True)(_key(), params, obs, env_state, state, action)
    _same(f"update of policy {name!r}", "init", "state", learned, state)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)), bool(first.effects or then.effects)


def checkpoints(times, horizon):
    """Times at which statistics are recorded, int `[C]`; log-spaced by default."""
    if times is None:
        return np.unique(np.round(np.geomspace(1, horizon, 31)).astype(int))
    wanted = f"checkpoints must be increasing integers from 1 to the horizon {horizon}"
    if np.ndim(times) != 1 or isinstance(times, str | bytes | dict | set) or not len(times):
        raise ValueError(f"{wanted}, got {checks.shown(times)}")
    try:
        whole = np.array([checks.whole("checkpoints", time, 1, horizon) for time in times], int)
    except ValueError:
        raise ValueError(f"{wanted}, got {checks.shown(times)}") from None
    if np.any(np.diff(whole) <= 0) or whole[-1] != horizon:
        raise ValueError(f"{wanted}, got {checks.shown(times)}")
    return whole


def levels(quantiles):
    """Levels of quantiles, float64 `[levels]`."""
    listed = isinstance(quantiles, list | tuple) or hasattr(quantiles, "ndim")
    if not listed or np.ndim(quantiles) != 1:
        raise ValueError(f"quantiles must be a list of numbers in [0, 1], got {checks.shown(quantiles)}")
    return np.asarray(checks.number("quantiles", quantiles, low=0, high=1) if len(quantiles) else [], float)
