"""Flights of one leg that depart one after another, with a willingness to pay that the airline has to learn.

A flight is sold on H days and has N seats. On each day Poisson customers come, `arrivals` / H on average. At fare p a
customer buys with the probability of negative-exponential buy-up

    q(p) = exp(-ln 2 (p / p_0 - 1) / (frat5 - 1)),

where p_0 is the lowest fare. Everybody who comes buys at p_0, and half of them at frat5 times p_0: the fare ratio at 50 % of
the customers. A day sells at most the seats that are left. What it could sell beyond them nobody sees. A seat that is empty
at departure is worth nothing. On the next day the next flight opens, with all its seats. The willingness to pay is that of
the season, so what one flight teaches serves the next ones. A horizon that is no multiple of H cuts the last flight.

With h days to go and n seats left V_h(n) is exact (`jaxprice.oracles.single_leg`), one table for all flights. The regret of
a day is the loss of its fare under V. Its sum is the value of the season minus the earnings. Daily demand is Poisson up to
`largest_demand`, beyond which the probability is below 1e-7. That mass stands at `largest_demand`, in the oracle too.

The paper sells 22 flights at once. One departs every day, and each has its own fare. Its demand model, its fares 50, 70,
..., 230, its 22 days, 50 seats and its ranges of frat5 and of arrivals are the defaults here. Where the seats never bind the
flights differ in nothing. `days=1, arrivals=4, stock=25` is then the paper's first market, with one fare a day for all open
flights, and `arrivals=4/22, horizon=22*440` the same market with a fare for every flight, one after another.

Sources: G. Gatti Pinheiro, M. Defoin-Platel, J.-C. Regin (2022), "Outsmarting human design in airline revenue management",
doi:10.3390/a15050142, and its code "Talos"; P. Belobaba, C. Hopperstad (2004), "Algorithms for revenue management in
unrestricted fare markets", AGIFORS (frat5).
"""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice.environment import Environment
from jaxprice.envs.market import first_best, observe, sale, same
from jaxprice.envs.options import amount, grid, market, option, periods, whole
from jaxprice.envs.unit_demand import pmf_of
from jaxprice.oracles import single_leg
from jaxprice.types import Problem

FARES = tuple(range(50, 250, 20))
TAIL = 1e-7  # probability of a day's demand beyond the largest


def span(low, name, value):
    """A range `(low, high)` of numbers of at least `low`, or one number for both, as a tuple of floats."""
    ends = np.atleast_1d(checks.number(name, value, low=low)).astype(float)
    if ends.shape not in ((1,), (2,)) or ends[0] > ends[-1]:
        raise ValueError(f"{name} must be a number or a range (low, high), got {value!r}")
    return float(ends[0]), float(ends[-1])


def span_of_frat5(name, value):
    """A range of frat5, which is above one."""
    low, high = span(1.0, name, value)
    if low <= 1:
        raise ValueError(f"{name} must be above 1, at which nobody pays more than the lowest fare, got {value!r}")
    return low, high


@struct.dataclass
class Params:
    """One market.

    Attributes:
      prices: the fares, float `[num_prices]`.
      frat5: fare that half of the customers pay, in units of the lowest fare.
      arrivals: mean number of customers of a flight, over all its days.
      cost: cost of carrying a passenger.
      stock: seats of a flight, at most the environment's `capacity`.
      max_steps_in_episode: horizon, in days.
      tails: probabilities of at least 1, 2, ... customers on a day who would buy at each fare, float
        `[num_prices, largest_demand]`; filled in by `solve`.
      values: worth of the n-th seat with h days to go, float `[days + 1, capacity + 1]`; filled in by `solve`.
    """

    prices: ArrayLike
    frat5: ArrayLike
    arrivals: ArrayLike
    cost: ArrayLike
    stock: ArrayLike
    max_steps_in_episode: ArrayLike
    tails: Any = None
    values: Any = None


@struct.dataclass
class State:
    """State of a season.

    Attributes:
      time: number of days played, int scalar.
      stock: seats left on the flight that is on sale, int scalar.
      optimal: the oracle's expected profit of a day, averaged over the season, float scalar.
    """

    time: jax.Array
    stock: jax.Array
    optimal: jax.Array


