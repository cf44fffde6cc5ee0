"""gymnax's view of a market: its base class, its spaces, and either of its two step conventions.

    market = gymnax.view("PostedPrice", num_prices=10, values=5)
    obs, state = market.reset(key, market.default_params)
    obs, state, reward, done, info = market.step(key, state, action, market.default_params)

gymnax 0.0.x and most libraries built on it (rejax, PureJaxRL) step with five values, `(obs, state, reward, done, info)`.
gymnax 1.x steps with six, `(obs, state, reward, terminated, truncated, info)`. Each view works with either version
installed. The wrappers of gymnax need the convention of their own version, which is the default here. The horizon truncates
an episode; with five values, `done` says so. In both conventions `info` has `terminated`, `truncated` and
`final_observation`.

A price that is not on a grid is a `Box` of shape `[1]`, several prices are `[n]`; the indices of several sellers are a
`Tuple`; a set of products is a `Box` of weights (`types.to_action`). An observation with several parts becomes one flat
vector. The params are those of the market. With `fresh=True`, which draws a new market at each reset, the params hold only
the horizon (`compat.markets`).

With `normalised=True`, entries of an observation whose bounds are known are mapped to [-1, 1], and rewards are in units of
the largest profit of a period at full demand; `normal_observation` and `unit` say how.

Source: R. T. Lange (2022), "gymnax: a JAX-based reinforcement learning environment library".
"""

import functools

import gymnax  # noqa: F401  (for the message of a missing extra)
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import environment, spaces

from jaxprice import checks
from jaxprice.compat import markets
from jaxprice.compat import spaces as bounds
from jaxprice.types import Discrete

INSTALLED = 6 if hasattr(environment.Environment, "is_truncated") else 5  # values that its `step` returns


def view(env, params=None, *, values=None, fresh=False, normalised=False, **options):
    """A market as a gymnax environment.

    Args:
      env: an environment, or a name that `jaxprice.make` knows.
      params: the market that `default_params` gives; by default the default market of the environment.
      values: number of values that `step` returns: 5 (gymnax 0.0.x) or 6 (gymnax 1.x); by default that of the installed one.
      fresh: whether `reset` draws a new market of the task distribution, with the same horizon.
      normalised: whether observations and rewards are scaled, see the module.
      **options: options of `jaxprice.make`, if `env` is a name.

    Returns:
      A gymnax `Environment`.

    Raises:
      ValueError: as in `markets.resolve`; or `values` is neither 5 nor 6; or `fresh` with a random interval of prices.
    """
    values = INSTALLED if values is None else values
    if values not in (5, 6):
        raise ValueError(f"values must be 5 or 6, got {values!r}")
    normalised = checks.boolean("normalised", normalised)
    return {5: FiveValues, 6: SixValues}[values](*markets.resolve(env, params, fresh, options), normalised)


