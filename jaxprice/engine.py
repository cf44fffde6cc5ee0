"""The engine: the loop of `periods`, compiled for one environment and policy, and run from checkpoint to checkpoint."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks, fingerprint, periods, program, random
from jaxprice.devices import on_cpu
from jaxprice.environment import Environment
from jaxprice.periods import METRICS, Lane
from jaxprice.program import Program
from jaxprice.program_cache import ProgramCache, maker_name

LOOK = 3  # periods played without jit under jax_debug_nans
DRAWN = 2**28  # bytes: markets drawn from the prior are reused by the next policy if they fit into this
_drawn = fingerprint.Cache()
_engines, _played, _resets = ProgramCache(), ProgramCache(), ProgramCache()
recorded = ProgramCache()  # of `recording`


class Market(NamedTuple):
    """The started market of some lanes: what its periods need.

    Attributes:
      env, params, axes: after `Environment.specialise`.
      streams: stream words by role.
      numbers: numbers of the lanes, uint32 `[lanes]`.
      obs, env_state: the first observation and state.
    """

    env: Environment
    params: Any
    axes: periods.Axes
    streams: dict
    numbers: np.ndarray
    obs: Any
    env_state: Any


class Engine:
    """Compiled code for one environment, policy and mesh, and the host loop over checkpoints."""

    def __init__(self, env, policy, mesh, given, batched, tile=None, ends=False, state=""):
        self.env, self.policy, self.mesh, self.given, self.batched, self.tile = env, policy, mesh, given, batched, tile
        self.ends, self.state = ends, state

    def market(self, seed, first, size, width, horizon, params):
        """Start the market of `width` lanes from lane `first` -> `Market`."""
        streams = {role: np.asarray(words) for role, words in _streams(seed).items()}
        numbers = (np.uint64(first) + np.arange(width, dtype=np.uint64)).astype(np.uint32)
        if self.batched:
            rows = np.minimum(first + np.arange(width), first + size - 1)
            params = jax.tree.map(lambda x: np.moveaxis(np.asarray(x)[rows], 0, -1), params)
        which = self.env, self.mesh, self.given, self.batched, *periods.shapes(params, self.batched)
        reset, axes = _resets.find(self.env.name, which, _market, *which)
        reset_lanes = functools.partial(reset, streams, numbers, params, np.int32(horizon))
        which = self.env, self.mesh, int(seed), first, width, int(horizon), checks.setting("jax_enable_x64")
        made, obs, env_state = reset_lanes() if self.given else _reuse(which, reset_lanes)
        return Market(*periods.specialise(self.env, made, axes), streams, numbers, obs, env_state)

    def begin(self, market, ahead=True):
        """Play the first period in a market -> arguments, carry and axes, and programs of the loop."""
        env, made, axes, streams, numbers, obs, env_state = market
        one = [periods.shapes(tree, flags) for tree, flags in ((made, axes.params), (obs, axes.obs), (env_state, axes.env))]
        which = env, self.policy, self.state, self.mesh, self.tile, axes, *one, self.ends
        axes, start, advance, trace = _played.find(maker_name(self.policy), which, _periods, *which)
        args = streams, numbers, made
        if _debugging():
            trees = (made, axes.params), (obs, axes.obs), (env_state, axes.env)
            _look(Lane(env, self.policy, True, self.ends), streams, numbers[0], *(_first_lane(*tree) for tree in trees))
        if ahead:  # compile the loop while the first period is compiled
            advance.prepare(*args, start.prepare(*args, obs, env_state), np.int32(0), np.int32(0))
        return args, start(*args, obs, env_state), axes, advance, trace

    def run(self, seed, first, size, width, times, params, progress):
        """Play lanes `first`, ..., `first + size - 1` -> metric -> `[checkpoints, size]`, float64."""
        args, carry, _, advance, _ = self.begin(
            self.market(seed, first, size, width, times[-1], params), ahead=times[-1] > 1
        )
        columns, done = [_sums(carry, size)] if times[0] == 1 else [], 1
        progress(size)
        for time in times[times > 1]:
            self.check_end(columns[-1:], first)
            check_numbers(carry, done)
            carry = advance(*args, carry, np.int32(done), np.int32(time))
            columns.append(_sums(carry, size))
            progress(size * int(time - done))
            done = int(time)
        self.check_end(columns[-1:], first)
        check_numbers(carry, done)
        return {name: np.stack([column[name] for column in columns]) for name in METRICS}

    def run_traced(self, seed, first, size, width, times, params, progress):
        """Like `run`, and also return every period: `(columns, name -> [horizon, size])`."""
        args, carry, axes, _, trace = self.begin(self.market(seed, first, size, width, times[-1], params), ahead=False)
        head, rest = periods.record(carry, axes, (width,)), trace(*args, carry, np.arange(1, times[-1], dtype=np.int32))
        trace = {name: np.concatenate([np.asarray(head[name])[None], np.asarray(rest[name])])[..., :size] for name in head}
        progress(size * int(times[-1]))
        check_numbers(trace, times[-1])
        sums = {name: np.cumsum(trace[name], axis=0, dtype=float) for name in ("regret", "reward", "optimal")}
        self.check_end([{name: values[-1] for name, values in sums.items()}], first)
        revenue = trace["price"].astype(float) * trace["demand"]
        sums["revenue"] = np.cumsum(revenue if revenue.ndim == 2 else revenue.sum(axis=1), axis=0)
        return {name: sums[name][times - 1] for name in METRICS}, trace

    def check_end(self, columns, first):
        """Raise if a market has terminated, which makes the sums of its lane NaN."""
        if self.ends and columns and np.isnan(columns[0]["regret"]).any():
            lane = first + int(np.argmax(np.isnan(columns[0]["regret"])))
            raise ValueError(
                f"{self.env.name} terminated before the horizon in lane {lane}, but a lane is one selling horizon, played "
                "to its end: let step_env return terminated=False, and let what is over sell nothing from then on"
            )


def totals(env, policy, play, ends=False):
    """Metrics at the horizon, as a pure function of the prepared arguments: `METRICS` -> float `[lanes]`."""
    lanes, params, axis = play.lanes, play.params, -1 if play.batched else None
    numbers, streams = jnp.arange(lanes, dtype=jnp.uint32), _streams(play.seed)
    first, horizon = Lane(env, policy, params is not None), jnp.int32(play.horizon)
    if play.batched:
        params = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), params)
    one = periods.of_shapes(periods.shapes(params, play.batched))
    axes = periods.reset_axes(first, axis, streams, one, horizon)
    made, obs, env_state = periods.reset_lanes(first, axis, axes, streams, numbers, params, horizon)
    env, made, axes = periods.specialise(env, made, axes)
    lane, fenced = Lane(env, policy, True, ends), jax.default_backend() == "cpu"
    one = periods.one_lane(made, axes.params), periods.one_lane(obs, axes.obs), periods.one_lane(env_state, axes.env)
    axes = periods.carry_axes(lane, axes, streams, *one)
    carry = periods.start_lanes(lane, axes, streams, numbers, made, obs, env_state)
    carry = periods.advance_lanes(lane, axes, fenced, streams, numbers, made, carry, jnp.int32(1), horizon)
    return {name: jnp.broadcast_to(carry.total[name] + carry.part[name], (lanes,)) for name in METRICS}


def engine(env, policy, mesh, given, batched, tile=None, ends=False):
    """The `Engine` for these arguments, cached until code or data that the policy's functions reach has changed."""
    choices = env, policy, mesh, given, batched, tile, ends, _walk().again().of(tuple(policy)).digest
    return _engines.find(maker_name(policy), choices, Engine, *choices)


