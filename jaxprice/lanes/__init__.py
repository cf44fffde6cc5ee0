"""Vectorise code written for one lane, as `vmap` does, but with the lane axis last.

A policy or a market is written for one lane, on scalars and on short arrays over arms. `jax.vmap` puts the lane axis first
whenever a scalar meets an array. Then arms are contiguous and lanes are strided, and XLA repairs the layout with copies.
`widen` keeps lanes last through every operation, so the inner loop of each kernel runs over lanes and fills the vector
registers.

It interprets the jaxpr of the one-lane function (the pattern of JAX's documentation, "Writing custom Jaxpr
interpreters in JAX"). Some primitives have rules of their own:

* elementwise operations, and operations that rearrange or reduce leading axes: the same operation with one more axis;
* calls and loops: the interpreter goes inside;
* access to one arm of an array (`x[arm]`, `x.at[arm].add(1)`, `argmax(x)`): selections over the arms, which are vector code
  over lanes, while gathers and scatters treat one lane at a time. Above `SHORT` arms: gathers and scatters with lanes last;
* addressed keys (`jaxprice.random`): a tuple of words, `[..., lanes]` each.

Every other primitive falls back to its own `jax.vmap`, with the lane axis last on both sides. The values are those of
`jax.vmap(function, in_axes=-1, out_axes=-1)`.
"""

from jaxprice.lanes import indexing, loops, moves  # noqa: F401  registers the rules
from jaxprice.lanes.dependence import depends, live, needed, per_leaf
from jaxprice.lanes.interpret import stored, widen

__all__ = ["depends", "live", "needed", "per_leaf", "stored", "widen"]
