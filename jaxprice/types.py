"""The terms of jaxprice: problem, transition, policy, and the spaces of actions. `jaxprice.environment` has the market."""

import dataclasses
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer


@dataclasses.dataclass(frozen=True)
class Discrete:
    """Actions 0, ..., n - 1: indices of a price grid, or arms. With a shape, one index for each seller, int `[*shape]`."""

    n: int
    shape: tuple[int, ...] = ()
    kind: ClassVar = jnp.integer


@dataclasses.dataclass(frozen=True)
class Interval:
    """Actions are prices between `problem.low` and `problem.high`. With a shape, one price a product, float `[*shape]`."""

    shape: tuple[int, ...] = ()
    kind: ClassVar = jnp.floating


@dataclasses.dataclass(frozen=True)
class Subset:
    """Actions are sets of at most `size` out of n products, bool `[n]`."""

    n: int
    size: int
    kind: ClassVar = jnp.bool_

    @property
    def shape(self):
        """Shape of an action."""
        return (self.n,)


def to_action(space, action):
    """Convert an agent's action to an action of the market.

    Args:
      space: the market's action space.
      action: an index, or one for each seller, as an array or a tuple; prices, `[1]` for a single one; or weights `[n]` for
        sets of products: products with weights above 1/2 are offered, and if these are too many, the heaviest ones.

    Returns:
      int32, float32 or bool `[*space.shape]`.
    """
    if isinstance(space, Discrete):
        action = jnp.stack(action) if isinstance(action, tuple | list) else action
        return jnp.reshape(jnp.asarray(action, jnp.int32), space.shape)
    action = jnp.reshape(jnp.asarray(action, jnp.float32), space.shape)
    if isinstance(space, Subset):
        return (jnp.argsort(jnp.argsort(-action)) < space.size) & (action > 0.5)
    return action


@struct.dataclass
class Problem:
    """The facts that the seller knows before the first sale. Policies see the problem and never the params.

    With several products, `[n]` is their number. With one product, these axes are absent.

    Attributes:
      prices: price of each action, float `[num_prices]` or `[num_prices, n]`. The shape is `[0]` where any price in
        `[low, high]` may be posted. The arms of a bandit have price one.
      low, high: lowest and highest price, float scalars or `[n]`.
      cost: cost of one unit, float scalar or `[n]`.
      horizon: number of periods, int scalar.
      noise_scale: standard deviation of the demand of a period if the noise is Gaussian, float scalar.
      stock: units on hand at the start, float scalar or `[num_resources]`. None means unlimited stock.
      consumption: units of each resource that one unit of each product takes, float `[n, num_resources]`. None means that
        each product with stock is its own resource.
      bounds: a box that contains the parameters of demand, float `[2, num_parameters]` (lowest, highest). The market's
        docstring gives the order of the parameters. None means that no box is known.
      details: other facts by name; see the market's docstring.
      observation: the observation before the first sale. It is None outside the engine; see `Problem.with_observation`.
      action_space: `Discrete`, `Interval` or `Subset`.
      buyers: customers a period; `demand / buyers` is the conversion rate.
      noise: "bernoulli" (each buyer buys or not), "poisson" or "gaussian".
      law: distribution of the noise of valuations if buyers have features (see the market's docstring); otherwise "".
      context_size: length of the context, which is the last part of the observation; 0 if there is no context.
    """

    prices: jax.Array
    low: jax.Array
    high: jax.Array
    cost: jax.Array
    horizon: jax.Array
    noise_scale: jax.Array
    action_space: Discrete | Interval | Subset = struct.field(pytree_node=False)
    stock: Any = None
    consumption: Any = None
    bounds: Any = None
    details: dict = dataclasses.field(default_factory=dict)
    observation: Any = None
    buyers: int = struct.field(pytree_node=False, default=1)
    noise: str = struct.field(pytree_node=False, default="bernoulli")
    law: str = struct.field(pytree_node=False, default="")
    context_size: int = struct.field(pytree_node=False, default=0)

    @classmethod
    def of(cls, params, action_space=None, **told):
        """The problem of the market `params`, with the fields of the same names, unless they are given here.

        Args:
          params: a market with `max_steps_in_episode`. `prices`, `low`, `high`, `cost` and `noise_scale` are taken from it.
            Without `prices` there is no grid; without `low` and `high`, these are the ends of the grid; without
            `noise_scale` there is no Gaussian noise.
          action_space: by default `Discrete` for a grid, otherwise `Interval`.
          **told: other fields.
        """
        shape = () if action_space is None else action_space.shape
        prices = told.setdefault("prices", getattr(params, "prices", np.zeros((0, *shape), np.float32)))
        for name, end in (("low", 0), ("high", -1)):
            if name not in told:
                told[name] = getattr(params, name) if hasattr(params, name) else prices[end]
        if "cost" not in told:
            told["cost"] = params.cost
        if told.setdefault("noise_scale", getattr(params, "noise_scale", None)) is None:
            told["noise_scale"] = np.float32(0)
        if action_space is None:
            action_space = Discrete(prices.shape[0]) if prices.shape[0] else Interval()
        return cls(horizon=params.max_steps_in_episode, action_space=action_space, **told)

    @property
    def num_prices(self):
        """Number of prices on the grid, 0 for an interval."""
        return self.prices.shape[0]

    @property
    def margins(self):
        """Profit of one sale at each price, float `[num_prices]` or `[num_prices, n]`."""
        return self.prices - self.cost

    @property
    def one_price(self):
        """Whether there are several actions and all have the same price, as in a bandit; False if the prices are traced."""
        if isinstance(self.prices, Tracer) or self.prices.ndim != 1 or self.prices.size < 2:
            return False
        prices = np.asarray(self.prices)
        return bool(np.all(prices == prices[0]))

    def with_observation(self, observation):
        """The problem together with the first `observation`."""
        return dataclasses.replace(self, observation=jax.tree.map(jnp.asarray, observation))

    def of_seller(self, i):
        """The problem of seller i in a market with several sellers, whose prices are `[num_prices, n]`."""
        return dataclasses.replace(
            self,
            prices=self.prices[:, i],
            low=self.low[i],
            high=self.high[i],
            cost=self.cost[i],
            action_space=dataclasses.replace(self.action_space, shape=()),
        )