@functools.cache
def _walk():
    return fingerprint.Walk()


def _periods(env, policy, state, mesh, tile, axes, params, obs, env_state, ends):
    """Compiled first period, further periods and traced periods; markets for which these are the same share them."""
    lane = Lane(env, policy, True, ends, state)
    axes = periods.carry_axes(lane, axes, _stream_shapes(), *(periods.of_shapes(x) for x in (params, obs, env_state)))
    kind = maker_name(policy)
    start = functools.partial(periods.start_lanes, lane, axes)
    start_axes = None, -1, axes.params, axes.obs, axes.env
    start = Program(start, start_axes, mesh, out_axes=axes.carry, kind=(kind, "start"))
    advance = functools.partial(periods.advance_lanes, lane, axes, on_cpu(mesh))
    if tile:
        advance = functools.partial(periods.advance_tiles, lane, axes, on_cpu(mesh), tile)
    advance_axes = None, -1, axes.params, axes.carry, None, None
    advance = Program(advance, advance_axes, mesh, donated=3, out_axes=axes.carry, kind=(kind, "advance"))
    trace = functools.partial(periods.trace_lanes, lane, axes)
    trace = Program(trace, (None, -1, axes.params, axes.carry, None), mesh, kind=(kind, "trace"))
    return axes, start, advance, trace


