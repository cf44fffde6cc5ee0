"""Iterated least squares with deterministic testing (ILS-dt): greedy, except for about 2 sqrt(t) tests at two fixed prices.

Period t = 1, 2, ... is a test if fewer than 2 floor(sqrt(t)) tests came before it; the two prices alternate. So tests fall
on t = m^2 (first price) and t = m^2 + 1 (second), m = 1, 2, .... In the other periods the price is the greedy one of
`iterated_least_squares`, for the line through all data, tests included.

Regret: O(sqrt(T) log T); no policy has less than order sqrt(T). If demand depends on past prices (`ReferencePrice`), demand
at a test price differs from demand at a price that is held. The line then stays wrong, and regret is linear in T.

Departure: as in `iterated_least_squares` the price is truncated, not the estimate.

Sources: N. B. Keskin, A. Zeevi (2014), "Dynamic pricing with an unknown demand model: asymptotically optimal semi-myopic
policies", doi:10.1287/opre.2014.1294; A. V. den Boer, N. B. Keskin (2022), "Dynamic pricing with demand learning and
reference effects", doi:10.1287/mnsc.2021.4234.
"""

import jax.numpy as jnp

from jaxprice.policies.parts import line
from jaxprice.policies.registry import policy_maker


@policy_maker(source="Keskin and Zeevi (2014)", regret="sqrt(T) log T")
def deterministic_testing(first=1 / 3, second=2 / 3):
    """Iterated least squares with deterministic testing.

    Args:
      first, second: the two test prices, as shares of the interval: 0 is the lowest price, 1 the highest; may be traced.

    Raises:
      ValueError: shares out of range or equal; at `init`, a market whose action is not one price of an interval.
    """

    def choose(market, fitted, time):
        period = time + 1
        root = jnp.sqrt(period.astype(jnp.float32)).astype(jnp.int32)
        root = root - (root * root > period).astype(jnp.int32)  # float32 is exact for integers up to 2**24
        since = period - root * root
        test = jnp.where(since == 0, market.first, market.second)
        return jnp.where(since < 2, test, market.best_price(*fitted.fit()))

    return line.line_policy("deterministic_testing", first, second, choose)