@struct.dataclass
class Transition:
    """What the seller observed in one period.

    Attributes:
      observation: the observation before the seller set the price.
      action: the action taken: the index of a grid price, int scalar; or a price, float scalar; or a set of products. For
        several products see the shapes of the action spaces.
      price: the posted price, float scalar or `[n]`.
      demand: units sold, float scalar or `[n]`.
      reward: profit of the period, float scalar.
      next_observation: the observation after the sale.
    """

    observation: Any
    action: jax.Array
    price: jax.Array
    demand: jax.Array
    reward: jax.Array
    next_observation: Any


class InitFn(Protocol):
    """How a policy starts: `(key, problem) -> state`."""

    def __call__(self, key: jax.Array, problem: Problem, /) -> Any:
        """Return the state of the policy before the first sale.

        Args:
          key: a typed random key, such as `jax.random.key` returns.
          problem: the facts that the seller knows.

        Returns:
          The state: any pytree of arrays. Its structure, shapes and dtypes stay the same in every period.

        Raises:
          ValueError: the policy cannot play the problem.
        """
        ...


class ActFn(Protocol):
    """How a policy sets a price: `(key, state, observation) -> action`."""

    def __call__(self, key: jax.Array, state: Any, observation: Any, /) -> jax.Array:
        """Return the action of a period.

        Args:
          key: a typed random key, different in every period.
          state: what `init` or the last `update` returned.
          observation: what the seller sees before the sale; the market's docstring describes it.

        Returns:
          An action of `problem.action_space`: an index of the grid, a price, or a set of products.
        """
        ...


class UpdateFn(Protocol):
    """How a policy learns: `(key, state, transition) -> state`."""

    def __call__(self, key: jax.Array, state: Any, transition: Transition, /) -> Any:
        """Return the state of the policy after the period.

        Args:
          key: a typed random key, different in every period and different from the key of `act`.
          state: the state that `act` received.
          transition: what happened in the period.

        Returns:
          The next state, with the structure, shapes and dtypes of `state`.
        """
        ...


class ProbabilitiesFn(Protocol):
    """The law of a policy's next action: `(state, observation) -> probabilities`."""

    def __call__(self, state: Any, observation: Any, /) -> Any:
        """Return the law of the action that `act` returns for a random key.

        Args:
          state: what `init` or the last `update` returned.
          observation: what the seller sees before the sale.

        Returns:
          The probability of every action of a grid, float `[num_prices]`. If prices come from an interval, a function from a
          price to its density.
        """
        ...


class Policy(NamedTuple):
    """A seller's rule for choosing prices: three pure functions for one lane, called with positional arguments.

    Attributes:
      init: `(key, problem) -> state`, before the first sale; see `InitFn`.
      act: `(key, state, observation) -> action`; see `ActFn`.
      update: `(key, state, transition) -> state`, after each period; see `UpdateFn`.
      probabilities: `(state, observation) -> probabilities` of the actions of `act`, see `ProbabilitiesFn`; None where no
        formula is known. Nothing that plays a policy calls it (`ope.propensities` does).
    """

    init: InitFn
    act: ActFn
    update: UpdateFn
    probabilities: ProbabilitiesFn | None = None


class Oracle(Policy):
    """A policy that knows the market: the engine plays the environment's `optimal_action` instead of its `act`."""
