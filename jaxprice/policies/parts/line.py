"""The common part of policies with a linear demand model: a running least-squares line, and the best price for it.

The line d = a + s p through all pairs (price, demand of one buyer) so far is stored as means and centred sums,

    n' = n + 1,   m_p' = m_p + (p - m_p) / n',   m_d' = m_d + (d - m_d) / n',
    S_pp' = S_pp + n/n' (p - m_p)^2,   S_pd' = S_pd + n/n' (p - m_p)(d - m_d),   s = S_pd / S_pp,   a = m_d - s m_p,

which lose no digits if prices concentrate near their mean, as those of a learning seller do. All four sums are compensated
(Kahan): after 1e5 periods the step of a mean is below half the spacing of float32, and plain means would stop changing.

Source: B. P. Welford (1962), "Note on a method for calculating corrected sums of squares and products",
doi:10.1080/00401706.1962.10490022.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num

from jaxprice import checks
from jaxprice.policies.parts import arms, scale
from jaxprice.types import Discrete, Interval, Policy, Problem

FLAT = 1e-12  # below this sum of squares of prices of order one (`scale`), they count as equal


@struct.dataclass
class Sums:
    """Mean price, mean demand, sum of squared deviations of the price and of products with those of demand; scalars."""

    price: Float[Array, ""]
    demand: Float[Array, ""]
    squares: Float[Array, ""]
    product: Float[Array, ""]


@struct.dataclass
class Line:
    """The running line.

    Attributes:
      sums: the four sums.
      lost: rounding errors of the sums.
    """

    sums: Sums
    lost: Sums

    def add(self, price: Num[Array, ""] | float, demand: Num[Array, ""] | float, count: Num[Array, ""] | float) -> "Line":
        """The line with one more point, after `count` earlier points, float scalars."""
        old, after = self.sums, count + 1
        p, d, weight = price - old.price, demand - old.demand, count / after
        steps = Sums(p / after, d / after, weight * p * p, weight * p * d)
        steps = jax.tree.map(jnp.add, steps, self.lost)
        new = jax.tree.map(jnp.add, old, steps)
        lost = jax.tree.map(lambda step, now, then: step - (now - then), steps, new, old)
        return Line(new, lost)

    def fit(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """`(intercept, slope)` by least squares; a flat line while all prices are equal."""
        slope = jnp.where(self.sums.squares > FLAT, self.sums.product / jnp.maximum(self.sums.squares, FLAT), 0.0)
        return self.sums.demand - slope * self.sums.price, slope


def start(price: ArrayLike = 0.0, demand: ArrayLike = 0.0, squares: ArrayLike = 0.0, product: ArrayLike = 0.0) -> Line:
    """A line before the first point; with arguments, a line that starts from a prior."""
    sums = Sums(*(jnp.asarray(x, jnp.float32) for x in (price, demand, squares, product)))
    return Line(sums, jax.tree.map(jnp.zeros_like, sums))


@struct.dataclass
class Market:
    """The problem of the seller: ends of the interval, unit cost, the two test prices (float scalars), buyers a period."""

    low: Float[Array, ""]
    high: Float[Array, ""]
    cost: Float[Array, ""]
    first: Float[Array, ""]
    second: Float[Array, ""]
    buyers: int = struct.field(pytree_node=False)

    def middle(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Middle and half width of the interval, float scalars; priors use them as origin and unit."""
        return (self.low + self.high) / 2, scale.or_one((self.high - self.low) / 2)

    def best_price(self, intercept: Num[Array, "*#n"], slope: Num[Array, "*#n"]) -> Float[Array, "..."]:
        """The price of the interval with the largest (p - cost) (intercept + slope p)."""
        peak = (self.cost - intercept / jnp.where(slope < 0, slope, -1.0)) / 2
        gain = (self.high - self.cost) * (intercept + slope * self.high)
        gain = gain - (self.low - self.cost) * (intercept + slope * self.low)
        end = jnp.where(gain > 0, self.high, self.low)  # if the line does not decrease, profit is convex
        return jnp.where(slope < 0, jnp.clip(peak, self.low, self.high), end)


