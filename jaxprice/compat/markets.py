"""The common part of the views: which market is played, whether each episode draws a new one, and periods for an agent.

Drawing a new market at each reset is the RL^2 setting. An episode is one horizon of one market of the task distribution, and
the agent must learn about the market while it sells. The numbers of the market are then in the state, and the params hold
the horizon.

Source of the setting: Y. Duan et al. (2016), "RL^2: fast reinforcement learning via slow reinforcement learning",
arXiv:1611.02779.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import envs
from jaxprice.compat import forks
from jaxprice.environment import Environment
from jaxprice.types import to_action


@struct.dataclass
class Horizon:
    """Params of `FreshMarket`: number of periods in an episode, int scalar."""

    max_steps_in_episode: ArrayLike


@struct.dataclass
class FreshState:
    """State of the market of this episode, with its params."""

    market: Any
    params: Any

    @property
    def time(self):
        """Number of periods played, int scalar."""
        return self.market.time


@dataclasses.dataclass(frozen=True)
class FreshMarket(Environment):
    """A market of `base`'s task distribution, drawn at each reset; observations, actions and rewards are those of `base`."""

    base: Environment

    @property
    def name(self):
        return self.base.name

    @property
    def longest(self):
        return self.base.longest

    def default_params(self):
        return Horizon(np.int32(self.base.default_params().max_steps_in_episode))

    def sample_params(self, key):
        del key
        return self.default_params()

    def draw(self, key, params):
        """Params of one market of the task distribution."""
        return self.base.draw_params(key, params.max_steps_in_episode)

    def problem(self, params):
        """The problem of one market of the task distribution."""
        return self.base.problem(self.draw(jax.random.key(0), params))

    def reset_env(self, key, params):
        key_market, key_reset = jax.random.split(key)
        market = jax.tree.map(jnp.asarray, self.draw(key_market, params))
        obs, state = self.base.reset_env(key_reset, market)
        return obs, FreshState(state, market)

    def step_env(self, key, state, action, params):
        del params
        obs, market, reward, terminated, info = self.base.step_env(key, state.market, action, state.params)
        return obs, FreshState(market, state.params), reward, terminated, info

    def expected_reward(self, state, action, params):
        return self.base.expected_reward(state.market, action, state.params)

    def allowed(self, state, params):
        return self.base.allowed(state.market, state.params)

    def optimal_reward(self, state, params):
        return self.base.optimal_reward(state.market, state.params)

    def optimal_action(self, state, params):
        return self.base.optimal_action(state.market, state.params)


def resolve(env, params=None, fresh=False, options=None):
    """The environment and params for the arguments of a view.

    Args:
      env: an environment, or a name that `jaxprice.make` knows.
      params: one market; None means the default one. The tables of the oracle are filled in.
      fresh: whether each episode draws a new market; then only the horizon of `params` matters.
      options: options of `make`, if `env` is a name.

    Returns:
      `(environment, params)`; the params are NumPy arrays.

    Raises:
      RuntimeError: this process was forked from a process in which JAX had started (`compat.forks`).
      ValueError: `env` is neither an environment nor a name, `params` belong to another environment, are several markets or
        are impossible, the horizon exceeds the tables of the oracle, or there are options without a name.
    """
    forks.refuse()
    if isinstance(env, str):
        env, made = envs.make(env, **(options or {}))
        params = made if params is None else params
    elif options:
        raise ValueError(f"options {sorted(options)} are those of a market given by name, but env is {env!r}")
    elif not isinstance(env, Environment):
        raise ValueError(f"env must be an environment or its name, got {env!r}")
    kind = jax.eval_shape(env.sample_params, jax.random.key(0))
    params = env.default_params() if params is None else params
    if type(params) is not type(kind):
        raise ValueError(f"params must be the {type(kind).__name__} of {env.name}, got a {type(params).__name__}")
    horizon = params.max_steps_in_episode
    if np.ndim(horizon):
        raise ValueError(f"params must hold one market, got {np.shape(horizon)[0]} of them")
    if horizon < 1 or (env.longest is not None and horizon > env.longest):
        raise ValueError(f"params.max_steps_in_episode must be in [1, {env.longest or 'inf'}] for {env.name}, got {horizon}")
    env.check_params(params)
    if fresh:
        env, params = FreshMarket(env), Horizon(np.int32(horizon))
    else:
        params = env.solved(params)
    return env, jax.tree.map(np.asarray, params)


def start(env, key, params):
    """Start an episode: `(observation, state)`, where the observation is one flat vector."""
    obs, state = env.reset_env(key, params)
    return flat(obs), state


def period(env, key, state, action, params):
    """One period with an agent's action, without autoreset: `(observation, state, reward, terminated, info)`."""
    action = env.carried_out(state, to_action(action_space(env, params), action), params)
    obs, state, reward, terminated, info = env.step_env(key, state, action, params)
    return flat(obs), state, reward, terminated, info


def step(env, key, state, action, params):
    """One period with an agent's action and autoreset, with the random numbers of `env.step`.

    While the episode continues, nothing is reset. Under `vmap`, only periods in which some lane ends pay for a reset.

    Returns:
      `(observation, state, reward, terminated, truncated, info)`; `info` also has `final_observation`, the observation at
      the end of this period.
    """
    key, key_reset = jax.random.split(key)
    seen, moved, reward, terminated, info = period(env, key, state, action, params)
    truncated = moved.time >= params.max_steps_in_episode
    done = terminated | truncated
    again = functools.partial(_start_with, env, jax.random.key_impl(key_reset), jax.random.key_data(key_reset), params)
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(again))
    first = jax.lax.while_loop(  # not `cond`: vmap would reset all lanes in all periods
        lambda carry: carry[0], lambda _: (jnp.zeros_like(done), again()), (done, nothing)
    )[1]
    obs, state = jax.tree.map(lambda new, old: jnp.where(done, new, old), first, (seen, moved))
    return obs, state, reward, terminated, truncated, info | {"final_observation": seen}


def _start_with(env, implementation, words, params):
    """`start` from the words of a key, because a loop must not close over a key that it could use again."""
    return start(env, jax.random.wrap_key_data(words, impl=implementation), params)


def flat(observation):
    """A float vector unchanged; any other observation as one float32 vector of all its entries."""
    leaves = jax.tree.leaves(observation)
    if len(leaves) == 1 and leaves[0].ndim == 1 and jnp.issubdtype(leaves[0].dtype, jnp.floating):
        return leaves[0]
    return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in leaves])


def action_space(env, params):
    """`Discrete`, `Interval` or `Subset`, found by tracing without computation."""
    return jax.eval_shape(env.problem, params).action_space
