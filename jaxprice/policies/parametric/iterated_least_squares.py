"""Iterated least squares, or greedy certainty equivalence: always post the best price for the fitted line.

After two different prices, in every period, with (a, s) the least-squares line of demand in the price (`line`),

    p_{t+1} = argmax over [low, high] of (p - c) (a_t + s_t p),    that is (c - a_t / s_t) / 2, clipped, if s_t < 0.

It never experiments. Prices converge, their spread stops growing, and so does the information. With positive probability
they converge to a wrong price, and the line fitted around it confirms this price (incomplete learning). This is the baseline
of `constrained_least_squares`, `deterministic_testing` and `controlled_variance`, each of which repairs it.

Regret: linear in T. Departure: Keskin and Zeevi truncate the estimate to a box. Here the price is truncated to the interval,
because a seller need not know a box of lines. If a line does not decrease, its best price is an end of the interval.

Sources: T. W. Anderson, J. B. Taylor (1976), "Some experimental results on the statistical properties of least squares
estimates in control problems", doi:10.2307/1911332; N. B. Keskin, A. Zeevi (2014), "Dynamic pricing with an unknown demand
model: asymptotically optimal semi-myopic policies", doi:10.1287/opre.2014.1294; A. V. den Boer, B. Zwart (2014),
doi:10.1287/mnsc.2013.1788.
"""

from jaxprice.policies.parts import line
from jaxprice.policies.registry import policy_maker


@policy_maker(source="Keskin and Zeevi (2014)", regret="T, incomplete learning")
def iterated_least_squares(first=1 / 3, second=2 / 3):
    """Greedy iterated least squares.

    Args:
      first, second: the first two prices, as shares of the interval: 0 is the lowest price, 1 the highest; may be traced.

    Raises:
      ValueError: shares out of range or equal; at `init`, a market whose action is not one price of an interval.
    """

    def choose(market, fitted, time):
        del time
        return market.best_price(*fitted.fit())

    return line.line_policy("iterated_least_squares", first, second, choose)
