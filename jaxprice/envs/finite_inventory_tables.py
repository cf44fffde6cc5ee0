"""Demand and oracle of a season with a stock (`finite_inventory`): offers, and the value of every unit at every time.

The functions take the market `env` and its `params`; equations and sources are those of `finite_inventory`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice import demand as demand_curves
from jaxprice.oracles.inventory import marginal_values

DEFAULT_DEMAND, PRICES = (0.8, 0.6, 0.3, 0.1), (29.9, 34.9, 39.9, 44.9)


def with_demand(cls, demand, choices):
    """The market without its stock, and its demand; the arguments are those of `FiniteInventory.make`.

    Raises:
      ValueError: a table without its prices, prices without demand, or a grid given twice.
    """
    prices, num_prices, low, high = (choices.get(name) for name in ("prices", "num_prices", "low", "high"))
    if demand is None and prices is None and num_prices is None:
        demand, choices["prices"] = DEFAULT_DEMAND, PRICES
    if demand is None:
        raise ValueError(
            "demand must be given where prices or num_prices are: one purchase probability a price, or a curve; got None"
        )
    if choices.get("prices") is not None and not (low is None and high is None):
        got = f"low={low!r}, high={high!r}"
        raise ValueError(f"prices is the grid itself: give either prices, or low and high, got {got}")
    if isinstance(demand, str | demand_curves.Curve):
        name, demand = demand_curves.named(demand)
        env = cls(curve=name, form=demand.form(), **choices)
    elif choices.get("prices") is None and num_prices is None:
        raise ValueError("demand is a table, which needs prices or num_prices")
    else:
        env = cls(**choices)
        demand = checks.array("demand", demand, (env.num_prices,), low=0, high=1)
    return env, demand


def default_demand(env):
    """The demand of the default market: a table, or the curve of the family."""
    if env.curve is not None:
        return demand_curves.default_curve(env.curve, env.form)
    if env.num_prices == len(DEFAULT_DEMAND):
        return np.array(DEFAULT_DEMAND)
    return np.linspace(0.9, 0.1, env.num_prices or 0)


def drawn_demand(env, key):
    """A random demand, see `FiniteInventory.sample_params`."""
    if env.curve is None:
        return -jnp.sort(-jax.random.uniform(key, (env.num_prices or 0,), jnp.float32))
    return demand_curves.curves()[env.curve].sample(key, *env.form)


def filled(env, params):
    """Params with the value of every unit at every time."""

    def gain(value):
        """The largest gain of a period if a unit is worth `value`."""
        cost = params.cost + value
        if env.num_prices:
            return jnp.max(gains(env, cost, params))
        price = params.demand.optimal_price(cost, params.low, params.high)
        return params.arrival * params.demand.mean(price) * (price - cost)

    values = marginal_values(jnp.vectorize(gain), env.horizon, env.capacity, params.salvage)
    return dataclasses.replace(params, values=values)


def season_value(env, params):
    """Optimal expected profit of the season, V_T(N), float scalar."""
    units, row = jnp.arange(env.capacity + 1), jnp.asarray(params.values)[params.max_steps_in_episode]
    return jnp.sum(jnp.where((units > 0) & (units <= params.stock), row, 0.0))


def worth(env, state, params):
    """Value of one more unit after this period; 0 if there is none."""
    periods = jnp.clip(params.max_steps_in_episode - state.time - 1, 0, env.horizon)
    return jnp.where(state.stock > 0, jnp.asarray(params.values)[periods, state.stock], 0.0)


def best(env, state, worth, params):
    """The action of the oracle if a unit is worth `worth`."""
    cost = params.cost + worth
    if env.num_prices:
        return env.carried_out(state, jnp.argmax(gains(env, cost, params)).astype(jnp.int32), params)
    return jnp.asarray(params.demand.optimal_price(cost, params.low, params.high), jnp.float32)


def gains(env, cost, params):
    """Expected gain of a period at each action of the grid if a unit costs `cost`, float `[num_actions]`."""
    found = sales(env, params) * (jnp.asarray(params.prices) - cost)
    return jnp.append(found, 0.0) if env.shut_off else found


def offer(env, state, action, params):
    """Price and probability of a sale."""
    if env.num_prices:
        prices, chances = jnp.asarray(params.prices), sales(env, params)
        if env.shut_off:
            prices, chances = jnp.append(prices, params.cost), jnp.append(chances, 0.0)
        price, mean = prices[action], chances[action]
    else:
        price = jnp.clip(jnp.asarray(action, jnp.float32), params.low, params.high)
        mean = params.arrival * params.demand.mean(price)
    return price, jnp.where(state.stock > 0, mean, 0.0)


def sales(env, params):
    """Probability of a sale at each price of the grid."""
    table = params.demand if env.curve is None else params.demand.mean(params.prices)
    return params.arrival * jnp.asarray(table)
