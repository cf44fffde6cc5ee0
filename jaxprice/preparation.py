"""Checks of the arguments of `simulate` and `rollout`, before the first period; messages suggest what would be right."""

import dataclasses
import difflib
import importlib
from typing import Any, NamedTuple

import numpy as np

from jaxprice import checks, given, periods, random
from jaxprice.environment import Environment
from jaxprice.types import Policy


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
    if not checks.is_traced(seed):
        seed = checks.seed(seed)
    random.stream(seed, "market")
    kind, shared = given.kind_of(env)
    if params is None:
        batched, one, known = False, kind, dataclasses.replace(shared, max_steps_in_episode=np.int32(horizon))
    else:
        params, batched = given.ready(env, kind, params, lanes, horizon)
        one = given.shapes_of(params, batched)
        known = one if batched else params
    return Prepared(policies, seed, lanes, horizon, params, batched, periods.shapes(one, False), known)


def one_market(env, params, horizon):
    """The market `params`, or the default of the environment, prepared for a horizon.

    Raises:
      ValueError: `env` is no environment, or `params` are a batch or not a market of the environment.
    """
    _check_env(env)
    params = env.default_params() if params is None else params
    ready, batched = given.ready(env, given.kind_of(env)[0], params, 1, horizon)
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
        if not all(callable(part) for part in policy[:3]) or not (policy[3] is None or callable(policy[3])):
            wanted = "a Policy of three functions, and of a fourth or None"
            raise ValueError(f"policies[{name!r}] must be {wanted}, got {checks.shown(policy)}")
        try:
            hash(policy)
        except TypeError as error:
            raise ValueError(f"policies[{name!r}] must be made of hashable functions: {error}") from None
    return {str(name): policy for name, policy in policies.items()}


def hint(thing):
    """A suggestion for an error message: how to make a policy if the caller gave `thing`."""
    if isinstance(thing, Policy):
        return ""
    makers = _module("jaxprice.policies.registry").makers()
    if isinstance(thing, str):
        near = difflib.get_close_matches(thing, makers, n=1, cutoff=0.5)
        return f"; jaxprice.policies.{near[0]}() makes one" if near else "; jaxprice.policies.list() has their names"
    name = getattr(thing, "__name__", "")
    if name in makers:
        return f"; {name} makes one when it is called: {name}()"
    if isinstance(thing, list | tuple | set) and thing and all(isinstance(part, Policy) for part in thing):
        return "; give each a name: {'first': ..., 'second': ...}"
    if isinstance(thing, tuple) and len(thing) in (3, 4) and all(callable(part) for part in thing[:3]):
        return "; jaxprice.Policy(init, act, update) makes one of three functions"
    return ""


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
