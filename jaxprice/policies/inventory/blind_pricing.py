"""Blind pricing of one product: try a grid of prices, then post the best or the run-out price, whichever is higher.

The first T^exponent periods, and at least one for every price, try the prices in turn; m_k are the mean sales. From then on

    p^u = argmax_k (p_k - c) m_k,     p^c = argmin_k |m_k - I / T|,     post max(p^u, p^c)

until the stock is gone: this is the best price if the stock lasts, otherwise the price that sells it by the end of the
season. The policy learns nothing later. On an interval the policy tries and posts only `num_prices` evenly spaced prices,
including both ends.

Departures: the paper tries each price in one run of periods; its number of prices grows with the size of the market, while
ours is an option. Sales limited by the stock teach nothing.

Regret: O(T^(3/4)) up to logarithms against the fluid bound, if prices form an interval, num_prices is of order T^(1/4) and
exponent = 3/4. On a fixed grid it is linear in T, because the fluid bound mixes prices and this policy does not.

Source: O. Besbes, A. Zeevi (2009), "Dynamic pricing without knowing the demand function: risk bounds and near-optimal
algorithms", doi:10.1287/opre.1080.0640, the nonparametric algorithm.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.inventory import stock
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Discrete, Interval, Policy


@struct.dataclass
class State:
    """The season and the books of the seller, periods of exploration (int scalar), and the prices tried, float `[K]`.

    `interval` says whether any price may be posted, so that actions are prices.
    """

    season: stock.Season
    books: stock.Books
    budget: jax.Array
    prices: jax.Array
    interval: bool = struct.field(pytree_node=False)


@policy_maker(source="Besbes and Zeevi (2009)", regret="T^(3/4)", feedback="demand")
def blind_pricing(exponent=0.75, num_prices=6):
    """Explore, then the higher of the best price and the run-out price.

    Args:
      exponent: the first T^exponent periods explore, in [0, 1]; may be traced.
      num_prices: number of prices to try, if any price may be posted.

    Raises:
      ValueError: numbers out of range; at `init`, unlimited stock, or several products.
    """
    stock.check_exponent(exponent)
    if checks.positive_int("num_prices", num_prices) < 2:
        raise ValueError(f"num_prices must be at least 2, got {num_prices}")

    def init(key, problem):
        del key
        interval = isinstance(problem.action_space, Interval) and not problem.action_space.shape
        if interval:
            low, high = jnp.float32(problem.low), jnp.float32(problem.high)
            prices = low + (high - low) * jnp.arange(num_prices, dtype=jnp.float32) / (num_prices - 1)
            problem = dataclasses.replace(problem, prices=prices, action_space=Discrete(num_prices))
        season = stock.season(problem, "blind_pricing", one_product=True)
        prices = jnp.asarray(problem.prices, jnp.float32)
        return State(season, stock.books(season), season.length(exponent), prices, interval)

    def act(key, state, observation):
        del key, observation
        season, books = state.season, state.books
        means, margins = books.means()[:, 0], season.margins[:, 0]
        best = jnp.argmax(margins * means)
        gaps = jnp.abs(means - season.stock[0] / season.horizon)
        out = jnp.argmin(jnp.where(margins > 0, gaps, jnp.inf))
        choice = jnp.where(margins[out] > margins[best], out, best).astype(jnp.int32)
        choice = jnp.where(books.left[0] < 1, season.idle, choice)
        choice = jnp.where(books.time < state.budget, season.explore(books.time), choice)
        return state.prices[choice] if state.interval else choice

    def update(key, state, transition):
        del key
        if state.interval:
            action = jnp.argmin(jnp.abs(state.prices - transition.price)).astype(jnp.int32)
            transition = dataclasses.replace(transition, action=action)
        books = state.books.add(state.season, transition, state.books.time < state.budget)
        return state.replace(books=books)

    return Policy(init, act, update)
