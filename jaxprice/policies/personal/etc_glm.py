"""Explore, then commit, with generalised linear demand: random prices, one maximum likelihood estimate, its best prices.

A buyer with features x buys at price p with probability G(x'alpha - x'beta p), G logistic (or normal). The first

    tau = ceil(scale sqrt(d T log T))

periods have prices drawn uniformly from the interval. All others have the best price for the estimate from these, which
never changes (for coordinates see `price_effects`, for the best price `sale_likelihood`). With `doubling`, the policy does
not need the horizon: episode q = 1, 2, ... of T_q = 2^q periods is an independent policy of this kind, with

    tau_q = min{ T_q, ceil(scale (sqrt(2) - 1) sqrt(d T_q log T_q)) }.

Only the first sales of the exploration are stored, 64 for every three coefficients. The estimate is that of `bounded_mle`:
exact for these, and within a tenth of its standard error beyond. This costs no measurable regret (T = 10,000 in S1 of
`GLMDemand`, 9 features: .7 less than with the exact estimate, of 128, standard error .7). The estimate is over ||theta|| <=
radius in those coordinates, and starts from 0.

Regret: O(sqrt(d T log T)) with independent contexts; no policy has less than order sqrt(d T). If price sensitivity is known
(linear valuations and noise of a known scale), O(d log T) is possible: `onsp`.

Source: Z. Zhao, F. Jiang, Y. Yu (2024), "Contextual dynamic pricing: algorithms, optimality, and local differential privacy
constraints", arXiv:2406.02424. The paper does not say whether episodes of the doubling form share data; ours do not.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.personal import bounded_mle, price_effects, sale_likelihood
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      effects: how to read the coordinates of the estimate.
      length, budget, position: number of periods of the episode, with random prices, and played; int scalars.
      theta: the estimate, float `[2 d]`.
      sales: sales at random prices.
    """

    market: sale_likelihood.Market
    effects: price_effects.Effects
    length: jax.Array
    budget: jax.Array
    position: jax.Array
    theta: jax.Array
    sales: bounded_mle.Sales


@policy_maker(source="Zhao, Jiang and Yu (2024)", regret="sqrt(d T log T)", feedback="a sale or none")
def etc_glm(scale=1.0, doubling=False, radius=20.0, least=0.5):
    """Explore then commit with generalised linear demand.

    Args:
      scale: number of exploration periods, relative to that of the paper, above 0; may be traced.
      doubling: whether to restart in episodes of doubling length.
      radius: bound on the norm of the estimate, above 0; may be traced.
      least: smallest x'b for setting prices, above 0; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market other than one price of an interval for buyers with features who
        buy or not with logistic or Gaussian noise.
    """
    for name, value in (("scale", scale), ("radius", radius), ("least", least)):
        checks.number(name, value, low=1e-6)

    def explore(length, d):
        """Number of exploration periods in an episode, int scalar."""
        periods = jnp.maximum(length, 2).astype(jnp.float32)
        share = scale * (math.sqrt(2) - 1 if doubling else 1.0)
        return jnp.minimum(jnp.ceil(share * jnp.sqrt(d * periods * jnp.log(periods))).astype(jnp.int32), length)

    def init(key, problem):
        del key
        market = sale_likelihood.market(problem, "etc_glm", price_effects.LAWS)
        effects = price_effects.effects(market, least)
        length = jnp.int32(2) if doubling else jnp.asarray(problem.horizon, jnp.int32)
        zeros, nothing = jnp.zeros(2 * market.size, jnp.float32), bounded_mle.no_sales(2 * market.size)
        return State(market, effects, length, explore(length, market.size), jnp.int32(0), zeros, nothing)

    def act(key, state, observation):
        market = state.market
        u = samplers.uniform(jax.random.bits(key, (), jnp.uint32))
        best = market.best_price(*state.effects.line(state.theta, market.context(observation)))
        return jnp.where(state.position < state.budget, market.low + (market.high - market.low) * u, best)

    def update(key, state, transition):
        del key
        market, explores = state.market, state.position < state.budget
        z = state.effects.features(market.context(transition.observation), transition.price)
        sales = state.sales.add(market.law, z, jnp.zeros_like(transition.price), transition.demand, explores)
        last = state.position + 1 == state.budget

        sales = sales.revised(explores & (last | sales.due()), market.law, radius, steps=200)
        theta = jnp.where(last, sales.reference, state.theta)
        position = state.position + 1
        if not doubling:
            return state.replace(position=position, theta=theta, sales=sales)
        ended = position == state.length
        length = jnp.where(ended, 2 * jnp.minimum(state.length, 2**29), state.length)
        return state.replace(
            length=length,
            budget=explore(length, market.size),
            position=jnp.where(ended, 0, position),
            theta=theta,
            sales=sales.forget(ended),
        )

    return Policy(init, act, update)
