"""Pricing with differential privacy: the noise against its distribution, the decisions against dense linear algebra."""

import dataclasses
import importlib
import math

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, play, problem_of
from scipy import stats

import jaxprice
from jaxprice import policies, random
from jaxprice.types import Transition

private = importlib.import_module("jaxprice.policies.personal.private_pricing")

NAME = "features"  # three features, four prices
SOME = range(0, LANES, 4)
S = 8**0.5
KEYS = 20_000


def sale_of(context, action, demand):
    """A transition of the market NAME."""
    observation = jnp.concatenate([jnp.zeros(3, jnp.float32), jnp.asarray(context, jnp.float32)])
    price = jnp.float32(action)
    return Transition(observation, jnp.int32(action), price, jnp.float32(demand), price * demand, observation)


def frobenius(packed):
    """Frobenius norm of symmetric matrices `[..., M]` given by upper triangles of order D + 1, the last entry left out."""
    packed = np.asarray(packed, float)
    rows, columns = (index[:-1] for index in np.triu_indices(round((2 * packed.shape[-1] + 2.25) ** 0.5 - 0.5)))
    return np.sqrt(np.sum(np.where(rows == columns, 1, 2) * packed**2, axis=-1))


def square(packed, order=7):
    """The symmetric matrix with a zero for the entry left out."""
    full = np.zeros((order, order))
    full[np.triu_indices(order)] = np.append(np.asarray(packed, float), 0)
    return full + full.T - np.diag(full.diagonal())


@pytest.mark.parametrize("trust", ["central", "local"])
def test_no_buyer_moves_a_release_by_more_than_the_sensitivity(trust):
    """Buyers of any size, demand of any size; the same key, so that the noise is the same; and the worst pair attains it."""
    policy, rng = policies.private_pricing(trust, epsilon=1e8), np.random.default_rng(0)
    start = policy.init(jax.random.key(0), problem_of(NAME))

    @jax.jit
    @jax.vmap
    def released(context, action, demand):
        return policy.update(jax.random.key(1), start, sale_of(context, action, demand)).released()

    contexts = rng.standard_normal((4000, 3)) * 10 ** rng.uniform(-1, 2, (4000, 1))
    made = np.asarray(released(contexts, rng.integers(0, 4, 4000), 3 * rng.standard_normal(4000)), float)
    moved = frobenius(made[::2] - made[1::2])
    assert moved.max() < S * (1 + 1e-5) and moved.max() > 0.8 * S
    worst = np.asarray(released(jnp.array([[9.0, 0, 0], [-9.0, 0, 0]]), jnp.array([3, 3]), jnp.ones(2)), float)
    np.testing.assert_allclose(frobenius(worst[0] - worst[1]), S, rtol=1e-5)


def lost(ratio, epsilon):
    """The exact delta of Gaussian noise of standard deviation sensitivity / ratio (Balle and Wang 2018, theorem 8)."""
    a, b = ratio / 2, epsilon / ratio
    return stats.norm.cdf(a - b) - np.exp(epsilon) * stats.norm.cdf(-a - b)


def test_noise_is_as_large_as_promised_and_not_much_larger():
    for trust in ("central", "local"):
        for horizon in (1, 2, 3, 4, 100, 1023, 1024, 10**6):
            problem, releases = problem_of(NAME, horizon), math.floor(math.log2(horizon)) + 1 if trust == "central" else 1
            for epsilon, delta in ((0.01, 1e-5), (0.5, 1e-6), (1.0, 0.05), (10.0, 1e-9)):
                state = policies.private_pricing(trust, epsilon, delta).init(jax.random.key(0), problem)
                sigma = float(state.sigma)
                rho = (math.sqrt(math.log(1 / delta) + epsilon) - math.sqrt(math.log(1 / delta))) ** 2
                np.testing.assert_allclose(sigma, S * math.sqrt(releases / (2 * rho)), rtol=2e-4)
                assert lost(S * math.sqrt(releases) / sigma, epsilon) < delta
                assert lost(2 * S * math.sqrt(releases) / sigma, epsilon) > delta


