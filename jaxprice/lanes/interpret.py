"""`widen` and its interpreter: evaluate the jaxpr of one lane on arrays whose last axis is the lanes.

Every value is a pair `(array, is_wide)`. A value that is the same in all lanes is computed once, without a lane axis. A
primitive is evaluated by its rule, `rule(eqn, args, size) -> pairs`. If it has no rule, or the rule returns None, its
`jax.vmap` is used.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core as jex

from jaxprice import random
from jaxprice.lanes.dependence import per_leaf

SHORT = 32  # largest number of arms for a chain of selections

_CALLS = {  # primitives that evaluate one jaxpr on their operands, and the parameter that holds it
    **dict.fromkeys(("jit", "pjit", "remat", "remat2", "checkpoint"), "jaxpr"),
    **dict.fromkeys(("core_call", "closed_call", "custom_jvp_call", "custom_vjp_call"), "call_jaxpr"),
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}
_MUTABLE = ("new_ref", "empty_ref")  # `vmap` must see the creation of a mutable array to give it a lane axis
_STORED = "stored_"
_rules = {}
_fence = contextvars.ContextVar("fence", default=None)


def rule(names):
    """Register a rule for the named primitives; `names` is one string with spaces between the names."""

    def register(function):
        _rules.update(dict.fromkeys(names.split(), function))
        return function

    return register


def widen(
    function: Callable, in_axes: Sequence, fence: jax.Array | None = None, out_axes: int | Sequence[bool] = -1
) -> Callable:
    """Return a version of `function` that acts on many lanes at once, with the lane axis last in every array.

    Args:
      function: code for one lane, on pytrees of arrays.
      in_axes: for each positional argument, -1 if every leaf has a trailing lane axis `[..., lanes]`, None if the argument
        is shared by all lanes, or a list with True for each leaf with a lane axis and False for the others.
      fence: None, or a bool scalar that is true at run time although the compiler cannot know it. With a fence, random words
        and the operand of an `argmax` are computed once and stored. Without it, XLA:CPU recomputes cheap values in every
        kernel that reads them, because its kernels have one output. A branch on the fence stops that: XLA never fuses
        across a branch. Pass None on other backends, where a branch is expensive.
      out_axes: -1 if every returned array has a trailing lane axis; or a list of bools, one a leaf, as `depends` returns.

    Returns:
      A function with the same arguments.

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
        with fenced(fence):
            outs = interpret(closed, zip(leaves, flags, strict=True), size)
        wanted = [True] * len(outs) if isinstance(out_axes, int) else out_axes
        outs = [as_carry(*out, flag, aval, size) for out, flag, aval in zip(outs, wanted, closed.out_avals, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(shapes), outs)

    return wide


def stored(function):
    """Mark a function of arrays: if there is a fence, its results are computed once and stored.

    Use it for results that several kernels read, if computing them costs more than reading them. Without a fence it changes
    nothing.
    """

    @functools.wraps(function)
    def marked(*args):
        return function(*args)

    marked.__name__ = _STORED + function.__name__
    return jax.jit(marked)


@contextlib.contextmanager
def fenced(fence):
    token = _fence.set(fence)
    try:
        yield
    finally:
        _fence.reset(token)


def once(function, *operands):
    """`function(*operands)`, an array, computed in kernels of its own if there is a fence."""
    fence = _fence.get()
    if fence is None:
        return function(*operands)
    out = jax.eval_shape(function, *operands)
    return lax.cond(fence, function, lambda *_: jnp.zeros(out.shape, out.dtype), *operands)


def interpret(closed, args, size):
    """Evaluate a closed jaxpr on `(value, is_wide)` pairs -> list of such pairs."""
    args = list(args)
    env = {var: (value, False) for var, value in zip(closed.jaxpr.constvars, closed.consts, strict=True)}
    env.update(zip(closed.jaxpr.invars, args, strict=True))

    def read(atom):
        return (atom.val, False) if isinstance(atom, jex.Literal) else env[atom]

    if any(eqn.primitive.name in _MUTABLE for eqn in closed.jaxpr.eqns):
        return [(out, True) for out in _vmap(jex.jaxpr_as_fun(closed), args)]
    for eqn in closed.jaxpr.eqns:
        args = [read(atom) for atom in eqn.invars]
        if not any(flag for _, flag in args):
            outs = [(value, False) for value in bind(eqn, [value for value, _ in args])]
        elif (inner := _callee(eqn)) is not None:
            keep = eqn.params.get("name", "").startswith(_STORED) and _fence.get() is not None
            outs = (_keep if keep else interpret)(inner, args, size)
        else:
            rule = _rules.get(eqn.primitive.name)
            outs = rule and rule(eqn, args, size)
            if outs is None:
                outs = [(value, True) for value in _vmap(lambda *values, eqn=eqn: bind(eqn, values), args)]
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _keep(closed, args, size):
    """Like `interpret`, inside a branch on the fence."""
    fence, flags = _fence.get(), [flag for _, flag in args]

    def results(*values):
        outs = interpret(closed, zip(values, flags, strict=True), size)
        return [as_carry(*out, True, aval, size) for out, aval in zip(outs, closed.out_avals, strict=True)]

    values = [value for value, _ in args]
    shapes = jax.eval_shape(results, *values)
    outs = lax.cond(fence, results, lambda *_: [jnp.zeros(x.shape, x.dtype) for x in shapes], *values)
    return [(out, True) for out in outs]


def bind(eqn, values):
    """Apply the primitive of `eqn` to `values` -> list of results."""
    out = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


def _vmap(function, args):
    """`jax.vmap` of a function of arrays or of one primitive, with the lane axis last; keys become ordinary key arrays."""
    axes = [-1 if flag else None for _, flag in args]
    return jax.vmap(lambda *values: function(*values), axes, -1)(*[join(value) for value, _ in args])


def _callee(eqn):
    """The closed jaxpr of a call (`jit`, `custom_jvp_call`, ...), otherwise None; other primitives hold jaxprs too."""
    inner = eqn.params.get(_CALLS.get(eqn.primitive.name))
    return inner if inner is None or isinstance(inner, jex.ClosedJaxpr) else jex.ClosedJaxpr(inner, ())


def broadcast(value, flag, shape, size) -> Any:
    """Give `value` the shape `[*shape, size]`; a wide key stays a tuple of words."""
    if isinstance(value, tuple):
        return tuple(broadcast(word, True, shape, size) for word in value)
    value = jnp.asarray(value)
    if not flag:
        value = value[..., None]
    value = value.reshape((1,) * (len(shape) + 1 - value.ndim) + value.shape) if value.ndim != len(shape) + 1 else value
    return jnp.broadcast_to(value, (*shape, size))


def join(value):
    """A wide key as an ordinary array of keys `[..., lanes]`; anything else as it is."""
    return random.from_words(value) if isinstance(value, tuple) else value


def as_carry(value, flag, wide, aval, size) -> Any:
    """A loop-carried value as an array that has a lane axis exactly if `wide`."""
    if wide:
        return join(broadcast(value, flag, aval.shape, size))
    return jnp.asarray(value, aval.dtype) if not jnp.issubdtype(aval.dtype, jax.dtypes.extended) else value
