"""EMLP: epochs of doubling length, each priced by the maximum likelihood estimate of the epoch before.

A buyer with features x buys at price p if x'theta + noise >= p; the distribution of the noise and its scale s are known.
Epoch k = 1, 2, ... has 2^(k-1) periods, all with the best price for theta_k (`sale_likelihood`),

    p_t = argmax (p - c) G((x_t'theta_k - p) / s),
    theta_{k+1} = argmax over ||theta|| <= radius of  sum over epoch k of log G(c_t (x_t'theta - p_t) / s),

with c_t = 1 for a sale and -1 for a refusal, and theta_1 = 0. The estimate is unregularised and uses epoch k alone. It
starts from 0; in directions without data in the epoch it stays there.

Only the first sales of an epoch are stored, 64 for every three features. The estimate is that of `bounded_mle`: it is exact
for epochs up to this length; beyond, it differs from the exact one by about a tenth of its standard error. The work of a
period is a sum of x x'. An estimate is computed at the end of an epoch, and when the length so far is 1, 2, 4, ... times the
stored number.

Regret: O(d log T) with independent, identically distributed contexts. It is almost linear in T if an adversary chooses
contexts such that an epoch shows only what the previous epoch did not (`onsp` has O(d log T) there as well).

Source: J. Xu, Y.-X. Wang (2021), "Logarithmic regret in feature-based dynamic pricing", arXiv:2102.10221.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import scale
from jaxprice.policies.parts.features import total
from jaxprice.policies.personal import bounded_mle, sale_likelihood
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      radius: radius of the ball of estimates, float scalar.
      theta: the estimate for the prices of this epoch, float `[d]`.
      length: number of periods of this epoch, int scalar.
      sales: sales of this epoch.
    """

    market: sale_likelihood.Market
    radius: jax.Array
    theta: jax.Array
    length: jax.Array
    sales: bounded_mle.Sales


@policy_maker(source="Xu and Wang (2021)", regret="d log T for i.i.d. contexts", feedback="a sale or none")
def emlp(radius=None):
    """EMLP.

    Args:
      radius: bound on the norm of the coefficients of the valuations, money, above 0; may be traced. By default the highest
        price.

    Raises:
      ValueError: a radius out of range; at `init`, a market other than one price of an interval with linear valuations under
        logistic or Gaussian noise of a known scale.
    """
    return doubling_policy("emlp", radius, 1.0, "l2", lambda market, count: 0.0)


def doubling_policy(name, radius, share, norm, penalty):
    """Build a policy with epochs of length 1, 2, 4, ..., each priced by an estimate from the one before.

    Args:
      name: name of the policy, for error messages.
      radius: radius of the ball of estimates, money; None: `share` times the highest price.
      share: see `radius`.
      norm: "l2" or "l1", the norm of the ball.
      penalty: `(market, periods) -> weight` of the l1 norm of the coefficients in the mean log likelihood, float scalars.
    """
    if radius is not None:
        checks.number("radius", radius, low=1e-30)

    def init(key, problem):
        del key
        market = sale_likelihood.market(problem, name, ("logistic", "gaussian"), scale=True)
        size = scale.radius(problem, radius, share)
        return State(market, size, jnp.zeros(market.size, jnp.float32), jnp.int32(1), bounded_mle.no_sales(market.size))

    def act(key, state, observation):
        del key
        market = state.market
        return market.best_price(total(market.context(observation), state.theta) / market.scale, 1 / market.scale)

    def update(key, state, transition):
        del key
        market = state.market
        x = market.context(transition.observation)
        sales = state.sales.add(market.law, x / market.scale, transition.price / market.scale, transition.demand)

        ended = sales.count == state.length
        weight = penalty(market, sales.count.astype(jnp.float32))
        sales = sales.revised(ended | sales.due(), market.law, state.radius, norm=norm, penalty=weight)
        theta = jnp.where(ended, sales.reference, state.theta)
        length = jnp.where(ended, 2 * jnp.minimum(state.length, 2**29), state.length)
        return State(market, state.radius, theta, length, sales.forget(ended))

    return scale.in_own_unit(Policy(init, act, update), size=2.0)
