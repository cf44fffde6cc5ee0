"""Gymnasium's view of a market: an `Env`, and a `VectorEnv` that steps all its lanes in one compiled call.

    market = gymnasium.env("PostedPrice", num_prices=10, seed=0)
    lanes = gymnasium.vector_env("PostedPrice", 64, num_prices=10, seed=0)

Input and output are NumPy arrays. The horizon truncates an episode. `info` has the `price`, `demand`, `reward`, expected
`regret` and `optimal_reward` of the period. The generator that Gymnasium seeds (`np_random`) gives the key of each reset,
and all later random numbers derive from that key. So a seed determines everything after it.

Lanes reset in the step in which their episode ends (`AutoresetMode.SAME_STEP`). The observation returned then is the first
of the next episode. The last observation of the old episode is in `infos["final_obs"]`, and its last info in
`infos["final_info"]`.

Gymnasium's `AsyncVectorEnv` must start its workers with `context="spawn"`, because JAX hangs after a fork; a fork raises.

Actions are an index; a `MultiDiscrete` for several sellers; a `Box` of prices `[1]` or `[n]`; or, for sets of products, a
`Box` of weights (`compat.markets.to_action`). `fresh=True` draws a new market at each reset (`compat.markets`).

Source: M. Towers et al. (2024), "Gymnasium: a standard interface for reinforcement learning environments",
arXiv:2407.17032.
"""

import functools

import gymnasium
import jax
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from jaxprice import checks
from jaxprice.compat import forks, markets
from jaxprice.compat import spaces as bounds
from jaxprice.types import Discrete


def env(env, params=None, *, seed=None, fresh=False, **options):
    """A market as a Gymnasium environment.

    Args:
      env: an environment, or a name that `jaxprice.make` knows.
      params: one market; by default the default market of the environment.
      seed: seed until `reset` receives another one; None takes it from the system.
      fresh: whether `reset` draws a new market of the task distribution, with the same horizon.
      **options: options of `jaxprice.make`, if `env` is a name.

    Returns:
      A `gymnasium.Env`.

    Raises:
      ValueError: as in `markets.resolve`; or `fresh` with a market whose interval of prices is random too.
    """
    return MarketEnv(*markets.resolve(env, params, fresh, options), seed)


def vector_env(env, num_envs, params=None, *, seed=None, fresh=False, **options):
    """Lanes of a market as a Gymnasium vector environment.

    Args:
      env, params, seed, fresh, **options: as in `env`; with `fresh`, each lane draws its own market.
      num_envs: number of lanes.

    Returns:
      A `gymnasium.vector.VectorEnv`.

    Raises:
      ValueError: as in `env`; or there are no lanes.
    """
    num_envs = checks.positive_int("num_envs", num_envs)
    return MarketVectorEnv(*markets.resolve(env, params, fresh, options), num_envs, seed)


class MarketEnv(gymnasium.Env):
    """One lane; see the module."""

    metadata = {"render_modes": []}  # noqa: RUF012  (as in the base class)

    def __init__(self, market, params, seed=None):
        self.market, self.params, self._lane = market, params, None
        self.observation_space, self.action_space = _spaces(market, params)
        if seed is not None:
            self._np_random, self._np_random_seed = seeding.np_random(seed)

    def reset(self, *, seed=None, options=None):
        forks.refuse()
        super().reset(seed=seed)
        obs, self._lane = _start(self.market, _seed_of(self.np_random), self.params)
        return np.asarray(obs), {}

    def step(self, action):
        if self._lane is None:
            raise gymnasium.error.ResetNeeded("reset must be called before the first step")
        out, self._lane = _step(self.market, self._lane, _checked(self.action_space, action), self.params)
        obs, reward, terminated, truncated, info = jax.device_get(out)
        info = {name: value if np.ndim(value) else float(value) for name, value in info.items()}
        return obs, float(reward), bool(terminated), bool(truncated), info


