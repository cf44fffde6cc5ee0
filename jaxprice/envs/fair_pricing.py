"""Fair pricing: one product, two groups of buyers, and a limit on the difference of their prices.

In every period the seller posts a price for each group and sees a sale or none in each. With p_i# the best price of group i
alone, prices are fair if |p_1 - p_2| <= lam |p_1# - p_2#|; lam = 1 is no constraint, lam = 0 one price for all. The seller
knows lam (`problem.details["fairness"]`), but not the p_i#, which it must learn too. Demand of group i:

| curve | purchase probability | p_i# at unit cost c |
|---|---|---|
| "exponential" | min(A_i exp(-b_i p), 1) | max(c + 1/b_i, log(A_i)/b_i), clipped |
| "linear" | A_i - b_i p, in [0, 1] at all prices | (A_i/b_i + c)/2, clipped |

Each group's profit is unimodal, so prices between the p_i# beat all others and the constraint binds: p_2 = p_1 + lam (p_2# -
p_1#) with p_1 between p_1# and p_2# - lam (p_2# - p_1#). This is a problem of one variable. For linear demand the solution
is a closed form; for exponential demand it is searched (`numerics.maximise`: prices are accurate to about 1e-3, profits to
rounding).

Instances of Chen, Lyu, Zhang and Zhou, prices in [0, 5], no cost: exponential, .5 exp(1 - p) and .5 exp(1 - p/2), with
p# = 1 and 2 (demand is clipped at one, far below the best prices); linear, 3/5 - p/10 and 4/5 - p/10, with p# = 3 and 4 and
the fair optimum 3.5 -+ lam/2. The best regret is of order T^(4/5), up to logarithms.

Unfair prices can earn more than the fair optimum. The regret of a period is at least zero, so that a violation of the
constraint never reduces regret. The size of the violation is `info["violation"]`; report both. At fair prices
E optimal_reward = E (reward + regret); at unfair prices that earn more, the right side is larger.

Source: X. Chen, J. Lyu, X. Zhang, Y. Zhou (2021), "Fairness-aware online price discrimination with nonparametric demand
models", arXiv:2111.08221.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, noise, rules
from jaxprice.envs.market import MyopicMarket
from jaxprice.envs.options import amount, choice, market, option, periods, share
from jaxprice.numerics import maximise
from jaxprice.types import Interval, Problem

LEVELS = {"exponential": (0.5 * np.e, 0.5 * np.e), "linear": (0.6, 0.8)}  # of the instances; their rates below
RATES = {"exponential": (1.0, 0.5), "linear": (0.1, 0.1)}
STEEPEST = 60.0  # largest decrease of demand up to the cost in drawn markets, as a power of e
ROUNDING = 1e-6  # relative to the highest price; smaller violations count as none


@struct.dataclass
class Params:
    """One market.

    Attributes:
      level: A, demand of each group at price zero before clipping, float `[2]`.
      rate: b, decrease of demand with the price, float `[2]`.
      fairness: lam, largest price gap as a share of the gap between the groups' own best prices.
      low, high: lowest and highest price.
      cost: unit cost.
      max_steps_in_episode: horizon.
    """

    level: ArrayLike
    rate: ArrayLike
    fairness: ArrayLike
    low: ArrayLike
    high: ArrayLike
    cost: ArrayLike
    max_steps_in_episode: ArrayLike


@market(
    kind="one product",
    what="two groups, a limit on their price gap",
    paper="Chen, Lyu, Zhang and Zhou (2021)",
    oracle="constrained optimum",
    merit="regret, violation",
)
@dataclasses.dataclass(frozen=True)
class FairPricing(MyopicMarket):
    """Two groups and a fairness constraint; see the module.

    Observation: share of the horizon passed, last prices, last sales; float `[5]`.
    Action: two prices, float `[2]`.
    Reward: sum of (price - cost) * sale over the groups. `info` also holds "violation", the excess of the price gap over the
      allowed one.
    Oracle: the best fair prices, float `[2]`, and their expected profit in a period (money).
    """

    curve: str = choice("exponential", "curve of demand", LEVELS)
    fairness: float = option(0.5, "largest price gap as a share of the gap between the groups' own best prices", share)
    low: float = option(0.0, "lowest price", amount)
    high: float = option(5.0, "highest price", amount)
    cost: float = option(0.0, "unit cost of both groups, below `high`", amount)
    horizon: int = periods()

    def check_options(self):
        checks.price_interval(self.low, self.high, self.cost)
        if self.cost >= self.high:
            raise ValueError(f"cost must be below high, got cost={self.cost!r} and high={self.high!r}")

    @classmethod
    def make(cls, *, level=None, rate=None, **choices):
        """A market and its params.

        Args:
          level: demand of each group at price zero before clipping, positive, `[2]`; by default that of the instance.
          rate: decrease of demand with the price, positive, `[2]`.
          **choices: fields of the class.

        Raises:
          ValueError: numbers out of range, linear demand outside [0, 1] at some price.
        """
        env, tiny = cls(**choices), float(np.finfo(np.float32).tiny)
        level = checks.array("level", LEVELS[env.curve] if level is None else level, (2,), low=tiny)
        rate = checks.array("rate", RATES[env.curve] if rate is None else rate, (2,), low=tiny)
        return env, env.params_of(level, rate)

    @property
    def name(self):
        return f"{type(self).__name__}-{self.curve}"

    @property
    def demand_shape(self):
        return (2,)

    def params_of(self, level, rate):
        """Params with the given demand, and the prices and the constraint of this environment."""
        numbers = {name: np.float32(getattr(self, name)) for name in ("fairness", "low", "high", "cost")}
        return Params(level=level, rate=rate, max_steps_in_episode=np.int32(self.horizon), **numbers)

    def default_params(self):
        return self.params_of(*(np.asarray(pair[self.curve], np.float32) for pair in (LEVELS, RATES)))

    def sample_params(self, key):
        """Both groups have the same distribution. Let h be the highest price and c the cost.

        Exponential: best prices c + U[.1, .6] (h - c), but at least c (1 + 1 / `STEEPEST`), with demand U[.3, .6] there.
        Linear: demand U[.5, 1] at price zero; the price at which nobody buys is U[1, 2] h.
        """
        u, v = jax.random.uniform(key, (2, 2), jnp.float32)
        if self.curve == "linear":
            level = 0.5 + 0.5 * u
            return self.params_of(level, level / (self.high * (1 + v)))
        rate = 1 / ((0.1 + 0.5 * v) * (self.high - self.cost))
        if self.cost:  # otherwise demand at price zero, the curve's parameter, would overflow float32
            rate = jnp.minimum(rate, STEEPEST / self.cost)
        return self.params_of((0.3 + 0.3 * u) * jnp.exp(1 + rate * self.cost), rate)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.interval(params)
        yield "cost high", params.cost < params.high, "a cost below high"
        yield from rules.above(params, 0, "level", "rate")
        yield from rules.shares(params, "fairness")
        level, rate = params.level.astype(float), params.rate.astype(float)
        low, high = params.low[:, None], params.high[:, None]
        names = "level rate low high"
        if self.curve == "linear":
            least, most = level - rate * high, level - rate * low
            inside = (least >= -rules.ROUNDING) & (most <= 1 + rules.ROUNDING)
            yield names, inside, "linear demand that is a purchase probability in [0, 1] at every price"
        else:
            most = level * np.exp(-rate * low)
        yield names, most > np.finfo(np.float32).tiny, "demand of both groups at the lowest price: nobody buys at any price"

    def problem(self, params):
        return Problem.of(params, Interval((2,)), details={"fairness": params.fairness})

    def best(self, params, state=None):
        return jnp.asarray(self.fair_prices(params), jnp.float32)

    def own_prices(self, params):
        """The best price of each group alone, float `[2]`."""
        level, rate = jnp.asarray(params.level), jnp.asarray(params.rate)
        if self.curve == "linear":
            price = (level / rate + params.cost) / 2
        else:
            price = jnp.maximum(params.cost + 1 / rate, jnp.log(level) / rate)
        return jnp.clip(price, params.low, params.high)

    def fair_prices(self, params):
        """The best fair prices, float `[2]`."""
        own, level, rate = self.own_prices(params), jnp.asarray(params.level), jnp.asarray(params.rate)
        gap = params.fairness * (own[1] - own[0])
        ends = jnp.stack([own[0], own[1] - gap])
        ends = jnp.min(ends), jnp.max(ends)

        def both(first):
            return jnp.stack([first, first + gap])

        def profit(first):
            prices = both(first)
            weights = (2,) + (1,) * jnp.ndim(first)
            mean = self._mean(prices, level.reshape(weights), rate.reshape(weights))
            return jnp.sum((prices - params.cost) * mean, axis=0)

        if self.curve == "linear":
            slope = jnp.sum(rate)
            first = jnp.clip((jnp.sum(level) + slope * params.cost - 2 * rate[1] * gap) / (2 * slope), *ends)
        else:
            first = maximise(profit, *ends)
        return both(first)

    def price(self, action, params):
        return jnp.clip(jnp.asarray(action, jnp.float32), params.low, params.high)

    def mean_demand(self, price, params, state=None):
        return self._mean(price, params.level, params.rate)

    def _mean(self, price, level, rate):
        """Purchase probabilities at prices `[2, ...]`."""
        return level - rate * price if self.curve == "linear" else jnp.minimum(level * jnp.exp(-rate * price), 1.0)

    def draw(self, key, action, mean, params):
        return noise.draw(key, mean, "bernoulli")

    def step_env(self, key, state, action, params):
        obs, new_state, reward, terminated, info = super().step_env(key, state, action, params)
        gap, allowed = jnp.abs(info["price"][1] - info["price"][0]), jnp.abs(state.best_action[1] - state.best_action[0])
        excess = gap - allowed
        violation = jnp.where(excess > ROUNDING * params.high, excess, 0.0)
        more = {"regret": jnp.maximum(info["regret"], 0.0), "violation": jnp.asarray(violation, jnp.float32)}
        return obs, new_state, reward, terminated, info | more
