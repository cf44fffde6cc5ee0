"""Probe worlds: episodes of one to three periods that each reveal one kind of mistake in a deep learner.

| probe | reward | exact value | the mistake it reveals |
|---|---|---|---|
| "constant" | 1 | 1 | rewards do not reach the value |
| "observed" | the cue, 1 or -1 | the cue | the value does not see the observation |
| "later" | 1 in the second period | discount, then 1 | the value of what follows, or its discount |
| "action" | 1 for the last action, -1 for the first | 1 | the policy does not improve, a wrong sign |
| "both" | 1 if the action is the cue, -1 otherwise | 1 | actions and observations of different periods are mixed |
| "endless" | 1 in each of three periods, then the record stops | 1 / (1 - discount) | truncation taken for termination |
| "remembered" | in the second period, 1 if the action is the first cue | discount, then 1 | the memory of an episode |

There are two actions. The token holds the cue, the period, and one entry a probe, so that "all", which draws a probe for
each episode, is one task with exact values too. The endless probe does not show the period. Only a network with memory can
earn "remembered", so "all" leaves it out.

Source: A. L. Jones (2021), "Debugging reinforcement learning systems", andyljones.com/posts/rl-debugging.html (the idea, and
the first five); the last two are additions.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks
from jaxprice.agents import worlds
from jaxprice.types import Discrete

NAMES = ("constant", "observed", "later", "action", "both", "endless", "remembered")
LENGTHS = (1, 1, 2, 1, 1, 3, 2)
SHOWN = 6  # probes of "all"


@struct.dataclass
class State:
    """The probe by its number, the cue (1 or -1), and the number of periods played; scalars."""

    kind: Any
    cue: Any
    time: Any


@dataclasses.dataclass(frozen=True)
class Probe(worlds.World):
    """One of the probes, or "all".

    Attributes:
      probe: one of `NAMES`, or "all".
    """

    probe: str = "all"
    space = Discrete(2)
    horizon = max(LENGTHS)

    def __post_init__(self):
        checks.choice("probe", self.probe, (*NAMES, "all"))

    @property
    def name(self):
        """Label in results."""
        return f"probe {self.probe}"

    def token(self, state):
        """What the network sees, float `[9]`."""
        later = state.time > 0
        cue = jnp.where((state.kind == NAMES.index("remembered")) & later, 0.0, state.cue)
        time = jnp.where(state.kind == NAMES.index("endless"), 0.0, later)
        kind = jax.nn.one_hot(state.kind, len(NAMES), dtype=jnp.float32)
        return jnp.concatenate([jnp.stack([cue, time]).astype(jnp.float32), kind])

    def reset(self, key):
        key_kind, key_cue = jax.random.split(key)
        kind = jax.random.randint(key_kind, (), 0, SHOWN, jnp.int32)
        kind = kind if self.probe == "all" else jnp.int32(NAMES.index(self.probe))
        cue = jnp.where(jax.random.bernoulli(key_cue), 1.0, -1.0).astype(jnp.float32)
        state = State(kind, cue, jnp.int32(0))
        return state, self.token(state)

    def step(self, key, key_reset, state, action):
        del key
        signed = jnp.where(action == 1, 1.0, -1.0)
        matches, second = signed * state.cue, jnp.float32(state.time == 1)
        rewards = jnp.stack([1.0, state.cue, second, signed, matches, 1.0, second * matches])
        reward = rewards[state.kind].astype(jnp.float32)
        after = state.replace(time=state.time + 1)
        last = self.token(after)
        ends, endless = after.time >= jnp.asarray(LENGTHS, jnp.int32)[state.kind], state.kind == NAMES.index("endless")
        new, first = self.reset(key_reset)
        state, token = jax.tree.map(lambda a, b: jnp.where(ends, a, b), (new, first), (after, last))
        return state, worlds.Step(token, last, reward, ends & ~endless, ends & endless, reward, jnp.float32(0))

    def situations(self, discount):
        """All tokens that a decision sees, and the exact values of the two actions there under the best play.

        Args:
          discount: discount of a period.

        Returns:
          Tokens `[n, 9]` and values `[n, 2]`, float. The values of "remembered" after its first period are those of the
          history with the cue 1, then with -1.
        """
        kinds = range(SHOWN) if self.probe == "all" else [NAMES.index(self.probe)]
        tokens, values = [], []
        for kind in kinds:
            for time in range(1 if NAMES[kind] == "endless" else LENGTHS[kind]):
                for cue in (1.0, -1.0):
                    state = State(jnp.int32(kind), jnp.float32(cue), jnp.int32(time))
                    tokens.append(np.asarray(self.token(state)))
                    values.append(_values(NAMES[kind], cue, time, discount))
        return np.array(tokens), np.array(values)


def _values(name, cue, time, discount):
    """Exact values of the first and the last action."""
    sign = np.array([-1.0, 1.0])
    return {
        "constant": np.ones(2),
        "observed": np.full(2, cue),
        "later": np.full(2, 1.0 if time else discount),
        "action": sign,
        "both": sign * cue,
        "endless": np.full(2, 1 / (1 - discount)),
        "remembered": sign * cue if time else np.full(2, discount),
    }[name]
