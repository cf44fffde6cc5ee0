"""Thompson sampling with linear demand: draw a demand line from the posterior, post the best price for it.

On the scale x in [-1, 1] of the price interval, demand of one buyer is m + s x + N(0, noise^2) with the conjugate prior
m ~ N(level, std^2), s ~ N(fall, std^2), independent. The prior equals k = (noise / std)^2 observations: the running line of
`line` starts with mean x = 0, mean demand `level`, count k, S_xx = k and S_xd = k fall. After n sales

    demand at the mean price  ~ N(m_d, noise^2 / (k + n)),     slope ~ N(S_xd / S_xx, noise^2 / S_xx),     independent:

This is the exact posterior, without a matrix. The price is argmax over [low, high] of (p - c) (drawn demand at p), or over
the grid if prices are a grid. If a drawn line does not decrease, its best price is an end.

If the noise is Gaussian, the seller knows its standard deviation. Otherwise it is set to 1/2 for one buyer, the largest of a
Bernoulli variable, and 1/2 / sqrt(n) for the mean of n buyers.

Regret: O(sqrt(T) log T) on average over the prior, for Gaussian noise.

Sources: S. Agrawal, N. Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs", arXiv:1209.3352;
R. Ganti, M. Sustik, Q. Tran, B. Seaman (2018), "Thompson sampling for dynamic pricing", arXiv:1802.03050; D. Russo,
B. Van Roy (2014), "Learning to optimize via posterior sampling", doi:10.1287/moor.2014.0650.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, line
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      prices: the grid, float `[num_prices]`; None on an interval.
      noise: standard deviation of the demand of one buyer, float scalar.
      line: posterior means and sums of squares, on the scale of x.
      time: number of periods played, int scalar.
    """

    market: line.Market
    prices: Any
    noise: jax.Array
    line: line.Line
    time: jax.Array


@policy_maker(source="Agrawal and Goyal (2013), Ganti et al. (2018)", regret="sqrt(T) log T")
def bayesian_linear_pricing(level=0.5, fall=-0.25, std=0.5, noise=None):
    """Thompson sampling with linear demand.

    Args:
      level, fall: prior means of demand at the middle of the prices, and of its change from there to the highest; may be
        traced.
      std: prior standard deviation of both, above 0; may be traced.
      noise: standard deviation of the demand of one buyer (the mean of several); may be traced. By default the market's.

    Raises:
      ValueError: numbers out of range; at `init`, a market where an action is not one price, or one price for all arms.
    """
    checks.number("level", level)
    checks.number("fall", fall)
    checks.number("std", std, low=1e-3)
    if noise is not None:
        checks.number("noise", noise, low=1e-6)

    def prior(noise_std):
        """Number of observations that the prior equals."""
        return jnp.maximum((noise_std / std) ** 2, 1e-30)

    def init(key, problem):
        del key
        market, prices = line.market_or_grid(problem, "bayesian_linear_pricing")
        noise_std = arms.noise_of_signal(problem, noise)
        worth = prior(noise_std)
        return State(market, prices, noise_std, line.start(0.0, level, worth, worth * fall), jnp.int32(0))

    def weight(state):
        return prior(state.noise) + state.time.astype(jnp.float32)

    def act(key, state, observation):
        del observation
        z1, z2 = samplers.normal_pair_from_word(jax.random.bits(key, (), jnp.uint32))
        sums, market = state.line.sums, state.market
        center, unit = market.middle()
        slope = (sums.product / sums.squares + state.noise * z2 / jnp.sqrt(sums.squares)) / unit
        mean = sums.demand + state.noise * z1 / jnp.sqrt(weight(state))
        intercept = mean - slope * (center + unit * sums.price)
        if state.prices is None:
            return market.best_price(intercept, slope)
        return jnp.argmax((state.prices - market.cost) * (intercept + slope * state.prices))

    def update(key, state, transition):
        del key
        center, unit = state.market.middle()
        x, demand = (transition.price - center) / unit, transition.demand / state.market.buyers
        added = state.line.add(x, demand, weight(state))
        return State(state.market, state.prices, state.noise, added, state.time + 1)

    return Policy(init, act, update)
