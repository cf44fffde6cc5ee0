"""Logit oligopoly: n sellers of one product each set their prices simultaneously in every period.

A unit mass of buyers chooses by multinomial logit among the n products and nothing,

    q_j = exp((a_j - p_j)/m) / (exp(a_0/m) + sum_k exp((a_k - p_k)/m)),     profit_j = (p_j - c_j) min(size q_j, capacity_j).

Each seller has a grid of K prices, by default that of Calvano et al.: evenly spaced from p^N - xi (p^M - p^N) to
p^M + xi (p^M - p^N), where p^N is the price of the one-shot Nash equilibrium, p^M that of the joint monopoly and xi = .1.
Each seller sees the last prices of all sellers, and its own demand. An action consists of the price index of each seller,
int `[n]`. Several policies play in one market as `jaxprice.policies.sellers(policy_1, ..., policy_n)`.

The reward is the mean profit of the sellers. The oracle is their cartel: the prices of the grid with the largest joint
profit, found by enumerating all K^n. So Calvano et al.'s collusion index (`collusion_index`) is (reward - profit at Nash) /
(profit at monopoly - profit at Nash). Demand above a seller's capacity is lost; Nash and monopoly prices are those without
capacity limits. In every period optimal_reward = E (reward + regret), for any prices of the sellers.

Source: E. Calvano, G. Calzolari, V. Denicolo, S. Pastorello (2020), "Artificial intelligence, algorithmic pricing, and
collusion", doi:10.1257/aer.20190623.
"""

import dataclasses
import itertools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice.environment import Environment
from jaxprice.envs.market import observe, sale, same
from jaxprice.envs.options import amount, market, number, option, periods, positive, whole
from jaxprice.oracles import logit_pricing
from jaxprice.types import Discrete, Problem

COMBINATIONS = 2**20  # largest number of price vectors that the cartel enumerates


@struct.dataclass
class Params:
    """One market.

    Attributes:
      quality: mean valuations a, float `[n]`.
      cost: unit costs c, float `[n]`.
      scale: spread of valuations m.
      outside: quality of buying nothing, a_0.
      size: mass of buyers.
      capacity: most units that each seller can sell in a period, float `[n]`; infinite by default.
      noise_scale: standard deviation of Gaussian noise in demand, 0 by default.
      margin: xi, the extension of the grid beyond Nash and monopoly prices.
      max_steps_in_episode: horizon.
    """

    quality: ArrayLike
    cost: ArrayLike
    scale: ArrayLike
    outside: ArrayLike
    size: ArrayLike
    capacity: ArrayLike
    noise_scale: ArrayLike
    margin: ArrayLike
    max_steps_in_episode: ArrayLike


@struct.dataclass
class State:
    """State of a market.

    Attributes:
      time: periods played, int scalar.
      grid: prices of each seller, float `[num_prices, n]`.
      best: the cartel's price indices, int `[n]`.
      optimal: mean profit of a seller in the cartel, float scalar.
    """

    time: jax.Array
    grid: jax.Array
    best: jax.Array
    optimal: jax.Array


