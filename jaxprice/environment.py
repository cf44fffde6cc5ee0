"""The environment: a simulated market, as the engine, the oracles and the sellers see it."""

import abc
import dataclasses
import functools
import inspect
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxprice import exact_sums, rules, solving
from jaxprice.numerics import nearest_allowed
from jaxprice.types import Discrete, Interval, Problem, Subset


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
        """Refuse fields that hide methods, and make `default_params` return concrete numbers even while JAX traces.

        Raises:
          TypeError: a field has the name of a method, such as `price`.
        """
        super().__init_subclass__(**options)
        _refuse_hidden_methods(cls)
        if "default_params" in vars(cls):
            cls.default_params = _now(cls.default_params)

    def __post_init__(self):
        """Check the fields that are options (`jaxprice.envs.options`), first separately and then together."""
        exact_sums.ensure()
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

    def allowed(self, state, params) -> Any:
        """Which actions of the grid may be taken now (stock, legal prices), bool `[num_prices]`; None means all, always.

        At least one is allowed, and `optimal_action` is among them. The engine, `step` and the views of `compat` take the
        nearest allowed action in the place of a forbidden one (`carried_out`); `record` writes the mask into the log.
        """
        del state, params
        return None

    def carried_out(self, state, action, params) -> Any:
        """The action that is taken if the seller chooses `action`: the action itself, or, where it is forbidden, the
        allowed one with the nearest index (of two, the lower)."""
        allowed = self.allowed(state, params)
        return action if allowed is None else nearest_allowed(jnp.asarray(allowed, bool), action)

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
        action = self.carried_out(state, action, params)
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


def _refuse_hidden_methods(cls):
    """Raise if a field of a class, or another attribute that is no method, replaces a method of its bases."""
    own = vars(cls)
    for name in sorted(set(inspect.get_annotations(cls)) | {name for name, value in own.items() if value is not None}):
        if name.startswith("__") or isinstance(own.get(name), property | functools.cached_property):
            continue
        method = name in own and callable(getattr(cls, name))
        for base in cls.__mro__[1:]:
            if inspect.isfunction(vars(base).get(name)) and not method:
                raise TypeError(
                    f"{cls.__name__}.{name} is a field, but {base.__name__}.{name} is a method that markets call: rename "
                    f"the field, for example {name}_level"
                )


def _now(method):
    """The method, evaluated at once even inside a trace."""

    @functools.wraps(method)
    def computed(self):
        with jax.ensure_compile_time_eval():
            return method(self)

    return computed
