"""The memory of the seller for all markets, and the numbers that its network sees of it.

The memory has

* a belief about the demand curve under each of several hypotheses, see `demand_filter`: neighbouring prices and similar
  buyers share strength. A hypothesis is a prior of the curve (wide, or that of a family of markets), and a memory. Nearly
  all hypotheses remember every sale, two forget sales after 300 and 40 periods;
* the probability of each hypothesis, by its forecasts. After each period a small share returns to the prior probability that
  demand moves, so that this is believed soon. Evidence among the hypotheses that remember is kept: once all of them have
  learned the demand at the best price, they forecast alike, and only their early forecasts tell them apart;
* the number of plays and the demand of each action, which need no curve: right for arms, for kinks, in the long run.

Draws from the mixture of beliefs are draws of the demand curve. The network sees the probability that an action is best,
what it loses, what it teaches, and an index

    index = mean + sd (.658) log(1 + 1.028 (m - 1) / (N + 3.516))^.669,    N + 1 = x (1 - x) / sd^2,

with m periods left and x the demand, a fit to the finite-horizon Gittins index of Beta posteriors of up to 100 pulls (root
mean squared error .005). Arms without prices are independent; their index comes from their own plays.

It also has the units left of a stock. With n units a period left, a unit is worth the multiplier of the fluid problem

    worth = argmin_(y >= 0) n y + max_k D_k (w_k - y),

where D_k is expected demand and w_k the margin; w_k - worth then takes the place of w_k. All rewards are in units of what
the best price is expected to earn, and all counts are logarithms, so that nothing depends on the currency.

Sources: G. Gallego, G. van Ryzin (1994), doi:10.1287/mnsc.40.8.999 (the multiplier); M. Herbster, M. K. Warmuth (1998),
"Tracking the best expert", doi:10.1023/A:1007424614876 (the share that returns); H. Chernoff, A. J. Petkau (1986),
doi:10.1137/0907003 (the form of the index).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

from jaxprice.agents import demand_filter

PLAIN, CONTEXTUAL = 12, 2  # priors of markets without features, and with features besides the first prior
MOVING = (300.0, 40.0)  # memories of the hypotheses that forget, periods; their prior is the first one
MOVES = 0.05  # prior probability of each of them
RETURNS = 1 / 500  # share of the probabilities that returns to the prior ones in a period
INDEX = (0.658, 1.028, 3.516, 0.669)  # constants of the index
RECENT = 40.0  # periods of the recent plays
LOST, TOLD, ARM_INDEX = 3, 5, 8  # places in a row
ROW, COMMON = 21, 18  # numbers of an action, and of the market
ROUNDS, POINTS = 5, 9  # of the search for the worth of a unit


@struct.dataclass
class Memory:
    """The summary of the sales.

    Attributes:
      beliefs: a `demand_filter.Belief` for each hypothesis, leaves `[hypotheses, ...]`.
      chances: probability of each hypothesis, float `[hypotheses]`.
      sums: plays, and demand per buyer, of each action, of all periods and of recent ones, float `[2, 2, actions]`.
      stock: units left per buyer of a period, float scalar; zero if the stock is unlimited.
    """

    beliefs: Any
    chances: jax.Array
    sums: jax.Array
    stock: jax.Array


def plain_prior():
    """A wide prior of a demand curve: falling demand, smooth if in doubt. Mean, root and effects as in `demand_filter`."""
    mean = np.zeros(demand_filter.SHAPES, np.float32)
    mean[:2] = 0.8, -1.5
    waves = 0.6 / np.arange(1, demand_filter.WAVES + 1) ** 1.5
    root = np.diag(np.concatenate([[1.2, 1.5], waves])).astype(np.float32)
    return mean, root, np.array([[0, 0], [1.2, 1.0]], np.float32)


def plain_priors():
    """The wide prior for each hypothesis, on an axis `[PLAIN + CONTEXTUAL]`.

    Training replaces it by those of its markets.
    """
    return tuple(np.stack([part] * (PLAIN + CONTEXTUAL)) for part in plain_prior())


def start(facts, priors):
    """The `Memory` before the first period, for priors with the shapes of `plain_priors`."""
    features, actions = facts.context_size, facts.prices.shape[0]
    chosen = [0, *range(PLAIN, PLAIN + CONTEXTUAL)] if features else list(range(PLAIN))
    own = jax.tree.map(lambda x: jnp.asarray(x)[np.array(chosen + [0] * len(MOVING))], tuple(priors))
    sale = facts.noise == "bernoulli"
    beliefs = jax.vmap(lambda mean, root, effects: demand_filter.prior(mean, root, effects, features, sale))(*own)
    return Memory(
        beliefs=beliefs,
        chances=_first_chances(len(chosen)),
        sums=jnp.zeros((2, 2, actions), jnp.float32),
        stock=jnp.float32(0) if facts.stock is None else facts.stock,
    )


def _first_chances(kinds):
    """Probabilities of the hypotheses before the first sale."""
    still = 1 - MOVES * len(MOVING)
    return jnp.asarray([still / kinds] * kinds + [MOVES] * len(MOVING), jnp.float32)


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
    kinds = memory.chances.shape[0] - len(MOVING)
    memories = jnp.asarray([np.inf] * kinds + list(MOVING), jnp.float32)

    def learned(belief, prior, memory):
        return demand_filter.update(belief, prior, phi, seen.demand, law, memory)

    beliefs, likely = _once(jax.vmap(learned)(memory.beliefs, first.beliefs, memories))
    chances = memory.chances * jnp.exp(jnp.maximum(likely - likely.max(), -6.0))
    chances = _returned(chances / chances.sum(), first.chances)
    hot = jax.nn.one_hot(seen.action, actions, dtype=jnp.float32)
    kept = jnp.asarray([1.0, 1 - 1 / RECENT], jnp.float32)[:, None, None]
    after = Memory(
        beliefs=beliefs,
        chances=chances,
        sums=kept * memory.sums + jnp.stack([hot, hot * seen.demand])[None],
        stock=jnp.maximum(memory.stock - seen.demand, 0.0),
    )
    return jax.tree.map(lambda new, old: jnp.where(seen.action >= 0, new, old), after, memory)


def _returned(chances, first):
    """The probabilities after a share of them went back to the prior ones: of each hypothesis that forgets, and of all the
    others together, among which evidence is kept."""
    kinds = chances.shape[0] - len(MOVING)
    back = (1 - RETURNS) * chances + RETURNS * first
    still = back[:kinds].sum() * chances[:kinds] / jnp.maximum(chances[:kinds].sum(), 1e-30)
    return jnp.concatenate([still, back[kinds:]])


def draws(memory):
    """Draws of the coefficients from the mixture of beliefs, `[DRAWS, coefficients]`; each hypothesis has its share."""
    ends = jnp.cumsum(memory.chances) / memory.chances.sum()
    places = (jnp.arange(demand_filter.DRAWS, dtype=jnp.float32) + 0.5) / demand_filter.DRAWS
    which = jnp.sum(places[:, None] > ends[None, :-1], axis=1)
    return memory.beliefs.mean[which] + memory.beliefs.deviations[which, np.arange(demand_filter.DRAWS)]


def rows(memory: Any, facts: Any, seen: Any) -> tuple[Float[Array, "actions row"], Float[Array, " common"]]:
    """The rows of the actions, `[actions, ROW]`, and the row that they have in common, `[COMMON]`."""
    actions = facts.prices.shape[0]
    sale = facts.noise == "bernoulli"
    left = jnp.maximum(facts.horizon - seen.time.astype(jnp.float32), 1.0)
    phi = demand_filter.basis(demand_filter.places(facts.prices), _context(facts, seen.observation))
    curves = _once(demand_filter.demands(_once(draws(memory)), phi, sale))  # [draws, actions]
    plain = jnp.max(facts.prices) <= jnp.min(facts.prices)  # arms without prices: no curve
    expected = curves.mean(axis=0)
    rate = memory.stock / left
    if facts.stock is None:
        worth, profit, shares = jnp.float32(0), curves * facts.margins[None], None
    else:
        worths, shares = _once(jax.vmap(lambda demand: fluid(rate, demand, facts.margins))(curves))
        worth, profit = worths.mean(), curves * (facts.margins[None] - worths[:, None])
    margins = facts.margins - worth
    counts, sold = memory.sums[:, 0], memory.sums[:, 1]
    mean, deviation = _arm(facts, counts, sold)
    unit = jnp.where(plain, jnp.max(mean[0] * margins), profit.max(axis=-1).mean())
    unit = jnp.maximum(jnp.abs(unit), 1e-4)
    profit = _once(profit / unit)
    hit = jax.nn.one_hot(jnp.argmax(profit, axis=-1), actions, dtype=jnp.float32) if shares is None else shares
    hit = _once(hit)
    best, level, spread = hit.mean(axis=0), profit.mean(axis=0), profit.std(axis=0)
    told = hit.T @ (profit - level[None]) / demand_filter.DRAWS  # [best, actions]
    told = jnp.sqrt((told**2 / jnp.maximum(best[:, None], 1e-6)).sum(axis=0))  # what the best action explains
    above = jnp.maximum(profit - level.max(), 0.0).mean(axis=0)
    lost = (profit.max(axis=-1, keepdims=True) - profit).mean(axis=0)
    lead = lead_of(facts, expected, curves.std(axis=0), left) * jnp.abs(margins) / unit
    curve = jnp.stack(
        [
            jnp.clip(level - 1, -2.0, 2.0),
            jnp.minimum(spread, 2.0),
            jnp.log(best + 1e-3) / 3,
            jnp.log(jnp.clip(lost, 1e-3, 3.0)) / 3,
            jnp.minimum(expected, 2.0),
            jnp.log(told + 1e-3) / 3,
            jnp.log(above + 1e-3) / 3,
            _behind(level + lead),
        ],
        axis=-1,
    )
    curve = jnp.where(plain, 0.0, curve)
    each, wide = mean * margins[None] / unit, deviation * jnp.abs(margins)[None] / unit
    top = jnp.argmax(each[0])
    ahead = (each[0] - each[0, top]) / jnp.sqrt(wide[0] ** 2 + wide[0, top] ** 2 + 1e-6)
    arm_lead = lead_of(facts, mean[0], deviation[0], left) * jnp.abs(margins) / unit
    own = jnp.stack(
        [
            jnp.where(plain, _behind(each[0] + arm_lead), 0.0),
            jnp.clip(each[0] - 1, -2.0, 2.0),
            jnp.clip(each[1] - 1, -2.0, 2.0),
            jnp.minimum(wide[0], 2.0),
            jnp.log1p(counts[0]) / 3,
            jnp.log1p(counts[1]) / 3,
            jnp.clip(ahead, -5.0, 0.0),
            jnp.clip((mean[0] - expected) / (deviation[0] + 1e-3), -4.0, 4.0) * jnp.where(plain, 0.0, 1.0),
            (counts[0] == 0).astype(jnp.float32),
            (jnp.arange(actions) == seen.action).astype(jnp.float32),
            demand_filter.places(facts.prices),
            facts.prices,
            margins,
        ],
        axis=-1,
    )
    limited = jnp.float32(facts.stock is not None)
    common = jnp.stack(
        [
            jnp.log(left) / 4,
            left / facts.horizon,
            jnp.log(facts.horizon) / 7,
            jnp.log1p(seen.time.astype(jnp.float32)) / 4,
            plain.astype(jnp.float32),
            limited,
            jnp.float32(facts.context_size > 0),
            jnp.float32(facts.noise == "gaussian"),
            jnp.float32(facts.noise == "poisson"),
            jnp.log(jnp.float32(facts.buyers)) / 3,
            jnp.log(jnp.float32(actions)) / 3,
            jnp.log(unit) / 3,
            worth,
            limited * jnp.minimum(rate, 2.0),
            limited * jnp.log1p(memory.stock * facts.buyers) / 4,
        ]
    )
    believed = memory.chances[jnp.array([0, -2, -1])]
    return jnp.concatenate([curve, own], axis=-1), jnp.concatenate([common, believed])


def _once(array):
    """An array, or several, which XLA then computes once, instead of again in each fusion that reads it."""
    return jax.lax.optimization_barrier(array)


def _behind(index):
    """An index less the best one, at most three units behind."""
    return jnp.maximum(index - jnp.max(index), -3.0)


def lead_of(facts, mean, deviation, left):
    """The lead of the finite-horizon index over the mean of demand; see the module."""
    scale, inner, offset, power = INDEX
    if facts.noise == "bernoulli":
        variance = jnp.clip(mean * (1 - mean), 1e-3, 0.25) / facts.buyers
    elif facts.noise == "poisson":
        variance = jnp.maximum(mean, 1e-3) / facts.buyers
    else:
        variance = facts.noise_scale**2 + 1e-6
    seen = jnp.maximum(variance / jnp.maximum(deviation**2, 1e-9) - 1, 0.0)
    return deviation * scale * jnp.log1p(inner * (left - 1) / (seen + offset)) ** power


def fluid(
    rate: Any, demand: Float[Array, " actions"], margins: Float[Array, " actions"]
) -> tuple[Float[Array, ""], Float[Array, " actions"]]:
    """The worth of a unit in the fluid problem with `rate` units a period, and the share of the time of each price in it."""
    low, width = jnp.float32(0), jnp.maximum(jnp.max(margins), 0.0)
    high = width
    for _ in range(ROUNDS):
        points = low + width * jnp.linspace(0.0, 1.0, POINTS)
        costs = points * rate + jnp.max(demand[None] * (margins[None] - points[:, None]), axis=-1)
        middle = points[jnp.argmin(costs)]
        step = width / (POINTS - 1)
        low = jnp.maximum(middle - step, 0.0)
        width = jnp.minimum(middle + step, high) - low
    fast, slow = (
        jax.nn.one_hot(jnp.argmax(demand * (margins - worth)), margins.shape[0], dtype=jnp.float32)
        for worth in (low, low + width)
    )
    most, least = fast @ demand, slow @ demand
    share = jnp.where(most > rate, jnp.clip((rate - least) / jnp.maximum(most - least, 1e-9), 0.0, 1.0), 1.0)
    return low + width / 2, share * fast + (1 - share) * slow


def _context(facts, observation):
    """The present context: the last entries of an observation, at most three in size."""
    size = facts.context_size
    return jnp.clip(observation[observation.shape[0] - size :], -3.0, 3.0)


def _law(facts):
    """Variance of demand per buyer, `(mean, explained) -> variance`, where `explained` is what the belief adds; whether
    demand is a sale or none; and the number of buyers."""
    buyers = facts.buyers

    def variance(mean, explained):
        if facts.noise == "bernoulli":
            mean = jnp.clip(mean, 1e-4, 1 - 1e-4)
            return mean * (1 - mean) / buyers + (1 - 1 / buyers) * explained
        if facts.noise == "poisson":
            return jnp.maximum(mean, 0.02) / buyers + explained
        return facts.noise_scale**2 + 1e-6 + explained

    return variance, facts.noise == "bernoulli", buyers


def _arm(facts, counts, sold):
    """Posterior mean and standard deviation of demand of each action without a curve, `[2, actions]` both."""
    weight = counts * facts.buyers
    mean = (1 + sold * facts.buyers) / (2 + weight)
    if facts.noise == "bernoulli":
        return mean, jnp.sqrt(jnp.maximum(mean * (1 - mean), 1e-6) / (3 + weight))
    if facts.noise == "poisson":
        return mean, jnp.sqrt(jnp.maximum(mean, 1e-6) / (2 + weight))
    mean = (0.5 + sold) / (1 + counts)
    return mean, jnp.sqrt((facts.noise_scale**2 + 1e-6) / (1 + counts))
