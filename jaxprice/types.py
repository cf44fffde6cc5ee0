"""The terms of jaxprice: environment, params, problem, policy, transition."""

import abc
import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxprice import rules, solving


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


class Policy(NamedTuple):
    """A seller's rule for choosing prices: three pure functions for one lane, called with positional arguments.

    Attributes:
      init: `(key, problem) -> state`, before the first sale; see `InitFn`.
      act: `(key, state, observation) -> action`; see `ActFn`.
      update: `(key, state, transition) -> state`, after each period; see `UpdateFn`.
    """

    init: InitFn
    act: ActFn
    update: UpdateFn


class Oracle(Policy):
    """A policy that knows the market: the engine plays the environment's `optimal_action` instead of its `act`."""


class Environment(abc.ABC):
    """A simulated market for one lane. Subclasses are frozen dataclasses of static choices.

    The methods are those of gymnax 1.x. A subclass provides `default_params`, `sample_params`, `problem`, `reset_env`,
    `step_env`, `expected_reward`, `optimal_reward` and `optimal_action`; without them its constructor raises a `TypeError`.
    `jaxprice.envs` lists base classes that have some of them. `step_env` returns an `info` that always holds `price` and
    `demand` (float scalars, or `[n]` with n products), `reward`, `regret` and `optimal_reward` (float scalars).

    In some markets today's price changes tomorrow's market (stock, reference prices, loyalty). There the regret of a period
    is the loss in value under the oracle, `V(s) - E[r + V(s')]`. It is never negative, and zero for the oracle. Its sum is
    the value of the oracle minus the earnings of the policy.

    Attributes:
      longest: largest horizon for which the oracle has tables; None means any horizon.
      tables: names of the params that `solve` fills in.
      infinite: names of the params that may be infinite; infinity means that there is no limit.
    """

    longest: ClassVar[int | None] = None
    tables: ClassVar[tuple[str, ...]] = ()
    endless: ClassVar[bool] = False
    infinite: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options):
        """Make `default_params` of every subclass return concrete numbers, even if it is called while JAX traces."""
        super().__init_subclass__(**options)
        if "default_params" in vars(cls):
            cls.default_params = _now(cls.default_params)

    def __post_init__(self):
        """Check the fields that are options (`jaxprice.envs.options`), first separately and then together."""
        market: Any = self  # a dataclass, as every subclass is
        for field in dataclasses.fields(market):
            check = field.metadata.get("check")
            if check is not None:
                object.__setattr__(self, field.name, check(field.name, getattr(self, field.name)))
        self.check_options()

    def check_options(self):
        """Raise a ValueError if options contradict each other. A subclass defines the condition."""
        return None

    @classmethod
    def make(cls, **choices):
        """A market and its params, `(environment, params)`; by default those of `default_params`.

        Args:
          **choices: options, which are fields of the class.

        Raises:
          ValueError: a bad value.
        """
        env = cls(**choices)
        return env, env.default_params()

    @property
    def name(self):
        """Label of this market in results."""
        return type(self).__name__

    @abc.abstractmethod
    def default_params(self) -> Any:
        """One concrete market of this kind, as NumPy arrays."""

    @abc.abstractmethod
    def sample_params(self, key) -> Any:
        """A random market of the task distribution."""

    def draw_params(self, key, horizon) -> Any:
        """A random market of the task distribution, played for `horizon` periods, an int scalar.

        It equals `sample_params` with another horizon. Oracle tables that depend on the horizon are solved again.
        """
        params = dataclasses.replace(self.sample_params(key), max_steps_in_episode=horizon)
        return self.solve(params) if solving.of_horizon(self) else params

    def check_params(self, params):
        """Raise if a market is impossible: one market, or a batch with a leading axis.

        Traced params are accepted unchecked. Tables that `solve` fills in are not checked.

        Raises:
          ValueError: a number is not finite, or one of `rules` is broken. The message names the row of a batch.
        """
        rules.check(self, params)

    def rules(self, params):
        """The conditions that markets must satisfy: yields `(names, holds, wanted)`.

        `params` is a batch of NumPy arrays, every leaf `[M, ...]`. `names` are the leaves of a condition, separated by
        spaces; `holds` is bool `[M, ...]`; `wanted` is text for the message. A subclass yields these rules first.
        """
        steps = params.max_steps_in_episode
        yield "max_steps_in_episode", steps >= 1, "a max_steps_in_episode of at least 1"
        if self.longest is not None:
            yield "max_steps_in_episode", steps <= self.longest, f"a max_steps_in_episode of at most {self.longest}"

    @abc.abstractmethod
    def problem(self, params) -> Problem:
        """The facts that the seller may know about the market `params`."""

    @abc.abstractmethod
    def reset_env(self, key, params) -> tuple[Any, Any]:
        """Start one selling horizon: `(observation, state)`."""

    @abc.abstractmethod
    def step_env(self, key, state, action, params) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One period, without autoreset: `(observation, state, reward, terminated, info)`.

        `terminated` must be False before the horizon; otherwise `simulate` raises, because a lane is one full selling
        horizon. A season that ends early (no stock, no customers) must go on without sales.
        """

    @abc.abstractmethod
    def expected_reward(self, state, action, params) -> Any:
        """Mean profit of a period with this action, float scalar. It is computed exactly, never sampled."""

    @abc.abstractmethod
    def optimal_reward(self, state, params) -> Any:
        """The expected profit of the oracle that is assigned to this period, float scalar: the unit of `share`.

        If no action changes the market, it is the mean profit of the best action. If today's action changes tomorrow's
        market, it must not depend on the seller's actions, and its sum over the horizon must be the expected profit of the
        oracle from the start. For every seller,

            E[sum of optimal_reward] = E[sum of (reward + regret)].

        For example, the value of the season divided equally among its periods is correct (`FiniteInventory`). The mean
        profit of the best action in the state that the seller has reached is not. `invariants.check_market` tests this. If
        `endless`, the two sums differ by the values of the first and the last state, which do not grow with the horizon.
        """

    @abc.abstractmethod
    def optimal_action(self, state, params) -> Any:
        """The action of the oracle."""

    def believed(self, observation, params, problem) -> tuple[Any, Any]:
        """The market as the seller would know it if `params` were the truth: `(state, params)`, from the observation.

        Sellers with a prior over markets need it. It exists in markets whose observation shows everything that changes (a
        context, the stock).
        """
        raise NotImplementedError

    def offer(self, state, action, params) -> tuple[Any, Any]:
        """Mean demand of one buyer at an action, and the worth of the action, float scalars. The worth is the
        expected profit of the period plus the effect on future profit under the oracle, up to a constant."""
        raise NotImplementedError

    def solve(self, params) -> Any:
        """The params with the tables of the oracle filled in, if the oracle plans ahead; other markets have no tables.

        `make` and `sample_params` return solved params. Call this again after changing numbers in them (`simulate` does).
        """
        return params

    def solved(self, params, batched=False):
        """Compiled `solve` with NumPy arrays in and out. With `batched`, every leaf has a leading axis of markets.

        Traced params are solved inside the trace.
        """
        return solving.solved(self, params, batched)

    def refresh(self, state, params):
        """The state after the numbers of the market changed to `params`; for states that hold values derived from params."""
        del params
        return state

    def specialise(self, params):
        """The environment and the params for the periods after the start: `(environment, params)`.

        An environment that computes at the start what its periods need can drop its other numbers here. Markets that look
        the same afterwards share compiled code.
        """
        return self, params

    def reset(self, key: jax.Array, params: Any = None) -> tuple[Any, Any]:
        """Start one selling horizon: `(observation, state)`."""
        return self.reset_env(key, self._arrays(params))

    def step(
        self, key: jax.Array, state: Any, action: ArrayLike, params: Any = None
    ) -> tuple[Any, Any, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One period with autoreset: `(observation, state, reward, terminated, truncated, info)`.

        As in gymnax 1.x, the horizon truncates the episode. The observation returned at that point is the first one of the
        next episode.
        """
        params = self._arrays(params)
        key, key_reset = jax.random.split(key)
        obs, new_state, reward, terminated, info = self.step_env(key, state, action, params)
        truncated = new_state.time >= params.max_steps_in_episode
        obs_reset, state_reset = self.reset_env(key_reset, params)
        done = terminated | truncated
        obs, new_state = jax.tree.map(
            lambda fresh, old: jnp.where(done, fresh, old), (obs_reset, state_reset), (obs, new_state)
        )
        return obs, new_state, reward, terminated, truncated, info

    def _arrays(self, params):
        """Params as JAX arrays; None stands for the default params."""
        return jax.tree.map(jnp.asarray, self.default_params() if params is None else params)

    def action_space(self, params: Any = None) -> Discrete | Interval | Subset:
        """`Discrete`, `Interval` or `Subset`."""
        return self.problem(self.default_params() if params is None else params).action_space


def _now(method):
    """The method, evaluated at once even inside a trace."""

    @functools.wraps(method)
    def computed(self):
        with jax.ensure_compile_time_eval():
            return method(self)

    return computed
