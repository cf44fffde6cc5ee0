"""Finite inventory: a stock to sell in a season, one product, no replenishment.

In each of T periods a customer comes with probability `arrival` and buys one unit at price p with probability D(p). Sales
end when the stock is empty, and later demand is lost. A leftover unit has a salvage value s. The optimal expected profit
V_h(n) with h periods to go and n units left satisfies

    V_h(n) = V_{h-1}(n) + g(V_{h-1}(n) - V_{h-1}(n-1)),   g(x) = max_p arrival D(p) (p - cost - x),   V_0(n) = s n,

so a period is the single-product problem whose cost is the marginal value x of a unit. The maximum is over the seller's
actions. With `shut_off` these include selling nothing, so g >= 0. Without it, a seller whose cost is above every price loses
with each sale, and so does the oracle. The regret of a period is the loss of its price, which is never negative,

    g(x) - arrival D(p) (p - cost - x),

and its sum over the season is V_T(N) minus the earnings. The reward of the last period includes salvage. So E sum
optimal_reward = V_T(N) = E sum (reward + regret) for every seller.

Bernoulli periods approximate the continuous-time Poisson market of Gallego and van Ryzin. With rate a(p) per unit of time
and steps dt, `arrival D(p) = a(p) dt`, and V differs from the continuous J* by O(dt) (tested at two step sizes; 0.4 % of J*
with 10 units, lam* t = 10 and 100 steps). Make this market with `arrivals`, the expected number of customers in the season.

Sources: G. Gallego, G. van Ryzin (1994), "Optimal dynamic pricing of inventories with stochastic demand over finite
horizons", doi:10.1287/mnsc.40.8.999; K. J. Ferreira, D. Simchi-Levi, H. Wang (2018), "Online network revenue
management using Thompson sampling", doi:10.1287/opre.2018.1755 (prices 29.90 ... 44.90, demand .8 ... .1: the default).
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice import demand as demand_curves
from jaxprice.environment import Environment
from jaxprice.envs import finite_inventory_tables as season
from jaxprice.envs.finite_inventory_tables import DEFAULT_DEMAND as DEFAULT_DEMAND
from jaxprice.envs.finite_inventory_tables import PRICES
from jaxprice.envs.market import observe, sale, same
from jaxprice.envs.options import amount, grid, market, option, optional, share, switch, whole
from jaxprice.types import Problem


@struct.dataclass
class Params:
    """One market.

    Attributes:
      demand: the curve, or the purchase probability at each price of the grid, float `[num_prices]`.
      prices: the grid, float `[num_prices]`; `[0]` on an interval.
      low, high: lowest and highest price.
      cost: unit cost.
      arrival: probability that a customer comes in a period.
      stock: units at the start, at most the environment's `capacity`.
      salvage: value of a leftover unit.
      values: value of the n-th unit with h periods to go, float `[horizon + 1, capacity + 1]`; filled in by `solve`.
      max_steps_in_episode: horizon.
    """

    demand: Any
    prices: ArrayLike
    low: ArrayLike
    high: ArrayLike
    cost: ArrayLike
    arrival: ArrayLike
    stock: ArrayLike
    salvage: ArrayLike
    values: Any
    max_steps_in_episode: ArrayLike


@struct.dataclass
class State:
    """State of a season.

    Attributes:
      time: number of periods played, int scalar.
      stock: units left, int scalar.
      optimal: the oracle's expected profit of a period, averaged over the season, float scalar.
    """

    time: jax.Array
    stock: jax.Array
    optimal: jax.Array


@market(
    kind="limited stock",
    what="a season's stock, one product, salvage; Gallego and van Ryzin discretised",
    paper="Gallego and van Ryzin (1994); Ferreira, Simchi-Levi and Wang (2018)",
    oracle="finite-horizon DP",
    merit="share of the DP",
)
@dataclasses.dataclass(frozen=True)
class FiniteInventory(Environment):
    """A season with a finite stock; see the module.

    Observation: share of the season passed, last price, last sale, share of the stock left; float `[4]`.
    Action: index of the grid (with `shut_off`, the last index offers nothing), or a price.
    Reward: (price - cost) * sale, plus the salvage value of leftover units in the last period.
    Oracle: the price with the best gain over the marginal value of a unit; the optimal expected profit of the season,
      divided equally among its periods (money).

    Attributes:
      curve: name of the demand curve (`jaxprice.demand.curves()`), or None if `params.demand` is a table.
      capacity: largest stock in the oracle's table.
      horizon: number of periods in the season, the largest that can be simulated.
      form: structure of the curve for random draws, see `Curve.form`.
    """

    curve: str | None = None
    num_prices: int | None = option(
        None,
        "size of an evenly spaced grid on `[low, high]`; with a curve, None: any price in the interval",
        optional(whole),
    )
    capacity: int = 25
    horizon: int = option(100, "periods in the season", whole)
    shut_off: bool = option(
        False, "whether one more action offers nothing; it is listed at a price equal to the cost", switch
    )
    closes: bool = option(
        False, "whether offering nothing is the only action allowed once the stock is empty; needs `shut_off`", switch
    )
    prices: tuple[float, ...] | None = option(
        None, "the grid itself, increasing, `[num_prices]`; instead of `num_prices`, `low` and `high`", optional(grid)
    )
    low: float | None = option(None, "lowest price; by default that of the curve", optional(amount))
    high: float | None = option(None, "highest price; by default that of the curve", optional(amount))
    cost: float = option(0.0, "unit cost", amount)
    arrival: float = option(1.0, "probability that a customer comes in a period", share)
    salvage: float = option(0.0, "value of a unit left at the end, at most the highest price minus the cost", amount)
    form: tuple = ()

    tables: ClassVar = ("values",)

    @property
    def longest(self):
        return self.horizon

    def check_options(self):
        checks.whole("stock", self.capacity, 0, checks.LARGEST)
        checks.fits(stock=self.capacity + 1, horizon=self.horizon + 1)
        if self.curve is None and self.num_prices is None and self.prices is None:
            object.__setattr__(self, "prices", PRICES)
        span = (0.1, 1.0) if self.curve is None else demand_curves.curves()[self.curve].price_range
        if self.prices is not None:
            ends = {"num_prices": len(self.prices), "low": self.prices[0], "high": self.prices[-1]}
        else:
            ends = {"low": span[0] if self.low is None else self.low, "high": span[1] if self.high is None else self.high}
            checks.price_interval(**ends)
            if self.num_prices is None and self.shut_off:
                raise ValueError("shut_off adds an action to a price grid: give prices or num_prices, got neither")
        if self.closes and not self.shut_off:
            raise ValueError("closes needs shut_off=True, the action that offers nothing, got shut_off=False")
        for name, value in ends.items():
            object.__setattr__(self, name, value)
        checks.fits(num_prices=self.num_prices or 1)
        checks.number("salvage", self.salvage, low=0, high=max((self.high or 0.0) - self.cost, 0.0), scalar=True)

    @classmethod
    def make(cls, demand=None, *, stock=None, arrivals=None, **choices):
        """A market and its params.

        Args:
          demand: purchase probability at each price, `[num_prices]`, or the name of a curve, or a curve; by default
            (.8, .6, .3, .1) at the prices 29.90, 34.90, 39.90 and 44.90.
          stock: units at the start; by default a quarter of the horizon.
          arrivals: expected number of customers in the season; it replaces `arrival`.
          **choices: fields of the class.

        Raises:
          ValueError: purchase or arrival probabilities outside [0, 1], bad prices, a negative stock, a salvage value above
            the largest profit of a sale.
        """
        env, demand = season.with_demand(cls, demand, choices)
        stock = max(env.horizon // 4, 1) if stock is None else checks.whole("stock", stock, 0, checks.LARGEST)
        env = dataclasses.replace(env, capacity=stock)
        if arrivals is not None:
            arrivals = checks.number("arrivals", arrivals, low=0, high=env.horizon, scalar=True)
            env = dataclasses.replace(env, arrival=arrivals / env.horizon)
        params = env.params_of(demand)
        env.check_params(params)
        return env, env.solved(params)

    def params_of(self, demand):
        """Params with the given demand, not solved yet, and the prices and the stock of this environment."""
        prices = np.linspace(self.low or 0.0, self.high or 0.0, self.num_prices or 0) if self.prices is None else self.prices
        numbers = {name: np.float32(getattr(self, name)) for name in ("low", "high", "cost", "arrival", "salvage")}
        return Params(
            demand=jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), demand),
            prices=np.asarray(prices, np.float32),
            stock=np.int32(self.capacity),
            values=None,
            max_steps_in_episode=np.int32(self.horizon),
            **numbers,
        )

    def default_params(self):
        return self.solved(self.params_of(season.default_demand(self)))

    def sample_params(self, key):
        """A random curve of the family; with a table, independent uniform purchase probabilities in decreasing order."""
        return self.solve(self.params_of(season.drawn_demand(self, key)))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.at_least(params, 0, "low", "cost", "salvage")
        yield from rules.shares(params, "arrival")
        ends = np.stack([params.low, params.high], axis=1)
        if self.num_prices:
            yield from rules.grid(params)
            ends = params.prices[:, [0, -1]]
        else:
            yield "low high", params.low < params.high, "low below high"
        yield "arrival", params.arrival > 0, "an arrival above 0: nobody ever comes"
        covered = (params.stock >= 0) & (params.stock <= self.capacity)
        yield "stock", covered, f"a stock in [0, {self.capacity}], the capacity of the oracle's table"
        if self.curve is None:
            yield from rules.shares(params, "demand")
            yield "demand", (params.demand > 0).any(axis=1), "demand at some price: nobody buys at any price"
        else:
            yield from demand_curves.falls(params.demand, ends, buyers=params.arrival)

    def solve(self, params):
        return season.filled(self, params)

    def season_value(self, params):
        """Optimal expected profit of the season, V_T(N), float scalar."""
        return season.season_value(self, params)

    def problem(self, params):
        prices = jnp.append(jnp.asarray(params.prices), params.cost) if self.shut_off else params.prices
        return Problem.of(params, prices=prices, stock=params.stock, details={"salvage": params.salvage})

    def reset_env(self, key, params):
        del key
        stock = jnp.asarray(params.stock, jnp.int32)
        state = State(jnp.int32(0), stock, self.season_value(params) / params.max_steps_in_episode)
        return self._see(state, 0.0, 0.0, params), state

    def step_env(self, key, state, action, params):
        price, mean = season.offer(self, state, action, params)
        sold = jax.random.uniform(key, dtype=jnp.float32) < mean
        demand, left = sold.astype(jnp.float32), state.stock - sold.astype(jnp.int32)
        reward = (price - params.cost) * demand + self._salvage(state, left, params)
        worth = season.worth(self, state, params)
        best = season.best(self, state, worth, params)
        price_best, mean_best = season.offer(self, state, best, params)
        gap = mean_best * (price_best - params.cost - worth) - mean * (price - params.cost - worth)
        regret = jnp.where(same(action, best), 0.0, gap)
        info = sale(price, demand, reward, regret, state.optimal)
        state = dataclasses.replace(state, time=state.time + 1, stock=left)
        return self._see(state, price, demand, params), state, info["reward"], jnp.bool_(False), info

    def expected_reward(self, state, action, params):
        price, mean = season.offer(self, state, action, params)
        return (price - params.cost) * mean + self._salvage(state, state.stock - mean, params)

    def allowed(self, state, params):
        if not self.closes:
            return None
        return (state.stock > 0) | (jnp.arange((self.num_prices or 0) + 1) == self.num_prices)

    def believed(self, observation, params, problem):
        horizon, stock = jnp.asarray(problem.horizon), jnp.asarray(problem.stock)
        time = jnp.round(observation[0] * horizon).astype(jnp.int32)
        left = jnp.round(observation[3] * stock).astype(jnp.int32)
        return State(time, left, jnp.float32(0)), dataclasses.replace(params, stock=stock, max_steps_in_episode=horizon)

    def offer(self, state, action, params):
        price, mean = season.offer(self, state, action, params)
        return mean, mean * (price - params.cost - season.worth(self, state, params))

    def optimal_reward(self, state, params):
        """The value of the season, V_T(N), divided by the number of its periods."""
        return state.optimal

    def optimal_action(self, state, params):
        return season.best(self, state, season.worth(self, state, params), params)

    def _salvage(self, state, left, params):
        return jnp.where(state.time + 1 >= params.max_steps_in_episode, params.salvage * left, 0.0)

    def _see(self, state, price, demand, params):
        gone = state.time / params.max_steps_in_episode
        return observe(gone, price, demand, state.stock / jnp.maximum(params.stock, 1))
