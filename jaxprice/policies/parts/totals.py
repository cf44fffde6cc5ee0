"""Sums that go on growing: float32 drops an addend below half the spacing of the sum, so a count of ones stops at 2^24.

A sum S is kept with what rounding has kept from it, R (Kahan). An addend x changes them by

    y = x + R,      S' = S + y,      R' = y - (S' - S) if the sum is long, else 0.

A sum is long once it has `LONG` addends. Until then it is the plain sum in float32, which is exact for whole numbers and off
by less than LONG / 2^25, four parts in a thousand, for any others of one sign; from then on it keeps to the exact one.
Running means, m' = m + (x - m) / n, and other small steps are such sums too.

Source: W. Kahan (1965), "Further remarks on reducing truncation errors", doi:10.1145/363707.363723.
"""

import jax.numpy as jnp

LONG = 2**17  # addends


def plus(sums, lost, addends, long):
    """Sums and what rounding has kept from them, after one more addend each.

    Args:
      sums, lost: S and R, float `[...]` each.
      addends: float `[...]`, broadcast against them.
      long: whether a sum is long, bool, broadcast likewise.

    Returns:
      `(sums, lost)`.
    """
    step = addends + lost
    after = sums + step
    return after, jnp.where(long, step - (after - sums), 0.0)
