"""Meta dynamic pricing: products in sequence; the prior of each product is estimated from the earlier products.

On the scale x in [-1, 1] of the price interval, demand of one buyer of product i is m_i + s_i x + N(0, noise^2). The
parameters theta_i = (m_i, s_i) ~ N(theta*, Sigma*) come from one distribution for all products; theta* is not known. For
each product:

- Tests: the first 2 k periods alternate between the prices x = -g and x = +g. The least-squares line theta^_i through these
  sales alone has the error covariance V = noise^2 / (2 k) diag(1, 1 / g^2), the same for every product.
- Thompson sampling in the other periods, as in `bayesian_linear_pricing`, with all sales of the product. The prior of the
  first `cautious` products is N((level, fall), std^2 I). After n products it is

      N(mean of theta^_1, ..., theta^_n, Sigma*)                                            covariance="known",
      N(the same, (C - V)_+ + widening sqrt(2 / (n - 1)) max(C_11, C_22) I)                 covariance="estimated",

  where Sigma* = spread^2 I, C is the sample covariance of the theta^_i, and (.)_+ sets negative eigenvalues to 0.

From the paper's abstract: Thompson sampling with a prior learned product by product, exploration of the prior against its
use, and a prior that is widened as a function of its estimation error. From memory of its algorithms Meta-DP (known
covariance) and Meta-DP++ (estimated and widened): a conservative prior for the first products, and a prior mean that is the
average of least-squares estimates from exploration periods at the start of each product. Departures: the tests alternate
between two prices instead of random ones, so that all estimates have one V; the formula of the widening, whose factor is the
standard error of a variance; no features of the product. The prior of a product never contains its own sales. If a drawn
line does not decrease, its best price is an end of the interval.

Regret over N products of T periods: O(N sqrt(T)) from Thompson sampling with the true prior, plus a meta-regret of order
sqrt(N T) with a known covariance, or N^(3/4) sqrt(T) with an estimated one, up to logarithms (first version of the paper).

Source: H. Bastani, D. Simchi-Levi, R. Zhu (2022), "Meta dynamic pricing: transfer learning across experiments",
doi:10.1287/mnsc.2021.4071, arXiv:1902.10918.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, line, product_order
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class Estimates:
    """Lines of the products that were tested so far.

    Attributes:
      count: number of lines, float scalar.
      mean: mean of the lines, float `[2]`.
      squares: centred sums of m^2, m s and s^2; float `[3]`.
    """

    count: jax.Array
    mean: jax.Array
    squares: jax.Array

    def add(self, one):
        """The estimates with one more line, float `[2]`."""
        after, d = self.count + 1, one - self.mean
        moved = jnp.stack([d[0] * d[0], d[0] * d[1], d[1] * d[1]]) * (self.count / after)
        return Estimates(after, self.mean + d / after, self.squares + moved)


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      time: number of periods played, int scalar.
      begin: first period of the present product, int scalar.
      catalogue: the products.
      market: the problem of the seller.
      noise: standard deviation of the demand of one buyer, float scalar.
      line: running line through all sales of the product, on the scale of x.
      tests: sum of test demands, and their sum with the sign of x, float `[2]`.
      estimates: lines of the products tested so far, including the present one.
      mean: prior mean of (m, s) of the product, float `[2]`.
      cov: prior covariance: var m, cov(m, s), var s; float `[3]`.
    """

    time: jax.Array
    begin: jax.Array
    catalogue: product_order.Catalogue
    market: line.Market
    noise: jax.Array
    line: line.Line
    tests: jax.Array
    estimates: Estimates
    mean: jax.Array
    cov: jax.Array

    def posterior(self):
        """Posterior of (m + s x', s), where x' is the mean of the posted prices: mean `[2]` and precision `[3]`."""
        sums, n = self.line.sums, (self.time - self.begin).astype(jnp.float32)
        (a, b, c), x = self.cov, sums.price
        a, b = a + 2 * x * b + x * x * c, b + x * c  # covariance of the prior, for the line at x'
        det = jnp.maximum(a * c - b * b, 1e-30)
        level, fall = self.mean[0] + x * self.mean[1], self.mean[1]
        p, q, r = c / det + n / self.noise**2, -b / det, a / det + sums.squares / self.noise**2
        error = n / self.noise**2 * (sums.demand - level), (sums.product - sums.squares * fall) / self.noise**2
        det = jnp.maximum(p * r - q * q, 1e-30)
        mean = level + (r * error[0] - q * error[1]) / det, fall + (p * error[1] - q * error[0]) / det
        return jnp.stack(mean), jnp.stack([p, q, r])


def positive_part(a, b, c):
    """The nearest positive semidefinite matrix to ((a, b), (b, c)), as its three numbers."""
    middle, radius = (a + c) / 2, jnp.sqrt(((a - c) / 2) ** 2 + b * b)
    low, high = jnp.maximum(middle - radius, 0.0), jnp.maximum(middle + radius, 0.0)
    share = jnp.where(radius > 0, (high - low) / (2 * jnp.maximum(radius, 1e-30)), 0.0)
    least = middle - radius
    return low + share * (a - least), share * b, low + share * (c - least)


