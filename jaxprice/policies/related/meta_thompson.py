"""Meta-Thompson sampling: products in sequence; each starts Thompson sampling from a random draw of the prior mean.

The model is that of `hierarchical_thompson`: mu_k ~ N(m, q^2), theta_ik ~ N(mu_k, s^2), signal ~ N(theta_ik, noise^2). When
a product starts, a prior mean is drawn from its posterior given the earlier products,

    mu~_k ~ N(c_k, 1 / h_k),       h_k = 1 / q^2 + sum_j n_jk / v_jk,       c_k = (m / q^2 + sum_j S_jk / v_jk) / h_k,

where product j before it had n_jk signals with sum S_jk, and v_jk = n_jk s^2 + noise^2. The product is then sold by
`gaussian_thompson` with the prior N(mu~_k, s^2), as if this were the true prior. The draw explores the prior: a product with
a high draw is tried at prices that earlier products abandoned. Product m of N starts in period floor(m T / N) of T, counted
from 0 (`product_order`). With one product and q = 0 this is `gaussian_thompson`.

Regret over N products, each of T periods: that of Thompson sampling with the true prior, O(N sqrt(T)), plus a cost of not
knowing the prior that grows as sqrt(N), up to logarithms (Bayes regret).

Sources: B. Kveton, M. Konobeev, M. Zaheer, C.-W. Hsu, M. Mladenov, C. Boutilier, C. Szepesvari (2021), "Meta-Thompson
sampling", arXiv:2102.06129; S. Basu, B. Kveton, M. Zaheer, C. Szepesvari (2021), "No regrets for learning the prior in
bandits", arXiv:2107.06196 (they keep the distribution of mu instead of a draw, as `hierarchical_thompson` does).
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, product_order
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      time: number of periods played, int scalar.
      catalogue: the products.
      signal: the learning signal.
      noise: standard deviation of a signal, float scalar.
      arms: sums over the signals of the present product.
      prior: the prior mean drawn for it, float `[num_prices]`.
      precision, center: h and c of the earlier products, float `[num_prices]`.
    """

    time: jax.Array
    catalogue: product_order.Catalogue
    signal: arms.Signal
    noise: jax.Array
    arms: arms.Sums
    prior: jax.Array
    precision: jax.Array
    center: jax.Array

    @property
    def counts(self):
        """Number of signals of the present product, float `[num_prices]`."""
        return self.arms.pulls.astype(jnp.float32)

    @property
    def sums(self):
        """Sums of the signals of the present product, float `[num_prices]`."""
        return self.arms.sums


@policy_maker(
    source="Kveton et al. (2021)",
    regret="N sqrt(T), N products",
    feedback="demand or reward",
    kinds={"mean": "numbers"},
)
def meta_thompson(products=10, mean=0.5, std=0.5, spread=0.1, noise=None, signal="demand"):
    """Meta-Thompson sampling with Gaussian posteriors.

    Args:
      products: number of products, an int of at least 1.
      mean, std: prior of the prior mean; one mean, or one for each price; std above 0; may be traced.
      spread: standard deviation of a product's mean signal around the prior mean, above 0; may be traced.
      noise: standard deviation of a signal; by default that of `arms.noise_of_signal`.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: numbers out of range, or an unknown signal; at `init`, no price grid.
    """
    product_order.check(products)
    checks.number("mean", mean)
    checks.number("std", std, low=1e-6)
    checks.number("spread", spread, low=1e-6)
    if noise is not None:
        checks.number("noise", noise, low=1e-6)
    arms.check_signal(signal)

    def guess(key, precision, center):
        return center + samplers.normal(jax.random.bits(key, center.shape, jnp.uint32)) / jnp.sqrt(precision)

    def init(key, problem):
        name = "meta_thompson"
        learned, catalogue = arms.learn(problem, signal, name), product_order.catalogue(problem, products, "sequence", name)
        center = product_order.level(problem, mean, name)
        precision = jnp.broadcast_to(jnp.asarray(1 / std**2, jnp.float32), center.shape)
        known, nothing = arms.noise_of_signal(problem, noise), arms.no_sums(problem)
        prior = guess(key, precision, center)
        return State(jnp.int32(0), catalogue, learned, known, nothing, prior, precision, center)

    def act(key, state, observation):
        del observation
        precision = 1 / spread**2 + state.counts / state.noise**2
        center = (state.prior / spread**2 + state.sums / state.noise**2) / precision
        z = samplers.normal(jax.random.bits(key, precision.shape, jnp.uint32))
        return jnp.argmax(state.signal.weights * (center + z / jnp.sqrt(precision)))

    def update(key, state, transition):
        seen = state.arms.add(transition.action, state.signal.of(transition))
        counts, sums = seen.pulls.astype(jnp.float32), seen.sums
        time, catalogue = state.time + 1, state.catalogue
        v = counts * spread**2 + state.noise**2
        precision = state.precision + counts / v
        center = state.center + (sums - counts * state.center) / (v * precision)
        ends = catalogue.now(time) != catalogue.now(state.time)
        return state.replace(
            time=time,
            arms=jax.tree.map(lambda x: jnp.where(ends, jnp.zeros_like(x), x), seen),
            prior=jnp.where(ends, guess(key, precision, center), state.prior),
            precision=jnp.where(ends, precision, state.precision),
            center=jnp.where(ends, center, state.center),
        )

    return Policy(init, act, update)
