"""Oracle tables: `solve` of an environment, compiled, with the tables of one market found again.

`Environment.solved` and `Environment.draw_params` use these functions.
"""

import dataclasses
import functools

import jax
import numpy as np
from jax.core import Tracer

from jaxprice import checks
from jaxprice.lanes import depends


def solved(env, params, batched=False):
    """The params with the tables of the oracle, as of `Environment.solved`."""
    if not env.tables:
        return params
    bare = dataclasses.replace(params, **dict.fromkeys(env.tables))
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(bare)):
        return jax.vmap(env.solve)(bare) if batched else env.solve(bare)
    with jax.ensure_compile_time_eval():
        if batched:
            return jax.device_get(_solver(env, True)(bare))
        leaves, structure = jax.tree.flatten(bare)
        arrays = [np.asarray(leaf) for leaf in leaves]
        numbers = tuple((array.dtype, array.shape, array.tobytes()) for array in arrays)
        return _solution(env, structure, numbers, checks.setting("jax_enable_x64"))


@functools.lru_cache(maxsize=256)
def of_horizon(env):
    """Whether the tables that `solve` fills in depend on the horizon, according to its code."""
    if not env.tables:
        return False
    bare = dataclasses.replace(jax.eval_shape(env.sample_params, jax.random.key(0)), **dict.fromkeys(env.tables))
    tables = jax.eval_shape(env.solve, bare)
    flags = jax.tree.map(lambda leaf: False, bare)
    reached = depends(env.solve, [jax.tree.leaves(dataclasses.replace(flags, max_steps_in_episode=True))], bare)
    reached = jax.tree.unflatten(jax.tree.structure(tables), reached)
    return any(any(jax.tree.leaves(getattr(reached, name))) for name in env.tables)


@functools.lru_cache(maxsize=64)
def _solver(env, batched):
    return jax.jit(jax.vmap(env.solve) if batched else env.solve)


@functools.lru_cache(maxsize=4)
def _solution(env, structure, leaves, wide):
    """The result of `solve` for one market, cached: a market that is simulated often is solved once (`wide`: under x64)."""
    del wide
    arrays = [np.frombuffer(content, dtype).reshape(shape) for dtype, shape, content in leaves]
    return jax.device_get(_solver(env, False)(jax.tree.unflatten(structure, arrays)))
