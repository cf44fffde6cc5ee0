"""Posted price: in each period the seller posts a price, and a number of buyers accept or reject it.

A buyer's expected demand at price p is D(p), a curve of `jaxprice.demand`. With Bernoulli noise each of n buyers has a
uniform u and buys if u < D(p), so the buyer's valuation is D^-1(u). A lower price therefore never loses a sale, and all
policies face the same buyers. Poisson noise: sales are Poisson(n D(p)), drawn by inversion. Gaussian noise: n D(p) +
noise_scale * z. The reward is (p - cost) * sales, and the regret of a period max_q n (q - cost) D(q) - n (p - cost) D(p),
with the maximum over the grid or over the interval of prices.

Source: R. Kleinberg, T. Leighton (2003), "The value of knowing a demand curve", doi:10.1109/SFCS.2003.1238232.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, rules
from jaxprice import demand as demand_curves
from jaxprice import noise as noises
from jaxprice.envs.market import MyopicMarket
from jaxprice.envs.options import amount, choice, grid, market, option, optional, periods, whole
from jaxprice.types import Problem

ANY = "any"  # curve of a market after its start, whose demand is a table


@struct.dataclass
class Params:
    """One market.

    Attributes:
      demand: the curve; None after the mean demand at every price of a grid is computed.
      prices: the grid, float `[num_prices]`; `[0]` on an interval.
      low, high: lowest and highest price.
      cost: unit cost.
      noise_scale: standard deviation of demand in a period with Gaussian noise.
      max_steps_in_episode: horizon.
    """

    demand: demand_curves.Curve
    prices: ArrayLike
    low: ArrayLike
    high: ArrayLike
    cost: ArrayLike
    noise_scale: ArrayLike
    max_steps_in_episode: ArrayLike


@market(
    kind="one product",
    what="one product, ten demand curves, grid or interval; Bernoulli, Poisson or Gaussian demand",
    paper="Kleinberg and Leighton (2003)",
    oracle="closed form or global search",
)
@dataclasses.dataclass(frozen=True)
class PostedPrice(MyopicMarket):
    """Posted price with a named demand curve.

    Observation: share of the horizon passed, last price, last demand of one buyer; float `[3]`.
    Action: index of the price grid, int scalar, or a price of the interval, float scalar.
    Reward: (price - cost) * demand, money, float scalar.
    Oracle: the best price of the grid or interval, and its expected profit in a period (money).

    Attributes:
      curve: name of the demand curve, a key of `jaxprice.demand.curves()`, or `ANY` for a market after its start.
      form: structure of the curve for random draws, see `Curve.form`.
    """

    curve: str = "logit"
    num_prices: int | None = option(
        10, "size of an evenly spaced grid on `[low, high]`; None: any price of the interval", optional(whole)
    )
    noise: str = choice("bernoulli", "noise of demand", noises.NOISES)
    buyers: int = option(1, "number of buyers in a period", whole)
    prices: tuple[float, ...] | None = option(
        None, "the grid itself, increasing, `[num_prices]`; instead of `num_prices`, `low` and `high`", optional(grid)
    )
    low: float | None = option(None, "lowest price; by default that of the curve", optional(amount))
    high: float | None = option(None, "highest price; by default that of the curve", optional(amount))
    cost: float | None = option(
        None, "unit cost; by default that of the curve, which is zero except for the iso-elastic one", optional(amount)
    )
    noise_scale: float = option(0.1, "standard deviation of demand in a period under Gaussian noise", amount)
    horizon: int = periods()
    form: tuple = ()

    def check_options(self):
        if self.noise == "bernoulli":
            checks.fits(buyers=self.buyers)
        if self.prices is not None:
            if self.low is not None or self.high is not None:
                got = f"low={self.low!r}, high={self.high!r}"
                raise ValueError(f"prices is the grid itself: give either prices, or low and high, got {got}")
            object.__setattr__(self, "num_prices", len(self.prices))
        elif self.curve != ANY:
            checks.fits(num_prices=self.num_prices or 1)
            low, high = demand_curves.curves()[checks.choice("curve", self.curve, demand_curves.curves())].price_range
            low, high = low if self.low is None else self.low, high if self.high is None else self.high
            if not low < high:
                raise ValueError(f"low must be below high, got low={low!r} and high={high!r}")

    @classmethod
    def make(cls, demand="logit", **choices):
        """A market and its params.

        Args:
          demand: name of a curve (`jaxprice.demand.curves()`), or a curve with its numbers.
          **choices: fields of the class.

        Raises:
          ValueError: bad prices, a cost or scale out of range, purchase probabilities outside [0, 1], Poisson demand that is
            too large to draw, an unknown curve or noise.
        """
        name, curve = demand_curves.named(demand)
        env = cls(curve=name, form=curve.form(), **choices)
        return env, env.params_of(curve)

    @property
    def num_actions(self):
        return self.num_prices or 0

    @property
    def name(self):
        return f"PostedPrice-{self.curve}"

    def default_params(self):
        return self.params_of(demand_curves.default_curve(self.curve, self.form))

    def params_of(self, curve):
        """Params with the given curve, on the grid and with the cost of this environment."""
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
        return PostedPrice(ANY, self.num_prices, noise=self.noise, buyers=self.buyers), dataclasses.replace(
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
