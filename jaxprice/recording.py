"""Recording: lanes played to the horizon by the engine, with everything that a function sees in each period.

The decisions are those of `simulate` with the same seed: the market, the first period and the code of a period are the
same, and so are the addressed keys. What is recorded is computed after the step of a period and enters nothing.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import fingerprint, periods
from jaxprice.engine import Engine, check_numbers, recorded
from jaxprice.lanes import widen
from jaxprice.periods import Lane
from jaxprice.program import Program
from jaxprice.program_cache import maker_name


class Look(Hashable, Protocol):
    """What to record of a period: code for one lane. Equal looks share compiled code."""

    def __call__(self, lane: Lane, streams: dict, number: Any, time: Any, params: Any, before: Any, carry: Any, /) -> dict:
        """Return a dict of arrays.

        Args:
          lane: the lane's environment and policy.
          streams, number, time: address of the period's random numbers; see `random.address`.
          params: the market.
          before: state of the market before the sale.
          carry: the `periods.Carry` after the sale: `carry.policy` is the state that acted, `carry.transition` the sale.
        """
        ...


def record(engine: Engine, look: Look, seed: Any, first: int, size: int, width: int, horizon: int, params: Any) -> dict:
    """Play lanes `first`, ..., `first + size - 1` to the horizon.

    Args:
      engine: an `Engine`.
      look: what to record.
      seed, params: as prepared by `preparation`.
      first, size: the lanes.
      width: number of lanes to compute, at least `size`; see `simulate.width_of`.
      horizon: number of periods.

    Returns:
      What `look` returned, NumPy arrays `[size, horizon, ...]`.

    Raises:
      ValueError: a market terminated before the horizon.
    """
    market = engine.market(seed, first, size, width, horizon, params)
    args, carry, axes, _, _ = engine.begin(market, ahead=False)
    shapes = [
        periods.shapes(tree, flags)
        for tree, flags in ((market.params, axes.params), (market.env_state, market.axes.env), (carry, axes.carry))
    ]
    looks = fingerprint.Walk().of(look).digest
    which = look, looks, market.env, engine.policy, engine.state, engine.mesh, market.axes, axes, engine.ends, *shapes
    opening, following = recorded.find(maker_name(engine.policy), which, _programs, look, engine, market, axes)
    now = opening(*args, np.int32(0), market.env_state, carry)
    rest = following(*args, carry, np.arange(1, horizon, dtype=np.int32))

    def joined(head, tail):
        return np.moveaxis(np.concatenate([np.asarray(head)[None], np.asarray(tail)])[..., :size], -1, 0)

    seen = jax.tree.map(joined, now, rest)
    check_numbers(seen, horizon)
    engine.check_end([{"regret": seen["regret"].sum(axis=1)}], first)
    return seen


def _programs(look, engine, market, axes):
    """Programs of the first period and of the later ones."""
    lane, kind = Lane(market.env, engine.policy, True, engine.ends, engine.state), maker_name(engine.policy)
    opening = functools.partial(_look_lanes, lane, look, axes, market.axes.env)
    in_axes = None, -1, axes.params, None, market.axes.env, axes.carry
    opening = Program(opening, in_axes, engine.mesh, kind=(kind, "look"))
    following = functools.partial(_play_lanes, lane, look, axes)
    return opening, Program(following, (None, -1, axes.params, axes.carry, None), engine.mesh, kind=(kind, "record"))


def _look_lanes(lane, look, axes, env_axes, streams, numbers, params, time, before, carry):
    """What `look` sees of a period in every lane, and its regret."""

    def seen(streams, number, time, params, before, carry):
        return {"regret": carry.part["regret"]} | look(lane, streams, number, time, params, before, carry)

    in_axes = None, -1, None, axes.params, list(env_axes), axes.carry
    return widen(seen, in_axes)(streams, numbers, time, params, before, carry)


def _play_lanes(lane, look, axes, streams, numbers, params, carry, times):
    """Play the periods `times` `[T]` and look at each: leaves `[T, ..., lanes]`."""
    step: Callable = widen(lane.step, (None, -1, None, axes.params, axes.carry), out_axes=axes.carry)
    env_axes = jax.tree.leaves(jax.tree.unflatten(jax.tree.structure(carry), axes.carry).env)

    def body(carry, time):
        nothing = jax.tree.map(jnp.zeros_like, carry.part)  # so that `part` holds this period alone
        after = step(streams, numbers, time, params, dataclasses.replace(carry, part=nothing))
        return after, _look_lanes(lane, look, axes, env_axes, streams, numbers, params, time, carry.env, after)

    return jax.lax.scan(body, carry, times)[1]
