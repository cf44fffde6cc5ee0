"""Reference prices: buyers compare the price p with a reference r that follows past prices.

Mean demand and memory ("exponential"):

    d = a - b p + e+ (r - p)^+ - e- (p - r)^+,   r' = zeta r + (1 - zeta) p,   0 <= zeta < 1,

with Gaussian noise. Loss-averse buyers have e- > e+, gain-seeking buyers e+ > e-. Demand at a constant price p converges to
a - b p. So from loss-averse or neutral buyers a seller earns at most (a - b p)(p - cost) at p = (a / b + cost) / 2. From
gain-seeking buyers price cycles earn more.

Criterion: the long-run average reward (see `planning`). Its oracle knows r. It uses relative value iteration for w on
`resolution` evenly spaced references, with linear interpolation between them. The best price is exact given this w: on an
interval Q is quadratic in p between any two references and the kink p = r, and the code examines every piece; on a grid it
examines every price. Regret uses the true r, so it is never negative. The interpolation error, measured near the default
market (gain .605) with 101 references: the gain is within 1e-5 of the truth for zeta <= .6, and 6e-5 above that of 401
references for zeta = .9 with gain-seeking buyers; prices are within one step of references, (high - low) / (resolution - 1).

Not included: references that average all past prices (Agrawal and Tang), or that are their minimum. The first has no
stationary oracle, and linear interpolation adds an error in proportion to the horizon. With the second the reference never
rises, so the average reward depends on the start.

Sources: A. V. den Boer, N. B. Keskin (2022), "Dynamic pricing with demand learning and reference effects",
doi:10.1287/mnsc.2021.4234 (the default: a = 1.1, b = .5, e+ = .1, e- = .3, zeta = .1, noise .1, prices in [.5, 1.5]);
I. Popescu, Y. Wu (2007), "Dynamic pricing strategies with reference effects", doi:10.1287/opre.1070.0393.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice.envs.market import observe, sale, same
from jaxprice.envs.options import amount, grid, market, number, option, optional, periods, switch, whole
from jaxprice.envs.planning import LongRunMarket, checked, long_run
from jaxprice.types import Problem


def default_demand(low, high):
    """Den Boer and Keskin's demand, rescaled from [.5, 1.5] to other prices: a dict of numbers."""
    width = high - low
    return {"intercept": 0.35 + 0.5 * high / width, "slope": 0.5 / width, "gain": 0.1 / width, "loss": 0.3 / width}


@struct.dataclass
class Params:
    """One market.

    Attributes:
      intercept, slope: demand at price zero, and its decrease for a unit of price, if the price equals the reference.
      gain, loss: effects of a unit of price below and above the reference.
      memory: zeta, weight of the old reference.
      noise_scale: standard deviation of demand.
      start: first reference, between `low` and `high`.
      prices: the grid, float `[num_prices]`; `[0]` on an interval.
      low, high: lowest and highest price.
      cost: unit cost.
      max_steps_in_episode: horizon.
      worth: bias w of evenly spaced references on `[low, high]`, float `[resolution]`; filled in by `solve`.
      value: average reward of the oracle; filled in by `solve`.
    """

    intercept: ArrayLike
    slope: ArrayLike
    gain: ArrayLike
    loss: ArrayLike
    memory: ArrayLike
    noise_scale: ArrayLike
    start: ArrayLike
    prices: ArrayLike
    low: ArrayLike
    high: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike
    worth: Any = None
    value: Any = None


@struct.dataclass
class State:
    """Number of periods played, int scalar; and the reference price, float scalar."""

    time: jax.Array
    reference: jax.Array


