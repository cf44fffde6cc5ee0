"""One product, finite stock, no replenishment: the optimal expected revenue of a season.

Buyers are Poisson with rate a exp(-price); the price unit is the mean valuation. There are n units. The mass is
m = (a / e) * time left, the expected sales at the price that maximises revenue (Gallego and van Ryzin):

- value J(n) = log sum_{i=0}^n m^i / i!, price p(n) = 1 + J(n) - J(n-1);
- fluid bound s (1 + log(m / s)) with s = min(m, n); a fixed price p earns p E[min(n, Poisson(m exp(1 - p)))].

With B_0 = 1 and B_i = m B_{i-1} / (i + m B_{i-1}) (Erlang's loss formula), J(n) - J(n-1) = log(1 + m B_{n-1} / n). All terms
are positive, nothing overflows and nothing cancels.

Discrete time, at most one sale a period: let g(x) be the best expected gain of a period if a retained unit is worth x. Then
V_h(n) = V_{h-1}(n) + g(D_{h-1}(n)), where D_h(n) = V_h(n) - V_h(n-1). The code stores only the differences:
D_h(n) = D_{h-1}(n) + g(D_{h-1}(n)) - g(D_{h-1}(n-1)), which have as many digits at n = 10,000 as at n = 1.

Fluid problem: max sum_k p_k d_k x_k subject to sum_k d_k x_k <= c, sum_k x_k <= 1, x >= 0. It has a solution with at most
two prices: one sells at most c and the other sells more. The shut-off price, which sells nothing, counts among the first
kind.

Sources: G. Gallego and G. van Ryzin (1994), doi:10.1287/mnsc.40.8.999; K. J. Ferreira, D. Simchi-Levi and H. Wang (2018),
doi:10.1287/opre.2018.1755, for the fluid problem.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammainc, gammaincc
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from jaxprice import checks


def gallego_van_ryzin(
    stock: Num[ArrayLike, "*#n"], mass: Num[ArrayLike, "*#n"]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Optimal expected revenue and price with exponential demand.

    Args:
      stock: units left, int `[...]`.
      mass: expected sales at the revenue-maximising price in the time left, float `[...]`.

    Returns:
      value: float `[...]`, in price units (mean valuations).
      price: the optimal price now, float `[...]`, in the same units; infinite where the stock is zero.

    Raises:
      ValueError: a negative stock or mass.
    """
    stock, mass = _stock_and_mass(stock, mass)

    def add(i, carry):
        loss, value, last = carry
        term = jnp.log1p(mass * loss / i)
        loss = mass * loss / (i + mass * loss)
        more = i <= stock
        return loss, jnp.where(more, value + term, value), jnp.where(more, term, last)

    start = jnp.ones_like(mass), jnp.zeros_like(mass), jnp.zeros_like(mass)
    _, value, last = jax.lax.fori_loop(1, jnp.max(stock) + 1, add, start)
    return value, jnp.where(stock > 0, 1 + last, jnp.inf)


def deterministic_bound(stock: Num[ArrayLike, "*#n"], mass: Num[ArrayLike, "*#n"]) -> Float[Array, "..."]:
    """The fluid value s (1 + log(mass / s)), s = min(stock, mass), an upper bound on `gallego_van_ryzin`'s.

    Args:
      stock: units left, int `[...]`.
      mass: expected sales at the revenue-maximising price in the time left, float `[...]`.

    Returns:
      float `[...]`, in price units.

    Raises:
      ValueError: a negative stock or mass.
    """
    stock, mass = _stock_and_mass(stock, mass)
    return jnp.minimum(stock, mass) * run_out_price(stock, mass)


def run_out_price(stock: Num[ArrayLike, "*#n"], mass: Num[ArrayLike, "*#n"]) -> Float[Array, "..."]:
    """The fluid-optimal fixed price 1 + log(mass / s), s = min(stock, mass), which sells s units on average.

    Args:
      stock: units left, int `[...]`.
      mass: expected sales at the revenue-maximising price in the time left, float `[...]`.

    Returns:
      float `[...]`, in price units; one where the stock is zero.

    Raises:
      ValueError: a negative stock or mass.
    """
    stock, mass = _stock_and_mass(stock, mass)
    binding = (stock > 0) & (mass > stock)
    return 1 + jnp.log(jnp.where(binding, mass / jnp.maximum(stock, 1), 1.0))


def fixed_price_value(
    stock: Num[ArrayLike, "*#n"], mass: Num[ArrayLike, "*#n"], price: Num[ArrayLike, "*#n"]
) -> Float[Array | np.ndarray, "..."]:
    """Expected revenue of one price held until the season or the stock ends: price * E[min(stock, Poisson)].

    Args:
      stock: units at the start, int `[...]`.
      mass: expected sales at the revenue-maximising price, float `[...]`.
      price: float `[...]`, in price units.

    Returns:
      float `[...]`, in price units.

    Raises:
      ValueError: a negative stock or mass.
    """
    stock, mass = _stock_and_mass(stock, mass)
    buyers = mass * jnp.exp(1 - jnp.asarray(price))
    below = jnp.where(stock > 1, gammaincc(jnp.maximum(stock - 1.0, 1.0), buyers), 0.0)  # P(Poisson <= stock - 2)
    return price * jnp.where(stock > 0, buyers * below + stock * gammainc(jnp.maximum(stock, 1.0), buyers), 0.0)


