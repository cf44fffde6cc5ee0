"""Moving-window least squares: the best price for the line through the last W periods, and regular tests.

Demand may change, so the line d = a + s p is fitted only to the last W pairs (p_i, d_i); older pairs are forgotten. With
t = 0, 1, ... and a cycle of m periods,

    p_t = first test price     if t mod m = 0,
    p_t = second test price    if t mod m = 1,
    p_t = argmax over [low, high] of (p - c) (a + s p)    otherwise, as in `iterated_least_squares`.

By default m is sqrt(W) rounded up, so a window holds 2 sqrt(W) tests, as many as `deterministic_testing` makes in W periods.
Tests take a share 2 / sqrt(W) of the periods, and the squared error of the line is of order 1 / sqrt(W). Changes that sum to
V add at most W V over the horizon T, so W = (T / V)^(2/3) balances the two errors. The default 100 suits T = 1,000 and V =
1, in units of the demand of one buyer.

The window is a ring buffer: 2 W numbers a lane for any horizon. Sums are of x = (p - middle) / half width and of d. A new
point is added and the oldest is subtracted. The resulting rounding errors are removed once in W periods, because the sums
before and since the last turn of the buffer are stored separately, as in `recent`.

Regret against the best price of each period: O(V^(1/3) T^(2/3)) up to logarithms with that window; no policy has a smaller
order (Keskin and Zeevi). Departures: a regular cycle of tests instead of theirs; the price is truncated, not the estimate.

Sources: N. B. Keskin, A. Zeevi (2017), "Chasing demand: learning and earning in a changing environment",
doi:10.1287/moor.2016.0807; A. V. den Boer (2015), "Tracking the market: dynamic pricing and learning in a changing
environment", European Journal of Operational Research 247.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxprice import checks
from jaxprice.policies.moving import price_tests
from jaxprice.policies.parts import line
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

FLAT = 1e-6  # below this variance of x, prices count as equal


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      time: number of periods played, int scalar.
      points: x and demand of one buyer in the last W periods, a ring buffer, float `[W, 2]`.
      oldest: the point that leaves next, float `[2]`, read right after the buffer is written.
      before: sums of x, d, x^2 and x d over the points from before the last turn of the buffer, float `[4]`.
      since: the same sums over the points since then.
    """

    market: line.Market
    time: jax.Array
    points: jax.Array
    oldest: jax.Array
    before: jax.Array
    since: jax.Array


@policy_maker(
    source="Keskin and Zeevi (2017)",
    regret="V^(1/3) T^(2/3), V the sum of changes",
    feedback="demand",
)
def moving_window_least_squares(window=100, cycle=None, first=1 / 3, second=2 / 3):
    """Least squares over a moving window, with regular tests.

    Args:
      window: number W of periods in the window, an int of at least 4.
      cycle: number m of periods from one pair of tests to the next, an int of at least 2 and at most `window`; None:
        sqrt(W), rounded up.
      first, second: the two test prices, as shares of the interval: 0 is the lowest price, 1 the highest; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval.
    """
    if checks.positive_int("window", window) < 4:
        raise ValueError(f"window must be at least 4, got {window}")
    if cycle is not None and not 2 <= checks.positive_int("cycle", cycle) <= window:
        raise ValueError(f"cycle must be in [2, {window}], from two to the window, got {cycle}")
    line.check_tests(first, second)
    every = math.isqrt(window - 1) + 1 if cycle is None else cycle

    def init(key, problem):
        del key
        market = line.market(problem, "moving_window_least_squares", first, second)
        zeros, point = jnp.zeros(4, jnp.float32), jnp.zeros(2, jnp.float32)
        return State(market, jnp.int32(0), jnp.zeros((window, 2), jnp.float32), point, zeros, zeros)

    def act(key, state, observation):
        del key, observation
        return price_tests.post(state.market, fit(state), state.time % every)

    def update(key, state, transition):
        del key
        market, place = state.market, state.time % window
        middle, half = market.middle()
        x = (transition.price - middle) / half
        point = jnp.stack([x, transition.demand / market.buyers])
        full, turn = (state.time >= window).astype(jnp.float32), place == 0
        before = jnp.where(turn, state.since, state.before) - full * terms(state.oldest)
        since = jnp.where(turn, 0.0, state.since) + terms(point)
        points = lax.dynamic_update_index_in_dim(state.points, point, place, 0)
        oldest = lax.dynamic_index_in_dim(points, (state.time + 1) % window, keepdims=False)
        return State(market, state.time + 1, points, oldest, before, since)

    def terms(point):
        x, d = point[0], point[1]
        return jnp.stack([x, d, x * x, x * d])

    def fit(state):
        middle, half = state.market.middle()
        n = jnp.clip(state.time, 1, window).astype(jnp.float32)
        means = (state.before + state.since) / n
        x, d = means[0], means[1]
        spread = means[2] - x * x
        steep = jnp.where(spread > FLAT, (means[3] - x * d) / jnp.maximum(spread, FLAT), 0.0)
        slope = steep / half
        return d - steep * x - slope * middle, slope

    return Policy(init, act, update)
