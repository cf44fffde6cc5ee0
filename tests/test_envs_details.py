"""Details of markets: the clock, distributions of drawn markets, rules at their limits, and sales, customers and rows.

The expected values come from formulas, from SciPy or from brute force.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import jaxprice
from jaxprice import noise, policies, random
from jaxprice.envs import customers, glm_demand, labelled_rows, market, unit_demand
from jaxprice.envs.related_products import RelatedProducts, split


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("BernoulliBandit", {"num_arms": 2}),
        ("LabelledRows", {}),
        ("MNLPricing", {"num_products": 2, "buyers": 4}),
        ("LogitOligopoly", {"num_prices": 3}),
    ],
)
def test_the_clock_starts_at_zero_and_counts_periods(kind, options):
    """An observation starts with the share of the horizon gone."""
    env, params = jaxprice.make(kind, **options, horizon=8)
    step = jax.jit(env.step_env)
    seen, state = env.reset_env(jax.random.key(0), params)
    assert (int(state.time), seen[0]) == (0, 0)
    for time in (1, 2):
        seen, state, *_ = step(jax.random.key(time), state, env.optimal_action(state, params), params)
        assert (int(state.time), seen[0]) == (time, time / 8)


def test_the_seller_sees_the_demand_of_one_buyer():
    env, params = jaxprice.make("MNLPricing", num_products=2, buyers=4)
    _, state = env.reset_env(jax.random.key(0), params)
    seen, _, _, _, info = jax.jit(env.step_env)(jax.random.key(3), state, env.optimal_action(state, params), params)
    assert info["demand"].sum() > 0
    np.testing.assert_allclose(seen, [1e-3, *info["price"], *info["demand"] / 4], rtol=1e-6)


def drawn(kind, count, **options):
    """So many markets of the task distribution, NumPy arrays."""
    env, _ = jaxprice.make(kind, **options)
    return jax.device_get(jax.jit(jax.vmap(env.sample_params))(jax.random.split(jax.random.key(5), count)))


def uniform(values, low, high):
    """Whether all values are from U[low, high]."""
    values = np.ravel(values)
    assert low <= values.min() and values.max() <= high
    assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 1e-3


def test_laws_of_drawn_assortments():
    params = drawn("MNLAssortment", 500)
    uniform(params.revenues, 0.2, 1.0)
    uniform(params.weights, 0.0, 1.0)


def test_law_of_drawn_logit_markets():
    """W exp(W) = sum of exp((quality - cost) / scale - 1) with W from U[.5, 2.5]."""
    params = drawn("MNLPricing", 2000)
    net = (params.quality - params.cost) / params.scale[:, None]
    uniform(special.lambertw(np.exp(net - 1).sum(axis=1)).real, 0.4999, 2.5001)


def test_law_of_drawn_fair_markets():
    """Best prices are cost + U[.1, .6] (high - cost), with demand U[.3, .6] there."""
    params, cost, high = drawn("FairPricing", 1000, cost=0.5, high=5.0), 0.5, 5.0
    best = cost + 1 / params.rate  # of (p - cost) exp(-rate p)
    uniform((best - cost) / (high - cost), 0.0999, 0.6001)
    uniform(params.level * np.exp(-params.rate * best), 0.2999, 0.6001)


def test_law_of_drawn_networks():
    """Demand falls exponentially, at rates from U[.3, 1] and from intercepts from U[.2, 1] of the largest."""
    env, _ = jaxprice.make("NetworkRevenue")
    params = drawn("NetworkRevenue", 300)
    rates = np.log(params.demand[:, 0] / params.demand[:, 1]) / (params.prices[:, 1] - params.prices[:, 0])
    clear = np.abs(params.prices[:, 1] - params.prices[:, 0]) > 0.5  # elsewhere float32 has too few digits
    uniform(rates[clear], 0.2999, 1.0001)
    intercepts = (params.demand[:, 0] * np.exp(rates * params.prices[:, 0]))[clear]
    uniform(intercepts / env.largest, 0.199, 1.001)


def test_labels_of_drawn_rows_are_even():
    labels = drawn("LabelledRows", 200).labels
    counts = np.bincount(np.ravel(labels))
    assert len(counts) == 3 and stats.chisquare(counts).pvalue > 1e-3


def test_rows_are_standard():
    """Mean zero, and a mean squared norm of one, whatever the units; constants are left out."""
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.normal(3, 20, 50), np.ones(50), rng.normal(size=50), rng.exponential(1e-3, 50)])
    rows = labelled_rows.standard(table, intercept=False)
    assert rows.shape == (50, 3)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose((rows**2).mean(axis=0), 1 / 3, rtol=1e-5)


EDGES = [  # possible markets, and changes that make them impossible, and the word of the refusal
    ("SegmentedValuation", {"num_segments": 2, "num_prices": 3, "half_width": 0.2},
     {"midpoints": np.float32([0.1, 0.2]), "prices": np.float32([0.3, 0.5, 0.7])},
     {"midpoints": np.float32([0.05, 0.08])}, "somebody buys"),
    ("ReferencePrice", {"low": 0.5, "high": 1.5},
     {"intercept": np.float32(1), "slope": np.float32(0.5), "gain": np.float32(0), "loss": np.float32(0.2)},
     {"loss": np.float32(0.3)}, "not negative"),
    ("LinearValuation", {"dimension": 2, "context": "uniform"}, {"theta": np.float32([-100, 300])},
     {"theta": np.float32([-100, 20])}, "nobody buys"),
    ("LowRankDemand", {"num_products": 3, "rank": 2}, {"slopes": 0.2 * np.eye(2, dtype=np.float32)},
     {"slopes": np.float32([[0.2, 0], [0, -0.1]])}, "positive definite"),
    ("PostedPrice", {"demand": "linear", "prices": [0.25, 0.5]}, {}, {"intercept": np.float32(1.5)}, "purchase probability"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "possible", "impossible", "word"), EDGES)
def test_rules_at_their_edges(kind, options, possible, impossible, word):
    env, params = jaxprice.make(kind, **options)
    params = params.replace(**possible)
    env.check_params(params)
    if "intercept" in impossible and kind == "PostedPrice":
        params = params.replace(demand=params.demand.replace(**impossible))
    else:
        params = params.replace(**impossible)
    with pytest.raises(ValueError, match=word):
        env.check_params(params)


def test_the_kind_of_related_products_is_a_market_of_their_base():
    """Products that are all alike are the market that the first lane draws in a run whose seed is the kind's number."""
    base, _ = jaxprice.make("PostedPrice", num_prices=5)
    sizes = {"lanes": 1, "horizon": 4}
    alike = jaxprice.simulate(RelatedProducts(base, kind=7, similarity=1.0), policies.fixed_price(0.5), seed=3, **sizes)
    first = jaxprice.simulate(base, policies.fixed_price(0.5), seed=7, **sizes)
    np.testing.assert_array_equal(alike["regret"], first["regret"])
    assert first["regret"].min() > 0


