"""OPOK: bandit gradient descent for the prices of many products, within the few directions in which demand varies.

With demand U z - U V U'p + noise (`LowRankDemand`), revenue depends on x = U'p alone. The seller knows U, `[n, d]` with
orthonormal columns, and searches only in these d dimensions, by the one-point gradient steps of `ball_gradient`:

    p = U (x + a w),     x <- P( x + h y / C w ),     y = p'q,

with w uniform on the unit sphere of R^d, P the projection on the ball of radius r - a, a = r gap sqrt(d) T^(-1/4) and
h = r step / sqrt(T). Revenue as a function of x must be concave; nothing else is assumed, and it may change over time. U is
`problem.details["features"]` (`make("LowRankDemand", features_known=True)`). A seller without U has U = I and searches in
all n dimensions: the authors' baseline GDG, gradient descent without low rank.

Regret: O(d^(1/2) T^(3/4)) against the best fixed prices, for any number of products; GDG has n in place of d.

Departures: among all prices with U'p = x + a w the authors post the one nearest to the prices of the previous period; with
start p = 0 and in a ball, that is always U (x + a w). The unit C is not known; it is the largest |y| so far. Constants of
step and shift are those of Flaxman, Kalai and McMahan, and need tuning. With `baseline` the mean revenue so far is
subtracted from y.

Source: J. Mueller, V. Syrgkanis, M. Taddy (2019), "Low-rank bandit methods for high-dimensional dynamic pricing",
arXiv:1801.10242.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice.policies.products import ball_gradient
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The ball with the position of the seller, and U, float `[n, d]`."""

    ball: ball_gradient.Ball
    basis: jax.Array


@policy_maker(
    source="Mueller, Syrgkanis and Taddy (2019)",
    regret="d^(1/2) T^(3/4)",
    feedback="reward",
)
def opok(step=1.0, gap=0.41, baseline=False):
    """Bandit gradient descent in a known subspace of prices.

    Args:
      step: constant of the step, at least 0; may be traced.
      gap: constant of the shift, above 0; may be traced. The shift is at most half the radius.
      baseline: whether to subtract the mean revenue so far from the revenue of a period.

    Raises:
      ValueError: numbers out of range; at `init`, a market that does not take prices in a ball.
    """
    ball_gradient.check_numbers(step, gap)

    def init(key, problem):
        del key
        features = problem.details.get("features")
        rank = None if features is None else features.shape[1]
        ball = ball_gradient.start(problem, "opok", rank, step, gap)
        basis = jnp.eye(ball.centre.shape[0], dtype=jnp.float32) if features is None else jnp.asarray(features, jnp.float32)
        return State(ball, basis)

    def act(key, state, observation):
        del observation
        return state.ball.price(key, state.basis)

    def update(key, state, transition):
        del key
        return State(state.ball.after(transition, baseline), state.basis)

    return Policy(init, act, update)
