"""Markets whose numbers or context may move, but not because of the price: what they share.

A period is a price, the mean demand at it, a draw around the mean, and the best that could have been earned. Today's price
does not change tomorrow's market, so the oracle is myopic and the regret of a period is r(p*) - r(p): in every period
E optimal_reward = E (reward + regret), and what the best could earn does not depend on the seller.

The keys of a period: demand is drawn with the period's key itself, and what moves by itself (contexts, regimes) with
`moving(key)`, so that two markets which differ only in how they move face the same buyers.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import rules
from jaxprice.types import Environment


def observe(*parts):
    """What the seller sees, as one flat float32 vector: the parts in order, arrays in row order."""
    return jnp.concatenate([jnp.ravel(jnp.asarray(part, jnp.float32)) for part in parts])


def moving(key):
    """The key for what moves by itself between periods."""
    return jax.random.fold_in(key, 1)


def sale(price, demand, reward, regret, optimal, **more):
    """The `info` of a period: the entries that every market has, and others by name."""
    info = {"price": price, "demand": demand, "reward": reward, "regret": regret, "optimal_reward": optimal}
    return {name: jnp.asarray(value, jnp.float32) for name, value in (info | more).items()}


def same(action, best):
    """Whether an action is the oracle's, bool scalar."""
    return jnp.all(action == best)


class MyopicMarket(Environment):
    """Shared steps of markets with a myopic oracle.

    A subclass has params with `cost` and `max_steps_in_episode`, a state with `time`, and the methods below. Prices and
    demand are scalars, or `[n]` with n products.
    """

    buyers: int = 1

    def price(self, action, params):
        """The price that an action posts."""
        raise NotImplementedError

    def mean_demand(self, state, price, params):
        """Expected units sold to one buyer."""
        raise NotImplementedError

    def draw(self, key, state, mean, params):
        """Units sold to all buyers when the mean of one is `mean`."""
        raise NotImplementedError

    def optimal_action(self, state, params):
        raise NotImplementedError

    def start(self, key, params):
        """The state before the first period."""
        raise NotImplementedError

    def move(self, key, state, params):
        """The state of the next period, but for its time."""
        del key, params
        return state

    def extras(self, state, params):
        """What the seller sees beyond time, last price and last demand; the context last. A tuple."""
        del state, params
        return ()

    def reset_env(self, key, params):
        state = self.start(key, params)
        nothing = jnp.zeros(self.demand_shape, jnp.float32)
        return self._see(state, nothing, nothing, params), state

    @property
    def demand_shape(self):
        """Shape of prices and of demand: `()`, or `(n,)` with n products."""
        return ()

    def step_env(self, key, state, action, params):
        price = self.price(action, params)
        mean = self.mean_demand(state, price, params)
        demand = self.draw(key, state, mean, params)
        best = self.optimal_action(state, params)
        optimal = self.optimal_reward(state, params)
        regret = jnp.where(same(action, best), 0.0, optimal - self.profit(price, mean, params))
        reward = jnp.sum((price - params.cost) * demand)
        info = sale(price, demand, reward, regret, optimal)
        state = dataclasses.replace(self.move(moving(key), state, params), time=state.time + 1)
        return self._see(state, price, demand, params), state, info["reward"], jnp.bool_(False), info

    def profit(self, price, mean, params):
        """Expected profit of a period."""
        return self.buyers * jnp.sum((price - params.cost) * mean)

    def expected_reward(self, state, action, params):
        price = self.price(action, params)
        return self.profit(price, self.mean_demand(state, price, params), params)

    def optimal_reward(self, state, params):
        return self.expected_reward(state, self.optimal_action(state, params), params)

    def _see(self, state, price, demand, params):
        gone = state.time / params.max_steps_in_episode
        return observe(gone, price, demand / self.buyers, *self.extras(state, params))

    def grid_action(self, rewards):
        """The first price of the grid with the largest expected profit, int32 scalar."""
        return jnp.argmax(rewards).astype(jnp.int32)


@struct.dataclass
class Settled:
    """Periods played, int scalar; the oracle's action; and its expected reward in a period, float scalar."""

    time: jax.Array
    best: jax.Array
    optimal: jax.Array


class SettledMarket(MyopicMarket):
    """A market whose best action stays the same: it is worked out at the start and kept in the state."""

    def best(self, params):
        """The best action."""
        raise NotImplementedError

    def start(self, key, params):
        del key
        return self.refresh(Settled(jnp.int32(0), None, None), params)

    def refresh(self, state, params):
        best = self.best(params)
        return Settled(state.time, best, self.expected_reward(state, best, params))

    def optimal_action(self, state, params):
        return state.best

    def optimal_reward(self, state, params):
        return state.optimal


@struct.dataclass
class Visit:
    """Periods played, int scalar; and the features of the buyer who is here, float `[d]`."""

    time: jax.Array
    context: jax.Array


class ContextualMarket(MyopicMarket):
    """A market with one product, whose buyers have features that the seller sees; on a price grid or an interval."""

    num_prices: int | None

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.interval(params)
        if self.num_prices:
            yield from rules.grid(params)

    def extras(self, state, params):
        return (state.context,)

    def price(self, action, params):
        if self.num_prices:
            return jnp.asarray(params.prices)[action]
        return jnp.clip(jnp.asarray(action, jnp.float32), params.low, params.high)

    def believed(self, observation, params, problem):
        return Visit(jnp.int32(0), observation[-problem.context_size :]), params

    def offer(self, state, action, params):
        price = self.price(action, params)
        mean = self.mean_demand(state, price, params)
        return mean, self.profit(price, mean, params)
