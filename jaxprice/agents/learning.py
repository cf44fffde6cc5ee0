"""The common part of training on lifetimes: lanes over devices. The loop on the host is in `host`, one step in `optimiser`.

A learner is a function `learn(training, state, hyper, streams, lanes, share) -> (state, metrics)`. It makes one update on
the lifetimes of `lanes`, uint32 `[minibatches, lanes of one on this device]`; `share` is the share of the updates that are
done. Means over lanes go through `over_devices`, so a minibatch consists of the same lanes on any number of devices. Lane
numbers continue from update to update, and everything else is a function of the `State`. Therefore a run that is killed and
resumed from a checkpoint ends with the same weights.

Seeds and hyperparameters are an axis of one `vmap`: every leaf of `State` and `Hyper` has a leading axis `[runs]`.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxprice import checks
from jaxprice import devices as device_mesh
from jaxprice.agents import checkpoint, host, lifetimes, networks
from jaxprice.agents.optimiser import Hyper, State, adam, descend
from jaxprice.devices import AXIS

__all__ = ["HELD_OUT", "Hyper", "State", "Training", "adam", "descend", "over_devices", "run"]

HELD_OUT = 2**32 - 1  # the seed of held-out markets is this number minus the seed of training


def over_devices(tree):
    """Means over devices of the means over their lanes."""
    return jax.lax.pmean(tree, AXIS)


@dataclasses.dataclass(frozen=True)
class Training:
    """The setting of a training run; static.

    Attributes:
      play: market, network, horizon.
      lanes: lifetimes of one update.
      minibatches: number of parts of an update; `lanes` is a multiple of it times the number of devices.
      clip_norm: largest norm of the gradient.
    """

    play: lifetimes.Play
    lanes: int = 256
    minibatches: int = 1
    clip_norm: float = 0.5

    def __post_init__(self):
        if not isinstance(self.play, lifetimes.Play):
            raise ValueError(f"play must be lifetimes.Play, got {checks.shown(self.play)}")
        for name in ("lanes", "minibatches"):
            object.__setattr__(self, name, checks.positive_int(name, getattr(self, name)))
        object.__setattr__(self, "clip_norm", float(checks.number("clip_norm", self.clip_norm, low=0, scalar=True)))
        if self.lanes % self.minibatches:
            raise ValueError(f"lanes must be a multiple of the {self.minibatches} minibatches, got {self.lanes}")

    def start(self, seed):
        """New random weights."""
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
    """Train one run for each seed.

    Args:
      training: `Training`.
      learn: the learner, see the module.
      hyper: `Hyper`, scalars or one entry a run.
      seeds: integers.
      updates: total number of updates; schedules end with the last one.
      folder: folder of checkpoints. A stopped run in it resumes, unless the run or its code has changed; a warning says if
        it has. A finished run is also read from a folder that cannot be written. None means that nothing is stored.
      chunk: number of updates between two checkpoints, and between two held-out scores.
      devices: as in `simulate`.
      progress: whether to show a progress bar.
      judge: how the agent acts when it is scored, "sample" or "argmax"; by default as in `training.play`.
      held_out: number of lanes of the held-out score.

    Returns:
      `(weights, curve)`: weights with a leading axis `[runs]`, and a dict of arrays `[points, runs]`: "update", the metrics
      of `learn`, and

      * "held_out", the expected reward of a lifetime on held-out markets, as a share of the oracle's; NaN, with a warning,
        if the oracle's is not positive,
      * "held_out_regret", the difference to the oracle's expected reward, in money a period,
      * "wall_s", "cpu_s", seconds of training so far, for all runs together, including earlier starts up to the checkpoint
        from which the run resumed.

    Raises:
      ValueError: an argument is out of range, the folder cannot be used, or the run has no fingerprint to find it by.
      FloatingPointError: the loss is NaN; the last good checkpoint stays.
    """
    if not isinstance(training, Training):
        raise ValueError(f"training must be learning.Training, got {checks.shown(training)}")
    if not callable(learn):
        raise ValueError(f"learn must be a function, got {checks.shown(learn)}")
    if not isinstance(hyper, Hyper):
        raise ValueError(f"hyper must be agents.Hyper, got {checks.shown(hyper)}")
    updates, chunk, held_out = map(checks.positive_int, ("updates", "chunk", "held_out"), (updates, chunk, held_out))
    progress = checks.boolean("progress", progress)
    if updates * training.lanes >= 2**32:
        raise ValueError(f"updates x lanes must be below 2**32, got {updates} x {training.lanes}")
    seeds = seeds_of(seeds)
    judge = checks.choice("judge", training.play.deploy if judge is None else judge, ("sample", "argmax"))
    hyper, mesh = hyper.of_runs(seeds.size), device_mesh.mesh(devices)
    if training.lanes // training.minibatches % mesh.size:
        wanted = training.minibatches * mesh.size
        raise ValueError(f"lanes must be a multiple of minibatches x devices = {wanted}, got {training.lanes}")
    told = {"seeds": seeds.tolist(), "updates": updates, "judge": judge, "held_out": held_out}
    things = {"learner": learn, "loop": (_start, _advance, _score, type(training), type(training.play))}
    store = checkpoint.Store(folder, lambda: checkpoint.decided_by(training, hyper, things, **told))
    try:
        return _run(training, learn, hyper, seeds, updates, store, chunk, mesh, progress, judge, held_out)
    except KeyboardInterrupt as error:
        if folder is not None:
            error.add_note(f"checkpoints are in {folder}: the same run again goes on from there")
        raise
    finally:
        store.close()


def _run(training, learn, hyper, seeds, updates, store, chunk, mesh, progress, judge, held_out):
    """`run`, with all arguments prepared."""
    begun = [_start(training)(seed) for seed in seeds]
    advance, score = _advance(training, learn, mesh), _score(training.play, judge, mesh)
    numbers = jnp.arange(held_out - held_out % mesh.size or mesh.size, dtype=jnp.uint32)
    told: list[bool] = []

    def judged(state):
        earned, best = score(state.weights, seeds, numbers)
        return host.relative(earned, best, told)

    state, curve = host.loop(
        jax.tree.map(lambda *x: jnp.stack(x), *begun),
        lambda state, count: advance(state, hyper, seeds, np.float32(updates), count),
        judged,
        runs=seeds.size,
        updates=updates,
        store=store,
        chunk=chunk,
        progress=progress,
    )
    return state.weights, curve


def seeds_of(seeds):
    """One or several integers of any type as uint32 `[runs]`."""
    several = isinstance(seeds, list | tuple | range) or (isinstance(seeds, np.ndarray | jax.Array) and np.ndim(seeds) == 1)
    every = [checks.whole("seeds", seed, 0, 2**32 - 1) for seed in (seeds if several else [seeds])]
    if not every:
        raise ValueError(f"seeds must be an integer in [0, 2**32) or several, got {checks.shown(seeds)}")
    return np.asarray(every, np.uint32)


@functools.lru_cache(maxsize=16)
def _start(training):
    """Compiled function: new weights of a run."""
    return jax.jit(training.start)


@functools.lru_cache(maxsize=16)
def _advance(training, learn, mesh):
    """Compiled function: `count` updates of every run."""

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

    @functools.partial(jax.jit, static_argnums=4, compiler_options=compiler_options(mesh))
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


def compiler_options(mesh):
    """If each core is a device, keep matrix products on the core of their device, because the others are busy."""
    alone = {"xla_cpu_multi_thread_eigen": mesh.size == 1} if device_mesh.on_cpu(mesh) else {}
    return device_mesh.compiler_options(mesh) | alone


@functools.lru_cache(maxsize=16)
def _score(play, deploy, mesh):
    """Compiled function: expected reward of a period on held-out markets, of the agent and of the oracle, `[runs]` both."""
    play = dataclasses.replace(play, deploy=deploy, actor=None, teacher=None, return_reward="mean")

    def score(weights, seeds, numbers):
        def one(weights, seed):
            streams = lifetimes.streams(jnp.uint32(HELD_OUT) - seed)
            life = jax.vmap(play.live, (None, None, 0))(weights, streams, numbers)
            return over_devices((life.expected.mean(), life.optimal.mean()))

        return jax.vmap(one)(weights, seeds)

    return jax.jit(jax.shard_map(score, mesh=mesh, in_specs=(P(), P(), P(AXIS)), out_specs=P(), check_vma=False))
