"""The loop of the engine: the code of one period for one lane, vectorised over lanes and repeated over periods.

Two choices make the loop fast on a CPU. First, its body starts with the update for the previous period and ends with the
sale. Results of the sale are loop carries, so XLA stores them once instead of recomputing them in every kernel of the
update. Second, the metrics (regret, reward, ...) are plain float32 sums over at most `BLOCK` periods; these block sums are
then added to compensated sums. A value that influences no metric is not carried.

A value that cannot differ between lanes has no lane axis: the calendar, a market shared by all lanes, its tables and its
oracle. The code of one lane shows which leaves these are (`lanes.depends`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import random
from jaxprice.environment import Environment
from jaxprice.lanes import depends, live, widen
from jaxprice.types import Oracle, Transition

METRICS = ("regret", "reward", "revenue", "optimal")
BLOCK = 256  # periods summed in plain float32


@struct.dataclass
class Carry:
    """The state of one lane between two periods.

    Attributes:
      policy, env: states of the policy and of the market.
      transition: the last period, from which the policy has not learned yet.
      part, total: sums of the metrics in the current block, and before it.
    """

    policy: Any
    env: Any
    transition: Transition
    part: dict
    total: dict


@dataclasses.dataclass(frozen=True)
class Lane:
    """The code of one lane, in which every value is a scalar or a small array without a lane axis."""

    env: Environment
    policy: Any  # a `Policy`; None where the market alone is started
    given: bool  # params are given, not drawn
    ends: bool = False  # the market may terminate before the horizon
    state: str = ""  # digest of the code and data that the policy reaches; the functions can stay while it changes

    def reset(self, streams, number, params, horizon):
        """Take or draw a market and start it -> `(params, observation, state)`."""
        if self.given:
            params = dataclasses.replace(params, max_steps_in_episode=horizon)
        else:
            params = self.env.draw_params(random.address(streams["market"], 0, number), horizon)
        params = jax.tree.map(jnp.asarray, params)
        return params, *self.env.reset_env(random.address(streams["reset"], 0, number), params)

    def start(self, streams, number, params, obs, env_state):
        """Start the policy and play the first period."""
        state = None
        if not isinstance(self.policy, Oracle):
            state = self.policy.init(
                random.address(streams["init"], 0, number), self.env.problem(params).with_observation(obs)
            )
        env_state, transition, part = self.play_period(streams, number, 0, params, state, env_state, obs)
        return Carry(state, env_state, transition, part, dict.fromkeys(METRICS, jnp.float32(0)))

    def step(self, streams, number, time, params, carry):
        """Learn from the last period, then play this one."""
        state = carry.policy
        if not isinstance(self.policy, Oracle):
            state = self.policy.update(random.address(streams["update"], time - 1, number), state, carry.transition)
        obs = carry.transition.next_observation
        env_state, transition, now = self.play_period(streams, number, time, params, state, carry.env, obs)
        part = {name: carry.part[name] + now[name] for name in METRICS}
        return Carry(state, env_state, transition, part, carry.total)

    def play_period(self, streams, number, time, params, state, env_state, obs):
        """One period: the seller acts, the market answers."""
        if isinstance(self.policy, Oracle):
            action = self.env.optimal_action(env_state, params)
        else:
            action = self.policy.act(random.address(streams["act"], time, number), state, obs)
            action = self.env.carried_out(env_state, action, params)
        key = random.address(streams["demand"], time, number)
        next_obs, env_state, reward, terminated, info = self.env.step_env(key, env_state, action, params)
        metrics = {
            "regret": info["regret"],
            "reward": reward,
            "revenue": jnp.sum(info["price"] * info["demand"]),
            "optimal": info["optimal_reward"],
        }
        metrics = {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}
        if self.ends:  # NaN: the sums must not look like results
            early = terminated & (time + 1 < params.max_steps_in_episode)
            metrics = {name: jnp.where(early, jnp.nan, value) for name, value in metrics.items()}
        return env_state, Transition(obs, action, info["price"], info["demand"], reward, next_obs), metrics


@dataclasses.dataclass(frozen=True)
class Axes:
    """Which leaves differ between lanes: a bool for each leaf of params, observation, market state and `Carry`."""

    params: tuple
    obs: tuple
    env: tuple
    carry: tuple = ()


def reset_axes(lane, axis, streams, params, horizon):
    """The `Axes` of what `lane.reset` returns, before `specialise`; `params` are those of one lane, arrays or shapes."""
    number = jax.ShapeDtypeStruct((), jnp.uint32)
    args = streams, number, params, horizon
    flags = iter(depends(lane.reset, (None, -1, axis, None), *args))
    return Axes(*(tuple(next(flags) for _ in jax.tree.leaves(tree)) for tree in jax.eval_shape(lane.reset, *args)))


def specialise(env, params, axes):
    """The environment, params and axes for the periods after the start; see `Environment.specialise`."""
    playing, left = env.specialise(params)
    flags = jax.tree.unflatten(jax.tree.structure(params), axes.params)
    return playing, left, dataclasses.replace(axes, params=tuple(jax.tree.leaves(env.specialise(flags)[1])))


def carry_axes(lane, axes, streams, params, obs, env_state):
    """The axes with those of the `Carry`: what may differ between lanes in any period. Arguments: one lane, or shapes."""
    number, time = jax.ShapeDtypeStruct((), jnp.uint32), jax.ShapeDtypeStruct((), jnp.int32)
    first = streams, number, params, obs, env_state
    flags = depends(lane.start, (None, -1, axes.params, axes.obs, axes.env), *first)
    carry = jax.eval_shape(lane.start, *first)
    rounds = streams, number, time, params, carry
    flags = depends(lane.step, (None, -1, None, axes.params, None), *rounds, loop=flags)
    flags = jax.tree.unflatten(jax.tree.structure(carry), flags)
    flags = dataclasses.replace(flags, total=flags.part)  # blocks are added to the totals
    return dataclasses.replace(axes, carry=tuple(jax.tree.leaves(flags)))


def reset_lanes(lane, axis, axes, streams, numbers, params, horizon):
    """Start the market of every lane -> `(params, observations, states)`."""
    out_axes = [*axes.params, *axes.obs, *axes.env]
    return widen(lane.reset, (None, -1, axis, None), out_axes=out_axes)(streams, numbers, params, horizon)


def start_lanes(lane, axes, streams, numbers, params, obs, env_state):
    """Play the first period of every lane."""
    in_axes = None, -1, axes.params, axes.obs, axes.env
    return widen(lane.start, in_axes, out_axes=axes.carry)(streams, numbers, params, obs, env_state)


def _step(lane, axes, fence=None):
    return widen(lane.step, (None, -1, None, axes.params, axes.carry), fence=fence, out_axes=axes.carry)


def advance_lanes(lane, axes, fenced, streams, numbers, params, carry, start, stop):
    """Play the periods `start`, ..., `stop - 1`. In the result, only the parts that influence the metrics are up to date."""
    leaves, tree = jax.tree.flatten(carry)
    one = streams, numbers[0], start, one_lane(params, axes.params), one_lane(carry, axes.carry)
    flags = live(lane.step, one, _metrics)

    def fill(carried):
        carried = iter(carried)
        return jax.tree.unflatten(tree, [next(carried) if flag else x for flag, x in zip(flags, leaves, strict=True)])

    def pick(carry):
        return [x for flag, x in zip(flags, jax.tree.leaves(carry), strict=True) if flag]

    def period(time, carried):
        step = _step(lane, axes, time > 0 if fenced else None)
        return pick(step(streams, numbers, time, params, fill(carried)))

    def block(time_and_carried):
        time, carried = time_and_carried
        end = time + jnp.minimum(BLOCK, stop - time)  # not `time + BLOCK`: `stop` may be the largest int32
        return end, pick(_fold(fill(jax.lax.fori_loop(time, end, period, carried))))

    return fill(jax.lax.while_loop(lambda x: x[0] < stop, block, (start, pick(carry)))[1])


def advance_tiles(lane, axes, fenced, tile, streams, numbers, params, carry, start, stop):
    """`advance_lanes` on one tile of lanes after the other, so that a tile's state stays in cache over all the periods."""
    size = numbers.shape[-1]
    tiles = -(-size // tile)
    if tiles == 1 or size % tiles:
        return advance_lanes(lane, axes, fenced, streams, numbers, params, carry, start, stop)
    tile, flags = size // tiles, axes.carry
    before, structure = jax.tree.flatten(carry)

    def cut(tree, flags, first):
        leaves, structure = jax.tree.flatten(tree)
        parts = zip(leaves, flags, strict=True)
        parts = [jax.lax.dynamic_slice_in_dim(x, first, tile, -1) if flag else x for x, flag in parts]
        return jax.tree.unflatten(structure, parts)

    def play(k, after):
        first = k * tile
        now = [x if flag else old for x, old, flag in zip(after, before, flags, strict=True)]
        mine = cut(numbers, [True], first), cut(params, axes.params, first)
        done = advance_lanes(
            lane, axes, fenced, streams, *mine, cut(jax.tree.unflatten(structure, now), flags, first), start, stop
        )
        return [
            jax.lax.dynamic_update_slice_in_dim(x, new, first, -1) if flag else new
            for x, new, flag in zip(after, jax.tree.leaves(done), flags, strict=True)
        ]

    return jax.tree.unflatten(structure, jax.lax.fori_loop(0, tiles, play, before))


def one_lane(tree, flags):
    """Shapes of the leaves of a tree for one lane."""
    return of_shapes(shapes(tree, flags))


def _metrics(carry):
    return carry.part, carry.total


def _fold(carry):
    """Add the sums of a block to the totals; the rounding error stays in `part` (Kahan)."""
    total = {name: carry.total[name] + carry.part[name] for name in METRICS}
    part = {name: carry.part[name] - (total[name] - carry.total[name]) for name in METRICS}
    return dataclasses.replace(carry, part=part, total=total)


def trace_lanes(lane, axes, streams, numbers, params, carry, times):
    """Play the periods `times` `[T]` and record each: name -> `[T, lanes]`, or `[T, n, lanes]` with n products."""
    step = _step(lane, axes)

    def body(carry, time):
        nothing = jax.tree.map(jnp.zeros_like, carry.part)  # so that `part` holds this period alone
        carry = step(streams, numbers, time, params, dataclasses.replace(carry, part=nothing))
        return carry, record(carry, axes, numbers.shape)

    return jax.lax.scan(body, carry, times)[1]


def record(carry, axes, lanes):
    """The last period in every lane: its transition and its own metrics."""

    def fields(carry):
        seen = carry.transition
        record = {name: carry.part[name] for name in ("regret", "optimal")}
        return record | {"action": seen.action, "price": seen.price, "demand": seen.demand, "reward": seen.reward}

    wide = fields(jax.tree.unflatten(jax.tree.structure(carry), axes.carry))
    return {
        name: x if wide[name] else jnp.broadcast_to(x[..., None], (*x.shape, *lanes)) for name, x in fields(carry).items()
    }


def shapes(tree, lanes):
    """Hashable shapes of the leaves of a tree for one lane; `lanes`: whether leaves have lanes, or a bool for each."""
    leaves, structure = jax.tree.flatten(tree)
    flags = [lanes] * len(leaves) if isinstance(lanes, bool) else lanes
    shapes = [jnp.shape(x)[:-1] if flag else jnp.shape(x) for x, flag in zip(leaves, flags, strict=True)]
    return structure, tuple((shape, jnp.result_type(x)) for shape, x in zip(shapes, leaves, strict=True))


def of_shapes(shapes):
    """The tree that `shapes` describes."""
    structure, leaves = shapes
    return jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
