"""Demand noise: units sold in a period, given their mean.

Bernoulli: each of n buyers has a uniform u and buys if u < mean, so that a lower price never loses a sale and policies face
the same buyers. Poisson: sales are Poisson(n mean), drawn by inversion. Gaussian: n mean + scale * z.
"""

import jax
import jax.numpy as jnp
import numpy as np

NOISES = ("bernoulli", "poisson", "gaussian")
POISSON_MEAN = 40.0  # largest mean number of sales a period; the inversion sums this many standard terms


def draw(key, mean, noise, *, scale=0.0, buyers=1):
    """Units sold in a period.

    Args:
      key: a key.
      mean: expected demand of one buyer, float `[...]` (a scalar, or one a product).
      noise: one of `NOISES`.
      scale: standard deviation of demand under Gaussian noise, float scalar or `[...]`.
      buyers: buyers a period.

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
    """The u-quantile of a Poisson law, by summing its probabilities; exact to float32 for `mean <= largest`.

    Args:
      u: uniform numbers in [0, 1), float `[...]`.
      mean: float `[...]`.
      largest: bound on the means, at most `POISSON_MEAN`: the sum ends ten standard deviations beyond it.
    """
    return limited_poisson(u, mean, jnp.inf, largest)[0]


def limited_poisson(u, mean, limit, largest=POISSON_MEAN):
    """Poisson sales from a limited stock: `min(N, limit)` with N the u-quantile, and its expectation.

    Args:
      u, mean, largest: as in `poisson`.
      limit: units at hand, float `[...]`.

    Returns:
      Sales and expected sales, sum over k < limit of P(N > k); float `[...]` each.
    """

    def term(k, carry):
        sales, expected, probability, total = carry
        total = total + probability
        sales = sales + (u >= total).astype(jnp.float32)
        expected = expected + jnp.where(k < limit, jnp.maximum(1 - total, 0.0), 0.0)
        return sales, expected, probability * mean / (k + 1).astype(jnp.float32), total

    u, mean = jnp.asarray(u, jnp.float32), jnp.asarray(mean, jnp.float32)
    zeros = jnp.zeros(jnp.broadcast_shapes(u.shape, mean.shape, jnp.shape(limit)), jnp.float32)
    terms = int(np.ceil(largest + 10 * largest**0.5))
    start = (zeros, zeros, zeros + jnp.exp(-mean), zeros)
    sales, expected, _, _ = jax.lax.fori_loop(0, terms, term, start)
    return jnp.minimum(sales, limit), expected