def test_law_of_one_release():
    """Gaussian, standard deviation sigma on the diagonal and sigma / sqrt(2) off it, independent."""
    keys = jax.random.split(jax.random.key(0), KEYS)
    noise = np.asarray(jax.jit(jax.vmap(lambda key: private.fresh(key, 2, jnp.float32(3))))(keys), float)
    expected = 3 * np.array([1, 0.5**0.5, 0.5**0.5, 1, 0.5**0.5])  # zz, zz', zy; z'z', z'y
    assert all(stats.kstest(column / sd, "norm").pvalue > 1e-3 for column, sd in zip(noise.T, expected, strict=True))
    np.testing.assert_allclose(noise.std(axis=0), expected, rtol=4 / (2 * KEYS) ** 0.5)
    assert np.abs(np.corrcoef(noise.T) - np.eye(5)).max() < 4.5 / KEYS**0.5
    direction = np.array([[0.3, -0.5, 0.2], [-0.5, 0.1, 0.4], [0.2, 0.4, 0.0]])
    direction /= np.linalg.norm(direction)
    along = sum(
        direction[i, j] * noise[:, k] * (1 if i == j else 2)
        for k, (i, j) in enumerate(((0, 0), (0, 1), (0, 2), (1, 1), (1, 2)))
    )
    np.testing.assert_allclose(along.std(), 3, rtol=4 / (2 * KEYS) ** 0.5)


def nodes_of(t):
    """The nodes that make up the first t periods, as intervals (first, last)."""
    out, end = set(), t
    while end:
        length = end & -end
        out.add((end - length, end))
        end -= length
    return out


def test_the_tree_shares_noise_between_periods_as_its_nodes():
    """Covariance of the noise of two releases: sigma^2 times the number of nodes that they share; the sums are exact."""
    policy, periods, lanes = policies.private_pricing("central"), 21, 4000
    start, sale = policy.init(jax.random.key(0), problem_of(NAME, periods)), sale_of([0.5, 0.2, 0.1], 2, 1.0)

    @jax.jit
    @jax.vmap
    def noises(key):
        def period(state, key):
            after = policy.update(key, state, sale)
            return after, (after.released() - after.sums, after.noise())

        return jax.lax.scan(period, start, jax.random.split(key, periods))[1]

    noise, scale = noises(jax.random.split(jax.random.key(3), lanes))
    first, sigma = np.asarray(noise[:, :, 0], float), float(start.sigma)
    shared = np.array([[len(nodes_of(s) & nodes_of(t)) for t in range(1, periods + 1)] for s in range(1, periods + 1)])
    size = np.sqrt(np.outer(shared.diagonal(), shared.diagonal()) + shared**2) / lanes**0.5  # a standard error
    assert np.abs(first.T @ first / lanes / sigma**2 - shared).max() < 4.5 * size.max()
    assert (np.abs(first.T @ first / lanes / sigma**2 - shared) < 4.5 * size).all()
    np.testing.assert_allclose(scale[0], sigma * np.sqrt(shared.diagonal()), rtol=1e-5)
    for buyer in range(periods):
        everything = set().union(*(nodes_of(t) for t in range(1, periods + 1)))
        assert sum(first <= buyer < last for first, last in everything) <= math.floor(math.log2(periods)) + 1


