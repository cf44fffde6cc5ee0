"""What all training shares: weights and optimiser, lanes spread over devices, and the host's loop with its checkpoints.

A learner is a function `learn(training, state, hyper, streams, lanes, share) -> (state, metrics)`, one update on the
lifetimes of `lanes`, uint32 `[minibatches, lanes of one on this device]`, when `share` of the updates are done. Means over
lanes go through `over_devices`, so that a minibatch is the same lanes on any number of devices. Lane numbers go on from
update to update, and all else is a function of the `State`: a run that is killed and resumed from a checkpoint ends with
the same weights.

Seeds and hyperparameters are an axis of one `vmap`: every leaf of `State` and `Hyper` has a leading axis `[runs]`.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import PartitionSpec as P
from tqdm import tqdm

from jaxprice import checks
from jaxprice import devices as device_mesh
from jaxprice.agents import checkpoint, lifetimes, networks
from jaxprice.devices import AXIS

HELD_OUT = 2**32 - 1  # the seed of held-out markets is this less the seed of training


@struct.dataclass
class Hyper:
    """Hyperparameters that may be traced, float scalars.

    Attributes:
      learning_rate: at its peak; it warms up over the first share `warm_up` of the updates and falls by a cosine to 5 %.
      entropy: weight of the entropy bonus at the start; it falls linearly to zero.
      clip: of the probability ratio.
      trace: lambda of the advantage estimates.
      discount: of future rewards.
      value_weight: of the value loss.
      decay: weight decay.
      warm_up: share of the updates, or 0.
    """

    learning_rate: Any = 1e-3
    entropy: Any = 0.02
    clip: Any = 0.2
    trace: Any = 0.97
    discount: Any = 1.0
    value_weight: Any = 2.0
    decay: Any = 0.0
    warm_up: Any = 0.0

    def check(self):
        """Refuse numbers out of range.

        Raises:
          ValueError: they are.
        """
        highs = {"clip": 1, "trace": 1, "discount": 1, "warm_up": 1}
        for field in dataclasses.fields(self):
            checks.number(field.name, getattr(self, field.name), low=0, high=highs.get(field.name, math.inf))
        return self


@struct.dataclass
class State:
    """What training knows.

    Attributes:
      weights, optimiser: of the network, and of Adam.
      update: updates done, int scalar.
    """

    weights: Any
    optimiser: Any
    update: jax.Array


def adam(clip_norm):
    """Adam after clipping the norm of the gradient; the learning rate comes in `descend`."""
    return optax.chain(optax.clip_by_global_norm(clip_norm), optax.scale_by_adam(eps=1e-6))


def descend(optimiser, state, gradient, hyper, share):
    """The state after one step; `share`: of the updates done."""
    steps, kept = optimiser.update(gradient, state.optimiser, state.weights)
    rate = hyper.learning_rate * (0.05 + 0.95 * (1 + jnp.cos(jnp.pi * share)) / 2)
    rate = rate * jnp.minimum(1.0, (share + 1e-3) / jnp.maximum(hyper.warm_up, 1e-3))
    weights = jax.tree.map(lambda w, step: w - rate * (step + hyper.decay * w), state.weights, steps)
    return state.replace(weights=weights, optimiser=kept)


def over_devices(tree):
    """Means over devices of means over their lanes."""
    return jax.lax.pmean(tree, AXIS)


@dataclasses.dataclass(frozen=True)
class Training:
    """On what; static.

    Attributes:
      play: market, network, horizon.
      lanes: lifetimes of one update.
      minibatches: into which they are split; `lanes` is a multiple of it and of the devices.
      clip_norm: of the gradient.
    """

    play: lifetimes.Play
    lanes: int = 256
    minibatches: int = 1
    clip_norm: float = 0.5

    def __post_init__(self):
        for name in ("lanes", "minibatches"):
            checks.positive_int(name, getattr(self, name))
        checks.number("clip_norm", self.clip_norm, low=0)
        if self.lanes % self.minibatches:
            raise ValueError(f"lanes must be a multiple of the {self.minibatches} minibatches, got {self.lanes}")

    def start(self, seed):
        """Fresh weights."""
        weights = networks.initial(self.play.network, jax.random.key(seed), *self.play.example())
        return State(weights, adam(self.clip_norm).init(weights), jnp.int32(0))


def run(
    training,
    learn,
    hyper,
    seeds,
    updates,
    *,
    folder=None,
    chunk=25,
    devices=None,
    progress=False,
    judge=None,
    held_out=512,
):
    """Train, one run a seed.

    Args:
      training: `Training`.
      learn: one update, see the module.
      hyper: `Hyper`, scalars or one entry a run.
      seeds: integers.
      updates: in all; schedules end with them.
      folder: where checkpoints go; a run there that was stopped goes on. None: none are kept.
      chunk: updates between two looks at the held-out score, and two checkpoints.
      devices: as in `simulate`.
      progress: whether to show a bar.
      judge: how the agent acts where it is scored, "sample" or "argmax"; by default as in `training.play`.
      held_out: lanes of the held-out score.

    Returns:
      `(weights, curve)`: weights with a leading axis `[runs]`, and a dict of arrays `[points, runs]`: "update", metrics of
      `learn`, and "held_out", the expected reward of a lifetime on held-out markets as a share of the oracle's.

    Raises:
      ValueError: numbers out of range; a checkpoint of another configuration, or one of policies without a description.
      FloatingPointError: the loss is not a number; the last good checkpoint is kept.
    """
    hyper.check()
    if checks.positive_int("updates", updates) * training.lanes >= 2**32:
        raise ValueError(f"updates x lanes must be below 2**32, got {updates} x {training.lanes}")
    for name, value in (("chunk", chunk), ("held_out", held_out)):
        checks.positive_int(name, value)
    given, seeds = seeds, np.atleast_1d(seeds)
    if seeds.ndim != 1 or seeds.dtype.kind not in "iu" or not np.all((seeds >= 0) & (seeds < 2**32)):
        raise ValueError(f"seeds must be an integer in [0, 2**32) or several, got {given!r}")
    seeds = seeds.astype(np.uint32)
    hyper = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float32), seeds.shape), hyper)
    mesh = device_mesh.mesh(devices)
    if training.lanes // training.minibatches % mesh.size:
        wanted = training.minibatches * mesh.size
        raise ValueError(f"lanes must be a multiple of minibatches x devices = {wanted}, got {training.lanes}")
    told = None if folder is None else checkpoint.fingerprint(training, learn, hyper, seeds, updates)
    store = checkpoint.Store(folder, told)
    begun = [_start(training)(seed) for seed in seeds]
    state, curve = jax.tree.map(lambda *x: jnp.stack(x), *begun), {}
    state, curve = store.resume(state, curve)
    advance, score = _advance(training, learn, mesh), _score(training.play, judge or training.play.deploy, mesh)
    numbers = jnp.arange(held_out - held_out % mesh.size or mesh.size, dtype=jnp.uint32)
    done = int(state.update[0])
    with tqdm(total=updates, initial=done, unit=" updates", disable=not progress) as bar:
        while done < updates:
            count = min(chunk, updates - done)
            new, metrics = advance(state, hyper, seeds, np.float32(updates), count)
            metrics = {name: np.asarray(x) for name, x in metrics.items()}
            bad = [name for name, x in metrics.items() if not np.all(np.isfinite(x))]
            if bad:
                step = done + int(np.argmin(np.isfinite(metrics[bad[0]]).all(axis=-1))) + 1
                raise FloatingPointError(f"{bad[0]} is not finite at update {step}; the weights of update {done} are kept")
            state, done = new, done + count
            point = {name: x.mean(axis=0) for name, x in metrics.items()}
            point |= {"update": np.full(seeds.size, done), "held_out": np.asarray(score(state.weights, seeds, numbers))}
            curve = {name: np.concatenate([curve.get(name, x[None][:0]), x[None]]) for name, x in point.items()}
            store.save(state, curve, done)
            bar.update(count)
            bar.set_postfix(held_out=f"{point['held_out'].mean():.4f}", loss=f"{point['loss'].mean():.3g}", refresh=False)
    return state.weights, curve


@functools.lru_cache(maxsize=16)
def _start(training):
    """Compiled: fresh weights of a run."""
    return jax.jit(training.start)


@functools.lru_cache(maxsize=16)
def _advance(training, learn, mesh):
    """Compiled: `count` updates of every run."""

    def many(count, state, hyper, seeds, updates, places):
        def one(state, hyper, seed):
            streams = lifetimes.streams(seed)

            def update(state, _):
                lanes = (state.update.astype(jnp.uint32) * np.uint32(training.lanes)) + places
                state, metrics = learn(training, state, hyper, streams, lanes, state.update / updates)
                return state.replace(update=state.update + 1), metrics

            return jax.lax.scan(update, state, None, length=count)

        state, metrics = jax.vmap(one)(state, hyper, seeds)
        return state, jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), metrics)

    places = jnp.arange(training.lanes, dtype=jnp.uint32).reshape(training.minibatches, -1)

    @functools.partial(jax.jit, static_argnums=4, compiler_options=_compiler_options(mesh))
    def advance(state, hyper, seeds, updates, count):
        spread = jax.shard_map(
            functools.partial(many, count),
            mesh=mesh,
            in_specs=(P(), P(), P(), P(), P(None, AXIS)),
            out_specs=P(),
            check_vma=False,
        )
        return spread(state, hyper, seeds, updates, places)

    return advance


def _compiler_options(mesh):
    """Where each core is a device, matrix products stay on the core of theirs: the others have their own."""
    alone = {"xla_cpu_multi_thread_eigen": mesh.size == 1} if device_mesh.on_cpu(mesh) else {}
    return device_mesh.compiler_options(mesh) | alone


@functools.lru_cache(maxsize=16)
def _score(play, deploy, mesh):
    """Compiled: expected reward on held-out markets as a share of the oracle's, for every run."""
    play = dataclasses.replace(play, deploy=deploy, actor=None, teacher=None, return_reward="mean")

    def score(weights, seeds, numbers):
        def one(weights, seed):
            streams = lifetimes.streams(jnp.uint32(HELD_OUT) - seed)
            life = jax.vmap(play.live, (None, None, 0))(weights, streams, numbers)
            earned, best = over_devices((life.expected.mean(), life.optimal.mean()))
            return earned / best

        return jax.vmap(one)(weights, seeds)

    return jax.jit(jax.shard_map(score, mesh=mesh, in_specs=(P(), P(), P(AXIS)), out_specs=P(), check_vma=False))
