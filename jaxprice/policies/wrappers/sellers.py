"""Several sellers in one market, each with its own policy, as one policy for the engine.

In a market with n sellers (`LogitOligopoly`) an action holds the price index of each. Seller i knows its own costs and
prices, acts without seeing the other actions of the same period, and learns from its own sale. Its observation is

    share of the horizon passed, its last price, its last demand, the last prices of its rivals in order; float `[3 + n - 1]`

and it has its own random numbers.

Source: the sequence of play of E. Calvano, G. Calzolari, V. Denicolo, S. Pastorello (2020), doi:10.1257/aer.20190623.
"""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.registry import maker_with_arguments
from jaxprice.types import Policy, Transition


@struct.dataclass
class State:
    """Unit costs, float `[n]`; and the state of each policy."""

    cost: jax.Array
    each: tuple


def _check(arguments):
    for policy in arguments["policies"]:
        if not isinstance(policy, Policy):
            raise ValueError(f"sellers takes one policy for each seller, got {policy!r}")


@functools.partial(maker_with_arguments, check=_check)
def sellers(*policies):
    """One policy made of the policies of all sellers.

    Args:
      *policies: a `Policy` for each seller, in the order of the market.

    Raises:
      ValueError: an argument is not a policy; at `init`, the market has another number of sellers.
    """

    def each(key):
        return [jax.random.fold_in(key, i) for i in range(len(policies))]

    def init(key, problem):
        if problem.action_space.shape != (len(policies),):
            raise ValueError(
                f"sellers got {len(policies)} policies, but actions of this market have shape {problem.action_space.shape}"
            )
        states = (
            policy.init(k, _brief(problem, i, len(policies)))
            for i, (policy, k) in enumerate(zip(policies, each(key), strict=True))
        )
        return State(jnp.asarray(problem.cost), tuple(states))

    def act(key, state, observation):
        views = (_view(observation, i, len(policies)) for i in range(len(policies)))
        acts = [p.act(k, s, view) for p, k, s, view in zip(policies, each(key), state.each, views, strict=True)]
        return jnp.stack([jnp.asarray(a, jnp.int32) for a in acts])

    def update(key, state, transition):
        n = len(policies)
        states = (
            policy.update(k, s, _own(transition, state.cost, i, n))
            for i, (policy, k, s) in enumerate(zip(policies, each(key), state.each, strict=True))
        )
        return State(state.cost, tuple(states))

    return Policy(init, act, update)


def _brief(problem, i, n):
    """The problem of seller i."""
    one = problem.of_seller(i)
    return one if problem.observation is None else one.with_observation(_view(problem.observation, i, n))


def _view(observation, i, n):
    """The part of the market's observation that seller i sees: time, prices `[n]`, demands `[n]`."""
    if observation is None:
        return None
    time, prices, demands = observation[:1], observation[1 : n + 1], observation[n + 1 :]
    return jnp.concatenate([time, prices[i : i + 1], demands[i : i + 1], prices[:i], prices[i + 1 :]])


def _own(transition, cost, i, n):
    """The transition of seller i."""
    price, demand = transition.price[i], transition.demand[i]
    return Transition(
        observation=_view(transition.observation, i, n),
        action=transition.action[i],
        price=price,
        demand=demand,
        reward=(price - cost[i]) * demand,
        next_observation=_view(transition.next_observation, i, n),
    )
