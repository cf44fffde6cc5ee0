"""Probes: tiny markets that each find one mistake in an agent or its training.

| probe | what a healthy agent does | what it finds |
|---|---|---|
| "one_arm" | earns 1 a period | a broken pipeline: wrong shapes, wrong sums, a value that does not learn |
| "best_arm" | always plays the last arm | a policy that is not improved, a sign |
| "flip" | tries, then plays the arm that pays, drawn anew in each lifetime | no memory: without it, 1/2 a period |
| "delayed" | always plays the last arm, which pays a period later | credit that does not flow back in time |

All rewards are 0 or 1 and certain given the market. `optimum` gives the exact expected reward of a lifetime.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.envs.bernoulli_bandit import BernoulliBandit, Params
from jaxprice.envs.stationary import State

NAMES = ("one_arm", "best_arm", "flip", "delayed")


@struct.dataclass
class Owing(State):
    """State of "delayed": also what the last action will pay, `owed`, float scalar."""

    owed: jax.Array


@dataclasses.dataclass(frozen=True)
class Probe(BernoulliBandit):
    """One of the probes; observation, action and oracle as in `BernoulliBandit`, but in "delayed", where a period pays for
    the action before it and the oracle counts that payment when the action is played.

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
        """Expected reward of a lifetime of the best agent, as counted when actions are played."""
        return horizon - (1 - 1 / self.num_arms if self.probe == "flip" else 0.0)


def make(name):
    """A probe by name.

    Raises:
      ValueError: an unknown name.
    """
    checks.choice("probe", name, NAMES)
    return Probe(num_arms={"one_arm": 1, "flip": 2}.get(name, 3), probe=name)
