"""Slow-moving prices: learn from long runs of two prices close together, for buyers who remember past prices.

The demand of buyers with a reference price (`ReferencePrice`) right after a change of price differs from their demand at a
familiar price. Here prices are held, so that the reference follows. Episode i = 0, 1, ... has 2 n_i periods, with a centre
m_i,

    n_i = 2^i at m_i - d_i,  then  n_i at m_i + d_i,    d_i = gap (high - low) 2^(-i/4),
    m_{i+1} = argmax over [low + d_{i+1}, high - d_{i+1}] of (p - c) (a_i + s_i p),

where a_i + s_i p is the least-squares line through the periods of episode i alone: at two prices, the line through the mean
demands. A change of price biases only the first few periods of a run. So the error of the slope is of order 1 / n_i, plus
noise of order 1 / (d_i sqrt(n_i)) = 2^(-i/4).

Regret: O(sqrt(T)) with loss-averse buyers, whether or not the reference is observed; no policy has less than order sqrt(T).
`deterministic_testing` has linear regret there, because its tests meet buyers used to another price. With gain-seeking
buyers price cycles earn more than any constant price, and regret is linear. Defaults are those of the authors' experiment,
on their prices [.5, 1.5]: gap .1 and first centre 1.

Departures: gap and first centre are shares of the interval; the centre, not the estimate, is truncated so that both prices
are inside.

Source: A. V. den Boer, N. B. Keskin (2022), "Dynamic pricing with demand learning and reference effects",
doi:10.1287/mnsc.2021.4234.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import line, scale
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

LONGEST = 2**29  # largest number of periods of a run; no horizon is longer


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      centre: price in the middle, m_i, float scalar.
      shift: distance d_i from it, float scalar.
      length: number of periods of a run, n_i, int scalar.
      place: number of periods of the episode played, int scalar.
      line: the line of the episode.
    """

    market: line.Market
    centre: jax.Array
    shift: jax.Array
    length: jax.Array
    place: jax.Array
    line: line.Line


@policy_maker(source="den Boer and Keskin (2022)", regret="sqrt(T), also with reference prices")
def slow_moving(gap=0.1, start=0.5):
    """Slow-moving prices.

    Args:
      gap: distance of the two prices of the first episode from their centre, as a share of the interval, in [0.001, 1/2];
        may be traced.
      start: first centre, as a share of the interval: 0 is the lowest price, 1 the highest; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval.
    """
    checks.number("gap", gap, low=0.001, high=0.5)
    checks.number("start", start, low=0, high=1)

    def init(key, problem):
        del key
        market = line.market(problem, "slow_moving", start)
        shift = jnp.asarray(gap * (market.high - market.low), jnp.float32)
        return State(market, inside(market, market.first, shift), shift, jnp.int32(1), jnp.int32(0), line.start())

    def act(key, state, observation):
        del key, observation
        shift = jnp.where(state.place < state.length, -state.shift, state.shift)
        return jnp.clip(state.centre + shift, state.market.low, state.market.high)

    def update(key, state, transition):
        del key
        market, place = state.market, state.place + 1
        demand = transition.demand / market.buyers
        seen = state.line.add(transition.price, demand, state.place.astype(jnp.float32))
        shift = state.shift * 2**-0.25
        centre = inside(market, market.best_price(*seen.fit()), shift)
        length = jnp.minimum(2 * state.length, LONGEST)
        following = State(market, centre, shift, length, jnp.int32(0), line.start())
        same = State(market, state.centre, state.shift, state.length, place, seen)
        return jax.tree.map(lambda x, y: jnp.where(place == 2 * state.length, x, y), following, same)

    def inside(market, price, shift):
        return jnp.clip(price, market.low + shift, market.high - shift)

    return scale.in_own_unit(Policy(init, act, update))
