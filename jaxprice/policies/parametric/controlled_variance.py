"""Controlled variance pricing (CVP): greedy, with a lower bound on the variance of the prices posted so far.

After t >= 2 periods, with m the mean and V_t = sum (p_i - m)^2 / t the variance of the prices, (a, s) the least-squares
line, and p1, p2 the first two prices:

1. If the line is not a demand curve (a <= 0, s >= 0, or negative demand at some price of the interval), post the one of p1
   and p2 that is farther from m.
2. Otherwise post the best price for the line if this leaves V_{t+1} >= c (t+1)^(alpha-1).
3. Otherwise post the best price outside the taboo interval  m +- sqrt( c [(t+1)^alpha - t^alpha] (t+1) / t ).

Since (t+1) V_{t+1} = t V_t + t/(t+1) (p_{t+1} - m)^2, a price outside the taboo interval maintains the lower bound:

    V_t >= c t^(alpha-1)   for all t >= 2,   for any demand,  with
    c = share * 2^(-alpha) (p1 - p2)^2 min{1, 1/(3 alpha)}.

The paper requires share < 1. With divisor t, not t - 1, in the variance, the bound holds from t = 2 on if share <= 1/2,
which is required here. With constant noise, maximum quasi-likelihood of a linear demand is least squares. In float32
(t+1)^alpha - t^alpha would lose its digits; it is computed as t^alpha expm1(alpha log1p(1/t)). Ties between p1 and p2 go to
p1, and ties between the ends of the taboo interval to the upper end.

Regret: O(T^alpha) for alpha > 1/2, so O(T^(1/2 + delta)), if demand is linear. If it is not, and the interval is so wide
that the line through p1 and p2 is negative at its end, rule 1 alternates between p1 and p2 permanently.

Source: A. V. den Boer, B. Zwart (2014), "Simultaneously learning and optimizing using controlled variance pricing",
doi:10.1287/mnsc.2013.1788.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import line
from jaxprice.policies.registry import policy_maker

TIE = 1e-5  # tolerance for ties, relative to the distance of the first two prices


@policy_maker(source="den Boer and Zwart (2014)", regret="T^alpha, alpha > 1/2")
def controlled_variance(alpha=0.5001, share=0.5, first=1 / 3, second=2 / 3):
    """Controlled variance pricing.

    Args:
      alpha: exponent of the lower bound on the sum of squares, in (0, 1); may be traced.
      share: constant c as a share of its upper bound, in [0, 1/2]; 0 is greedy pricing. May be traced.
      first, second: the first two prices, as shares of the interval; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval.
    """
    checks.number("alpha", alpha, low=1e-6, high=1 - 1e-6)
    checks.number("share", share, low=0, high=0.5)

    def choose(market, fitted, time):
        t, mean = time.astype(jnp.float32), fitted.sums.price
        intercept, slope = fitted.fit()
        gap = market.first - market.second
        c = share * 2.0 ** (-alpha) * gap**2 * jnp.minimum(1.0, 1 / (3 * alpha))
        power = t**alpha
        growth = power * jnp.expm1(alpha * jnp.log1p(1 / t))  # (t+1)^alpha - t^alpha
        floor = c * (power + growth)

        greedy = market.best_price(intercept, slope)
        squares = fitted.sums.squares + t / (t + 1) * (greedy - mean) ** 2
        radius = jnp.sqrt(c * growth * (t + 1) / t)
        lower, upper = mean - radius, mean + radius
        profit_lower, profit_upper = ((p - market.cost) * (intercept + slope * p) for p in (lower, upper))
        above = (profit_upper >= profit_lower) & (upper <= market.high) | (lower < market.low)
        outside = jnp.where(jnp.abs(greedy - mean) >= radius, greedy, jnp.where(above, upper, lower))

        farther = jnp.abs(market.second - mean) - jnp.abs(market.first - mean) > TIE * jnp.abs(gap)
        initial = jnp.where(farther, market.second, market.first)
        sensible = (intercept > 0) & (slope < 0) & (intercept + slope * market.high >= 0)
        return jnp.where(sensible, jnp.where(squares >= floor, greedy, outside), initial)

    return line.line_policy("controlled_variance", first, second, choose)
