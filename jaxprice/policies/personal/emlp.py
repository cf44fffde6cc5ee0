"""EMLP: epochs of doubling length, each priced by the maximum likelihood estimate of the epoch before.

A buyer with features x buys at price p if x'theta + noise >= p; the law of the noise and its scale s are known. Epoch
k = 1, 2, ... has 2^(k-1) periods, all at the best price for theta_k (`sale_likelihood`),

    p_t = argmax (p - c) G((x_t'theta_k - p) / s),
    theta_{k+1} = argmax over ||theta|| <= radius of  sum over epoch k of log G(c_t (x_t'theta - p_t) / s),

with c_t = 1 for a sale and -1 for a refusal, and theta_1 = 0. The estimate is unregularised and uses epoch k alone. It
starts from 0, where directions that an epoch does not show stay.

The data of an epoch are not kept but for the first, 64 for every three features: the estimate is that of `bounded_mle`,
exact for epochs as short as that; beyond, it differs from the exact one by about a tenth of that one's standard error. The
work of a period is that of a sum of x x'; an estimate is made at the end of an epoch and where its length so far is what is
kept times 1, 2, 4, ...

Regret: O(d log T) with contexts drawn independently from one law; linear in T, as good as, if contexts are chosen by an
adversary, who shows in an epoch only what the epoch before did not (`onsp` has O(d log T) there as well).

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
    """State of a seller.

    Attributes:
      market: what the seller is told.
      radius: of the ball that estimates lie in, float scalar.
      theta: the estimate that prices this epoch, float `[d]`.
      length: periods of this epoch, int scalar.
      sales: what was seen in it.
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
    """The policy with epochs of length 1, 2, 4, ..., each priced by an estimate from the one before.

    Args:
      name: of the policy, for error messages.
      radius: of the ball that the estimate lies in, money; None: `share` times the highest price.
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
