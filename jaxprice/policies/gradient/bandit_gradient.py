"""Bandit gradient descent: one sale at a randomly shifted price gives an unbiased estimate of a gradient.

On the scale x in [-1, 1] of the price interval, with profit y in units of the highest margin times the buyers, and a fair
sign u,

    post x + d u,      x <- clip( x + v y u,  -(1 - d), 1 - d ),       d = gap T^(-1/4),   v = step T^(-1/2),

with x = 0 first and horizon T. With mean profit f, E[y u] = (f(x + d) - f(x - d)) / 2, which is d times the slope of f
smoothed over [x - d, x + d]. So one period gives an estimate, and an adversary may choose the profit. In one dimension the
ball of the paper is the interval, its sphere is the two signs, and r = R = 1. The paper's choice is gap = 6^(-1/2) = .41 for
profit whose slope is at most one, and step = 1 for any profit.

Regret: O(T^(3/4)) against the best fixed price for concave profit functions, chosen by an adversary.

Source: A. D. Flaxman, A. T. Kalai, H. B. McMahan (2005), "Online convex optimization in the bandit setting: gradient descent
without a gradient", arXiv:cs/0408007.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import line, scale
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The problem of the seller; the point x, the shift d and the step v, float scalars."""

    market: line.Market
    x: jax.Array
    shift: jax.Array
    step: jax.Array


@policy_maker(source="Flaxman, Kalai and McMahan (2005)", regret="T^(3/4)", feedback="reward")
def bandit_gradient(step=1.0, gap=0.41):
    """Bandit gradient descent for one price.

    Args:
      step: constant of the step, at least 0; may be traced.
      gap: constant of the shift, above 0; may be traced. The shift is at most 1/2 of the half interval.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval.
    """
    checks.number("step", step, low=0)
    checks.number("gap", gap, low=1e-6)

    def init(key, problem):
        del key
        market = line.market(problem, "bandit_gradient")
        root = jnp.sqrt(jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 1.0))
        shift = jnp.minimum(gap / jnp.sqrt(root), 0.5)
        return State(market, jnp.float32(0), jnp.asarray(shift, jnp.float32), jnp.asarray(step / root, jnp.float32))

    def act(key, state, observation):
        del observation
        sign = jnp.where(jax.random.bits(key, (), jnp.uint32) >> 31 == 0, 1.0, -1.0)
        return price(state, state.x + state.shift * sign)

    def price(state, x):
        low, high = state.market.low, state.market.high
        return jnp.clip(low + (high - low) * (1 + x) / 2, low, high)

    def update(key, state, transition):
        del key
        market = state.market
        y = transition.reward / (market.buyers * scale.or_one(market.high - market.cost))
        sign = jnp.where(transition.price >= price(state, state.x), 1.0, -1.0)
        reach = 1 - state.shift
        return State(market, jnp.clip(state.x + state.step * y * sign, -reach, reach), state.shift, state.step)

    return Policy(init, act, update)
