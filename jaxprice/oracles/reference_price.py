"""Reference prices: buyers compare the price p with a reference r that follows past prices.

Demand is d = a - b p + e+ (r - p)^+ - e- (p - r)^+ with memory r' = zeta r + (1 - zeta) p, gain effect e+ and loss effect
e-.

- Smooth case e+ = e- = e, discount g: the optimal path converges to
  p** = a / (2 (b + e) - e - g (1 - zeta) e / (1 - g zeta)). A seller who looks one period ahead converges to a / (2 b + e).
- One period: with B = b + e, the best price is (a + e r) / (2 B), with e+ below the reference and with e- above it. If
  losses weigh at least as much as gains, one of the two candidates applies or, between them, the reference itself. If gains
  weigh more, both may apply and the better one is optimal.
- Oligopoly: firm i's product has the logit utility a_i - b_i p_i + c_i (r_i - p_i), and the outside option has utility 0. A
  stationary equilibrium has r = p and 1/p_i = (b_i + c_i)(1 - d_i), the best price of every firm at these references. Given
  the prices of its rivals, the condition of firm i is solved by Lambert's W, with h_i = b_i/(b_i + c_i):
  p_i = 1/(b_i + c_i) + W(exp(a_i - log E_i + log h_i - h_i)) / b_i, E_i = 1 + sum_{k != i} exp(a_k - b_k p_k).
  The solution increases in the rivals' prices, so iterations that start below the equilibrium increase to it.

Sources: G. Fibich, A. Gavious and O. Lowengart (2003), "Explicit solutions of optimization models and differential games
with nonsmooth (asymmetric) reference-price effects", doi:10.1287/opre.51.5.721.16758; A. V. den Boer and N. B. Keskin
(2022), "Dynamic pricing with demand learning and reference effects", doi:10.1287/mnsc.2021.4234; M. A. Guo, D. Ying,
J. Lavaei and Z.-J. M. Shen (2023), "No-regret learning in dynamic competition with reference effects under logit demand",
arXiv:2305.17567.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from jaxprice import checks
from jaxprice.numerics import wright_omega
from jaxprice.oracles import logit_pricing

TINY = float(np.finfo(np.float32).tiny)


def steady_price(
    intercept: Num[ArrayLike, "*#n"],
    slope: Num[ArrayLike, "*#n"],
    effect: Num[ArrayLike, "*#n"],
    memory: Num[ArrayLike, "*#n"],
    discount: Num[ArrayLike, "*#n"],
) -> Float[Array, "..."]:
    """The limit of the optimal discounted price path, for gains and losses of equal effect.

    Args:
      intercept: demand at price zero, float `[...]`.
      slope: decrease of demand for a unit of price, > 0, float `[...]`.
      effect: increase of demand for a unit of reference price minus price, >= 0, float `[...]`.
      memory: zeta, the weight of the old reference price, in `[0, 1]`, float `[...]`.
      discount: discount of one period, in `[0, 1)`, float `[...]`; zero is the seller who looks one period ahead.

    Returns:
      float `[...]`, in units of the price.

    Raises:
      ValueError: a number is out of its range.
    """
    _check_demand(intercept, slope, effect=effect)
    checks.number("memory", memory, low=0, high=1)
    if not checks.is_traced(discount) and not np.all((np.asarray(discount) >= 0) & (np.asarray(discount) < 1)):
        raise ValueError(f"discount must be in [0, 1), got {discount!r}")
    ahead = discount * (1 - memory) / (1 - discount * memory)
    return jnp.asarray(intercept / (2 * slope + effect * (1 - ahead)))


def best_reply(
    reference: Num[ArrayLike, "*#n"],
    intercept: Num[ArrayLike, "*#n"],
    slope: Num[ArrayLike, "*#n"],
    gain: Num[ArrayLike, "*#n"],
    loss: Num[ArrayLike, "*#n"],
) -> Float[Array, "..."]:
    """The price with the largest revenue of one period, for a given reference price and zero cost.

    Args:
      reference: float `[...]`, in units of the price, nonnegative.
      intercept, slope: parameters of demand at the reference price, float `[...]`, slope > 0.
      gain, loss: effects e+ and e- >= 0 of a unit of price below and above the reference, float `[...]`.

    Returns:
      float `[...]`.

    Raises:
      ValueError: a number is out of its range.
    """
    checks.number("reference", reference, low=0)
    _check_demand(intercept, slope, gain=gain, loss=loss)
    below = jnp.minimum((intercept + gain * reference) / (2 * (slope + gain)), reference)
    above = jnp.maximum((intercept + loss * reference) / (2 * (slope + loss)), reference)
    revenue_below = below * (intercept - slope * below + gain * (reference - below))
    revenue_above = above * (intercept - slope * above - loss * (above - reference))
    return jnp.where(revenue_above > revenue_below, above, below)


def opga_equilibrium(
    intercept: Num[ArrayLike, "*lanes n"], slope: Num[ArrayLike, "*lanes n"], effect: Num[ArrayLike, "*lanes n"]
) -> Float[Array, "*lanes n"]:
    """Stationary equilibrium prices of single-product firms under logit demand with reference prices.

    Args:
      intercept: a, utilities at price zero, float `[n]` or `[..., n]`.
      slope: b > 0, decrease of utility for a unit of price, same shape.
      effect: c >= 0, increase of utility for a unit of reference price minus price, same shape.

    Returns:
      prices, float `[..., n]`.

    Raises:
      ValueError: shapes differ, or a number is out of its range.
    """
    shapes = [np.shape(x) for x in (intercept, slope, effect)]
    if not shapes[0] or len(set(shapes)) > 1:
        raise ValueError(f"intercept, slope and effect must all be [..., n], got shapes {shapes}")
    _check_demand(intercept, slope, effect=effect)
    dtype = jnp.result_type(intercept, slope, effect, float)
    a, b, c = (jnp.asarray(x, dtype) for x in (intercept, slope, effect))
    share = b / (b + c)

    def reply(_, prices):
        rivals = logit_pricing.rivals_log_sum(a - b * prices)
        return 1 / (b + c) + wright_omega(a - rivals + jnp.log(share) - share) / b

    return jax.lax.fori_loop(0, logit_pricing.ROUNDS, reply, 1 / (b + c))


def _check_demand(intercept, slope, **effects):
    checks.number("intercept", intercept)
    checks.number("slope", slope, low=TINY)
    for name, effect in effects.items():
        checks.number(name, effect, low=0)