@market(
    kind="memory",
    what="buyers remember prices; loss aversion",
    paper="den Boer and Keskin (2022)",
    oracle="long-run average optimum",
)
@dataclasses.dataclass(frozen=True)
class ReferencePrice(LongRunMarket):
    """Demand with a reference price; see the module.

    Observation: share of the horizon passed, last price, last demand, and with `observe_reference` the reference; float
      `[3]` or `[4]`.
    Action: index of the grid, or a price.
    Reward: (price - cost) * demand.
    Oracle: the best price for the reference of the period; the long-run average profit of a period (money).
    """

    tables: ClassVar = ("worth", "value")
    num_prices: int | None = option(None, "size of an evenly spaced grid on `[low, high]`; None: any price", optional(whole))
    resolution: int = option(101, "number of reference prices in the oracle's table, at least 3", whole)
    observe_reference: bool = option(False, "whether the seller sees the reference", switch)
    prices: tuple[float, ...] | None = option(None, "the grid itself, increasing, at least two", optional(grid))
    low: float = option(0.5, "lowest price, and lowest reference; with `prices`, the first", amount)
    high: float = option(1.5, "highest price, and highest reference; with `prices`, the last", amount)
    cost: float = option(0.0, "unit cost", amount)
    memory: float = option(0.1, "weight of the old reference, at most .99", number(0, 0.99))
    noise_scale: float = option(0.1, "standard deviation of demand", amount)
    start: float | None = option(
        None, "reference price of the first period; by default the middle of the prices", optional(amount)
    )
    horizon: int = periods()

    def check_options(self):
        if self.prices is not None:
            for name, value in (("num_prices", len(self.prices)), ("low", self.prices[0]), ("high", self.prices[-1])):
                object.__setattr__(self, name, value)
        checks.price_interval(self.low, self.high, self.cost)
        if self.start is None:
            object.__setattr__(self, "start", (self.low + self.high) / 2)
        checks.number("start", self.start, low=self.low, high=self.high, scalar=True)
        checks.whole("resolution", self.resolution, 3, checks.LARGEST)
        checks.fits(resolution=self.resolution, num_prices=self.num_prices or 2 * self.resolution)

    @classmethod
    def make(cls, *, intercept=None, slope=None, gain=None, loss=None, **choices):
        """A market and its params; by default den Boer and Keskin's.

        Args:
          intercept, slope: demand at price zero and its decrease for a unit of price, if the price equals the reference; by
            default 1.1 and .5 on [.5, 1.5], and the same demand rescaled for other prices.
          gain, loss: effects of a unit of price below and above the reference; by default .1 and .3, rescaled.
          **choices: fields of the class.

        Raises:
          ValueError: numbers out of range, or a mean demand that is negative for some price and reference.
        """
        env = cls(**choices)
        told = {"intercept": intercept, "slope": slope, "gain": gain, "loss": loss}
        told = {name: amount(name, value) for name, value in told.items() if value is not None}
        demand = default_demand(env.low, env.high) | told
        checks.positive("slope", demand["slope"])
        return env, checked(env, env.params_of(**demand))

    def params_of(self, intercept, slope, gain, loss):
        """Params, not solved yet, with the given demand and the other numbers of this environment."""
        prices = np.linspace(self.low, self.high, self.num_prices or 0) if self.prices is None else self.prices
        demand = {"intercept": intercept, "slope": slope, "gain": gain, "loss": loss}
        names = ("memory", "noise_scale", "start", "low", "high", "cost")
        return Params(
            prices=np.asarray(prices, np.float32),
            max_steps_in_episode=np.int32(self.horizon),
            **{name: jnp.asarray(number, jnp.float32) for name, number in demand.items()},
            **{name: np.float32(getattr(self, name)) for name in names},
        )

    def default_params(self):
        """Den Boer and Keskin's market, rescaled to other prices."""
        return self.solved(self.params_of(**default_demand(self.low, self.high)))

    def sample_params(self, key):
        """With width = high - low: slope U[.4, .6] / width, gain U[0, .3] / width, loss U[0, .4] / width, and an intercept
        for which demand at the highest price after the lowest reference is U[0, .1]."""
        u = jax.random.uniform(key, (4,), jnp.float32)
        width = self.high - self.low
        slope, gain, loss = (0.4 + 0.2 * u[0]) / width, 0.3 * u[1] / width, 0.4 * u[2] / width
        return self.solve(self.params_of(0.1 * u[3] + slope * self.high + loss * width, slope, gain, loss))

    def solve(self, params):
        worth = jnp.zeros(self.resolution, jnp.float32)
        value, worth = long_run(lambda worth: self.backup(worth, params), worth)
        return dataclasses.replace(params, worth=worth, value=value)

    def backup(self, worth, params):
        """The largest sum of the profit of a period and the `worth` `[resolution]` of the next reference, `[resolution]`."""
        return jax.vmap(lambda reference: self._best(reference, worth, params)[1])(self._nodes(params))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.interval(params)
        if self.num_prices:
            yield from rules.grid(params)
            ends = (params.prices[:, 0] == params.low) & (params.prices[:, -1] == params.high)
            yield "prices low high", ends, "low and high that are the ends of the grid"
        yield from rules.above(params, 0, "slope")
        yield from rules.at_least(params, 0, "gain", "loss", "noise_scale", "memory")
        yield "memory", params.memory <= 0.99, "a memory of at most .99"
        inside = (params.start >= params.low) & (params.start <= params.high)
        yield "start low high", inside, "a start in [low, high]"
        least = params.intercept - params.slope * params.high - params.loss * (params.high - params.low)
        names = "intercept slope loss low high"
        yield names, least >= -rules.ROUNDING * params.intercept, "demand that is not negative at any price and reference"
        yield names, params.intercept > params.slope * params.low, "demand at the lowest price: nobody buys at any price"

    def problem(self, params):
        return Problem.of(params, noise="gaussian")

    def reset_env(self, key, params):
        del key
        state = State(jnp.int32(0), jnp.asarray(params.start, jnp.float32))
        return self._see(state, 0.0, 0.0, params), state

    def step_env(self, key, state, action, params):
        price, mean = self._offer(state, action, params)
        demand = mean + params.noise_scale * jax.random.normal(key, (), jnp.float32)
        best, most = self._best(state.reference, jnp.asarray(params.worth), params)
        value = self._value(state.reference, price, params.worth, params)
        regret = jnp.where(same(action, best), 0.0, most - value)
        info = sale(price, demand, (price - params.cost) * demand, regret, params.value)
        state = State(state.time + 1, self._next(state.reference, price, params))
        return self._see(state, price, demand, params), state, info["reward"], jnp.bool_(False), info

    def expected_reward(self, state, action, params):
        price, mean = self._offer(state, action, params)
        return (price - params.cost) * mean

    def optimal_action(self, state, params):
        return self._best(state.reference, jnp.asarray(params.worth), params)[0]

    def _offer(self, state, action, params):
        """Price and mean demand."""
        if self.num_prices:
            price = jnp.asarray(params.prices)[action]
        else:
            price = jnp.clip(jnp.asarray(action, jnp.float32), params.low, params.high)
        return price, self._mean(state.reference, price, params)

    def _mean(self, reference, price, params):
        below, above = jnp.maximum(reference - price, 0.0), jnp.maximum(price - reference, 0.0)
        return params.intercept - params.slope * price + params.gain * below - params.loss * above

    def _next(self, reference, price, params):
        return params.memory * reference + (1 - params.memory) * price

    def _nodes(self, params):
        return params.low + (params.high - params.low) * jnp.linspace(0, 1, self.resolution, dtype=jnp.float32)

    def _value(self, reference, price, worth, params):
        """Q: reward of a price `[...]` plus worth of the next reference."""
        after = (self._next(reference, price, params) - params.low) / (params.high - params.low) * (self.resolution - 1)
        cell = jnp.clip(after.astype(jnp.int32), 0, self.resolution - 2)
        left, right = jnp.asarray(worth)[cell], jnp.asarray(worth)[cell + 1]
        reward = (price - params.cost) * self._mean(reference, price, params)
        return reward + left + (after - cell) * (right - left)

    def _best(self, reference, worth, params):
        """The best action, and its Q."""
        if self.num_prices:
            values = self._value(reference, jnp.asarray(params.prices), worth, params)
            return jnp.argmax(values).astype(jnp.int32), jnp.max(values)
        nodes = self._nodes(params)
        rise = (worth[1:] - worth[:-1]) / (nodes[1:] - nodes[:-1])
        edges = (nodes - params.memory * reference) / (1 - params.memory)  # prices that lead to the nodes
        left, right = jnp.maximum(edges[:-1], params.low), jnp.minimum(edges[1:], params.high)
        prices, values = [], []
        pieces = (
            (params.gain, left, jnp.minimum(right, reference)),
            (params.loss, jnp.maximum(left, reference), right),
        )
        for effect, first, last in pieces:  # (p - cost)(top - fall p) + rise (r' - node) on [first, last]
            top, fall = params.intercept + effect * reference, params.slope + effect
            peak = (top + fall * params.cost + (1 - params.memory) * rise) / (2 * fall)
            price = jnp.clip(peak, first, last)
            value = (price - params.cost) * (top - fall * price) + worth[:-1]
            value = value + rise * (self._next(reference, price, params) - nodes[:-1])
            prices.append(price)
            values.append(jnp.where(first <= last, value, -jnp.inf))
        prices, values = jnp.concatenate(prices), jnp.concatenate(values)
        best = jnp.argmax(values)
        return prices[best], values[best]

    def _see(self, state, price, demand, params):
        gone = state.time / params.max_steps_in_episode
        return observe(gone, price, demand, *([state.reference] if self.observe_reference else []))