def test_two_changes_may_be_in_the_same_period():
    env, params = jaxprice.make("NonStationary", num_markets=3, changes=[300, 400])
    params = params.replace(path=params.path.replace(changes=np.int32([400, 400])))
    env.check_params(params)
    assert [int(params.path.move(None, None, time)) for time in (399, 400)] == [0, 2]


def test_costs_and_prices_below_one_are_taken():
    assert jaxprice.make("LogitOligopoly", cost=0.5, noise_scale=0.0)[1].cost.max() == np.float32(0.5)


def test_no_more_products_are_offered_than_there_is_room_for():
    env, params = jaxprice.make("MNLAssortment", num_products=5, size=2)
    np.testing.assert_array_equal(env.price(jnp.bool_([0, 1, 1, 1, 1]), params) > 0, [0, 1, 1, 0, 0])


def test_an_action_is_the_best_one_if_all_of_it_is():
    assert market.same(jnp.bool_([1, 0]), jnp.bool_([1, 0])) and not market.same(jnp.bool_([1, 1]), jnp.bool_([1, 0]))


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 2, 3)])
def test_the_lowest_effect_of_positive_contexts(shape):
    """Contexts of entries between 1 and 2, over sqrt(d): the least of all corners, for effects of any rank."""
    effect = np.random.default_rng(1).normal(size=shape)
    corners = np.array(list(itertools.product([1.0, 2.0], repeat=3))) / np.sqrt(3)
    np.testing.assert_allclose(glm_demand.lowest(effect, "positive"), (effect @ corners.T).min(axis=-1), rtol=1e-6)


@pytest.mark.parametrize("mean", [0.3, 4.0])
def test_sales_from_a_limited_stock(mean):
    """E min(N, n) for a Poisson N, and the quantile cut at n, against SciPy."""
    limits, u = np.arange(9.0), np.array([0.0, 0.2, 0.7, 0.99])[:, None]
    sales, expected = noise.limited_poisson(u, mean, limits)
    count = np.arange(60)
    exact = [np.sum(np.minimum(count, n) * stats.poisson.pmf(count, mean)) for n in limits]
    np.testing.assert_allclose(expected, np.broadcast_to(exact, expected.shape), rtol=1e-5, atol=1e-6)
    quantile = np.maximum(stats.poisson.ppf(u, mean), 0)
    np.testing.assert_array_equal(sales, np.minimum(quantile, limits))


