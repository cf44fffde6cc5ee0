"""EllipsoidPricing: an ellipsoid that contains the unknown valuations, halved until it is thin, for buyers without noise.

A buyer with features x values the product at exactly x'theta, ||theta|| <= radius. The seller knows that theta is in the
ellipsoid (theta - a)' A^-1 (theta - a) <= 1, at first the ball. With w = sqrt(x'A x) the value is in [x'a - w, x'a + w], and

    2 w > eps    explore: price x'a. A sale leaves the half x'theta >= x'a, a refusal the other half. The new ellipsoid
                 is the smallest around this half, with b = A x / w and c = 1 for a sale, -1 for a refusal:
                 a <- a + c b / (d + 1),     A <- d^2 / (d^2 - 1) (A - 2 / (d + 1) b b');
    otherwise    exploit: price x'a - w, a certain sale, which teaches nothing.

If the price is clipped at an end of the interval, the cut does not pass through the centre. With alpha = c (p - x'a) / w,
the general formulas of the ellipsoid method apply; the ones above are for alpha = 0 (below alpha = -1/d nothing changes).
For d = 1 this is bisection. Exploitation does not cut, because a cut would lengthen the ellipsoid in directions that are
known.

Shallow cuts are for buyers whose valuations differ from x'theta by at most `margin`. A sale then shows only
x'theta >= p - margin. So alpha is smaller by margin / w, and the exploitation price is lower by margin. eps is then at least
4 d margin, which gives alpha >= -1 / (2 d), and every cut still shrinks the volume. If noise never exceeds the margin, theta
stays inside. For normal noise of standard deviation sigma a margin of sigma sqrt(2 log T) is nearly enough. The constants
are ours.

The state has F with F F' = A, updated by F <- g F + (d (1 - alpha) / (d + 1) - g) b (F'x)' / w with g = d sqrt((1 - alpha^2)
/ (d^2 - 1)). F has the square root of the condition number of A. The centre is a compensated sum. The limits of float32:
widths below 1e-5 radius are lost in the rounding of prices and values. So eps is kept above that, and the exploitation price
is lower by 1e-6 radius (1 + ||x||). The theory needs eps of order d^2 / T for prices of order one. The default is d^2 / T
times a third of the highest price; it is in effect up to T = 3e4 d^2.

Regret: O(d^2 log(T / d)). There are at most 2 d^2 log(20 radius (d + 1) / eps) explorations (for ||x|| <= 1), each at the
cost of a sale, and the loss is eps a period otherwise. In float32 this is linear in T beyond that horizon, and with a margin
it is always linear. If noise exceeds the margin there is no guarantee: once a cut has removed theta, it does not return.

Source: M. C. Cohen, I. Lobel, R. Paes Leme (2020), "Feature-based dynamic pricing", doi:10.1287/mnsc.2019.3485.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts.features import total
from jaxprice.policies.personal.sale_likelihood import require_context, sign
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

LAWS = ("logistic", "gaussian", "uniform", "mixture")  # noise of markets with linear valuations
SAFE = 1e-6


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      low, high, cost: ends of the price interval and unit cost, float scalars.
      radius, threshold, margin: bound on the norm of theta, eps, and the expected noise; float scalars.
      centre: a, float `[d]`.
      lost: rounding error of the centre, float `[d]`.
      factor: F, float `[d, d]`.
      explored: number of explorations, int scalar.
    """

    low: jax.Array
    high: jax.Array
    cost: jax.Array
    radius: jax.Array
    threshold: jax.Array
    margin: jax.Array
    centre: jax.Array
    lost: jax.Array
    factor: jax.Array
    explored: jax.Array

    def view(self, observation):
        """The context x, the middle x'a of its possible values, F'x, and its norm w."""
        x = jnp.asarray(observation[-self.centre.shape[0] :], jnp.float32)
        f = total(x, self.factor)
        return x, total(x, self.centre), f, jnp.sqrt(jnp.sum(f * f))


@policy_maker(source="Cohen, Lobel and Paes Leme (2020)", regret="d^2 log(T / d) without noise")
def ellipsoid_pricing(radius=None, threshold=None, margin=0.0):
    """EllipsoidPricing.

    Args:
      radius: bound on the norm of the coefficients of the valuations, money, above 0; may be traced. By default the highest
        price.
      threshold: width eps below which the policy exploits, money, above 0; may be traced. By default d^2 / T thirds of the
        highest price. It is raised to 1e-5 radius, and to 4 d margin.
      margin: largest difference of a valuation from x'theta, money, at least 0; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market other than one price of an interval with linear valuations.
    """
    if radius is not None:
        checks.number("radius", radius, low=1e-30)
    checks.number("margin", margin, low=0)
    if threshold is not None:
        checks.number("threshold", threshold, low=1e-30)

    def init(key, problem):
        del key
        require_context(problem, "ellipsoid_pricing")
        if problem.law not in LAWS:
            raise ValueError(
                f"ellipsoid_pricing needs valuations linear in the features, but the law of this market is {problem.law!r}"
            )
        d = problem.context_size
        numbers = (problem.low, problem.high, problem.cost, problem.horizon)
        low, high, cost, horizon = (jnp.asarray(x, jnp.float32) for x in numbers)
        size = jnp.asarray(high if radius is None else radius, jnp.float32)
        eps = jnp.maximum(d * d / horizon * (high / 3) if threshold is None else threshold, 1e-5 * size)
        eps, noise = jnp.maximum(eps, 4 * d * margin).astype(jnp.float32), jnp.asarray(margin, jnp.float32)
        zeros = jnp.zeros(d, jnp.float32)
        return State(low, high, cost, size, eps, noise, zeros, zeros, size * jnp.eye(d, dtype=jnp.float32), jnp.int32(0))

    def act(key, state, observation):
        del key
        x, middle, _, w = state.view(observation)
        sure = middle - w - state.margin - SAFE * state.radius * (1 + jnp.sqrt(jnp.sum(x * x)))
        price = jnp.where(2 * w > state.threshold, middle, jnp.maximum(sure, state.cost))
        return jnp.clip(price, state.low, state.high)

    def update(key, state, transition):
        del key
        d = state.centre.shape[0]
        _, middle, f, w = state.view(transition.observation)
        width = jnp.maximum(w, 1e-30)
        side = sign(transition.demand)
        alpha = (side * (transition.price - middle) - state.margin) / width
        explores = 2 * w > state.threshold
        cuts = explores & (alpha > -1 / d) & (alpha < 1)
        alpha = jnp.where(cuts, alpha, 0.0)
        e = f / width
        b = jnp.sum(state.factor * e[None], axis=1)
        step = (1 + d * alpha) / (d + 1) * side * b + state.lost
        centre = state.centre + step
        across = d * jnp.sqrt((1 - alpha * alpha) / max(d * d - 1, 1)) if d > 1 else jnp.zeros_like(alpha)
        along = d * (1 - alpha) / (d + 1)
        factor = across * state.factor + (along - across) * b[:, None] * e[None]
        new = centre, step - (centre - state.centre), factor
        centre, lost, factor = (
            jnp.where(cuts, x, y) for x, y in zip(new, (state.centre, state.lost, state.factor), strict=True)
        )
        return state.replace(centre=centre, lost=lost, factor=factor, explored=state.explored + explores)

    return Policy(init, act, update)
