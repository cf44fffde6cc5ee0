"""One leg of an airline: the worth of a seat (bid price) if several customers may buy on a day, by dynamic programming.

A flight has n seats left and h days to go. At fare k a day brings D customers who would buy, and sells min(D, n). The i-th
sale of the day happens with probability t_k(i) = P(D >= i) and takes the seat number n - i + 1. With margins w_k, and D_h(n)
the worth of the n-th seat with h days to go, the gain of a day over the worth of the seats that it sells is

    G_h(n, k) = sum_{i=1}^n t_k(i) (w_k - D_h(n - i + 1)),
    D_0(n) = 0,   D_{h+1}(n) = D_h(n) + max_k G_h(n, k) - max_k G_h(n - 1, k).

The value of the flight is V_h(n) = D_h(1) + ... + D_h(n). Only the differences are stored. So a gap between two fares has
the precision of a day's revenue, not that of the season's. With at most one sale a day this is `inventory.marginal_values`.

Source: K. T. Talluri, G. van Ryzin (2004), "The theory and practice of revenue management", doi:10.1007/b139000, chapter 2.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


def bid_prices(margins: Float[Array, " K"], tails: Float[Array, "K most"], days: int, seats: int) -> Float[Array, "h n"]:
    """The worth of every seat.

    Args:
      margins: profit of a sale at each fare, float `[K]`.
      tails: probabilities of at least 1, 2, ..., most customers who would buy on a day at each fare, float `[K, most]`.
      days: number of days on which a flight is sold.
      seats: number of seats.

    Returns:
      D_h(n), float `[days + 1, seats + 1]`; zero for n = 0 and for h = 0.
    """
    every = jnp.arange(seats + 1)

    def earlier(worth, _):
        gains = jnp.max(jax.vmap(lambda n: day_gains(margins, tails, worth, n))(every), axis=1)
        new = worth + jnp.append(jnp.zeros(1, gains.dtype), gains[1:] - gains[:-1])
        return new, new

    start = jnp.zeros(seats + 1, margins.dtype)
    return jnp.concatenate([start[None], jax.lax.scan(earlier, start, length=days)[1]])


def day_gains(
    margins: Float[Array, " K"], tails: Float[Array, "K most"], worth: Float[Array, " n"], left: Int[Array, ""]
) -> Float[Array, " K"]:
    """Expected profit of a day at each fare, less the worth of the seats that it sells: G(left, k), float `[K]`.

    Args:
      margins, tails: as in `bid_prices`.
      worth: worth of every seat after this day, float `[seats + 1]`.
      left: seats left, int scalar.
    """
    seat = left - jnp.arange(tails.shape[1])  # the numbers of the seats that a day sells, in the order of sale
    over = margins[:, None] - worth[jnp.maximum(seat, 0)][None]
    return jnp.sum(jnp.where(seat[None] > 0, tails * over, 0.0), axis=1)


def mean_sales(tails: Float[Array, "K most"], left: Int[Array, ""]) -> Float[Array, " K"]:
    """Expected sales of a day at each fare, E min(D, left), float `[K]`."""
    return jnp.sum(jnp.where(jnp.arange(tails.shape[1])[None] < left, tails, 0.0), axis=1)
