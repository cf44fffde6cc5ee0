"""Run-out price: the price that sells the stock on average by the end of the season, or the best price if that is higher.

With mean demand d_k at price p_k and capacity c, the units left for each period left,

    post argmax_k (p_k - c_0) min(d_k, c),        c_0 the unit cost, ties to the lower price:

On a continuum of prices this is max(p*, p^0), with p* the price that earns most and D(p^0) = c: the fixed price of Gallego
and van Ryzin. On a grid it is the best single price of the fluid programme.

d is the table `demand` if the seller knows it. Otherwise the first T^exponent periods, and at least one for every price, try
the prices in turn, and d is the mean of the sales so far; later sales update it. With `resolve=False` the capacity is the
initial one, I / T, in all periods; with known demand, the price is then constant. Without stock, nothing is offered.

Regret with known demand: O(sqrt(T)) against the fluid bound on a continuum, where the fluid optimum is one price (relative
loss at most 1 / (2 sqrt(min(I, m))), m the sales of p*). On a grid it is linear in T if the fluid programme mixes two
prices.

Source: G. Gallego, G. van Ryzin (1994), "Optimal dynamic pricing of inventories with stochastic demand over finite
horizons", doi:10.1287/mnsc.40.8.999, the fixed-price heuristic.
"""

import jax.numpy as jnp

from jaxprice.policies.inventory.certainty_equivalence import planning_policy
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Gallego and van Ryzin (1994)",
    regret="sqrt(T) on a continuum if demand is known",
    feedback="demand, or nothing",
    kinds={"demand": "numbers"},
)
def run_out_price(demand=None, exponent=0.5, resolve=True):
    """The price that sells the stock on average.

    Args:
      demand: known mean demand at every price, `[K]`; None: it is learned.
      exponent: the first T^exponent periods explore if demand is not known, in [0, 1]; may be traced.
      resolve: whether the capacity uses the stock left, not the stock at the start.

    Raises:
      ValueError: negative demand, an exponent out of range; at `init`, unlimited stock, no price grid, several products, a
        table of a wrong shape.
    """

    def plan(key, state, means, capacity):
        del key
        worth = jnp.sum(state.season.margins * jnp.minimum(means, capacity[None]), axis=1)
        return jnp.where(state.books.left[0] < 1, state.season.idle, jnp.argmax(worth).astype(jnp.int32))

    return planning_policy("run_out_price", demand, exponent, resolve, plan, one_product=True)
