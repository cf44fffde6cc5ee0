"""Exact values of target policies: what the intervals have to cover.

    a market without features     sum_a q(a) r(a)
    buyers with features          the mean over the distribution of features, by the midpoint rule
    a season with a stock         the recursion over units and periods, for the target instead of the best price:
        V_h(n) = sum_a q(a | h, n) [ d_a (p_a + V_{h-1}(n - 1)) + (1 - d_a) V_{h-1}(n) ],      V_0 = 0,  V_h(0) = 0

`r(a)` is the expected reward of a price in the market, computed by the market itself and never sampled.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice.envs.market import Visit

CELLS = 200  # of the midpoint rule, for each feature


def midpoints(dimension: int, low: float, high: float, cells: int = CELLS) -> np.ndarray:
    """Features with a constant in front, at the midpoints of `cells` equal parts of `[low, high]` in each dimension.

    Args:
      dimension: number of features, the constant included.
      low, high: ends of the distribution of each other feature, which are uniform and independent.
      cells: number of parts in each dimension.

    Returns:
      float `[cells ** (dimension - 1), dimension]`.
    """
    one = low + (high - low) * (np.arange(cells) + 0.5) / cells
    axes = np.meshgrid(*[one] * (dimension - 1), indexing="ij")
    return np.stack([np.ones(cells ** (dimension - 1)), *(axis.ravel() for axis in axes)], axis=-1).astype(np.float32)


def rewards_of_buyer(env, params) -> Callable[[jax.Array], jax.Array]:
    """The function from the features of a buyer to the expected rewards of all prices of the grid, `[num_prices]`."""
    actions = np.arange(env.num_prices)

    def rewards(context):
        state = Visit(jnp.int32(0), context)
        return jax.vmap(lambda action: env.expected_reward(state, action, params))(actions)

    return rewards


def over_buyers(value: Callable[[jax.Array], jax.Array], contexts: np.ndarray) -> np.ndarray:
    """The mean of a function of the features of a buyer over `contexts`, `[C, d]`; float64 of the function's shape."""
    return np.asarray(jax.jit(jax.vmap(value))(jnp.asarray(contexts)), np.float64).mean(axis=0)


def rewards_of_state(env, params) -> np.ndarray:
    """Expected rewards of all actions in the first period of a market without features, float64 `[num_actions]`."""
    _, state = env.reset_env(jax.random.key(0), params)
    return np.array([float(env.expected_reward(state, action, params)) for action in range(env.num_prices)])


def of_season(rule: np.ndarray, prices: np.ndarray, sales: np.ndarray) -> np.ndarray:
    """The value of a rule for every stock at the start.

    Args:
      rule: probabilities of the actions in each period with each number of units, `[periods, units + 1, num_actions]`.
      prices: price of each action, `[num_actions]`.
      sales: probability of a sale at each action while there is stock, `[num_actions]`.

    Returns:
      float64 `[units + 1]`.
    """
    value = np.zeros(rule.shape[1])
    for period in reversed(range(rule.shape[0])):
        sold = np.asarray(prices)[:, None] + value[None, :-1]
        gain = sales[:, None] * sold + (1 - sales[:, None]) * value[None, 1:]  # [num_actions, units]
        value = np.concatenate([[0.0], np.einsum("na,an->n", rule[period, 1:].astype(float), gain)])
    return value


def best_of_season(periods: int, units: int, prices: np.ndarray, sales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best action of a season, and the value that every action has before it.

    Returns:
      `(best, gains)`: int `[periods, units + 1]`, the last action where there is no stock; and the value of each action
      followed by the best ones, float64 `[periods, units + 1, num_actions]`.
    """
    value, count = np.zeros(units + 1), len(prices)
    best, gains = np.full((periods, units + 1), count - 1), np.zeros((periods, units + 1, count))
    for period in reversed(range(periods)):
        sold = np.asarray(prices)[:, None] + value[None, :-1]
        gains[period, 1:] = (sales[:, None] * sold + (1 - sales[:, None]) * value[None, 1:]).T
        best[period, 1:] = gains[period, 1:].argmax(axis=1)
        value = gains[period].max(axis=1)
    return best, gains