def test_histogram_of_what_a_local_buyer_sends():
    """P - e^epsilon Q over the bins where it is positive, along the worst direction of the worst pair of buyers."""
    epsilon, delta = 2.0, 0.5
    policy = policies.private_pricing("local", epsilon, delta)
    start, keys = policy.init(jax.random.key(0), problem_of(NAME)), jax.random.split(jax.random.key(0), 2 * KEYS)
    pair = [sale_of(x, 3, 1.0) for x in ([9.0, 0, 0], [-9.0, 0, 0])]
    sent = [jax.jit(jax.vmap(lambda key, sale=sale: policy.update(key, start, sale).sums))(keys) for sale in pair]
    made = [private.outer(start.form.of(sale.observation[-3:] / (9 * 2**0.5), sale.action), sale.demand) for sale in pair]
    centers = [square(one) for one in made]
    gap = centers[0] - centers[1]
    np.testing.assert_allclose(np.linalg.norm(gap), S, rtol=1e-5)
    order = np.triu_indices(7)
    weights = (np.where(order[0] == order[1], 1, 2) * (gap / S)[order])[:-1]
    values = [np.asarray(x, float) @ weights for x in sent]
    mean = [np.sum(center * gap) / S for center in centers]

    def excess(p, q):
        edges = np.quantile(np.concatenate([p, q]), np.linspace(0, 1, 41)[1:-1])
        counts = [np.bincount(np.searchsorted(edges, x), minlength=40) / x.size for x in (p, q)]
        return np.maximum(counts[0] - np.exp(epsilon) * counts[1], 0).sum()

    ratio = S / float(start.sigma)
    p, q = (stats.norm.cdf(side * ratio / 2 - epsilon / ratio) for side in (1, -1))  # of where P exceeds e^epsilon Q
    error, exact = 4 * ((p + np.exp(2 * epsilon) * q) / (2 * KEYS)) ** 0.5, lost(ratio, epsilon)
    assert 2 * error < exact < delta
    assert abs(excess(*values) - exact) < error and abs(excess(*values[::-1]) - exact) < error
    third = [m + (x - m) / 3 for x, m in zip(values, mean, strict=True)]
    assert excess(*third) > delta


@pytest.mark.parametrize("trust", ["central", "local"])
def test_prices_are_the_best_for_what_was_released(trust):
    options = {"epsilon": 3e4, "alpha": 0.7, "ridge": 0.5, "shift": 0.8, "radius": 1.2, "ceiling": 0.8}
    played, problem, told = play(policies.private_pricing(trust, **options), NAME), problem_of(NAME), 0
    prices, count = np.asarray(problem.prices, float), math.floor(math.log2(HORIZON)) + 1 if trust == "central" else 1
    tail = math.log(1e6)
    sigma = S * math.sqrt(count / 2) / (math.sqrt(tail + 3e4) - math.sqrt(tail))
    for lane in SOME:
        exact = np.zeros((7, 7))
        for t, (state, sale) in enumerate(played.lane(lane)):
            x = np.asarray(sale.observation[-3:], float)
            x = x * min(1, 1.2 / np.linalg.norm(x)) / (1.2 * 2**0.5)
            z = np.stack([np.concatenate([x, p / prices[-1] * x]) for p in prices])
            released = square(jax.tree.map(jnp.asarray, state).released())
            noise = sigma * math.sqrt(bin(t).count("1") if trust == "central" else t)
            if t < 40 or t % 10 == 0:
                error = np.linalg.norm(released - exact)
                assert error < 2.5 * noise * math.sqrt(27 / 2) + 1e-5, (t, error, noise)
            h = 0.5 + 0.8 * noise * math.sqrt(12)
            matrix = released[:6, :6] + h * np.eye(6)
            if np.linalg.eigvalsh(matrix).min() > 0.5:
                index = z @ np.linalg.solve(matrix, released[:6, 6])
                index = prices * (index + 0.7 * np.sqrt(h * np.einsum("ki,ij,kj->k", z, np.linalg.inv(matrix), z)))
                told += harness.assert_index(sale.action, index)
            v = np.append(z[int(sale.action)], np.clip(float(sale.demand) / 0.8, 0, 1))
            exact += np.outer(v, v)
            exact[6, 6] = 0
    assert told > len(SOME) * HORIZON / 2


def test_inverse_of_matrices_positive_or_not():
    rng, checked = np.random.default_rng(0), 0
    for _ in range(20):
        a = rng.standard_normal((6, 6))
        inverted = np.asarray(
            private.products(jnp.asarray(a @ a.T + np.eye(6), jnp.float32), np.eye(6, dtype=np.float32), 1e-3), float
        )
        np.testing.assert_allclose(inverted, np.linalg.inv(a @ a.T + np.eye(6)), rtol=2e-3, atol=2e-5)
        a = a + a.T
        inverted = np.asarray(private.products(jnp.asarray(a, jnp.float32), np.eye(6, dtype=np.float32), 0.5), float)
        assert np.linalg.eigvalsh(inverted).min() > 0
        added = np.linalg.inv(inverted) - a
        assert np.abs(added - np.diag(added.diagonal())).max() < 2e-3 * np.abs(added).max()
        assert added.diagonal().min() > -2e-3 * np.abs(added).max()
        checked += added.diagonal().max() > 0.1
    assert checked > 15


