"""Training on `worlds`: runs over devices, scores on fresh episodes, checkpoints.

Every run has its own state, see `courses`. Runs are an axis of one `vmap` and are spread over devices. So a run's numbers do
not depend on the number of devices or on the other runs, up to rounding: matrix products of several runs are one product.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxprice import checks, random
from jaxprice import devices as device_mesh
from jaxprice.agents import checkpoint, host, learning, lifetimes, worlds
from jaxprice.agents.courses import Course
from jaxprice.devices import AXIS


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training returns.

    Attributes:
      course: the setting.
      weights: leading axis `[runs]`.
      curve: dict of arrays `[points, runs]`; see `train`.
      about: the card of the agents, plain data.
    """

    course: Course
    weights: Any
    curve: dict
    about: dict

    @property
    def runs(self):
        """Number of runs."""
        return jax.tree.leaves(self.weights)[0].shape[0]

    def agent(self, run=0):
        """The `Agent` of a run, for `save`.

        Raises:
          ValueError: the run does not exist, or the world is not a market.
        """
        if not isinstance(self.course.world, worlds.Market):
            raise ValueError(f"only sellers can be saved as agents, this one plays {self.course.world.name}")
        run = checks.whole("run", run, -self.runs, self.runs - 1)
        weights = jax.tree.map(lambda x: np.asarray(x)[run], self.weights)
        about = self.about | {"run": int(run % self.runs), "held_out": float(self.curve["held_out"][-1, run])}
        return self.course.learner.agent(self.course, weights, about)

    def policy(self, run=0):
        """The `Policy` of a run."""
        return self.agent(run).policy()


