"""Linear models suffice: in stages of growing length, a line through two nearby prices determines the next stage.

Demand is any smooth curve with a single best price. Stage i = 1, 2, ... posts p_i for I_i periods and p_i + d_i for I_i
more,

    I_i = floor(length growth^(i-1)),     d_i = gap (high - low) I_i^(-1/4),

and fits the line (a, s) through the two average demands. The next price is the best one for that line,

    p_{i+1} = argmax over [low, high] of (p - c) (a + s p).

The line is wrong, but as d_i decreases it becomes the tangent of demand at p_i, and the best price p* is the fixed point of
"best price for the tangent". So the error of the model vanishes near p*. A line fitted once over the whole interval would
stay wrong. Data of earlier stages are dropped, because they belong to other tangents.

Regret: O(sqrt(T)) up to logarithms if the iteration contracts (|the slope of the fixed-point map at p*| below one, as for
the usual curves). Departures: a price beyond the interval is mirrored instead of clipped, p_i - d_i for p_i + d_i, so that
the two prices always differ; the first stage has `length` periods; the constant of d_i is a share of the interval, while
that of the paper is a price.

Source: O. Besbes, A. Zeevi (2015), "On the (surprising) sufficiency of linear models for dynamic pricing with demand
learning", doi:10.1287/mnsc.2014.2031.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import line, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      price: first price of the stage, float scalar.
      length: number of periods at each price before rounding down, float scalar.
      position: number of periods of the stage played, int scalar.
      sums, lost: demand of one buyer at the first and at the second price, and rounding errors (`totals`), float `[2]` each.
    """

    market: line.Market
    price: jax.Array
    length: jax.Array
    position: jax.Array
    sums: jax.Array
    lost: jax.Array


@policy_maker(source="Besbes and Zeevi (2015)", regret="sqrt(T) up to logs")
def besbes_zeevi_linear(length=20.0, growth=1.5, gap=0.5, first=0.5):
    """Linear models in stages.

    Args:
      length: number of periods at each price in the first stage, at least 1; may be traced.
      growth: factor by which stages grow, at least 1; may be traced.
      gap: distance of the two prices for one period each, as a share of the interval, in (0, 1/2]; may be traced.
      first: price of the first stage, as a share of the interval: 0 is the lowest price, 1 the highest; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval.
    """
    checks.number("length", length, low=1)
    checks.number("growth", growth, low=1)
    checks.number("gap", gap, low=1e-3, high=0.5)
    checks.number("first", first, low=0, high=1)

    def moved(state):
        """The second price of the stage, and the number of periods at each."""
        market, whole = state.market, jnp.floor(state.length)
        distance = gap * (market.high - market.low) / jnp.sqrt(jnp.sqrt(whole))
        distance = jnp.where(state.price + distance <= market.high, distance, -distance)
        return state.price + distance, whole.astype(jnp.int32)

    def init(key, problem):
        del key
        market = line.market(problem, "besbes_zeevi_linear", first)
        zeros = jnp.zeros(2, jnp.float32)
        return State(market, market.first, jnp.float32(length), jnp.int32(0), zeros, zeros)

    def act(key, state, observation):
        del key, observation
        second, whole = moved(state)
        return jnp.where(state.position < whole, state.price, second)

    def update(key, state, transition):
        del key
        second, whole = moved(state)
        here = (jnp.arange(2) == (state.position >= whole)).astype(jnp.float32)
        sold = here * (transition.demand / state.market.buyers)
        sums, lost = totals.plus(state.sums, state.lost, sold, state.position >= totals.LONG)
        means = sums / whole.astype(jnp.float32)
        slope = (means[1] - means[0]) / (second - state.price)
        best = state.market.best_price(means[0] - slope * state.price, slope)
        position = state.position + 1
        ended = position == 2 * whole
        longer = jnp.minimum(state.length * growth, 1e9)
        return State(
            state.market,
            jnp.where(ended, best, state.price),
            jnp.where(ended, longer, state.length),
            jnp.where(ended, 0, position),
            jnp.where(ended, 0.0, sums),
            jnp.where(ended, 0.0, lost),
        )

    return Policy(init, act, update)
