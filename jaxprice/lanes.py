"""Make code written for one lane wide: `vmap` with the lane axis last.

A policy or a market is written for one lane, on scalars and on short arrays over arms. `jax.vmap` puts the lane axis
first whenever a scalar meets an array, so that arms are contiguous and lanes strided, and XLA undoes the mixture with
copies. `widen` keeps lanes last through every operation: the inner loop of each kernel runs over lanes and fills the
vector registers.

It interprets the jaxpr of the one-lane function (the pattern of JAX's documentation, "Writing custom Jaxpr
interpreters in JAX"). Some primitives get a rule of their own:

* elementwise operations and those that rearrange or reduce leading axes: the same with one more axis,
* calls and loops: interpreted inside,
* one arm of an array (`x[arm]`, `x.at[arm].add(1)`, `argmax(x)`): selections over the arms, which is vector code over
  lanes where gathers and scatters go one lane at a time; beyond `SHORT` arms gathers and scatters, lanes last in them too,
* addressed keys (`jaxprice.random`): a tuple of words, `[..., lanes]` each.

Every other primitive falls back to `jax.vmap` of itself, lane axis last on both sides. The values are those of
`jax.vmap(function, in_axes=-1, out_axes=-1)`, but for `argmax` and `argmin` of arrays with NaN.
"""

import contextlib
import contextvars
import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core as jex

from jaxprice import random

SHORT = 32  # arms up to which one is picked by a chain of selections

_ELEMENTWISE = """abs acos acosh add and asin asinh atan atan2 atanh bitcast_convert_type cbrt ceil clamp
    convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow
    is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or population_count pow reduce_precision
    rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt square
    stop_gradient sub tan tanh xor"""
