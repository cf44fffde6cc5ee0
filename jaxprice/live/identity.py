"""What a journal belongs to: policy, problem, seed and guard rails, as text that every process computes alike."""

import hashlib
import warnings
from typing import Any

import jax
import numpy as np

from jaxprice import checks, fingerprint, provenance
from jaxprice.live.guards import Guards
from jaxprice.ope.propensities import check_policy
from jaxprice.types import Discrete, Interval, Policy, Problem


def check(policy: Any, problem: Any) -> None:
    """Raise unless a session can play the policy in the problem.

    Raises:
      ValueError: one of them is another object, the policy is the oracle, an action is not one price, the problem is
        traced or lacks its first observation.
    """
    check_policy(policy)
    if not isinstance(problem, Problem):
        raise ValueError(f"problem must be a Problem, such as env.problem(params) returns, got {checks.shown(problem)}")
    if checks.is_traced(problem):
        raise ValueError("problem must hold numbers, got a traced one")
    space = problem.action_space
    if not isinstance(space, Discrete | Interval) or space.shape:
        raise ValueError(f"problem must have one price an action, of a grid or of an interval, got {space}")
    if isinstance(space, Discrete) and np.shape(problem.prices) != (space.n,):
        raise ValueError(
            f"problem must have a price for each of {space.n} actions, got shape {list(np.shape(problem.prices))}"
        )
    if not jax.tree.leaves(problem.observation):
        raise ValueError(
            "problem must hold what the seller sees before the first sale: give problem.with_observation(observation), in a "
            "simulated market with the observation of env.reset; np.zeros(1) will do for a policy that does not look at it"
        )


def of_problem(problem: Problem) -> str:
    """A digest of all numbers and choices of a problem, text."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(problem)[0]:
        array = np.ascontiguousarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode() + array.tobytes())
    plain = problem.action_space, problem.buyers, problem.noise, problem.law, problem.context_size
    found.update(repr(plain).encode())
    return found.hexdigest()[:32]


def of_policy(policy: Policy) -> str:
    """A digest of the code and data of a policy, text.

    Raises:
      ValueError: the policy reaches an object that cannot be told from others of its kind, such as an open connection.
    """
    found = fingerprint.Walk().of(tuple(policy))
    if found.unknown:
        raise ValueError(f"policy must be made of code and data, but it reaches {', '.join(found.unknown)}")
    return found.digest


def describe(policy: Policy) -> str:
    """The policy in words."""
    act: Any = policy.act
    return getattr(act, "description", None) or f"{act.__module__}.{act.__qualname__}"


def about(policy: Policy, problem: Problem, seed: int, products: int, guards: Guards, options: dict) -> dict:
    """What is written into a journal, plain data."""
    return {
        "policy": describe(policy),
        "policy_digest": of_policy(policy),
        "problem_digest": of_problem(problem),
        "seed": seed,
        "products": products,
        "guards": guards.about,
        "options": options,
        "versions": {"jax": jax.__version__, "jaxlib": provenance.version("jaxlib"), "numpy": np.__version__, "x64": _x64()},
    }


def compare(path: Any, there: dict, policy: Policy, problem: Problem) -> None:
    """Raise unless a journal is of this policy and problem; warn if JAX has another version.

    Raises:
      ValueError: it is of another one.
    """
    if there["policy_digest"] != of_policy(policy):
        given, wrote = describe(policy), there["policy"]
        other = f"got {given}" if given != wrote else "got one of this name whose code or data differ"
        raise ValueError(f"policy must be that of {path}, {wrote}; {other}")
    if there["problem_digest"] != of_problem(problem):
        raise ValueError(f"problem must be that of {path}, but its prices, costs or other facts differ")
    versions = there["versions"]
    if versions["x64"] != _x64():
        raise ValueError(f"jax_enable_x64 must be {versions['x64']}, as when {path} was made, got {_x64()}")
    mine = {"jax": jax.__version__, "jaxlib": provenance.version("jaxlib")}
    if any(versions[name] != mine[name] for name in mine):
        warnings.warn(
            f"{path} was made with jaxlib {versions['jaxlib']}, this is {mine['jaxlib']}: states that are computed anew may "
            "differ in their last bits",
            stacklevel=4,
        )


def _x64():
    return bool(checks.setting("jax_enable_x64"))
