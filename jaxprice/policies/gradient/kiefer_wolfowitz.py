"""Kiefer-Wolfowitz: climb the profit curve by differences between pairs of periods, with decreasing steps.

On the scale x in [0, 1] of the price interval, with profit y in units of (high - low) times the buyers, pair n = 1, 2, ...
sells one period at x and one at x + c_n, and moves

    x <- clip( x + a_n (y' - y) / c_n ),       a_n = step / n,    c_n = gap n^(-1/4).

If x + c_n is outside the interval, the second price is x - c_n and the difference changes its sign. The first x is the
middle. The difference estimates the slope at x + c_n / 2, so x + c_n / 2 converges to the best price, not x; c_n decreases
to zero.

Regret: O(sqrt(T)) for smooth profit with an interior maximum, if step is above 1 / (4 K), where -K is the second derivative
of y there. A smaller step leaves T^(1 - 2 step K), which is near T if profit is flat: a weak baseline. In units of price the
steps are a_n = step (high - low) / n and c_n = gap (high - low) n^(-1/4). Broder and Rusmevichientong compare with a = 1/t
and c = t^(-1/4); on their interval [.5, 8] that is step = gap = 1/7.5.

Sources: J. Kiefer, J. Wolfowitz (1952), "Stochastic estimation of the maximum of a regression function",
doi:10.1214/aoms/1177729392; J. Broder, P. Rusmevichientong (2012), doi:10.1287/opre.1120.1057.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import line
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The problem of the seller; the point x and the profit y of its period, float scalars; periods played, int scalar."""

    market: line.Market
    x: jax.Array
    y: jax.Array
    time: jax.Array


@policy_maker(source="Kiefer and Wolfowitz (1952)", regret="sqrt(T)", feedback="reward")
def kiefer_wolfowitz(step=1.0, gap=0.2):
    """Kiefer-Wolfowitz stochastic approximation.

    Args:
      step: first step for a slope of one, at least 0; may be traced.
      gap: distance of the first pair, as a share of the interval, in (0, 1/2]; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval.
    """
    checks.number("step", step, low=0)
    checks.number("gap", gap, low=1e-3, high=0.5)

    def pair(state):
        """Number of the pair, and signed distance to its second point."""
        n = (state.time // 2 + 1).astype(jnp.float32)
        distance = gap / jnp.sqrt(jnp.sqrt(n))
        return n, jnp.where(state.x + distance <= 1, distance, -distance)

    def init(key, problem):
        del key
        market = line.market(problem, "kiefer_wolfowitz")
        return State(market, jnp.float32(0.5), jnp.float32(0), jnp.int32(0))

    def act(key, state, observation):
        del key, observation
        market, (_, distance) = state.market, pair(state)
        x = jnp.where(state.time % 2 == 0, state.x, state.x + distance)
        return market.low + (market.high - market.low) * jnp.clip(x, 0, 1)

    def update(key, state, transition):
        del key
        market, (n, distance) = state.market, pair(state)
        y = transition.reward / (market.buyers * (market.high - market.low))
        climbed = jnp.clip(state.x + step / n * (y - state.y) / distance, 0.0, 1.0)
        even = state.time % 2 == 0
        return State(market, jnp.where(even, state.x, climbed), jnp.where(even, y, state.y), state.time + 1)

    return Policy(init, act, update)
