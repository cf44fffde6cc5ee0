"""Decisions of a policy as it plays, each with its answer to two questions: what it posts after a refusal, and after a sale.

In every period of every lane, from the same state and with the same random numbers, the policy learns from a period without
a sale and from one in which every buyer bought; then the real sale goes on. So the difference of the two next prices is the
reaction to the refusal alone. The observation that the asked policy sees is the real one with another last demand.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxprice import checks, preparation, random
from jaxprice.environment import Environment
from jaxprice.ope.propensities import check_policy
from jaxprice.types import Discrete, Interval, Policy, Transition


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Decisions, float32 `[lanes, T]` and `[lanes, T, n]`.

    Attributes:
      observation: what the seller saw.
      action: the action: an index of the grid, int, or a price.
      price: the posted price.
      demand: units sold.
      after_refusal, after_sale: actions of the next period after no sale, and after a sale to every buyer.
      regret: regret of the period, expected, not sampled.
    """

    observation: Float[np.ndarray, "lanes T n"]
    action: np.ndarray
    price: Float[np.ndarray, "lanes T"]
    demand: Float[np.ndarray, "lanes T"]
    after_refusal: np.ndarray
    after_sale: np.ndarray
    regret: Float[np.ndarray, "lanes T"]


def decisions(
    env: Environment,
    policy: Policy,
    *,
    lanes: int = 200,
    horizon: int = 100,
    params: Any = None,
    seed: int = 0,
    asked: bool = True,
) -> Decisions:
    """Play a policy that sets one price in a market and ask it in every period.

    Args:
      env: the market; its observations are one array.
      policy: a `Policy`.
      lanes: number of lanes; each draws its own market.
      horizon: number of periods.
      params: one market for all lanes; None: each lane draws its own.
      seed: seed of markets, buyers and the policy.
      asked: whether the questions are asked; otherwise both answers are the action itself.

    Raises:
      ValueError: the arguments are not a market and a policy, or the market prices several products.
    """
    check_policy(policy)
    lanes, horizon = checks.positive_int("lanes", lanes), checks.positive_int("horizon", horizon)
    if not isinstance(env, Environment):
        raise ValueError(f"env must be an Environment, such as jaxprice.make returns first, got {checks.shown(env)}")
    space = env.action_space()
    if not isinstance(space, Discrete | Interval) or space.shape:
        raise ValueError(f"env must take one price a period, {env.name} takes {space}")
    fixed = preparation.one_market(env, params, horizon)
    streams = {role: random.stream(seed, role) for role in random.ROLES}

    def lane(words, number):
        def key(role, time=0):
            return random.address(words[role], time, number)

        market = env.draw_params(key("market"), jnp.int32(horizon)) if params is None else fixed
        market = jax.tree.map(jnp.asarray, market)
        seen, inside = env.reset_env(key("reset"), market)
        problem = env.problem(market).with_observation(seen)

        def period(carry, time):
            seen, state, inside = carry
            action = policy.act(key("act", time), state, seen)
            after, inside, reward, _, info = env.step_env(key("demand", time), inside, action, market)
            sale = Transition(seen, action, info["price"], info["demand"], reward, after)
            following = policy.update(key("update", time), state, sale)

            def answer(demand):
                profit = (info["price"] - problem.cost) * demand
                told = after.at[2].set(demand)
                asked = Transition(seen, action, info["price"], demand, jnp.asarray(profit, jnp.float32), told)
                return policy.act(key("act", time + 1), policy.update(key("update", time), state, asked), told)

            both = (answer(jnp.float32(0)), answer(jnp.float32(problem.buyers))) if asked else (action, action)
            return (after, following, inside), (seen, action, info["price"], info["demand"], *both, info["regret"])

        carry = seen, policy.init(key("init"), problem), inside
        return jax.lax.scan(period, carry, jnp.arange(horizon, dtype=jnp.int32))[1]

    found = jax.jit(jax.vmap(lane, (None, 0)))(streams, jnp.arange(lanes, dtype=jnp.uint32))
    return Decisions(*(np.asarray(x) for x in found))
