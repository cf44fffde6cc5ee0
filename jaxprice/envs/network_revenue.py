"""Network revenue management: products that share resources, bandits with knapsacks.

There are n products. A unit of product i uses A_ij units of resource j, and `stock_j` units are available for T periods. An
action is one of K price vectors, or (the last action) no offer. Demand of product i at price vector k is Poisson with mean
d_ik, or Bernoulli. Products are served in order; demand that the stock cannot serve is lost.

The benchmark is the fluid linear programme of `jaxprice.oracles.fluid_lp`, with capacity stock / T a period. No policy earns
more than T times its value z = mu + sum_j l_j stock_j / T, where l are the prices of resources and mu that of a period. By
the duals of this programme, the regret of a period is

    max(mu - sum_i (p_ik - sum_j A_ij l_j) E[sales of i], 0)  +  in the last period, sum_j l_j (units left of j),

which is never negative. Its sum over a season is T z minus the earnings, in expectation, with one exception: in a period in
which the stock limits only products that earn less than their resources are worth, the first term would be negative and is
set to zero. So E sum optimal_reward = T z <= E sum (reward + regret), with equality otherwise. The oracle policy plays the
programme's mix, each price vector as close to its share as whole periods allow. The bound is not attained, so the oracle's
regret is small, not zero.

Sources: K. J. Ferreira, D. Simchi-Levi, H. Wang (2018), "Online network revenue management using Thompson sampling",
doi:10.1287/opre.2018.1755 (the three networks); A. Badanidiyuru, R. Kleinberg, A. Slivkins (2018), "Bandits with knapsacks",
doi:10.1145/3164539.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice import noise as noises
from jaxprice.environment import Environment
from jaxprice.envs.market import observe, sale
from jaxprice.envs.options import choice, market, periods
from jaxprice.numerics import dot
from jaxprice.oracles.fluid_lp import fluid_lp
from jaxprice.types import Problem

PRICES = ((1.0, 1.5), (1.0, 2.0), (2.0, 3.0), (4.0, 4.0), (4.0, 6.5))
CONSUMPTION = ((1.0, 3.0, 0.0), (1.0, 1.0, 5.0))
STOCK_RATE = (3.0, 5.0, 7.0)


def linear_demand(prices):
    """Ferreira et al.'s linear network: (8 - 1.5 p1, 9 - 3 p2)^+, `[K, 2]`."""
    return np.maximum([8.0, 9.0] - np.array([1.5, 3.0]) * prices, 0.0)


def exponential_demand(prices):
    """Ferreira et al.'s exponential network: (5 exp(-.5 p1), 9 exp(-p2)), `[K, 2]`."""
    return np.array([5.0, 9.0]) * np.exp(-np.array([0.5, 1.0]) * prices)


def logit_demand(prices):
    """Ferreira et al.'s logit network: 10 exp(-p_i) / (1 + exp(-p1) + exp(-p2)), `[K, 2]`."""
    pull = np.exp(-prices)
    return 10 * pull / (1 + pull.sum(axis=1, keepdims=True))


FAMILIES = {"linear": linear_demand, "exponential": exponential_demand, "logit": logit_demand}


@struct.dataclass
class Params:
    """One market.

    Attributes:
      prices: price vectors, float `[K, n]`.
      demand: mean demand of each product at each price vector, float `[K, n]`.
      consumption: units of each resource that a unit of each product uses, float `[n, M]`.
      stock: units at the start, float `[M]`.
      max_steps_in_episode: horizon.
      mix: share of the periods of each price vector in the fluid optimum, float `[K]`; filled in by `solve`.
      duals: worth of one unit of each resource, float `[M]`; filled in by `solve`.
      value: reward of a period in the fluid optimum, z; filled in by `solve`.
    """

    prices: ArrayLike
    demand: ArrayLike
    consumption: ArrayLike
    stock: ArrayLike
    max_steps_in_episode: ArrayLike
    mix: Any = None
    duals: Any = None
    value: Any = None


@struct.dataclass
class State:
    """Number of periods played, int scalar; units left, float `[M]`; and periods of each price vector, float `[K]`."""

    time: jax.Array
    stock: jax.Array
    played: jax.Array