@market(
    kind="limited stock",
    what="flights in turn, seats, Poisson customers; buy-up (frat5) drawn anew for every season",
    paper="Gatti Pinheiro, Defoin-Platel and Regin (2022)",
    oracle="finite-horizon DP",
    merit="share of the DP",
)
@dataclasses.dataclass(frozen=True)
class AirlineSeason(Environment):
    """Flights that depart in turn; see the module.

    Observation: share of the season passed, last fare, last sale, share of the seats left, share of the flight's days that
      are left, today included; float `[5]`.
    Action: index of the fare.
    Reward: (fare - cost) * sales.
    Oracle: the best fare for the seats and days left; the value of the season, divided equally among its days (money).

    `problem.bounds` has the ranges of `(frat5, arrivals)`, `problem.details` "days" and "seats" of a flight, and
    `problem.stock` the seats if the season is one flight.

    Attributes:
      capacity: largest number of seats in the oracle's table.
    """

    prices: tuple[float, ...] = option(FARES, "the fares, increasing, the first above zero", grid)
    days: int = option(22, "days on which a flight is sold", whole)
    capacity: int = 50
    frat5_range: tuple[float, float] = option(
        (1.5, 4.3), "range of frat5, known to the seller; drawn markets are uniform on it", span_of_frat5
    )
    arrivals_range: tuple[float, float] = (50.0, 85.0)
    cost: float = option(0.0, "cost of carrying a passenger", amount)
    horizon: int = periods(440)

    tables: ClassVar = ("tails", "values")

    @property
    def longest(self):
        return self.days if self.horizon <= self.days else None

    @property
    def largest_demand(self):
        """Largest number of customers on a day who would buy."""
        mean = self.arrivals_range[1] / self.days
        term, units = math.exp(-mean), 0
        total = term
        while total < 1 - TAIL:
            units += 1
            term *= mean / units
            total += term
        return units + 1

    def check_options(self):
        if self.prices[0] <= 0:
            raise ValueError(f"prices must be above 0, in units of the first of which frat5 is, got {self.prices[0]:g}")
        low, high = span(0.0, "arrivals", self.arrivals_range)
        if low <= 0 or high > 500 * self.days:
            raise ValueError(f"arrivals must be above 0 and at most {500 * self.days}, got {self.arrivals_range}")
        object.__setattr__(self, "arrivals_range", (low, high))
        checks.whole("stock", self.capacity, 1, checks.LARGEST)
        checks.fits(days=self.days + 1, stock=self.capacity + 1)
        checks.fits(stock=self.capacity + 1, demand=self.largest_demand + 1, num_prices=len(self.prices))

    @classmethod
    def make(cls, *, frat5=None, arrivals=None, stock=50, **choices):
        """A market and its params.

        Args:
          frat5: fare that half of the customers pay, in units of the lowest fare; by default the middle of its range.
          arrivals: mean customers of a flight, a number that the seller knows, or the range of drawn markets, of which this
            market has the middle; by default (50, 85).
          stock: seats of a flight.
          **choices: fields of the class.

        Raises:
          ValueError: a frat5 out of its range, bad fares, no seats, no customers.
        """
        if arrivals is not None:
            choices["arrivals_range"] = span(0.0, "arrivals", arrivals)
        env = cls(capacity=checks.whole("stock", stock, 1, checks.LARGEST), **choices)
        frat5 = sum(env.frat5_range) / 2 if frat5 is None else checks.number("frat5", frat5, scalar=True)
        params = env.params_of(frat5, sum(env.arrivals_range) / 2)
        env.check_params(params)
        return env, env.solved(params)

    def params_of(self, frat5, arrivals):
        """Params with the given numbers, not solved yet."""
        return Params(
            prices=np.asarray(self.prices, np.float32),
            frat5=jnp.asarray(frat5, jnp.float32),
            arrivals=jnp.asarray(arrivals, jnp.float32),
            cost=np.float32(self.cost),
            stock=np.int32(self.capacity),
            max_steps_in_episode=np.int32(self.horizon),
        )

    def default_params(self):
        return self.solved(self.params_of(sum(self.frat5_range) / 2, sum(self.arrivals_range) / 2))

    def sample_params(self, key):
        """frat5 and arrivals, uniform on their ranges."""
        u = jax.random.uniform(key, (2,), jnp.float32)
        (low, high), (least, most) = self.frat5_range, self.arrivals_range
        return self.solve(self.params_of(low + u[0] * (high - low), least + u[1] * (most - least)))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.grid(params)
        yield "prices", params.prices[:, 0] > 0, "a lowest fare above 0"
        yield from rules.at_least(params, 0, "cost")
        for name, (low, high) in (("frat5", self.frat5_range), ("arrivals", self.arrivals_range)):
            value, room = getattr(params, name), rules.ROUNDING * high
            yield name, (value >= low - room) & (value <= high + room), f"a {name} in [{low:g}, {high:g}]"
        covered = (params.stock >= 1) & (params.stock <= self.capacity)
        yield "stock", covered, f"a stock in [1, {self.capacity}], the capacity of the oracle's table"

    def solve(self, params):
        pmf = pmf_of(self.mean_demand(params), "poisson", self.largest_demand)
        margins = jnp.asarray(params.prices - params.cost, jnp.float32)
        tails = jnp.cumsum(pmf[:, :0:-1], axis=1)[:, ::-1]
        values = single_leg.bid_prices(margins, tails, self.days, self.capacity)
        return dataclasses.replace(params, tails=tails, values=values)

    def mean_demand(self, params):
        """Mean number of customers on a day who would buy at each fare, float `[num_prices]`."""
        prices = jnp.asarray(params.prices)
        return params.arrivals / self.days * jnp.exp(-math.log(2) * (prices / prices[0] - 1) / (params.frat5 - 1))

    def problem(self, params):
        bounds = np.stack([self.frat5_range, self.arrivals_range], axis=1).astype(np.float32)
        details = {"days": np.int32(self.days), "seats": params.stock}
        one = {"stock": params.stock} if self.horizon <= self.days else {}
        return Problem.of(params, noise="poisson", bounds=bounds, details=details, **one)

    def reset_env(self, key, params):
        del key
        state = State(jnp.int32(0), jnp.asarray(params.stock, jnp.int32), self.season_value(params))
        state = dataclasses.replace(state, optimal=state.optimal / params.max_steps_in_episode)
        return self._see(state, 0.0, 0.0, params), state

    def season_value(self, params):
        """Optimal expected profit of the season: that of its whole flights and of the last one, which may be cut."""
        seats = jnp.arange(self.capacity + 1)
        flights, rest = jnp.divmod(jnp.asarray(params.max_steps_in_episode), self.days)
        values = jnp.sum(jnp.where(seats[None] <= params.stock, jnp.asarray(params.values), 0.0), axis=1)
        return flights * values[self.days] + values[rest]

    def step_env(self, key, state, action, params):
        margins, gains = jnp.asarray(params.prices) - params.cost, self._gains(state, params)
        u = jax.random.uniform(key, (), jnp.float32)
        wanted = jnp.sum(u < jnp.asarray(params.tails)[action], dtype=jnp.int32)  # by inversion
        sold = jnp.minimum(wanted, state.stock)
        best = first_best(gains)
        regret = jnp.where(same(action, best), 0.0, gains[best] - gains[action])
        price, demand = jnp.asarray(params.prices)[action], sold.astype(jnp.float32)
        info = sale(price, demand, margins[action] * demand, regret, state.optimal)
        time = state.time + 1
        left = jnp.where(time % self.days == 0, jnp.asarray(params.stock, jnp.int32), state.stock - sold)
        state = dataclasses.replace(state, time=time, stock=left)
        return self._see(state, price, demand, params), state, info["reward"], jnp.bool_(False), info

    def expected_reward(self, state, action, params):
        sales = single_leg.mean_sales(jnp.asarray(params.tails), state.stock)
        return (jnp.asarray(params.prices)[action] - params.cost) * sales[action]

    def believed(self, observation, params, problem):
        horizon, seats = jnp.asarray(problem.horizon), jnp.asarray(problem.details["seats"])
        time = jnp.round(observation[0] * horizon).astype(jnp.int32)
        left = jnp.round(observation[3] * seats).astype(jnp.int32)
        return State(time, left, jnp.float32(0)), dataclasses.replace(params, stock=seats, max_steps_in_episode=horizon)

    def offer(self, state, action, params):
        """Mean demand without the limit of seats, zero if none is left; today's profit less the worth of the seats sold."""
        mean = self.mean_demand(params)[action]
        return jnp.where(state.stock > 0, mean, 0.0), self._gains(state, params)[action]

    def optimal_reward(self, state, params):
        """The value of the season, divided by the number of its days."""
        return state.optimal

    def optimal_action(self, state, params):
        return first_best(self._gains(state, params))

    def _gains(self, state, params):
        """Expected profit of today at each fare, less the worth of the seats sold, float `[num_prices]`."""
        ends = self.days - state.time % self.days, params.max_steps_in_episode - state.time
        later = jnp.clip(jnp.minimum(*ends) - 1, 0, self.days)
        margins = jnp.asarray(params.prices) - params.cost
        return single_leg.day_gains(margins, jnp.asarray(params.tails), jnp.asarray(params.values)[later], state.stock)

    def _see(self, state, price, demand, params):
        gone = state.time / params.max_steps_in_episode
        ahead = 1 - (state.time % self.days) / self.days
        return observe(gone, price, demand, state.stock / params.stock, ahead)
