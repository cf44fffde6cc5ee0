"""Certainty equivalence under limited stock: plan in every period as if the estimated demand were the true demand.

If the seller knows the mean demand, the plan uses that table. Otherwise the first T^exponent periods, and at least one for
each action, try the actions in turn, and the estimates are mean sales so far. Later sales update them too.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.inventory import stock
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      season: the problem of the seller.
      books: the seller's records.
      demand: mean demand if it is known, float `[K, n]`, otherwise None.
      budget: number of exploration periods, int scalar.
    """

    season: stock.Season
    books: stock.Books
    demand: jax.Array | None
    budget: jax.Array


def planning_policy(name, demand, exponent, resolve, plan, one_product=False):
    """Build a policy that explores first and then follows a plan.

    Args:
      name: name of the policy, for error messages.
      demand, exponent, resolve: as in `lp_resolving`.
      plan: `(key, state, means, capacity) -> action`, int scalar, with mean demand `[K, n]` and units for each period `[n]`.
      one_product: whether to refuse several products.

    Raises:
      ValueError: negative demand, an exponent out of range; at `init`, unlimited stock, no price grid, several products if
        they are refused, a table of a wrong shape.
    """
    stock.check_demand(demand)
    stock.check_exponent(exponent)

    def init(key, problem):
        del key
        season = stock.season(problem, name, one_product=one_product)
        if demand is not None:
            return State(season, stock.books(season), stock.table(demand, season, name), jnp.int32(0))
        return State(season, stock.books(season), None, season.length(exponent))

    def act(key, state, observation):
        del observation
        season, books = state.season, state.books
        means = books.means() if state.demand is None else state.demand
        capacity = books.rate(season) if resolve else season.stock / season.horizon
        planned = plan(key, state, means, capacity)
        return jnp.where(books.time < state.budget, season.explore(books.time), planned)

    def update(key, state, transition):
        del key
        return state.replace(books=state.books.add(state.season, transition))

    return Policy(init, act, update)
