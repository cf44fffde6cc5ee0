"""The memory of the seller for all markets, and the numbers that its network sees of it.

The memory has, for each of three time scales (all sales; the last 300 or so; the last 40 or so),

* a filter of the demand curve, `demand_filter`: neighbouring prices and similar buyers share strength;
* the number of plays and the demand of each action, which need no curve: right for arms, for kinks, in the long run;
* how much better it forecast the last hundred sales than the filter that forgets nothing: demand has moved if it did.

It also has the units left of a stock. With n units a period left, a unit is worth the multiplier of the fluid problem

    worth = argmin_(y >= 0) n y + max_k D_k (w_k - y),

where D_k is expected demand and w_k the margin; w_k - worth then takes the place of w_k. All rewards are in units of what
the best price is expected to earn, and all counts are logarithms, so that nothing depends on the currency.

Source of the multiplier: G. Gallego, G. van Ryzin (1994), doi:10.1287/mnsc.40.8.999.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

from jaxprice.agents import demand_filter

MEMORIES = (np.inf, 300.0, 40.0)  # periods
BEST = 2  # place in a row of a third of the logarithm of the probability that the action is best, under all sales
ROW = 7 * len(MEMORIES) + 3 * len(MEMORIES) + 7  # numbers of an action
COMMON = 14 + len(MEMORIES)  # numbers of the market
JUDGED = 100.0  # periods over which forecasts are compared
ROUNDS, POINTS = 5, 9  # of the search for the worth of a unit


@struct.dataclass
class Memory:
    """The summary of the sales.

    Attributes:
      beliefs: a `demand_filter.Belief` for each time scale, leaves `[scales, ...]`.
      sums: plays, and demand per buyer, of each action, float `[scales, 2, actions]`.
      ahead: sum of log-likelihoods of recent forecasts, minus that of the first scale, float `[scales]`.
      stock: units left per buyer of a period, float scalar; zero if the stock is unlimited.
    """

    beliefs: Any
    sums: jax.Array
    ahead: jax.Array
    stock: jax.Array


def plain_prior():
    """A wide prior of the filter: falling demand, smooth if in doubt. Training replaces it by that of its markets."""
    mean = np.zeros(demand_filter.SHAPES, np.float32)
    mean[:2] = 0.8, -1.5
    waves = 0.6 / np.arange(1, demand_filter.WAVES + 1) ** 1.5
    return mean, np.diag(np.concatenate([[1.2, 1.5], waves])).astype(np.float32), np.array([1.2, 1.0], np.float32)


def start(facts, mean, root, spread):
    """The `Memory` before the first period, for a prior as in `demand_filter.prior`."""
    belief = demand_filter.prior(mean, root, spread, facts.context_size, facts.noise == "bernoulli")
    scales = len(MEMORIES)
    return Memory(
        beliefs=jax.tree.map(lambda x: jnp.broadcast_to(x, (scales, *x.shape)), belief),
        sums=jnp.zeros((scales, 2, facts.prices.shape[0]), jnp.float32),
        ahead=jnp.zeros(scales, jnp.float32),
        stock=jnp.float32(0) if facts.stock is None else facts.stock,
    )


def observed(memory, first, facts, seen):
    """The memory after the last period; unchanged before the first one.

    Args:
      memory, first: the memory, and the one before the first period.
      facts, seen: see `inputs`.
    """
    actions = facts.prices.shape[0]
    place = demand_filter.places(facts.prices)[jnp.maximum(seen.action, 0)]
    phi = demand_filter.basis(place, _context(facts, seen.past))
    law = _law(facts)
    memories = jnp.asarray(MEMORIES, jnp.float32)

    def learned(belief, prior, memory):
        return demand_filter.update(belief, prior, phi, seen.demand, law, memory)

    beliefs = jax.vmap(learned)(memory.beliefs, first.beliefs, memories)
    hot = jax.nn.one_hot(seen.action, actions, dtype=jnp.float32)
    kept = (1 - 1 / memories)[:, None, None]
    losses = jax.vmap(lambda belief: _loss(belief, phi, seen.demand, law, facts.buyers))(memory.beliefs)
    after = Memory(
        beliefs=beliefs,
        sums=kept * memory.sums + jnp.stack([hot, hot * seen.demand])[None],
        ahead=memory.ahead * (1 - 1 / JUDGED) + jnp.clip(losses[0] - losses, -3.0, 3.0),
        stock=jnp.maximum(memory.stock - seen.demand, 0.0),
    )
    return jax.tree.map(lambda new, old: jnp.where(seen.action >= 0, new, old), after, memory)


def rows(memory: Any, facts: Any, seen: Any) -> tuple[Float[Array, "actions row"], Float[Array, " common"]]:
    """The rows of the actions, `[actions, ROW]`, and the row that they have in common, `[COMMON]`."""
    actions = facts.prices.shape[0]
    sale = facts.noise == "bernoulli"
    left = jnp.maximum(facts.horizon - seen.time.astype(jnp.float32), 1.0)
    phi = demand_filter.basis(demand_filter.places(facts.prices), _context(facts, seen.observation))
    curves = jax.vmap(lambda belief: demand_filter.demands(belief, phi, sale))(memory.beliefs)  # [scales, draws, actions]
    plain = jnp.max(facts.prices) <= jnp.min(facts.prices)  # arms without prices: no curve
    expected = curves.mean(axis=1)
    rate = memory.stock / left
    worth = jnp.float32(0) if facts.stock is None else worth_of_unit(rate, expected[0], facts.margins)
    margins = facts.margins - worth
    counts, sold = memory.sums[:, 0], memory.sums[:, 1]
    mean, deviation = _arm(facts, counts, sold)
    profit = curves * margins[None, None]
    unit = jnp.where(plain, jnp.max(mean[0] * margins), profit[0].max(axis=-1).mean())
    unit = jnp.maximum(jnp.abs(unit), 1e-4)
    profit = profit / unit
    hit = jax.nn.one_hot(jnp.argmax(profit, axis=-1), actions, dtype=jnp.float32)
    best, level, spread = hit.mean(axis=1), profit.mean(axis=1), profit.std(axis=1)
    told = jnp.einsum("sdj,sdk->sjk", hit, profit - level[:, None]) / demand_filter.DRAWS  # by the best action
    told = jnp.sqrt((told**2 / jnp.maximum(best[..., None], 1e-6)).sum(axis=1))
    above = jnp.maximum(profit - level.max(axis=-1)[:, None, None], 0.0).mean(axis=1)
    lost = (profit.max(axis=-1, keepdims=True) - profit).mean(axis=1)
    curve = jnp.stack(
        [
            jnp.clip(level - 1, -2.0, 2.0),
            jnp.minimum(spread, 2.0),
            jnp.log(best + 1e-3) / 3,
            jnp.log(jnp.clip(lost, 1e-3, 3.0)) / 3,
            jnp.minimum(expected, 2.0),
            jnp.log(told + 1e-3) / 3,
            jnp.log(above + 1e-3) / 3,
        ],
        axis=-1,
    )
    curve = jnp.where(plain, 0.0, curve)
    each, wide = mean * margins[None] / unit, deviation * jnp.abs(margins)[None] / unit
    arm = jnp.stack([jnp.clip(each - 1, -2.0, 2.0), jnp.minimum(wide, 2.0), jnp.log1p(counts) / 3], axis=-1)
    top = jnp.argmax(each[0])
    ahead = (each[0] - each[0, top]) / jnp.sqrt(wide[0] ** 2 + wide[0, top] ** 2 + 1e-6)
    last = (jnp.arange(actions) == seen.action).astype(jnp.float32)
    own = jnp.stack(
        [
            jnp.clip(ahead, -5.0, 0.0),
            jnp.clip((mean[0] - expected[0]) / (deviation[0] + 1e-3), -4.0, 4.0) * jnp.where(plain, 0.0, 1.0),
            (counts[0] == 0).astype(jnp.float32),
            last,
            demand_filter.places(facts.prices),
            facts.prices,
            margins,
        ],
        axis=-1,
    )
    side = [jnp.moveaxis(x, 0, 1).reshape(actions, -1) for x in (curve, arm)]
    common = jnp.stack(
        [
            jnp.log(left) / 4,
            left / facts.horizon,
            jnp.log(facts.horizon) / 7,
            jnp.log1p(seen.time.astype(jnp.float32)) / 4,
            plain.astype(jnp.float32),
            jnp.float32(facts.stock is not None),
            jnp.float32(facts.context_size > 0),
            jnp.float32(facts.noise == "gaussian"),
            jnp.float32(facts.noise == "poisson"),
            jnp.log(jnp.float32(facts.buyers)) / 3,
            jnp.log(jnp.float32(actions)) / 3,
            jnp.log(unit) / 3,
            jnp.float32(0) if facts.stock is None else worth,
            jnp.float32(0) if facts.stock is None else jnp.minimum(rate, 2.0),
            jnp.float32(0) if facts.stock is None else jnp.log1p(memory.stock * facts.buyers) / 4,
        ]
    )
    return jnp.concatenate([*side, own], axis=-1), jnp.concatenate([common, jnp.clip(memory.ahead[1:], -6.0, 6.0) / 3])


def worth_of_unit(rate, demand, margins):
    """The fluid worth of a unit: the multiplier of `rate` units a period, for `demand` and `margins` `[actions]`."""
    high = jnp.maximum(jnp.max(margins), 0.0)
    low, width = jnp.float32(0), high
    for _ in range(ROUNDS):
        points = low + width * jnp.linspace(0.0, 1.0, POINTS)
        costs = points * rate + jnp.max(demand[None] * (margins[None] - points[:, None]), axis=-1)
        middle = points[jnp.argmin(costs)]
        step = width / (POINTS - 1)
        low = jnp.maximum(middle - step, 0.0)
        width = jnp.minimum(middle + step, high) - low
    return low + width / 2


def _context(facts, observation):
    """The present context: the last entries of an observation, at most three in size."""
    size = facts.context_size
    return jnp.clip(observation[observation.shape[0] - size :], -3.0, 3.0)


def _law(facts):
    """Variance of demand per buyer, `(mean, explained) -> variance`, where `explained` is what the belief adds; and whether
    demand is a sale or none."""
    buyers = facts.buyers

    def variance(mean, explained):
        if facts.noise == "bernoulli":
            mean = jnp.clip(mean, 1e-4, 1 - 1e-4)
            return mean * (1 - mean) / buyers + (1 - 1 / buyers) * explained
        if facts.noise == "poisson":
            return jnp.maximum(mean, 0.02) / buyers + explained
        return facts.noise_scale**2 + 1e-6 + explained

    return variance, facts.noise == "bernoulli"


def _loss(belief, phi, demand, law, buyers):
    """Minus the log-likelihood of demand under the forecast, up to a constant that no belief changes."""
    variance, sale = law
    latent, spread = belief.mean @ phi, jnp.mean((belief.deviations @ phi) ** 2)
    if sale:
        mean = jnp.clip(jax.scipy.special.ndtr(latent / jnp.sqrt(1 + spread)), 1e-4, 1 - 1e-4)
        return -buyers * (demand * jnp.log(mean) + (1 - demand) * jnp.log(1 - mean))
    whole = variance(latent, spread)
    return 0.5 * ((demand - latent) ** 2 / whole + jnp.log(whole))


def _arm(facts, counts, sold):
    """Posterior mean and standard deviation of demand of each action without a curve, `[scales, actions]` both."""
    weight = counts * facts.buyers
    mean = (1 + sold * facts.buyers) / (2 + weight)
    if facts.noise == "bernoulli":
        return mean, jnp.sqrt(jnp.maximum(mean * (1 - mean), 1e-6) / (3 + weight))
    if facts.noise == "poisson":
        return mean, jnp.sqrt(jnp.maximum(mean, 1e-6) / (2 + weight))
    mean = (0.5 + sold) / (1 + counts)
    return mean, jnp.sqrt((facts.noise_scale**2 + 1e-6) / (1 + counts))
