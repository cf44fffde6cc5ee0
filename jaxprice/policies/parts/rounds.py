"""A loop with as many rounds as the slowest lane needs.

In the code of one lane, `lax.while_loop` stops at different times in different lanes. `jax.vmap` then moves the lanes to the
first axis of every array that the loop reads, in every period, even if no lane makes a round. `repeat` is the same loop with
lanes last (`jaxprice.lanes`), and costs almost nothing in a period without rounds. For this, XLA must not hoist
loop-invariant code out of the loop.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from jaxprice import lanes


def repeat(going: Callable, step: Callable, carry: Any, given: Any) -> Any:
    """`carry = step(carry, given)` while `going(carry)`, a bool scalar, separately in each lane.

    Args:
      going: `carry -> bool scalar`; like `step`, it must not close over traced values.
      step: `(carry, given) -> carry`.
      carry: arrays, a pytree.
      given: constant arrays, a pytree.

    Returns:
      The last carry.
    """

    @custom_vmap
    def run(carry, given):
        return lax.while_loop(going, lambda carry: step(carry, given), carry)

    @run.def_vmap
    def _(size, batched, carry, given):
        carry = jax.tree.map(lambda x, flag: _lanes_last(x, flag, size), carry, batched[0])
        given = jax.tree.map(lambda x, flag: jnp.moveaxis(x, 0, -1) if flag else x, given, batched[1])
        wide_going = lanes.widen(going, (-1,))
        wide_step = lanes.widen(step, (-1, jax.tree.leaves(batched[1])))

        def wide(carry):
            goes = wide_going(carry)
            new = wide_step(*lax.optimization_barrier((carry, given)))
            return jax.tree.map(lambda x, old: jnp.where(jnp.broadcast_to(goes, x.shape), x, old), new, carry)

        carry = lax.while_loop(lambda carry: jnp.any(wide_going(carry)), wide, carry)
        return jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), carry), jax.tree.map(lambda x: True, carry)

    return run(carry, given)


def _lanes_last(x, flag, size):
    x = jnp.asarray(x)  # constants arrive as plain numbers
    return jnp.moveaxis(x, 0, -1) if flag else jnp.broadcast_to(x[..., None], (*x.shape, size))
