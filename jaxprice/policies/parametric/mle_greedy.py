"""MLE-GREEDY: always the best price for the maximum likelihood estimate of one unknown parameter.

Demand of a buyer is a curve d(p; z) with one unknown parameter z in the box `problem.bounds`:

| curve | purchase probability | families of `ParametricDemand` |
|---|---|---|
| "logit" | 1 / (1 + exp(z p + intercept)) | "separated_logit"; "logit", if z2 is known |
| "uninformative" | 1/2 + z - z p | "uninformative" |
| "well_separated" | 1 - z p / 2 | "well_separated" |

After a first price, the price is p*(z_t), in closed form, where z_t maximises the log likelihood of all sales so far over
the box. The log likelihood is stored at `points` evenly spaced z, in float32 relative to its largest value, so that rounding
is small near the maximum. A parabola through the best point and its neighbours refines the maximum; the first of equal
values is the best. With spacing h of the points the error is of order h^2, 2e-5 for the default on [.2, 2]: far below the
resolution of 1e6 sales.

Regret: O(log T) if curves are well separated, that is, every price distinguishes z from any other. This fails in
"uninformative", where demand at p = 1 is the same for all z. A seller whose estimate implies p = 1 learns nothing more, and
its regret is linear.

Source: J. Broder, P. Rusmevichientong (2012), "Dynamic pricing under a general parametric choice model",
doi:10.1287/opre.1120.1057, section 4.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, demand, samplers
from jaxprice.policies.parametric.mle_cycle import require_box
from jaxprice.policies.parts import line
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller; its first test price is the first price.
      low, high: box of z, float scalars.
      values: log likelihood at evenly spaced z of the box, minus its largest value, float `[points]`.
      time: number of periods played, int scalar.
    """

    market: line.Market
    low: jax.Array
    high: jax.Array
    values: jax.Array
    time: jax.Array

    def grid(self):
        """The points, float `[points]`."""
        return self.low + (self.high - self.low) * jnp.linspace(0, 1, self.values.shape[0], dtype=jnp.float32)

    def estimate(self):
        """The maximum of the likelihood, float scalar."""
        size, best = self.values.shape[0], jnp.argmax(self.values)
        k = jnp.clip(best, 1, size - 2)
        left, middle, right = self.values[k - 1], self.values[k], self.values[k + 1]
        bend = left - 2 * middle + right
        peak = jnp.clip((left - right) / (2 * jnp.where(bend < 0, bend, -1.0)), -1.0, 1.0)
        where = jnp.where(bend < 0, k.astype(jnp.float32) + peak, best.astype(jnp.float32))
        return self.low + (self.high - self.low) * where / (size - 1)


@policy_maker(
    source="Broder and Rusmevichientong (2012)",
    regret="log T if well separated",
    feedback="Bernoulli demand",
    kinds={"first": "optional"},
)
def mle_greedy(curve="logit", first=0.5, intercept=0.0, points=401):
    """MLE-GREEDY.

    Args:
      curve: "logit", "uninformative" or "well_separated".
      first: the first price, as a share of the interval: 0 is the lowest price, 1 the highest; may be traced. None: each
        lane draws its own, uniformly.
      intercept: known intercept of the logit curve; may be traced.
      points: number of z at which the likelihood is stored, at least 3.

    Raises:
      ValueError: an unknown curve, numbers out of range; at `init`, a market other than one with a price interval, Bernoulli
        demand without context, and a box of one parameter (two for a logit, of which the first is z).
    """
    checks.choice("curve", curve, ("logit", "uninformative", "well_separated"))
    if first is not None:
        checks.number("first", first, low=0, high=1)
    checks.number("intercept", intercept)
    if checks.positive_int("points", points) < 3:
        raise ValueError(f"points must be at least 3, got {points}")

    def of(z):
        if curve == "logit":
            return demand.Logit(z, intercept)
        return demand.Linear(0.5 + z, z) if curve == "uninformative" else demand.Linear(1.0, z / 2)

    def init(key, problem):
        require_box(problem, "mle_greedy", (1, 2) if curve == "logit" else (1,))
        share = samplers.uniform(jax.random.bits(key, (), jnp.uint32)) if first is None else first
        market = line.market(problem, "mle_greedy", share)
        low, high = jnp.asarray(problem.bounds, jnp.float32)[:, 0]
        return State(market, low, high, jnp.zeros(points, jnp.float32), jnp.int32(0))

    def act(key, state, observation):
        del key, observation
        market = state.market
        best = of(state.estimate()).optimal_price(market.cost, market.low, market.high)
        return jnp.where(state.time == 0, market.first, best)

    def update(key, state, transition):
        del key
        chance = jnp.clip(of(state.grid()).mean(transition.price), 1e-7, 1 - 1e-7)
        refusals = state.market.buyers - transition.demand
        values = state.values + transition.demand * jnp.log(chance) + refusals * jnp.log1p(-chance)
        return State(state.market, state.low, state.high, values - jnp.max(values), state.time + 1)

    return Policy(init, act, update)
