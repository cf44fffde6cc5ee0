"""Discounted least squares: the best price for a line in which older periods have smaller weights, and regular tests.

Demand may change, so a period that is k periods old has weight g^k. Let N be the sum of weights, m_p and m_d the weighted
means of prices and demands, and S_pp and S_pd the weighted sums of squares and products about them. A period (p, d) updates

    N' = g N + 1,    m_p' = m_p + (p - m_p) / N',    S_pp' = g S_pp + g N / N' (p - m_p)^2,

and m_d and S_pd in the same way, with the product of both deviations. The line with slope s = S_pd / S_pp and intercept
a = m_d - s m_p minimises the weighted sum of squares (computed with the compensated sums of `line`). Prices are those of
`moving_window_least_squares`: tests in the first two periods of every cycle of m periods, otherwise the best price for the
line. By default m = 1 / sqrt(1 - g), rounded up and at least 3. Weights sum to 1 / (1 - g), which corresponds to the window
W, and

    g = 1 - (V / T)^(2/3),    at least 8/9,

balances the error from noise and the error from old data, for changes of demand that sum to V over the horizon T. With g = 1
nothing is forgotten, and only the first two periods are tests: `iterated_least_squares`.

Regret against the best price of each period: O(V^(1/3) T^(2/3)) up to logarithms with that discount; no policy has a smaller
order (Keskin and Zeevi). Departures: a regular cycle of tests instead of theirs; the price is truncated, not the estimate.

Sources: N. B. Keskin, A. Zeevi (2017), "Chasing demand: learning and earning in a changing environment",
doi:10.1287/moor.2016.0807; A. V. den Boer (2015), "Tracking the market: dynamic pricing and learning in a changing
environment", European Journal of Operational Research 247.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.moving import price_tests
from jaxprice.policies.parts import line, scale
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

LONGEST = 2**30  # a cycle that never ends


@struct.dataclass
class State:
    """The problem of the seller; discount g and sum of weights N, floats; cycle m and periods played, ints; the line."""

    market: line.Market
    discount: jax.Array
    cycle: jax.Array
    time: jax.Array
    line: line.Line
    weight: jax.Array


@policy_maker(
    source="Keskin and Zeevi (2017)",
    regret="V^(1/3) T^(2/3), V the sum of changes",
    feedback="demand",
)
def discounted_least_squares(discount=None, variation=1.0, cycle=None, first=1 / 3, second=2 / 3):
    """Least squares with weights that decrease with age, and regular tests.

    Args:
      discount: factor g per period, in (0, 1]; may be traced. By default tuned to the horizon and to `variation`.
      variation: sum V of the changes of demand of one buyer that the default discount is tuned to, above 0; may be traced.
      cycle: number m of periods from one pair of tests to the next, an int of at least 2; None: 1 / sqrt(1 - g), rounded up.
      first, second: the two test prices, as shares of the interval: 0 is the lowest price, 1 the highest; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval.
    """
    if discount is not None:
        checks.number("discount", discount, low=1e-6, high=1)
    checks.number("variation", variation, low=1e-12)
    if cycle is not None and checks.positive_int("cycle", cycle) < 2:
        raise ValueError(f"cycle must be at least 2, got {cycle}")
    line.check_tests(first, second)

    def init(key, problem):
        del key
        market = line.market(problem, "discounted_least_squares", first, second)
        horizon = jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 1.0)
        gone = 1 - discount if discount is not None else jnp.minimum((variation / horizon) ** (2 / 3), 1 / 9)
        gone = jnp.asarray(gone, jnp.float32)
        length = jnp.clip(jnp.ceil(1 / jnp.sqrt(jnp.maximum(gone, 1e-12)) - 1e-3), 3, LONGEST)
        every = jnp.where(gone > 0, length.astype(jnp.int32), LONGEST) if cycle is None else jnp.int32(cycle)
        return State(market, 1 - gone, every, jnp.int32(0), line.start(), jnp.float32(0))

    def act(key, state, observation):
        del key, observation
        return price_tests.post(state.market, state.line.fit(), state.time % state.cycle)

    def update(key, state, transition):
        del key
        g = state.discount
        faded = line.Line(fade(state.line.sums, g), fade(state.line.lost, g))
        seen = faded.add(transition.price, transition.demand / state.market.buyers, g * state.weight)
        return State(state.market, g, state.cycle, state.time + 1, seen, g * state.weight + 1)

    return scale.in_own_unit(Policy(init, act, update))


def fade(sums, discount):
    """The sums with all weights multiplied by `discount`; means do not change."""
    return dataclasses.replace(sums, squares=discount * sums.squares, product=discount * sums.product)
