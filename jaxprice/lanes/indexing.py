"""Rules of the primitives that read or write one row: selections for few arms, gathers and scatters for many.

Selections are vector code over lanes, while gathers and scatters treat one lane at a time. Above `SHORT` arms, or if more
than one row is read or written, the rules use gathers and scatters with lanes as the last batch axis, so that no table is
transposed.
"""

import functools

import jax.numpy as jnp
from jax import lax

from jaxprice.lanes.interpret import SHORT, broadcast, once, rule
from jaxprice.lanes.moves import per_word

_CLIP = lax.GatherScatterMode.CLIP
_SCATTERS = {
    "scatter": (lambda old, new: new, lax.scatter),
    "scatter-add": (jnp.add, lax.scatter_add),
    "scatter-mul": (jnp.multiply, lax.scatter_mul),
}


def _pick(x, index):
    """`x[index]` by selections: `x` `[K, ..., lanes or 1]`, `index` `[lanes]`."""
    shape = x.shape[1:-1]
    index = broadcast(index, True, shape, index.shape[-1])
    picked = jnp.broadcast_to(x[0], index.shape)
    for k in range(1, x.shape[0]):
        picked = jnp.where(index == k, x[k], picked)
    return picked


@rule("dynamic_slice")
@per_word
def _dynamic_slice(eqn, args, size):
    (operand, wide), *starts = args
    shape, sizes = eqn.invars[0].aval.shape, eqn.params["slice_sizes"]
    if not any(flag for _, flag in starts):
        starts = [value for value, _ in starts]
        return [(lax.dynamic_slice(operand, [*starts, jnp.zeros_like(starts[0])], (*sizes, size)), True)]
    if shape[0] > SHORT or sizes != (1, *shape[1:]):
        everything = tuple(range(len(shape)))
        dims = lax.GatherDimensionNumbers(everything, (), everything)
        return [(_gather_lanes(operand, wide, _corners(starts, size), True, dims, sizes, mode=_CLIP), True)]
    start, wide_start = starts[0]
    index = jnp.clip(broadcast(start, wide_start, (), size), 0, shape[0] - 1)
    operand = broadcast(operand, wide, shape, size) if wide else jnp.asarray(operand)[..., None]
    return [(once(_pick, operand, index)[None], True)]


@rule("dynamic_update_slice")
@per_word
def _dynamic_update_slice(eqn, args, size):
    (operand, wide), (update, wide_update), *starts = args
    shape, sizes = (atom.aval.shape for atom in eqn.invars[:2])
    operand, update = broadcast(operand, wide, shape, size), broadcast(update, wide_update, sizes, size)
    if not any(flag for _, flag in starts):
        starts = [value for value, _ in starts]
        return [(lax.dynamic_update_slice(operand, update, [*starts, jnp.zeros_like(starts[0])]), True)]
    everything = tuple(range(len(shape)))
    dims = lax.ScatterDimensionNumbers(everything, (), everything)
    clip = {"unique_indices": True, "mode": _CLIP}
    return [(_scatter_lanes(lax.scatter, operand, _corners(starts, size), update, dims, **clip), True)]


def _corners(starts, size):
    """The first indices of a slice, `[rank, lanes]`, from scalars with or without lanes."""
    return jnp.stack([broadcast(value, flag, (), size) for value, flag in starts])


@rule("gather")
def _gather(eqn, args, size):
    (operand, wide), (indices, wide_indices) = args
    p = eqn.params
    how = {name: p[name] for name in ("mode", "unique_indices", "fill_value")}
    return [(_gather_lanes(operand, wide, indices, wide_indices, p["dimension_numbers"], p["slice_sizes"], **how), True)]