_LEADING_AXES = """cummax cummin cumprod cumsum cumlogsumexp reduce_and reduce_max reduce_min reduce_or reduce_prod
    reduce_sum rev concatenate squeeze"""
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def widen(function, in_axes, fence=None, out_axes=-1):
    """Return `function` acting on many lanes at once, the lane axis last in every array.

    Args:
      function: code for one lane, on pytrees of arrays.
      in_axes: for each positional argument, -1 where every leaf carries a trailing lane axis `[..., lanes]`, None where
        the argument is shared by all lanes, or a list with True for each leaf that carries one and False for the others.
      fence: a bool scalar, true at run time in a way that the compiler cannot see, or None. With it, random words and the
        rows that an `argmax` searches are computed once and kept in memory. XLA:CPU has no kernels with several outputs:
        it computes cheap values anew in every kernel that reads them, and for every row that it selects from. The one
        thing it never looks through is a branch. Leave it out on other backends, where a branch is dear.
      out_axes: -1: every array returned has a trailing lane axis; or a list of bools, one a leaf, as `depends` gives it.

    Returns:
      A function of the same arguments.

    Raises:
      ValueError: the number of arguments differs from `in_axes`, or the lane axes differ in length.
    """

    def wide(*args):
        flags = per_leaf(in_axes, args)
        leaves, tree = jax.tree.flatten(args)
        if any(flag and jnp.ndim(leaf) == 0 for leaf, flag in zip(leaves, flags, strict=True)):
            raise ValueError("an argument with lanes has a leaf without a lane axis: a scalar")
        sizes = {jnp.shape(leaf)[-1] for leaf, flag in zip(leaves, flags, strict=True) if flag}
        if len(sizes) != 1:
            raise ValueError(f"the lane axes of the arguments must agree, got lengths {sorted(sizes)}")
        size = sizes.pop()
        one_lane = [
            jax.ShapeDtypeStruct(jnp.shape(x)[:-1], jnp.result_type(x)) if flag else x
            for x, flag in zip(leaves, flags, strict=True)
        ]
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*jax.tree.unflatten(tree, one_lane))
        with _fenced(fence):
            outs = _interpret(closed, zip(leaves, flags, strict=True), size)
        wanted = [True] * len(outs) if out_axes == -1 else out_axes
        outs = [_settle(*out, flag, aval, size) for out, flag, aval in zip(outs, wanted, closed.out_avals, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(shapes), outs)

    return wide


def depends(function, in_axes, *args, loop=None):
    """Which leaves of what `function` returns may differ between lanes.

    Args:
      function: code for one lane.
      in_axes: as in `widen`.
      *args: its arguments for one lane, arrays or their shapes.
      loop: for the body of a loop whose last argument and result are the carry: the bools of the carry at its start. Then
        the answer holds after any number of rounds, and the last entry of `in_axes` does not count.

    Returns:
      A list of bools, one a leaf of the result; the others are the same in all lanes, and need no lane axis.
    """
    closed = jax.make_jaxpr(function)(*args)
    flags = per_leaf(in_axes, args)
    if loop is None:
        return _reached(closed.jaxpr, flags)
    constant, carry = flags[: len(flags) - len(loop)], list(loop)
    while True:
        after = [a or b for a, b in zip(carry, _reached(closed.jaxpr, [*constant, *carry]), strict=True)]
        if after == carry:
            return carry
        carry = after


def _reached(jaxpr, flags):
    """Which results depend on the flagged arguments."""
    wide = {var for var, flag in zip(jaxpr.invars, flags, strict=True) if flag}
    for eqn in jaxpr.eqns:
        if any(not isinstance(atom, jex.Literal) and atom in wide for atom in eqn.invars):
            wide.update(eqn.outvars)
    return [not isinstance(atom, jex.Literal) and atom in wide for atom in jaxpr.outvars]


def per_leaf(in_axes, args):
    """`in_axes` as a list of bools, one a leaf."""
    if len(args) != len(in_axes):
        raise ValueError(f"in_axes names {len(in_axes)} arguments, but {len(args)} were given")
    flags = []
    for arg, axis in zip(args, in_axes, strict=True):
        flags += list(axis) if isinstance(axis, list | tuple) else [axis is not None] * len(jax.tree.leaves(arg))
    return flags


def live(function, args, kept):
    """Which leaves of the carry of a loop reach what is kept, through any number of rounds.

    Args:
      function: the body for one lane; its last argument and its result are the carry.
      args: its arguments, arrays or their shapes.
      kept: carry -> the leaves whose values are wanted at the end.

    Returns:
      A list of bools, one a leaf of the carry; the others need not be carried.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    wanted = {id(leaf) for leaf in jax.tree.leaves(kept(shapes))}
    flags = [id(leaf) in wanted for leaf in jax.tree.leaves(shapes)]
    carried = closed.jaxpr.invars[-len(flags) :]
    while True:
        reached = needed(closed.jaxpr, [var for var, flag in zip(closed.jaxpr.outvars, flags, strict=True) if flag])
        after = [flag or var in reached for flag, var in zip(flags, carried, strict=True)]
        if after == flags:
            return flags
        flags = after


def needed(jaxpr, wanted):
    """The set of variables of a jaxpr that the atoms `wanted` depend on, themselves included."""
    reached = {atom for atom in wanted if not isinstance(atom, jex.Literal)}
    for eqn in reversed(jaxpr.eqns):
        if reached.intersection(eqn.outvars):
            reached.update(atom for atom in eqn.invars if not isinstance(atom, jex.Literal))
    return reached


def kept(function):
    """Mark a function of arrays: where there is a fence, its results are computed once and kept in memory.

    For results that several kernels read and that cost more than reading them back; elsewhere it changes nothing.
    """

    @functools.wraps(function)
    def marked(*args):
        return function(*args)

    marked.__name__ = _KEPT + function.__name__
    return jax.jit(marked)


_KEPT = "kept_"
_fence = contextvars.ContextVar("fence", default=None)


@contextlib.contextmanager
def _fenced(fence):
    token = _fence.set(fence)
    try:
        yield
    finally:
        _fence.reset(token)


def _once(function, *operands):
    """`function(*operands)`, an array, computed in kernels of its own if there is a fence."""
    fence = _fence.get()
    if fence is None:
        return function(*operands)
    out = jax.eval_shape(function, *operands)
    return lax.cond(fence, function, lambda *_: jnp.zeros(out.shape, out.dtype), *operands)


def _interpret(closed, args, size):
    """Evaluate a closed jaxpr on `(value, is_wide)` pairs -> list of such pairs."""
    env = {var: (value, False) for var, value in zip(closed.jaxpr.constvars, closed.consts, strict=True)}
    env.update(zip(closed.jaxpr.invars, args, strict=True))

    def read(atom):
        return (atom.val, False) if isinstance(atom, jex.Literal) else env[atom]

    for eqn in closed.jaxpr.eqns:
        args = [read(atom) for atom in eqn.invars]
        if not any(flag for _, flag in args):
            outs = [(value, False) for value in _bind(eqn, [value for value, _ in args])]
        elif (inner := _callee(eqn)) is not None:
            keep = eqn.params.get("name", "").startswith(_KEPT) and _fence.get() is not None
            outs = (_keep if keep else _interpret)(inner, args, size)
        else:
            rule = _RULES.get(eqn.primitive.name)
            outs = rule and rule(eqn, args, size)
            if outs is None:
                outs = [(value, True) for value in _fall_back(eqn, args)]
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _keep(closed, args, size):
    """As `_interpret`, behind the fence."""
    fence, flags = _fence.get(), [flag for _, flag in args]

    def results(*values):
        outs = _interpret(closed, zip(values, flags, strict=True), size)
        return [_settle(*out, True, aval, size) for out, aval in zip(outs, closed.out_avals, strict=True)]

    values = [value for value, _ in args]
    shapes = jax.eval_shape(results, *values)
    outs = lax.cond(fence, results, lambda *_: [jnp.zeros(x.shape, x.dtype) for x in shapes], *values)
    return [(out, True) for out in outs]


def _bind(eqn, values):
    """The primitive of `eqn` on `values` -> list of results."""
    out = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


def _fall_back(eqn, args):
    """`jax.vmap` of one primitive, lane axis last; its keys become ordinary key arrays."""
    axes = [-1 if flag else None for _, flag in args]
    return jax.vmap(lambda *values: _bind(eqn, values), axes, -1)(*[_join(value) for value, _ in args])


def _callee(eqn):
    """The closed jaxpr of a call (`jit`, `custom_jvp_call`, ...), else None."""
    if eqn.primitive.name in _CONTROL:
        return None
    for name in _CALLS:
        inner = eqn.params.get(name)
        if isinstance(inner, jex.ClosedJaxpr):
            return inner
        if isinstance(inner, jex.Jaxpr):
            return jex.ClosedJaxpr(inner, ())
    return None


def _spread(value, flag, shape, size):
    """Give `value` the shape `[*shape, size]`; a wide key stays a tuple of words."""
    if isinstance(value, tuple):
        return tuple(_spread(word, True, shape, size) for word in value)
    value = jnp.asarray(value)
    if not flag:
        value = value[..., None]
    value = value.reshape((1,) * (len(shape) + 1 - value.ndim) + value.shape) if value.ndim != len(shape) + 1 else value
    return jnp.broadcast_to(value, (*shape, size))


def _join(value):
    """A wide key as an ordinary array of keys `[..., lanes]`; anything else as it is."""
    return random.from_words(value) if isinstance(value, tuple) else value


def _per_word(rule):
    """Let a rule that only moves values about act on each word of a wide key."""

    def apply(eqn, args, size):
        if not any(isinstance(value, tuple) for value, _ in args):
            return rule(eqn, args, size)
        outs = [
            rule(eqn, [(value[i], flag) if isinstance(value, tuple) else (value, flag) for value, flag in args], size)
            for i in range(random.WORDS)
        ]
        if outs[0] is None:
            return None
        return [(tuple(word for word, _ in words), True) for words in zip(*outs, strict=True)]

    return apply


def _elementwise(eqn, args, size):
    shape = eqn.outvars[0].aval.shape
    if eqn.primitive.name == "bitcast_convert_type" and eqn.invars[0].aval.shape != shape:
        return None
    values = [
        _spread(jnp.asarray(value, atom.aval.dtype) if not flag else value, flag, shape, size)
        for (value, flag), atom in zip(args, eqn.invars, strict=True)
    ]
    return [(_bind(eqn, values)[0], True)]


def _leading_axes(eqn, args, size):
    values = [_spread(v, flag, atom.aval.shape, size) for (v, flag), atom in zip(args, eqn.invars, strict=True)]
    return [(_bind(eqn, values)[0], True)]


def _stack(eqn, args, size):
    values = [_spread(v, flag, atom.aval.shape, size) for (v, flag), atom in zip(args, eqn.invars, strict=True)]
    return [(jnp.stack(values, eqn.params["axis"]), True)]


def _unstack(eqn, args, size):
    axis = eqn.params["axis"]
    return [(lax.index_in_dim(args[0][0], k, axis, keepdims=False), True) for k in range(len(eqn.outvars))]


def _broadcast_in_dim(eqn, args, size):
    shape, dims = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    return [(lax.broadcast_in_dim(args[0][0], (*shape, size), (*dims, len(shape))), True)]


def _reshape(eqn, args, size):
    return [(args[0][0].reshape((*eqn.params["new_sizes"], size)), True)]


def _slice(eqn, args, size):
    params = eqn.params
    strides = params["strides"] and (*params["strides"], 1)
    return [(lax.slice(args[0][0], (*params["start_indices"], 0), (*params["limit_indices"], size), strides), True)]


def _transpose(eqn, args, size):
    permutation = eqn.params["permutation"]
    return [(args[0][0].transpose((*permutation, len(permutation))), True)]


def _pick(x, index):
    """`x[index]` by selections: `x` `[K, ..., lanes or 1]`, `index` `[lanes]`."""
    shape = x.shape[1:-1]
    index = _spread(index, True, shape, index.shape[-1])
    picked = jnp.broadcast_to(x[0], index.shape)
    for k in range(1, x.shape[0]):
        picked = jnp.where(index == k, x[k], picked)
    return picked


def _dynamic_slice(eqn, args, size):
    (operand, wide), *starts = args
    shape, sizes = eqn.invars[0].aval.shape, eqn.params["slice_sizes"]
    if not any(flag for _, flag in starts):
        starts = [value for value, _ in starts]
        return [(lax.dynamic_slice(operand, [*starts, jnp.zeros_like(starts[0])], (*sizes, size)), True)]
    if shape[0] > SHORT or sizes != (1, *shape[1:]):
        everything = tuple(range(len(shape)))
        dims = lax.GatherDimensionNumbers(everything, (), everything)
        return [(_gather_lanes(operand, wide, _corners(starts, size), True, dims, sizes, lax.GatherScatterMode.CLIP), True)]
    index = jnp.clip(_spread(*starts[0], (), size), 0, shape[0] - 1)
    operand = _spread(operand, wide, shape, size) if wide else jnp.asarray(operand)[..., None]
    return [(_once(_pick, operand, index)[None], True)]


def _dynamic_update_slice(eqn, args, size):
    (operand, wide), (update, wide_update), *starts = args
    shape, sizes = (atom.aval.shape for atom in eqn.invars[:2])
    operand, update = _spread(operand, wide, shape, size), _spread(update, wide_update, sizes, size)
    if not any(flag for _, flag in starts):
        starts = [value for value, _ in starts]
        return [(lax.dynamic_update_slice(operand, update, [*starts, jnp.zeros_like(starts[0])]), True)]
    everything = tuple(range(len(shape)))
    dims = lax.ScatterDimensionNumbers(everything, (), everything)
    clip = {"unique_indices": True, "mode": lax.GatherScatterMode.CLIP}
    return [(_scatter_lanes(lax.scatter, operand, _corners(starts, size), update, dims, **clip), True)]


def _corners(starts, size):
    """The first indices of a slice, `[rank, lanes]`, of scalars that are wide or not."""
    return jnp.stack([_spread(value, flag, (), size) for value, flag in starts])


def _gather(eqn, args, size):
    (operand, wide), (indices, wide_indices) = args
    p = eqn.params
    options = {"unique_indices": p["unique_indices"], "fill_value": p["fill_value"]}
    return [
        (
            _gather_lanes(
                operand, wide, indices, wide_indices, p["dimension_numbers"], p["slice_sizes"], p["mode"], **options
            ),
            True,
        )
    ]


def _gather_lanes(operand, wide, indices, wide_indices, dims, sizes, mode, **options):
    """A gather in which operand, indices `[..., rank, lanes]` or both have lanes; none is moved but the indices."""
    rank = jnp.ndim(operand) - wide  # of one lane's operand
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
    return lax.gather(operand, indices, dims, sizes, mode=mode, **options)


def _scatter(eqn, args, size):
    (operand, wide), (indices, wide_index), (updates, wide_updates) = args
    shape, dims = eqn.invars[0].aval.shape, eqn.params["dimension_numbers"]
    combine = {
        "scatter": (lambda x, y: y, lax.scatter),
        "scatter-add": (jnp.add, lax.scatter_add),
        "scatter_add": (jnp.add, lax.scatter_add),
        "scatter-mul": (jnp.multiply, lax.scatter_mul),
        "scatter_mul": (jnp.multiply, lax.scatter_mul),
    }
    combine, scatter = combine[eqn.primitive.name]
    operand = _spread(operand, wide, shape, size)
    updates = _spread(updates, wide_updates, eqn.invars[2].aval.shape, size)
    index_shape = eqn.invars[1].aval.shape
    one_row = (
        index_shape == (1,)
        and dims.inserted_window_dims == dims.scatter_dims_to_operand_dims == (0,)
        and dims.update_window_dims == tuple(range(len(shape) - 1))
        and updates.shape[:-1] == shape[1:]
    )
    if not one_row or shape[0] > SHORT:
        unique = eqn.params["unique_indices"] or len(index_shape) == 1
        indices = _spread(indices, wide_index, index_shape, size)
        mode = eqn.params["mode"]
        return [(_scatter_lanes(scatter, operand, indices, updates, dims, unique_indices=unique, mode=mode), True)]
    index = _spread(indices, wide_index, (1,), size)[0]
    if eqn.params["mode"] == lax.GatherScatterMode.CLIP:
        index = jnp.clip(index, 0, shape[0] - 1)
    hot = lax.broadcasted_iota(index.dtype, operand.shape, 0) == _spread(index, True, operand.shape[:-1], size)
    return [(jnp.where(hot, combine(operand, updates[None]), operand), True)]


def _scatter_lanes(scatter, operand, indices, updates, dims, **options):
    """A scatter with lanes last in the operand, in the indices `[..., rank, lanes]` and in the updates."""
    dims = dims._replace(
        operand_batching_dims=(*dims.operand_batching_dims, operand.ndim - 1),
        scatter_indices_batching_dims=(*dims.scatter_indices_batching_dims, indices.ndim - 2),
    )
    return scatter(operand, jnp.swapaxes(indices, -1, -2), updates, dims, **options)


def _argmax(eqn, args, size):
    if eqn.params["axes"] != (0,):
        return None
    largest = eqn.primitive.name == "argmax"
    return [(_once(functools.partial(_search, largest=largest, dtype=eqn.params["index_dtype"]), args[0][0]), True)]


def _search(x, largest, dtype):
    """The first index of the largest (smallest) of `x` `[K, ..., lanes]` along its first axis."""
    better = jnp.greater if largest else jnp.less
    if x.shape[0] <= SHORT:
        best, index = x[0], jnp.zeros(x.shape[1:], dtype)
        for k in range(1, x.shape[0]):
            wins = better(x[k], best)
            best, index = jnp.where(wins, x[k], best), jnp.where(wins, jnp.asarray(k, dtype), index)
        return index
    best = (jnp.max if largest else jnp.min)(x, axis=0, keepdims=True)
    rows = lax.broadcasted_iota(dtype, x.shape, 0)
    return jnp.min(jnp.where(x == best, rows, jnp.asarray(x.shape[0] - 1, dtype)), axis=0)


def _reduce(eqn, args, size):
    x = args[0][0]
    if eqn.params["axes"] != (0,) or not 0 < x.shape[0] <= SHORT:
        return _leading_axes(eqn, args, size)
    combine = {"reduce_sum": jnp.add, "reduce_max": jnp.maximum, "reduce_min": jnp.minimum}[eqn.primitive.name]
    return [(_once(lambda x: functools.reduce(combine, [x[k] for k in range(x.shape[0])]), x), True)]


def _random_wrap(eqn, args, size):
    if not random.is_addressed(eqn.outvars[0].aval.dtype):
        return None
    data = args[0][0]
    return [(tuple(data[..., i, :] for i in range(random.WORDS)), True)]


def _on_words(function):
    """A rule for an operation on a key: `function(words, eqn, other operands)` with wide words."""

    def rule(eqn, args, size):
        (key, wide), *rest = args
        if not random.is_addressed(eqn.invars[0].aval.dtype):
            return None
        if not isinstance(key, tuple):
            key = tuple(_spread(word, wide, eqn.invars[0].aval.shape, size) for word in random.to_words(key))
        others = [_spread(v, flag, atom.aval.shape, size) for (v, flag), atom in zip(rest, eqn.invars[1:], strict=True)]
        return [(function(key, eqn.params, *others), True)]

    return rule


def _scan(eqn, args, size):
    p = eqn.params
    args = [(_join(value), flag) for value, flag in args]
    if "ft_in" in p:  # jax 0.12 and later
        consts, carry, xs = map(list, p["ft_in"].update(args).unpack())
    else:
        first, last = p["num_consts"], p["num_consts"] + p["num_carry"]
        consts, carry, xs = args[:first], args[first:last], args[last:]
    body, avals = p["jaxpr"], p["jaxpr"].in_avals
    carry_avals = avals[len(consts) : len(consts) + len(carry)]
    flags = _carried(lambda f: _flags(body, consts, f, [flag for _, flag in xs], avals, size), [f for _, f in carry])

    def step(values, x):
        x = [(row, flag) for row, (_, flag) in zip(x, xs, strict=True)]
        outs = _interpret(body, [*consts, *zip(values, flags, strict=True), *x], size)
        ys = [_settle(*out, True, aval, size) for out, aval in zip(outs, body.out_avals, strict=True)][len(flags) :]
        return settle(outs[: len(flags)]), tuple(ys)

    def settle(pairs):
        return tuple(_settle(*pair, *rest, size) for pair, *rest in zip(pairs, flags, carry_avals, strict=True))

    rows = tuple(value for value, _ in xs)
    carried, ys = lax.scan(step, settle(carry), rows, p["length"], p["reverse"], p["unroll"])
    return [*zip(carried, flags, strict=True), *[(y, True) for y in ys]]


def _while(eqn, args, size):
    p = eqn.params
    args = [(_join(value), flag) for value, flag in args]
    split = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    cond_consts, body_consts, carry = args[: split[0]], args[split[0] : split[1]], args[split[1] :]
    body, cond = p["body_jaxpr"], p["cond_jaxpr"]
    avals = body.in_avals[len(body_consts) :]
    flags = _carried(lambda f: _flags(body, body_consts, f, [], body.in_avals, size), [f for _, f in carry])
    if _flags(cond, cond_consts, flags, [], cond.in_avals, size)[0]:
        return None  # lanes that stop at different times: vmap knows how

    def keep_going(values):
        return _interpret(cond, [*cond_consts, *zip(values, flags, strict=True)], size)[0][0]

    def step(values):
        return settle(_interpret(body, [*body_consts, *zip(values, flags, strict=True)], size))

    def settle(pairs):
        return tuple(_settle(*pair, *rest, size) for pair, *rest in zip(pairs, flags, avals, strict=True))

    return list(zip(lax.while_loop(keep_going, step, settle(carry)), flags, strict=True))


def _settle(value, flag, wide, aval, size):
    """A loop-carried value as an array, with its lane axis exactly when `wide`."""
    if wide:
        return _join(_spread(value, flag, aval.shape, size))
    return jnp.asarray(value, aval.dtype) if not jnp.issubdtype(aval.dtype, jax.dtypes.extended) else value


def _flags(closed, consts, carry, xs, avals, size):
    """Which outputs of a loop body are wide, given which inputs are."""
    flags = [*[flag for _, flag in consts], *carry, *xs]
    seen = []

    def run(*values):
        seen[:] = [flag for _, flag in _interpret(closed, zip(values, flags, strict=True), size)]
        return ()

    jax.eval_shape(run, *[jax.ShapeDtypeStruct(a.shape + (size,) * f, a.dtype) for a, f in zip(avals, flags, strict=True)])
    return seen


def _carried(spread, flags):
    """Smallest set of wide carries that a loop maps into itself."""
    while True:
        after = [a or b for a, b in zip(flags, spread(flags), strict=False)]
        if after == flags:
            return flags
        flags = after


def _random_bits(words, params):
    draw = functools.partial(random.bits, bit_width=params["bit_width"], shape=params["shape"], lanes_last=True)
    return _once(lambda *words: draw(words), *words)


_CONTROL = {"scan": _scan, "while": _while, "cond": None}
_RULES = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(_LEADING_AXES.split(), _per_word(_leading_axes)),
    **dict.fromkeys(["scatter", "scatter-add", "scatter_add", "scatter-mul", "scatter_mul"], _scatter),
    "select_n": _per_word(_elementwise),
    "broadcast_in_dim": _per_word(_broadcast_in_dim),
    "reshape": _per_word(_reshape),
    "slice": _per_word(_slice),
    "stack": _per_word(_stack),
    "unstack": _per_word(_unstack),
    "transpose": _per_word(_transpose),
    "gather": _gather,
    "dynamic_slice": _per_word(_dynamic_slice),
    "dynamic_update_slice": _per_word(_dynamic_update_slice),
    **dict.fromkeys(["reduce_sum", "reduce_max", "reduce_min"], _reduce),
    "argmax": _argmax,
    "argmin": _argmax,
    "random_wrap": _random_wrap,
    "random_unwrap": _on_words(lambda words, p: jnp.stack(words, -2)),
    "random_bits": _on_words(_random_bits),
    "random_split": _on_words(lambda words, p: random.split(words, p["shape"], lanes_last=True)),
    "random_fold_in": _on_words(lambda words, p, data: random.fold_in(words, data, lanes_last=True)),
    "scan": _scan,
    "while": _while,
}
