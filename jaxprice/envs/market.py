"""Base classes of markets that no price changes: one for constant markets, one for buyers with features.

A period consists of a price, the mean demand at it, a random draw around the mean, and the best expected reward. Today's
price does not change tomorrow's market, so the oracle is myopic and the regret of a period is r(p*) - r(p). In every period
E optimal_reward = E (reward + regret), and optimal_reward does not depend on the seller.

Demand is drawn with the key of the period. Parts that change by themselves (contexts, regimes) use `moving(key)`, so two
markets that differ only in these parts face the same buyers.
"""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import ArrayLike

from jaxprice.environment import Environment


def observe(*parts):
    """An observation as one flat float32 vector: the parts in order, arrays in row order."""
    return jnp.concatenate([jnp.ravel(jnp.asarray(part, jnp.float32)) for part in parts])


def moving(key):
    """The key for changes between periods that do not depend on the seller."""
    return jax.random.fold_in(key, 1)


def sale(price, demand, reward, regret, optimal, **more):
    """The `info` of a period: the entries that every market has, and others by name."""
    info = {"price": price, "demand": demand, "reward": reward, "regret": regret, "optimal_reward": optimal}
    return {name: jnp.asarray(value, jnp.float32) for name, value in (info | more).items()}


def same(action, best):
    """Whether an action is the oracle's, bool scalar."""
    return jnp.all(action == best)


def first_best(rewards):
    """The first action with the largest expected reward, int32 scalar."""
    return jnp.argmax(rewards).astype(jnp.int32)


@struct.dataclass
class State:
    """State of a constant market.

    Attributes:
      time: number of periods played, int scalar.
      mean_demand: expected demand of one buyer at each action of a table, float `[num_actions]`; `[0]` without a table.
      best_action: action of the oracle.
      best_reward: its expected reward in a period, float scalar.
    """

    time: jax.Array
    mean_demand: jax.Array
    best_action: Any
    best_reward: Any


