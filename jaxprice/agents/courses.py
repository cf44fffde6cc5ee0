"""Courses: the common part of deep learners on `worlds`: lanes that play, a record of what happened, gradient steps on it.

A learner is a frozen dataclass of static choices with

    looks_ahead: bool                                                    whether it needs `Record.ahead`
    start(course, seed) -> State                                         new weights and everything else
    __call__(course, state, hyper, streams, share) -> (State, metrics)   one update
    choose(course, key, output, hyper, share) -> action                  how it acts while it learns
    greedy(course, output) -> action                                     how it acts when it is scored
    agent(course, weights, about) -> Agent                               what is saved

One update plays `length` periods in each lane and learns from them; `share` is the share of the updates that are done. Lanes
continue where the last update left them. Random numbers are addressed by (seed, role, step, lane).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks, random
from jaxprice.agents import lifetimes, networks, optimiser, running, worlds
from jaxprice.agents.records import Lanes, Record, State


@dataclasses.dataclass(frozen=True, eq=False)
class Course:
    """The setting of a training run; static.

    Attributes:
      world: from `worlds.make`.
      network: with the methods `start`, `first` and `decide`, as `networks.SequenceNetwork` has.
      built: name and options of the network, for `agents.Agent`.
      learner: see the module.
      lanes, length: lanes, and periods that each plays in an update.
      clip_norm: largest norm of the gradient.
      normalise: whether observations and rewards are normalised.
      centred: whether the mean reward of a period is subtracted, see `running`.
    """

    world: Any
    network: Any
    built: tuple
    learner: Any
    lanes: int
    length: int
    clip_norm: float = 0.5
    normalise: bool = True
    centred: bool = False

    @property
    def adam(self):
        """Adam after clipping."""
        return optimiser.adam(self.clip_norm)

    def memory(self, weights):
        """Memory of the network at the start of an episode."""
        return self.network.apply(weights, None, method="start")

    def decide(self, weights, memory, token):
        """One decision: `(memory, Output)`."""
        return self.network.apply(weights, memory, token, method="decide")

    def started(self, weights, memory, fresh):
        """The memory, started anew where an episode begins."""
        return jax.tree.map(lambda a, b: jnp.where(fresh, a, b), self.memory(weights), memory)

    def says(self, weights, memory, token, fresh):
        """The outputs of the network for tokens `[n, D]`, or, if it has a memory, for tokens `[T, lanes, D]` in their order.

        Args:
          weights: weights.
          memory: memory of the lanes before the first token.
          token: tokens.
          fresh: where an episode begins.
        """
        if not jax.tree.leaves(memory):
            flat = token.reshape(-1, token.shape[-1])
            says = jax.vmap(lambda one: self.decide(weights, (), one)[1])(flat)
            return jax.tree.map(lambda x: x.reshape(*token.shape[:-1], *x.shape[1:]), says)

        def period(memory, now):
            token, fresh = now
            return jax.vmap(lambda m, t, f: self.decide(weights, self.started(weights, m, f), t))(memory, token, fresh)

        return jax.lax.scan(period, memory, (token, fresh))[1]

    def begin(self, seed):
        """The `State` before the first update, for a seed, uint32 scalar."""
        streams = lifetimes.streams(seed)
        keys = jax.vmap(lambda lane: random.address(streams["reset"], 0, lane))(jnp.arange(self.lanes, dtype=jnp.uint32))
        world, token = jax.vmap(self.world.reset)(keys)
        key = random.address(streams["init"], 0, 0)
        start = self.network.init(key, token[0], method="first")
        weights = dict(start)
        memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (self.lanes, *x.shape)), self.memory(weights))
        lanes = Lanes(world, token, memory, jnp.ones(self.lanes, bool))
        return State(
            weights,
            self.adam.init(weights["params"]),
            jnp.int32(0),
            lanes,
            running.start(token.shape[1:]),
            running.start_rewards(self.lanes),
        )

    def play(self, state, hyper, streams, share):
        """Play `length` periods in every lane: `(state, Record)`.

        Tokens are normalised by the statistics before this record, when it is made and when it is learned from: so the
        ratio of PPO is one before its first step. The record counts from the next one on.
        """
        numbers, weights = jnp.arange(self.lanes, dtype=jnp.uint32), state.weights
        if self.normalise:
            seen = state.observations
            weights = weights | {"stats": {"normal": {"mean": seen.mean, "variance": seen.variance}}}
            state = state.replace(weights=weights)

        def one(lanes, number, time):
            keys = {role: random.address(streams[role], time, number) for role in ("act", "demand", "reset")}
            memory, output = self.decide(weights, lanes.memory, lanes.token)
            action = self.learner.choose(self, keys["act"], output, hyper, share)
            world, step = self.world.step(keys["demand"], keys["reset"], lanes.world, action)
            ahead = self.decide(weights, memory, step.last)[1] if self.learner.looks_ahead else None
            memory = self.started(weights, memory, step.done)
            record = Record(lanes.token, lanes.fresh, action, output, step, ahead)
            return Lanes(world, step.token, memory, step.done), record

        def period(lanes, time):
            return jax.vmap(one, (0, 0, None))(lanes, numbers, time)

        first = state.update.astype(jnp.uint32) * np.uint32(self.length) + np.uint32(1)
        lanes, record = jax.lax.scan(period, state.lanes, first + jnp.arange(self.length, dtype=jnp.uint32))
        state = state.replace(lanes=lanes)
        if self.normalise:
            observations = running.add(state.observations, record.token.reshape(-1, record.token.shape[-1]))
            state = state.replace(observations=observations)
        if self.normalise or self.centred:
            ends = record.step.done
            rewards = running.add_rewards(state.rewards, record.step.reward, ends, hyper.discount, self.centred)
            state = state.replace(rewards=rewards)
        return state, record

    def scale(self, state):
        """The number that rewards are divided by, float scalar."""
        return state.rewards.scale if self.normalise else jnp.float32(1)

    def epochs(self, state, key, loss, batch, memory, epochs, minibatches, hyper, share):
        """Several passes over a record, in random minibatches: `(state, metrics)`.

        Minibatches are made of periods, or of whole lanes if the network has a memory.

        Args:
          state: `State`.
          key: key.
          loss: `(says, part) -> (loss, metrics)`, with the outputs of the network on a part of the batch.
          batch: dict of arrays `[T, lanes, ...]`, with "token" and "fresh".
          memory: memory of the lanes before the record.
          epochs, minibatches: number of passes, and of parts of a pass.
          hyper, share: as in an update.
        """
        recurrent = bool(jax.tree.leaves(memory))
        if not recurrent:
            batch = jax.tree.map(lambda x: x.reshape(1, -1, *x.shape[2:]), batch)
        count = batch["fresh"].shape[1]

        def minibatch(state, places):
            part = jax.tree.map(lambda x: x[:, places] if recurrent else x[0, places], batch)
            held = jax.tree.map(lambda x: x[places], memory)

            def total(params):
                return loss(self.says(state.weights | {"params": params}, held, part["token"], part["fresh"]), part)

            gradient, metrics = jax.grad(total, has_aux=True)(state.weights["params"])
            return self.descend(state, gradient, hyper, share), metrics

        def epoch(state, key):
            return jax.lax.scan(minibatch, state, jax.random.permutation(key, count).reshape(minibatches, -1))

        state, metrics = jax.lax.scan(epoch, state, jax.random.split(key, epochs))
        return state, jax.tree.map(jnp.mean, metrics)

    def descend(self, state, gradient, hyper, share):
        """One step of Adam on the params, with the schedule of `optimiser`."""
        step = optimiser.State(state.weights["params"], state.optimiser, state.update)
        step = optimiser.descend(self.adam, step, gradient, hyper, share)
        return state.replace(weights=state.weights | {"params": step.weights}, optimiser=step.optimiser)


def course_of(world, learner, lanes, length, network, actions, clip_norm=0.5, normalise=True, centred=None):
    """A `Course` with a network of `networks.make`, after checks.

    Args:
      world, learner, lanes, length, clip_norm, normalise: see `Course`.
      network: name and options of the network.
      actions: number of outputs.
      centred: see `Course`; by default, where the world is a market.

    Raises:
      ValueError: a number is out of range, or the network does not exist.
    """
    lanes, length = checks.positive_int("lanes", lanes), checks.positive_int("length", length)
    clip_norm = float(checks.number("clip_norm", clip_norm, low=0, scalar=True))
    normalise, (name, options) = checks.boolean("normalise", normalise), network
    options = options | {"normalised": normalise}
    centred = isinstance(world, worlds.Market) if centred is None else checks.boolean("centred", centred)
    worlds.check(world)
    made = networks.make(name, actions=actions, inputs=world.fed, **options)
    return Course(world, made, (name, options), learner, lanes, length, clip_norm, normalise, centred)
