"""MLE-CYCLE: cycles of two experiments, a maximum likelihood estimate, and c periods at the best price for it.

A buyer buys at price p with probability 1 / (1 + exp(z1 p + z2)), z in the box `problem.bounds`. Cycle c = 1, 2, ... offers
the two exploration prices once each, estimates z, and then posts p*(z), in closed form (Lambert W), for c periods; it has 2
+ c periods. The variants differ in the data of the estimate and in the exploration prices:

    "plain": the experiments of all cycles so far, nothing else;      "S": all sales so far;
    "SU": all sales; from cycle 2 on, the experiments are at p*(z) of the previous cycle and at that plus gap t^(-1/4).

The estimate is constrained to the box and lies on its boundary while data are few. This is intended: an unconstrained
estimate loses half of the revenue. The work of a period is constant. The log likelihood, with q = 1 / (1 + exp(z1 p + z2)),

    L(z) = - sum of d_i (z1 p_i + z2)  +  sum of log(1 - q(p_i; z)),

needs sums of d and d p for its first part. The second part is a sum over prices only; for "plain" there are two prices. For
"S" and "SU" every price is distributed over 40 Chebyshev nodes of the interval by the weights of polynomial interpolation,
with an error of L / n below 1e-6 for z1 (high - low) <= 15, as in the paper's setting (1e-4 for 30): 40 floats replace a
history. L is concave. 8 Newton steps, each to the maximum of the quadratic model in the box and halved while L would
decrease, come within 1e-6 of the largest L / n.

Regret: O(sqrt(T)); no policy has less than order sqrt(T) in general. Prices beyond the interval are clipped, as in the
paper; the time t of "SU" is that of the period itself, and `gap` is money.

Source: J. Broder, P. Rusmevichientong (2012), "Dynamic pricing under a general parametric choice model",
doi:10.1287/opre.1120.1057.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float, Num

from jaxprice import checks, demand, samplers
from jaxprice.policies.parts import line, scale, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy, Problem

NODES, STEPS = 40, 8


@struct.dataclass
class Likelihood:
    """Log likelihood of logit demand of one observation, as a function of the parameters.

    Attributes:
      nodes: prices, float `[nodes]`.
      counts: number of buyers at each node, float `[nodes]`.
      sold: sales, and sum of price * sales, float `[2]` in the order of z.
      lost: rounding errors of counts and sales (`totals`).
    """

    nodes: jax.Array
    counts: jax.Array
    sold: jax.Array
    lost: Any = None

    def at(
        self, z1: Float[Array, ""], z2: Float[Array, ""]
    ) -> tuple[
        Float[Array, ""],
        tuple[Float[Array, ""], Float[Array, ""]],
        tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]],
    ]:
        """`(value, gradient, curvature)`: float scalar, two of them, and the three entries of minus the Hessian."""
        total = jnp.maximum(jnp.sum(self.counts), 1.0)
        weights, p, sold = self.counts / total, self.nodes, self.sold / total
        u = z1 * p + z2
        tail = jnp.exp(-jnp.abs(u))
        refused = jnp.where(u > 0, 1.0, tail) / (1 + tail)
        value = -(z1 * sold[0] + z2 * sold[1]) - jnp.sum(weights * (jnp.maximum(-u, 0.0) + jnp.log(1 + tail)))
        bought = weights * (1 - refused)
        inner = bought * refused
        gradient = jnp.sum(bought * p) - sold[0], jnp.sum(bought) - sold[1]
        return value, gradient, (jnp.sum(inner * p * p), jnp.sum(inner * p), jnp.sum(inner))


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller; its test prices are the exploration prices.
      bounds: box of z, float `[2, 2]`, lowest and highest.
      gap: distance of the second experiment of "SU" at t = 1, float scalar.
      likelihood: log likelihood of the data of the variant.
      z: the last estimate, float `[2]`.
      cycle, position, time: number of the cycle from 1, number of its periods played, and of all periods; int scalars.
    """

    market: line.Market
    bounds: jax.Array
    gap: jax.Array
    likelihood: Likelihood
    z: jax.Array
    cycle: jax.Array
    position: jax.Array
    time: jax.Array

    def best_price(self) -> Float[Array, ""]:
        """The best price for the last estimate."""
        curve = demand.Logit(self.z[0], self.z[1])
        return curve.optimal_price(self.market.cost, self.market.low, self.market.high)


