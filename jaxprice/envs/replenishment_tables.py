"""Rewards and oracle of pricing and replenishment (`replenishment`): the bias, the best actions and the long-run average.

The functions take the market `env` and its `params`; equations and sources are those of `replenishment`.
"""

import dataclasses

import jax.numpy as jnp

from jaxprice.envs.planning import long_run


def chosen(env, state, action):
    """Index of the price, and inventory after the order has arrived."""
    return action // env.num_levels, jnp.maximum(state.stock, action % env.num_levels - env.largest_backlog)


def period(env, have, demand, params, k=None):
    """Reward without the order cost, at price k, or with a leading axis at all prices."""
    sold, over = jnp.minimum(demand, have + env.largest_backlog), have - demand
    costs = params.holding * jnp.maximum(over, 0) + params.shortage * jnp.maximum(-over, 0)
    prices = jnp.asarray(params.prices)
    return prices[:, None, None] * sold[None] - costs[None] if k is None else prices[k] * sold - costs


def paid(state, have, params):
    """Cost of the order."""
    return params.cost * (have - state.stock) + params.fixed * (have > state.stock)


def filled(env, params):
    """Params with bias, regrets, best actions and value.

    The result of having y units at price k, A[k, y], does not depend on x: Q = A[k, y] - cost (y - x) - fixed.
    """
    levels = jnp.asarray(env.levels)
    units = jnp.arange(env.largest_demand + 1)[None]
    after = jnp.maximum(levels[:, None] - units, -env.largest_backlog) + env.largest_backlog  # rows of the next period
    rewards = period(env, levels[:, None], units, params)  # [K, y, D]
    pmf = jnp.asarray(params.pmf)
    now = jnp.einsum("kyd,kd->ky", rewards, pmf, precision="highest")
    order = jnp.maximum(levels[None] - levels[:, None], 0)  # [x, level]
    costs = params.cost * order + params.fixed * (order > 0)
    have = jnp.maximum(levels[None], levels[:, None]) + env.largest_backlog  # [x, level] -> row of y

    def ahead(worth):
        return now + jnp.einsum("yd,kd->ky", worth[after], pmf, precision="highest")

    def backup(worth):
        return jnp.max(jnp.max(ahead(worth), axis=0)[have] - costs, axis=1)

    value, worth = long_run(backup, jnp.zeros(env.num_levels, jnp.float32))
    values = ahead(worth)[:, have] - costs[None]  # [K, x, level]
    values = jnp.moveaxis(values, 0, 1).reshape(env.num_levels, -1)
    regrets = jnp.max(values, axis=1, keepdims=True) - values
    best = jnp.argmin(regrets, axis=1).astype(jnp.int32)
    return dataclasses.replace(params, worth=worth, regrets=regrets, best=best, value=value)