def test_demand_without_a_scale_of_noise_is_its_mean():
    assert noise.draw(jax.random.key(0), jnp.float32(0.3), "gaussian", buyers=2) == np.float32(0.6)


def test_choices_of_a_customer_of_a_storefront():
    """Logit shares of buying nothing, the rival and n units, and what n units cost under every offer, in NumPy."""
    _, params = jaxprice.make("Storefront", size="small", num_products=2, num_exposures=2)
    cases = list(itertools.product(range(2), (0, 1), range(4), range(2), (False, True)))
    phase, customer, offer, product, redeems = (np.array(x) for x in zip(*cases, strict=True))
    found, paid = jax.jit(jax.vmap(lambda p, c, o, i, r: customers.choices(p, 1, 1, c, 1, o, i, 1, r, params)))(
        phase, customer, offer, product, redeems
    )
    price, rival = float(params.prices[1]), float(params.competitor_prices[1])
    for row, (phase, customer, offer, product, redeems) in enumerate(cases):
        units = np.arange(1, len(params.tastes) + 1)
        cost = price * units
        if offer == 1:
            cost = cost * (1 - params.discount)
        elif offer == 2 and redeems:
            cost = np.maximum(cost - params.coupon, 0)
        elif offer == 3:
            cost = np.where(cost >= params.threshold, cost - params.saving, cost)
        sensitivity = params.sensitivity[customer]
        liking = params.appeal[customer] + params.season[phase] + params.loyalty + params.exposure
        liking = liking + params.fit[customer, product] + params.promotion[phase] * (offer > 0)
        utility = [0, params.rival - sensitivity * rival, *(liking + params.tastes - sensitivity * cost)]
        np.testing.assert_allclose(paid[row], cost, rtol=1e-5)
        np.testing.assert_allclose(found[row], special.softmax(np.array(utility, float)), rtol=1e-4)


def test_how_far_customers_of_storefronts_differ():
    """Standard deviations of the taste for a product, of what the rival is liked for, and of contentment."""
    one, none = (
        customers.default_customers(lambda shape, x=x: jnp.full(shape, x), (2, 2, 1, 2, 2, 2), 2, 3, 1.0) for x in (1.0, 0.0)
    )
    for name, spread in (("fit", 0.5), ("rival", 0.2), ("contentment", 0.2)):
        np.testing.assert_allclose(one[name] - none[name], spread, rtol=1e-5)


def test_offers_are_liked_in_the_promotion_only():
    """The last phase is the promotion."""
    numbers = customers.default_customers(jnp.zeros, (2, 2, 1, 3, 2, 2), 2, 3, 1.0)
    np.testing.assert_allclose(numbers["promotion"], [-0.2, -0.2, 0.4], rtol=1e-6)


@pytest.mark.parametrize(
    ("context", "sparsity"), [("positive", 0), ("positive", 2), ("sphere", 0), ("uniform", 0), ("uniform", 3)]
)
def test_drawn_effects_suit_the_contexts(context, sparsity):
    """Over markets and buyers, mean alpha'x is 1.6 and mean beta'x 3 / high; roughly, as entries on a sphere depend on d."""
    env, _ = jaxprice.make("GLMDemand", dimension=6, context=context, sparsity=sparsity or None)
    params = jax.jit(jax.vmap(env.sample_params))(jax.random.split(jax.random.key(5), 400))
    seen = jax.jit(jax.vmap(lambda key: env.reset_env(key, jax.tree.map(lambda x: x[0], params))[0]))
    x = seen(jax.random.split(jax.random.key(6), 400))[:, 3:]
    for effect, mean in ((params.alpha, 1.6), (params.beta, 3 / env.high)):
        np.testing.assert_allclose(np.mean(np.asarray(effect) @ np.asarray(x).T), mean, rtol=0.06)


def test_a_sale_in_a_storefront():
    """With ten per cent off, n units bring n discounted prices, and the seller sees the price of a unit."""
    env, params = jaxprice.make("Storefront", size="small", offers=("none", "percentage"))
    params = params.replace(discount=np.float32(0.1))
    _, state = env.reset_env(jax.random.key(0), params)
    action = next(a for a in range(env.num_actions) if int(env.parts(a)[1]) == 1 and int(env.parts(a)[0]) == 1)
    step = jax.jit(jax.vmap(lambda key: env.step_env(key, state, action, params)))
    seen, _, _, _, info = step(jax.random.split(jax.random.key(1), 2000))
    units, price, one = info["demand"], params.prices[1], info["components"]
    assert {0, 1, 2} <= set(np.ravel(units).tolist())
    np.testing.assert_allclose(one[:, 2], 0.9 * price * units, rtol=1e-5)
    np.testing.assert_allclose(seen[:, 1], np.where(units > 0, 0.9, 1.0) * price, rtol=1e-5)
    np.testing.assert_array_equal(one[:, 1], units > 0)


