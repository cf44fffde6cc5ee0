"""The maximum likelihood estimate of many sales from a state of fixed size.

A sale is an observation (z, o, c): features z, offset o, c = 1 for a sale and -1 for a refusal, with surplus w = z'theta - o
and log likelihood log G(c w) (`sale_likelihood`). The first R of n observations are stored. Each later one is replaced by a
quadratic around a reference r. Its slope, the score c m(c w), and its curvature k(c w) are averaged over the region in which
the estimate may still move:

    s z'(theta - r) - k (z'(theta - r))^2 / 2,      s = E c m(c w),   k = E k(c w),      w ~ N(z'r - o, z'S z / 2),
    H <- H + k z z',     h <- h + (k z'r + s) z,      S = (Hessian at r + I / radius^2)^-1,

The estimate maximises  sum over stored of log G(c w) + h'theta - theta'H theta / 2.  E is a sum over three points, exact for
polynomials of degree five. The reference is the maximum itself. It is recomputed when the caller asks for it, at least at
n = R, 2 R, 4 R, ... Up to R observations the estimate is exact.

A Taylor expansion, with s and k at w = z'r - o, would be biased: it omits the third-order term. The average of this term
over the moves of the estimate from n observations to N, of variance S (1 - n / N), accumulates and shrinks the estimate. For
18 features and 911 observations it shrinks theta by 7 % (R = 64) or 2.4 % (R = 384). The averages E remove this bias, with
half of S for a doubling (moment-matching filters use all of S). The remaining difference to the exact maximum is .05 to .12
of its standard error (root mean square over D and over runs), measured for 3, 8 and 18 features and 2 to 16 times as many
observations as stored.

The maximum is over a ball of the Euclidean or of the l1 norm, minus `penalty` times n ||theta||_1. It is computed by
Newton's method. Accelerated proximal gradient steps with restarts maximise the quadratic model; their size is one over the
largest row sum of the Hessian. A move that reduces the objective is halved. In directions without data the estimate keeps
its starting value.

Sources: A. Beck, M. Teboulle (2009), doi:10.1137/080716542; B. O'Donoghue, E. Candes (2015), doi:10.1007/s10208-013-9150-3;
M. Opper (1998), "A Bayesian approach to on-line learning" (moment-matching filters).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from jaxprice.linear import inverse
from jaxprice.policies.parts import rounds, totals
from jaxprice.policies.parts.features import total
from jaxprice.policies.personal.sale_likelihood import log_chance, score, sign

ROWS = 64  # number of stored observations for every three features
CLOSE = 1e-5  # tolerance for a move, relative to the estimate
FUTURE = 0.5  # share of the variance of r by which later sales move the estimate, on average over a doubling


@struct.dataclass
class Sales:
    """The observations.

    Attributes:
      count: number of observations, int scalar.
      features: features of the first R, float `[R + 1, D]`; the last row takes writes that must have no effect.
      offsets, signs: o and c of these, float `[R + 1]`.
      slope, bend: h `[D]` and H `[D, D]` of the others.
      lost: rounding errors of slope and bend (`totals`).
      reference, covariance: r, float `[D]`, and S, float `[D, D]`.
    """

    count: jax.Array
    features: jax.Array
    offsets: jax.Array
    signs: jax.Array
    slope: jax.Array
    bend: jax.Array
    lost: tuple[jax.Array, jax.Array]
    reference: jax.Array
    covariance: jax.Array

    @property
    def rows(self) -> int:
        """R, an int."""
        return self.signs.shape[0] - 1

    def add(
        self,
        law: str,
        z: Float[Array, " D"],
        offset: Num[ArrayLike, ""],
        sale: Num[Array, ""],
        counts: Bool[Array, ""] | bool = True,
    ) -> "Sales":
        """The sales with one more observation, if it `counts` (bool scalar)."""
        c = sign(sale)
        fits = counts & (self.count < self.rows)
        row = jnp.where(fits, self.count, self.rows)
        along = total(z, self.reference)
        around = math.sqrt(FUTURE * 3) * jnp.sqrt(jnp.maximum(total(z, _times(self.covariance, z)), 0.0))
        points = [(share, score(law, c * (along - offset) + away)) for away, share in ((-around, 1), (0.0, 4), (around, 1))]
        m, k = (sum(share * value[i] for share, value in points) / 6 for i in (0, 1))
        weight = (counts & ~fits).astype(jnp.float32)
        long, (less, lost) = self.count >= totals.LONG, self.lost
        slope, less = totals.plus(self.slope, less, weight * (k * along + c * m) * z, long)
        bend, lost = totals.plus(self.bend, lost, (weight * k) * z[:, None] * z[None, :], long)
        return Sales(
            self.count + jnp.asarray(counts, jnp.int32),
            lax.dynamic_update_index_in_dim(self.features, z, row, 0),
            lax.dynamic_update_index_in_dim(self.offsets, offset, row, 0),
            lax.dynamic_update_index_in_dim(self.signs, c, row, 0),
            slope,
            bend,
            (less, lost),
            self.reference,
            self.covariance,
        )

    def forget(self, gone: Bool[ArrayLike, ""]) -> "Sales":
        """The sales, or none if they are `gone` (bool scalar)."""
        count = jnp.where(gone, 0, self.count)
        slope, bend, lost = jax.tree.map(lambda x: jnp.where(gone, 0.0, x), (self.slope, self.bend, self.lost))
        return dataclasses.replace(self, count=count, slope=slope, bend=bend, lost=lost)

    def revised(self, now: Bool[ArrayLike, ""], law: str, radius: Num[ArrayLike, ""], **options) -> "Sales":
        """The sales with a new reference, `maximise(sales, law, 0, radius, **options)`, if `now`; otherwise no computation.

        `now` is a bool scalar that all lanes share. The fit is a branch inside a loop of at most one round, and needs both.
        With the branch alone, `lanes.widen` would transpose the arrays in every period. With the loop alone, XLA would hoist
        the fit out of it and compute it in every period.
        """

        def estimate(sales):
            theta = maximise(sales, law, jnp.zeros_like(sales.reference), radius, **options)
            bend, size = _expand(theta, law, sales, radius, 0.0)[2], theta.shape[0]
            return theta, inverse(bend + jnp.eye(size, dtype=jnp.float32) / jnp.asarray(radius, jnp.float32) ** 2)

        def fit(_, known):
            return lax.cond(now, estimate, lambda sales: known, self)

        known = lax.fori_loop(0, jnp.asarray(now, jnp.int32), fit, (self.reference, self.covariance))
        return dataclasses.replace(self, reference=known[0], covariance=known[1])

    def due(self) -> Bool[Array, ""]:
        """Whether the count has reached R times a power of two, so that the reference must move; bool scalar."""
        times = self.count // self.rows
        return (times > 0) & (self.count % self.rows == 0) & ((times & (times - 1)) == 0)


def no_sales(size: int, kept: int | None = None) -> Sales:
    """The state before the first sale, with `size` features; R is `kept`, or `ROWS` for every three features."""
    kept = ROWS * -(-size // 3) if kept is None else kept
    rows, zeros = jnp.zeros(kept + 1, jnp.float32), jnp.zeros(size, jnp.float32)
    blank = jnp.zeros((kept + 1, size), jnp.float32)
    square = jnp.zeros((size, size), jnp.float32)
    return Sales(jnp.int32(0), blank, rows, rows, zeros, square, (zeros, square), zeros, square)


def maximise(
    sales: Sales,
    law: str,
    start: Float[Array, " D"],
    radius: Num[ArrayLike, ""],
    *,
    norm: str = "l2",
    penalty: Num[ArrayLike, ""] = 0.0,
    newton: int = 12,
    steps: int = 50,
) -> Float[Array, " D"]:
    """The estimate, float `[D]`.

    Args:
      sales: `Sales`.
      law: "logistic" or "gaussian".
      start: first guess in the ball, float `[D]`.
      radius: radius of the ball, float scalar.
      norm: "l2" or "l1", the norm of the ball.
      penalty: weight of the l1 norm in the mean log likelihood, float scalar; only with the l1 ball.
      newton: largest number of quadratic models; the loop stops when the estimate does not move.
      steps: number of gradient steps for each model.
    """
    radius, least = (jnp.asarray(x, jnp.float32) for x in (radius, penalty * sales.count.astype(jnp.float32)))
    given = sales, radius, least

    def going(carry):
        made, (theta, *_), move, _ = carry
        return (made < newton) & (jnp.max(jnp.abs(move)) > CLOSE * (1 + jnp.max(jnp.abs(theta))))

    def improve(carry, given):
        made, (theta, *now), move, scale = carry
        sales, radius, least = given
        moved = theta + scale * move
        new = _expand(moved, law, sales, radius, least)
        better = new[0] <= now[0] + 1e-6 * (1 + jnp.abs(now[0]))  # smaller differences are rounding errors
        best = jax.tree.map(lambda x, y: jnp.where(better, x, y), (moved, *new), (theta, *now))
        theta, value, gradient, bend = best
        move = _peak(theta, value, gradient, bend, radius, least, norm, steps) - theta
        return made + 1, best, move, jnp.where(better, 1.0, scale / 2)

    first = start, *_expand(start, law, *given)
    move = _peak(*first, radius, least, norm, steps) - start
    return rounds.repeat(going, improve, (jnp.int32(0), first, move, jnp.float32(1)), given)[1][0]


def _expand(theta, law, sales, radius, least):
    """Minus the penalised log likelihood, the gradient of the log likelihood, and minus its Hessian."""
    del radius
    z, beyond = sales.features[:-1], theta - sales.reference
    c = jnp.where(jnp.arange(sales.rows) < sales.count, sales.signs[:-1], 0.0)
    w = jnp.sum(z * theta[None], axis=1) - sales.offsets[:-1]
    m, k = score(law, c * w)
    turn = _times(sales.bend, theta)
    value = least * jnp.sum(jnp.abs(theta)) - jnp.sum(c * c * log_chance(law, c * w))
    value = value - jnp.sum(beyond * (sales.slope - (turn + _times(sales.bend, sales.reference)) / 2))
    gradient = jnp.sum(z * (c * m)[:, None], axis=0) + sales.slope - turn
    kept = z * (c * c * k)[:, None]
    return value, gradient, jnp.sum(kept[:, :, None] * z[:, None, :], axis=0) + sales.bend


def _peak(theta, value, gradient, bend, radius, least, norm, steps):
    """The maximum in the ball of the quadratic model around theta minus the penalty."""
    del value
    size = 1 / jnp.maximum(jnp.max(jnp.sum(jnp.abs(bend), axis=0)), 1e-20)

    def step(_, carry):
        here, ahead, pace = carry
        slope = gradient - _times(bend, ahead - theta)
        new = onto_ball(ahead + size * slope, radius, norm, size * least)
        back = jnp.sum((ahead - new) * (new - here)) > 0
        after = jnp.where(back, 1.0, (1 + jnp.sqrt(1 + 4 * pace * pace)) / 2)
        push = jnp.where(back, 0.0, (pace - 1) / after)
        return new, new + push * (new - here), after

    return lax.fori_loop(0, steps, step, (theta, theta, jnp.float32(1)))[0]


def _times(matrix, vector):
    return jnp.sum(matrix * vector[None], axis=1)


def onto_ball(
    x: Float[Array, " D"], radius: Num[ArrayLike, ""], norm: str, least: Num[ArrayLike, ""] = 0.0
) -> Float[Array, " D"]:
    """The point of the ball nearest to `x` `[D]`; for the l1 norm, after entries moved by `least` towards zero.

    The projection on the l1 ball moves them further, by the maximum over j of (S_j - radius) / n_j, where n_j entries are at
    least as large as the j-th and S_j is their sum.
    """
    if norm == "l2":
        return x * jnp.minimum(1.0, radius / jnp.maximum(jnp.sqrt(jnp.sum(x * x)), 1e-30))
    size = jnp.maximum(jnp.abs(x) - least, 0.0)
    larger = (size[:, None] >= size[None, :]).astype(jnp.float32)
    excess = (jnp.sum(larger * size[:, None], axis=0) - radius) / jnp.sum(larger, axis=0)
    return jnp.sign(x) * jnp.maximum(size - jnp.maximum(jnp.max(excess), 0.0), 0.0)