@policy_maker(
    source="Bastani, Simchi-Levi and Zhu (2022)",
    regret="N sqrt(T), and sqrt(N T) for the prior, N products",
)
def meta_dynamic_pricing(
    products=10,
    covariance="known",
    spread=0.1,
    widening=1.0,
    cautious=3,
    tests=2,
    gap=0.5,
    level=0.5,
    fall=-0.25,
    std=0.5,
    noise=None,
):
    """Meta dynamic pricing with linear demand.

    Args:
      products: number of products, an int of at least 1.
      covariance: "known" or "estimated", the covariance of products.
      spread: standard deviation of m and s of a product around their means, if known, above 0; may be traced.
      widening: number of standard errors by which an estimated covariance is widened, at least 0; may be traced.
      cautious: number of products that start from the conservative prior, an int; at least 1, or 3 with an estimated
        covariance.
      tests: number k of pairs of test prices of each product, an int of at least 1.
      gap: distance g of the test prices from the middle of the interval, as a share of half of it, in [.01, 1].
      level, fall, std: the conservative prior, as in `bayesian_linear_pricing`; std above 0; may be traced.
      noise: standard deviation of the demand of one buyer (the mean of several); may be traced. By default the market's.

    Raises:
      ValueError: numbers out of range, an unknown covariance; at `init`, an action that is not one price of an interval.
    """
    product_order.check(products)
    checks.choice("covariance", covariance, ("known", "estimated"))
    checks.number("spread", spread, low=1e-4)
    checks.number("widening", widening, low=0)
    checks.positive_int("cautious", cautious)
    if covariance == "estimated" and cautious < 3:
        raise ValueError(f"cautious must be at least 3 products to estimate their covariance from, got {cautious!r}")
    checks.positive_int("tests", tests)
    checks.number("gap", gap, low=0.01, high=1)
    checks.number("level", level)
    checks.number("fall", fall)
    checks.number("std", std, low=1e-3)
    if noise is not None:
        checks.number("noise", noise, low=1e-6)

    def conservative():
        cov = jnp.asarray(std, jnp.float32) ** 2 * jnp.array([1, 0, 1], jnp.float32)
        return jnp.stack([jnp.asarray(level, jnp.float32), jnp.asarray(fall, jnp.float32)]), cov

    def prior(estimates, spread_of_noise):
        """Prior mean and covariance of the next product."""
        n = estimates.count
        if covariance == "known":
            cov = jnp.asarray(spread, jnp.float32) ** 2 * jnp.array([1, 0, 1], jnp.float32)
        else:
            a, b, c = estimates.squares / jnp.maximum(n - 1, 1.0)
            error = spread_of_noise**2 / (2 * tests)
            wide = widening * jnp.sqrt(2 / jnp.maximum(n - 1, 1.0)) * jnp.maximum(a, c) + 1e-8
            a, b, c = positive_part(a - error, b, c - error / gap**2)
            cov = jnp.stack([a + wide, b, c + wide])
        early, (mean, wide) = n < cautious, conservative()
        return jnp.where(early, mean, estimates.mean), jnp.where(early, wide, cov)

    def init(key, problem):
        del key
        name = "meta_dynamic_pricing"
        market, catalogue = line.market(problem, name), product_order.catalogue(problem, products, "sequence", name)
        nothing, two = jnp.float32(0), jnp.zeros(2, jnp.float32)
        return State(
            jnp.int32(0),
            jnp.int32(0),
            catalogue,
            market,
            arms.noise_of_signal(problem, noise),
            line.start(),
            two,
            Estimates(nothing, two, jnp.zeros(3, jnp.float32)),
            *conservative(),
        )

    def act(key, state, observation):
        del observation
        z1, z2 = samplers.normal_pair_from_word(jax.random.bits(key, (), jnp.uint32))
        mean, (p, q, r) = state.posterior()
        root = jnp.sqrt(p)
        slope = z2 / jnp.sqrt(jnp.maximum(r - (q / root) ** 2, 1e-30))
        drawn = mean[0] + (z1 - q / root * slope) / root, mean[1] + slope
        center, unit = state.market.middle()
        fall = drawn[1] / unit
        price = state.market.best_price(drawn[0] - fall * (center + unit * state.line.sums.price), fall)
        since = state.time - state.begin
        test = center + unit * gap * jnp.where(since % 2 == 0, -1.0, 1.0)
        return jnp.clip(jnp.where(since < 2 * tests, test, price), state.market.low, state.market.high)

    def update(key, state, transition):
        del key
        center, unit = state.market.middle()
        since, demand = state.time - state.begin, transition.demand / state.market.buyers
        added = state.line.add((transition.price - center) / unit, demand, since.astype(jnp.float32))
        sign = jnp.where(since % 2 == 0, -1.0, 1.0)
        sums = state.tests + jnp.where(since < 2 * tests, jnp.stack([demand, sign * demand]), 0.0)
        known = state.estimates.add(sums / (2 * tests) / jnp.stack([jnp.float32(1), jnp.asarray(gap, jnp.float32)]))
        tested = since + 1 == 2 * tests
        estimates = jax.tree.map(lambda new, old: jnp.where(tested, new, old), known, state.estimates)
        time = state.time + 1
        ends = state.catalogue.now(time) != state.catalogue.now(state.time)
        fresh = time, line.start(), jnp.zeros_like(sums), *prior(estimates, state.noise)
        same = state.begin, added, sums, state.mean, state.cov
        begin, added, sums, mean, cov = jax.tree.map(lambda new, old: jnp.where(ends, new, old), fresh, same)
        return state.replace(time=time, begin=begin, line=added, tests=sums, estimates=estimates, mean=mean, cov=cov)

    return Policy(init, act, update)
