"""Demand noise: units sold in a period, given their mean.

Bernoulli: each of n buyers has a uniform u and buys if u < mean. So a lower price never loses a sale, and all policies face
the same buyers. Poisson: sales are Poisson(n mean), drawn by inversion. Gaussian: n mean + scale * z.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from scipy import special

from jaxprice.lanes import stored

NOISES = ("bernoulli", "poisson", "gaussian")
POISSON_MEAN = 40.0  # largest mean number of sales a period
UNROLLED = 32  # largest number of terms without a loop: unrolled, it runs several times as fast and compiles longer


def draw(key, mean, noise, *, scale=0.0, buyers=1):
    """Units sold in a period.

    Args:
      key: a key.
      mean: expected demand of one buyer, float `[...]` (a scalar, or one entry a product).
      noise: one of `NOISES`.
      scale: standard deviation of demand under Gaussian noise, float scalar or `[...]`.
      buyers: number of buyers a period.

    Returns:
      float `[...]`.
    """
    shape = jnp.shape(mean)
    if noise == "bernoulli":
        if buyers == 1:
            return (jax.random.uniform(key, shape, jnp.float32) < mean).astype(jnp.float32)
        return jnp.sum((jax.random.uniform(key, (buyers, *shape), jnp.float32) < mean).astype(jnp.float32), axis=0)
    if noise == "poisson":
        return poisson(jax.random.uniform(key, shape, jnp.float32), buyers * mean)
    return buyers * mean + scale * jax.random.normal(key, shape, jnp.float32)


def poisson(u, mean, largest=POISSON_MEAN):
    """The u-quantile of a Poisson distribution, by summing its probabilities; exact to float32 for `mean <= largest`.

    Args:
      u: uniform numbers in [0, 1), float `[...]`.
      mean: float `[...]`.
      largest: bound on the means, at most `POISSON_MEAN`.
    """
    return limited_poisson(u, mean, jnp.inf, largest)[0]


def limited_poisson(u, mean, limit, largest=POISSON_MEAN):
    """Poisson sales from a limited stock: `min(N, limit)`, where N is the u-quantile; and the expectation of that.

    Args:
      u, mean, largest: as in `poisson`.
      limit: units in stock, float `[...]`.

    Returns:
      Sales, and expected sales, which are the sum over k < limit of P(N > k); float `[...]` each.
    """
    arrays = jnp.broadcast_arrays(*(jnp.asarray(x, jnp.float32) for x in (u, mean, limit)))
    return _limited_poisson(_terms(float(largest)))(*arrays)


def _terms(largest):
    """Number of terms: the Poisson distribution of mean `largest` has less mass beyond it than one float32 uniform step."""
    return next(n for n in itertools.count(1) if special.gammainc(n, largest) < 2.0**-25)


@functools.cache
def _limited_poisson(terms):
    @stored
    def limited_poisson(u, mean, limit):
        def term(k, carry):
            sales, expected, probability, total = carry
            total = total + probability
            sales = sales + (u >= total).astype(jnp.float32)
            expected = expected + jnp.where(k < limit, jnp.maximum(1 - total, 0.0), 0.0)
            return sales, expected, probability * mean / jnp.asarray(k + 1, jnp.float32), total

        zeros = jnp.zeros_like(mean)
        start = (zeros, zeros, zeros + jnp.exp(-mean), zeros)
        sales, expected, _, _ = jax.lax.fori_loop(0, terms, term, start, unroll=terms <= UNROLLED)
        return jnp.minimum(sales, limit), expected

    return limited_poisson
