"""The common part of learners over a table of states and prices: states, table, exploration and learning rate.

States. Entry i of the observation is cut into b_i bins of equal width between its bounds l_i and u_i,

    j_i = floor(b_i (o_i - l_i) / (u_i - l_i)),   at least 0 and at most b_i - 1,        s = (... j_0 b_1 + j_1) b_2 + ...,

so the first entry varies slowest. Entries with one bin, and those beyond the last bin count, are ignored. With as many bins
as an evenly spaced grid has prices, the bin of a price is its index, also after rounding. By default the state is the last
price (entry 1 of every observation of one product), with as many bins as prices, and the bounds of prices.

Learning. Q(s, a) is the value of a price, that is, the discounted profit from then on. The n-th visit to (s, a) updates

    Q(s, a) <- Q(s, a) + rate / n^power (target - Q(s, a)):

Power 0 is a constant rate. Rate 1 and power 1 average the targets, 1/n. A power in (1/2, 1) forgets the first targets
sooner.

Exploration. In period t = 1, 2, ... the price is uniformly random with probability e_t; otherwise the first price with the
largest Q(s, a) is posted (ties to the lowest price):

| exploration | e_t |
|---|---|
| "constant" | epsilon |
| "exponential" | epsilon exp(-decay t), computed from the counter t, not by repeated multiplication |
| "harmonic" | epsilon / (1 + decay t) |

A table has one entry for each state and price, with a power also a count, and a rounding error (`totals`), because steps of
rate / n are small.

Sources: C. J. C. H. Watkins, P. Dayan (1992), "Q-learning", doi:10.1007/BF00992698; E. Even-Dar, Y. Mansour (2003),
"Learning rates for Q-learning", Journal of Machine Learning Research 5 (power); E. Calvano, G. Calzolari, V. Denicolo,
S. Pastorello (2020), doi:10.1257/aer.20190623 (states and exponential exploration).
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

KINDS = (("bins", "wholes"), ("low", "numbers"), ("high", "numbers"), ("initial", "numbers"))  # kinds of the options
EXPLORATIONS = ("constant", "exponential", "harmonic")
ENTRIES = 2**20  # largest number of entries of a table


@struct.dataclass
class States:
    """The map from observations to states.

    Attributes:
      low, high: bounds of the entries with bins, float `[len(bins)]`.
      bins: number of bins of each of the first entries.
    """

    low: jax.Array
    high: jax.Array
    bins: tuple[int, ...] = struct.field(pytree_node=False)

    def of(self, observation: Num[Array, " n"]) -> Int[Array, ""]:
        """The state of an observation, int scalar."""
        state = jnp.int32(0)
        for i, size in enumerate(self.bins):
            if size > 1:
                share = (observation[i] - self.low[i]) / jnp.maximum(self.high[i] - self.low[i], 1e-30)
                place = jnp.clip(jnp.floor(size * share), 0.0, size - 1.0).astype(jnp.int32)
                state = state * size + place
        return state


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      time: number of the next period, from 1, int scalar.
      states: the map from observations to states.
      table: Q, float `[num_states, num_prices]`, money.
      counts: visits n, int `[num_states, num_prices]`; None with a constant rate.
      lost: rounding errors of Q, float `[num_states, num_prices]`; None with a constant rate.
      pending: state, action and reward of the period that SARSA has not learned yet (int, int, float scalars), else None.
    """

    time: jax.Array
    states: States
    table: jax.Array
    counts: Any
    lost: Any
    pending: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Learner:
    """The options and methods that all learners share; see the module and `learning_policy`."""

    name: str
    bins: Any
    low: Any
    high: Any
    discount: Any
    rate: Any
    power: Any
    exploration: str
    epsilon: Any
    decay: Any
    initial: Any

    def __post_init__(self):
        if self.bins is not None:
            bins = self.bins if isinstance(self.bins, tuple) else (self.bins,)
            if not bins:
                raise ValueError(
                    "bins must have a number for each entry of the observation up to the last one used, got none"
                )
            object.__setattr__(self, "bins", tuple(checks.positive_int("bins", size) for size in bins))
        for name in ("low", "high"):
            value = checks.number(name, 0.0 if getattr(self, name) is None else getattr(self, name))
            if np.shape(value) and (self.bins is None or np.shape(value) != (len(self.bins),)):
                raise ValueError(f"{name} must be a number, or one for each of bins, got {value!r} for bins={self.bins!r}")
        both = self.low is not None and self.high is not None
        if both and not checks.is_traced((self.low, self.high)) and np.any(np.asarray(self.low) >= np.asarray(self.high)):
            raise ValueError(f"low must be below high, got low={self.low!r} and high={self.high!r}")
        checks.number("discount", self.discount, low=0, high=1 - 1e-6)
        checks.number("rate", self.rate, low=0, high=1)
        checks.number("power", self.power, low=0, high=1)
        checks.choice("exploration", self.exploration, EXPLORATIONS)
        checks.number("epsilon", self.epsilon, low=0, high=1)
        checks.number("decay", self.decay, low=0)
        checks.number("initial", self.initial)

    @property
    def counted(self) -> bool:
        """Whether visits are counted, that is, the rate decreases or may decrease."""
        return checks.is_traced(self.power) or bool(np.any(np.asarray(self.power) != 0))

    def init(self, key, problem):
        """The state before the first period."""
        del key
        arms.require_grid(problem, self.name)
        bins = self.bins
        if bins is None and jnp.ndim(problem.prices) != 1:
            raise ValueError(
                f"{self.name} takes the last price for the state, but here an action prices several products: give bins"
            )
        bins = (1, problem.num_prices) if bins is None else bins
        if problem.observation is not None and not hasattr(problem.observation, "shape"):
            kind = type(problem.observation).__name__
            raise ValueError(f"{self.name} needs observations that are arrays, but here one is a {kind}")
        seen = None if problem.observation is None else problem.observation.shape[0]
        if seen is not None and seen < len(bins):
            raise ValueError(f"{self.name} has bins for {len(bins)} entries of the observation, but there are {seen}")
        bounds = [given if given is not None else of for given, of in ((self.low, problem.low), (self.high, problem.high))]
        if any(np.shape(bound) and np.shape(bound) != (len(bins),) for bound in bounds):
            raise ValueError(f"{self.name} needs low and high here, where each of several products has its own")
        low, high = (jnp.broadcast_to(jnp.asarray(bound, jnp.float32), (len(bins),)) for bound in bounds)
        shape = math.prod(bins), problem.action_space.n
        if math.prod(shape) > ENTRIES:
            raise ValueError(f"{self.name}'s table must have at most {ENTRIES} entries, but bins={bins} makes it {shape}")
        if np.shape(self.initial) not in ((), shape[1:], shape):
            raise ValueError(
                f"initial of {self.name} must be a number, {shape[1:]} or {shape}, got {np.shape(self.initial)}"
            )
        initial = jnp.asarray(self.initial, jnp.float32)
        table = jnp.broadcast_to(initial.reshape((1,) * (2 - initial.ndim) + initial.shape), shape)
        counted = (jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.float32)) if self.counted else (None, None)
        return State(jnp.int32(1), States(low, high, bins), table, *counted)

    def explores(self, time: Int[Array, ""]) -> Float[Array, ""]:
        """e_t, float scalar."""
        if self.exploration == "constant":
            return jnp.asarray(self.epsilon, jnp.float32)
        shift = jnp.asarray(self.decay, jnp.float32) * time.astype(jnp.float32)
        return self.epsilon * jnp.exp(-shift) if self.exploration == "exponential" else self.epsilon / (1 + shift)

    def act(self, key, state, observation):
        """A random price, or the first price with the largest value."""
        values = state.table[state.states.of(observation)]
        coin, which = samplers.uniform(jax.random.bits(key, (2,), jnp.uint32))
        random = jnp.floor(which * values.shape[0]).astype(jnp.int32)
        return jnp.where(coin < self.explores(state.time), random, jnp.argmax(values).astype(jnp.int32))

    def chances(self, state: State, observation: Num[Array, " n"]) -> Float[Array, " num_prices"]:
        """Probability of each price, float `[num_prices]`."""
        values = state.table[state.states.of(observation)]
        return arms.greedy_or_even(jnp.argmax(values), self.explores(state.time), values.shape[0])

    def learn(
        self,
        state: State,
        place: Int[Array, ""],
        action: Int[ArrayLike, ""],
        target: Num[ArrayLike, ""],
        weight: Any = 1.0,
    ) -> tuple[Float[Array, "num_states num_prices"], Any, Any]:
        """`(table, counts, lost)` after a visit to (place, action) with a weight."""
        rate = jnp.asarray(self.rate, jnp.float32)
        row = state.table[place]  # vector code over lanes reads and writes whole rows
        if state.counts is None:
            row = row.at[action].add(weight * rate * (target - row[action]))
            return state.table.at[place].set(row), None, None
        visits, lost = state.counts[place], state.lost[place]
        visits = visits.at[action].add(jnp.asarray(weight, jnp.int32))
        rate = rate * jnp.maximum(visits[action].astype(jnp.float32), 1.0) ** -jnp.asarray(self.power, jnp.float32)
        step = weight * rate * (target - row[action])
        value, rest = totals.plus(row[action], lost[action], step, visits[action] >= totals.LONG)
        rows = row.at[action].set(value), visits, lost.at[action].set(rest)
        table, counts, lost = (
            x.at[place].set(y) for x, y in zip((state.table, state.counts, state.lost), rows, strict=True)
        )
        return table, counts, lost

    def policy(self, update: Callable, init: Callable | None = None) -> Policy:
        """The Policy of a learner, which has an `init` of its own or that of all."""

        def act(key, state, observation):  # no method: it carries a description
            return self.act(key, state, observation)

        return Policy(init or self.init, act, update, self.chances)


