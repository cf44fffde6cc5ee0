"""A shop and its customers: prices and offers earn profit today, and lead to loyalty or to a price war tomorrow.

In each period one customer comes. It has a type t (age band x income band x browsing state, independent draws with known
probabilities). The season is in phase f (a fixed cycle, whose last phase is a promotion), the competitor has price level c,
and the shop has loyalty level l. An action is a list price, an offer, and optionally a product to show and its prominence.
`jaxprice.envs.customers` describes the response: the customer buys here, elsewhere or nothing, and is satisfied or not. A
satisfied customer raises the loyalty level with probability `rise`; an unsatisfied one lowers it with probability `fall`.
The competitor moves one level towards our list price with probability `reaction`, and up or down by itself with probability
`drift` / 2 each.

The reward is a weighted sum of five components: "profit", "conversion", "order_value", "market_share" and "satisfaction".
All have finite support, so expectations are exact sums.

Criterion: the long-run average reward (see `planning`). Types are independent over time, so the bias is a function of (f, c,
l) only, w(s) = E_t max_a Q(s, t, a) - g. Relative value iteration is exact, and its damping handles the periodic seasons.
There is no published setting: the numbers are ours, in units of the lowest price.
"""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, random, rules
from jaxprice.envs import storefront_tables as tables
from jaxprice.envs.customers import (
    COMPONENTS,
    OFFERS,
    Params,
    choices,
    components,
    default_customers,
    means,
    offers_of,
    weighting_of,
    weights_of,
)
from jaxprice.envs.market import observe, sale
from jaxprice.envs.options import amount, market, option, periods, share, whole
from jaxprice.envs.planning import LongRunMarket, checked
from jaxprice.types import Problem

SMALL, MEDIUM = (1, 2, 1, 2, 2, 2), (3, 2, 2, 4, 3, 3)  # ages, incomes, browsings, phases, competitor and loyalty levels


@struct.dataclass
class State:
    """Number of periods played, competitor level, loyalty level, and type of the present customer; int scalars."""

    time: jax.Array
    competitor: jax.Array
    loyalty: jax.Array
    customer: jax.Array