def test_the_actions_of_a_network_are_its_price_vectors_and_closing():
    env, params = jaxprice.make("NetworkRevenue")
    prices = np.asarray(env.problem(params).prices)
    assert env.action_space(params).n == len(prices) == len(params.prices) + 1
    np.testing.assert_array_equal(prices, [*params.prices, np.zeros(env.num_products)])


def test_regimes_change_with_their_probabilities():
    """By default a regime lasts horizon / m periods, two at least; the others follow with equal probability."""
    for horizon, stay in ((300, 0.99), (4, 0.5)):
        _, params = jaxprice.make("NonStationary", kind="regimes", num_markets=3, horizon=horizon)
        wanted = np.where(np.eye(3) > 0, stay, (1 - stay) / 2)
        np.testing.assert_allclose(params.path.transition, wanted, rtol=1e-6)
    own = [[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]
    _, params = jaxprice.make("NonStationary", kind="regimes", num_markets=3, transition=own)
    np.testing.assert_allclose(params.path.transition, own, rtol=1e-6)
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="transition"):
            jaxprice.make("NonStationary", kind="regimes", num_markets=2, transition=[[wrong, 1 - wrong], [0.5, 0.5]])


@pytest.mark.parametrize(("law", "mean"), [("binomial", [0.0, 1.5, 5.0]), ("poisson", [0.0, 1.5, 5.0])])
def test_probabilities_of_demand_in_whole_units_are_scipys(law, mean):
    found = np.asarray(unit_demand.pmf_of(np.array(mean), law, 5))
    units = np.arange(6)
    wanted = [stats.binom.pmf(units, 5, m / 5) if law == "binomial" else stats.poisson.pmf(units, m) for m in mean]
    if law == "poisson":
        wanted = [[*row[:-1], stats.poisson.sf(4, m)] for row, m in zip(wanted, mean, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-6)


def test_angle_and_radius_of_a_wheel_are_independent():
    env, params = jaxprice.make("WheelBandit", intercept=False)
    seen = jax.jit(jax.vmap(lambda key: env.reset_env(key, params)[0]))(jax.random.split(jax.random.key(2), 4000))
    x, y = np.asarray(seen)[:, -2:].T
    area, angle = x * x + y * y, np.arctan2(y, x)
    uniform(area, 0, 1)
    uniform(angle, -np.pi, np.pi)
    assert stats.spearmanr(area, angle).pvalue > 1e-3


def test_products_of_a_split_have_addresses_of_their_own():
    env, _ = jaxprice.make("RelatedProducts", market="PostedPrice")
    parts = split(env, train=3, held_out=2, seed=4)
    for part, found in enumerate(parts):
        words = random.stream(8 + part, "market")
        for number in range(3 - part):
            mine = env.sample_params(random.address(words, 0, np.uint32(number)))
            jax.tree.map(lambda x, y, i=number: np.testing.assert_allclose(x[i], y, rtol=1e-6), found, mine)


def test_own_prices_give_the_ends_of_the_interval():
    _, params = jaxprice.make("PostedPrice", prices=[0.2, 0.5, 0.9])
    assert (params.low, params.high) == (np.float32(0.2), np.float32(0.9))


@pytest.mark.parametrize(("gain", "loss"), [(0.05, 0.3), (0.2, 0.2)])
def test_the_best_price_next_to_a_reference_price_is_that_of_a_dense_grid(gain, loss):
    """With a worth of the next reference that favours prices near it, on both sides of the kink of demand."""
    env, params = jaxprice.make("ReferencePrice", num_prices=None, gain=gain, loss=loss, resolution=11, memory=0.6)
    prices = np.linspace(params.low, params.high, 20_001, dtype=np.float32)
    nodes = np.linspace(params.low, params.high, 11)
    find = jax.jit(
        lambda reference, worth: (*env._best(reference, worth, params), env._value(reference, prices, worth, params))
    )
    for worth in (np.zeros(11), -3 * (nodes - 1) ** 2, 2 * np.sin(6 * nodes), 4 * nodes):
        for reference in np.linspace(params.low, params.high, 8)[1:-1]:
            price, value, grid = find(np.float32(reference), worth.astype(np.float32))
            assert abs(value - grid.max()) < 1e-4 * max(1, abs(value))
            assert grid[np.argmin(np.abs(prices - price))] > grid.max() - 1e-3 * max(1, abs(value))
