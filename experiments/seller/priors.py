"""The priors of the seller's filter, fitted to demand curves of drawn markets.

For each market the coefficients of `demand_filter` are fitted to its true demand, in ridge regression towards the plain
prior with an error of .1 in latent demand. A prior has the mean and the covariance of these fits over 1,000 markets (300
with features). The first one is that of the whole mixture of training. The others are each that of one kind of market:

| prior | markets |
|---|---|
| 0 | the mixture: any family, grid, cost and size of demand |
| 1 to 9 | a family of the mixture on its own grid of ten prices |
| 10 | a few prices with sorted uniform demand: the curve is of no family |
| 11 | a hundred segments of buyers: a smooth curve near the mean one |
| 12 | buyers with features, logit: features move intercept and elasticity |
| 13 | buyers with features, linear valuations |

Coefficients of features are independent of each other and of those of the price, with one mean and standard deviation for
all features. None of the held-out families takes part.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from experiments.seller import curves
from experiments.seller.mixture import FAMILIES, MixedDemand
from jaxprice.agents import demand_filter, seller_memory

PRECISION = 100.0  # of the true latent demand in the regression
JITTER = 1e-3  # added to variances


@functools.cache
def fitted(draws=1000):
    """All priors, arrays as in `seller_memory.plain_priors`."""
    jaxprice.use_cpu_cores()
    keys = jax.random.split(jax.random.key(20261), draws)
    mixture = jax.jit(jax.vmap(MixedDemand().sample_params))(keys)
    tables = [
        (mixture.prices, mixture.means),
        *(_family(name, keys) for name in FAMILIES),
        _few_prices(keys),
        _segments(keys),
    ]
    plain = [of_prices(np.asarray(prices), np.asarray(means)) for prices, means in tables]
    contextual = [of_features(*_visits(kind, keys)) for kind in ("GLMDemand", "LinearValuation")]
    wide = seller_memory.plain_prior()[2]
    parts = [(*part, wide) for part in plain] + contextual
    return tuple(np.stack([np.float32(part[k]) for part in parts]) for k in range(3))


def _family(name, keys):
    """Prices and mean demand, `[draws, 10]`, of drawn markets of a family on its own grid."""
    kind = curves.families()[name]
    grid = jnp.linspace(*kind.price_range, 10, dtype=jnp.float32)
    means = jax.jit(jax.vmap(lambda key: kind.sample(key).mean(grid)))(keys)
    return jnp.broadcast_to(grid, means.shape), means


def _few_prices(keys):
    """Four prices, and sorted uniform demand, `[draws, 4]`."""
    means = -jnp.sort(-jax.vmap(lambda key: jax.random.uniform(key, (4,), jnp.float32))(keys), axis=1)
    return jnp.broadcast_to(jnp.linspace(1.0, 1.5, 4, dtype=jnp.float32), means.shape), means


def _segments(keys):
    """Prices and mean demand, `[draws, 20]`, of markets with a hundred segments."""
    env, _ = jaxprice.make("SegmentedValuation", num_segments=100, num_prices=20)
    params = jax.jit(jax.vmap(env.sample_params))(keys)
    return params.prices, jax.jit(jax.vmap(env.table))(params)


def _visits(kind, keys, visits=24):
    """Places of the prices `[10]`, contexts `[draws, visits, 4]` and mean demand `[draws, visits, 10]` of drawn markets."""
    env, _ = jaxprice.make(kind, dimension=4, num_prices=10)

    def market(key):
        params = env.sample_params(key)

        def visit(key):
            obs, state = env.reset_env(key, params)
            demand = jax.vmap(lambda price: env.mean_demand(price, params, state))(jnp.asarray(params.prices))
            return obs[-4:], demand

        return *jax.vmap(visit)(jax.random.split(key, visits)), jnp.asarray(params.prices)

    contexts, demand, prices = jax.jit(jax.vmap(market))(keys[:300])
    return demand_filter.places(prices[0]), contexts, demand


def _latent(demand):
    return np.asarray(jax.scipy.special.ndtri(np.clip(np.asarray(demand, float), 2e-3, 1 - 2e-3)), float)


def _ridge(phi, latent, mean, deviations):
    """Coefficients `[draws, n]` for functions `[draws, points, n]` and latent demand `[draws, points]`."""
    gram = PRECISION * np.einsum("npi,npj->nij", phi, phi) + np.diag(1 / np.square(deviations))
    right = PRECISION * np.einsum("npi,np->ni", phi, latent) + mean / np.square(deviations)
    return np.linalg.solve(gram, right[..., None])[..., 0]


def _normal(fits):
    """Mean, and root of the covariance."""
    covariance = np.cov(fits.T) + JITTER * np.eye(fits.shape[1])
    return fits.mean(axis=0), np.linalg.cholesky(covariance).T


def of_prices(prices, means):
    """Mean and root for mean demand `[draws, prices]`."""
    places = jax.vmap(demand_filter.places)(jnp.asarray(prices))
    phi = np.asarray(demand_filter.basis(places, jnp.zeros(0)), float)
    mean, root, _ = seller_memory.plain_prior()
    return _normal(_ridge(phi, _latent(means), mean.astype(float), np.diag(root).astype(float)))


def of_features(places, contexts, demand):
    """Mean, root and effects for demand `[draws, visits, prices]` of buyers with contexts `[draws, visits, d]`."""
    draws, visits, d = contexts.shape
    phi = jax.vmap(jax.vmap(lambda x: demand_filter.basis(places, jnp.clip(x, -3.0, 3.0))))(contexts)
    phi = np.asarray(phi, float).reshape(draws, visits * places.size, -1)
    mean, root, effects = seller_memory.plain_prior()
    deviations = np.concatenate([np.diag(root), np.repeat(effects[1], d)]).astype(float)
    fits = _ridge(phi, _latent(demand).reshape(draws, -1), np.concatenate([mean, np.zeros(2 * d)]).astype(float), deviations)
    shapes, rest = fits[:, : demand_filter.SHAPES], fits[:, demand_filter.SHAPES :].reshape(draws, 2, d)
    return *_normal(shapes), np.stack([rest.mean(axis=(0, 2)), rest.std(axis=(0, 2)) + JITTER**0.5])
