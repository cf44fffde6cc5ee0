"""Environments of gymnax as worlds, see `worlds`; gymnax itself is not imported."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.agents.world import Step, World
from jaxprice.types import Discrete, Interval


class Gymnax(World):
    """An environment of gymnax as a world; `step_env` may follow gymnax 0.0.x or 1.x.

    gymnax 0.0.x does not tell a time limit from another end. An episode counts as truncated if its last period is
    `params.max_steps_in_episode`.

    Args:
      env: the environment, such as `gymnax.make("CartPole-v1")[0]`.
      params: its params; by default `env.default_params`.

    Raises:
      ValueError: the object is no gymnax environment, or its actions are neither an index nor a vector between bounds.
    """

    def __init__(self, env, params=None):
        for name in ("reset_env", "step_env", "action_space", "default_params"):
            if not hasattr(env, name):
                raise ValueError(f"env must be a market or a gymnax environment, got {checks.shown(env)} without {name}")
        self.env, self.params = env, env.default_params if params is None else params
        if type(self.params) is not type(env.default_params):
            kind = type(env.default_params).__name__
            raise ValueError(f"params must be the {kind} of the environment, got {checks.shown(params)}")
        self.horizon = checks.positive_int("params.max_steps_in_episode", self.params.max_steps_in_episode)
        space = env.action_space(self.params)
        if not hasattr(space, "n") and not (hasattr(space, "low") and len(space.shape) <= 1):
            raise ValueError(f"learners choose an index or a vector between bounds, this environment takes {space}")
        self.space = Discrete(int(space.n)) if hasattr(space, "n") else Interval(tuple(space.shape))
        self.name = str(getattr(env, "name", type(env).__name__))
        if isinstance(self.space, Interval):
            self.low, self.high = (np.broadcast_to(np.asarray(x, np.float32), space.shape) for x in (space.low, space.high))
            if not np.all(np.isfinite(self.high - self.low) & (self.low < self.high)):
                raise ValueError(f"learners choose a vector between finite bounds, got {self.low} and {self.high}")

    def decided_by(self):
        """What decides the numbers of the world: name -> object, for a fingerprint."""
        return {"env": self.env, "params": self.params}

    def reset(self, key):
        """Start an episode: `(state, token)`."""
        obs, state = self.env.reset_env(key, self.params)
        return state, _flat(obs)

    def step(self, key, key_reset, state, action):
        """One step, and the start of the next episode after the last one: `(state, Step)`."""
        if isinstance(self.space, Interval):
            action = self.low + (self.high - self.low) * (action.reshape(self.space.shape) + 1) / 2
        obs, after, reward, terminated, _ = self.env.step_env(key, state, action, self.params)
        limit = after.time >= self.params.max_steps_in_episode
        if hasattr(self.env, "is_truncated"):
            limit = jnp.asarray(self.env.is_truncated(after, self.params))
            terminated = jnp.asarray(terminated)
        else:
            terminated = jnp.asarray(terminated) & ~limit
        last = _flat(obs)
        ends = terminated | limit
        new, first = self.reset(key_reset)
        state, token = jax.tree.map(lambda a, b: jnp.where(ends, a, b), (new, first), (after, last))
        reward = jnp.asarray(reward, jnp.float32)
        return state, Step(token, last, reward, terminated, limit & ~terminated, reward, jnp.float32(0))


def _flat(observation):
    """An observation as one float vector."""
    leaves = jax.tree.leaves(observation)
    return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in leaves])