def learning_policy(*, source):
    """Register a function as a policy whose options are those of a learner.

    Args:
      source: as in `policy_maker`.

    Returns:
      A decorator of functions from a `Learner` to a `Policy`.
    """

    def register(function):
        def make(
            bins=None,
            low=None,
            high=None,
            discount=0.95,
            rate=0.15,
            power=0.0,
            exploration="constant",
            epsilon=0.1,
            decay=1e-3,
            initial=0.0,
        ):
            """Args:
              bins: number of bins of each of the first entries of the observation; 1: ignored. By default the last price.
              low, high: bounds of the binned entries, one number or one for each of `bins`; by default those of prices.
              discount: weight of the next period's value, from 0 to below 1; this and the numbers below may be traced.
              rate: rate of learning at the first visit, in [0, 1].
              power: the rate decreases as n^-power with the number n of visits, in [0, 1].
              exploration: "constant", "exponential" or "harmonic".
              epsilon: probability of a random price, in [0, 1]; its initial value if it decreases.
              decay: speed of its decrease, at least 0.
              initial: Q before the first period, money: a number, `[num_prices]` or `[num_states, num_prices]`.

            Raises:
              ValueError: numbers out of range, an unknown exploration; at `init`, no price grid, or options that do not
                fit it.
            """
            options = bins, low, high, discount, rate, power, exploration, epsilon, decay, initial
            return function(Learner(function.__name__, *options))

        make.__doc__ = f"{inspect.getdoc(function)}\n\n{inspect.getdoc(make)}"
        functools.update_wrapper(make, function, ("__module__", "__name__", "__qualname__"), ())
        del make.__wrapped__  # the signature is its own
        return policy_maker(source=source, regret="T with constant exploration", feedback="reward", kinds=KINDS)(make)

    return register
