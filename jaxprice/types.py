"""The words of jaxprice: environment, params, problem, policy, transition."""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import rules
from jaxprice.lanes import depends


@dataclasses.dataclass(frozen=True)
class Discrete:
    """Actions 0, ..., n - 1: indices of a price grid, or arms; with a shape, one for each seller, int `[*shape]`."""

    n: int
    shape: tuple[int, ...] = ()
    kind: ClassVar = jnp.integer


@dataclasses.dataclass(frozen=True)
class Interval:
    """Actions are prices between `problem.low` and `problem.high`; with a shape, one for each product, float `[*shape]`."""

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
    """What the seller is told before the first sale. Policies see this and never the params.

    Where several products are sold at once, `[n]` is their number; with one product these axes are absent.

    Attributes:
      prices: price of each action, float `[num_prices]` or `[num_prices, n]`; `[0]` where any price in `[low, high]` may
        be posted. The arms of a bandit have price one.
      low, high: lowest and highest price, float scalars or `[n]`.
      cost: cost of one unit, float scalar or `[n]`.
      horizon: number of periods, int scalar.
      noise_scale: standard deviation of demand in a period where the noise is Gaussian, float scalar.
      stock: units on hand at the start, float scalar or `[num_resources]`; None: unlimited.
      consumption: units of each resource that one unit of each product takes, float `[n, num_resources]`; None: with
        stock, each product is its own resource.
      bounds: box known to hold the parameters of demand, float `[2, num_parameters]` (lowest, highest), in the order that
        the market's docstring gives; None: none known.
      details: other facts by name, as the market's docstring tells.
      observation: what the seller sees before the first sale; None outside the engine, see `Problem.told`.
      action_space: `Discrete`, `Interval` or `Subset`.
      buyers: customers a period; `demand / buyers` is the conversion rate.
      noise: "bernoulli" (each buyer buys or not), "poisson" or "gaussian".
      law: law of the noise of valuations where buyers have features, as the market's docstring tells; else "".
      context_size: length of the context, the last entries of the observation; 0 without.
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
        """Whether all of several actions have one price, as the arms of a bandit: False too where prices are traced."""
        if isinstance(self.prices, jax.core.Tracer) or self.prices.ndim != 1 or self.prices.size < 2:
            return False
        prices = np.asarray(self.prices)
        return bool(np.all(prices == prices[0]))

    def with_observation(self, observation):
        """The problem together with the first `observation`."""
        return dataclasses.replace(self, observation=jax.tree.map(jnp.asarray, observation))

    def of_seller(self, i):
        """The problem of seller i in a market with several, where prices are `[num_prices, n]`."""
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
    """What the seller saw in one period.

    Attributes:
      observation: what it knew when it set the price.
      action: what it did: an index of the grid, int scalar, or a price, float scalar; see `types.Subset` and the shapes
        of action spaces for several products.
      price: the posted price, float scalar or `[n]`.
      demand: units sold, float scalar or `[n]`.
      reward: profit of the period, float scalar.
      next_observation: what it sees after the sale.
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
        """Return what the policy knows before the first sale.

        Args:
          key: a typed random key, as of `jax.random.key`.
          problem: what the seller is told.

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
          key: a typed random key, another one in each period.
          state: what `init` or the last `update` returned.
          observation: what the seller sees before the sale, as the market's docstring tells.

        Returns:
          An action of `problem.action_space`: an index of the grid, a price, or a set of products.
        """
        ...


class UpdateFn(Protocol):
    """How a policy learns: `(key, state, transition) -> state`."""

    def __call__(self, key: jax.Array, state: Any, transition: Transition, /) -> Any:
        """Return what the policy knows after the period.

        Args:
          key: a typed random key, another one in each period and another one than that of `act`.
          state: the state that `act` was given.
          transition: what happened in the period.

        Returns:
          The next state, with the structure, shapes and dtypes of `state`.
        """
        ...


