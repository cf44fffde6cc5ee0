"""A shop and its customers: prices and offers that make profit today and loyalty, or a price war, tomorrow.

Each period a customer comes, of a type t (age band x income band x browsing state, independent draws with known
probabilities), in a season's phase f (a fixed cycle; its last phase is a promotion), with a competitor at price level c and
the shop at loyalty level l. An action is a list price, an offer, and optionally a product to show and how prominently. What
customers then do is told in `jaxprice.envs.customers`: they buy here or elsewhere or nothing, and are satisfied or not.
Satisfied, a customer raises the loyalty level with probability `rise`; not, lowers it with probability `fall`. The
competitor moves a level towards our list price with probability `reaction`, and up or down by itself with probability
`drift` / 2 each.

Rewards have five components, and the reward is their weighted sum: "profit", "conversion", "order_value", "market_share" and
"satisfaction". All have finite support, so expectations are exact sums.

Criterion: the long-run average reward (see `planning`). Types are independent over time, so the bias is a function of
(f, c, l) only, w(s) = E_t max_a Q(s, t, a) - g; relative value iteration is exact, and the damping takes care of seasons.
No published setting: the numbers are ours, in units of the lowest price.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, devices, random, rules
from jaxprice.envs.customers import COMPONENTS, OFFERS, Params, choices, components, means, usual
from jaxprice.envs.market import observe, sale
from jaxprice.envs.planning import LongRunMarket, checked, long_run
from jaxprice.oracles import dynamic_programming
from jaxprice.types import Problem

SMALL, MEDIUM = (1, 2, 1, 2, 2, 2), (3, 2, 2, 4, 3, 3)  # ages, incomes, browsings, phases, competitor and loyalty levels


@struct.dataclass
class State:
    """Periods played, competitor level, loyalty level, and type of the customer who is here; int scalars."""

    time: jax.Array
    competitor: jax.Array
    loyalty: jax.Array
    customer: jax.Array


@dataclasses.dataclass(frozen=True)
class Storefront(LongRunMarket):
    """A shop and its customers; see the module.

    Observation: share of the horizon gone, last unit price paid (the list price if none), last units, phase (one-hot),
      competitor and loyalty level in [0, 1], and the context: age, income and browsing state (one-hot each).
    Action: `((price * offers + offer) * num_products + product) * num_exposures + exposure`.
    Reward: weighted sum of components; `info["components"]` has them, float `[5]`. `problem.prices` is the list price of
      each action, and `problem.details` has its "offer" (index of `OFFERS`), "product" and "exposure"; the terms of
      offers; "competitor_prices" and "weights".
    Oracle: the best action for the customer and the state of the shop; the long-run average reward of a period.

    Attributes:
      sizes: numbers of ages, incomes, browsing states, phases, competitor levels, loyalty levels.
      num_prices: list prices, evenly spaced on `[low, high]`.
      offers: names out of `OFFERS`.
      num_products, num_exposures: products to show, and exposure levels 0, 1, ...
      units: largest order U.
      low, high, cost, reaction, drift, rise, fall, weights, horizon: of every market drawn.
    """

    tables: ClassVar = ("worth", "regrets", "best", "value")
    sizes: tuple[int, ...] = MEDIUM
    num_prices: int = 4
    offers: tuple[str, ...] = OFFERS
    num_products: int = 1
    num_exposures: int = 1
    units: int = 3
    low: float = 1.0
    high: float = 2.0
    cost: float = 0.5
    reaction: float = 0.4
    drift: float = 0.1
    rise: float = 0.3
    fall: float = 0.2
    weights: tuple[float, ...] = (0.6, 0.1, 0.1, 0.1, 0.1)
    horizon: int = 1000

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
        """The default market with normal deviations of tastes, types and seasons."""
        ages, incomes, browsings, phases = self.sizes[:4]
        count = self.num_types * (1 + self.num_products) + 2 * (ages + browsings) + incomes + phases + 4
        normals, taken = jax.random.normal(key, (count,), jnp.float32), 0

        def deviation(shape):
            nonlocal taken
            taken += math.prod(shape)
            return normals[taken - math.prod(shape) : taken].reshape(shape)

        return self.solve(self.params_of(deviation))

    def params_of(self, deviation):
        """Params, not solved yet; `deviation(shape)`: by how many standard deviations numbers differ from the usual ones."""
        prices = np.linspace(self.low, self.high, self.num_prices)
        competitor_prices = np.linspace(self.low, self.high, self.sizes[4])
        numbers = usual(deviation, self.sizes, self.units, self.num_products, self.low)
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
        """Law of the competitor's next level, float32 `[C, K, C]`, NumPy."""
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
        return self._filled(params, self._table(params))

    def pareto_front(self, params, weights):
        """Long-run average of each component under the policies that are optimal for weighted sums of them.

        With positive weights every row is Pareto optimal; a zero weight gives weak optimality only.

        Args:
          params: one market.
          weights: float `[W, 5]`, not negative, rows summing to one.

        Returns:
          gains: float `[W, 5]`.
          policies: action for each (phase, competitor, loyalty) and type, int `[W, S, T]`.

        Raises:
          ValueError: bad weights.
        """
        weights = jnp.asarray(_check_weights(weights, (None, len(COMPONENTS))))
        table = self._table(params)
        states, customers = np.indices(table.shape[:2])

        def one(weight):
            best = self._filled(dataclasses.replace(params, weights=weight), table).best
            seen = table[states, customers, best]
            rewards = jnp.einsum("t,sti->si", params.types, seen, precision="highest")
            return dynamic_programming.policy_gain(rewards, self._chain(params, best, seen[..., 4])), best

        return jax.vmap(one)(weights)

    def _chain(self, params, best, content):
        """Transition matrix `[S, S]` of a policy `[S, T]`, with the probabilities of satisfaction `[S, T]`."""
        _, _, _, phases, levels, loyalties = self.sizes
        shape = (phases, levels, loyalties, self.num_types)
        best, content, row = best.reshape(shape), content.reshape(shape), np.arange(loyalties)
        up, down = params.rise * content, params.fall * (1 - content)
        changes = (
            chance[..., None] * np.eye(loyalties)[np.clip(row + step, 0, loyalties - 1)][None, None, :, None]
            for step, chance in ((1, up), (-1, down), (0, 1 - up - down))
        )
        price = best // (self.num_actions // self.num_prices)
        moves = jnp.asarray(params.competition)[np.arange(levels)[None, :, None, None], price]  # [f, c, l, t, c']
        season = np.roll(np.eye(phases), 1, axis=1)
        terms = season, params.types, moves, sum(changes)
        joint = jnp.einsum("fg,t,fcltd,fcltm->fclgdm", *terms, precision="highest")
        return joint.reshape(phases * levels * loyalties, -1)

    def _table(self, params):
        """Mean components, `[S, T, A, 5]`."""
        shape = (*self.sizes[3:], self.num_types, self.num_actions)
        cells = (jnp.ravel(x) for x in np.indices(shape))
        table = jax.vmap(lambda *cell: means(*cell[:-1], *self._parts(cell[-1]), params))(*cells)
        return table.reshape(-1, self.num_types, self.num_actions, len(COMPONENTS))

    def _filled(self, params, components):
        """Params with the oracle's tables, from mean components `[S, T, A, 5]`."""
        _, _, _, phases, levels, loyalties = self.sizes
        shape = (phases, levels, loyalties, self.num_types, self.num_prices, self.num_actions // self.num_prices)
        reward = jnp.einsum("stai,i->sta", components, params.weights, precision="highest").reshape(shape)
        content = components[..., 4].reshape(shape)
        rise, fall = params.rise * content, params.fall * (1 - content)

        def values(worth):
            """Q, float `[f, c, l, t, price, rest]`."""
            after = jnp.roll(worth.reshape(phases, levels, loyalties), -1, axis=0)
            after = jnp.einsum("ckd,fdl->fclk", params.competition, after, precision="highest")
            upper = jnp.concatenate([after[:, :, 1:], after[:, :, -1:]], axis=2) - after
            lower = jnp.concatenate([after[:, :, :1], after[:, :, :-1]], axis=2) - after
            stay, upper, lower = (x[:, :, :, None, :, None] for x in (after, upper, lower))
            return reward + stay + rise * upper + fall * lower

        def backup(worth):
            most = jnp.max(values(worth), axis=(4, 5)).reshape(-1, self.num_types)
            return jnp.einsum("st,t->s", most, params.types, precision="highest")

        value, worth = long_run(backup, jnp.zeros(phases * levels * loyalties, jnp.float32))
        table = values(worth).reshape(-1, self.num_types, self.num_actions)
        regrets = jnp.max(table, axis=2, keepdims=True) - table
        best = jnp.argmin(regrets, axis=2).astype(jnp.int32)
        return dataclasses.replace(params, worth=worth, regrets=regrets, best=best, value=value)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.grid(params)
        yield from rules.distributions(params, "types", "competition", "weights")
        yield from rules.shares(params, "redemption", "aside", "rise", "fall", "discount")
        money = "cost", "competitor_prices", "coupon", "saving", "threshold", "exposure_cost"
        yield from rules.at_least(params, 0, "sensitivity", *money)

    def problem(self, params):
        price, offer, product, exposure = self._parts(jnp.arange(self.num_actions))
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
        middle = (jnp.int32(size // 2) for size in self.sizes[4:])
        state = State(jnp.int32(0), *middle, customer)
        return self._see(state, 0.0, 0.0, params), state

    def step_env(self, key, state, action, params):
        parts = self._parts(action)
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
        return means(*self._cell(state), *self._parts(action), params)

    def expected_reward(self, state, action, params):
        return jnp.sum(self.expected_components(state, action, params) * jnp.asarray(params.weights))

    def optimal_action(self, state, params):
        return jnp.ravel(params.best)[self._row(state) * self.num_types + state.customer]

    def _customer(self, u, params):
        """The type that a uniform number falls on, int scalar."""
        return jnp.sum(u >= jnp.cumsum(jnp.asarray(params.types))[:-1], dtype=jnp.int32)

    def _cell(self, state):
        """Phase, competitor level, loyalty level and type."""
        return state.time % self.sizes[3], state.competitor, state.loyalty, state.customer

    def _row(self, state):
        """Index of (phase, competitor, loyalty)."""
        phase, competitor, loyalty, _ = self._cell(state)
        return (phase * self.sizes[4] + competitor) * self.sizes[5] + loyalty

    def _parts(self, action):
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


def _check_weights(weights, shape):
    """`weights` as float32, not negative, rows summing to one; traced values pass."""
    if checks.is_traced(weights):
        return weights
    weights = checks.array("weights", weights, shape, low=0)
    if not np.allclose(weights.sum(axis=-1), 1, rtol=0, atol=1e-5):
        raise ValueError(f"weights must sum to one, got {weights.tolist()}")
    return weights


def make(
    size="medium",
    *,
    offers=OFFERS,
    num_prices=None,
    num_products=1,
    num_exposures=1,
    weights=(0.6, 0.1, 0.1, 0.1, 0.1),
    low=1.0,
    high=2.0,
    cost=0.5,
    reaction=0.4,
    drift=0.1,
    rise=0.3,
    fall=0.2,
    horizon=1000,
):
    """A shop and its customers, and params.

    Args:
      size: "medium" (12 types, 4 phases, 3 competitor and 3 loyalty levels) or "small" (2 of each).
      offers: names out of "none", "percentage", "coupon" and "spend_and_save".
      num_prices: list prices, evenly spaced on `[low, high]`; by default 4, or 2 if small.
      num_products: products to show.
      num_exposures: exposure levels 0, 1, ...
      weights: of profit, conversion, order value, market share and satisfaction.
      low, high, cost: price interval and unit cost; tastes scale with `low`.
      reaction, drift: probabilities that the competitor follows our price, or moves by itself.
      rise, fall: probabilities that loyalty follows satisfaction, up and down.
      horizon: periods in an episode.

    Returns:
      `(environment, params)`.

    Raises:
      ValueError: unknown names, sizes or probabilities out of range, weights that are negative or do not sum to one.
    """
    checks.choice("size", size, ("medium", "small"))
    try:
        offers = (offers,) if isinstance(offers, str) else tuple(offers)
    except TypeError:
        raise ValueError(f"offers must be names out of {', '.join(OFFERS)}, got {checks.shown(offers)}") from None
    for offer in offers:
        checks.choice("name in offers", offer, OFFERS)
    if not offers or len(set(offers)) < len(offers):
        raise ValueError(f"offers must be different names, at least one, got {offers}")
    low, high, cost = checks.price_interval(low, high, cost)
    if low <= 0:
        raise ValueError(f"low must be positive, got {low:g}")
    for name, value in (("reaction", reaction), ("drift", drift), ("rise", rise), ("fall", fall)):
        checks.number(name, value, low=0, high=1, scalar=True)
    if reaction + drift > 1:
        raise ValueError(f"reaction and drift must sum to at most 1, got {reaction} and {drift}")
    num_prices = (2 if size == "small" else 4) if num_prices is None else num_prices
    sizes = {"num_prices": num_prices, "num_products": num_products, "num_exposures": num_exposures}
    sizes = {name: checks.positive_int(name, value) for name, value in sizes.items()}
    cells = math.prod(SMALL if size == "small" else MEDIUM)
    checks.fits(**sizes, offers=len(offers), cells=cells, outcomes=10)
    env = Storefront(
        sizes=SMALL if size == "small" else MEDIUM,
        offers=offers,
        **sizes,
        low=low,
        high=high,
        cost=cost,
        reaction=float(reaction),
        drift=float(drift),
        rise=float(rise),
        fall=float(fall),
        weights=tuple(_check_weights(weights, (len(COMPONENTS),)).tolist()),
        horizon=checks.positive_int("horizon", horizon),
    )
    devices.use_cpu_cores()
    return env, checked(env, env.params_of(lambda shape: jnp.zeros(shape)))