def check_tests(first: ArrayLike, second: ArrayLike) -> None:
    """Raise if test prices are not two different shares of the interval.

    Raises:
      ValueError: they are equal, or not in the interval.
    """
    checks.number("first", first, low=0, high=1)
    checks.number("second", second, low=0, high=1)
    if not checks.is_traced((first, second)) and first == second:
        raise ValueError(f"first and second must be two different prices, got {first!r} for both")


def require_interval(problem: Problem, name: str) -> None:
    """Raise if the action of a problem is not one price of an interval.

    Raises:
      ValueError: prices are a grid, several, or sets of products.
    """
    space = problem.action_space
    if not isinstance(space, Interval) or space.shape:
        wanted = "prices several products" if isinstance(space, Interval) else "has a price grid or assortments"
        raise ValueError(f"{name} sets one price of an interval, but this market {wanted}")


def require_prices(problem: Problem, name: str) -> None:
    """Raise if all prices are the same, as in a bandit: a model of demand over the price sees one point.

    Raises:
      ValueError: several actions, all of one price.
    """
    if problem.one_price:
        raise ValueError(
            f"{name} learns demand as a function of the price, but all {problem.num_prices} actions of this market have the "
            "same price: use a bandit policy, such as 'ucb1' or 'thompson'"
        )


def market(problem: Problem, name: str, first: Any = 0.0, second: Any = 1.0) -> Market:
    """The `Market` of a problem, with test prices at shares `first` and `second` of the interval."""
    require_interval(problem, name)
    low, high, cost = (jnp.asarray(x, jnp.float32) for x in (problem.low, problem.high, problem.cost))
    first, second = (jnp.asarray(low + share * (high - low), jnp.float32) for share in (first, second))
    return Market(low, high, cost, first, second, problem.buyers)


def market_or_grid(problem: Problem, name: str) -> tuple[Market, Float[Array, " num_prices"] | None]:
    """`(Market, grid)` of a problem with one price; the grid is float `[num_prices]`, or None if any price may be posted.

    Raises:
      ValueError: the action is not one price, or all prices are the same.
    """
    if not isinstance(problem.action_space, Discrete):
        return market(problem, name), None
    require_prices(problem, name)
    arms.learn(problem, "demand", name)  # raises if the action is not one price
    low, high, cost = (jnp.asarray(x, jnp.float32) for x in (problem.low, problem.high, problem.cost))
    return Market(low, high, cost, low, high, problem.buyers), jnp.asarray(problem.prices, jnp.float32)


@struct.dataclass
class State:
    """The problem of the seller, the line, and the number of periods played, int scalar."""

    market: Market
    line: Line
    time: Int[Array, ""]


def line_policy(name: str, first: ArrayLike, second: ArrayLike, choose: Callable) -> Policy:
    """Build a policy that posts the two test prices and then the price that `choose` returns.

    Args:
      name: name of the policy, for error messages.
      first, second: test prices as shares of the interval.
      choose: `(market, line, t) -> price`, after t >= 2 periods, int scalar.

    Raises:
      ValueError: bad test prices; at `init`, a market whose action is not one price of an interval.
    """
    check_tests(first, second)

    def init(key, problem):
        del key
        return State(market(problem, name, first, second), start(), jnp.int32(0))

    def act(key, state, observation):
        del key, observation
        market = state.market
        price = choose(market, state.line, jnp.maximum(state.time, 2))
        price = jnp.where(state.time == 0, market.first, jnp.where(state.time == 1, market.second, price))
        return jnp.clip(price, market.low, market.high)

    def update(key, state, transition):
        del key
        demand = transition.demand / state.market.buyers
        line = state.line.add(transition.price, demand, state.time.astype(jnp.float32))
        return State(state.market, line, state.time + 1)

    return scale.in_own_unit(Policy(init, act, update))