@market(
    kind="several products",
    what="n sellers, a policy each (`policies.sellers`), capacity",
    paper="Calvano, Calzolari, Denicolo and Pastorello (2020)",
    oracle="cartel on the grid; Nash and monopoly prices",
    merit="collusion index",
)
@dataclasses.dataclass(frozen=True)
class LogitOligopoly(Environment):
    """A logit oligopoly; see the module.

    Observation: share of the horizon passed, last prices `[n]`, last demands `[n]`; float `[1 + 2 n]`.
    Action: int `[n]`.
    Reward: mean profit of the sellers; `info["profits"]` has the profit of each, `[n]`.
    Oracle: the cartel's price indices, int `[n]`, and the mean profit of a seller at these prices (money).
    """

    infinite: ClassVar = ("capacity",)

    num_sellers: int = option(2, "number of sellers n", whole)
    num_prices: int = option(15, "number of prices of each seller, at least 2", whole)
    outside: float = option(0.0, "quality of buying nothing", number())
    size: float = option(1.0, "mass of buyers", positive)
    capacity: tuple[float, ...] | None = option(
        None, "most units that a seller can sell in a period, `[n]` or one number; None: any", None
    )
    noise_scale: float = option(0.0, "standard deviation of Gaussian noise in demand", amount)
    margin: float = option(
        0.1, "how far the grid goes beyond Nash and monopoly prices, as a share of their distance", amount
    )
    horizon: int = periods()

    def check_options(self):
        n, k = self.num_sellers, checks.whole("num_prices", self.num_prices, 2, checks.LARGEST)
        if n * math.log2(k) > math.log2(COMBINATIONS):
            most = f"num_prices ** num_sellers must be at most {COMBINATIONS}, which the oracle tries"
            raise ValueError(f"{most}, got {k} ** {n}")
        if self.capacity is not None:
            checks.array("capacity", self.capacity, (n,) if np.ndim(self.capacity) else (), low=0)
            object.__setattr__(self, "capacity", tuple(np.broadcast_to(self.capacity, (n,)).tolist()))

    @classmethod
    def make(cls, num_sellers=2, *, quality=2.0, cost=1.0, scale=0.25, **choices):
        """A market and its params; by default that of Calvano et al.

        Args:
          num_sellers: number of sellers n.
          quality: mean valuation of each product, `[n]`, or one number for all.
          cost: unit cost of each product, `[n]`, or one number for all.
          scale: spread of valuations.
          **choices: fields of the class.

        Raises:
          ValueError: numbers out of range, arrays of a wrong shape, or more price vectors than the oracle can enumerate.
        """
        env = cls(num_sellers, **choices)
        for name, value, low in (("quality", quality, -np.inf), ("cost", cost, 0.0)):
            checks.array(name, value, (env.num_sellers,) if np.ndim(value) else (), low=low)
        params = jax.tree.map(np.asarray, env.params_of(quality, cost, checks.positive("scale", scale)))
        lowest = np.asarray(env.grid(params)).min()
        if lowest < 0:
            raise ValueError(f"margin must leave prices that are not negative, but the lowest would be {lowest:g}")
        return env, params

    def params_of(self, quality, cost, scale):
        """Params with the given numbers; scalars apply to all sellers."""
        n = self.num_sellers
        capacity = np.inf if self.capacity is None else np.array(self.capacity)
        everyone = {"quality": quality, "cost": cost, "capacity": capacity}
        market = {name: getattr(self, name) for name in ("outside", "size", "noise_scale", "margin")} | {"scale": scale}
        return Params(
            **{name: jnp.broadcast_to(jnp.asarray(x, jnp.float32), (n,)) for name, x in everyone.items()},
            **{name: jnp.asarray(x, jnp.float32) for name, x in market.items()},
            max_steps_in_episode=np.int32(self.horizon),
        )

    def default_params(self):
        return jax.tree.map(np.asarray, self.params_of(2.0, 1.0, 0.25))

    def sample_params(self, key):
        """Qualities above that of buying nothing by U[1.5, 2.5], costs U[.8, 1.2], scale U[.2, .3]."""
        keys = jax.random.split(key, 3)
        quality = self.outside + 1.5 + jax.random.uniform(keys[0], (self.num_sellers,), jnp.float32)
        cost = 0.8 + 0.4 * jax.random.uniform(keys[1], (self.num_sellers,), jnp.float32)
        return self.params_of(quality, cost, 0.2 + 0.1 * jax.random.uniform(keys[2], dtype=jnp.float32))

    def nash(self, params):
        """Prices of the one-shot Nash equilibrium without capacity, float `[n]`."""
        return logit_pricing.nash(params.quality, params.cost, params.scale, params.outside)

    def monopoly(self, params):
        """Prices of one owner of all products without capacity, float `[n]`."""
        return logit_pricing.monopoly(params.quality, params.cost, params.scale, params.outside)[0]

    def profits(self, prices, params):
        """Expected profit of each seller, float `[..., n]`, at `prices` `[..., n]`."""
        return (prices - jnp.broadcast_to(params.cost, prices.shape)) * self.mean_demand(prices, params)

    def mean_demand(self, prices, params):
        """Units sold by each seller, float `[..., n]`, at `prices` `[..., n]`."""
        share = logit_pricing.choice_probabilities(prices, params.quality, params.scale, params.outside)
        return jnp.minimum(params.size * share, jnp.broadcast_to(params.capacity, share.shape))

    def collusion_index(self, mean_profit, params):
        """Position of the mean profit of a seller between Nash (0) and monopoly (1), float `[...]`."""
        nash, monopoly = (jnp.mean(self.profits(prices, params)) for prices in (self.nash(params), self.monopoly(params)))
        return logit_pricing.collusion_index(mean_profit, nash, monopoly)

    def grid(self, params):
        """Prices of each seller, float `[num_prices, n]`."""
        nash, monopoly = self.nash(params), self.monopoly(params)
        reach = params.margin * (monopoly - nash)
        return jnp.linspace(nash - reach, monopoly + reach, self.num_prices)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.above(params, 0, "scale", "size", "capacity")
        yield from rules.at_least(params, 0, "cost", "noise_scale", "margin")
        net = (params.quality - params.cost - params.outside[:, None]) / params.scale[:, None]
        # a probability of a sale that float32 distinguishes from zero
        yield "quality cost outside scale", net.max(axis=1) > -80, "buyers: nobody buys at a price above cost"

    def problem(self, params):
        grid = self.grid(params)
        return Problem.of(params, Discrete(self.num_prices, (self.num_sellers,)), prices=grid, noise="gaussian")

    def reset_env(self, key, params):
        del key
        grid = self.grid(params)
        every = np.array(list(itertools.product(range(self.num_prices), repeat=self.num_sellers)), np.int32)
        means = jnp.mean(self.profits(_pick(grid, every), params), axis=-1)
        best = jnp.asarray(every)[jnp.argmax(means)]
        optimal = jnp.mean(self.profits(_pick(grid, best), params))
        state = State(jnp.int32(0), grid, best, optimal)
        return observe(0.0, jnp.zeros(2 * self.num_sellers)), state

    def step_env(self, key, state, action, params):
        price = _pick(state.grid, action)
        mean = self.mean_demand(price, params)
        demand = mean + params.noise_scale * jax.random.normal(key, mean.shape, jnp.float32)
        profits = (price - params.cost) * demand
        expected = jnp.mean((price - params.cost) * mean)
        regret = jnp.where(same(action, state.best), 0.0, state.optimal - expected)
        info = sale(price, demand, jnp.mean(profits), regret, state.optimal, profits=profits)
        state = dataclasses.replace(state, time=state.time + 1)
        return (
            observe(state.time / params.max_steps_in_episode, price, demand),
            state,
            info["reward"],
            jnp.bool_(False),
            info,
        )

    def expected_reward(self, state, action, params):
        return jnp.mean(self.profits(_pick(state.grid, action), params))

    def optimal_reward(self, state, params):
        return state.optimal

    def optimal_action(self, state, params):
        return state.best


def _pick(grid, indices):
    """Price of each seller, `[..., n]`, at indices `[..., n]` of the grid `[K, n]`."""
    return jnp.stack([grid[indices[..., j], j] for j in range(grid.shape[1])], axis=-1)