def marginal_values(
    gain: Callable, horizon: int, stock: int, salvage: ArrayLike = 0.0
) -> Float[Array, "{horizon}+1 {stock}+1"]:
    """Exact value of every unit of stock at every time, with at most one sale a period.

    Args:
      gain: function from the worth of a retained unit, float `[...]`, to the best expected gain of one period, float
        `[...]`. It must be nonincreasing, with slope at least -1. `grid_gain` makes it for a price grid.
      horizon: number of periods, int.
      stock: largest stock, int.
      salvage: worth of each unit left at the end, float scalar.

    Returns:
      float `[horizon + 1, stock + 1]`: entry [h, n] is the worth of the n-th unit with h periods to go, in price units;
      [h, 0] is infinite, because no price is worth a unit that does not exist. `jnp.cumsum(table[h, 1:])` is the value.

    Raises:
      ValueError: a horizon below one, a negative stock, a salvage value that is not a number.
    """
    horizon = checks.positive_int("horizon", horizon)
    if isinstance(stock, bool) or not isinstance(stock, int | np.integer) or stock < 0:
        raise ValueError(f"stock must be an integer of at least 0, got {stock!r}")
    salvage = jnp.asarray(checks.number("salvage", salvage))
    if salvage.ndim:
        raise ValueError(f"salvage must be one number, got shape {salvage.shape}")

    def backward(carry, _):
        worth, excess = carry  # Kahan summation: changes far below the rounding unit of the worth still add up
        gains = jnp.pad(gain(worth), (1, 0))  # without stock there is no gain
        change = (gains[1:] - gains[:-1] - excess).astype(worth.dtype)
        new = worth + change
        return (new, (new - worth) - change), new

    start = jnp.full(int(stock), 1.0 * salvage)
    table = jnp.concatenate([start[None], jax.lax.scan(backward, (start, jnp.zeros_like(start)), length=horizon)[1]])
    return jnp.pad(table, ((0, 0), (1, 0)), constant_values=jnp.inf)


def grid_gain(prices: Num[ArrayLike, " K"], demand: Num[ArrayLike, " K"]) -> Callable:
    """The best expected gain of a period on a price grid, g(x) = max(0, max_k d_k (p_k - x)), for `marginal_values`.

    Args:
      prices: float `[K]`.
      demand: probability of a sale at each price, float `[K]`.

    Returns:
      function from the worth of a retained unit, float `[...]`, to the gain, float `[...]`, both in price units.

    Raises:
      ValueError: wrong shapes or a probability outside [0, 1].
    """
    prices, demand = _grid(prices, demand)
    checks.number("demand", demand, low=0, high=1)

    def gain(worth):
        worth = jnp.asarray(worth)[..., None]
        shape = (*worth.shape[:-1], len(prices))
        each = jnp.broadcast_to(demand, shape) * (jnp.broadcast_to(prices, shape) - worth)
        return jnp.maximum(jnp.max(each, axis=-1), 0.0)

    return gain


def fluid_prices(
    prices: Num[ArrayLike, " K"], demand: Num[ArrayLike, " K"], capacity: Num[ArrayLike, ""]
) -> tuple[Float[Array, ""], Float[Array, " K"], Float[Array, "2"]]:
    """The fluid problem of one resource, solved exactly by enumerating all pairs of prices.

    Args:
      prices: float `[K]`.
      demand: expected sales a period at each price, float `[K]`.
      capacity: stock for each remaining period, float scalar.

    Returns:
      value: expected revenue a period, float scalar.
      mix: share of the periods at each price, float `[K]`; one minus its sum is the share of the shut-off price. If several
        mixes are optimal, it is the one with the lowest indices; the shut-off price comes last.
      dual: values of one more unit and of one more period, float `[2]`: value = dual[0] * capacity + dual[1].

    Raises:
      ValueError: wrong shapes, negative demand or capacity.
    """
    prices, demand = _grid(prices, demand)
    checks.number("demand", demand, low=0)
    capacity = checks.number("capacity", capacity, low=0, scalar=True)
    demand, revenue = jnp.append(demand, 0.0), jnp.append(prices * demand, 0.0)
    fits = demand <= capacity
    pair = fits[:, None] & ~fits[None]  # [sells at most c, sells more]
    apart = jnp.where(pair, demand[None] - demand[:, None], jnp.inf)
    slopes = jnp.where(pair, (revenue[None] - revenue[:, None]) / apart, 0.0)
    unit = jnp.maximum(jnp.max(slopes, axis=1), 0.0)
    values = jnp.where(fits, revenue + unit * (capacity - demand), -jnp.inf)
    low = jnp.argmax(values)
    high = jnp.argmax(slopes[low])
    share = jnp.where(unit[low] > 0, (capacity - demand[low]) / apart[low, high], 0.0)
    mix = jnp.zeros_like(revenue).at[low].add(1 - share).at[high].add(share)
    return values[low], mix[:-1], jnp.stack([unit[low], values[low] - unit[low] * capacity])


def _stock_and_mass(stock, mass):
    """Stock and mass as arrays of one shape, checked."""
    checks.number("stock", stock, low=0)
    checks.number("mass", mass, low=0)
    return jnp.broadcast_arrays(jnp.asarray(stock), 1.0 * jnp.asarray(mass))


def _grid(prices, demand):
    """Prices and demand as float arrays `[K]`, checked."""
    prices, demand = 1.0 * jnp.asarray(checks.number("prices", prices)), 1.0 * jnp.asarray(demand)
    if prices.ndim != 1 or prices.shape != demand.shape or prices.size == 0:
        raise ValueError(f"prices and demand must both be [K], got {prices.shape} and {demand.shape}")
    return prices, demand