class View(environment.Environment):
    """A market with the interface of gymnax; see the module. The subclasses are the two conventions.

    Attributes:
      market: the jaxprice environment.
      unit: what rewards are divided by, float; 1 unless the view is normalised.
    """

    def __init__(self, market, params, normalised=False):
        super().__init__()
        self.market, self._params, self.normalised = market, params, normalised
        self.unit = _unit(market, params) if normalised else 1.0
        self._bounds = tuple(map(np.asarray, bounds.observation_bounds(market, params))) if normalised else None
        self._actions = markets.action_space(market, params)
        self.action_space(params)  # raises if there is no such space

    @property
    def name(self):
        return self.market.name

    @property
    def default_params(self):
        return self._params

    @property
    def num_actions(self):
        """Number of indices, of prices, or of weights."""
        return self._actions.n if isinstance(self._actions, Discrete) else max(int(np.prod(self._actions.shape)), 1)

    @functools.partial(jax.jit, static_argnames=("self",))
    def reset(self, key, params=None):
        """Start an episode: `(observation, state)`."""
        return self.reset_env(key, self._arrays(params))

    def reset_env(self, key, params):
        obs, state = markets.start(self.market, key, params)
        return self.normal_observation(obs), state

    def normal_observation(self, observation):
        """An observation, float `[size]`, as the agent sees it: the same unless the view is normalised."""
        if self._bounds is None:
            return observation
        low, high = self._bounds
        known = np.isfinite(low) & np.isfinite(high) & (high > low)
        low, width = np.where(known, low, 0), np.where(known, high - np.where(known, low, 0), 1)
        return jnp.where(known, 2 * (observation - low) / width - 1, observation).astype(observation.dtype)

    def _step(self, key, state, action, params):
        out = markets.step(self.market, key, state, action, self._arrays(params))
        told = {"terminated": out[3], "truncated": out[4]}
        told["final_observation"] = self.normal_observation(out[-1]["final_observation"])
        return self.normal_observation(out[0]), out[1], out[2] / self.unit, *out[3:5], out[-1] | told

    def _period(self, key, state, action, params):
        obs, state, reward, *rest = markets.period(self.market, key, state, action, self._arrays(params))
        return self.normal_observation(obs), state, reward / self.unit, *rest

    def _arrays(self, params):
        return jax.tree.map(jnp.asarray, self._params if params is None else params)

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def is_terminated(self, state, params):
        """Always False: markets end only at their horizon."""
        del params
        return jnp.zeros_like(state.time, bool)

    def action_space(self, params=None):
        if isinstance(self._actions, Discrete):
            one, sellers = spaces.Discrete(self._actions.n), int(np.prod(self._actions.shape))
            return spaces.Tuple((one,) * sellers) if self._actions.shape else one
        return _box(*bounds.action_bounds(self.market, self._params if params is None else params))

    def observation_space(self, params=None):
        low, high = bounds.observation_bounds(self.market, self._params if params is None else params)
        if self.normalised:
            known = np.isfinite(low) & np.isfinite(high) & (np.asarray(high) > low)
            low, high = np.where(known, np.float32(-1), low), np.where(known, np.float32(1), high)
        return _box(low, high)


class FiveValues(View):
    """`step` as in gymnax 0.0.x: `(observation, state, reward, done, info)`."""

    @functools.partial(jax.jit, static_argnames=("self",))
    def step(self, key, state, action, params=None):
        """One period with autoreset."""
        obs, state, reward, terminated, truncated, info = self._step(key, state, action, params)
        return obs, state, reward, terminated | truncated, info

    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, info = self._period(key, state, action, params)
        return obs, state, reward, terminated | self.is_truncated(state, params), info

    def is_terminal(self, state, params):
        return self.is_truncated(state, params)


class SixValues(View):
    """`step` as in gymnax 1.x: `(observation, state, reward, terminated, truncated, info)`."""

    @functools.partial(jax.jit, static_argnames=("self",))
    def step(self, key, state, action, params=None):
        """One period with autoreset."""
        return self._step(key, state, action, params)

    def step_env(self, key, state, action, params):
        return self._period(key, state, action, params)

    def is_terminal(self, state, params):
        return self.is_terminated(state, params)


def _unit(market, params):
    """Largest profit of a period at full demand, in money; 1 if it is not positive."""
    problem = market.problem(params)
    margins = np.asarray(problem.margins) if problem.prices.shape[0] else np.asarray(problem.high - problem.cost)
    margins = np.abs(margins.reshape(margins.shape[0] if margins.ndim else 1, -1)).sum(axis=-1)
    return float(margins.max() * problem.buyers) or 1.0


def _box(low, high):
    """A `Box` whose bounds are plain numbers if they are equal for all entries (agents store them as static values)."""
    if not checks.is_traced((low, high)) and np.all(low == low[0]) and np.all(high == high[0]):
        return spaces.Box(float(low[0]), float(high[0]), low.shape)
    return spaces.Box(jnp.asarray(low), jnp.asarray(high), low.shape)