class MyopicMarket(Environment):
    """A constant market: the best action is computed once, at the start, and stored in the state.

    A subclass has params with `cost` and `max_steps_in_episode`, and the method `draw`. With `num_actions`, mean demand is a
    `table` over the actions, and the params have their `prices`. Otherwise there are the methods `mean_demand` and `best`.
    Prices and demand are scalars, or `[n]` with n products.

    Attributes:
      buyers: number of buyers a period.
      num_actions: number of arms, or of prices of a grid, whose mean demand is a table; 0 means no table.
      num_prices: size of a price grid; None: any price in `[low, high]`, or arms.
    """

    buyers: int = 1
    num_actions: int = 0
    num_prices: int | None = None

    def __new__(cls, *args, **options):
        del args, options
        made = super().__new__(cls)
        lacks = [name for name in ("table", "mean_demand", "best") if getattr(cls, name) is getattr(MyopicMarket, name)]
        if "table" in lacks and len(lacks) > 1:
            missing = ", ".join(f"`{name}`" for name in lacks)
            raise TypeError(f"{cls.__name__} needs the method `table`, or both `mean_demand` and `best`: it lacks {missing}")
        return made

    @abc.abstractmethod
    def draw(self, key, action, mean, params):
        """Units sold to all buyers if the mean of one buyer is `mean`."""

    def table(self, params, state=None):
        """Expected demand of one buyer at each action, float `[num_actions]`; `state` is given if demand depends on it."""
        raise NotImplementedError

    def mean_demand(self, price, params, state=None):
        """Expected units sold to one buyer at a price; `state` is given if demand depends on it."""
        raise NotImplementedError

    def best(self, params, state=None):
        """The best action if there is no table."""
        raise NotImplementedError

    def price(self, action, params):
        """The price of an action: that of the grid, or the action itself, clipped to `[low, high]`."""
        if self.num_actions or self.num_prices:
            return jnp.asarray(params.prices)[action]
        return jnp.clip(jnp.asarray(action, jnp.float32), params.low, params.high)

    @property
    def demand_shape(self):
        """Shape of prices and of demand: `()`, or `(n,)` with n products."""
        return ()

    def reset_env(self, key, params):
        state = self.start(key, params)
        nothing = jnp.zeros(self.demand_shape, jnp.float32)
        return self.observation(state, nothing, nothing, params), state

    def start(self, key, params):
        """The state before the first period."""
        del key
        empty = State(jnp.int32(0), jnp.zeros(0, jnp.float32), None, None)
        return self.refresh(empty, params)

    def refresh(self, state, params):
        if self.num_actions:
            mean = jnp.asarray(self.table(params), jnp.float32)
            rewards = self.profit(jnp.asarray(params.prices), mean, params)
            best = first_best(rewards)
            return State(state.time, mean, best, rewards[best])
        best = self.best(params)
        reward = self.expected_reward(state, best, params)
        return State(state.time, state.mean_demand, best, jnp.asarray(reward, jnp.float32))

    def next(self, key, state, params):
        """The state of the next period, except its time."""
        del key, params
        return state

    def step_env(self, key, state, action, params):
        price, mean = self.price_and_mean(state, action, params)
        demand = self.draw(key, action, mean, params)
        info = self.sold(state, action, price, mean, demand, params)
        state = dataclasses.replace(self.next(key, state, params), time=state.time + 1)
        return self.observation(state, price, demand, params), state, info["reward"], jnp.bool_(False), info

    def price_and_mean(self, state, action, params):
        """The posted price, and the expected demand of one buyer at it."""
        if self.num_actions:
            return jnp.asarray(params.prices)[action], state.mean_demand[action]
        price = self.price(action, params)
        return price, self.mean_demand(price, params, state)

    def sold(self, state, action, price, mean, demand, params):
        """The `info` of a period; the regret of the oracle's action is exactly zero, without rounding errors."""
        best, optimal = self.best_and_reward(state, params)
        regret = jnp.where(same(action, best), 0.0, optimal - self.profit(price, mean, params))
        reward = (price - params.cost) * demand
        return sale(price, demand, jnp.sum(reward) if self.demand_shape else reward, regret, optimal)

    def profit(self, price, mean, params):
        """Expected profit of a period; summed over products if there are several."""
        if self.demand_shape:
            return self.buyers * jnp.sum((price - params.cost) * mean)
        return self.buyers * (price - params.cost) * mean

    def expected_reward(self, state, action, params):
        return self.profit(*self.price_and_mean(state, action, params), params)

    def best_and_reward(self, state, params) -> Any:
        """The best action and its expected reward; regret is measured from it even if `optimal_action` is replaced."""
        del params
        return state.best_action, state.best_reward

    def optimal_action(self, state, params):
        return self.best_and_reward(state, params)[0]

    def optimal_reward(self, state, params):
        return self.best_and_reward(state, params)[1]

    def observation(self, state, price, demand, params) -> Any:
        """The observation: share of the horizon passed, last prices, last demands of one buyer, then `extras`."""
        gone = state.time / params.max_steps_in_episode
        return observe(gone, price, demand / self.buyers, *self.extras(state, params))

    def extras(self, state, params):
        """The entries of the observation after time, last price and last demand; the context comes last. A tuple."""
        del state, params
        return ()


@struct.dataclass
class Visit:
    """Number of periods played, int scalar; and the features of the present buyer, float `[d]`."""

    time: ArrayLike
    context: ArrayLike


class ContextualMarket(MyopicMarket):
    """A market whose buyers have features that the seller sees: the best action is computed for the present buyer.

    The state has `time` and `context`, like a `Visit`. A subclass also defines the arrival of buyers, with `start` and
    `move`. Its `table`, or `mean_demand` and `best`, receive the state.
    """

    @abc.abstractmethod
    def start(self, key, params):
        """The state before the first period."""

    @abc.abstractmethod
    def move(self, key, state, params):
        """The state of the next period, except its time."""

    def next(self, key, state, params):
        return self.move(moving(key), state, params)

    def refresh(self, state, params):
        del params
        return state

    def extras(self, state, params):
        return (state.context,)

    def price_and_mean(self, state, action, params):
        if self.num_actions:
            return jnp.asarray(params.prices)[action], self.table(params, state)[action]
        return super().price_and_mean(state, action, params)

    def best_and_reward(self, state, params):
        if self.num_actions:
            rewards = self.profit(jnp.asarray(params.prices), self.table(params, state), params)
            return first_best(rewards), jnp.max(rewards)
        best = self.best(params, state)
        return best, self.expected_reward(state, best, params)

    def believed(self, observation, params, problem):
        return Visit(jnp.int32(0), observation[-problem.context_size :]), params

    def offer(self, state, action, params):
        price, mean = self.price_and_mean(state, action, params)
        return mean, self.profit(price, mean, params)
