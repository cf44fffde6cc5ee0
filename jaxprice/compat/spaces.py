"""Bounds of the actions and observations of an agent of another library, as arrays.

The bounds of observations follow the common layout of jaxprice's markets: share of the horizon that has passed, last prices,
last demand, further entries, context.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.compat.markets import FreshMarket, action_space, start
from jaxprice.envs.non_stationary import NonStationary
from jaxprice.types import Subset


def action_bounds(env, params) -> tuple[Any, Any]:
    """Lowest and highest entries of an action that is not an index, float32 `[1]` or `[n]` each.

    Raises:
      ValueError: each market draws its own interval of prices.
    """
    space = action_space(env, params)
    if isinstance(space, Subset):
        return np.zeros(space.n, np.float32), np.ones(space.n, np.float32)
    low, high, known = _concrete(_prices(env, params, posted=False))
    if not checks.is_traced(known) and not np.all(known):
        raise ValueError(f"fresh must be False for {env.name}: each market that is drawn has its own interval of prices")
    low, high = (_concrete(jnp.broadcast_to(bound, space.shape or (1,))) for bound in (low, high))
    return low, high


def observation_bounds(env, params) -> tuple[Any, Any]:
    """Lowest and highest entries of an observation, float32 `[size]` each; infinite if the bound is not known.

    In jaxprice's own markets the following bounds are known: the share of the horizon, prices, demand (except with Gaussian
    noise; per buyer if sales are Bernoulli), and the shares of the stocks that are left.
    """
    key = jax.random.key(0)
    seen, state = jax.eval_shape(env.reset_env, key, params)
    (size,) = jax.eval_shape(lambda: start(env, key, params)[0]).shape
    base = env.base if isinstance(env, FreshMarket) else env
    if not (type(base).__module__.startswith("jaxprice.envs.") and hasattr(seen, "shape")):
        return np.full(size, -np.inf, np.float32), np.full(size, np.inf, np.float32)

    def period(key, state, params):
        return env.step_env(key, state, env.optimal_action(state, params), params)[-1]["price"]

    count = int(np.prod(jax.eval_shape(period, key, state, params).shape))
    problem = jax.eval_shape(env.problem, params)
    stocks = 0 if problem.stock is None else int(np.prod(problem.stock.shape))
    other = size - 1 - 2 * count
    shares = stocks if stocks == other - problem.context_size else 0
    low, high, known = _prices(env, params, posted=True)
    demand = {"bernoulli": (0.0, 1.0), "poisson": (0.0, np.inf)}.get(problem.noise, (-np.inf, np.inf))

    def entries(gone, prices, demand, unknown):
        prices = jnp.broadcast_to(jnp.where(known, prices, unknown), (count,))
        rest = np.full(count, demand), np.full(shares, gone), np.full(other - shares, unknown)
        return _concrete(jnp.concatenate([jnp.asarray(x, jnp.float32) for x in (np.full(1, gone), prices, *rest)]))

    return entries(0.0, low, demand[0], -np.inf), entries(1.0, high, demand[1], np.inf)


def _prices(env, params, *, posted):
    """`(lowest, highest, known)`, scalars or `[n]` each; `known` is True if all markets that may be drawn have equal bounds.

    With `posted`, the bounds include the prices of the grid, and zero, which stands for no price.
    """
    if isinstance(env, FreshMarket):  # numbers that are equal in two draws are not random
        draws = jax.vmap(lambda key: env.draw(key, params))(jax.random.split(jax.random.key(0), 2))
        lows, highs = jax.vmap(lambda market: _prices(env.base, market, posted=posted)[:2])(draws)
        return lows[0], highs[0], (lows[0] == lows[1]) & (highs[0] == highs[1])
    if isinstance(env, NonStationary):
        lows, highs, _ = jax.vmap(lambda market: _prices(env.base, market, posted=posted))(params.markets)
        low, high = jnp.min(lows, axis=0), jnp.max(highs, axis=0)
    else:
        problem = env.problem(params)
        low, high = jnp.asarray(problem.low), jnp.asarray(problem.high)
        if posted:
            listed = jnp.concatenate([jnp.asarray(problem.prices), jnp.stack([low, high, jnp.zeros_like(low)])])
            low, high = jnp.min(listed, axis=0), jnp.max(listed, axis=0)
    return low, high, jnp.ones_like(low, bool)


def _concrete(tree):
    """The leaves as NumPy arrays, unless they are traced."""
    return tree if checks.is_traced(tree) else jax.tree.map(np.asarray, tree)
