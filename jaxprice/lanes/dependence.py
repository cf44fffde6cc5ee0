"""Dependence between the values of a loop: which may differ between lanes, and which need to be carried.

Both answers come from the jaxpr of the code of one lane, which shows the inputs of every value.
"""

import jax
from jax.extend import core as jex


def per_leaf(in_axes, args):
    """`in_axes` as a list of bools, one a leaf."""
    if len(args) != len(in_axes):
        raise ValueError(f"in_axes names {len(in_axes)} arguments, but {len(args)} were given")
    flags = []
    for arg, axis in zip(args, in_axes, strict=True):
        flags += list(axis) if isinstance(axis, list | tuple) else [axis is not None] * len(jax.tree.leaves(arg))
    return flags


def depends(function, in_axes, *args, loop=None):
    """Which leaves of the result of `function` may differ between lanes.

    Args:
      function: code for one lane.
      in_axes: as in `widen`.
      *args: arguments for one lane, arrays or their shapes.
      loop: for the body of a loop whose last argument and result are the carry, the bools of the carry at the start. The
        answer then holds after any number of rounds, and the last entry of `in_axes` is ignored.

    Returns:
      A list of bools, one a leaf of the result. Leaves with False are the same in all lanes and need no lane axis.
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
    """Which results depend on the flagged arguments, one bool each."""
    wide = {var for var, flag in zip(jaxpr.invars, flags, strict=True) if flag}
    for eqn in jaxpr.eqns:
        if any(not isinstance(atom, jex.Literal) and atom in wide for atom in eqn.invars):
            wide.update(eqn.outvars)
            wide.update(atom for atom in eqn.invars if hasattr(atom.aval, "inner_aval"))  # mutable: it may write here
    return [not isinstance(atom, jex.Literal) and atom in wide for atom in jaxpr.outvars]


def live(function, args, results):
    """Which leaves of the carry of a loop influence the results that are kept, after any number of rounds.

    Args:
      function: the body for one lane; its last argument and its result are the carry.
      args: its arguments, arrays or their shapes.
      results: function from the carry to the leaves whose final values are needed.

    Returns:
      A list of bools, one a leaf of the carry. Leaves with False influence neither those results nor an effect.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    wanted = {id(leaf) for leaf in jax.tree.leaves(results(shapes))}
    flags = [id(leaf) in wanted for leaf in jax.tree.leaves(shapes)]
    carried = closed.jaxpr.invars[-len(flags) :]
    while True:
        reached = needed(closed.jaxpr, [var for var, flag in zip(closed.jaxpr.outvars, flags, strict=True) if flag])
        after = [flag or var in reached for flag, var in zip(flags, carried, strict=True)]
        if after == flags:
            return flags
        flags = after


def needed(jaxpr, wanted):
    """The variables on which the atoms `wanted` or the effects of a jaxpr (prints, callbacks) depend; includes `wanted`."""
    reached = {atom for atom in wanted if not isinstance(atom, jex.Literal)}
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or reached.intersection(eqn.outvars):
            reached.update(atom for atom in eqn.invars if not isinstance(atom, jex.Literal))
    return reached
