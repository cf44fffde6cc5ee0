"""A duopoly against a rival that answers every price by a fixed rule.

Both prices are on one grid of K prices. In every period the seller sees the price p of the rival and posts a price a. The
rival holds p for a share h of the period and then answers with p' = R(a, p), which it holds until it answers again:

    sales ~ Poisson(h s(a, p) + (1 - h) s(a, p')),    reward = (a - cost) sales,    p <- p' = R(a, p),

with mean sales s(a, p) of a whole period. h = 1 is a rival that moves after the seller has sold. The rule R is a table, so
it may be any reaction to the two prices. Named rules (`duopoly_tables`) are a fixed price, undercutting, undercutting
between two bounds, and a cartel price with a price war. Demand is that of Kastius and Schlosser, which falls with the rank
of the price, or the logit of Calvano et al., or a table. The noise can be Gaussian instead of Poisson.

Criterion: the long-run average reward (see `planning`), by relative value iteration on the rival's prices, which are the
state of the market. The transitions are deterministic, so the value is the largest mean reward of a cycle of prices. If the
start decides for ever what can be earned (a rival that never forgives), there is no such value, and `make` refuses the
market.

With `any_price` the action is any price between the lowest and the highest, and the seller posts the nearest one of the
grid. So learners of continuous prices play the market, and the oracle stays exact.

The default is the market of Kastius and Schlosser: prices 1, ..., 50, h = 1/2, a rival that undercuts by one between the
bounds 5 and 40. Their criterion is discounted (`experiments/studies/kastius_schlosser.py`). Two of their choices differ
here: their sellers with continuous prices post prices in cents, and those with a grid have no price of 50.

Sources: A. Kastius, R. Schlosser (2022), "Dynamic pricing under competition using reinforcement learning",
doi:10.1057/s41272-021-00285-3; E. Calvano, G. Calzolari, V. Denicolo, S. Pastorello (2020), "Artificial intelligence,
algorithmic pricing, and collusion", doi:10.1257/aer.20190623.
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
from jaxprice.envs import duopoly_tables as duopoly
from jaxprice.envs.market import observe, sale
from jaxprice.envs.options import amount, choice, grid, market, option, optional, periods, positive, share, switch, whole
from jaxprice.envs.planning import LongRunMarket, checked, long_run
from jaxprice.types import Problem

QUALITY, SCALE = 2.0, 0.25  # of the logit demand


@struct.dataclass
class Params:
    """One market.

    Attributes:
      prices: the grid of both sellers, float `[num_prices]`.
      sales: mean sales of a period at each price of the seller and of the rival, float `[num_prices, num_prices]`.
      answer: place of the rival's answer to a price of the seller, given the rival's old price, int
        `[num_prices, num_prices]`.
      cost: unit cost.
      lag: h, the share of a period in which the rival holds its old price.
      start: place of the rival's first price, int.
      noise_scale: standard deviation of demand in a period with Gaussian noise.
      max_steps_in_episode: horizon.
      worth: bias of each price of the rival, float `[num_prices]`; `solve` fills in this and the following fields.
      regrets: regret of each price of the seller at each price of the rival, float `[num_prices, num_prices]`, rival first.
      best: place of the best price at each price of the rival, int `[num_prices]`.
      value: average reward of the oracle.
    """

    prices: ArrayLike
    sales: ArrayLike
    answer: ArrayLike
    cost: ArrayLike
    lag: ArrayLike
    start: ArrayLike
    noise_scale: ArrayLike
    max_steps_in_episode: ArrayLike
    worth: Any = None
    regrets: Any = None
    best: Any = None
    value: Any = None


@struct.dataclass
class State:
    """Number of periods played, and the place of the rival's price on the grid; int scalars."""

    time: jax.Array
    rival: jax.Array