@market(
    kind="memory",
    what="customer types, season, loyalty, a competitor; price x offer x product x exposure; five reward components",
    paper="ours",
    oracle="long-run average DP; Pareto front",
    merit="weighted reward, components",
)
@dataclasses.dataclass(frozen=True)
class Storefront(LongRunMarket):
    """A shop and its customers; see the module.

    Observation: share of the horizon passed, last unit price paid (the list price if none), last units, phase (one-hot),
      competitor and loyalty level in [0, 1], and the context: age, income and browsing state (one-hot each).
    Action: `((price * offers + offer) * num_products + product) * num_exposures + exposure`.
    Reward: weighted sum of components; `info["components"]` has them, float `[5]`. `problem.prices` is the list price of
      each action. `problem.details` has its "offer" (index of `OFFERS`), "product" and "exposure"; the terms of offers;
      "competitor_prices" and "weights".
    Oracle: the best action for the customer and the state of the shop; the long-run average reward of a period.

    Attributes:
      sizes: numbers of ages, incomes, browsing states, phases, competitor levels, loyalty levels.
      units: largest order U.
    """

    tables: ClassVar = ("worth", "regrets", "best", "value")
    sizes: tuple[int, ...] = MEDIUM
    num_prices: int = option(4, "list prices, evenly spaced on `[low, high]`", whole)
    offers: tuple[str, ...] = option(OFFERS, "names of the offers that may be made, all different", offers_of)
    num_products: int = option(1, "number of products that can be shown", whole)
    num_exposures: int = option(1, "number of exposure levels 0, 1, ...", whole)
    units: int = 3
    low: float = option(1.0, "lowest price, above 0; tastes scale with it", amount)
    high: float = option(2.0, "highest price", amount)
    cost: float = option(0.5, "unit cost", amount)
    reaction: float = option(0.4, "probability that the competitor follows our price", share)
    drift: float = option(0.1, "probability that the competitor moves by itself", share)
    rise: float = option(0.3, "probability that loyalty rises after satisfaction", share)
    fall: float = option(0.2, "probability that loyalty falls without satisfaction", share)
    weights: tuple[float, ...] = option(
        (0.6, 0.1, 0.1, 0.1, 0.1), "weights of profit, conversion, order value, market share and satisfaction", weighting_of
    )
    horizon: int = periods()

    def check_options(self):
        checks.price_interval(self.low, self.high, self.cost)
        if self.low <= 0:
            raise ValueError(f"low must be positive, got {self.low:g}")
        if self.reaction + self.drift > 1:
            raise ValueError(f"reaction and drift must sum to at most 1, got {self.reaction} and {self.drift}")
        sizes = {name: getattr(self, name) for name in ("num_prices", "num_products", "num_exposures")}
        checks.fits(**sizes, offers=len(self.offers), cells=math.prod(self.sizes), outcomes=10)

    @classmethod
    def make(cls, size="medium", *, num_prices=None, **choices):
        """A shop and its customers, and params.

        Args:
          size: "medium" (12 types, 4 phases, 3 competitor and 3 loyalty levels) or "small" (2 of each).
          num_prices: number of list prices, evenly spaced on `[low, high]`; by default 4, or 2 if small.
          **choices: fields of the class.

        Raises:
          ValueError: unknown names, sizes or probabilities out of range, weights that are negative or do not sum to one.
        """
        small = checks.choice("size", size, ("medium", "small")) == "small"
        num_prices = (2 if small else 4) if num_prices is None else num_prices
        env = cls(sizes=SMALL if small else MEDIUM, num_prices=num_prices, **choices)
        return env, checked(env, env.params_of(lambda shape: jnp.zeros(shape)))

    @property
    def num_types(self):
        """Number of customer types."""
        return int(np.prod(self.sizes[:3]))

    @property
    def num_actions(self):
        """Number of actions."""
        return self.num_prices * len(self.offers) * self.num_products * self.num_exposures

    def default_params(self):
        return self.solved(self.params_of(lambda shape: jnp.zeros(shape)))

    def sample_params(self, key):
        """The default market with normally distributed deviations of tastes, types and seasons."""
        ages, incomes, browsings, phases = self.sizes[:4]
        count = self.num_types * (1 + self.num_products) + 2 * (ages + browsings) + incomes + phases + 4
        normals, taken = jax.random.normal(key, (count,), jnp.float32), 0

        def deviation(shape):
            nonlocal taken
            taken += math.prod(shape)
            return normals[taken - math.prod(shape) : taken].reshape(shape)

        return self.solve(self.params_of(deviation))

    def params_of(self, deviation):
        """Params, not solved yet; `deviation(shape)` gives deviations from the defaults in standard deviations."""
        prices = np.linspace(self.low, self.high, self.num_prices)
        competitor_prices = np.linspace(self.low, self.high, self.sizes[4])
        numbers = default_customers(deviation, self.sizes, self.units, self.num_products, self.low)
        numbers |= {name: np.array(getattr(self, name)) for name in ("cost", "rise", "fall", "weights")}
        params = Params(
            prices=prices,
            competitor_prices=competitor_prices,
            competition=self.competition_of(prices, competitor_prices),
            max_steps_in_episode=0,
            **numbers,
        )
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
        return dataclasses.replace(params, max_steps_in_episode=np.int32(self.horizon))

    def competition_of(self, prices, competitor_prices):
        """Distribution of the competitor's next level, float32 `[C, K, C]`, NumPy."""
        levels = np.arange(len(competitor_prices))
        target = np.argmin(np.abs(competitor_prices[None] - prices[:, None]), axis=1)
        towards = np.sign(target[None] - levels[:, None])  # [C, K]
        law = np.zeros((len(levels), len(prices), len(levels)))
        for step in (-1, 0, 1):
            chance = self.reaction * (towards == step)
            chance = chance + (self.drift / 2 if step else 1 - self.reaction - self.drift)
            np.put_along_axis(after := np.zeros_like(law), np.clip(levels + step, 0, levels[-1])[:, None, None], 1.0, axis=2)
            law += chance[..., None] * after
        return law.astype(np.float32)

    def solve(self, params):
        return tables.filled(self, params, tables.components_of(self, params))

    def pareto_front(self, params, weights):
        """Long-run average of each component under the policies that are optimal for weighted sums of the components.

        With positive weights every row is Pareto optimal; a zero weight gives only weak optimality.

        Args:
          params: one market.
          weights: float `[W, 5]`, nonnegative, with rows that sum to one.

        Returns:
          gains: float `[W, 5]`.
          policies: action for each (phase, competitor, loyalty) and type, int `[W, S, T]`.

        Raises:
          ValueError: bad weights.
        """
        return tables.pareto_front(self, params, jnp.asarray(weights_of(weights, (None, len(COMPONENTS)))))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.grid(params)
        yield from rules.distributions(params, "types", "competition", "weights")
        yield from rules.shares(params, "redemption", "aside", "rise", "fall", "discount")
        money = "cost", "competitor_prices", "coupon", "saving", "threshold", "exposure_cost"
        yield from rules.at_least(params, 0, "sensitivity", *money)

    def problem(self, params):
        price, offer, product, exposure = self.parts(jnp.arange(self.num_actions))
        terms = ("discount", "coupon", "saving", "threshold", "exposure_cost", "competitor_prices", "weights")
        return Problem.of(
            params,
            prices=jnp.asarray(params.prices)[price],
            details={"offer": offer, "product": product, "exposure": exposure}
            | {name: getattr(params, name) for name in terms},
            buyers=self.units,
            context_size=sum(self.sizes[:3]),
        )

    def reset_env(self, key, params):
        customer = self._customer(jax.random.uniform(key, (), jnp.float32), params)
        competitor, loyalty = (jnp.int32(size // 2) for size in self.sizes[4:])
        state = State(jnp.int32(0), competitor, loyalty, customer)
        return self._see(state, 0.0, 0.0, params), state

    def step_env(self, key, state, action, params):
        parts = self.parts(action)
        price = jnp.asarray(params.prices)[parts[0]]
        u = jax.random.uniform(key, (6,), jnp.float32)
        redeems = u[0] < jnp.asarray(params.redemption)[state.customer]
        chances, paid = choices(*self._cell(state), *parts, redeems, params)
        bought = random.choose(u[1], chances)
        outcome = components(bought, paid[jnp.maximum(bought - 2, 0)], state.competitor, state.customer, parts[3], params)
        satisfied = (u[2] < outcome[4]).astype(jnp.float32)
        outcome = jnp.append(outcome[:4], satisfied)
        reward = jnp.sum(outcome * jnp.asarray(params.weights))
        units, paid = jnp.maximum(bought - 1, 0).astype(jnp.float32), outcome[2]
        index = self._row(state) * self.num_types + state.customer
        regret = jnp.ravel(params.regrets)[index * self.num_actions + action]
        info = sale(price, units, reward, regret, params.value, components=outcome)
        step = jnp.where(satisfied > 0, (u[3] < params.rise).astype(jnp.int32), -(u[3] < params.fall).astype(jnp.int32))
        law = jnp.asarray(params.competition).reshape(-1, self.sizes[4])
        competitor = random.choose(u[4], law[state.competitor * self.num_prices + parts[0]])
        loyalty = jnp.clip(state.loyalty + step, 0, self.sizes[5] - 1)
        state = State(state.time + 1, competitor, loyalty, self._customer(u[5], params))
        unit_price = jnp.where(units > 0, paid / jnp.maximum(units, 1.0), price)
        return self._see(state, unit_price, units, params), state, info["reward"], jnp.bool_(False), info

    def expected_components(self, state, action, params):
        """Means of the components of a period, float `[5]`."""
        return means(*self._cell(state), *self.parts(action), params)

    def expected_reward(self, state, action, params):
        return jnp.sum(self.expected_components(state, action, params) * jnp.asarray(params.weights))

    def optimal_action(self, state, params):
        return jnp.ravel(params.best)[self._row(state) * self.num_types + state.customer]

    def _customer(self, u, params):
        """The type selected by a uniform number, int scalar."""
        return jnp.sum(u >= jnp.cumsum(jnp.asarray(params.types))[:-1], dtype=jnp.int32)

    def _cell(self, state) -> tuple[Any, Any, Any, Any]:
        """Phase, competitor level, loyalty level and type."""
        return state.time % self.sizes[3], state.competitor, state.loyalty, state.customer

    def _row(self, state):
        """Index of (phase, competitor, loyalty)."""
        phase, competitor, loyalty, _ = self._cell(state)
        return (phase * self.sizes[4] + competitor) * self.sizes[5] + loyalty

    def parts(self, action) -> tuple[Any, Any, Any, Any]:
        """Index of the price, of `OFFERS`, of the product and of the exposure."""
        shape = (self.num_prices, len(self.offers), self.num_products, self.num_exposures)
        price, offer, product, exposure = np.unravel_index(np.arange(self.num_actions), shape)
        codes = np.array([OFFERS.index(name) for name in self.offers])
        table = np.stack([price, codes[offer], product, exposure]).astype(np.int32)
        return tuple(jnp.asarray(table)[:, action])

    def _see(self, state, price, demand, params):
        _, _, _, phases, levels, loyalties = self.sizes
        gone = state.time / params.max_steps_in_episode
        place = state.competitor / max(levels - 1, 1), state.loyalty / max(loyalties - 1, 1)
        kinds = np.unravel_index(np.arange(self.num_types), self.sizes[:3])  # age, income and browsing state of each type
        ones = [np.eye(size, dtype=np.float32)[kind] for size, kind in zip(self.sizes[:3], kinds, strict=True)]
        context = jnp.asarray(np.concatenate(ones, axis=1))[state.customer]
        return observe(gone, price, demand, np.arange(phases) == state.time % phases, *place, context)
