"""Distributions of demand in whole units: the probabilities of 0, 1, ..., largest units at each price (`replenishment`)."""

import jax
import jax.numpy as jnp

from jaxprice import checks
from jaxprice.oracles import dynamic_programming

LAWS = ("poisson", "binomial")


def pmf_of(mean, law, largest):
    """Probabilities of demands 0..largest with the given means.

    Args:
      mean: float `[K]`; for "binomial" at most `largest`.
      law: "poisson" (its tail is assigned to `largest`) or "binomial".
      largest: int.

    Returns:
      float `[K, largest + 1]`.
    """
    units, mean = jnp.arange(largest + 1, dtype=jnp.float32)[None], jnp.asarray(mean, jnp.float32)[:, None]
    ways, log = jax.scipy.special.gammaln, jax.scipy.special.xlogy
    if law == "poisson":
        body = jnp.exp(log(units, mean) - mean - ways(units + 1))[:, :-1]
        return jnp.concatenate([body, jnp.maximum(1 - jnp.sum(body, axis=1, keepdims=True), 0.0)], axis=1)
    left = largest - units
    choices = ways(jnp.float32(largest + 1)) - ways(units + 1) - ways(left + 1)
    pmf = jnp.exp(choices + log(units, mean / largest) + jax.scipy.special.xlog1py(left, -mean / largest))
    return pmf / jnp.sum(pmf, axis=1, keepdims=True)


def table_of(demand, num_prices, largest_demand=None):
    """A table of probabilities given by the user, float32 `[num_prices, largest + 1]`.

    Args:
      demand: the table.
      num_prices: number of its rows.
      largest_demand: the requested largest demand; None: that of the table.

    Raises:
      ValueError: a wrong shape, rows that are not distributions, another largest demand.
    """
    table = checks.array("demand", demand, (num_prices, None), low=0, high=1)
    dynamic_programming.rows("demand", table)
    own = table.shape[1] - 1
    if largest_demand not in (None, own):
        raise ValueError(f"largest_demand must be that of the table, {own}, got {largest_demand}")
    return table
