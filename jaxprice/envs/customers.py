"""Customers of a storefront: their payments, choices and satisfaction (see `storefront`).

| offer | cost of n units at price p |
|---|---|
| "none" | p n |
| "percentage" | (1 - discount) p n |
| "coupon" | (p n - coupon)^+ for those who redeem it, which depends on their type; p n for others |
| "spend_and_save" | p n - saving if p n >= threshold, otherwise p n |

The customer buys n = 1, ..., U units here, or from the competitor, or nothing, by a multinomial logit with utilities

    u_n = appeal_t + season_f + loyalty l + fit_ti + exposure e + promotion_f 1{offer} + taste_n - sensitivity_t (cost of n),
    u_rival = rival - sensitivity_t (price of c),   u_nothing = 0.

If it bought here, it is then satisfied with probability S(contentment + sensitivity_t (price of c - unit price paid)), with
S the logistic function; otherwise with probability `aside`.

Components of the reward: "profit" (money paid - cost n - exposure_cost e), "conversion" (1 after a purchase here),
"order_value" (money paid), "market_share" (1 after a purchase here, -1 after one from the competitor) and "satisfaction" (1
if satisfied).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks

OFFERS = ("none", "percentage", "coupon", "spend_and_save")
COMPONENTS = ("profit", "conversion", "order_value", "market_share", "satisfaction")


@struct.dataclass
class Params:
    """One market with T types, N phases, C competitor levels, K prices and I products.

    Attributes:
      types: probability of each type, float `[T]`.
      appeal, sensitivity, redemption: of each type, float `[T]`.
      fit: appeal of each product to each type, float `[T, I]`.
      season, promotion: utility of each phase, and additional utility of an offer in it, float `[N]`.
      tastes: added utility of 1..U units, float `[U]`.
      prices: the list prices, float `[K]`.
      competitor_prices: float `[C]`.
      competition: probability of the competitor's next level given its level and our price, float `[C, K, C]`.
      rival, loyalty, exposure, contentment: utilities.
      aside, rise, fall: probabilities.
      discount: share; coupon, saving, threshold, exposure_cost, cost (of a unit): money.
      weights: weights of `COMPONENTS`, float `[5]`, nonnegative, with sum one.
      max_steps_in_episode: horizon.
      worth: bias of each (phase, competitor, loyalty), float `[S]`; `solve` fills in this and the following fields.
      regrets: regret of each action, float `[S, T, A]`.
      best: the best action, int `[S, T]`.
      value: average reward of the oracle.
    """

    types: ArrayLike
    appeal: ArrayLike
    sensitivity: ArrayLike
    redemption: ArrayLike
    fit: ArrayLike
    season: ArrayLike
    promotion: ArrayLike
    tastes: ArrayLike
    prices: ArrayLike
    competitor_prices: ArrayLike
    competition: ArrayLike
    rival: ArrayLike
    loyalty: ArrayLike
    exposure: ArrayLike
    contentment: ArrayLike
    aside: ArrayLike
    rise: ArrayLike
    fall: ArrayLike
    discount: ArrayLike
    coupon: ArrayLike
    saving: ArrayLike
    threshold: ArrayLike
    exposure_cost: ArrayLike
    cost: ArrayLike
    weights: ArrayLike
    max_steps_in_episode: ArrayLike
    worth: Any = None
    regrets: Any = None
    best: Any = None
    value: Any = None


def choices(phase, competitor, loyalty, customer, price, offer, product, exposure, redeems, params):
    """The choices of one customer: buy nothing, buy from the competitor, or buy 1..U units here.

    Args:
      phase, competitor, loyalty, customer: state of the market, and type of the customer; int scalars.
      price, offer, product, exposure: the action; index of the list price, of `OFFERS`, of the product, and the level.
      redeems: whether the customer would redeem a coupon, bool scalar.
      params: the market.

    Returns:
      Probabilities `[2 + U]`, and payments for 1..U units, float `[U]`.
    """
    price, rival = jnp.asarray(params.prices)[price], jnp.asarray(params.competitor_prices)[competitor]
    sensitivity = jnp.asarray(params.sensitivity)[customer]
    units = np.arange(1, params.tastes.shape[0] + 1, dtype=np.float32)
    full = price * units
    paid = jnp.where(offer == 1, full * (1 - params.discount), full)
    paid = jnp.where((offer == 2) & redeems, jnp.maximum(full - params.coupon, 0.0), paid)
    paid = jnp.where((offer == 3) & (full >= params.threshold), full - params.saving, paid)
    base = jnp.asarray(params.appeal)[customer] + jnp.asarray(params.season)[phase] + params.loyalty * loyalty
    base = base + jnp.ravel(params.fit)[customer * params.fit.shape[1] + product] + params.exposure * exposure
    base = base + jnp.asarray(params.promotion)[phase] * (offer > 0)
    here = base + jnp.asarray(params.tastes) - sensitivity * paid
    there = jnp.stack([jnp.zeros_like(rival), params.rival - sensitivity * rival])
    return jax.nn.softmax(jnp.append(there, here)), paid


def components(choice, paid, competitor, customer, exposure, params):
    """Components of the reward of one choice, float `[5]`; for satisfaction, its probability.

    Args:
      choice: 0 nothing, 1 the competitor, 1 + n units here; int scalar.
      paid: payment for n units, float scalar; meaningless for other choices.
      competitor, customer, exposure, params: as in `choices`.
    """
    units, here = jnp.maximum(choice - 1, 0).astype(jnp.float32), choice > 1
    paid, rival = jnp.where(here, paid, 0.0), jnp.asarray(params.competitor_prices)[competitor]
    sensitivity = jnp.asarray(params.sensitivity)[customer]
    content = jax.nn.sigmoid(params.contentment + sensitivity * (rival - paid / jnp.maximum(units, 1.0)))
    one = here.astype(jnp.float32)
    profit = paid - params.cost * units - params.exposure_cost * exposure
    share = one - (choice == 1).astype(jnp.float32)
    return jnp.stack([profit, one, paid, share, jnp.where(here, content, params.aside)])


def means(phase, competitor, loyalty, customer, price, offer, product, exposure, params):
    """Mean components of the reward, `[5]`."""

    def mean(redeems):
        chances, paid = choices(phase, competitor, loyalty, customer, price, offer, product, exposure, redeems, params)
        each = jnp.arange(chances.shape[0], dtype=jnp.int32), jnp.append(np.zeros(2, np.float32), paid)
        seen = jax.vmap(lambda choice, paid: components(choice, paid, competitor, customer, exposure, params))(*each)
        return jnp.sum(chances[:, None] * seen, axis=0)

    share = jnp.asarray(params.redemption)[customer]
    return (1 - share) * mean(False) + share * mean(True)


def default_customers(deviation, sizes, units, num_products, scale):
    """Default customers and their tastes. There is no published setting; the numbers are ours.

    Args:
      deviation: `shape -> array`, deviations of the numbers from their defaults, in standard deviations.
      sizes: numbers of ages, incomes, browsing states, phases, competitor levels, loyalty levels.
      units: largest order.
      num_products: products to show.
      scale: unit of money.

    Returns:
      A dict of entries of `Params`.
    """
    ages, incomes, browsings, phases = sizes[:4]

    def bands(count, spread, size):
        return jnp.linspace(-spread, spread, count) * (count > 1) + size * deviation((count,))

    def of_types(age, income, browsing):
        return jnp.ravel(age[:, None, None] + income[None, :, None] + browsing[None, None, :])

    flat = [jnp.zeros(count) for count in sizes[:3]]
    types = ages * incomes * browsings
    return {
        "types": jax.nn.softmax(0.3 * deviation((types,))),
        "appeal": 2 + of_types(bands(ages, 0.3, 0.2), flat[1], bands(browsings, 0.5, 0.2)),
        "sensitivity": 1.5 / scale * jnp.exp(of_types(flat[0], -bands(incomes, 0.25, 0.1), flat[2])),
        "redemption": jax.nn.sigmoid(of_types(bands(ages, 0.5, 0.3), flat[1], bands(browsings, 1.0, 0.3))),
        "fit": 0.5 * deviation((types, num_products)),
        "season": 0.4 * jnp.cos(2 * jnp.pi * jnp.arange(phases) / phases) + 0.2 * deviation((phases,)),
        "promotion": jnp.where(jnp.arange(phases) == phases - 1, 0.4, -0.2),  # outside the promotion, offers look cheap
        "tastes": 1.1 * jnp.log(jnp.arange(1.0, units + 1)),
        "rival": 1.7 + 0.2 * deviation(()),
        "loyalty": 0.5 * jnp.exp(0.2 * deviation(())),
        "exposure": 0.3 * jnp.exp(0.2 * deviation(())),
        "contentment": 0.3 + 0.2 * deviation(()),
        "aside": 0.2,
        "discount": 0.15,
        "coupon": 0.6 * scale,
        "saving": 0.4 * scale,
        "threshold": 2.5 * scale,
        "exposure_cost": 0.05 * scale,
    }


def weights_of(weights, shape):
    """`weights` as float32, nonnegative, with rows that sum to one; traced values pass unchecked."""
    if checks.is_traced(weights):
        return weights
    weights = checks.array("weights", weights, shape, low=0)
    if not np.allclose(weights.sum(axis=-1), 1, rtol=0, atol=1e-5):
        raise ValueError(f"weights must sum to one, got {weights.tolist()}")
    return weights


def offers_of(name, value):
    """The option `offers`."""
    try:
        offers = (value,) if isinstance(value, str) else tuple(value)
    except TypeError:
        raise ValueError(f"{name} must be names from {', '.join(OFFERS)}, got {checks.shown(value)}") from None
    for offer in offers:
        checks.choice(f"name in {name}", offer, OFFERS)
    if not offers or len(set(offers)) < len(offers):
        raise ValueError(f"{name} must be different names, at least one, got {offers}")
    return offers


def weighting_of(name, value):
    """The option `weights`."""
    del name
    return tuple(weights_of(value, (len(COMPONENTS),)).tolist())
