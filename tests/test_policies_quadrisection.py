"""Pricing by quadrisection with differential privacy: cuts, noise and intervals against plain loops and the theory."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, play, problem_of
from scipy import stats
from test_policies_private import KEYS, nodes_of

from jaxprice import policies, random, samplers
from jaxprice.types import Transition

LINEAR = {"link": "linear", "context": "uniform", "low": 0.5, "high": 4.5, "noise_scale": 0.1 / 3**0.5}
LINEAR_OF_TWO = {"alpha": (0.9, 0.78, 0.78), "beta": (0.2, 0.0, 0.0)}  # contexts: 1, then two features
BUYERS = "GLMDemand", tuple((LINEAR | LINEAR_OF_TWO).items())
SEEN = {"features": 2, "highest": 3**-0.5}
CASES = {
    "central": {"epsilon": 400.0, "cubes": 4, "width": 0.01, "slack": 0.02, "least": 2.0},
    "local": {"trust": "local", "epsilon": 300.0, "cubes": 4, "width": 1.0, "least": 5.0},
    "open": {"epsilon": None, "cubes": 4, "width": 0.02, "least": 1.5},
}


@functools.partial(jax.jit, static_argnums=0)
def laplace_of(shape):
    """What the harness draws for updates: `[lane, time, *shape]`."""

    def draw(lane, time):
        key = random.address(random.stream(0, "update"), time, lane)
        return samplers.laplace(jax.random.bits(key, shape, jnp.uint32))

    lanes, times = jnp.arange(LANES, dtype=jnp.uint32), jnp.arange(HORIZON)
    return jax.vmap(lambda lane: jax.vmap(lambda time: draw(lane, time))(times))(lanes)


def rises(case, means, counts, sums, n, width):
    """Whether a cube passes the test, from the table of the module; and whether rounding could tell."""
    trust, options = case
    if trust == "local":
        gap = min(sums[1] - sums[0], sums[2] - sums[1]) * 4 / (5 * n)
        margin, enough = 3 * width * 4 / (options["epsilon"] * math.sqrt(n)), n >= options["least"] and n % 5 == 0
        unit = 4 / (5 * n)
    else:
        m, unit = max(min(counts), 1), 1.0
        gap = min(means[1] - means[0], means[2] - means[1])
        margin, enough = 3 * width / math.sqrt(m) + 3 * options.get("slack", 0) / m, min(counts) >= options["least"]
    close = (enough and abs(gap - margin) < 1e-5 * unit) or abs(min(counts) - options["least"]) < 1e-5
    return enough and gap > margin, close


@pytest.mark.parametrize("name", CASES)
def test_quadrisection_step_for_step(name):
    """A tree as a stack of nodes that merge, sums and tests in float64, told the same sales and the same noise."""
    options = CASES[name]
    trust, epsilon = options.get("trust", "central"), options["epsilon"]
    played, cuts = play(policies.private_quadrisection(**SEEN, **options), BUYERS), {"up": 0, "down": 0}
    channels = 1 if trust == "local" else 2
    noise = np.asarray(laplace_of((channels, 4)), float)
    offers = math.ceil(HORIZON / 5)
    scale = 0 if epsilon is None else 2 / epsilon if trust == "local" else 2 * (math.floor(math.log2(offers)) + 1) / epsilon
    for lane in range(LANES):
        low, high = np.full(4, 0.5), np.full(4, 4.5)
        exact, trees = np.zeros((5, channels, 4)), [[[] for _ in range(4)] for _ in range(5)]
        rounds, lost = np.zeros((5, 4), int), False
        for t, (state, sale) in enumerate(played.lane(lane)):
            k = t % 5
            hidden = [[sum((x for _, x in trees[i][j]), np.zeros(channels)) for j in range(4)] for i in range(5)]
            hidden = np.array(hidden).transpose(0, 2, 1)
            released = exact + (0 if trust == "local" else hidden)
            np.testing.assert_allclose(state.low, low, atol=1e-5)
            np.testing.assert_allclose(state.high, high, atol=1e-5)
            np.testing.assert_array_equal(state.rounds, rounds)
            np.testing.assert_allclose(state.sums + (0 if state.noise is None else state.noise), released, atol=1e-4)
            if trust == "central":
                np.testing.assert_allclose(state.sums, exact, atol=1e-4)
            digits = [min(int(x * 3**0.5 * 2), 1) for x in np.asarray(sale.observation[-2:], float)]
            here = digits[0] + 2 * digits[1]
            np.testing.assert_allclose(sale.price, low[here] + (high[here] - low[here]) * k / 4, rtol=1e-5)
            exact[k, :, here] += [min(max(float(sale.reward) / 4.5, 0), 1), 1][:channels]
            for j in range(4):
                rounds[k, j] += 1
                fresh, size = scale * noise[lane, t, :, j], 1
                if trust == "local":
                    exact[k, :, j] += fresh
                    continue
                while trees[k][j] and trees[k][j][-1][0] == size:
                    size *= 2
                    trees[k][j].pop()
                trees[k][j].append((size, fresh))
            for j in range(4):
                sums = exact[:, :, j].copy()
                if trust == "central":
                    sums += np.array([sum((x for _, x in trees[i][j]), np.zeros(2)) for i in range(5)])
                counts = sums[:, -1] if trust == "central" else np.full(5, 9.0)
                means, n = sums[:, 0] / np.maximum(counts, 1), rounds[:, j].sum()
                told = [
                    rises((trust, options), means[s][:3], counts[s][:3], sums[s, 0][:3], n, options["width"])
                    for s in (slice(None), slice(None, None, -1))
                ]
                lost |= told[0][1] or told[1][1]
                if not (told[0][0] or told[1][0]):
                    continue
                quarter, side = (high[j] - low[j]) / 4, "up" if told[0][0] else "down"
                low[j], high[j] = (low[j] + quarter, high[j]) if side == "up" else (low[j], high[j] - quarter)
                cuts[side] += not lost
                exact[:, :, j], rounds[:, j] = 0, 0
                for i in range(5):
                    trees[i][j] = []
            if lost:
                break
    assert min(cuts.values()) > 2, cuts


def quad_start(horizon, **options):
    """A policy and its state before the first sale."""
    policy = policies.private_quadrisection(**SEEN, **options)
    return policy, policy.init(jax.random.key(0), problem_of(BUYERS, horizon))


def quad_sale(x, y, reward):
    """A sale to a buyer with two features."""
    seen = jnp.stack([jnp.float32(0), jnp.float32(1), jnp.float32(1), jnp.float32(1), x, y])
    return Transition(seen, jnp.float32(1), jnp.float32(1), jnp.float32(1), reward, seen)


def test_noise_of_the_trees_of_quadrisection():
    """Covariance of the noise of two releases: 2 scale^2 times the nodes that they share, for R and for M, one apart."""
    offers, lanes = 11, 4000
    policy, start = quad_start(5 * offers, cubes=1, width=1e6)
    sale, scale = quad_sale(*np.float32([0.3, 0.2, 1.0])), float(start.rule.scale)
    assert scale == 2 * 4  # floor(log2(11)) + 1 nodes

    @jax.jit
    @jax.vmap
    def noises(key):
        def period(state, key):
            after = policy.update(key, state, sale)
            return after, after.noise[0, :, 0]

        return jax.lax.scan(period, start, jax.random.split(key, 5 * offers))[1]

    made = np.asarray(noises(jax.random.split(jax.random.key(3), lanes)), float)[:, ::5] / scale
    shared = [[len(nodes_of(s) & nodes_of(t)) for t in range(1, offers + 1)] for s in range(1, offers + 1)]
    for expected, (a, b) in ((2 * np.array(shared), (0, 0)), (2 * np.array(shared), (1, 1)), (0 * np.array(shared), (0, 1))):
        products = made[:, :, None, a] * made[:, None, :, b]
        error = products.std(axis=0) / lanes**0.5
        assert (np.abs(products.mean(axis=0) - expected) < 4.5 * error).all()
        assert error.max() < 0.3
    assert all(stats.kstest(made[:, t - 1, c], "laplace").pvalue > 1e-3 for t in (1, 2, 4, 8) for c in (0, 1))


def test_what_quadrisection_promises():
    """A buyer moves R and M of one cell by at most 1, in at most B nodes; the noise is as large as that asks, no larger."""
    for horizon in (1, 5, 6, 10, 11, 100, 12_500, 10**6):
        nodes = math.floor(math.log2(math.ceil(horizon / 5))) + 1
        offers = range(1, min(math.ceil(horizon / 5), 64) + 1)
        trees = set().union(*(nodes_of(i) for i in offers))
        in_nodes = max(sum(first < i <= last for first, last in trees) for i in offers)
        assert in_nodes <= nodes and (len(offers) == 64 or in_nodes == nodes)
        for epsilon in (0.01, 1.0, 10.0):
            central, local = (quad_start(horizon, trust=trust, epsilon=epsilon)[1] for trust in ("central", "local"))
            np.testing.assert_allclose(nodes * (1 + 1) / float(central.rule.scale), epsilon, rtol=1e-5)
            np.testing.assert_allclose(2 / float(local.rule.scale), epsilon, rtol=1e-5)
    rng = np.random.default_rng(0)
    buyers = np.float32(rng.standard_normal((2000, 3)) * 10 ** rng.uniform(-2, 2, (2000, 1)))
    for trust, moved in (("central", [1, 2]), ("local", [0, 1])):
        policy, start = quad_start(100, trust=trust, epsilon=1e9 if trust == "local" else 1.0, cubes=9, width=1e9)
        told = jax.jit(jax.vmap(lambda *sale, p=policy, s=start: p.update(jax.random.key(1), s, quad_sale(*sale)).sums))
        sums = np.asarray(told(*buyers.T), float)
        size = np.abs(sums).sum(axis=(1, 2, 3))
        assert size.max() < moved[1] + 1e-5 and size.min() > moved[0] - 1e-5
        assert (np.abs(sums).max(axis=2) > 1e-4).sum(axis=(1, 2)).max() == 1  # one cell
        assert len(np.unique(np.abs(sums).max(axis=(1, 2)).argmax(axis=1))) == 9
        apart = np.abs(sums[::2] - sums[1::2]).sum(axis=(1, 2, 3)).max()
        assert 0.9 * 2 * moved[1] < apart < 2 * moved[1] + 1e-5


def test_local_buyers_hide_in_every_cube():
    """Laplace noise of scale 2 / epsilon on the sum of the price offered, in all cubes, independent of each other."""
    policy, start = quad_start(100, trust="local", epsilon=0.5, cubes=4)
    update = jax.jit(jax.vmap(lambda key: policy.update(key, start, quad_sale(*np.float32([0.01, 0.01, 2.25]))).sums))
    sums = np.asarray(update(jax.random.split(jax.random.key(5), KEYS)), float)
    assert np.all(sums[:, 1:] == 0)
    sent = (sums[:, 0, 0] - [0.5, 0, 0, 0]) * 0.5 / 2
    assert all(stats.kstest(column, "laplace").pvalue > 1e-3 for column in sent.T)
    assert np.abs(np.corrcoef(sent.T) - np.eye(4)).max() < 4.5 / KEYS**0.5


def test_intervals_see_nothing_but_what_is_released():
    """Move what is true against the noise, the sum as it was: the same intervals."""
    policy, start = quad_start(300, epsilon=200.0, cubes=4, width=0.0, slack=0.0, least=0.0)
    keys = jax.random.split(jax.random.key(0), 300)

    @jax.jit
    def play_on(x, y, reward):
        def period(state, told):
            key, *sale = told
            now = (jnp.arange(5) == state.time % 5)[:, None, None]  # of the price offered now, noise is made anew
            step = jnp.where(now, 0.0, 64.0)
            moved = state.replace(sums=state.sums + step, noise=state.noise - step)
            after, other = (policy.update(key, one, quad_sale(*sale)) for one in (state, moved))
            return after, (jnp.stack([after.low, after.high]), jnp.stack([other.low, other.high]))

        return jax.lax.scan(period, start, (keys, x, y, reward))

    rng = np.random.default_rng(1)
    _, (seen, other) = play_on(*np.float32(rng.random((3, 300)) * [[0.577], [0.577], [4.5]]))
    agree = np.isclose(seen, other, atol=1e-5).all(axis=(1, 2))
    assert agree.all() and (np.diff(np.asarray(seen), axis=0) != 0).sum() > 8


@pytest.mark.parametrize(
    ("options", "periods", "left"),
    [
        ({"epsilon": None, "width": 0.0}, 80, 0.75**16),
        ({"epsilon": 1e9, "width": 0.0, "slack": 0.0, "least": 0.0}, 160, 0.75**10),
        ({"epsilon": 1e7, "width": 10.0, "least": 0.0, "trust": "local"}, 400, 0.4),
    ],
)
def test_the_best_price_stays_in_the_interval(options, periods, left):
    """Concave revenue, exact: each step keeps the peak, and without margins each five periods cut a quarter."""
    policy, start = quad_start(periods, cubes=1, **options)

    @jax.jit
    @jax.vmap
    def ends(peak, rise, fall, bend):
        def period(state, key):
            price = policy.act(key, state, quad_sale(0.0, 0.0, 0.0).observation)
            gap = price - peak
            revenue = 3 - jnp.where(gap > 0, fall, rise) * (jnp.abs(gap) + bend * gap**2)
            state = policy.update(key, state, quad_sale(0.1, 0.2, revenue))
            return state, (state.low[0], state.high[0])

        return jax.lax.scan(period, start, jax.random.split(jax.random.key(0), periods))[1]

    rng = np.random.default_rng(0)
    peak = np.float32(rng.uniform(0.5, 4.5, 200))
    low, high = ends(peak, *np.float32(rng.uniform(0.05, 0.15, (2, 200))), np.float32(rng.uniform(0, 0.5, 200)))
    assert np.all(np.asarray(low) <= peak[:, None] + 1e-5) and np.all(np.asarray(high) >= peak[:, None] - 1e-5)
    width = np.asarray(high - low)[:, -1] / 4
    assert width.max() < left * (1 + 1e-3)


@pytest.mark.parametrize("epsilon", [0.1, 10.0])
def test_published_constants(epsilon):
    for horizon in (500, 62_500):
        log_t, log_3 = math.log(horizon), math.log(2 * horizon**3)
        expected = {
            ("central", "experiment"): (0.001 * math.sqrt(log_t), 0.01 * log_t**2 / epsilon, log_t**2 / epsilon),
            ("central", "theory"): (math.sqrt(log_3), 304 * log_3**2 / epsilon, 76 * log_3**2 / epsilon),
            ("local", "experiment"): (0.001 * math.sqrt(log_t) / epsilon, 0, max(0.1 * log_t, 1)),
            ("local", "theory"): (1.7 * math.sqrt(math.log(2 * horizon)) / epsilon, 0, 31 * log_t),
        }
        for (trust, constants), numbers in expected.items():
            rule = quad_start(horizon, trust=trust, constants=constants, epsilon=epsilon)[1].rule
            np.testing.assert_allclose([rule.width, rule.slack, rule.least], numbers, rtol=1e-5)


def test_cubes_of_the_theory():
    def count(d, **options):
        policy = policies.private_quadrisection(**options)
        return policy.init(jax.random.key(0), problem_of(BUYERS, context_size=d)).low.shape[0]

    assert count(2, horizon=12_500) == 25  # 24 in the theory
    assert count(2, horizon=62_500) == 36  # 40
    assert count(3, horizon=12_500) == 64  # 58
    assert count(2, horizon=12_500, trust="local") == 9  # 11
    assert count(1, horizon=12_500, trust="local", epsilon=10.0) == 11
    assert count(10) == 1 and count(8, cubes=256) == 256
    assert count(3, cubes=30, features=1) == 30


def test_degenerate_sales_leave_quadrisection_without_nan():
    for options in ({"epsilon": 1e-4}, {"epsilon": 1e-4, "trust": "local"}, {"epsilon": None, "width": 0.0}):
        policy, start = quad_start(200, **options)

        @jax.jit
        def told(sale, policy=policy, start=start):
            def period(before, key):
                price = policy.act(key, before, sale.observation)
                return policy.update(key, before, sale), price

            return jax.lax.scan(period, start, jax.random.split(jax.random.key(0), 200))

        for numbers in ((0, 0, 0), (1e30, -1e30, 1e30), (-1e30, np.inf, -1e30)):
            state, prices = told(quad_sale(*np.float32(numbers)))
            assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))
            assert prices.min() >= 0.5 and prices.max() <= 4.5
            assert np.all(np.asarray(state.low) <= np.asarray(state.high))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"trust": "nobody"}, "trust"),
        ({"constants": "tuned"}, "constants"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": None, "trust": "local"}, "epsilon"),
        ({"cubes": 0}, "cubes"),
        ({"cubes": 257}, "cubes"),
        ({"horizon": 0}, "horizon"),
        ({"features": 0}, "features"),
        ({"lowest": math.nan}, "lowest"),
        ({"lowest": 1.0}, "lowest"),
        ({"highest": math.inf}, "highest"),
        ({"ceiling": 0.0}, "ceiling"),
        ({"width": -1.0}, "width"),
        ({"slack": -1.0}, "slack"),
        ({"least": -1.0}, "least"),
    ],
)
def test_bad_options_of_quadrisection_are_refused_by_name(options, word):
    with pytest.raises(ValueError, match=word):
        policies.private_quadrisection(**options)


def test_markets_that_quadrisection_cannot_play_are_refused():
    for label, options in (("bandit", {}), ("interval", {}), ("several products", {}), (BUYERS, {"features": 4})):
        with pytest.raises(ValueError, match="private_quadrisection"):
            policies.private_quadrisection(**options).init(jax.random.key(0), problem_of(label))
    with pytest.raises(ValueError, match="cubes"):
        jax.eval_shape(lambda e: policies.private_quadrisection("local", e).init(jax.random.key(0), problem_of(BUYERS)), 1.0)