@market(
    kind="memory",
    what="one seller against a rival that answers by a fixed rule: fixed price, undercutting, two bounds, cartel, any table",
    paper="Kastius and Schlosser (2022)",
    oracle="long-run average DP",
)
@dataclasses.dataclass(frozen=True)
class ReactiveRival(LongRunMarket):
    """A duopoly against a rival that follows a rule; see the module.

    Observation: share of the horizon passed, last price, last demand, the rival's price; float `[4]`.
    Action: index of the price grid, or with `any_price` a price.
    Reward: (price - cost) * demand; `info["rival"]` has the rival's answer.
    Oracle: the best price for the rival's price of the period; the long-run average profit of a period (money).
    """

    tables: ClassVar = ("worth", "regrets", "best", "value")
    demand: str = choice("rank", "demand of the two products", duopoly.DEMANDS)
    rule: str = choice("two_bound", "rule of the rival", duopoly.RULES)
    num_prices: int = option(50, "size of an evenly spaced grid on `[low, high]`", whole)
    prices: tuple[float, ...] | None = option(None, "the grid itself, increasing", optional(grid))
    low: float = option(1.0, "lowest price; with `prices`, the first", amount)
    high: float = option(50.0, "highest price; with `prices`, the last", amount)
    any_price: bool = option(False, "whether an action is any price, rounded to the grid", switch)
    floor: float | None = option(None, "lowest price to which the rival undercuts; by default of the rule", optional(amount))
    ceiling: float | None = option(None, "price to which it then returns; by default of the rule", optional(amount))
    at: float | None = option(None, "fixed price, or cartel price; by default of the rule", optional(amount))
    gap: int = option(1, "by how many prices of the grid the rival undercuts", whole)
    capped: bool = option(False, "whether the rival asks no more than the ceiling, but for the cartel price", switch)
    cost: float = option(0.0, "unit cost", amount)
    size: float = option(800.0, "factor of demand; with logit demand, the mass of buyers", positive)
    lag: float = option(0.5, "share of a period in which the rival holds its old price", share)
    start: float | None = option(None, "the rival's first price; by default 3/5 up the grid", optional(amount))
    noise: str = choice("poisson", "noise of demand", ("poisson", "gaussian"))
    noise_scale: float = option(0.1, "standard deviation of demand in a period under Gaussian noise", amount)
    horizon: int = periods()

    def check_options(self):
        if self.prices is not None:
            for name, value in (("num_prices", len(self.prices)), ("low", self.prices[0]), ("high", self.prices[-1])):
                object.__setattr__(self, name, value)
        elif not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low!r} and high={self.high!r}")
        checks.fits(num_prices=self.num_prices, answers=self.num_prices)
        checks.positive("high", self.high)
        checks.whole("gap", self.gap, 1, max(self.num_prices - 1, 1))
        floor, ceiling, _, _ = self.places
        if floor > ceiling:
            raise ValueError(f"floor must be at most ceiling, got {self.ladder[floor]:g} and {self.ladder[ceiling]:g}")

    @classmethod
    def make(cls, demand="rank", *, answers=None, sales=None, quality=None, scale=None, **choices):
        """A market and its params; by default that of Kastius and Schlosser.

        Args:
          demand: "rank" (Kastius and Schlosser), or "logit": by default the 15 prices, cost 1, quality 2 and scale .25 of
            Calvano et al., and 10 buyers.
          answers: prices with which the rival answers, instead of `rule`: `[num_prices]` by the seller's price, or
            `[num_prices, num_prices]` by the seller's new price and the rival's old price.
          sales: mean sales of a period by the seller's price and the rival's price, `[num_prices, num_prices]`, instead of
            those of `demand`.
          quality, scale: mean valuation of a product, and spread of valuations, under logit demand.
          **choices: fields of the class.

        Raises:
          ValueError: numbers out of range, prices that are not on the grid, tables of a wrong shape, Poisson demand that is
            too large to draw, a rule under which the start decides for ever what can be earned.
        """
        given = [name for name, value in (("quality", quality), ("scale", scale)) if value is not None]
        quality = amount("quality", QUALITY if quality is None else quality)
        scale = positive("scale", SCALE if scale is None else scale)
        if checks.choice("demand", demand, duopoly.DEMANDS) == "rank" and given:
            raise ValueError(f"quality and scale are numbers of logit demand, got {' and '.join(given)} with rank demand")
        if demand == "logit":
            usual = {"num_prices": 15, "cost": 1.0, "size": 10.0} | choices
            if not {"prices", "low", "high"} & set(choices):
                ends = duopoly.logit_ends(quality, amount("cost", usual["cost"]), scale)
                usual |= {"low": max(ends[0], 0.0), "high": ends[1]}
            choices = usual
        env = cls(demand=demand, **choices)
        params = env.params_of(*env.tables_of(env.places, quality, scale))
        if answers is not None:
            params = dataclasses.replace(params, answer=duopoly.table_of_answers(answers, env.ladder))
        if sales is not None:
            params = dataclasses.replace(params, sales=checks.array("sales", sales, (env.num_prices,) * 2, low=0))
        return env, checked(env, params)

    @property
    def ladder(self):
        """The grid, float `[num_prices]`."""
        return np.linspace(self.low, self.high, self.num_prices) if self.prices is None else np.array(self.prices)

    @property
    def places(self):
        """Places on the grid of floor, ceiling, `at` and the rival's first price."""
        shares = *duopoly.usual_shares(self.rule), 0.6
        given = {"floor": self.floor, "ceiling": self.ceiling, "at": self.at, "start": self.start}
        return tuple(
            round(share * (self.num_prices - 1)) if price is None else duopoly.place_of(name, price, self.ladder)
            for share, (name, price) in zip(shares, given.items(), strict=True)
        )

    def tables_of(self, places, quality: ArrayLike = QUALITY, scale: ArrayLike = SCALE, **coefficients):
        """Mean sales, and answers of the rule with the given places; `coefficients` are those of `rank_sales`."""
        if self.demand == "rank":
            sales = duopoly.rank_sales(self.ladder, **{"size": self.size, **coefficients})
        else:
            sales = duopoly.logit_sales(self.ladder, self.size, quality, scale)
        return sales, duopoly.answers(self.rule, self.num_prices, *places[:3], step=self.gap, capped=self.capped)

    def params_of(self, sales, answer):
        """Params, not solved yet, with the given tables."""
        numbers = {name: np.float32(getattr(self, name)) for name in ("cost", "lag", "noise_scale")}
        return Params(
            prices=self.ladder.astype(np.float32),
            sales=jnp.asarray(sales, jnp.float32),
            answer=jnp.asarray(answer, jnp.int32),
            start=np.int32(self.places[-1]),
            max_steps_in_episode=np.int32(self.horizon),
            **numbers,
        )

    def default_params(self):
        return self.solved(self.params_of(*self.tables_of(self.places)))

    def sample_params(self, key):
        """The rule with a floor in the lowest third of the grid, a ceiling in the highest third, and a fixed or cartel price
        in the middle half, all uniform. Rank demand: size U[.5, 1.5] times the usual one, coefficient of the rank
        U[-.9, -.3], of the mean price U[-.045, -.02]. Logit demand: quality U[1.5, 2.5], scale U[.2, .3]."""
        u = jax.random.uniform(key, (6,), jnp.float32)
        shares = jnp.stack([u[0] / 3, (2 + u[1]) / 3, 0.25 + u[2] / 2])
        places = jnp.round(shares * (self.num_prices - 1)).astype(jnp.int32)
        numbers = {"size": self.size * (0.5 + u[3]), "rank": -0.3 - 0.6 * u[4], "level": -0.02 - 0.025 * u[5]}
        return self.solve(self.params_of(*self.tables_of(places, 1.5 + u[4], 0.2 + 0.1 * u[5], **numbers)))

    def solve(self, params):
        """Bias, regrets, best prices and value."""
        sales, answer = jnp.asarray(params.sales), jnp.asarray(params.answer)
        after = jnp.take_along_axis(sales, answer, axis=1)  # at the rival's answer, [own, rival]
        margins = jnp.asarray(params.prices) - params.cost
        reward = margins[:, None] * (params.lag * sales + (1 - params.lag) * after)
        value, worth = long_run(lambda worth: jnp.max(reward + worth[answer], axis=0), jnp.zeros_like(margins))
        values = (reward + worth[answer]).T
        regrets = jnp.max(values, axis=1, keepdims=True) - values
        best = jnp.argmin(regrets, axis=1).astype(jnp.int32)
        return dataclasses.replace(params, worth=worth, regrets=regrets, best=best, value=value)

    def rules(self, params):
        yield from super().rules(params)
        yield from rules.grid(params)
        yield from rules.at_least(params, 0, "sales", "cost", "noise_scale")
        yield from rules.shares(params, "lag")
        for name in ("answer", "start"):
            place = getattr(params, name)
            yield name, (place >= 0) & (place < self.num_prices), f"a {name} that is a place in the grid"
        yield "sales", params.sales.max(axis=(1, 2)) > 0, "sales at some price: nobody buys at any price"
        if self.noise == "poisson":
            most = params.sales <= noises.POISSON_MEAN
            yield "sales", most, f"sales of at most {noises.POISSON_MEAN:g} a period, which are drawn as Poisson numbers"

    def problem(self, params):
        if not self.any_price:
            return Problem.of(params, noise=self.noise)
        prices = jnp.asarray(params.prices)
        return Problem.of(params, prices=jnp.zeros(0, jnp.float32), low=prices[0], high=prices[-1], noise=self.noise)

    def reset_env(self, key, params):
        del key
        state = State(jnp.int32(0), jnp.asarray(params.start, jnp.int32))
        return self._see(state, 0.0, 0.0, params), state

    def step_env(self, key, state, action, params):
        own = self._place(action, params)
        answer = jnp.ravel(params.answer)[own * self.num_prices + state.rival]
        demand = noises.draw(key, self._mean(own, state.rival, answer, params), self.noise, scale=params.noise_scale)
        regret = jnp.ravel(params.regrets)[state.rival * self.num_prices + own]
        price, rival = jnp.asarray(params.prices)[own], jnp.asarray(params.prices)[answer]
        info = sale(price, demand, (price - params.cost) * demand, regret, params.value, rival=rival)
        state = State(state.time + 1, answer)
        return self._see(state, price, demand, params), state, info["reward"], jnp.bool_(False), info

    def expected_reward(self, state, action, params):
        own = self._place(action, params)
        answer = jnp.ravel(params.answer)[own * self.num_prices + state.rival]
        price = jnp.asarray(params.prices)[own]
        return (price - params.cost) * self._mean(own, state.rival, answer, params)

    def optimal_action(self, state, params):
        best = jnp.asarray(params.best)[state.rival]
        return jnp.asarray(params.prices)[best] if self.any_price else best

    def _place(self, action, params):
        """Place of the posted price on the grid."""
        if not self.any_price:
            return jnp.asarray(action, jnp.int32)
        return jnp.argmin(jnp.abs(jnp.asarray(params.prices) - action)).astype(jnp.int32)

    def _mean(self, own, rival, answer, params):
        """Mean sales of a period."""
        sales, row = jnp.ravel(params.sales), own * self.num_prices
        return params.lag * sales[row + rival] + (1 - params.lag) * sales[row + answer]

    def _see(self, state, price, demand, params):
        gone = state.time / params.max_steps_in_episode
        return observe(gone, price, demand, jnp.asarray(params.prices)[state.rival])
