"""RMLP-2: l1-penalised maximum likelihood if the scale of the noise is unknown, with one random price an episode.

A buyer with features x buys at price p if x'theta + s noise >= p, with s unknown. The probability of a sale is G(x'mu - beta
p), mu = theta / s, beta = 1 / s. Episode k = 1, 2, ... has k periods. The first one has a price drawn uniformly from the
interval. The estimate uses only these k prices and their sales,

    (mu, beta) = argmax over |mu|_1 + |b| <= radius of  mean of log G(c_t (x_t'mu - beta p_t)) - lambda (|mu|_1 + |b|),

with b = beta high, c_t = 1 for a sale and -1 for a refusal, and lambda = penalty sqrt(log(d + 2) / k). The other k - 1
periods have the best price for the estimate, with beta kept above `least` / high. T periods hold about sqrt(2 T) random
prices. Prices are in units of the highest one, so that one radius and one penalty suit both mu and b. With the paper's
constant of the penalty, a bound, all coefficients are zero (`rmlp`).

The first random prices are stored, 64 for every three coefficients, and later ones become quadratics (`bounded_mle`). With
two features the estimate is exact up to T = 2,080; beyond, it differs from the exact one by a tenth of its standard error.
It starts from 0.

Regret: O(s0 log d sqrt(T)) if s0 of d coefficients are not zero; no policy that does not know s has less than order sqrt(T).
An adversary who knows the times of random prices makes it linear in T (`perturbed_pricing` is safe).

Source: A. Javanmard, H. Nazerzadeh (2019), "Dynamic pricing in high-dimensions", arXiv:1609.07574, section 6.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts.features import total
from jaxprice.policies.personal import bounded_mle, sale_likelihood
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      episode, position: number of the episode from 1, number of its periods played; int scalars.
      sales: sales at random prices; the reference is the estimate (mu, b), float `[d + 1]`.
    """

    market: sale_likelihood.Market
    episode: jax.Array
    position: jax.Array
    sales: bounded_mle.Sales


@policy_maker(
    source="Javanmard and Nazerzadeh (2019)",
    regret="s0 log d sqrt(T) for i.i.d. contexts",
    feedback="a sale or none",
)
def rmlp2(radius=100.0, penalty=0.03, least=0.5):
    """RMLP-2.

    Args:
      radius: bound on the l1 norm of (mu, b), above 0; may be traced.
      penalty: constant of the l1 penalty, at least 0; may be traced.
      least: smallest b for setting prices, above 0; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market other than one price of an interval with linear valuations under
        logistic or Gaussian noise.
    """
    checks.number("radius", radius, low=1e-6)
    checks.number("penalty", penalty, low=0)
    checks.number("least", least, low=1e-6)

    def init(key, problem):
        del key
        market = sale_likelihood.market(problem, "rmlp2", ("logistic", "gaussian"))
        return State(market, jnp.int32(1), jnp.int32(0), bounded_mle.no_sales(market.size + 1))

    def act(key, state, observation):
        market, estimate = state.market, state.sales.reference
        u = samplers.uniform(jax.random.bits(key, (), jnp.uint32))
        utility = total(market.context(observation), estimate[:-1])
        best = market.best_price(utility, jnp.maximum(estimate[-1], least) / market.high)
        return jnp.where(state.position == 0, market.low + (market.high - market.low) * u, best)

    def update(key, state, transition):
        del key
        market, first = state.market, state.position == 0
        x = market.context(transition.observation)
        z = jnp.concatenate([x, -(transition.price / market.high)[None]])
        sales = state.sales.add(market.law, z, jnp.zeros_like(transition.price), transition.demand, first)

        count = jnp.maximum(sales.count, 1).astype(jnp.float32)
        weight = penalty * jnp.sqrt(jnp.log(jnp.float32(market.size + 2)) / count)
        sales = sales.revised(first, market.law, radius, norm="l1", penalty=weight, steps=100)
        ended = state.position + 1 == state.episode
        position = jnp.where(ended, 0, state.position + 1)
        return State(market, state.episode + ended, position, sales)

    return Policy(init, act, update)
