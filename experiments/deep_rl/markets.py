"""The six markets of `deep_rl`: small enough that every seller's value is exact, each with another reason to plan ahead.

| market | what the price of today changes | optimum |
|---|---|---|
| FiniteInventory | the stock that is left: Ferreira et al.'s four prices | dynamic programme over a season |
| NetworkRevenue | two stocks, of which one product uses both | dynamic programme over a season (`network_dp`) |
| ReferencePrice | the reference of gain-seeking buyers, for whom price cycles are best | long-run average |
| Replenishment | the inventory, whose orders have a fixed cost | long-run average |
| Storefront | loyalty and the competitor, for two types of customers in two phases | long-run average |
| ReactiveRival | the rival's next price: it undercuts down to a bound, then starts again from above | long-run average |

Three of them are also sold at any price of an interval (`any_price`), for learners of continuous prices. Their optimum is
that of the interval. The stock's demand is then the line through the table's ends, which is within .035 of the table.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from experiments.deep_rl.chains import Chain
from jaxprice import demand
from jaxprice.oracles import network_dp

INTERVALS = ("FiniteInventory", "ReferencePrice", "ReactiveRival")
NETWORK = {  # product 2 uses both resources
    "prices": [[p, q] for p in (1.0, 1.5, 2.0, 3.0) for q in (1.5, 3.0)],
    "demand": [[d, e] for d in (0.9, 0.7, 0.5, 0.2) for e in (0.7, 0.3)],
    "consumption": [[1, 0], [1, 1]],
    "stock": [10, 5],
    "noise": "bernoulli",
    "horizon": 20,
}


class Table(NamedTuple):
    """How a tabular learner cuts the observation into states: bins and bounds of its first entries."""

    bins: tuple
    low: tuple
    high: tuple


@dataclasses.dataclass(frozen=True, eq=False)
class Market:
    """A market, its chain, and the states of tabular learners (None on an interval)."""

    name: str
    chain: Chain
    table: Table | None
    any_price: bool = False

    @property
    def env(self):
        """The environment."""
        return self.chain.env

    @property
    def params(self):
        """Its numbers."""
        return self.chain.params

    @property
    def actions(self):
        """Number of actions; 0 on an interval."""
        return 0 if self.any_price else int(self.env.action_space().n)


@functools.cache
def market(name, any_price=False):
    """The market with this name; one of `NAMES`, or with `any_price` one of `INTERVALS`."""
    jaxprice.checks.choice("market", name, INTERVALS if any_price else NAMES)
    return MAKERS[name](any_price) if name in INTERVALS else MAKERS[name]()


def whole(count):
    """Bounds for which k / (count - 1) is in the middle of bin k of `count`."""
    half = 0.5 / max(count - 1, 1)
    return -half, 1 + half


def cells(*entries):
    """`Table` from `(bins, low, high)` of each entry, where None is an entry that is ignored."""
    rows = [(1, 0.0, 1.0) if entry is None else entry for entry in entries]
    return Table(*(tuple(column) for column in zip(*rows, strict=True)))


def finite_inventory(any_price=False):
    """Twenty-five units in a hundred periods: the default market, on which PPO without normalisation fails."""
    if any_price:
        low, high = 29.9, 44.9
        slope = (0.8 - 0.1) / (high - low)
        line = demand.Linear(0.8 + slope * low, slope)
        env, params = jaxprice.make("FiniteInventory", demand=line, low=low, high=high, horizon=100, stock=25)
    else:
        env, params = jaxprice.make("FiniteInventory")
    _, first = env.reset_env(jax.random.key(0), params)
    units = jnp.arange(env.capacity + 1, dtype=jnp.int32)

    def states(time):
        return first.replace(
            time=jnp.broadcast_to(jnp.int32(time), units.shape),
            stock=units,
            optimal=jnp.broadcast_to(first.optimal, units.shape),
        )

    def outcomes(state, index, action):
        sale = env.offer(state, action, params)[0]
        return jnp.stack([index, jnp.maximum(index - 1, 0)]), jnp.stack([1 - sale, sale])

    chain = Chain(
        env,
        params,
        env.horizon,
        float(env.season_value(params)),
        lambda state, index: (state.stock / params.stock)[None],
        states,
        outcomes,
        start=env.capacity,
    )
    table = cells((env.horizon + 1, *whole(env.horizon + 1)), None, None, (env.capacity + 1, *whole(env.capacity + 1)))
    return Market("FiniteInventory", chain, None if any_price else table, any_price)


def network_revenue():
    """Ten and five units in twenty periods. A seller also sees its last prices and sales, which make more states."""
    env, params = jaxprice.make("NetworkRevenue", **NETWORK)
    problem = env.problem(params)
    prices = jnp.asarray(problem.prices)
    means = jnp.append(jnp.asarray(params.demand), jnp.zeros((1, 2)), axis=0)
    stock = np.array(NETWORK["stock"])
    solved = network_dp.network_dp(prices, means, NETWORK["consumption"], stock, env.horizon, "bernoulli")
    shape = (len(solved.stocks), prices.shape[0], 2, 2)  # stocks, last action, last sales of either product
    left, last, first, second = (jnp.ravel(jnp.asarray(x)) for x in np.indices(shape))
    stocks = jnp.asarray(solved.stocks)

    def states(time):
        state = env.reset_env(jax.random.key(0), params)[1]
        state = jax.tree.map(lambda x: jnp.broadcast_to(x, (left.size, *jnp.shape(x))), state)
        return state.replace(time=jnp.full(left.size, time, jnp.int32), stock=stocks[left].astype(jnp.float32))

    def see(state, index):
        sold = jnp.stack([first[index], second[index]]).astype(jnp.float32)
        return jnp.concatenate([prices[last[index]], sold, state.stock / params.stock])

    def outcomes(state, index, action):
        del state
        units, use = stocks[left[index]], jnp.asarray(NETWORK["consumption"])
        places, chances = [], []
        for one in (0, 1):
            room = jnp.all(units >= use[0])
            sale = jnp.where(room, means[action, 0], 0.0)
            after, chance = units - one * use[0], sale if one else 1 - sale
            for two in (0, 1):
                sale = jnp.where(jnp.all(after >= use[1]), means[action, 1], 0.0)
                rest = jnp.maximum(after - two * use[1], 0)
                place = rest[0] * (stock[1] + 1) + rest[1]
                places.append(jnp.ravel_multi_index((place, action, one, two), shape, mode="clip"))
                chances.append(chance * (sale if two else 1 - sale))
        return jnp.stack(places), jnp.stack(chances)

    def loss(state, index, action):
        return solved.losses[env.horizon - 1 - state.time, left[index], action]

    start = int(np.ravel_multi_index((shape[0] - 1, shape[1] - 1, 0, 0), shape))
    chain = Chain(env, params, env.horizon, float(solved.values[-1, -1]), see, states, outcomes, loss, start)
    periods = env.horizon + 1
    table = cells((periods, *whole(periods)), *[None] * 4, *((int(units) + 1, *whole(int(units) + 1)) for units in stock))
    return Market("NetworkRevenue", chain, table)


def reference_price(any_price=False):
    """Buyers who like a low price more than they dislike a high one, and forget half of the reference in a period."""
    effects = {"gain": 0.5, "loss": 0.1, "memory": 0.5, "observe_reference": True, "horizon": 50}
    env, params = jaxprice.make("ReferencePrice", **effects | ({} if any_price else {"num_prices": 11}))
    chain = Chain(env, params, 50, 50 * float(params.value), lambda state, index: state.reference[None])
    table = cells(None, None, None, (21, env.low - 0.025, env.high + 0.025))
    return Market("ReferencePrice", chain, None if any_price else table, any_price)


def replenishment():
    """Four prices, orders up to ten units with a fixed cost, and lost sales."""
    env, params = jaxprice.make("Replenishment", prices=(4.0, 5.0, 6.0, 7.0), largest_demand=10, horizon=50)
    units, pmf = jnp.arange(env.largest + 1, dtype=jnp.int32), jnp.asarray(params.pmf)

    def states(time):
        return env.reset_env(jax.random.key(0), params)[1].replace(time=jnp.full(units.shape, time, jnp.int32), stock=units)

    def outcomes(state, index, action):
        have = jnp.maximum(index, action % env.num_levels)
        return jnp.maximum(have - jnp.arange(env.largest_demand + 1), 0), pmf[action // env.num_levels]

    see = lambda state, index: (state.stock / env.largest)[None]  # noqa: E731
    chain = Chain(env, params, 50, 50 * float(params.value), see, states, outcomes, start=int(params.stock))
    return Market("Replenishment", chain, cells(None, None, None, (env.largest + 1, *whole(env.largest + 1))))


def storefront():
    """The small shop: two types of customers, two phases, two levels of loyalty and of the competitor, eight actions."""
    env, params = jaxprice.make("Storefront", size="small", horizon=50)
    phases, levels, loyalties = env.sizes[3:]
    shape = levels, loyalties, env.num_types
    competitor, loyalty, customer = (jnp.ravel(jnp.asarray(x, jnp.int32)) for x in np.indices(shape))
    first = env.reset_env(jax.random.key(0), params)[1]
    types = jnp.asarray(params.types)

    def states(time):
        now = jnp.full(customer.shape, time, jnp.int32)
        return first.replace(time=now, competitor=competitor, loyalty=loyalty, customer=customer)

    def see(state, index):
        del index
        kinds = np.unravel_index(np.arange(env.num_types), env.sizes[:3])
        ones = [np.eye(size, dtype=np.float32)[kind] for size, kind in zip(env.sizes[:3], kinds, strict=True)]
        place = jnp.stack([state.competitor / max(levels - 1, 1), state.loyalty / max(loyalties - 1, 1)])
        phase = jax.nn.one_hot(state.time % phases, phases)
        return jnp.concatenate([phase, place, jnp.asarray(np.concatenate(ones, axis=1))[state.customer]])

    def outcomes(state, index, action):
        del index
        content = env.expected_components(state, action, params)[4]
        up, down = params.rise * content, params.fall * (1 - content)
        rival = jnp.asarray(params.competition)[state.competitor, env.parts(action)[0]]
        level = jnp.arange(loyalties)
        loyal = (
            up * (level == jnp.minimum(state.loyalty + 1, loyalties - 1))
            + down * (level == jnp.maximum(state.loyalty - 1, 0))
            + (1 - up - down) * (level == state.loyalty)
        )
        chances = rival[:, None, None] * loyal[None, :, None] * types[None, None, :]
        return jnp.arange(customer.size, dtype=jnp.int32), jnp.ravel(chances)

    begins = (competitor == levels // 2) & (loyalty == loyalties // 2)  # and a customer who is drawn as all others
    start = begins * types[customer]
    chain = Chain(env, params, 50, 50 * float(params.value), see, states, outcomes, start=start)
    halves = (2, -0.5, 1.5)
    entries = [*[None] * 3, *[halves] + [None] * (phases - 1), halves, halves]
    ages, incomes, browsings = env.sizes[:3]
    entries += [None] * ages + [halves] * incomes + [None] * browsings
    return Market("Storefront", chain, cells(*entries))


def reactive_rival(any_price=False):
    """The market of Kastius and Schlosser with every second price: a rival that undercuts between two bounds."""
    env, params = jaxprice.make("ReactiveRival", num_prices=25, low=2.0, high=50.0, any_price=any_price, horizon=50)
    grid, answer = jnp.asarray(params.prices), jnp.asarray(params.answer)
    places = jnp.arange(grid.size, dtype=jnp.int32)

    def states(time):
        return env.reset_env(jax.random.key(0), params)[1].replace(
            time=jnp.full(places.shape, time, jnp.int32), rival=places
        )

    def outcomes(state, index, action):
        del state
        own = jnp.argmin(jnp.abs(grid - action)) if any_price else action
        return answer[own, index][None], jnp.ones(1, jnp.float32)

    see = lambda state, index: grid[state.rival][None]  # noqa: E731
    chain = Chain(env, params, 50, 50 * float(params.value), see, states, outcomes, start=int(params.start))
    table = cells(None, None, None, (25, 1.0, 51.0))
    return Market("ReactiveRival", chain, None if any_price else table, any_price)


MAKERS: dict[str, Any] = {
    "FiniteInventory": finite_inventory,
    "NetworkRevenue": network_revenue,
    "ReferencePrice": reference_price,
    "Replenishment": replenishment,
    "Storefront": storefront,
    "ReactiveRival": reactive_rival,
}
NAMES = tuple(MAKERS)
