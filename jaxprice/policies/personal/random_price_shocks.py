"""Random price shocks (RPS): a linear model that may be wrong, whose slope is learned from random changes of the price.

The seller's model of demand is x'a + b p. True demand may not be linear, and prices may be correlated with effects that the
model omits. Least squares of demand on (x, p) then gives a wrong slope. So a coin changes each price:

    p_t = g_t + e_t,      e_t = delta_t or -delta_t with probability 1/2 each,      delta_t = shock (high - low) t^(-1/4),
    g_t = the price of [low + delta_t, high - delta_t] with the largest (p - c) (x_t'a + b p),

With demand q_t of one buyer, b is estimated by two-stage least squares with e as the instrument for p, and a from the
residual:

    b = (sum e q - v'a_q) / (sum e p - v'a_p), clipped to [steepest, flattest],      v = sum e x,      a = a_q - b a_p,

where a_q and a_p are the ridge regressions of q and of p on x, with one covariance; all are recursive sums. The coin is
independent of everything except the price, so b is consistent for any demand. Without `controls`, b = sum e q / sum e^2.
This is consistent too, but then all of demand is noise, while controls remove the part that x explains. The first
denominator is kept above a quarter of the second.

The constants are shares of the interval; those of the paper are prices. No constant is added to x: if demand does not vanish
with x, the market has a constant among its features.

Regret: O(sqrt(T)) up to logarithms, relative to the best linear model; no policy has less than order sqrt(T). Relative to
the truth it is linear in T, with a small factor, if demand is not linear.

Source: M. Nambiar, D. Simchi-Levi, H. Wang (2019), "Dynamic learning and pricing with model misspecification",
doi:10.1287/mnsc.2018.3194.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import line, scale, totals
from jaxprice.policies.parts.features import total
from jaxprice.policies.parts.linear_model import Model
from jaxprice.policies.personal.sale_likelihood import require_context
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      time: number of the next period, from 1, int scalar.
      demand: regression of demand on features.
      price, price_lost: coefficients of the regression of prices on features, and their rounding errors (`totals`), float
        `[d]` each; the regression has the same covariance.
      sums, lost: sums of e q, e p, e^2 and e x, and their rounding errors (`totals`), float `[3 + d]` each.
    """

    market: line.Market
    time: jax.Array
    demand: Model
    price: jax.Array
    price_lost: jax.Array
    sums: jax.Array
    lost: jax.Array

    def slope(self, controls):
        """b before clipping, float scalar."""
        (with_demand, with_price, square), cross = self.sums[:3], self.sums[3:]
        if not controls:
            return with_demand / jnp.maximum(square, 1e-12)
        above = with_demand - total(cross, self.demand.mean)
        below = with_price - total(cross, self.price)
        return above / jnp.maximum(below, jnp.maximum(square / 4, 1e-12))


@policy_maker(
    source="Nambiar, Simchi-Levi and Wang (2019)",
    regret="sqrt(T) to the best linear model, up to logs",
)
def random_price_shocks(shock=0.2, steepest=-5.0, flattest=-0.1, ridge=1.0, controls=True):
    """Random price shocks.

    Args:
      shock: size of the shock at t = 1, as a share of the interval, in (0, 1/2]; may be traced.
      steepest, flattest: bounds on b (high - low), the change of demand over the interval, below 0; may be traced.
      ridge: penalty on the squared coefficients a, above 0; may be traced.
      controls: whether features serve as controls in the estimate of b.

    Raises:
      ValueError: numbers out of range; at `init`, a market other than one price of an interval with a context.
    """
    checks.number("shock", shock, low=1e-6, high=0.5)
    checks.number("flattest", flattest, high=-1e-6)
    checks.number("steepest", steepest, high=-1e-6)
    if not checks.is_traced((steepest, flattest)) and steepest > flattest:
        raise ValueError(f"steepest must be at most flattest, got {steepest!r} above {flattest!r}")
    checks.number("ridge", ridge, low=1e-6)

    def greedy(state, observation):
        """g, and delta; float scalars."""
        market = state.market
        width = market.high - market.low
        delta = shock * width / jnp.sqrt(jnp.sqrt(state.time.astype(jnp.float32)))
        x = jnp.asarray(observation[-state.price.shape[0] :], jnp.float32)
        b = jnp.clip(state.slope(controls), steepest / width, flattest / width)
        level = total(x, state.demand.mean - b * state.price)
        return jnp.clip((market.cost - level / b) / 2, market.low + delta, market.high - delta), delta

    def init(key, problem):
        del key
        require_context(problem, "random_price_shocks")
        zeros = jnp.zeros(problem.context_size, jnp.float32)
        factor = jnp.eye(zeros.shape[0], dtype=jnp.float32) / jnp.sqrt(jnp.asarray(ridge, jnp.float32))
        market, sums = line.market(problem, "random_price_shocks"), jnp.zeros(3 + zeros.shape[0], jnp.float32)
        return State(market, jnp.int32(1), Model(zeros, factor, zeros), zeros, zeros, sums, sums)

    def act(key, state, observation):
        price, delta = greedy(state, observation)
        up = jax.random.bits(key, (), jnp.uint32) >> 31
        return price + jnp.where(up == 1, delta, -delta)

    def update(key, state, transition):
        del key
        x = jnp.asarray(transition.observation[-state.price.shape[0] :], jnp.float32)
        price, delta = greedy(state, transition.observation)
        shock = jnp.where(transition.price > price, delta, -delta)
        demand = transition.demand / state.market.buyers
        _, g, r = state.demand.gain(x)
        regression, _ = state.demand.revise(x, demand)
        prices = state.demand.replace(mean=state.price, lost=state.price_lost)
        prices = prices.move(g * (transition.price - total(x, state.price)) / r, r)
        one = shock * jnp.concatenate([jnp.stack([demand, transition.price, shock]), x])
        sums, lost = totals.plus(state.sums, state.lost, one, state.time >= totals.LONG)
        mean, mean_lost = prices
        return State(state.market, state.time + 1, regression, mean, mean_lost, sums, lost)

    return scale.in_own_unit(Policy(init, act, update), size=2.0)