def _market(env, mesh, given, batched, *params):
    """The compiled start of a market, shared by all policies, and the axes of its results."""
    lane, axis = Lane(env, None, given), -1 if batched else None
    axes = periods.reset_axes(lane, axis, _stream_shapes(), periods.of_shapes(params), jax.ShapeDtypeStruct((), jnp.int32))
    first = functools.partial(periods.reset_lanes, lane, axis, axes)
    out_axes = [*axes.params, *axes.obs, *axes.env]
    return Program(first, (None, -1, axis, None), mesh, out_axes=out_axes, kind=(env.name, "reset")), axes


def _reuse(which, make):
    """The cached result of `make` for these lanes, or a new one. The oldest results are dropped above `DRAWN` bytes."""
    if which in _drawn:
        return _drawn[which]
    made = _drawn[which] = make()
    while sum(leaf.nbytes for leaf in jax.tree.leaves(list(_drawn.values()))) > DRAWN:
        del _drawn[next(iter(_drawn))]
    return made


def forget():
    """Drop all compiled code and drawn markets, as in a fresh process."""
    _drawn.clear()
    for cache in (_engines, _played, _resets, recorded):
        cache.clear()
    program.forget()
    jax.clear_caches()


def _debugging():
    return checks.setting("jax_debug_nans") or checks.setting("jax_debug_infs")


def _first_lane(tree, flags):
    """One lane's part of a tree."""
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([jnp.asarray(x[..., 0] if flag else x) for x, flag in zip(leaves, flags, strict=True)])


def _look(lane, streams, number, params, obs, env_state):
    """Play a few periods of one lane as plain code, in which JAX looks at the result of every operation."""
    with jax.disable_jit():
        carry = lane.start(streams, jnp.asarray(number), params, obs, env_state)
        for time in range(1, min(LOOK, int(params.max_steps_in_episode))):
            carry = lane.step(streams, jnp.asarray(number), jnp.int32(time), params, carry)


def check_numbers(carry, time):
    """Raise, under `jax_debug_nans` and `jax_debug_infs`, what JAX raises where it looks at results."""
    if not _debugging():
        return
    sought = {"nan": (checks.setting("jax_debug_nans"), np.isnan), "inf": (checks.setting("jax_debug_infs"), np.isinf)}
    for path, x in jax.tree_util.tree_flatten_with_path(carry)[0]:
        for name, (asked, bad) in sought.items():
            if asked and jnp.issubdtype(x.dtype, jnp.floating) and bad(np.asarray(x, float)).any():
                raise FloatingPointError(f"invalid value ({name}) in {jax.tree_util.keystr(path)} by period {time}")


def _stream_shapes():
    return {role: jax.ShapeDtypeStruct((2,), jnp.uint32) for role in random.ROLES}


def _streams(seed):
    return {role: random.stream(seed, role) for role in random.ROLES}


def _sums(carry, size):
    """Cumulative metrics of the first `size` lanes, float64 on the host."""
    total, part = jax.device_get((carry.total, carry.part))
    sums = {name: total[name].astype(float) + part[name] for name in METRICS}
    return {name: x[:size] if x.ndim else np.full(size, x) for name, x in sums.items()}