def _gather_lanes(operand, wide, indices, wide_indices, dims, sizes, **how):
    """A gather whose operand, indices `[..., rank, lanes]`, or both have lanes; only the indices are transposed."""
    rank = jnp.ndim(operand) - wide  # rank of the operand of one lane
    batch = jnp.ndim(indices) - wide_indices - 1
    if wide_indices:
        indices = jnp.swapaxes(indices, -1, -2)
    if wide and wide_indices:
        dims = dims._replace(
            operand_batching_dims=(*dims.operand_batching_dims, rank),
            start_indices_batching_dims=(*dims.start_indices_batching_dims, batch),
        )
        sizes = *sizes, 1
    elif wide:
        dims = dims._replace(offset_dims=(*dims.offset_dims, len(dims.offset_dims) + batch))
        sizes = *sizes, operand.shape[-1]
    return lax.gather(operand, indices, dims, sizes, **how)


@rule("scatter scatter-add scatter_add scatter-mul scatter_mul")
def _scatter(eqn, args, size):
    if eqn.primitive.name == "scatter" and eqn.params["update_jaxpr"] is not None:
        return None  # `x.at[i].apply(f)`
    (operand, wide), (indices, wide_index), (updates, wide_updates) = args
    shape, dims = eqn.invars[0].aval.shape, eqn.params["dimension_numbers"]
    combine, scatter = _SCATTERS[eqn.primitive.name.replace("_", "-")]
    operand = broadcast(operand, wide, shape, size)
    updates = broadcast(updates, wide_updates, eqn.invars[2].aval.shape, size)
    index_shape = eqn.invars[1].aval.shape
    one_row = (
        index_shape == (1,)
        and dims.inserted_window_dims == dims.scatter_dims_to_operand_dims == (0,)
        and dims.update_window_dims == tuple(range(len(shape) - 1))
        and updates.shape[:-1] == shape[1:]
    )
    if not one_row or shape[0] > SHORT:
        unique = eqn.params["unique_indices"] or len(index_shape) == 1
        indices = broadcast(indices, wide_index, index_shape, size)
        mode = eqn.params["mode"]
        return [(_scatter_lanes(scatter, operand, indices, updates, dims, unique_indices=unique, mode=mode), True)]
    index = broadcast(indices, wide_index, (1,), size)[0]
    if eqn.params["mode"] == _CLIP:
        index = jnp.clip(index, 0, shape[0] - 1)
    hot = lax.broadcasted_iota(index.dtype, operand.shape, 0) == broadcast(index, True, operand.shape[:-1], size)
    return [(jnp.where(hot, combine(operand, updates[None]), operand), True)]


def _scatter_lanes(scatter, operand, indices, updates, dims, **options):
    """A scatter whose operand, indices `[..., rank, lanes]` and updates all have lanes last."""
    dims = dims._replace(
        operand_batching_dims=(*dims.operand_batching_dims, operand.ndim - 1),
        scatter_indices_batching_dims=(*dims.scatter_indices_batching_dims, indices.ndim - 2),
    )
    return scatter(operand, jnp.swapaxes(indices, -1, -2), updates, dims, **options)


@rule("argmax argmin")
def _argmax(eqn, args, size):
    if eqn.params["axes"] != (0,):
        return None
    largest = eqn.primitive.name == "argmax"
    return [(once(functools.partial(_search, largest=largest, dtype=eqn.params["index_dtype"]), args[0][0]), True)]


def _search(x, largest, dtype):
    """The first index of the largest (smallest) of `x` `[K, ..., lanes]` along its first axis; NaN counts as the largest."""
    worse = jnp.less_equal if largest else jnp.greater_equal
    if x.shape[0] <= SHORT:
        best, index = x[0], jnp.zeros(x.shape[1:], dtype)
        for k in range(1, x.shape[0]):
            wins = ~worse(x[k], best) & (best == best)
            best, index = jnp.where(wins, x[k], best), jnp.where(wins, jnp.asarray(k, dtype), index)
        return index
    best = (jnp.max if largest else jnp.min)(x, axis=0, keepdims=True)
    rows = lax.broadcasted_iota(dtype, x.shape, 0)
    return jnp.min(jnp.where((x == best) | (x != x), rows, jnp.asarray(x.shape[0] - 1, dtype)), axis=0)