class Policy(NamedTuple):
    """How prices are chosen: three pure functions, for one lane. They are called with positional arguments.

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


class Environment:
    """A simulated market for one lane. Subclasses are frozen dataclasses of static choices.

    The methods are those of gymnax 1.x. A subclass provides `default_params`, `sample_params`, `problem`, `reset_env`,
    `step_env`, `expected_reward`, `optimal_reward` and `optimal_action`; `step_env` returns an `info` that always holds
    `price`, `demand` (float scalars, or `[n]` with n products), `reward`, `regret` and `optimal_reward` (float scalars).

    Where today's price changes tomorrow's market (stock, reference prices, loyalty), the regret of a period is what the
    action gives up of the value of the market's future under the oracle, `V(s) - E[r + V(s')]`: it is never negative,
    zero for the oracle, and its sum is the value of the oracle minus what the policy earns.

    Attributes:
      longest: largest horizon that the oracle has tables for; None: any.
      tables: names of the params that `solve` fills in.
      infinite: names of the params that may be infinite, where that means without a limit.
    """

    longest: ClassVar[int | None] = None
    tables: ClassVar[tuple[str, ...]] = ()
    endless: ClassVar[bool] = False
    infinite: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options):
        """The default market of every subclass is numbers, whatever is being traced where it is asked for."""
        super().__init_subclass__(**options)
        if "default_params" in vars(cls):
            cls.default_params = _now(cls.default_params)

    @property
    def name(self):
        """Name under which results are labelled."""
        return type(self).__name__

    def default_params(self):
        """One concrete market of this kind, as NumPy arrays."""
        raise NotImplementedError

    def sample_params(self, key):
        """A random market of the task distribution."""
        raise NotImplementedError

    def draw_params(self, key, horizon):
        """A random market of the task distribution, played for `horizon` periods, an int scalar.

        It is what `sample_params` draws with another horizon; tables of the oracle that depend on it are solved for it.
        """
        params = dataclasses.replace(self.sample_params(key), max_steps_in_episode=horizon)
        return self.solve(params) if _of_horizon(self) else params

    def check_params(self, params):
        """Refuse an impossible market, wherever its numbers come from: one market, or a batch with a leading axis.

        Traced params pass, and tables that `solve` fills in are not looked at.

        Raises:
          ValueError: a number that is not finite, or one of `rules` that is broken; the message names the row of a batch.
        """
        rules.check(self, params)

    def rules(self, params):
        """What must hold of markets: yields `(names, holds, wanted)`.

        `params` are a batch of NumPy arrays, every leaf `[M, ...]`; `names` are the leaves that a rule is about, with spaces
        between; `holds` is bool `[M, ...]`; and `wanted` says what params must have. A subclass yields from this one first.
        """
        steps = params.max_steps_in_episode
        yield "max_steps_in_episode", steps >= 1, "a max_steps_in_episode of at least 1"
        if self.longest is not None:
            yield "max_steps_in_episode", steps <= self.longest, f"a max_steps_in_episode of at most {self.longest}"

    def problem(self, params):
        """What the seller may know about the market `params`."""
        raise NotImplementedError

    def reset_env(self, key, params):
        """Start one selling horizon: `(observation, state)`."""
        raise NotImplementedError

    def step_env(self, key, state, action, params):
        """One period, without autoreset: `(observation, state, reward, terminated, info)`.

        `terminated` is False before the horizon, or `simulate` refuses to go on: a lane is one selling horizon, played to
        its end. Let what is over (no stock, no customers) sell nothing from then on.
        """
        raise NotImplementedError

    def expected_reward(self, state, action, params):
        """Mean profit of a period with this action, float scalar; computed, never sampled."""
        raise NotImplementedError

    def optimal_reward(self, state, params):
        """What a period adds to the expected earnings of the oracle, float scalar: the unit of `share`.

        In a market that no action changes, it is the mean profit of the best action. Where today's action changes
        tomorrow's market, it must not depend on what the seller does, and its sum over the horizon is what the oracle
        expects to earn from the start: under every seller,

            E[sum of optimal_reward] = E[sum of (reward + regret)].

        The value of the season in equal parts over its periods is right (`FiniteInventory`); the mean profit of the best
        action in the state that the seller has brought about is not. `invariants.check_market` looks at it. Where `endless`,
        the sums differ by what the start and the end are worth, which does not grow with the horizon.
        """
        raise NotImplementedError

    def optimal_action(self, state, params):
        """The action of the oracle."""
        raise NotImplementedError

    def believed(self, observation, params, problem):
        """The market as the seller would know it if `params` were the truth: `(state, params)`, given what it sees.

        For sellers that hold a prior over markets. Markets that show all that moves (a context, the stock) have it.
        """
        raise NotImplementedError

    def offer(self, state, action, params):
        """Mean demand of one buyer at an action, and what the action is worth: the expected profit of the period and of what
        it does to the future under the oracle, up to a constant; float scalars."""
        raise NotImplementedError

    def solve(self, params):
        """Params with the tables of the oracle filled in, for a market whose oracle plans ahead; others have none.

        `make` and `sample_params` return solved params; whoever replaces numbers in them calls this again (`simulate` does).
        """
        return params

    def solved(self, params, batched=False):
        """`solve`, compiled, NumPy arrays in and out; with `batched`, every leaf has a leading axis of markets.

        Traced params are solved where they are traced.
        """
        if not self.tables:
            return params
        bare = dataclasses.replace(params, **dict.fromkeys(self.tables))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(bare)):
            return jax.vmap(self.solve)(bare) if batched else self.solve(bare)
        with jax.ensure_compile_time_eval():
            if batched:
                return jax.device_get(_solver(self, True)(bare))
            leaves, structure = jax.tree.flatten(bare)
            arrays = [np.asarray(leaf) for leaf in leaves]
            numbers = tuple((array.dtype, array.shape, array.tobytes()) for array in arrays)
            return _solution(self, structure, numbers, jax.config.jax_enable_x64)

    def refresh(self, state, params):
        """The state once the numbers of the market have moved to `params`, for states that hold what follows from them."""
        del params
        return state

    def specialise(self, params):
        """What periods are played with once the market has started: `(environment, params)`.

        An environment that works out at the start what its periods need may drop the rest here; markets that then look
        alike share compiled code.
        """
        return self, params

    def reset(self, key, params=None):
        """Start one selling horizon: `(observation, state)`."""
        return self.reset_env(key, self._arrays(params))

    def step(self, key, state, action, params=None):
        """One period with autoreset: `(observation, state, reward, terminated, truncated, info)`.

        The horizon ends an episode by truncation, as in gymnax 1.x; the observation returned then is the first of the
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
        """Params as JAX arrays, the default ones for None."""
        return jax.tree.map(jnp.asarray, self.default_params() if params is None else params)

    def action_space(self, params=None):
        """`Discrete`, `Interval` or `Subset`."""
        return self.problem(self.default_params() if params is None else params).action_space


def _now(method):
    """The method, computed when it is called and never traced."""

    @functools.wraps(method)
    def computed(self):
        with jax.ensure_compile_time_eval():
            return method(self)

    return computed


@functools.lru_cache(maxsize=256)
def _of_horizon(env):
    """Whether the tables that `solve` fills in depend on the horizon, as its code tells."""
    if not env.tables:
        return False
    bare = dataclasses.replace(jax.eval_shape(env.sample_params, jax.random.key(0)), **dict.fromkeys(env.tables))
    solved = jax.eval_shape(env.solve, bare)
    flags = jax.tree.map(lambda leaf: False, bare)
    reached = depends(env.solve, [jax.tree.leaves(dataclasses.replace(flags, max_steps_in_episode=True))], bare)
    reached = jax.tree.unflatten(jax.tree.structure(solved), reached)
    return any(any(jax.tree.leaves(getattr(reached, name))) for name in env.tables)


@functools.lru_cache(maxsize=64)
def _solver(env, batched):
    return jax.jit(jax.vmap(env.solve) if batched else env.solve)


@functools.lru_cache(maxsize=4)
def _solution(env, structure, leaves, wide):
    """What `solve` returns for one market: a market that is simulated again and again is solved once (`wide`: under x64)."""
    del wide
    arrays = [np.frombuffer(content, dtype).reshape(shape) for dtype, shape, content in leaves]
    return jax.device_get(_solver(env, False)(jax.tree.unflatten(structure, arrays)))
