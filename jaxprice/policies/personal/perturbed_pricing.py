"""Pricing with perturbation (PwP): where price sensitivity is personal, a greedy price, moved up or down by a coin.

A buyer with features x buys at price p with probability G(x'theta - x'eta p), G logistic or normal, both vectors unknown.
With p' the best price for the present estimate, cut off so that both fit into the interval, the price is

    p' + delta or p' - delta, each with probability 1/2,
    delta = scale (high / 3) min{ (d log T / T)^(1/4), g(0) / 10, 1/10 },

g(0) the best price of a buyer with theta = 0 in units of the noise, and each sale or refusal makes one online Newton step
on the likelihood, in R^2d (`online_newton`; `onsp` for its constants). The coin keeps the two directions apart that a
greedy price confounds, whatever the contexts.

Departures. The estimate lives in the coordinates of `price_effects`, prices from the middle of the interval, and in one
ball there, for the product of two. x'eta is kept above a bound when prices are set, which the paper assumes to be known; if
it is too low, a market whose interval is much wider than its valuations can hold the price where nobody buys for long. The
start is theta = 0 there. The paper's delta is a price; here it is one where the highest is 3, in proportion elsewhere.

Regret: O(sqrt(d T log T)), even if an adversary chooses the contexts; no policy has less than order sqrt(d T). Linear
valuations under noise of unknown scale are a special case, for which it is optimal in T as well.

Source: J. Xu, Y.-X. Wang (2024), "Pricing with contextual elasticity and heteroscedastic valuation", arXiv:2312.15999.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.oracles import linear_valuation
from jaxprice.policies.parts.linear_model import Model
from jaxprice.policies.personal import online_newton, price_effects, sale_likelihood
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """What the seller is told, how to read the estimate, delta (float scalar), the estimate with a factor of A^-1."""

    market: sale_likelihood.Market
    effects: price_effects.Effects
    delta: jax.Array
    model: Model


@policy_maker(
    source="Xu and Wang (2024)",
    regret="sqrt(d T log T) for any contexts",
    feedback="a sale or none",
)
def perturbed_pricing(scale=1.0, rate=3.0, start=1.0, radius=20.0, least=0.5, projection="exact"):
    """Pricing with perturbation.

    Args:
      scale: size of the perturbation, relative to that of the paper, at least 0; may be traced.
      rate: length of a step, above 0; may be traced.
      start: A_0 is this times the identity, above 0; may be traced.
      radius: bound on the norm of the estimate, above 0; may be traced.
      least: smallest x'b that prices are set by, above 0; may be traced.
      projection: "exact" or "euclidean", see `online_newton`.

    Raises:
      ValueError: bad options; at `init`, a market other than one price of an interval for buyers with features who
        buy or not under a logistic or Gaussian law.
    """
    online_newton.check(rate, start, radius, projection)
    checks.number("scale", scale, low=0)
    checks.number("least", least, low=1e-6)

    def init(key, problem):
        del key
        market = sale_likelihood.market(problem, "perturbed_pricing", price_effects.LAWS)
        horizon = jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 2.0)
        most = jnp.minimum(linear_valuation.optimal_price(jnp.float32(0), market.law, 1.0) / 10, 0.1)
        delta = scale * jnp.minimum((market.size * jnp.log(horizon) / horizon) ** 0.25, most) * (market.high / 3)
        delta = jnp.minimum(delta, (market.high - market.low) / 2).astype(jnp.float32)
        model = online_newton.before(jnp.zeros(2 * market.size, jnp.float32), start)
        return State(market, price_effects.effects(market, least), delta, model)

    def act(key, state, observation):
        market, delta = state.market, state.delta
        best = market.best_price(*state.effects.line(state.model.mean, market.context(observation)))
        up = jax.random.bits(key, (), jnp.uint32) >> 31
        return jnp.clip(best, market.low + delta, market.high - delta) + jnp.where(up == 1, delta, -delta)

    def update(key, state, transition):
        del key
        market = state.market
        z = state.effects.features(market.context(transition.observation), transition.price)
        offset, sale = jnp.zeros_like(transition.price), transition.demand
        return state.replace(model=online_newton.step(state.model, market.law, z, offset, sale, rate, radius, projection))

    return Policy(init, act, update)
