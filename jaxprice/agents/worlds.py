"""Worlds: what a deep reinforcement learner plays, one step at a time, with episodes that start again by themselves.

A market becomes a world by `Market`, and an environment of gymnax by `Gymnax`. A world has one lane; learners vmap it.

    state, token = world.reset(key)
    state, step = world.step(key, key_reset, state, action)

An action is an index, or, where prices come from an interval, a vector in [-1, 1] that the world maps to its own bounds.
Where the market forbids an action, the nearest allowed one is carried out. `token` is the input of the network, a float
vector. A step tells how the period ended. After the last period of an episode the next one begins, so `step.token` is the
first token of the new episode, and `step.last` the token that the action led to.

An episode ends in two ways, and a learner must tell them apart (Pardo et al. 2018):

* `terminated`: nothing comes after it. So ends a market with a season, which sells its stock until the horizon.
* `truncated`: the market would go on, and only the record stops. So ends a market whose oracle maximises the average reward
  (`Environment.endless`). The value of the last token counts.

Any other object with the attributes and methods of `World` is one too, such as `probe_worlds.Probe`.

With `params=None` each episode draws a market from the task distribution, which is the meta setting. Otherwise all episodes
play the same market.

Source: F. Pardo, A. Tavakoli, V. Levdik, P. Kormushev (2018), "Time limits in reinforcement learning", arXiv:1712.00378.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, given
from jaxprice.agents import inputs
from jaxprice.agents.gymnax_world import Gymnax
from jaxprice.agents.inputs import Inputs
from jaxprice.agents.world import Step, World
from jaxprice.environment import Environment
from jaxprice.types import Discrete, Interval, Transition

__all__ = ["Gymnax", "Market", "Scene", "Step", "World", "check", "make"]

REWARDS = ("sampled", "mean", "regret")


@struct.dataclass
class Scene:
    """The state of a market world: the market and what the seller has seen of it."""

    params: Any
    market: Any
    observation: Any
    facts: inputs.Facts
    seen: inputs.Seen


class Market(World):
    """A market as a world.

    Args:
      env: the market.
      params: its numbers; None draws a market of the task distribution for each episode.
      horizon: number of periods of an episode; by default that of `params` or of the default market.
      fed: `Inputs`, the inputs of the network; by default time (unless the market is endless) and the observation.
      reward: "sampled", "mean" or "regret"; see `lifetimes`.

    Raises:
      ValueError: bad input.
    """

    def __init__(self, env, params=None, horizon=None, fed=None, reward="sampled"):
        if not isinstance(env, Environment):
            raise ValueError(f"env must be an environment, as jaxprice.make(...)[0], got {checks.shown(env)}")
        self.env, self.name, self.reward = env, env.name, checks.choice("reward", reward, REWARDS)
        default = int(np.asarray((env.default_params() if params is None else params).max_steps_in_episode))
        self.horizon = checks.positive_int("horizon", default if horizon is None else horizon)
        if env.longest is not None and self.horizon > env.longest:
            raise ValueError(f"horizon must be at most {env.longest} in {env.name}, got {self.horizon}")
        self.params = None
        if params is not None:
            self.params, batched = given.ready(env, given.kind_of(env)[0], params, 1, self.horizon)
            if batched:
                raise ValueError("params must be one market, got a batch")
        bare = Inputs(action=False, demand=False, reward=False, time=not env.endless)
        self.fed = bare if fed is None else fed
        if not isinstance(self.fed, Inputs):
            raise ValueError(f"inputs must be agents.Inputs, got {checks.shown(fed)}")
        self.space = env.action_space()
        if not isinstance(self.space, Discrete | Interval) or self.space.shape:
            raise ValueError(f"learners choose one price, the market {env.name} takes {self.space}")

    def decided_by(self):
        """What decides the numbers of the world: name -> object, for a fingerprint."""
        return {"env": self.env, "params": self.params, "horizon": self.horizon, "fed": self.fed, "reward": self.reward}

    def example(self):
        """`Facts` and `Seen` of one lane before the first decision."""
        scene, _ = self.reset(jax.random.key(0))
        return scene.facts, scene.seen

    def reset(self, key):
        """Start an episode: `(state, token)`."""
        key_market, key_reset = jax.random.split(key)
        draws = self.params is None
        params = self.env.draw_params(key_market, jnp.int32(self.horizon)) if draws else self.params
        params = jax.tree.map(jnp.asarray, params)
        obs, market = self.env.reset_env(key_reset, params)
        problem = self.env.problem(params).with_observation(obs)
        facts, seen = inputs.facts(problem), inputs.before(problem, obs)
        return Scene(params if draws else None, market, obs, facts, seen), self.fed.token(facts, seen)

    def step(self, key, key_reset, state, action):
        """One period, and the start of the next episode after the last period: `(state, Step)`."""
        env, params = self.env, jax.tree.map(jnp.asarray, self.params if state.params is None else state.params)
        if isinstance(self.space, Interval):
            action = inputs.to_price(state.facts, action[0])
        action = env.carried_out(state.market, action, params)
        expected = jnp.asarray(env.expected_reward(state.market, action, params), jnp.float32)
        best = jnp.asarray(env.optimal_reward(state.market, params), jnp.float32)
        obs, market, reward, _, info = env.step_env(key, state.market, action, params)
        sale = Transition(state.observation, action, info["price"], info["demand"], reward, obs)
        seen = inputs.after(state.facts, state.seen, sale)
        told = {"sampled": reward, "mean": expected, "regret": -info["regret"]}[self.reward]
        after = dataclasses.replace(state, market=market, observation=obs, seen=seen)
        last = self.fed.token(after.facts, seen)
        ends = seen.time >= self.horizon
        new, first = self.reset(key_reset)
        state, token = jax.tree.map(lambda a, b: jnp.where(ends, a, b), (new, first), (after, last))
        no = jnp.zeros_like(ends)
        terminated, truncated = (no, ends) if env.endless else (ends, no)
        told = jnp.asarray(told, jnp.float32) / after.facts.unit
        return state, Step(token, last, told, terminated, truncated, best - info["regret"], best)


def make(env, params=None, **options):
    """The world of a market, or of an environment of gymnax.

    Args:
      env: an `Environment` of jaxprice, an environment of gymnax, or a `World`.
      params: its params; None draws markets of the task distribution (jaxprice), or means the default (gymnax).
      **options: options of `Market`; those that are None are left out.

    Raises:
      ValueError: bad input.
    """
    options = {name: value for name, value in options.items() if value is not None}
    if isinstance(env, Environment):
        return Market(env, params, **options)
    if options:
        names = sorted("inputs" if name == "fed" else name for name in options)
        raise ValueError(f"only markets take the options {', '.join(names)}, env is {checks.shown(env)}")
    if isinstance(env, World):
        if params is not None:
            raise ValueError(f"params must be None where env is a world, got {checks.shown(params)}")
        return env
    return Gymnax(env, params)


def check(world):
    """Raise if a world changes the shape or type of what it shows or of its state; returns the length of a token.

    Raises:
      ValueError: it does.
    """
    state, token = jax.eval_shape(world.reset, jax.random.key(0))
    index = isinstance(world.space, Discrete)
    action = jnp.zeros((), jnp.int32) if index else jnp.zeros(max(1, int(np.prod(world.space.shape))), jnp.float32)
    keys = jax.random.split(jax.random.key(0))
    try:
        after, step = jax.eval_shape(world.step, *keys, state, action)
    except (TypeError, ValueError) as error:
        if "Incompatible shapes" not in str(error) and "incompatible shapes" not in str(error):
            raise
        raise ValueError(f"observations of {world.name} must keep their shape: {str(error).splitlines()[0]}") from error
    shown = {"reset": token, "step": step.token, "the end of an episode": step.last}
    if len({(x.shape, x.dtype) for x in shown.values()}) > 1 or token.ndim != 1:
        told = ", ".join(f"{name} {list(x.shape)}" for name, x in shown.items())
        raise ValueError(f"observations of {world.name} must keep their shape, got {told}")
    kinds = [jax.tree.map(lambda x: (x.shape, jnp.result_type(x)), tree) for tree in (state, after)]
    if kinds[0] != kinds[1]:
        raise ValueError(f"the state of {world.name} must keep its shapes and types, got {kinds[0]} and then {kinds[1]}")
    return token.shape[0]
