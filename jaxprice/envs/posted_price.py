"""Posted price: each period the seller posts a price, and a number of buyers take it or leave it.

A buyer's expected demand at price p is D(p), a curve of `jaxprice.demand`. With Bernoulli noise each of n buyers has a
uniform u and buys if u < D(p): the buyer's valuation is D^-1(u), so a lower price never loses a sale and policies face
the same buyers. Poisson noise: sales are Poisson(n D(p)), drawn by inversion. Gaussian noise: n D(p) + noise_scale * z.
The reward is (p - cost) * sales, the regret of a period max_q n (q - cost) D(q) - n (p - cost) D(p), over the grid where
prices are a grid, over the interval where they are an interval.

Source: R. Kleinberg, T. Leighton (2003), "The value of knowing a demand curve", doi:10.1109/SFCS.2003.1238232.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, devices, rules
from jaxprice import demand as demand_curves
from jaxprice import noise as noises
from jaxprice.envs.market import MyopicMarket
from jaxprice.types import Problem


@struct.dataclass
class Params:
    """One market.

    Attributes:
      demand: the curve; None once the mean demand at every price of a grid is worked out.
      prices: the grid, float `[num_prices]`; `[0]` on an interval.
      low, high: lowest and highest price.
      cost: unit cost.
      noise_scale: standard deviation of demand in a period under Gaussian noise.
      max_steps_in_episode: horizon.
    """

    demand: demand_curves.Curve
    prices: jax.Array
    low: jax.Array
    high: jax.Array
    cost: jax.Array
    noise_scale: jax.Array
    max_steps_in_episode: jax.Array


@dataclasses.dataclass(frozen=True)
class PostedPrice(MyopicMarket):
    """Posted price with a named demand curve.

    Observation: share of the horizon gone, last price, last demand of one buyer; float `[3]`.
    Action: index of the price grid, int scalar, or a price of the interval, float scalar.
    Reward: (price - cost) * demand, money, float scalar.
    Oracle: the best price of the grid or interval, and its expected profit in a period (money).

    Attributes:
      curve: name of the demand curve, a key of `jaxprice.demand.curves()`.
      num_prices: size of the price grid, or None: any price in an interval.
      noise: "bernoulli", "poisson" or "gaussian".
      buyers: buyers a period.
      prices: the grid, where it is not evenly spaced.
      low, high, cost: price interval and unit cost of every market drawn; None: the curve's own.
      noise_scale: standard deviation of demand in a period under Gaussian noise.
      horizon: periods in an episode.
      form: what draws of the curve have to be told beyond its name, see `Curve.form`.
    """

    curve: str = "logit"
    num_prices: int | None = 10
    noise: str = "bernoulli"
    buyers: int = 1
    prices: tuple[float, ...] | None = None
    low: float | None = None
    high: float | None = None
    cost: float | None = None
    noise_scale: float = 0.1
    horizon: int = 1000
    form: tuple = ()

    @property
    def num_actions(self):
        return self.num_prices or 0

    @property
    def name(self):
        return f"PostedPrice-{self.curve}"

    def default_params(self):
        return self.params_of(demand_curves.usual(self.curve, self.form))

    def params_of(self, curve):
        """Params with the given curve, on the grid and at the cost of this environment."""
        low, high = type(curve).price_range
        low, high = low if self.low is None else self.low, high if self.high is None else self.high
        if self.prices is not None:
            prices = np.asarray(self.prices, np.float32)
            low, high = prices[0], prices[-1]
        else:
            prices = np.linspace(low, high, self.num_actions, dtype=np.float32)
        return Params(
            demand=jax.tree.map(lambda x: x if isinstance(x, jax.Array) else np.asarray(x, np.float32), curve),
            prices=prices,
            low=np.float32(low),
            high=np.float32(high),
            cost=np.float32(type(curve).unit_cost if self.cost is None else self.cost),
            noise_scale=np.float32(self.noise_scale),
            max_steps_in_episode=np.int32(self.horizon),
        )

    def sample_params(self, key):
        return self.params_of(demand_curves.curves()[self.curve].sample(key, *self.form))

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.at_least(params, 0, "low", "cost", "noise_scale")
        if self.num_prices:
            yield from rules.grid(params)
            ends = params.prices[:, [0, -1]]
        else:
            yield "low high", params.low < params.high, "low below high"
            ends = np.stack([params.low, params.high], axis=1)
        most = {"bernoulli": 1, "poisson": noises.POISSON_MEAN}.get(self.noise, np.inf)
        buyers = 1 if self.noise == "bernoulli" else self.buyers
        yield from demand_curves.falls(params.demand, ends, buyers=buyers, most=most)

    def problem(self, params):
        return Problem.of(params, buyers=self.buyers, noise=self.noise)

    def specialise(self, params):
        if not self.num_prices:
            return self, params
        return PostedPrice("any", self.num_prices, noise=self.noise, buyers=self.buyers), dataclasses.replace(
            params, demand=None
        )

    def table(self, params, state=None):
        return self.mean_demand(params.prices, params)

    def mean_demand(self, price, params, state=None):
        """Expected demand of one buyer at `price`, float like `price`."""
        return params.demand.mean(price)

    def best(self, params, state=None):
        """The best price of the interval."""
        return jnp.asarray(params.demand.optimal_price(params.cost, params.low, params.high), jnp.float32)

    def draw(self, key, action, mean, params):
        return noises.draw(key, mean, self.noise, scale=params.noise_scale, buyers=self.buyers)


def make(
    demand="logit",
    *,
    num_prices=10,
    prices=None,
    low=None,
    high=None,
    cost=None,
    noise="bernoulli",
    noise_scale=0.1,
    buyers=1,
    horizon=1000,
):
    """A posted-price market and its params.

    Args:
      demand: name of a curve (`jaxprice.demand.curves()`), or a curve with its numbers.
      num_prices: size of an evenly spaced grid on `[low, high]`; None: any price of the interval.
      prices: the grid itself, increasing, `[num_prices]`; instead of `num_prices`, `low` and `high`.
      low, high: price interval; by default that of the curve.
      cost: unit cost; by default that of the curve, zero but for the iso-elastic one.
      noise: "bernoulli", "poisson" or "gaussian".
      noise_scale: standard deviation of demand in a period under Gaussian noise.
      buyers: buyers a period.
      horizon: periods in an episode.

    Returns:
      `(environment, params)`.

    Raises:
      ValueError: bad prices, a cost or scale out of range, purchase probabilities outside [0, 1], more Poisson demand
        than can be drawn, an unknown curve or noise.
    """
    known = demand_curves.curves()
    if isinstance(demand, str):
        checks.choice("demand", demand, known)
        curve = known[demand]()
    else:
        names = {cls: name for name, cls in known.items()}
        if type(demand) not in names:
            raise ValueError(f"demand must be a curve of jaxprice.demand or its name, got {demand!r}")
        curve, demand = demand, names[type(demand)]
        for leaf in jax.tree.leaves(curve):
            checks.number("the numbers of demand", leaf)
    checks.choice("noise", noise, noises.NOISES)
    buyers, horizon = checks.positive_int("buyers", buyers), checks.positive_int("horizon", horizon)
    if noise == "bernoulli":
        checks.fits(buyers=buyers)
    checks.number("noise_scale", noise_scale, low=0, scalar=True)
    if cost is not None:
        checks.number("cost", cost, low=0, scalar=True)
    if prices is not None:
        prices = checks.price_grid(prices)
        if low is not None or high is not None:
            raise ValueError("prices is the grid itself: give either prices, or low and high")
        num_prices, low, high = prices.size, prices[0], prices[-1]
    elif num_prices is not None:
        num_prices = checks.positive_int("num_prices", num_prices)
        checks.fits(num_prices=num_prices)
    lowest, highest = type(curve).price_range
    lowest, highest = lowest if low is None else low, highest if high is None else high
    checks.number("low", lowest, low=0, scalar=True)
    checks.number("high", highest, low=0, scalar=True)
    if prices is None and not lowest < highest:
        raise ValueError(f"low must be below high, got low={lowest!r} and high={highest!r}")
    env = PostedPrice(
        curve=demand,
        num_prices=num_prices,
        noise=noise,
        buyers=buyers,
        prices=None if prices is None else tuple(prices.tolist()),
        low=None if low is None or prices is not None else float(low),
        high=None if high is None or prices is not None else float(high),
        cost=None if cost is None else float(cost),
        noise_scale=float(noise_scale),
        horizon=horizon,
        form=curve.form(),
    )
    devices.use_cpu_cores()
    return env, env.params_of(curve)
