"""A filter of demand over prices: what the sales so far say about the demand at every price, and how sure that is.

The latent demand at price p for a buyer with context x is linear in coefficients w,

    f(p, x) = w . phi(v, x),   phi(v, x) = (1 - v, v, cos(pi v), ..., cos(n pi v), x, x (v - 1/2)),

where v in [0, 1] is the place of p between the lowest and the highest price (`places`). A buyer buys with probability
Phi(f), the normal distribution function. If demand is Poisson or Gaussian, its mean is f itself. The prior of w is normal.
After demand y per buyer, the best linear update is

    w <- w + P phi g (y - m) / V,   P <- P - P phi phi' P g^2 / V,   m = E y,  g = Cov(y, f) / Var f,  V = Var y,

with moments under the belief. If a period has one buyer, the new mean is the exact posterior mean for a normal belief: a
linear function of a sale or no sale has no more to give. The matrix P is not stored. The filter stores S deviations d_s with
sum_s d_s d_s' / S = P and updates them by Potter's square root, so w + d_s are S draws from the belief. With a `memory` of n
periods the deviations grow by 1 / sqrt(1 - 1/n) in each period, but not beyond the prior, so old sales are forgotten.

Prices enter by v only, and money does not enter. The belief is therefore the same in any currency.

Sources: R. E. Kalman (1960), doi:10.1115/1.3662552; J. E. Potter (1963), square-root filtering, as in P. G. Kaminski, A. E.
Bryson, S. F. Schmidt (1971), doi:10.1109/TAC.1971.1099816; T. P. Minka (2001), assumed-density filtering, arXiv:1301.2294.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

DRAWS = 32  # number S of draws
WAVES = 6  # number n of cosines
SHAPES = 2 + WAVES  # coefficients of the price alone
FULL = 4.0  # highest price over lowest price of a grid from place 0 to place 1
MOST_FEATURES = 8  # longest context: two coefficients a feature, and the draws must outnumber the coefficients


@struct.dataclass
class Belief:
    """The belief about one market.

    Attributes:
      mean: expected coefficients, float `[coefficients]`.
      deviations: draws minus mean, float `[DRAWS, coefficients]`.
    """

    mean: jax.Array
    deviations: jax.Array


def places(prices: Any) -> Float[Array, " actions"]:
    """The place of each price, `[actions]`: from 0 to 1 if the highest price is `FULL` times the lowest one or more.

    A narrower grid has the middle of [0, 1], so that demand changes less over it. Equal prices all have the place 1/2.
    """
    low, high = jnp.min(prices), jnp.max(prices)
    share = (prices - low) / jnp.where(high > low, high - low, 1.0)
    part = jnp.clip(jnp.log(jnp.maximum(high, 1e-9) / jnp.maximum(low, 1e-9)) / math.log(FULL), 0.0, 1.0)
    return 0.5 + (share - 0.5) * part


def basis(place: Any, context: Any) -> Float[Array, "... coefficients"]:
    """The functions phi at places `[...]` for a context `[d]`: `[..., SHAPES + 2 d]`."""
    place = jnp.asarray(place)[..., None]
    orders = jnp.arange(1, WAVES + 1, dtype=jnp.float32).reshape(*(1,) * (place.ndim - 1), WAVES)
    waves = jnp.cos(jnp.pi * orders * place)
    features = jnp.broadcast_to(context, (*place.shape[:-1], jnp.shape(context)[0]))
    return jnp.concatenate([1 - place, place, waves, features, features * (place - 0.5)], axis=-1)


def prior(mean, root, effects, features, sale=True):
    """The belief before the first sale.

    Args:
      mean, root: expected coefficients of the price alone, `[SHAPES]`, and a root R of their covariance R'R, `[SHAPES,
        SHAPES]`.
      effects: mean and standard deviation of the two coefficients of a feature, `[2, 2]`; features are independent.
      features: length of the context.
      sale: whether demand is a sale or none; otherwise the prior of demand itself is wide.
    """
    center, both = (jnp.repeat(jnp.asarray(x, jnp.float32), features) for x in effects)
    noise = jnp.asarray(_draws(SHAPES + 2 * features))
    if not sale:
        level = jnp.concatenate([jnp.array([0.7, 0.3], jnp.float32), jnp.zeros(WAVES, jnp.float32)])
        mean, root, center, both = level, 0.4 * root, 0.4 * center, 0.4 * both
    shapes, rest = noise[:, :SHAPES] @ root, noise[:, SHAPES:] * both[None]
    return Belief(jnp.concatenate([jnp.asarray(mean, jnp.float32), center]), jnp.concatenate([shapes, rest], axis=1))


def update(belief, first, phi, demand, noise, memory):
    """The belief after one period, and the log-likelihood of its demand, up to a constant that no belief changes.

    Args:
      belief, first: the present belief, and the prior.
      phi: functions at the posted price, `[coefficients]`.
      demand: demand per buyer.
      noise: function from mean demand, and the variance that the belief adds, to the variance of `demand`; whether demand is
        a sale or none; and the number of buyers.
      memory: number of periods after which sales are forgotten, or infinity.
    """
    belief = forgotten(belief, first, memory)
    latent, mine = belief.mean @ phi, belief.deviations @ phi
    spread = jnp.maximum(jnp.mean(mine**2), 1e-9)
    variance, sale, buyers = noise
    if sale:
        width = jnp.sqrt(1 + spread)
        expected = jax.scipy.special.ndtr(latent / width)
        slope = jnp.exp(-0.5 * (latent / width) ** 2) / (width * (2 * jnp.pi) ** 0.5)
    else:
        expected, slope = latent, jnp.float32(1)
    whole = variance(expected, slope**2 * spread)
    direction = belief.deviations.T @ mine / DRAWS
    mean = belief.mean + direction * slope * (demand - expected) / whole
    kept = jnp.clip(1 - slope**2 * spread / whole, 0.0, 1.0)  # of the variance in the direction of phi
    deviations = belief.deviations - jnp.outer(mine, direction) * (1 - jnp.sqrt(kept)) / spread
    chance = jnp.clip(expected, 1e-4, 1 - 1e-4)
    if sale and buyers == 1:
        likely = demand * jnp.log(chance) + (1 - demand) * jnp.log(1 - chance)
    else:
        likely = -0.5 * ((demand - expected) ** 2 / whole + jnp.log(whole))
    return Belief(mean, deviations), likely


def forgotten(belief, first, memory):
    """The belief with larger deviations: information of a share 1 / memory is lost, at most that of the prior remains."""
    grown = 1 / jnp.sqrt(1 - 1 / memory)
    size, most = (jnp.sqrt(jnp.mean(b.deviations**2, axis=0)) for b in (belief, first))
    larger = jnp.clip(most / jnp.maximum(size, 1e-9), 1.0, grown)
    return belief.replace(deviations=belief.deviations * larger[None])


def demands(draws, phi, sale=True):
    """Demand at every price under every draw, `[DRAWS, actions]`, for draws of the coefficients `[DRAWS, coefficients]` and
    functions `[actions, coefficients]`."""
    latent = draws @ phi.T
    return jax.scipy.special.ndtr(latent) if sale else jnp.maximum(latent, 0.0)


@functools.cache
def _draws(coefficients):
    """Fixed normal numbers `[DRAWS, coefficients]` with exactly zero means and the identity as covariance."""
    rng = np.random.default_rng(7)
    raw = rng.normal(size=(DRAWS, coefficients))
    raw = raw - raw.mean(axis=0)
    q, r = np.linalg.qr(raw)
    return np.float32(q * np.sign(np.diag(r)) * DRAWS**0.5)
