"""Zooming: upper confidence bounds on a set of active prices that grows only where profit looks high.

On the scale x in [0, 1] of the price interval, and with profit in units of the highest margin times the buyers, profit is
assumed to change by at most `lipschitz` |x - y| between two prices. After n periods at an active price with mean profit m,

    r = sqrt(scale log(T) / (n + 1)),     and the price covers all prices with  lipschitz |x - y| <= r.

Before each sale, if some price is not covered by an active price, one such price becomes active. Then the active price with
the largest index m + 2 r is played. Poor prices keep large radii and need few neighbours. Around the best price radii
shrink, and active prices become dense. With scale = 2 a new price covers the whole interval (for lipschitz <= sqrt(2 log
T)). So one new price a period is enough, and all prices are always covered when one is chosen.

Regret: O~(T^((z+1)/(z+2))) with zooming dimension z: T^(2/3) on an interval in general, T^(3/5) if profit has a quadratic
peak (z = 1/2). The radius for a known T is from Slivkins's book; that of the paper has phases of 2^i periods.

Departures: only `points` evenly spaced prices are used, which limits the memory to 9 bytes a point. The loss from this is at
most lipschitz / (2 points) a period, and of order 1 / points^2 at a smooth peak. The paper activates any uncovered price;
this policy activates the price farthest from coverage, the lowest of equals. The middle price is active from the start. Ties
of the index go to the lowest price. The constants of the theory are cautious: a smaller scale earns more over 1e5 periods.

Sources: R. Kleinberg, A. Slivkins, E. Upfal (2008), "Multi-armed bandits in metric spaces", arXiv:0809.4882; A. Slivkins
(2019), "Introduction to multi-armed bandits", arXiv:1904.07272, section 4.3.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, line
from jaxprice.policies.parts.scale import or_one
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      width: scale * log(horizon), float scalar.
      arms: number of periods at each point, and sums of their profits.
      active: whether each point is active, bool `[points]`.
    """

    market: line.Market
    width: jax.Array
    arms: arms.Sums
    active: jax.Array


@policy_maker(source="Kleinberg, Slivkins and Upfal (2008)", regret="T^(2/3) or less", feedback="reward")
def zooming(scale=2.0, lipschitz=1.0, points=128):
    """The zooming algorithm on a price interval.

    Args:
      scale: exploration constant, above 0; may be traced.
      lipschitz: bound on the slope of profit on the scale above, above 0; may be traced.
      points: number of prices that may become active, at least 2.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval.
    """
    checks.number("scale", scale, low=1e-6)
    checks.number("lipschitz", lipschitz, low=1e-6)
    if checks.positive_int("points", points) < 2:
        raise ValueError(f"points must be at least 2, got {points}")

    def radii(state):
        return jnp.sqrt(state.width / (state.arms.counts + 1))

    def init(key, problem):
        del key
        market = line.market(problem, "zooming")
        zeros = jnp.zeros(points, jnp.float32)
        nothing = arms.Sums(zeros.astype(jnp.int32), zeros, zeros)
        width = scale * jnp.log(jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 2.0))
        return State(market, jnp.asarray(width, jnp.float32), nothing, jnp.arange(points) == points // 2)

    def act(key, state, observation):
        del key, observation
        index = state.arms.sums / jnp.maximum(state.arms.counts, 1.0) + 2 * radii(state)
        best = jnp.argmax(jnp.where(state.active, index, -jnp.inf))
        low, high = state.market.low, state.market.high
        return jnp.clip(low + (high - low) * (best.astype(jnp.float32) / (points - 1)), low, high)

    def update(key, state, transition):
        del key
        market = state.market
        y = transition.reward / (market.buyers * or_one(market.high - market.cost))
        played = jnp.round((transition.price - market.low) / (market.high - market.low) * (points - 1)).astype(jnp.int32)
        state = state.replace(arms=state.arms.add(played, y))
        lacking = uncovered(state.active, lipschitz * jnp.linspace(0, 1, points, dtype=jnp.float32), radii(state))
        worst = jnp.argmax(lacking)
        active = state.active | ((jnp.arange(points) == worst) & (lacking[worst] > 0))
        return state.replace(active=active)

    return Policy(init, act, update)


def uncovered(active, x, radii):
    """Distance of each point to the nearest ball around an active point, at most 0 if it is covered; float `[points]`."""
    far = 1e9
    from_left = x - jax.lax.cummax(jnp.where(active, x + radii, -far))
    from_right = jax.lax.cummin(jnp.where(active, x - radii, far), reverse=True) - x
    return jnp.minimum(from_left, from_right)
