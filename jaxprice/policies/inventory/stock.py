"""The common part of policies with a limited stock: problem and records of the seller, and the linear programme of the mix.

There are n products (with one product, scalars become rows of one) and M resources. A unit of product i uses A_ij units of
resource j; with one product or without a table each product is its own resource. An action k has margins m_ki and mean
demand d_ki. The programme of a period with capacity c is

    max_x  sum_k x_k sum_i m_ki d_ki   subject to   sum_k x_k sum_i A_ij d_ki <= c_j for every j,   sum_k x_k <= 1,   x >= 0,

and with probability 1 - sum x nothing is offered. Markets that can offer nothing list it as their last action, which earns
nothing. In other markets the action with the highest margins takes its place, since it sells least. Actions without a
positive margin are never explored.

Sellers record their own sales. Sales limited by the stock do not show demand. So a product's sales in a period are used only
if a unit of it was left after the period, or if every customer bought. This excludes some of the last periods of a season.

One resource: the optimum has at most two actions, one that uses at most c and one that uses more. The code enumerates all
pairs (as in `jaxprice.oracles.inventory.fluid_prices`): exact, K^2 operations, no loop. Among equally good mixes it chooses
that with the first actions, and offering nothing comes last: an action with zero estimated sales is played before offering
nothing, and so reveals its demand. Several resources: the simplex method on a dense tableau of M + 2 rows as in
`jaxprice.oracles.fluid_lp`, with a fixed number of pivots, 3 (M + 1), so that lanes do not wait for each other. Among 90,000
random programmes with up to 30 actions, none with three resources took more than 10 pivots and none with six more than 11.
If the method stops early, its vertex is feasible.

Source: K. J. Ferreira, D. Simchi-Levi, H. Wang (2018), doi:10.1287/opre.2018.1755, for the programme.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from jaxprice import checks, random
from jaxprice.policies.parts import arms, totals
from jaxprice.types import Problem, Transition

TOLERANCE = 2e-6  # tolerance for reduced rewards and pivots, in units of the largest


@struct.dataclass
class Season:
    """The problem of the seller.

    Attributes:
      margins: profit of a unit of each product under each action, float `[K, n]`.
      units: units of each resource that a unit of each product uses, float `[n, M]`.
      stock: units of each resource at the start, float `[M]`.
      horizon: number of periods, float scalar.
      idle: the action that offers nothing, or is nearest to that, int scalar.
      order: actions with a positive margin, then the others, int `[K]`.
      offers: number of actions with a positive margin, at least 1, int scalar.
      most: largest demand for a product in a period if demand is Bernoulli, otherwise 0.
    """

    margins: jax.Array
    units: jax.Array
    stock: jax.Array
    horizon: jax.Array
    idle: jax.Array
    order: jax.Array
    offers: jax.Array
    most: int = struct.field(pytree_node=False)

    def fluid(self, demand: Num[Array, "K n"], capacity: Num[Array, " M"]) -> Float[Array, " K"]:
        """Shares of the actions in the optimum, float `[K]`, for mean demand `[K, n]` and a capacity `[M]` a period."""
        return shares(jnp.sum(self.margins * demand, axis=1), self.take(demand), capacity)

    def take(self, demand: Num[Array, "... n"]) -> Num[Array, "... M"]:
        """Resources that a demand uses: `[..., n]` -> `[..., M]`."""
        used: Any = sum(demand[..., i, None] * row for i, row in enumerate(self._rows(demand.ndim)))
        return used

    def _rows(self, ndim):
        """Rows of `units`, with leading axes of size one."""
        return [self.units[i].reshape((1,) * (ndim - 1) + (-1,)) for i in range(self.units.shape[0])]

    def explore(self, time: Int[ArrayLike, ""]) -> Int[Array, ""]:
        """The action of an exploration period: actions with a positive margin, in turn."""
        return self.order[time % self.offers]

    def length(self, exponent: Num[ArrayLike, ""]) -> Int[Array, ""]:
        """Number of exploration periods, T^exponent and at least one round, int scalar."""
        periods = jnp.ceil(self.horizon**exponent - 1e-3).astype(jnp.int32)
        return jnp.maximum(periods, self.offers)


@struct.dataclass
class Books:
    """The records of the seller.

    Attributes:
      time: number of periods played, int scalar.
      left: units of each resource left, float `[M]`.
      periods: number of periods that revealed the demand of each product under each action, int `[K, n]`.
      sums, lost: units sold in them, and rounding errors (`totals`), float `[K, n]`.
    """

    time: jax.Array
    left: jax.Array
    periods: jax.Array
    sums: jax.Array
    lost: jax.Array

    @property
    def counts(self) -> Float[Array | np.ndarray, "K n"]:
        """`periods` as floats."""
        return self.periods.astype(jnp.float32)

    def add(self, season: Season, transition: Transition, learning: Bool[ArrayLike, ""] = True) -> "Books":
        """The books after a period; `learning`: whether its demand may be recorded, a bool scalar."""
        sold = jnp.asarray(transition.demand, jnp.float32).reshape(-1)
        left = jnp.maximum(self.left - season.take(sold), 0.0)
        seen = jnp.all(left[None] >= season.units - 1e-3, axis=1)
        if season.most:
            seen = seen | (sold >= season.most)
        hot = jnp.arange(self.periods.shape[0])[:, None] == transition.action
        taught = hot & seen[None] & learning
        periods = self.periods + taught.astype(jnp.int32)
        sums = totals.plus(self.sums, self.lost, jnp.where(taught, sold[None], 0.0), periods >= totals.LONG)
        return Books(self.time + 1, left, periods, *sums)

    def means(self) -> Float[Array | np.ndarray, "K n"]:
        """Mean demand so far, float `[K, n]`; 0 without data."""
        return self.sums / jnp.maximum(self.counts, 1.0)

    def rate(self, season: Season) -> Float[Array, " M"]:
        """Units left for each period left, this one included, float `[M]`."""
        return self.left / jnp.maximum(season.horizon - self.time.astype(jnp.float32), 1.0)


def season(problem: Problem, name: str, one_product: bool = False) -> Season:
    """The `Season` of a problem.

    Raises:
      ValueError: no price grid, unlimited stock, tables that do not fit, or several products if one is required.
    """
    arms.require_grid(problem, name)
    if problem.stock is None:
        raise ValueError(f"{name} needs a limited stock, but the stock of this market has no limit")
    prices = jnp.asarray(problem.prices, jnp.float32)
    cost = jnp.broadcast_to(jnp.asarray(problem.cost, jnp.float32), prices.shape)
    margins = (prices - cost).reshape(prices.shape[0], -1)
    size, products = margins.shape
    stock = jnp.asarray(problem.stock, jnp.float32).reshape(-1)
    units = jnp.eye(products, dtype=jnp.float32)
    if problem.consumption is not None:
        units = jnp.asarray(problem.consumption, jnp.float32)
    if units.shape != (products, stock.shape[0]):
        raise ValueError(
            f"{name} needs consumption {(products, *stock.shape)}, one row a product, but this market has {units.shape}"
        )
    if one_product and (products, stock.shape[0]) != (1, 1):
        raise ValueError(f"{name} needs one product with one stock, but this market has {products} products")
    earns = jnp.any(margins > 0, axis=1)
    highest = jnp.argmax(jnp.sum(margins, axis=1))
    return Season(
        margins=margins,
        units=units,
        stock=stock,
        horizon=jnp.asarray(problem.horizon, jnp.float32),
        idle=jnp.where(jnp.all(margins[-1] == 0), size - 1, highest).astype(jnp.int32),
        order=jnp.argsort(~earns, stable=True).astype(jnp.int32),
        offers=jnp.maximum(jnp.sum(earns), 1).astype(jnp.int32),
        most=problem.buyers if problem.noise == "bernoulli" else 0,
    )


def books(season: Season) -> Books:
    """The `Books` before the first period."""
    zeros = jnp.zeros(season.margins.shape, jnp.float32)
    return Books(jnp.int32(0), season.stock, zeros.astype(jnp.int32), zeros, zeros)


def table(demand: Num[ArrayLike, "..."], season: Season, name: str) -> Float[Array, "K n"]:
    """Known mean demand as float `[K, n]`, from `[K]` or `[K, n]`.

    Raises:
      ValueError: the shape is another one.
    """
    demand = jnp.asarray(demand, jnp.float32)
    size, products = season.margins.shape
    if demand.shape != (size, products) and not (products == 1 and demand.shape == (size,)):
        raise ValueError(f"{name} needs the demand of {size} actions and {products} products, got a table {demand.shape}")
    return demand.reshape(size, products)


def pick(u: Float[Array, ""], mix: Float[Array, " K"], idle: Int[ArrayLike, ""]) -> Int[Array, ""]:
    """The action that a uniform number selects from a mix, float `[K]`; `idle` has the remaining probability."""
    choice = random.choose(u, jnp.append(mix, jnp.float32(0)))
    return jnp.where(choice == mix.shape[0], idle, choice)


def shares(reward: Float[Array, " K"], use: Float[Array, "K M"], capacity: Float[Array, " M"]) -> Float[Array, " K"]:
    """The optimal mix of actions.

    Args:
      reward: expected profit of each action, float `[K]`.
      use: expected units of each resource that it uses, float `[K, M]`, nonnegative.
      capacity: units for a period, float `[M]`, nonnegative.

    Returns:
      float `[K]`: nonnegative, with a sum of at most one and at most M + 1 positive entries.
    """
    if use.shape[1] == 1:
        return _pair(reward, use[:, 0], capacity[0])
    return _simplex(reward, use, capacity)


def _pair(reward, use, capacity):
    """One resource: the best action that uses at most the capacity, alone or mixed with one that uses more."""
    size = reward.shape[0]
    reward, use = jnp.append(reward, jnp.float32(0)), jnp.append(use, jnp.float32(0))  # the offer of nothing
    fits = use <= capacity
    more = ~fits[:, None] & fits[None]  # [takes more, takes at most c]
    share = (capacity - use)[None] / jnp.where(more, use[:, None] - use[None], 1.0)
    gain = jnp.where(more, (reward[:, None] - reward[None]) * share, 0.0)
    high, best = jnp.argmax(gain, axis=0), jnp.max(gain, axis=0)
    low = jnp.argmax(jnp.where(fits, reward + best, -jnp.inf))
    high = high[low]
    part = (capacity - use[low]) / jnp.maximum(use[high] - use[low], 1e-30)
    part = jnp.where(best[low] > 0, jnp.clip(part, 0.0, 1.0), 0.0)
    rows = jnp.arange(size)
    return jnp.where(rows == low, 1 - part, 0.0) + jnp.where(rows == high, part, 0.0)


def _simplex(reward, use, capacity):
    """Several resources: pivots from the basis that offers nothing; tableau `[K + M + 2, M + 2]`, one row a variable."""
    size, resources = use.shape
    rows = resources + 1
    width = size + rows
    largest = jnp.maximum(jnp.max(use, axis=0), 1e-30)
    limit = jnp.append(jnp.minimum(capacity / largest, 2.0), jnp.float32(1))  # a capacity above one is never binding
    ones, zeros = jnp.ones((size, 1), jnp.float32), jnp.zeros((rows + 1, 1), jnp.float32)
    body = jnp.concatenate([use / largest[None], ones], axis=1)
    body = jnp.concatenate([body, jnp.eye(rows, dtype=jnp.float32), limit[None]], axis=0)
    gains = reward[:, None] / jnp.maximum(jnp.max(jnp.abs(reward)), 1e-30)
    start = jnp.concatenate([body, jnp.concatenate([gains, zeros], axis=0)], axis=1)
    variables = jnp.arange(width + 1, dtype=jnp.int32)

    def pivot(_, carry):
        tableau, basis = carry
        reduced = tableau[:width, rows]
        enter = jnp.argmax(reduced).astype(jnp.int32)
        column = tableau[enter]
        usable = column[:rows] > TOLERANCE
        ratios = jnp.where(usable, tableau[width, :rows] / jnp.where(usable, column[:rows], 1.0), 1e30)
        ties = usable & (ratios <= jnp.min(ratios) + TOLERANCE)
        leave = jnp.argmax(jnp.where(ties, column[:rows], -1.0)).astype(jnp.int32)
        out = jnp.arange(rows + 1) == leave
        row = jnp.sum(jnp.where(out[None], tableau, 0.0), axis=1) / jnp.sum(jnp.where(out, column, 0.0))
        moved = jnp.where(out[None], row[:, None], tableau - row[:, None] * column[None])
        amounts = (variables == width)[:, None] & (jnp.arange(rows + 1) < rows)[None]
        moved = jnp.where(amounts, jnp.maximum(moved, 0.0), moved)
        more = jnp.max(reduced) > TOLERANCE
        return jnp.where(more, moved, tableau), jnp.where(more & out[:rows], enter, basis)

    start = start, size + jnp.arange(rows, dtype=jnp.int32)
    tableau, basis = jax.lax.fori_loop(0, 3 * rows, pivot, start)
    mix = jnp.sum(jnp.where(variables[:size, None] == basis[None], tableau[width, None, :rows], 0.0), axis=1)
    return mix / jnp.maximum(jnp.sum(mix), 1.0)


def check_exponent(exponent: Any) -> Any:
    """Raise if a length of exploration is not a power of the horizon."""
    return checks.number("exponent", exponent, low=0, high=1)


def check_demand(demand: Any) -> Any:
    """Raise if a table has negative or infinite demand; None is valid."""
    return demand if demand is None else checks.number("demand", demand, low=0)
