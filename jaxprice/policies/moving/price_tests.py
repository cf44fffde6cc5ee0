"""The common part of policies that price by a line and test two fixed prices: when to test, and the price to post.

Tests come in pairs, the first price and then the second. They take the first two periods of a cycle of fixed length; or,
with decreasing frequency, the periods t = m^2 and m^2 + 1, m = 1, 2, ..., which makes about 2 sqrt(t) tests in t periods.
"""

import jax.numpy as jnp


def post(market, fitted, place):
    """The test price at place 0 or 1 of the cycle, otherwise the best price for the line.

    Args:
      market: a `line.Market`.
      fitted: intercept and slope of the line.
      place: number of periods since the cycle began, int scalar.

    Returns:
      float scalar.
    """
    test = jnp.where(place == 0, market.first, market.second)
    return jnp.clip(jnp.where(place < 2, test, market.best_price(*fitted)), market.low, market.high)


def since_square(time):
    """Number of periods since the last t = m^2, where t = time + 1, int scalar."""
    period = time + 1
    root = jnp.sqrt(period.astype(jnp.float32)).astype(jnp.int32)
    root = root - (root * root > period).astype(jnp.int32)  # float32 is exact for integers up to 2**24
    return period - root * root
