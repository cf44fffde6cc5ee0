"""A world of tables and linear networks, in which every gradient of a deep learner can be written down in NumPy."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice.agents import courses, lifetimes, worlds
from jaxprice.agents.inputs import Output
from jaxprice.types import Discrete

PLACES, ACTIONS, SIZE = 7, 3, 4


class Board(worlds.World):
    """Places with random features; an action leads to a place, and three of the places end the episode."""

    name, space, horizon = "board", Discrete(ACTIONS), 20

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.features = rng.normal(1.0, 2.0, (PLACES, SIZE)).astype(np.float32)
        self.leads = rng.integers(0, PLACES, (PLACES, ACTIONS)).astype(np.int32)
        self.pays = rng.normal(0.5, 1.5, (PLACES, ACTIONS)).astype(np.float32)
        self.ends = np.array([0, 0, 0, 0, 1, 2, 1])  # nothing, terminated, truncated

    def reset(self, key):
        place = jax.random.randint(key, (), 0, 4, jnp.int32)
        return place, jnp.asarray(self.features)[place]

    def step(self, key, key_reset, state, action):
        del key
        place, reward = jnp.asarray(self.leads)[state, action], jnp.asarray(self.pays)[state, action]
        how = jnp.asarray(self.ends)[place]
        new, first = self.reset(key_reset)
        last = jnp.asarray(self.features)[place]
        state, token = jax.tree.map(lambda a, b: jnp.where(how > 0, a, b), (new, first), (place, last))
        return state, worlds.Step(token, last, reward, how == 1, how == 2, reward, jnp.float32(0))


@dataclasses.dataclass(frozen=True)
class Linear:
    """Logits and value that are linear in the normalised token, or in a memory h' = h / 2 + token of the episode."""

    memory: bool = False

    def init(self, key, token, method):
        assert method == "first"
        logits, value = 0.5 * jax.random.normal(key, (2, SIZE, ACTIONS))
        stats = {"normal": {"mean": jnp.zeros(SIZE), "variance": jnp.ones(SIZE)}}
        return {"params": {"logits": logits, "value": value[:, 0]}, "stats": stats}

    def apply(self, weights, memory, token=None, *, method):
        if method == "start":
            return jnp.zeros(SIZE) if self.memory else ()
        x = normed(token, **weights["stats"]["normal"])
        if self.memory:
            x = memory = memory / 2 + x
        return memory, Output(x @ weights["params"]["logits"], x @ weights["params"]["value"])


def normed(token, mean, variance):
    return (token - mean) / (variance + 1e-8) ** 0.5


def course(learner, lanes, length, memory=False, clip_norm=100.0, normalise=True, centred=False):
    return courses.Course(Board(), Linear(memory), ("", {}), learner, lanes, length, clip_norm, normalise, centred)


def updates(course, hyper, shares, seed=5):
    """Updates of a learner, one after another: `(before, record, after, metrics)` of each.

    The record is that of `Course.play` with the same arguments."""
    streams = lifetimes.streams(jnp.uint32(seed))

    @jax.jit
    def one(state, share):
        after, metrics = course.learner(course, state, hyper, streams, share)
        return course.play(state, hyper, streams, share)[1], after.replace(update=state.update + 1), metrics

    state = course.learner.start(course, jnp.uint32(seed))
    for share in shares:
        record, after, metrics = jax.tree.map(np.asarray, one(state, jnp.float32(share)))
        yield state, record, after, metrics
        state = jax.tree.map(jnp.asarray, after)


def features(state, record, after, memory):
    """What the linear network sees of the record with the new statistics, float64 `[T, lanes, size]`."""
    stats = {name: np.asarray(x, float) for name, x in after.weights["stats"]["normal"].items()}
    x = normed(record.token.astype(float), **stats)
    if memory:
        held = np.asarray(state.lanes.memory, float)
        for t in range(len(x)):
            x[t] += np.where(record.fresh[t][:, None], 0.0, held) / 2
            held = x[t]
    return x


def shown(state):
    """Weights and optimiser of a state as `Adam.check` takes them."""
    return SimpleNamespace(weights=state.weights["params"], optimiser=state.optimiser)
