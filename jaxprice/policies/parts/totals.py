"""Sums that go on growing: float32 drops an addend below half the spacing of the sum, so a count of ones stops at 2^24.

Each sum S is kept with what rounding has kept from it, R. An addend x changes them by (Kahan, Neumaier)

    y = x + R if the sum is long, else x,      S' = S + y,      R' = y - (S' - S), plus R if the sum is short.

A sum is long once it has `LONG` addends. Until then S is the plain float32 sum, whose relative error is below LONG / 2^24,
one per cent; from then on it is the sum of all addends, those before included, rounded once. Whole numbers below 2^24 lose
nothing: then R is 0 and S the plain sum in either case.

Sources: W. Kahan (1965), "Further remarks on reducing truncation errors", doi:10.1145/363707.363723; A. Neumaier (1974),
"Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", doi:10.1002/zamm.19740540106.
"""

import jax.numpy as jnp

LONG = 2.0**17  # addends


def plus(sums, lost, addends, counts):
    """Sums and what rounding has kept from them, after one more addend each.

    Args:
      sums, lost: S and R, float `[...]` each.
      addends: float `[...]`, broadcast against them.
      counts: addends so far, float `[...]`, broadcast likewise.

    Returns:
      `(sums, lost)`.
    """
    long = counts >= LONG
    step = addends + jnp.where(long, lost, 0.0)
    after = sums + step
    error = step - (after - sums)
    return after, jnp.where(long, error, lost + error)