@policy_maker(
    source="Broder and Rusmevichientong (2012)",
    regret="sqrt(T)",
    feedback="Bernoulli demand",
    kinds={"first": "optional", "second": "optional"},
)
def mle_cycle(variant="plain", first=0.0, second=0.5, gap=None):
    """MLE-CYCLE for logit demand.

    Args:
      variant: "plain", "S" or "SU".
      first, second: the exploration prices as shares of the interval: 0 is the lowest price, 1 the highest; may be traced.
        None: each lane draws its own, uniformly.
      gap: distance of the second experiment of "SU" at t = 1, money, at least 0; may be traced. By default the length of the
        interval divided by 7.5, which is one in the paper's setting.

    Raises:
      ValueError: an unknown variant, numbers out of range; at `init`, a market other than one with a price interval,
        Bernoulli demand without context, and a box of two parameters.
    """
    checks.choice("variant", variant, ("plain", "S", "SU"))
    if first is None or second is None:
        first is None or checks.number("first", first, low=0, high=1)
        second is None or checks.number("second", second, low=0, high=1)
    else:
        line.check_tests(first, second)
    if gap is not None:
        checks.number("gap", gap, low=0)

    def init(key, problem):
        require_box(problem, "mle_cycle", (2,))
        u = samplers.uniform(jax.random.bits(key, (2,), jnp.uint32))
        tests = u[0] if first is None else first, u[1] if second is None else second
        market = line.market(problem, "mle_cycle", *tests)
        nodes = jnp.stack([market.first, market.second]) if variant == "plain" else spread_nodes(market)
        unit = problem.details["unit"]
        bounds = jnp.asarray(problem.bounds, jnp.float32) * jnp.stack([unit, jnp.ones_like(unit)])[None]
        distance = (market.high - market.low) / 7.5 if gap is None else jnp.asarray(gap, jnp.float32) / unit
        zeros = jnp.zeros_like(nodes), jnp.zeros(2, jnp.float32)
        start = Likelihood(nodes, *zeros, zeros)
        counters = jnp.int32(1), jnp.int32(0), jnp.int32(0)
        return State(market, bounds, distance, start, jnp.mean(bounds, axis=0), *counters)

    def act(key, state, observation):
        del key, observation
        market, best = state.market, state.best_price()
        one, two = market.first, market.second
        if variant == "SU":
            moved = best + state.gap * (state.time + 1).astype(jnp.float32) ** -0.25
            one, two = jnp.where(state.cycle > 1, best, one), jnp.where(state.cycle > 1, moved, two)
        price = jnp.where(state.position == 0, one, jnp.where(state.position == 1, two, best))
        return jnp.clip(price, market.low, market.high)

    def update(key, state, transition):
        del key
        market, old, price = state.market, state.likelihood, transition.price
        where = jnp.arange(2) == state.position if variant == "plain" else interpolation(price, market)
        counted = (state.position < 2).astype(jnp.float32) if variant == "plain" else jnp.float32(1)
        sold = counted * transition.demand * jnp.stack([price, jnp.ones_like(price)])
        long, counted = state.time >= totals.LONG, market.buyers * jnp.asarray(where, jnp.float32)
        counts, uncounted = totals.plus(old.counts, old.lost[0], counted, long)
        sold, unsold = totals.plus(old.sold, old.lost[1], sold, long)
        likelihood = Likelihood(old.nodes, counts, sold, (uncounted, unsold))
        estimate = maximise(likelihood, state.bounds)
        z = jnp.where(state.position == 1, estimate, state.z)
        ended = state.position == state.cycle + 1
        cycle, position = state.cycle + ended, jnp.where(ended, 0, state.position + 1)
        return State(market, state.bounds, state.gap, likelihood, z, cycle, position, state.time + 1)

    return scale.in_own_unit(Policy(init, act, update), size=8.0)  # its tolerances are for prices of this size


def require_box(problem: Problem, name: str, sizes: Sequence[int]) -> None:
    """Raise if demand is not Bernoulli, if there is a context, or if there is no box of the given number of parameters.

    Raises:
      ValueError: one of these holds.
    """
    line.require_interval(problem, name)
    if problem.noise != "bernoulli" or problem.context_size:
        kind = f"{problem.noise} demand" + (" and a context" if problem.context_size else "")
        raise ValueError(f"{name} needs Bernoulli demand without a context, but this market has {kind}")
    if problem.bounds is None or jnp.shape(problem.bounds)[1:] not in [(size,) for size in sizes]:
        told = "none" if problem.bounds is None else f"one of shape {list(jnp.shape(problem.bounds))}"
        raise ValueError(f"{name} needs a box of {' or '.join(map(str, sizes))} parameters, but this market has {told}")


