"""Certainty equivalence with stock: solve the fluid programme for the demand believed and the stock left, in every period.

In period t, with t - 1 periods gone and I(t - 1) units left,

    x = the optimal mix for demand d and capacity I(t - 1) / (T - t + 1)  (`stock`),
    action k with probability x_k, nothing with probability 1 - sum x.

d is the table `demand` where the seller knows it: the benchmark of known demand. Otherwise the first T^exponent periods, and
at least one for every action, try the actions in turn, and d are the mean sales so far; later sales are learned from too.
With `resolve=False` the capacity is I / T in all periods, so a mix is never corrected for what was sold by chance.

Regret with known demand: O(sqrt(T)) without re-solving, bounded with it where the programme has one optimum that is not
degenerate. With unknown demand, no bound: certainty equivalence may stop learning, which exploration of order sqrt(T) makes
rare; `blind_network` and `ts_update` have bounds.

Source: S. Jasin, S. Kumar (2012), "A re-solving heuristic with bounded revenue loss for network revenue management with
customer choice", doi:10.1287/moor.1120.0537 (they draw the action to offer from the mix, too).
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import samplers
from jaxprice.policies.inventory import stock
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """What the seller is told and counts; demand if it is known, float `[K, n]`, else None; periods of exploration."""

    season: stock.Season
    books: stock.Books
    demand: jax.Array | None
    budget: jax.Array


@policy_maker(
    source="Jasin and Kumar (2012)",
    regret="bounded if demand is known",
    feedback="demand, or nothing",
    kinds={"demand": "numbers"},
)
def lp_resolving(demand=None, exponent=0.5, resolve=True):
    """The fluid programme, solved again in every period.

    Args:
      demand: known mean demand under every action, `[K]` or `[K, n]`; None: it is learned.
      exponent: the first T^exponent periods explore where demand is not known, in [0, 1]; may be traced.
      resolve: whether the capacity is that of the stock left, not that of the start.

    Raises:
      ValueError: negative demand, an exponent out of range; at `init`, unlimited stock, no price grid, a table of a wrong
        shape.
    """
    stock.check_demand(demand)
    stock.check_exponent(exponent)

    def init(key, problem):
        del key
        season = stock.season(problem, "lp_resolving")
        if demand is not None:
            return State(season, stock.books(season), stock.table(demand, season, "lp_resolving"), jnp.int32(0))
        return State(season, stock.books(season), None, season.length(exponent))

    def act(key, state, observation):
        del observation
        season, books = state.season, state.books
        capacity = books.rate(season) if resolve else season.stock / season.horizon
        mix = season.fluid(books.means() if state.demand is None else state.demand, capacity)
        choice = stock.pick(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), mix, season.idle)
        return jnp.where(books.time < state.budget, season.explore(books.time), choice)

    def update(key, state, transition):
        del key
        return state.replace(books=state.books.add(state.season, transition))

    return Policy(init, act, update)
