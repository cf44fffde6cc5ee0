"""The fluid linear programme of network revenue management, with any number of products and resources.

    max_x  reward . x   subject to   consumption' x <= capacity,  sum x <= 1,  x >= 0

x_k is the share of time for which price vector k is posted, and 1 - sum x the share of the shut-off price. With `capacity`
units a period, the optimum bounds the revenue a period of any policy. Its duals price the resources.

The solver is the primal simplex method on a dense tableau of M + 1 rows. Its slack basis is feasible because the capacity is
nonnegative. Rows and rewards are first scaled to a largest entry of one, so that the tolerances, 16 rounding units, have a
meaning. The entering column has the largest reduced reward. After 4 (K + M + 1) pivots Bland's rule takes over, so
degenerate instances cannot cycle. Pivots are also limited to 50 (K + M + 1); at the limit the last vertex, which is
feasible, is returned. The solution is refined against the original data with the final basis, which removes the rounding
errors of pivots.

Sources: G. B. Dantzig (1951) for the simplex method; R. G. Bland (1977), doi:10.1287/moor.2.2.103; K. J. Ferreira,
D. Simchi-Levi and H. Wang (2018), doi:10.1287/opre.2018.1755, for the programme.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from jaxprice import checks
from jaxprice.numerics import dot


def fluid_lp(
    reward: Num[ArrayLike, " K"], consumption: Num[ArrayLike, "K M"], capacity: Num[ArrayLike, " M"]
) -> tuple[Float[Array, ""], Float[Array, " K"], Float[Array, " M"]]:
    """The optimal mix of price vectors, and the value of each resource.

    Args:
      reward: expected reward a period of each price vector, float `[K]`.
      consumption: expected units used a period, float `[K, M]`.
      capacity: units available in each period, float `[M]`.

    Returns:
      value: optimal expected reward a period, float scalar.
      mix: share of the periods for each price vector, float `[K]`. If there are several optima it is a vertex, with at most
        M + 1 positive entries.
      duals: value of one more unit a period of each resource, float `[M]`; a period is worth value - duals . capacity.

    Raises:
      ValueError: wrong shapes, negative consumption or capacity, or a resource that no product uses.
    """
    reward, consumption, capacity = (1.0 * jnp.asarray(x) for x in (reward, consumption, capacity))
    num, rows = reward.shape[-1] if reward.ndim else 0, capacity.shape[-1] if capacity.ndim else 0
    if not num or not rows or reward.shape != (num,) or consumption.shape != (num, rows) or capacity.shape != (rows,):
        raise ValueError(
            "reward must be [K], consumption [K, M] and capacity [M], "
            f"got {reward.shape}, {consumption.shape} and {capacity.shape}"
        )
    checks.number("reward", reward)
    checks.number("consumption", consumption, low=0)
    checks.number("capacity", capacity, low=0)
    if not checks.is_traced(consumption) and not np.all(np.any(np.asarray(consumption) > 0, axis=0)):
        unused = np.flatnonzero(~np.any(np.asarray(consumption) > 0, axis=0)).tolist()
        raise ValueError(f"consumption must use every resource, got none of resources {unused}")

    dtype = jnp.result_type(reward, consumption, capacity)
    largest = jnp.max(consumption, axis=0)
    scale = jnp.where(largest > 0, largest, 1.0)
    gain = jnp.max(jnp.abs(reward))
    gain = jnp.where(gain > 0, gain, 1.0)
    use = jnp.append((consumption / scale[None]).T, jnp.ones((1, num), dtype), axis=0)
    columns = jnp.append(use, jnp.eye(rows + 1, dtype=dtype), axis=1).astype(dtype)  # [M + 1, K + M + 1]
    limit = jnp.append(capacity / scale, 1.0).astype(dtype)
    gains = jnp.append(reward / gain, jnp.zeros(rows + 1, dtype)).astype(dtype)

    tableau, basis = _simplex(columns, limit, gains)
    inverse, square = tableau[:-1, num:-1], columns[:, basis]
    amounts = dot(inverse, limit)
    amounts = amounts + dot(inverse, limit - dot(square, amounts))
    worth = dot(gains[basis], inverse)
    worth = worth + dot(gains[basis] - dot(worth, square), inverse)
    mix = jnp.zeros(num + rows + 1, dtype).at[basis].set(jnp.maximum(amounts, 0.0))[:num]
    mix = mix / jnp.maximum(jnp.sum(mix), 1.0)
    return dot(reward, mix), mix, jnp.maximum(worth[:-1], 0.0) * gain / scale


def _simplex(columns, limit, gains):
    """Pivots from the slack basis to the optimum; returns the final tableau `[M + 2, K + M + 2]` and basis `[M + 1]`."""
    rows, width = columns.shape
    tolerance = 16 * jnp.finfo(columns.dtype).eps
    tableau = jnp.append(columns, limit[:, None], axis=1)
    tableau = jnp.append(tableau, jnp.append(gains, 0.0)[None].astype(columns.dtype), axis=0)

    def unfinished(carry):
        tableau, _, count = carry
        return jnp.any(tableau[-1, :-1] > tolerance) & (count < 50 * width)

    def pivot(carry):
        tableau, basis, count = carry
        bland = count >= 4 * width
        reduced = tableau[-1, :-1]
        enter = jnp.where(bland, jnp.argmax(reduced > tolerance), jnp.argmax(reduced))
        column = tableau[:-1, enter]
        usable = column > tolerance  # never empty: each column of a price vector has the 1 of sum x <= 1
        ratios = jnp.where(usable, tableau[:-1, -1] / jnp.where(usable, column, 1.0), jnp.inf)
        ties = ratios <= jnp.min(ratios) + tolerance
        leave = jnp.argmax(jnp.where(ties & usable, jnp.where(bland, (width - basis).astype(column.dtype), column), -1.0))
        row = tableau[leave] / column[leave]
        tableau = (tableau - tableau[:, enter, None] * row[None]).at[leave].set(row)
        tableau = tableau.at[:-1, -1].set(jnp.maximum(tableau[:-1, -1], 0.0))
        return tableau, basis.at[leave].set(enter.astype(basis.dtype)), count + 1

    start = tableau, width - rows + jnp.arange(rows), 0
    tableau, basis, _ = jax.lax.while_loop(unfinished, pivot, start)
    return tableau, basis
