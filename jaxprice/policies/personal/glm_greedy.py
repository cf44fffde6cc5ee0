"""Greedy pricing with generalised linear demand: always the best price for the present estimate.

Mean demand of a buyer with features x is h(x'alpha - x'beta p). The first periods, `first` for each of the 2 d coefficients,
have prices drawn uniformly from the interval. After them, each price is the best one for the estimate, without any
exploration:

| law of the market | h | estimate, with a normal prior of precision `ridge` | best price |
|---|---|---|---|
| "logit", "logistic" | logistic | posterior mode, updated sequentially (`logistic_model`) | `sale_likelihood` |
| "linear" | identity | ridge regression (`linear_model`) | (u / slope + cost) / 2 |

in the coordinates of `price_effects`, with w = u - slope p. "logistic" stands for linear valuations: the price sensitivity
is the same for all buyers, but this seller does not know that. The mode is not recomputed from all sales; it is Laplace's
approximation, updated period by period.

Regret: linear in T in the worst case, in which greedy prices permanently confound demand and price sensitivity (incomplete
learning). If contexts vary enough, prices vary, and regret grows slowly, or not at all for most sellers. This is the
baseline of papers on learning and earning, and hard to beat over short horizons.

Source: for the model, G.-Y. Ban, N. B. Keskin (2021), "Personalized dynamic pricing with machine learning: high-dimensional
features and heterogeneous elasticity", Management Science. Certainty equivalence is older.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import logistic_model
from jaxprice.policies.parts.linear_model import Model
from jaxprice.policies.personal import price_effects, sale_likelihood
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      effects: how to read the coordinates of the estimate.
      left: number of remaining periods with random prices, int scalar.
      model: mean and factor of the covariance of theta, float `[2 d]` and `[2 d, 2 d]`.
    """

    market: sale_likelihood.Market
    effects: price_effects.Effects
    left: jax.Array
    model: Model


@policy_maker(
    source="Ban and Keskin (2021), their greedy baseline",
    regret="T in the worst case",
    feedback="demand",
)
def glm_greedy(first=2, ridge=0.1, least=0.5):
    """Greedy pricing with generalised linear demand.

    Args:
      first: number of periods with random prices for each coefficient, an integer of at least 1.
      ridge: precision of the prior on the coefficients, above 0; may be traced.
      least: smallest x'b for setting prices, above 0; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market other than one price of an interval for one buyer with features
        and logistic or linear demand.
    """
    checks.positive_int("first", first)
    checks.number("ridge", ridge, low=1e-6)
    checks.number("least", least, low=1e-6)

    def init(key, problem):
        del key
        market = sale_likelihood.market(problem, "glm_greedy", ("logit", "logistic", "linear"))
        size = 2 * market.size
        factor = jnp.eye(size, dtype=jnp.float32) / jnp.sqrt(jnp.asarray(ridge, jnp.float32))
        zeros = jnp.zeros(size, jnp.float32)
        model = Model(zeros, factor, zeros)
        return State(market, price_effects.effects(market, least), jnp.int32(first * size), model)

    def act(key, state, observation):
        market = state.market
        u = samplers.uniform(jax.random.bits(key, (), jnp.uint32))
        utility, slope = state.effects.line(state.model.mean, market.context(observation))
        best = (
            market.clip((utility / slope + market.cost) / 2) if market.law == "linear" else market.best_price(utility, slope)
        )
        return jnp.where(state.left > 0, market.low + (market.high - market.low) * u, best)

    def update(key, state, transition):
        del key
        market = state.market
        z = state.effects.features(market.context(transition.observation), transition.price)
        if market.law == "linear":
            model, _ = state.model.revise(z, transition.demand)
        else:
            model = logistic_model.revise(state.model, z, transition.demand, 1.0)
        return state.replace(left=jnp.maximum(state.left - 1, 0), model=model)

    return Policy(init, act, update)
