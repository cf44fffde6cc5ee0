"""Joint pricing and replenishment of one product with backlogging and no fixed ordering cost.

In each period the seller sees the inventory x (negative: backlog). It orders up to a level y >= x at a unit cost, and the
order arrives at once. It posts price k. Demand D with pmf f_k follows, all of it pays, and x' = y - D. The cost of the
period is L_k(y) = E[holding (y - D)^+ + backlog (D - y)^+]:

    V_h(x) = max_{y >= x, k}  p_k E_k[D] - unit_cost (y - x) - L_k(y) + discount E_k[V_{h-1}(y - D)],  V_0(x) = unit_cost x

(leftover stock is returned, and backlog filled, at the unit cost). The optimum is a base-stock list-price policy: below the
base-stock level, order up to it; above it, order nothing and give a discount that grows with the inventory. With stationary
demand, no discounting and no excess inventory at the start, the optimum is myopic:
max_{y, k} (p_k - unit_cost) E_k[D] - L_k(y) a period, with a newsvendor level for each price.

Source: A. Federgruen and A. Heching (1999), "Combined pricing and inventory control under uncertainty",
doi:10.1287/opre.47.3.454.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num

from jaxprice import checks
from jaxprice.oracles import dynamic_programming


def newsvendor(pmf: Num[ArrayLike, " levels"], holding: ArrayLike, backlog: ArrayLike) -> Float[Array, " levels"]:
    """Expected holding and backlog cost of a period for each order-up-to level.

    The cheapest level is the backlog / (holding + backlog) quantile of demand.

    Args:
      pmf: probabilities of demands 0..D, float `[D + 1]`.
      holding: cost of a leftover unit, float scalar.
      backlog: cost of a missing unit, float scalar.

    Returns:
      cost of levels 0..D, float `[D + 1]`, in money.

    Raises:
      ValueError: the pmf is not a distribution, or a cost is negative.
    """
    pmf = 1.0 * jnp.asarray(pmf)
    if pmf.ndim != 1:
        raise ValueError(f"pmf must be [D + 1], got shape {pmf.shape}")
    dynamic_programming.rows("pmf", pmf)
    return _cost(pmf, jnp.arange(len(pmf)), *_costs(holding, backlog))


def myopic_base_stock(
    pmf: Num[ArrayLike, "K levels"],
    prices: Num[ArrayLike, " K"],
    unit_cost: ArrayLike,
    holding: ArrayLike,
    backlog: ArrayLike,
) -> tuple[Int[Array, ""], Int[Array, ""], Float[Array, ""]]:
    """The stationary full-information optimum: best price, its base-stock level and profit a period.

    Args:
      pmf: probabilities of demands 0..D at each price, float `[K, D + 1]`.
      prices: float `[K]`.
      unit_cost: float scalar.
      holding: cost of a unit held for a period, float scalar.
      backlog: cost of a unit backlogged for a period, float scalar.

    Returns:
      price: index of the best price, int scalar.
      level: order-up-to level, int scalar.
      value: expected profit a period, float scalar, in money.

    Raises:
      ValueError: wrong shapes, rows that are not distributions, negative costs.
    """
    pmf, prices, profit = _market(pmf, prices, unit_cost)
    holding, backlog = _costs(holding, backlog)
    cost = jax.vmap(_cost, (0, None, None, None))(pmf, jnp.arange(pmf.shape[1]), holding, backlog)
    values = profit[:, None] - cost
    price, level = jnp.unravel_index(jnp.argmax(values), values.shape)
    return price, level, values[price, level]


def list_price(
    pmf: Num[ArrayLike, "K levels"],
    prices: Num[ArrayLike, " K"],
    unit_cost: ArrayLike,
    holding: ArrayLike,
    backlog: ArrayLike,
    horizon: int,
    largest: int,
    discount: ArrayLike = 1.0,
) -> tuple[Int[Array, " {horizon}"], Int[Array, "{horizon} {largest}+1"], Float[Array, "{horizon}+1 {largest}+1"]]:
    """The finite-horizon base-stock list-price policy, by dynamic programming over inventories 0..largest.

    Ordering raises inventories below zero to the base-stock level, so V is linear there and the grid is exact.

    Args:
      pmf: probabilities of demands 0..D at each price, float `[K, D + 1]`.
      prices: float `[K]`.
      unit_cost: float scalar.
      holding: cost of a unit held for a period, float scalar, positive.
      backlog: cost of a unit backlogged for a period, float scalar, above (1 - discount) * unit_cost; otherwise backlog is
        never filled.
      horizon: number of periods, int.
      largest: largest inventory, int of at least D; base-stock levels are at most this.
      discount: weight of the next period, float in [0, 1].

    Returns:
      levels: base-stock level with h + 1 periods to go, int `[horizon]`.
      policy: index of the price with h + 1 periods to go and inventory x before ordering, int `[horizon, largest + 1]`.
      values: expected profit with h periods to go, float `[horizon + 1, largest + 1]`, in money.

    Raises:
      ValueError: wrong shapes, rows that are not distributions, costs or sizes out of range.
    """
    pmf, prices, profit = _market(pmf, prices, unit_cost)
    holding, backlog = _costs(holding, backlog)
    horizon, largest = checks.positive_int("horizon", horizon), checks.positive_int("largest", largest)
    checks.number("discount", discount, low=0, high=1)
    if largest < pmf.shape[1] - 1:
        raise ValueError(f"largest must be at least the largest demand, {pmf.shape[1] - 1}, got {largest}")
    if not checks.is_traced((holding, backlog, unit_cost, discount)):
        if not np.all(np.asarray(holding) > 0):
            raise ValueError(f"holding must be positive, got {holding!r}")
        if not np.all(np.asarray(backlog) > (1 - np.asarray(discount)) * np.asarray(unit_cost)):
            raise ValueError(f"backlog must exceed (1 - discount) * unit_cost, got {backlog!r}")

    stock = jnp.arange(largest + 1)
    after = stock[:, None] - jnp.arange(pmf.shape[1])[None]  # [level, demand] -> inventory of the next period
    mean = _mean(pmf)
    cost = jax.vmap(_cost, (0, None, None, None))(pmf, stock, holding, backlog)
    # V_h(x) = unit_cost x + W_h(x). Ordering costs then cancel except for the discount, and W is constant below zero
    now = (profit + (1 - discount) * unit_cost * mean)[:, None] - ((1 - discount) * unit_cost * stock)[None] - cost

    def backward(carry, _):
        relative, total = carry  # W - W(0), and W(0): so that rounding errors do not grow with the horizon
        future = jnp.matmul(pmf, relative[jnp.maximum(after, 0)].T, precision="highest")
        worth = (now + discount * future).astype(now.dtype)  # [K, level]
        here, price = jnp.max(worth, axis=0), jnp.argmax(worth, axis=0)
        best = jax.lax.cummax(here, reverse=True)
        target = jax.lax.cummin(jnp.where(here == best, stock, largest), reverse=True)  # best level at or above it
        total = (discount * total + best[0]).astype(now.dtype)
        relative = best - best[0]
        return (relative, total), (target[0], price[target], relative + total)

    start = jnp.zeros_like(now[0]), jnp.zeros_like(now[0, 0])
    _, (levels, policy, values) = jax.lax.scan(backward, start, length=horizon)
    return levels, policy, jnp.append(start[0][None], values, axis=0) + (unit_cost * stock)[None]


def _market(pmf, prices, unit_cost):
    """Demands `[K, D + 1]` and prices `[K]`, checked, and the expected margin of each price `[K]`."""
    pmf, prices = 1.0 * jnp.asarray(pmf), 1.0 * jnp.asarray(checks.number("prices", prices))
    if pmf.ndim != 2 or prices.shape != pmf.shape[:1]:
        raise ValueError(f"pmf must be [K, D + 1] and prices [K], got {pmf.shape} and {prices.shape}")
    dynamic_programming.rows("pmf", pmf)
    checks.number("unit_cost", unit_cost, low=0, scalar=True)
    return pmf, prices, (prices - unit_cost) * _mean(pmf)


def _mean(pmf):
    """Expected demand `[...]`."""
    return jnp.matmul(pmf, jnp.arange(pmf.shape[-1], dtype=pmf.dtype), precision="highest")


def _costs(holding, backlog):
    """Holding and backlog cost, checked."""
    return checks.number("holding", holding, low=0, scalar=True), checks.number("backlog", backlog, low=0, scalar=True)


def _cost(pmf, levels, holding, backlog):
    """Expected cost of `levels` `[Y]` under `pmf` `[D + 1]`, `[Y]`."""
    over = levels[:, None] - jnp.arange(len(pmf))[None]
    return jnp.matmul(holding * jnp.maximum(over, 0) + backlog * jnp.maximum(-over, 0), pmf, precision="highest")