class MarketVectorEnv(VectorEnv):
    """Many lanes; see the module."""

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, market, params, num_envs, seed=None):
        self.market, self.params, self.num_envs, self._lanes = market, params, num_envs, None
        self.single_observation_space, self.single_action_space = _spaces(market, params)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        if seed is not None:
            self._np_random, self._np_random_seed = seeding.np_random(seed)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        obs, self._lanes = _start_all(self.market, self.num_envs, _seed_of(self.np_random), self.params)
        return np.array(obs), {}

    def step(self, actions):
        if self._lanes is None:
            raise gymnasium.error.ResetNeeded("reset must be called before the first step")
        actions = _checked(self.action_space, actions)
        out, self._lanes = _step_all(self.market, self._lanes, actions, self.params)
        obs, last, reward, terminated, truncated, info = jax.tree.map(np.array, out)
        done = terminated | truncated
        infos = _masked(info, np.ones_like(done))
        if done.any():
            final = np.full(self.num_envs, None, dtype=object)
            for lane in np.flatnonzero(done):
                final[lane] = last[lane]
            infos |= _masked({"final_obs": final, "final_info": _masked(info, done)}, done)
        return obs, reward, terminated, truncated, infos


def _spaces(market, params):
    """The observation space and the action space of Gymnasium."""
    space = markets.action_space(market, params)
    if isinstance(space, Discrete):
        actions = spaces.MultiDiscrete(np.full(space.shape, space.n)) if space.shape else spaces.Discrete(space.n)
    else:
        actions = spaces.Box(*bounds.action_bounds(market, params), dtype=np.float32)
    return spaces.Box(*bounds.observation_bounds(market, params), dtype=np.float32), actions


def _checked(space, actions):
    """Actions as an array.

    Raises:
      ValueError: they have a wrong shape, are not numbers, or are indices out of range.
    """
    array = np.asarray(actions)
    if array.shape != space.shape and not (array.ndim == 0 and space.shape == (1,)):
        raise ValueError(f"action must have shape {space.shape}, got {array.shape}")
    if isinstance(space, spaces.Box):
        checks.number("action", array)
    elif not (np.issubdtype(array.dtype, np.integer) and space.contains(array.astype(np.int64)[()])):
        raise ValueError(f"action must be in {space}, got {actions!r}")
    return array


def _masked(info, mask):
    """Entries of `info` where `mask` holds and zeros elsewhere, with the mask under `_name`, as in Gymnasium."""
    out = {}
    for name, value in info.items():
        numbers = isinstance(value, np.ndarray) and value.dtype != object
        out[name] = np.where(mask.reshape(-1, *(1,) * (value.ndim - 1)), value, 0) if numbers else value
        out[f"_{name}"] = mask.copy()
    return out


def _seed_of(generator):
    return np.uint32(generator.integers(2**32))


@functools.partial(jax.jit, static_argnums=0)
def _start(market, seed, params):
    """`(observation, lane)`; a lane consists of its key, observation and state."""
    return _begin(market, jax.random.key(seed), params)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _start_all(market, count, seed, params):
    return jax.vmap(_begin, (None, 0, None))(market, jax.random.split(jax.random.key(seed), count), params)


def _begin(market, key, params):
    key, key_reset = jax.random.split(key)
    obs, state = markets.start(market, key_reset, params)
    return obs, (key, state)


@functools.partial(jax.jit, static_argnums=0)
def _step(market, lane, action, params):
    """One period without autoreset: `((observation, reward, terminated, truncated, info), lane)`."""
    key, now = jax.random.split(lane[0])
    obs, state, reward, terminated, info = markets.period(market, now, lane[1], action, params)
    return (obs, reward, terminated, state.time >= params.max_steps_in_episode, info), (key, state)


@functools.partial(jax.jit, static_argnums=0)
def _step_all(market, lanes, actions, params):
    """One period of each lane with autoreset; `out` also has the last observation of the period, `[num_envs, size]`."""

    def one(lane, action):
        key, now = jax.random.split(lane[0])
        obs, state, *out, info = markets.step(market, now, lane[1], action, params)
        return (obs, info.pop("final_observation"), *out, info), (key, state)

    return jax.vmap(one)(lanes, actions)
