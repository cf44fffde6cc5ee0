"""OPOL: bandit gradient descent for the prices of many products, in directions learned from their demand.

It is like `opok`, but the seller knows only the number d of directions in which demand varies (`LowRankDemand`). Demand
without noise is in the span of U, and so are its averages. Column j = t mod d of a table Q, `[n, d]`, averages the demands
of the periods j, j + d, j + 2 d, .... This cancels noise, and the d columns differ as the prices did. B is an orthonormal
basis of its columns. With t = 0, 1, ..., y = p'q, and the steps of `ball_gradient`,

    p = x + a B w,     x <- P( x + h y / C B w ),     Q_j <- Q_j + (q - Q_j) / (1 + floor(t / d)),     x <- B B'x.

The authors use the top d left singular vectors of Q as B; with d columns these span the same space as the columns. Here the
modified Gram-Schmidt process computes the basis: 2 n d^2 operations a period and no decomposition. If columns differ only by
a share e of their length, B is orthonormal up to rounding errors of 1e-7 / e.

Regret: O(d^(1/2) T^(3/4)) against the best fixed prices, for any number of products, if the averages separate all d
directions from noise; a direction hidden by noise is not searched.

Departures: the authors store x as d coordinates in the basis of the period. Here x is a price vector, projected on the new
span, because coordinates lose their meaning when singular vectors swap places or signs. Before a column has its first demand
it is a random direction. Unit C, step, shift and `baseline` are as in `opok`.

Source: J. Mueller, V. Syrgkanis, M. Taddy (2019), "Low-rank bandit methods for high-dimensional dynamic pricing",
arXiv:1801.10242.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.numerics import dot
from jaxprice.policies.parts import totals
from jaxprice.policies.products import ball_gradient
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

LOST = 1e-6  # a column with a smaller share outside the span of the others is a rounding error


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      ball: the ball with the position of the seller.
      averages, lost: averages of demand, Q, and their rounding errors (`totals`), float `[n, d]` each.
      basis: orthonormal basis B of the span of Q, float `[n, d]`.
    """

    ball: ball_gradient.Ball
    averages: jax.Array
    lost: jax.Array
    basis: jax.Array


@policy_maker(
    source="Mueller, Syrgkanis and Taddy (2019)",
    regret="d^(1/2) T^(3/4)",
    feedback="demand and reward",
)
def opol(rank=2, step=1.0, gap=0.41, baseline=False):
    """Bandit gradient descent in a learned subspace of prices.

    Args:
      rank: number d of directions, an int, at most the number of products.
      step: constant of the step, at least 0; may be traced.
      gap: constant of the shift, above 0; may be traced. The shift is at most half the radius.
      baseline: whether to subtract the mean revenue so far from the revenue of a period.

    Raises:
      ValueError: numbers out of range; at `init`, a market that does not take prices in a ball, or with too few products.
    """
    checks.positive_int("rank", rank)
    ball_gradient.check_numbers(step, gap)

    def init(key, problem):
        ball = ball_gradient.start(problem, "opol", rank, step, gap)
        random = samplers.normal(jax.random.bits(key, (ball.centre.shape[0], rank), jnp.uint32))
        return State(ball, random, jnp.zeros_like(random), orthonormal(random))

    def act(key, state, observation):
        del observation
        return state.ball.price(key, state.basis)

    def update(key, state, transition):
        del key
        column, rounds = state.ball.time % rank, 1 + state.ball.time // rank
        weight = (jnp.arange(rank) == column).astype(jnp.float32) / rounds.astype(jnp.float32)
        step = (transition.demand[:, None] - state.averages) * weight[None]
        averages, lost = totals.plus(state.averages, state.lost, step, rounds >= totals.LONG)
        basis, ball = orthonormal(averages), state.ball.after(transition, baseline)
        return State(ball.replace(centre=dot(basis, dot(ball.centre, basis))), averages, lost, basis)

    return Policy(init, act, update)


def orthonormal(columns):
    """Orthonormal columns with the same span, float `[n, d]`; a column within the span of the earlier ones becomes 0."""
    rows = jnp.swapaxes(columns, 0, 1)
    lengths = jnp.maximum(jnp.sqrt(jnp.sum(rows * rows, axis=1)), 1e-30)
    later = jnp.arange(rows.shape[0])

    def take_off(j, rows):
        size = ball_gradient.length(rows[j])
        direction = jnp.where(size > LOST, rows[j] / size, 0.0)
        parts = jnp.where(later > j, jnp.sum(rows * direction[None], axis=1), 0.0)
        return (rows - parts[:, None] * direction[None]).at[j].set(direction)

    return jnp.swapaxes(jax.lax.fori_loop(0, rows.shape[0], take_off, rows / lengths[:, None]), 0, 1)
