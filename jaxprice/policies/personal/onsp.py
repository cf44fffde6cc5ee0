"""ONSP: the best price for an estimate that makes one online Newton step a sale.

A buyer with features x buys at price p if x'theta + noise >= p; the distribution of the noise and its scale s are known. In
each period

    p_t = argmax (p - c) G((x_t'theta_t - p) / s),      A_t = A_{t-1} + grad grad',
    theta_{t+1} = Proj^A_t( theta_t - (1 / gamma) A_t^-1 grad ),      A_0 = start I / s^2,   theta_1 = 0,

where grad is the gradient of minus the log likelihood of the sale or refusal (`sale_likelihood`, `online_newton`). The
projection is on the ball ||theta|| <= radius in the norm of A_t, and `rate` is 1 / gamma. In theory gamma = min{1 / (4 G D),
alpha} / 2 and A_0 is 1 / (gamma D)^2 times the identity, for gradients up to G, a ball of diameter D and alpha-exp-concave
losses. This is far too cautious. The paper's experiments use hand-tuned numbers, and so do our defaults: rate 3 and A_0 = I
/ s^2. With rate 1, A would be the information, except that early surprises under Gaussian noise inflate it permanently.

Regret: O(d log T), even if an adversary chooses the contexts; that is optimal. If the scale of the noise is unknown, no
policy has less than order sqrt(T).

Source: J. Xu, Y.-X. Wang (2021), "Logarithmic regret in feature-based dynamic pricing", arXiv:2102.10221.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.parts import scale
from jaxprice.policies.parts.features import total
from jaxprice.policies.parts.linear_model import Model
from jaxprice.policies.personal import online_newton, sale_likelihood
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The problem of the seller; the radius, float scalar; theta and a factor of A^-1."""

    market: sale_likelihood.Market
    radius: jax.Array
    model: Model


@policy_maker(source="Xu and Wang (2021)", regret="d log T for any contexts", feedback="a sale or none")
def onsp(rate=3.0, start=1.0, radius=None, projection="exact"):
    """ONSP.

    Args:
      rate: length of a step, 1 / gamma, above 0; may be traced.
      start: A_0 is this times the identity over the squared scale of the noise, above 0; may be traced.
      radius: bound on the norm of the coefficients of the valuations, money, above 0; may be traced. By default the highest
        price.
      projection: "exact" or "euclidean", see `online_newton`.

    Raises:
      ValueError: bad options; at `init`, a market other than one price of an interval with linear valuations and logistic or
        Gaussian noise of a known scale.
    """
    online_newton.check(rate, start, radius, projection)

    def init(key, problem):
        del key
        market = sale_likelihood.market(problem, "onsp", ("logistic", "gaussian"), scale=True)
        model = online_newton.before(jnp.zeros(market.size, jnp.float32), start / market.scale**2)
        return State(market, scale.radius(problem, radius), model)

    def act(key, state, observation):
        del key
        market = state.market
        return market.best_price(total(market.context(observation), state.model.mean) / market.scale, 1 / market.scale)

    def update(key, state, transition):
        del key
        market = state.market
        z, offset = market.context(transition.observation) / market.scale, transition.price / market.scale
        sale, size = transition.demand, state.radius
        return State(market, size, online_newton.step(state.model, market.law, z, offset, sale, rate, size, projection))

    return scale.in_own_unit(Policy(init, act, update), size=2.0)
