"""Pricing with perturbation (PwP): a greedy price plus or minus a random shift, for personal price sensitivity.

A buyer with features x buys at price p with probability G(x'theta - x'eta p), G logistic or normal; both vectors are
unknown. Let p' be the best price for the present estimate, clipped so that both prices are in the interval. The price is

    p' + delta or p' - delta, each with probability 1/2,
    delta = scale (high / 3) min{ (d log T / T)^(1/4), g(0) / 10, 1/10 },

where g(0) is the best price for a buyer with theta = 0 in units of the noise. Each sale or refusal makes one online Newton
step on the likelihood, in R^2d (`online_newton`; for its constants see `onsp`). The random shift separates the two
directions that a greedy price confounds, for any contexts.

Departures. The estimate uses the coordinates of `price_effects`, with prices measured from the middle of the interval, and
one ball there instead of a product of two. For setting prices, x'eta is bounded below; the paper assumes that the bound is
known. If the bound is too low and the interval is much wider than the valuations, the price can stay for long where nobody
buys. The estimate starts at theta = 0. The paper's delta is a price; here it is that price if the highest is 3, and scales
with the highest.

Regret: O(sqrt(d T log T)), even if an adversary chooses the contexts; no policy has less than order sqrt(d T). Linear
valuations with noise of unknown scale are a special case, for which the rate in T is optimal as well.

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
    """The problem of the seller, the coordinates, delta (float scalar), the estimate with a factor of A^-1."""

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
      least: smallest x'b for setting prices, above 0; may be traced.
      projection: "exact" or "euclidean", see `online_newton`.

    Raises:
      ValueError: bad options; at `init`, a market other than one price of an interval for buyers with features who buy or
        not with logistic or Gaussian noise.
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
