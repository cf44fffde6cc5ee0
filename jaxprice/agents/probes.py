"""Probes: tiny markets that each reveal one kind of mistake in an agent or its training.

| probe | a healthy agent | the mistake it reveals |
|---|---|---|
| "one_arm" | earns 1 a period | a broken pipeline: wrong shapes, wrong sums, a value that does not learn |
| "best_arm" | always plays the last arm | a policy that does not improve, a wrong sign |
| "flip" | tries arms, then plays the one that pays, random in each lifetime | no memory: then it earns 1/2 a period |
| "delayed" | always plays the last arm, which pays a period later | credit that does not reach earlier actions |

All rewards are 0 or 1, and deterministic given the market. `optimum` gives the exact expected reward of a lifetime.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.envs.bernoulli_bandit import BernoulliBandit, Params
from jaxprice.envs.market import State

NAMES = ("one_arm", "best_arm", "flip", "delayed")


@struct.dataclass
class Owing(State):
    """State of "delayed", with the reward that the last action will pay, `owed`, float scalar."""

    owed: jax.Array


@dataclasses.dataclass(frozen=True)
class Probe(BernoulliBandit):
    """One of the probes. Observation, action and oracle are those of `BernoulliBandit`, except in "delayed": there a period
    pays for the previous action, and the oracle counts the payment in the period in which the action is played.

    Attributes:
      probe: one of `NAMES`.
    """

    num_arms: int = 2
    probe: str = "flip"

    def __post_init__(self):
        checks.choice("probe", self.probe, NAMES)
        object.__setattr__(self, "num_arms", checks.positive_int("num_arms", self.num_arms))

    def sample_params(self, key) -> Params:
        best = self.num_arms - 1
        if self.probe == "flip":
            best = jax.random.randint(key, (), 0, self.num_arms)
        return self.params_of((jnp.arange(self.num_arms) == best).astype(jnp.float32))

    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, info = super().step_env(key, state, action, params)
        if self.probe != "delayed":
            return obs, state, reward, terminated, info
        owed = info["reward"]
        info = info | {"reward": state.owed, "demand": state.owed}
        return obs.at[2].set(state.owed), state.replace(owed=owed), info["reward"], terminated, info

    def refresh(self, state, params):
        state = super().refresh(state, params)
        if self.probe != "delayed":
            return state
        return Owing(**{field.name: getattr(state, field.name) for field in dataclasses.fields(state)}, owed=jnp.float32(0))

    def optimum(self, horizon):
        """Expected reward of a lifetime of the best agent; rewards count in the period of their action."""
        return horizon - (1 - 1 / self.num_arms if self.probe == "flip" else 0.0)


def make(name):
    """Build a probe by name.

    Raises:
      ValueError: an unknown name.
    """
    checks.choice("probe", name, NAMES)
    return Probe(num_arms={"one_arm": 1, "flip": 2}.get(name, 3), probe=name)
