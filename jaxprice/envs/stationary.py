"""Markets whose mean demand at each action stays as it is: what posted prices and plain bandits share.

Everything that does not change is worked out once at the start of an episode: the mean demand at every action of a
grid, and the best expected reward. A period is then one look-up and one draw. In every period optimal_reward is
E (reward + regret), whatever the seller does.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.types import Environment


@struct.dataclass
class State:
    """State of a stationary market.

    Attributes:
      time: periods played, int scalar.
      mean_demand: expected demand of one buyer at each action, float `[num_actions]`; `[0]` on an interval.
      best_action: what the oracle plays, int or float scalar.
      best_reward: its expected reward in a period, float scalar.
    """

    time: jax.Array
    mean_demand: jax.Array
    best_action: jax.Array
    best_reward: jax.Array


class StationaryMarket(Environment):
    """Shared steps of stationary markets. Subclasses say how demand is drawn and what its mean is.

    A subclass has the static attributes `num_actions` (0: any price in an interval) and `buyers`, params with at least
    `prices`, `cost` and `max_steps_in_episode`, and the methods `table` and `draw`; on an interval also params with `low`
    and `high`, `mean_demand(price, params)` and `best_price(params)`.
    """

    num_actions: int
    buyers: int

    def draw(self, key, action, mean, params):
        """Units sold in a period when one buyer's mean demand is `mean`."""
        raise NotImplementedError

    def table(self, params):
        """Expected demand of one buyer at each action of the grid, float `[num_actions]`."""
        raise NotImplementedError

    def reset_env(self, key, params):
        del key
        nothing = jnp.zeros(self.num_actions, jnp.float32)
        best = jnp.int32(0) if self.num_actions else jnp.float32(0)
        state = self.refresh(State(jnp.int32(0), nothing, best, jnp.float32(0)), params)
        return self._observe(state, 0.0, 0.0, params), state

    def refresh(self, state, params):
        if self.num_actions:
            mean = jnp.asarray(self.table(params), jnp.float32)
            rewards = self.buyers * (jnp.asarray(params.prices) - params.cost) * mean
            best = jnp.argmax(rewards)
            return State(state.time, mean, best.astype(jnp.int32), rewards[best])
        price = jnp.asarray(self.best_price(params), jnp.float32)
        profit = self._profit(price, self.mean_demand(price, params), params)
        return State(state.time, state.mean_demand, price, jnp.asarray(profit, jnp.float32))

    def step_env(self, key, state, action, params):
        price, mean = self._price_and_mean(state, action, params)
        demand = self.draw(key, action, mean, params)
        state, reward, info = self._sell(state, action, price, mean, demand, params)
        return self._observe(state, price, demand, params), state, reward, jnp.bool_(False), info

    def _sell(self, state, action, price, mean, demand, params):
        """What a period comes to: `(state, reward, info)`."""
        reward, profit = (price - params.cost) * demand, self._profit(price, mean, params)
        info = {
            "price": price,
            "demand": demand,
            "reward": reward,
            # exactly zero for the oracle's action, whatever the rounding
            "regret": jnp.where(action == state.best_action, 0.0, state.best_reward - profit),
            "optimal_reward": state.best_reward,
        }
        return dataclasses.replace(state, time=state.time + 1), reward, info

    def expected_reward(self, state, action, params):
        return self._profit(*self._price_and_mean(state, action, params), params)

    def optimal_reward(self, state, params):
        return state.best_reward

    def optimal_action(self, state, params):
        return state.best_action

    def _price_and_mean(self, state, action, params):
        if self.num_actions:
            return jnp.asarray(params.prices)[action], state.mean_demand[action]
        price = jnp.clip(jnp.asarray(action, jnp.float32), params.low, params.high)
        return price, self.mean_demand(price, params)

    def _profit(self, price, mean, params):
        return self.buyers * (price - params.cost) * mean

    def _observe(self, state, price, demand, params) -> Any:
        """What the seller sees: share of the horizon gone, last price, last demand of one buyer; float `[3]`."""
        gone = state.time / params.max_steps_in_episode
        return jnp.stack([jnp.asarray(x, jnp.float32) for x in (gone, price, demand / self.buyers)])
