"""A loop with as many rounds as the slowest lane needs."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice.lanes import widen
from jaxprice.policies.parts import rounds


def test_a_loop_of_rounds_may_start_from_constants():
    def doubled(x):
        start = True, jnp.float32(1)
        return rounds.repeat(lambda c: c[0], lambda c, most: (2 * c[1] < most, 2 * c[1]), start, x)[1]

    x, wanted = jnp.float32([1.5, 8, 100, 3]), [2, 8, 128, 4]
    for wide in (jax.vmap(doubled), widen(doubled, (-1,)), jax.jit(widen(doubled, (-1,)))):
        np.testing.assert_array_equal(wide(x), wanted)