@pytest.mark.slow
def test_privacy_costs_regret_and_local_privacy_costs_more():
    """Linear demand, 4,000 buyers; epsilon = 1e6 is next to no noise."""
    env, params = jaxprice.make(
        "GLMDemand", link="linear", dimension=2, num_prices=5, low=0.5, context="uniform", horizon=4000, noise_scale=0.05
    )
    params = dataclasses.replace(params, alpha=np.array([0.6, 0.5], np.float32), beta=np.array([0.1, 0.25], np.float32))
    words = {role: random.stream(0, role) for role in random.ROLES}

    def regret(trust, epsilons, lanes=24):
        def lane(epsilon, number):
            policy = policies.private_pricing(trust, epsilon, radius=1.3)

            def key(role, time=0):
                return random.address(words[role], time, number)

            def period(carry, time):
                obs, state, env_state = carry
                action = policy.act(key("act", time), state, obs)
                after, env_state, reward, _, info = env.step_env(key("demand", time), env_state, action, params)
                sale = Transition(obs, action, info["price"], info["demand"], reward, after)
                return (after, policy.update(key("update", time), state, sale), env_state), info["regret"]

            obs, env_state = env.reset_env(key("reset"), params)
            start = obs, policy.init(key("init"), env.problem(params)), env_state
            return jax.lax.scan(period, start, jnp.arange(4000))[1].sum()

        run = jax.jit(jax.vmap(jax.vmap(lane, (None, 0)), (0, None)))
        return np.asarray(run(np.array(epsilons, np.float32), np.arange(lanes, dtype=np.uint32)), float).mean(axis=1)

    params = jax.tree.map(jnp.asarray, params)
    open_, private_ = regret("central", [1e6, 5.0])
    local = regret("local", [5.0])[0]
    assert open_ < 0.6 * private_ < 0.6 * local, (open_, private_, local)


def test_degenerate_data_leave_no_nan():
    extremes = [
        {"epsilon": 1e-4, "delta": 1e-30, "trust": "local", "shift": 0.0, "ridge": 1e-6},
        {"epsilon": 1e9, "alpha": 0.0, "ridge": 1e-6},
    ]
    for options in extremes:

        @jax.jit
        def told(sale, options=options):
            policy = policies.private_pricing(**options)

            def period(state, key, policy=policy):
                act, update = jax.random.split(key)
                state = policy.update(update, state, sale)
                return state, policy.act(act, state, sale.observation)

            start = policy.init(jax.random.key(0), problem_of(NAME))
            return jax.lax.scan(period, start, jax.random.split(jax.random.key(0), 100))

        for sale in (sale_of([0, 0, 0], 0, 0.0), sale_of([1e18, -1e18, 0], 3, 1e30)):
            state, actions = told(sale)
            assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))
            assert actions.min() >= 0 and actions.max() < 4


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"trust": "nobody"}, "trust"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": math.inf}, "epsilon"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"radius": 0.0}, "radius"),
        ({"ceiling": 0.0}, "ceiling"),
        ({"alpha": -1.0}, "alpha"),
        ({"ridge": 0.0}, "ridge"),
        ({"shift": -1.0}, "shift"),
        ({"signal": "price"}, "signal"),
    ],
)
def test_bad_options_are_refused_by_name(options, word):
    with pytest.raises(ValueError, match=word):
        policies.private_pricing(**options)


def test_markets_that_it_cannot_play_are_refused():
    wide = "GLMDemand", (("dimension", 17), ("num_prices", 3))
    for label in ("bandit", "features, interval", "several products", wide):
        with pytest.raises(ValueError, match="private_pricing"):
            policies.private_pricing().init(jax.random.key(0), problem_of(label))
