"""Growing sums: float32 drops an addend below half the spacing of the sum, so a count of ones stops at 2^24.

A sum S is stored together with its rounding error R (Kahan). An addend x updates them by

    y = x + R,      S' = S + y,      R' = y - (S' - S) if the sum is long, else 0.

A sum is long once it has `LONG` addends. Before that it is a plain float32 sum, which is exact for integers; for other
addends of one sign the error is below LONG / 2^25, four parts in a thousand. After that it follows the exact sum. Running
means, m' = m + (x - m) / n, and other small steps are sums of this kind too.

Source: W. Kahan (1965), "Further remarks on reducing truncation errors", doi:10.1145/363707.363723.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

LONG = 2**17  # number of addends


def plus(
    sums: Float[Array, "*n"], lost: Float[Array, "*n"], addends: Num[ArrayLike, "..."], long: Bool[ArrayLike, "..."]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Sums and their rounding errors after one more addend each.

    Args:
      sums, lost: S and R, float `[...]` each.
      addends: float `[...]`, broadcast against them.
      long: whether each sum is long, bool, broadcast against them.

    Returns:
      `(sums, lost)`.
    """
    step = addends + lost
    after = sums + step
    return after, jnp.where(long, step - (after - sums), 0.0)
