"""Distributions of the units that are sold in a period, given a linear predictor: densities and survival functions.

In a period `n` visits meet one price. With linear predictor eta, each visit has the mean demand

    D = exp(eta)                      link "log",
    D = 1 / (1 + exp(-eta))           link "logit",

and the units y that are sold have one of the laws

    Binomial(n, D)                    family "bernoulli": each visit buys one unit or none,
    Poisson(m),  m = n D              family "poisson",
    NB2: mean m, variance m + a m^2   family "negative_binomial", with dispersion a > 0 (gamma mixture of Poisson laws).

If a period sold out, its sales c are only a lower bound of the demand Y. Its contribution is P(Y >= c) instead of P(Y = c).
Both laws of counts obey P(k + 1) = P(k) rho(k), rho(k) = m (1 + a k) / ((1 + a m) (k + 1)), with a = 0 for Poisson. Hence

    P(Y >= c) = 1 - P(c) [1 / rho(c-1) + 1 / (rho(c-1) rho(c-2)) + ...]       c terms,
    P(Y >= c) = P(c) [1 + rho(c) + rho(c) rho(c+1) + ...].

The code uses the second form where c is far above the mean, since the first one loses all digits there.

Sources: A. C. Cameron, P. K. Trivedi (2013), Regression Analysis of Count Data, doi:10.1017/CBO9781139013567 (NB2, section
3.3; censored counts, section 4.3). R. Winkelmann (2008), Econometric Analysis of Count Data, doi:10.1007/978-3-540-78389-3.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln, xlogy
from jaxtyping import Bool, Float, Num

FAMILIES = ("bernoulli", "poisson", "negative_binomial")
LINKS = ("log", "logit")
TAIL = 256  # terms of the upper tail that are summed; the rest is a geometric series


def largest_bound(units: Num[np.ndarray, "*n"], censored: Bool[np.ndarray, "*n"]) -> int:
    """The argument `largest` for NumPy data: a power of two, so that few sizes are compiled; 0 if no period sold out."""
    return 1 << int(max(units[censored].max() - 1, 0)).bit_length() if censored.any() else 0


def log_mean(eta: Float[Array, "*n"], link: str) -> Float[Array, "*n"]:
    """Logarithm of the mean demand of one visit, same shape as `eta`."""
    return eta if link == "log" else jax.nn.log_sigmoid(eta)


def log_likelihood(
    eta: Float[Array, ""],
    log_dispersion: Num[Array, ""],
    units: Num[Array, ""],
    visits: Num[Array, ""],
    censored: Bool[Array, ""],
    *,
    family: str,
    link: str,
    largest: int = 0,
) -> Float[Array, ""]:
    """Log likelihood of one period; all arguments are scalars.

    Args:
      eta: linear predictor.
      log_dispersion: log a; not used by the other families.
      units: units sold, or their lower bound.
      visits: visits n, above 0.
      censored: whether the period sold out; not used if `largest` is zero.
      family, link: as in the docstring of the module.
      largest: largest lower bound among the data, static; 0 if no period sold out.
    """
    log_d = log_mean(eta, link)
    if family == "bernoulli":
        rest = jnp.log1p(-jnp.exp(jnp.minimum(log_d, -1e-12))) if link == "log" else jax.nn.log_sigmoid(-eta)
        ways = gammaln(visits + 1) - gammaln(units + 1) - gammaln(visits - units + 1)
        inside = ways + jnp.where(units > 0, units * log_d, 0.0) + jnp.where(visits > units, (visits - units) * rest, 0.0)
        return jnp.where((log_d < 0) | (visits == units), inside, -jnp.inf)
    log_m = jnp.log(visits) + log_d
    dispersion = jnp.exp(log_dispersion) if family == "negative_binomial" else 0.0
    exact = log_probability(units, log_m, dispersion, family)
    if not largest:
        return exact
    return jnp.where(censored, log_survival(units, log_m, dispersion, family, largest), exact)


def log_probability(
    units: Num[Array, ""], log_m: Num[Array, ""], dispersion: Num[Array, ""] | float, family: str
) -> Float[Array, ""]:
    """log P(Y = units) of a count with the given log mean, scalar."""
    if family == "poisson":
        return units * log_m - jnp.exp(log_m) - gammaln(units + 1)
    r, m = 1 / dispersion, jnp.exp(log_m)
    ways = gammaln(units + r) - gammaln(r) - gammaln(units + 1)
    return ways - r * jnp.log1p(dispersion * m) + units * (jnp.log(dispersion) + log_m - jnp.log1p(dispersion * m))


def log_survival(
    units: Num[Array, ""], log_m: Num[Array, ""], dispersion: Num[Array, ""] | float, family: str, largest: int
) -> Float[Array, ""]:
    """log P(Y >= units) of a count with the given log mean, scalar; `units` is at most `largest`."""
    m = jnp.exp(log_m)
    units = jnp.asarray(units, m.dtype)
    far = units > m + 4 * jnp.sqrt(m + dispersion * m * m) + 4

    def rho(k, m):
        return m * (1 + dispersion * k) / ((1 + dispersion * m) * (k + 1))

    def below(j, carry):
        product, total = carry
        k = near - j - 1
        product = jnp.where(k >= 0, product / rho(jnp.maximum(k, 0.0), m), 0.0)
        return product, total + product

    def above(j, carry):
        product, total = carry
        product = product * rho(units + j, low)
        return product, total + product

    one, zero = jnp.ones_like(m), jnp.zeros_like(m)
    near = jnp.where(far, 0.0, units)
    under = jax.lax.fori_loop(0, largest, below, (one, zero))[1]
    log_near = log_probability(near, log_m, dispersion, family)
    share = jnp.exp(log_near) * under
    head = jnp.log1p(-jnp.minimum(share, 1 - 1e-12))
    low = jnp.where(far, m, jnp.minimum(m, 0.5 * (units + 1)))  # where this branch is not used, any mean that converges
    last, over = jax.lax.fori_loop(0, TAIL, above, (one, one))
    ratio = rho(units + TAIL, low)
    tail = log_probability(units, log_m, dispersion, family) + jnp.log(over + last * ratio / (1 - ratio))
    return jnp.where(units <= 0, xlogy(0.0, m), jnp.where(far, tail, head))
