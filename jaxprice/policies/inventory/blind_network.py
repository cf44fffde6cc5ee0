"""Blind network revenue management: try all prices in turn, then keep the best mix of the fluid programme.

The first T^exponent periods, and at least one for every action, try the actions in turn. Then the mix x is computed once,
from the mean sales m so far, as the optimum for demand m and for the remaining stock spread over the remaining periods
(`stock`). Each action fills its share of these periods: when a share v of them has passed, action k is played if
x_1 + ... + x_{k-1} <= v < x_1 + ... + x_k, and nothing from sum x on. The policy learns nothing later.

The programme uses the stock left after exploration, as in the comparisons of Ferreira et al.; accounts of this step differ.
Sales limited by the stock teach nothing. With one product, T = 500 and stock T / 4 the policy earns 84.8 % of the fluid
bound if an action that never sold is played before offering nothing, as here, and 83.2 % if not.

Regret: O(T^(2/3)) up to logarithms on a given grid of prices, with exponent = 2/3.

Source: O. Besbes, A. Zeevi (2012), "Blind network revenue management", doi:10.1287/opre.1120.1103.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.inventory import stock
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The season and the books of the seller, periods of exploration (int scalar), and the mix after it, float `[K]`."""

    season: stock.Season
    books: stock.Books
    budget: jax.Array
    mix: jax.Array


@policy_maker(source="Besbes and Zeevi (2012)", regret="T^(2/3)", feedback="demand")
def blind_network(exponent=2 / 3):
    """Explore, then the best mix of prices.

    Args:
      exponent: the first T^exponent periods explore, in [0, 1]; may be traced.

    Raises:
      ValueError: an exponent out of range; at `init`, unlimited stock or no price grid.
    """
    stock.check_exponent(exponent)

    def init(key, problem):
        del key
        season = stock.season(problem, "blind_network")
        mix = jnp.zeros(season.margins.shape[0], jnp.float32)
        return State(season, stock.books(season), season.length(exponent), mix)

    def act(key, state, observation):
        del key, observation
        season, time = state.season, state.books.time
        gone = (time - state.budget + 0.5) / jnp.maximum(season.horizon - state.budget, 1.0)
        choice = stock.pick(gone.astype(jnp.float32), state.mix, season.idle)
        return jnp.where(time < state.budget, season.explore(time), choice)

    def update(key, state, transition):
        del key
        season = state.season
        books = state.books.add(season, transition, state.books.time < state.budget)
        learned = season.fluid(books.means(), books.rate(season))
        return State(season, books, state.budget, jnp.where(books.time == state.budget, learned, state.mix))

    return Policy(init, act, update)