def spread_nodes(market: line.Market) -> Float[Array, " nodes"]:
    """Chebyshev nodes of the price interval, float `[NODES]`."""
    return (market.low + market.high) / 2 + (market.high - market.low) / 2 * np.cos(_angles()).astype(np.float32)


def interpolation(price: Num[Array, ""], market: line.Market) -> Float[Array, " nodes"]:
    """Weights `[NODES]` that give the interpolating polynomial at a price from its values at the nodes."""
    x = (2 * price - market.low - market.high) / (market.high - market.low)
    distance = x - np.cos(_angles()).astype(np.float32)
    distance = jnp.where(jnp.abs(distance) < 1e-7, 1e-7, distance)
    signs = np.where(np.arange(NODES) % 2, -1, 1) * np.sin(_angles())
    weights: Any = signs.astype(np.float32) / distance
    return weights / jnp.sum(weights)


def _angles():
    return (2 * np.arange(NODES) + 1) * np.pi / (2 * NODES)


def maximise(likelihood: Likelihood, bounds: Float[Array, "2 2"]) -> Float[Array, "2"]:
    """The maximum of a likelihood in the box `bounds` `[2, 2]`: z, float `[2]`."""
    (low1, low2), (high1, high2) = bounds

    def step(_, carry):
        z1, z2, best, gradient, curvature, move, scale = carry
        w1, w2 = z1 + scale * move[0], z2 + scale * move[1]
        value, new_gradient, new_curvature = likelihood.at(w1, w2)
        better = value >= best - 1e-6 * (1 + jnp.abs(best))  # smaller differences are rounding errors
        now = (w1, w2, value, new_gradient, new_curvature), (z1, z2, best, gradient, curvature)
        z1, z2, best, gradient, curvature = jax.tree.map(lambda new, old: jnp.where(better, new, old), *now)
        move = newton_move(gradient, curvature, (low1 - z1, low2 - z2), (high1 - z1, high2 - z2))
        return z1, z2, best, gradient, curvature, move, jnp.where(better, 1.0, scale / 2)

    zero = jnp.zeros_like(low1)
    middle = (low1 + high1) / 2, (low2 + high2) / 2
    start = *middle, zero - 1e30, (zero, zero), (zero, zero, zero), (zero, zero), zero + 1  # the first step evaluates it
    z1, z2 = jax.lax.fori_loop(0, STEPS + 1, step, start)[:2]
    return jnp.clip(jnp.stack([z1, z2]), bounds[0], bounds[1])


def newton_move(
    gradient: tuple[Float[Array, ""], Float[Array, ""]],
    curvature: tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]],
    low: tuple[Float[Array, ""], Float[Array, ""]],
    high: tuple[Float[Array, ""], Float[Array, ""]],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The move d in the box [low, high] that maximises g'd - d'Ad/2 for the positive definite A: two float scalars."""
    (g1, g2), (a, b, c) = gradient, curvature
    a, c = a * (1 + 1e-6) + 1e-9, c * (1 + 1e-6) + 1e-9

    def model(d1, d2):
        return g1 * d1 + g2 * d2 - (a * d1 * d1 + 2 * b * d1 * d2 + c * d2 * d2) / 2

    moves = [(d, jnp.clip((g2 - b * d) / c, low[1], high[1])) for d in (low[0], high[0])]
    moves += [(jnp.clip((g1 - b * d) / a, low[0], high[0]), d) for d in (low[1], high[1])]
    best, value = moves[0], model(*moves[0])
    for move in moves[1:]:
        other = model(*move)
        best = tuple(jnp.where(other > value, new, old) for new, old in zip(move, best, strict=True))
        value = jnp.maximum(value, other)
    determinant = jnp.maximum(a * c - b * b, 1e-7 * a * c)
    d1, d2 = (c * g1 - b * g2) / determinant, (a * g2 - b * g1) / determinant
    inside = (d1 >= low[0]) & (d1 <= high[0]) & (d2 >= low[1]) & (d2 <= high[1])
    return jnp.where(inside, d1, best[0]), jnp.where(inside, d2, best[1])
