"""Constrained iterated least squares (CILS): greedy, but at a distance of at least order t^(-1/4) from the mean past price.

After t periods, with g the greedy price of `iterated_least_squares` and m the mean of the t prices so far,

    p_{t+1} = g                                    if |g - m| >= k_t,    k_t = kappa (high - low) t^(-1/4),
    p_{t+1} = m + sign(g - m) k_t                  otherwise (sign(0) = 1).

Hence the spread J_t = sum (p_i - m_t)^2 grows by at least t/(t+1) k_t^2 in every period, to order sqrt(t) at least, for any
demand. If m + sign(g - m) k_t is outside the interval, the other side of m is used. One of the two is inside for kappa <=
1/2, so the growth has no exceptions. The paper's constant is a price, ours a share of the interval. As in
`iterated_least_squares` the price is truncated, not the estimate.

Regret: O(sqrt(T) log T); no policy has less than order sqrt(T).

Source: N. B. Keskin, A. Zeevi (2014), "Dynamic pricing with an unknown demand model: asymptotically optimal semi-myopic
policies", doi:10.1287/opre.2014.1294.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.parts import line
from jaxprice.policies.registry import policy_maker


@policy_maker(source="Keskin and Zeevi (2014)", regret="sqrt(T) log T")
def constrained_least_squares(kappa=0.1, first=1 / 3, second=2 / 3):
    """Constrained iterated least squares.

    Args:
      kappa: smallest distance from the mean price at t = 1, as a share of the interval, in [0, 1/2]; may be traced.
      first, second: the first two prices, as shares of the interval; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval.
    """
    checks.number("kappa", kappa, low=0, high=0.5)

    def choose(market, fitted, time):
        greedy, mean = market.best_price(*fitted.fit()), fitted.sums.price
        distance = kappa * (market.high - market.low) / jnp.sqrt(jnp.sqrt(time.astype(jnp.float32)))
        above = greedy >= mean
        above = jnp.where(above, mean + distance <= market.high, mean - distance < market.low)
        pushed = jnp.where(above, mean + distance, mean - distance)
        return jnp.where(jnp.abs(greedy - mean) < distance, pushed, greedy)

    return line.line_policy("constrained_least_squares", first, second, choose)
