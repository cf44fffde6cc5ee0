"""Hierarchical Thompson sampling: many related products, whose Gaussian posteriors share a common mean.

The mean signal theta_ik of product i at price k, and the common mean mu_k of all products, have the prior

    mu_k ~ N(m, q^2),      theta_ik ~ N(mu_k, s^2),      signal ~ N(theta_ik, noise^2),

independently over prices. After n_ik signals with sum S_ik the posterior is exact: with v_ik = n_ik s^2 + noise^2,

    mu_k | data ~ N(c_k, 1 / h_k),     h_k = 1 / q^2 + sum_i n_ik / v_ik,     c_k = (m / q^2 + sum_i S_ik / v_ik) / h_k,
    theta_ik | mu_k, data ~ N((mu_k / s^2 + S_ik / noise^2) w, w),            w = 1 / (1 / s^2 + n_ik / noise^2),

For the product i that is now sold, theta_ik is drawn, and the price with the largest weight * theta_ik is posted; signals
and weights are as in `ucb1`. The paper draws mu and then theta given mu. This policy draws theta from its marginal
distribution,

    theta_ik | data ~ N((c_k / s^2 + S_ik / noise^2) w,  w + w^2 / (s^4 h_k)),

which is equivalent with half the draws. Products are sold in sequence, in turns, or by a feature (`product_order`). With one
product this is `gaussian_thompson` with prior variance q^2 + s^2. The state holds 2 N K sums for N products and K prices.

Bayes regret with N products of T periods each: O(N sqrt(T log T)), with constants that decrease with s, plus the cost of
learning mu, which grows more slowly than N. Departure: the paper treats linear models in general; this is the K-armed case.

Source: J. Hong, B. Kveton, M. Zaheer, M. Ghavamzadeh (2022), "Hierarchical Bayesian bandits", AISTATS 2022.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, product_order, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      time: number of periods played, int scalar.
      catalogue: the products and their order.
      signal: the learning signal.
      noise: standard deviation of a signal, float scalar.
      counts: number of signals of each product, int `[num_prices, products]`.
      sums, lost: sums of these signals, and their rounding errors (`totals`), float `[num_prices, products]`.
      precision, center: h and c, posterior precision and mean of mu, float `[num_prices]`.
    """

    time: jax.Array
    catalogue: product_order.Catalogue
    signal: arms.Signal
    noise: jax.Array
    counts: jax.Array
    sums: jax.Array
    lost: jax.Array
    precision: jax.Array
    center: jax.Array

    def posterior(self, product, spread):
        """Posterior mean and variance of the signal of a product at each price, float `[num_prices]` each."""
        counts, sums = self.counts[:, product].astype(jnp.float32), self.sums[:, product]
        w = 1 / (1 / spread**2 + counts / self.noise**2)
        share = w / spread**2  # weight of mu
        return share * self.center + w * sums / self.noise**2, w + share**2 / self.precision


@policy_maker(
    source="Hong, Kveton, Zaheer and Ghavamzadeh (2022)",
    regret="N sqrt(T log T), N products",
    feedback="demand or reward",
    kinds={"mean": "numbers"},
)
def hierarchical_thompson(products=10, order="sequence", mean=0.5, std=0.5, spread=0.1, noise=None, signal="demand"):
    """Hierarchical Thompson sampling with Gaussian posteriors.

    Args:
      products: number of products, an int of at least 1.
      order: "sequence", "turns" or "features", the order of the products.
      mean, std: prior of the common mean; one mean, or one for each price; std above 0; may be traced.
      spread: standard deviation of a product's mean signal around the common mean, above 0; may be traced.
      noise: standard deviation of a signal; by default that of `arms.noise_of_signal`.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: numbers out of range, an unknown order or signal; at `init`, no price grid, or not one feature a product.
    """
    product_order.check(products, order)
    checks.number("mean", mean)
    checks.number("std", std, low=1e-6)
    checks.number("spread", spread, low=1e-6)
    if noise is not None:
        checks.number("noise", noise, low=1e-6)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        name = "hierarchical_thompson"
        learned, catalogue = arms.learn(problem, signal, name), product_order.catalogue(problem, products, order, name)
        zeros = jnp.zeros((problem.num_prices, products), jnp.float32)
        center = product_order.level(problem, mean, name)
        precision = jnp.broadcast_to(jnp.asarray(1 / std**2, jnp.float32), center.shape)
        known = arms.noise_of_signal(problem, noise)
        return State(jnp.int32(0), catalogue, learned, known, zeros.astype(jnp.int32), zeros, zeros, precision, center)

    def act(key, state, observation):
        center, variance = state.posterior(state.catalogue.now(state.time, observation), spread)
        z = samplers.normal(jax.random.bits(key, center.shape, jnp.uint32))
        return jnp.argmax(state.signal.weights * (center + z * jnp.sqrt(variance)))

    def update(key, state, transition):
        del key
        action = transition.action
        here = jnp.arange(products) == state.catalogue.now(state.time, transition.observation)
        pulls, signals = state.counts[action] + here.astype(jnp.int32), jnp.where(here, state.signal.of(transition), 0.0)
        sums, lost = totals.plus(state.sums[action], state.lost[action], signals, pulls >= totals.LONG)
        counts = pulls.astype(jnp.float32)
        v = counts * spread**2 + state.noise**2
        prior = jnp.broadcast_to(jnp.asarray(mean, jnp.float32), state.center.shape)[action]
        precision = 1 / std**2 + jnp.sum(counts / v)
        center = prior + jnp.sum((sums - counts * prior) / v) / precision
        return state.replace(
            time=state.time + 1,
            counts=state.counts.at[action].set(pulls),
            sums=state.sums.at[action].set(sums),
            lost=state.lost.at[action].set(lost),
            precision=state.precision.at[action].set(precision),
            center=state.center.at[action].set(center),
        )

    return Policy(init, act, update)
