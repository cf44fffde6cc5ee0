"""Pricing and replenishment: in every period the seller posts a price and orders stock, which arrives at once.

At inventory x the seller chooses a price k and an order-up-to level y', and then has y = max(x, y') units. Demand D with pmf
f_k follows. With room for B units of backlog (B = 0: lost sales), and negative x for a backlog,

    sold = min(D, y + B),   x' = max(y - D, -B),
    reward = price sold - cost (y - x) - fixed 1{y > x} - holding (y - D)^+ - shortage (D - y)^+.

A backlogged unit pays at once and counts as short in every period until it is filled. Demand beyond the backlog is lost and
counts as short once. The levels are all inventories -B, ..., M, so the lowest level never orders. Demand is Poisson, with
the tail beyond `largest_demand` assigned to that number, or binomial with `largest_demand` customers, or a table.

Criterion: the long-run average reward (see `planning`), by exact relative value iteration on the inventories. With a backlog
of at least the largest demand and no fixed cost the oracle is the myopic base-stock level and price of
`jaxprice.oracles.replenishment`. With a fixed cost it is of the form (s, S, p).

Sources: A. Federgruen, A. Heching (1999), "Combined pricing and inventory control under uncertainty",
doi:10.1287/opre.47.3.454; X. Chen, D. Simchi-Levi (2004), "Coordinating inventory control and pricing strategies with random
demand and fixed ordering cost", doi:10.1287/opre.1040.0127.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, random, rules
from jaxprice.envs import replenishment_tables
from jaxprice.envs.market import observe, sale
from jaxprice.envs.options import amount, grid, market, option, periods, whole
from jaxprice.envs.planning import LongRunMarket, checked
from jaxprice.envs.unit_demand import LAWS, pmf_of, table_of
from jaxprice.types import Problem

PRICES = (4.0, 5.0, 6.0, 7.0, 8.0)
COSTS = {"cost": 0.5, "fixed": 1.25, "holding": 0.125, "shortage": 1.0}  # defaults, in units of the lowest price


@struct.dataclass
class Params:
    """One market.

    Attributes:
      prices: the grid, float `[num_prices]`.
      pmf: probabilities of demands at each price, float `[num_prices, largest_demand + 1]`.
      cost: cost of ordering a unit.
      fixed: fixed cost of an order.
      holding: cost of a unit left after a period.
      shortage: cost of a unit short in a period.
      stock: inventory at the start, int.
      max_steps_in_episode: horizon.
      worth: bias of each inventory, float `[S]`; `solve` fills in this and the following fields.
      regrets: regret of each action at each inventory, float `[S, A]`.
      best: the best action at each inventory, int `[S]`.
      value: average reward of the oracle.
    """

    prices: ArrayLike
    pmf: ArrayLike
    cost: ArrayLike
    fixed: ArrayLike
    holding: ArrayLike
    shortage: ArrayLike
    stock: ArrayLike
    max_steps_in_episode: ArrayLike
    worth: Any = None
    regrets: Any = None
    best: Any = None
    value: Any = None


@struct.dataclass
class State:
    """Number of periods played, and the inventory, negative for a backlog; int scalars."""

    time: jax.Array
    stock: jax.Array


@market(
    kind="memory",
    what="prices and orders; lost sales or backlog",
    paper="Federgruen and Heching (1999)",
    oracle="long-run average DP",
)
@dataclasses.dataclass(frozen=True)
class Replenishment(LongRunMarket):
    """Joint pricing and replenishment; see the module.

    Observation: share of the horizon passed, last price, last sale, inventory / largest; float `[4]`.
    Action: `price * num_levels + level`, with the index of the price and that of the order-up-to level.
    Reward: as in the module. `problem.prices` is the price of each action; `problem.details`: "levels" of each action,
      "fixed", "holding", "shortage".
    Oracle: the best price and level for the inventory of the period; the long-run average profit of a period (money).

    Attributes:
      num_prices: size of the price grid.
      largest: largest inventory M.
      largest_backlog: B; 0 for lost sales.
      largest_demand: largest demand of a period, in units.
      law: "poisson", "binomial" or "table" (randomly drawn markets are then binomial).
    """

    tables: ClassVar = ("worth", "regrets", "best", "value")
    num_prices: int = 5
    largest: int = 20
    largest_backlog: int = 0
    largest_demand: int = 20
    law: str = "poisson"
    prices: tuple[float, ...] = option(PRICES, "the grid, increasing", grid)
    stock: int = option(0, "inventory at the start; negative for a backlog", checks.whole)
    horizon: int = periods()

    def check_options(self):
        checks.whole("stock", self.stock, -self.largest_backlog, self.largest)
        checks.fits(num_prices=self.num_prices, largest_demand=self.largest_demand + 1, levels=self.num_levels)
        checks.fits(num_prices=self.num_prices, largest=self.largest, levels=self.num_levels)

    @classmethod
    def make(
        cls,
        demand=None,
        *,
        prices=None,
        law="poisson",
        largest_demand=None,
        largest=None,
        backlog=False,
        largest_backlog=None,
        cost=None,
        fixed=None,
        holding=None,
        shortage=None,
        **choices,
    ):
        """A market and its params.

        Args:
          demand: mean demand at each price, `[num_prices]`, or its probabilities, `[num_prices, largest_demand + 1]`; by
            default means from 9 / 20 to 3 / 20 of the largest demand.
          prices: the grid, increasing; by default 4, 5, 6, 7, 8.
          law: distribution of demand with given means, "poisson" or "binomial".
          largest_demand: largest demand of a period; by default 20, or that of the table.
          largest: largest inventory; by default the largest demand.
          backlog: whether unmet demand waits; otherwise it is lost.
          largest_backlog: largest number of waiting units; by default the largest demand.
          cost: cost of an ordered unit; by default half the lowest price.
          fixed: cost of an order; by default 5/4 of the lowest price.
          holding: cost of a leftover unit; by default 1/8 of the lowest price.
          shortage: cost of a unit short; by default the lowest price.
          **choices: fields of the class.

        Raises:
          ValueError: unknown laws, wrong shapes, negative numbers, rows that are not distributions, a mean above the largest
            demand.
        """
        checks.choice("law", law, LAWS)
        prices = grid("prices", PRICES if prices is None else prices)
        law, table = (
            (law, None)
            if demand is None or np.ndim(demand) < 2
            else ("table", table_of(demand, len(prices), largest_demand))
        )
        largest_demand = 20 if largest_demand is None and table is None else largest_demand
        largest_demand = whole("largest_demand", largest_demand) if table is None else table.shape[1] - 1
        if largest_backlog is not None and not checks.boolean("backlog", backlog):
            raise ValueError(f"largest_backlog needs backlog=True, got {largest_backlog}")
        room = whole("largest_backlog", largest_demand if largest_backlog is None else largest_backlog)
        env = cls(
            num_prices=len(prices),
            largest=whole("largest", largest_demand if largest is None else largest),
            largest_backlog=room if checks.boolean("backlog", backlog) else 0,
            largest_demand=largest_demand,
            law=law,
            prices=prices,
            **choices,
        )
        costs = {name: share * prices[0] for name, share in COSTS.items()}
        told = {"cost": cost, "fixed": fixed, "holding": holding, "shortage": shortage}
        costs |= {name: amount(name, value) for name, value in told.items() if value is not None}
        if table is None:
            means = checks.array(
                "demand", env.default_means() if demand is None else demand, (len(prices),), low=0, high=largest_demand
            )
            table = jax.jit(pmf_of, static_argnums=(1, 2))(means, law, largest_demand)
        return env, checked(env, env.params_of(table, **costs))

    @property
    def num_levels(self):
        """Number of inventories, and of order-up-to levels."""
        return self.largest_backlog + self.largest + 1

    @property
    def levels(self):
        """Inventories, int `[num_levels]`."""
        return np.arange(-self.largest_backlog, self.largest + 1)

    def params_of(self, pmf, cost, fixed, holding, shortage):
        """Params, not solved yet, with the given numbers."""
        prices, pmf, cost, fixed, holding, shortage = (
            jnp.asarray(x, jnp.float32) for x in (self.prices, pmf, cost, fixed, holding, shortage)
        )
        return Params(prices, pmf, cost, fixed, holding, shortage, jnp.int32(self.stock), jnp.int32(self.horizon))

    def default_params(self):
        """Mean demand from 9 / 20 of the largest at the lowest price to 3 / 20 at the highest."""
        pmf = pmf_of(self.default_means(), self.law, self.largest_demand)
        low = self.prices[0]
        return self.solved(self.params_of(pmf, low / 2, 1.25 * low, low / 8, low))

    def default_means(self):
        """Mean demand at each price of the default market, float `[num_prices]`."""
        low, high = self.prices[0], self.prices[-1]
        return self.largest_demand * (0.45 - 0.3 * (np.array(self.prices) - low) / ((high - low) or 1.0))

    def sample_params(self, key):
        """Linear mean demand from U[.4, .5] of the largest at the lowest price to U[.1, .3] at the highest. In units of the
        lowest price: cost U[.3, .7], fixed cost U[0, 2], holding U[.05, .25], shortage U[.5, 1.5]."""
        u, low, high = jax.random.uniform(key, (6,), jnp.float32), self.prices[0], self.prices[-1]
        share = (np.array(self.prices, np.float32) - low) / ((high - low) or 1.0)
        top, end = 0.4 + 0.1 * u[0], 0.1 + 0.2 * u[1]
        pmf = pmf_of(self.largest_demand * (top - (top - end) * share), self.law, self.largest_demand)
        costs = 0.3 + 0.4 * u[2], 2 * u[3], 0.05 + 0.2 * u[4], 0.5 + u[5]
        return self.solve(self.params_of(pmf, *(low * cost for cost in costs)))

    def solve(self, params):
        return replenishment_tables.filled(self, params)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.grid(params)
        yield from rules.distributions(params, "pmf")
        yield from rules.at_least(params, 0, "cost", "fixed", "holding", "shortage")
        room = (params.stock >= -self.largest_backlog) & (params.stock <= self.largest)
        yield "stock", room, f"a stock in [{-self.largest_backlog}, {self.largest}], which the oracle's table covers"
        yield "pmf", params.pmf[:, :, 1:].sum(axis=(1, 2)) > rules.ROUNDING, "demand at some price: nobody buys at any price"

    def problem(self, params):
        prices, levels = jnp.asarray(params.prices), jnp.asarray(self.levels)
        costs = {name: getattr(params, name) for name in ("fixed", "holding", "shortage")}
        sales = {"noise": "poisson"} if self.law == "poisson" else {"noise": "bernoulli", "buyers": self.largest_demand}
        return Problem.of(
            params,
            prices=jnp.repeat(prices, self.num_levels),
            details={"levels": jnp.tile(levels, self.num_prices), **costs},
            **sales,
        )

    def reset_env(self, key, params):
        del key
        state = State(jnp.int32(0), jnp.asarray(params.stock, jnp.int32))
        return self._see(state, 0.0, 0.0, params), state

    def step_env(self, key, state, action, params):
        k, have = replenishment_tables.chosen(self, state, action)
        demand = random.choose(jax.random.uniform(key, (), jnp.float32), jnp.asarray(params.pmf)[k])
        reward = replenishment_tables.period(self, have, demand, params, k) - replenishment_tables.paid(state, have, params)
        sold, left = jnp.minimum(demand, have + self.largest_backlog), jnp.maximum(have - demand, -self.largest_backlog)
        num_actions = self.num_prices * self.num_levels
        regret = jnp.ravel(params.regrets)[(state.stock + self.largest_backlog) * num_actions + action]
        price = jnp.asarray(params.prices)[k]
        info = sale(price, sold, reward, regret, params.value, ordered=have - state.stock, stock=left)
        state = State(state.time + 1, left)
        return self._see(state, price, sold, params), state, info["reward"], jnp.bool_(False), info

    def expected_reward(self, state, action, params):
        k, have = replenishment_tables.chosen(self, state, action)
        rewards = replenishment_tables.period(self, have, jnp.arange(self.largest_demand + 1), params, k)
        return jnp.sum(rewards * jnp.asarray(params.pmf)[k]) - replenishment_tables.paid(state, have, params)

    def optimal_action(self, state, params):
        return jnp.asarray(params.best)[state.stock + self.largest_backlog]

    def _see(self, state, price, demand, params):
        gone = state.time / params.max_steps_in_episode
        return observe(gone, price, demand, state.stock / self.largest)