@market(
    kind="limited stock",
    what="products that share resources; bandits with knapsacks",
    paper="Ferreira, Simchi-Levi and Wang (2018); Badanidiyuru, Kleinberg and Slivkins (2018)",
    oracle="fluid linear programme (a bound)",
    merit="share of the bound",
)
@dataclasses.dataclass(frozen=True)
class NetworkRevenue(Environment):
    """A network of products and resources; see the module.

    Observation: share of the horizon passed, last prices `[n]`, last sales `[n]`, share of each stock left `[M]`;
      float `[1 + 2 n + M]`.
    Action: index of a price vector; K offers nothing.
    Reward: revenue.
    Oracle: the fluid optimum's mix, as whole periods allow; its reward of a period, a bound (money).

    Attributes:
      num_prices: number K of price vectors.
      num_products, num_resources: n and M.
      largest: largest mean demand for which Poisson draws are exact.
    """

    tables: ClassVar = ("mix", "duals", "value")
    num_prices: int = 5
    num_products: int = 2
    num_resources: int = 3
    noise: str = choice("poisson", "noise of demand", ("poisson", "bernoulli"))
    largest: float = 10.0
    horizon: int = periods()

    @classmethod
    def make(cls, demand="linear", *, prices=None, consumption=None, stock=None, **choices):
        """A network and its params; by default one of Ferreira et al.'s.

        Args:
          demand: "linear", "exponential" or "logit" (two products), or mean demand at each price vector, `[K, n]`.
          prices: price vectors, `[K, n]`.
          consumption: units of each resource that a unit of each product uses, `[n, M]`.
          stock: units at the start, `[M]`; by default (3, 5, 7) a period.
          **choices: fields of the class.

        Raises:
          ValueError: unknown names, wrong shapes, negative numbers, a resource that no product uses, demand too large to
            draw.
        """
        prices = checks.array("prices", PRICES if prices is None else prices, (None, None), low=0)
        consumption = checks.array("consumption", CONSUMPTION if consumption is None else consumption, (None, None), low=0)
        if consumption.shape[0] != prices.shape[1]:
            rows = f"consumption must have a row for each of {prices.shape[1]} products"
            raise ValueError(f"{rows}, got {consumption.shape[0]}")
        for axis, wanted in ((0, "use every resource"), (1, "let every product use a resource")):
            unused = np.flatnonzero(~consumption.any(axis=axis)).tolist()
            if unused:
                raise ValueError(f"consumption must {wanted}, got none for {('resources', 'products')[axis]} {unused}")
        env = cls(prices.shape[0], prices.shape[1], consumption.shape[1], **choices)
        if isinstance(demand, str):
            checks.choice("demand", demand, FAMILIES)
            if prices.shape[1] != 2:
                two = f"demand {demand!r} is that of two products"
                raise ValueError(f"{two}, but prices have {prices.shape[1]}: give a table")
            demand = FAMILIES[demand](prices.astype(float))
        most = 1.0 if env.noise == "bernoulli" else noises.POISSON_MEAN
        demand = checks.array("demand", demand, prices.shape, low=0, high=most)
        if stock is None:
            if consumption.shape[1] != len(STOCK_RATE):
                raise ValueError(f"stock must be given for {consumption.shape[1]} resources")
            stock = env.horizon * np.array(STOCK_RATE)
        stock = checks.array("stock", stock, (consumption.shape[1],), low=0)
        env = dataclasses.replace(env, largest=float(np.ceil(max(demand.max(), 1.0))))
        params = jax.tree.map(np.asarray, env.params_of(prices, demand, consumption, stock))
        env.check_params(params)
        return env, env.solved(params)

    def params_of(self, prices, demand, consumption, stock):
        """Params with the given numbers, not solved yet."""
        prices, demand, consumption, stock = (jnp.asarray(x, jnp.float32) for x in (prices, demand, consumption, stock))
        return Params(prices, demand, consumption, stock, np.int32(self.horizon))

    def default_params(self):
        """Ferreira et al.'s linear network, or for other sizes a random draw of the task distribution."""
        if (self.num_prices, self.num_products, self.num_resources, self.noise) != (5, 2, 3, "poisson"):
            return jax.tree.map(np.asarray, jax.jit(self.sample_params)(jax.random.key(0)))
        prices, stock = np.array(PRICES), self.horizon * np.array(STOCK_RATE)
        return self.solved(self.params_of(prices, linear_demand(prices), np.array(CONSUMPTION), stock))

    def sample_params(self, key):
        return self.draw_params(key, np.int32(self.horizon))

    def draw_params(self, key, horizon):
        """Prices U[1, 6]; exponential demand, intercepts U[.2, 1] of the largest, rates U[.3, 1]. Each product uses 0 to 3
        units of each resource; every product uses some resource and every resource is used. Stock is U[.3, 1] of what mean
        demand would use in the `horizon` periods that are played.
        """
        k, n, m = self.num_prices, self.num_products, self.num_resources
        keys = jax.random.split(key, 5)
        prices = 1 + 5 * jax.random.uniform(keys[0], (k, n), jnp.float32)
        top = 1.0 if self.noise == "bernoulli" else self.largest
        intercept = top * (0.2 + 0.8 * jax.random.uniform(keys[1], (n,), jnp.float32))
        rates = 0.3 + 0.7 * jax.random.uniform(keys[2], (n,), jnp.float32)
        demand = intercept[None] * jnp.exp(-rates[None] * prices)
        units = jnp.floor(4 * jax.random.uniform(keys[3], (n, m), jnp.float32))
        units = jnp.where((jnp.arange(n) % m)[:, None] == (jnp.arange(m) % n)[None], jnp.maximum(units, 1.0), units)
        units = jnp.where(jnp.sum(units, axis=0, keepdims=True) > 0, units, 1.0)
        use = dot(jnp.mean(demand, axis=0), units)
        share = 0.3 + 0.7 * jax.random.uniform(keys[4], (m,), jnp.float32)
        stock = jnp.ceil(share * use * jnp.asarray(horizon, jnp.float32))
        params = self.params_of(prices, demand, units, stock)
        return self.solve(dataclasses.replace(params, max_steps_in_episode=horizon))

    def solve(self, params):
        reward = jnp.sum(jnp.asarray(params.prices) * params.demand, axis=1)
        rate = jnp.asarray(params.stock) / params.max_steps_in_episode
        value, mix, duals = fluid_lp(reward, dot(jnp.asarray(params.demand), jnp.asarray(params.consumption)), rate)
        return dataclasses.replace(params, mix=mix, duals=duals, value=value)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.at_least(params, 0, "prices", "demand", "consumption", "stock")
        largest = 1.0 if self.noise == "bernoulli" else self.largest
        yield "demand", params.demand <= largest, f"demand of at most {largest:g} a period, which is what can be drawn"
        yield "demand", (params.demand > 0).any(axis=(1, 2)), "demand for some product at some prices: nobody ever buys"
        yield "consumption", params.consumption.any(axis=1), "consumption of every resource by some product"
        yield "consumption", params.consumption.any(axis=2), "consumption of some resource by every product"

    def problem(self, params):
        prices = jnp.asarray(params.prices)
        return Problem.of(
            params,
            prices=jnp.append(prices, jnp.zeros((1, self.num_products)), axis=0),
            low=jnp.min(prices, axis=0),
            high=jnp.max(prices, axis=0),
            cost=np.zeros(self.num_products, np.float32),
            stock=params.stock,
            consumption=params.consumption,
            noise=self.noise,
        )

    def reset_env(self, key, params):
        del key
        state = State(jnp.int32(0), jnp.asarray(params.stock), jnp.zeros(self.num_prices, jnp.float32))
        nothing = jnp.zeros(self.num_products, jnp.float32)
        return self._see(state, nothing, nothing, params), state

    def step_env(self, key, state, action, params):
        price, mean = self._offer(action, params)
        sold, expected, stock = self._serve(key, mean, state.stock, params)
        # profit of a unit above the worth of its resources
        above = price - jnp.sum(jnp.asarray(params.consumption) * params.duals[None], axis=1)
        last = state.time + 1 >= params.max_steps_in_episode
        period = params.value - jnp.sum(params.duals * params.stock) / params.max_steps_in_episode
        given_up = jnp.maximum(period - jnp.sum(above * expected), 0.0)
        regret = given_up + jnp.where(last, jnp.sum(params.duals * stock), 0.0)
        info = sale(price, sold, jnp.sum(price * sold), regret, params.value)
        played = state.played + (jnp.arange(self.num_prices) == action)
        state = State(state.time + 1, stock, played)
        return self._see(state, price, sold, params), state, info["reward"], jnp.bool_(False), info

    def _serve(self, key, mean, stock, params):
        """Serve products in order: units sold, expected units (given the earlier products) `[n]`, and stock left `[M]`."""
        units, sold, expected = jnp.asarray(params.consumption), [], []
        u = jax.random.uniform(key, (self.num_products,), jnp.float32)
        for i in range(self.num_products):
            room = jnp.min(jnp.where(units[i] > 0, stock / jnp.where(units[i] > 0, units[i], 1.0), jnp.inf))
            room = jnp.floor(room + 1e-4)
            if self.noise == "poisson":
                units_sold, units_expected = noises.limited_poisson(u[i], mean[i], room, self.largest)
            else:
                units_expected = jnp.where(room > 0, mean[i], 0.0)
                units_sold = (u[i] < units_expected).astype(jnp.float32)
            stock = jnp.maximum(stock - units_sold * units[i], 0.0)
            sold.append(units_sold)
            expected.append(units_expected)
        return jnp.stack(sold), jnp.stack(expected), stock

    def expected_reward(self, state, action, params):
        """Mean revenue of a period without limit from the stock, float scalar."""
        price, mean = self._offer(action, params)
        return jnp.sum(price * mean)

    def optimal_reward(self, state, params):
        """The fluid bound on the revenue of a period, float scalar."""
        return params.value

    def optimal_action(self, state, params):
        """The price vector that is farthest behind its share in the fluid optimum; no offer if that is farthest behind."""
        mix = jnp.asarray(params.mix)
        behind = (state.time + 1) * mix - state.played
        nothing = (state.time + 1) * (1 - jnp.sum(mix)) - (state.time - jnp.sum(state.played))
        return jnp.argmax(jnp.append(behind, nothing)).astype(jnp.int32)

    def _offer(self, action, params):
        """Prices and mean demands `[n]` of an action; zeros for none."""
        chosen = jnp.minimum(action, self.num_prices - 1)
        open_ = action < self.num_prices
        return (jnp.where(open_, jnp.asarray(table)[chosen], 0.0) for table in (params.prices, params.demand))

    def _see(self, state, price, demand, params):
        gone = state.time / params.max_steps_in_episode
        return observe(gone, price, demand, state.stock / jnp.maximum(params.stock, 1.0))