def train(course, hyper, seeds, steps, *, folder=None, points=20, devices=None, progress=False, held_out=256, about=None):
    """Train one run for each seed.

    Args:
      course: `Course`.
      hyper: hyperparameters with `check` and `of_runs`, as `optimiser.Hyper`.
      seeds: one integer, or one a run.
      steps: number of periods in all lanes of a run together; rounded up to whole chunks of updates.
      folder: folder of checkpoints, or None; a stopped run resumes, see `learning.run`.
      points: number of points of the curve; checkpoints are written at the same updates.
      devices: as in `simulate`.
      progress: whether to show a progress bar.
      held_out: number of episodes of a score.
      about: plain data for the card.

    Returns:
      `Trained`. Its curve has "update", "steps", the metrics of the learner, "wall_s", "cpu_s", and "held_out": on markets
      the expected reward of fresh episodes as a share of the oracle's ("held_out_regret" is the difference, in money a
      period), for gymnax their mean return.

    Raises:
      ValueError: an argument is out of range, or the folder cannot be used.
      FloatingPointError: the loss is not finite; the last good checkpoint stays.
    """
    steps, points, held_out = map(checks.positive_int, ("steps", "points", "held_out"), (steps, points, held_out))
    progress, seeds, about = checks.boolean("progress", progress), learning.seeds_of(seeds), checks.options("about", about)
    hyper = hyper.of_runs(seeds.size)
    updates = -(-steps // (course.lanes * course.length))
    chunk = -(-updates // points)
    updates = -(-updates // chunk) * chunk  # chunks of one size are compiled once
    if updates * course.length >= 2**31:
        raise ValueError(f"steps must be below 2**31 a lane, got {steps} in {course.lanes} lanes")
    mesh = device_mesh.mesh(devices)
    count = max(k for k in range(1, mesh.size + 1) if seeds.size % k == 0)
    mesh = device_mesh.mesh(list(mesh.devices.flat)[:count])
    told = {"seeds": seeds.tolist(), "updates": updates, "held_out": held_out}
    store = checkpoint.Store(folder, lambda: _decided_by(course, hyper, told))
    begin, advance, score = _start(course, mesh), _advance(course, mesh), _score(course, held_out, mesh)
    warned: list[bool] = []

    def judged(state):
        earned, best = map(np.asarray, score(state.weights, seeds))
        marks = {"steps": np.asarray(state.update) * (course.lanes * course.length)}
        if isinstance(course.world, worlds.Market):
            return marks | host.relative(earned, best, warned)
        return marks | {"held_out": earned}

    try:
        state, curve = host.loop(
            begin(seeds),
            lambda state, count: advance(state, hyper, seeds, np.float32(updates), count),
            judged,
            runs=seeds.size,
            updates=updates,
            store=store,
            chunk=chunk,
            progress=progress,
        )
    except KeyboardInterrupt as error:
        if folder is not None:
            error.add_note(f"checkpoints are in {folder}: the same run again goes on from there")
        raise
    finally:
        store.close()
    card = {"market": course.world.name, "horizon": course.world.horizon, "steps": steps, "seeds": seeds.tolist()}
    card |= {"learner": repr(course.learner), "lanes": course.lanes, "reward": course.world.reward}
    card |= {"hyper": {name: np.asarray(value).tolist() for name, value in vars(hyper).items()}}
    card |= {"reward_scale": np.asarray(jax.vmap(lambda rewards: rewards.scale)(state.rewards)).tolist()}
    return Trained(course, jax.tree.map(np.asarray, state.weights), curve, card | about)


def _decided_by(course, hyper, told):
    """Everything that decides the final weights; see `checkpoint.decided_by`."""
    things = course.world.decided_by() | {"network": course.network, "learner": course.learner}
    things |= {"loop": (_start, _advance, _score, Course)}
    told |= {name: getattr(course, name) for name in ("lanes", "length", "clip_norm", "normalise", "centred")}
    told |= {name: np.asarray(value).tolist() for name, value in vars(hyper).items()}
    return checkpoint.digests(things, told)


def _start(course, mesh):
    """Compiled function: the state of every run before its first update.

    Runs are made one after the other: a batch of QR decompositions, for orthogonal weights, waits for ever where several CPU
    devices share a pool of threads (jaxlib 0.10).
    """

    def begin(seeds):
        return jax.lax.map(functools.partial(course.learner.start, course), seeds)

    return jax.jit(jax.shard_map(begin, mesh=mesh, in_specs=P(AXIS), out_specs=P(AXIS), check_vma=False))


def _advance(course, mesh):
    """Compiled function: `count` updates of every run."""

    def many(count, state, hyper, seeds, updates):
        def one(state, hyper, seed):
            streams = lifetimes.streams(seed)

            def update(state, _):
                state, metrics = course.learner(course, state, hyper, streams, state.update / updates)
                return state.replace(update=state.update + 1), metrics

            return jax.lax.scan(update, state, None, length=count)

        state, metrics = jax.vmap(one)(state, hyper, seeds)
        return state, jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), metrics)

    @functools.partial(jax.jit, static_argnums=4, donate_argnums=0, compiler_options=learning.compiler_options(mesh))
    def advance(state, hyper, seeds, updates, count):
        spread = jax.shard_map(
            functools.partial(many, count),
            mesh=mesh,
            in_specs=(P(AXIS), P(AXIS), P(AXIS), P()),
            out_specs=(P(AXIS), P(None, AXIS)),
            check_vma=False,
        )
        return spread(state, hyper, seeds, updates)

    return advance


def _score(course, episodes, mesh):
    """Compiled function: reward of a period on fresh episodes, of the agent and of the oracle, `[runs]` both.

    For gymnax, the mean return of an episode, and 0."""
    world, market = course.world, isinstance(course.world, worlds.Market)

    def episode(weights, streams, number):
        state, token = world.reset(random.address(streams["reset"], 0, number))
        zero = jnp.float32(0)

        def period(carry, time):
            state, token, memory, alive, earned, best = carry
            memory, output = course.decide(weights, memory, token)
            action = course.learner.greedy(course, output)
            keys = [random.address(streams[role], time, number) for role in ("demand", "market")]
            state, step = world.step(*keys, state, action)
            earned, best = earned + alive * step.earned, best + alive * step.best
            return (state, step.token, memory, alive * ~step.done, earned, best), None

        carry = state, token, course.memory(weights), jnp.float32(1), zero, zero
        carry, _ = jax.lax.scan(period, carry, jnp.arange(world.horizon, dtype=jnp.int32))
        return carry[-2], carry[-1]

    def run(weights, seed):
        streams = lifetimes.streams(jnp.uint32(learning.HELD_OUT) - seed)
        numbers = jnp.arange(episodes, dtype=jnp.uint32)
        earned, best = jax.vmap(episode, (None, None, 0))(weights, streams, numbers)
        share = world.horizon if market else 1
        return earned.mean() / share, best.mean() / share

    many = jax.vmap(run)
    return jax.jit(jax.shard_map(many, mesh=mesh, in_specs=(P(AXIS), P(AXIS)), out_specs=P(AXIS), check_vma=False))
