"""Run-out price: the price that sells the stock on average by the end of the season, or the best price if that is higher.

With mean demand d_k at price p_k and capacity c, the units left for each period left,

    post argmax_k (p_k - c_0) min(d_k, c),        c_0 the unit cost, ties to the lower price:

on a continuum of prices max(p*, p^0), with p* the price that earns most and D(p^0) = c, the fixed price of Gallego and
van Ryzin. On a grid it is the best single price of the fluid programme.

d is the table `demand` where the seller knows it. Otherwise the first T^exponent periods, and at least one for every price,
try the prices in turn, and d are the mean sales so far; later sales are learned from too. With `resolve=False` the capacity
is that of the start, I / T, in all periods: with known demand, one price for ever. Without stock, nothing is offered.

Regret with known demand: O(sqrt(T)) against the fluid bound on a continuum, where the fluid optimum is one price (relative
loss at most 1 / (2 sqrt(min(I, m))), m the sales of p*). On a grid linear in T where the fluid programme mixes two prices.

Source: G. Gallego, G. van Ryzin (1994), "Optimal dynamic pricing of inventories with stochastic demand over finite
horizons", doi:10.1287/mnsc.40.8.999, the fixed-price heuristic.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.inventory import stock
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """What the seller is told and counts; demand if it is known, float `[K, 1]`, else None; periods of exploration."""

    season: stock.Season
    books: stock.Books
    demand: jax.Array | None
    budget: jax.Array


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
      exponent: the first T^exponent periods explore where demand is not known, in [0, 1]; may be traced.
      resolve: whether the capacity is that of the stock left, not that of the start.

    Raises:
      ValueError: negative demand, an exponent out of range; at `init`, unlimited stock, no price grid, several products, a
        table of a wrong shape.
    """
    stock.check_demand(demand)
    stock.check_exponent(exponent)

    def init(key, problem):
        del key
        season = stock.season(problem, "run_out_price", one_product=True)
        if demand is not None:
            return State(season, stock.books(season), stock.table(demand, season, "run_out_price"), jnp.int32(0))
        return State(season, stock.books(season), None, season.length(exponent))

    def act(key, state, observation):
        del key, observation
        season, books = state.season, state.books
        means = books.means() if state.demand is None else state.demand
        capacity = books.rate(season) if resolve else season.stock / season.horizon
        best = jnp.argmax(jnp.sum(season.margins * jnp.minimum(means, capacity[None]), axis=1)).astype(jnp.int32)
        best = jnp.where(books.left[0] < 1, season.idle, best)
        return jnp.where(books.time < state.budget, season.explore(books.time), best)

    def update(key, state, transition):
        del key
        return state.replace(books=state.books.add(state.season, transition))

    return Policy(init, act, update)
