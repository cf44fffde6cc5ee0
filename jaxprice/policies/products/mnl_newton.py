"""Online Newton for multinomial logit pricing: update the fit after each period, price by the fit, and add small shocks.

Buyers choose one of n products or nothing (`MNLPricing`). Product j at price p_j has the utility u_j = a_j - b y_j,
y_j = (p_j - middle_j) / width, width the widest price interval, and buying nothing 0: n + 1 parameters theta = (a, b), with
features z_j = (e_j, -y_j), z_0 = 0. After a period with sales d_j of m buyers, with q the choice probabilities under theta
and zbar = sum_k q_k z_k (k = 0 is nothing),

    H <- H + m sum_k q_k (z_k - zbar)(z_k - zbar)',      theta <- theta + H^-1 sum_j (d_j - m q_j) z_j:

This is one Newton step a period on the log-likelihood, from a normal prior with mean (0, slope) and precision `ridge`. It is
not a maximum-likelihood fit, because errors of the early steps decay slowly. For a maximum-likelihood fit of two products,
(theta - truth)'H(theta - truth) is 3 on average; here it was 5.5 after 2,000 single buyers and 4.7 after 8,000, in 48 lanes.
The state has a square root of H^-1, updated by n + 1 rank-one updates (`linear_model`), about (n + 1)^3 operations. The
price of product j is optimal for theta, with unit costs c_j and the same mark-up on all products (`oracles.logit_pricing`),

    p_j = c_j + (width / b) (1 + W(sum_k exp(a_k - b (c_k - middle_k) / width - 1))) + shock width t^(-1/4) e_tj,

with independent fair signs e_tj, clipped to the interval. For setting prices b is at least `LEAST`.

Regret: O(sqrt(T) log T) times the number of parameters, for shocks of this order. Without shocks prices converge before the
data separate the slope b from the levels a, and regret is linear. Departures: the authors' product features are here one
constant level for each product, and one slope for all, as in the market; their ridge grows as log t, ours is constant.

Source: V. Goyal, N. Perivier (2021), "Dynamic pricing and assortment under a contextual MNL demand", arXiv:2110.10018.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.numerics import wright_omega
from jaxprice.policies.parts import scale, totals
from jaxprice.policies.parts.linear_model import Model
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Interval, Policy

LEAST = 0.5  # smallest slope for setting prices


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      low, high, cost: price intervals and unit costs, float `[n]`.
      model: theta and a square root of H^-1, float `[n + 1]` and `[n + 1, n + 1]`.
      time: number of the next period, from 1, int scalar.
      buyers: number of buyers a period.
    """

    low: jax.Array
    high: jax.Array
    cost: jax.Array
    model: Model
    time: jax.Array
    buyers: int = struct.field(pytree_node=False)

    def units(self, prices):
        """y of prices, float `[n]`."""
        return (prices - (self.low + self.high) / 2) / self.width()

    def width(self):
        """Width of the widest price interval."""
        return scale.or_one(jnp.max(self.high - self.low))

    def best_prices(self):
        """The optimal prices for theta, not clipped, float `[n]`."""
        slope = jnp.maximum(self.model.mean[-1], LEAST)
        utility = self.model.mean[:-1] - slope * self.units(self.cost)
        return self.cost + self.width() / slope * (1 + wright_omega(jax.nn.logsumexp(utility - 1)))


@policy_maker(source="Goyal and Perivier (2021)", regret="n sqrt(T) log T", feedback="choices")
def mnl_newton(shock=0.1, ridge=0.1, slope=5.0):
    """Multinomial logit pricing by online Newton steps and price shocks.

    Args:
      shock: size of the shocks at t = 1, as a share of the widest price interval, at least 0; may be traced.
      ridge: precision of the prior on each parameter, above 0; may be traced.
      slope: mean of the prior on b, the decrease of utility over the widest interval, above 0; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market that does not price several products in intervals, or whose
        buyers do not choose between products.
    """
    checks.number("shock", shock, low=0)
    checks.number("ridge", ridge, low=1e-6)
    checks.number("slope", slope, low=1e-6)

    def init(key, problem):
        del key
        space = problem.action_space
        if not isinstance(space, Interval) or not space.shape or problem.noise != "bernoulli":
            raise ValueError("mnl_newton prices several products in intervals for buyers who choose one, unlike this market")
        n = space.shape[0]
        low, high, cost = (
            jnp.broadcast_to(jnp.asarray(x, jnp.float32), (n,)) for x in (problem.low, problem.high, problem.cost)
        )
        mean = jnp.zeros(n + 1, jnp.float32).at[n].set(slope)
        factor = jnp.eye(n + 1, dtype=jnp.float32) * jnp.asarray(ridge, jnp.float32) ** -0.5
        return State(low, high, cost, Model(mean, factor, jnp.zeros_like(mean)), jnp.int32(1), problem.buyers)

    def act(key, state, observation):
        del observation
        up = jax.random.bits(key, state.low.shape, jnp.uint32) >> 31 == 0
        size = shock * state.width() * state.time.astype(jnp.float32) ** -0.25
        return jnp.clip(state.best_prices() + jnp.where(up, size, -size), state.low, state.high)

    def update(key, state, transition):
        del key
        model, y = state.model, state.units(transition.price)
        n = y.shape[0]
        q = jax.nn.softmax(jnp.append(model.mean[:n] - model.mean[n] * y, jnp.float32(0)))  # nothing is last
        sold = jnp.append(transition.demand, jnp.float32(0))
        features = jnp.concatenate([jnp.eye(n, dtype=jnp.float32), -y[:, None]], axis=1)
        features = jnp.concatenate([features, jnp.zeros((1, n + 1), jnp.float32)], axis=0)
        centred = features - jnp.sum(q[:, None] * features, axis=0)[None]

        def learn(k, factor):
            weight = state.buyers * q[k]
            f, g, r = Model(model.mean, factor).gain(centred[k], weight)
            return Model(model.mean, factor).shrink(f, g, r, weight)

        factor = jax.lax.fori_loop(0, n + 1, learn, model.factor)
        gradient = jnp.sum((sold - state.buyers * q)[:, None] * features, axis=0)
        inner = jnp.sum(gradient[:, None] * factor, axis=0)
        step, long = jnp.sum(factor * inner[None], axis=1), state.time >= totals.LONG
        mean, lost = totals.plus(model.mean, model.lost, step, long)
        return state.replace(model=Model(mean, factor, lost), time=state.time + 1)

    return Policy(init, act, update)
