"""Warm start: any policy, which has learned from a log of decisions before its first sale.

`init` replays the log: with s_0 the state of the inner policy before any sale and z_t = (observation, action, price, demand,
reward, next observation) the t-th logged decision,

    s_(t + 1) = update(s_t, z_t),      t = 0, ..., T - 1,

and play starts in s_T. If the inner policy wrote the log itself, in the same market and with the same horizon, then it goes
on exactly where it stopped, up to random numbers that its `update` draws. The clock of the policy counts the logged periods,
and constants that it tunes to the horizon are those of the coming horizon.

Index policies and posteriors learn the same from prices that others posted. A policy that divides by its own probability of
the price (Exp3 and its variants) is unbiased only on its own log.

Regret: that of the inner policy from period T on. On logs of others, with n_k decisions at price k, UCB-like policies save
the exploration that these decisions stand for.

Source: P. Shivaswamy, T. Joachims (2012), "Multi-armed bandit problems with history", AISTATS, PMLR 22, 1046-1054.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxprice import checks
from jaxprice.policies.wrappers import combinators
from jaxprice.types import Discrete, Policy, Transition

FIELDS = ("action", "price", "demand", "reward")


@combinators.combinator
def warm(policy, log):
    """A policy that starts with the experience of a log.

    Args:
      policy: the inner policy.
      log: a `DecisionLog` of one seller, leaves `[T, ...]`. If it has no `next_observation`, that of a decision is the
        observation of the next one; if it has no observations, they are zero.

    Raises:
      ValueError: the arguments are not a policy and a single log, or a demand is not known; at `init`, the actions of the
        log are not those of the market, or its observations have other shapes.
    """
    sales = _sales(log)

    def init(key, problem):
        _check_actions(sales["action"], problem.action_space)
        seen, after = _observations(log, problem, len(sales["action"]))
        replayed = Transition(
            observation=seen, next_observation=after, **{name: jnp.asarray(sales[name]) for name in FIELDS}
        )

        def learn(state, numbered):
            number, sale = numbered
            return policy.update(jax.random.fold_in(key, number), state, sale), None

        numbers = jnp.arange(len(sales["action"]), dtype=jnp.int32)
        return lax.scan(learn, policy.init(key, problem), (numbers, replayed))[0]

    def act(key, state, observation):
        return policy.act(key, state, observation)

    def update(key, state, transition):
        return policy.update(key, state, transition)

    return Policy(init, act, update, policy.probabilities)


def _sales(log):
    """The columns of a log that every policy learns from, NumPy arrays `[T, ...]`."""
    if any(not hasattr(log, name) for name in (*FIELDS, "observation", "next_observation")):
        raise ValueError(f"log must be a DecisionLog, got {checks.shown(log)}")
    if checks.is_traced(log):
        raise ValueError("log must be known before tracing, got traced arrays")
    if np.ndim(log.action) != 1:
        raise ValueError(f"log must be one log, [T], got {list(np.shape(log.action))}: choose one, as log[0]")
    sales = {name: np.asarray(getattr(log, name)) for name in FIELDS}
    if (unknown := np.isnan(sales["demand"])).any():
        raise ValueError(f"demand of the log must be known, {int(unknown.sum()):,} of {unknown.size:,} numbers are NaN")
    return sales


def _check_actions(action, space):
    """Raise if logged actions are not of the market's kind."""
    grid = isinstance(space, Discrete)
    if not np.issubdtype(action.dtype, np.integer if grid else np.floating) or space.shape:
        raise ValueError(f"actions of the log must be those of the market, {space}, got {action.dtype}")
    if grid and not 0 <= action.min() <= action.max() < space.n:
        raise ValueError(f"actions of the log must be in [0, {space.n}), got {action.min()} to {action.max()}")


def _observations(log, problem, length):
    """Observations before and after each sale, leaves `[T, ...]`."""
    first: Any = problem.observation
    if log.observation is None:
        zeros = jax.tree.map(lambda x: jnp.zeros((length, *jnp.shape(x)), jnp.result_type(x)), first)
        return zeros, zeros
    if first is not None:
        ours, theirs = (jax.tree.structure(tree) for tree in (first, log.observation))
        shapes = [[jnp.shape(x) for x in jax.tree.leaves(first)], [x.shape[1:] for x in jax.tree.leaves(log.observation)]]
        if ours != theirs or shapes[0] != shapes[1]:
            raise ValueError(f"observations of the log must have shapes {shapes[0]}, as in this market, got {shapes[1]}")
    seen = jax.tree.map(jnp.asarray, log.observation)
    after = log.next_observation
    if after is None:
        return seen, jax.tree.map(lambda x: jnp.concatenate([x[1:], x[-1:]]), seen)
    return seen, jax.tree.map(jnp.asarray, after)
