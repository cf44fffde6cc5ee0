"""Gittins indices and information-directed sampling, against recursions, brute force and quadrature."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import assert_choices, problem_of
from scipy import special, stats
from test_policies_stochastic import KEY, bernoulli_kl

from jaxprice import policies
from jaxprice.oracles import gittins
from jaxprice.policies.stochastic.information_directed import best_pair, regret_and_information


def information_by_brute_force(a, b, weights):
    """Chances to be best, expected regrets and mutual information, by 40,000 points an arm and scipy."""
    laws, size = [stats.beta(*x) for x in zip(a, b, strict=True)], len(a)
    means = np.array([law.mean() for law in laws])
    best, given = np.zeros(size), np.zeros((size, size))
    for j, law in enumerate(laws):
        x = law.ppf((np.arange(10_000) + 0.5) / 10_000)
        cdf = np.array([other.cdf(weights[j] * x / w) for other, w in zip(laws, weights, strict=True)])
        part = np.array(
            [
                m * special.betainc(p + 1, q, np.minimum(weights[j] * x / w, 1))
                for m, p, q, w in zip(means, a, b, weights, strict=True)
            ]
        )
        cdf[j], part[j] = 1, x
        product = np.prod(cdf, axis=0)
        best[j] = product.mean()
        given[j] = [np.mean(product / np.maximum(cdf[k], 1e-300) * part[k]) / best[j] for k in range(size)]
    top = sum(p * w * given[j, j] for j, (p, w) in enumerate(zip(best, weights, strict=True)))
    gain = [sum(best[j] * bernoulli_kl(given[j, k], means[k]) for j in range(size)) for k in range(size)]
    squares = [sum(best[j] * 2 * (given[j, k] - means[k]) ** 2 for j in range(size)) for k in range(size)]
    return best, top - weights * means, np.array(gain), np.array(squares)


measured = jax.jit(regret_and_information, static_argnums=(3, 4))


@pytest.mark.parametrize(
    ("a", "b", "weights"),
    [
        ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1)),
        ((3, 2, 7, 2), (6, 2, 9, 9), (1, 1, 1, 1)),
        ((1, 30, 12, 2), (1, 30, 14, 9), (0.2, 0.3, 0.4, 0.9)),
        ((600, 40, 9, 1), (300, 25, 3, 40), (0.6, 0.6, 0.6, 0.6)),
    ],
)
def test_information_and_regret_by_quadrature(a, b, weights):
    a, b, weights = (np.array(x, float) for x in (a, b, weights))
    best, regret, gain, squares = information_by_brute_force(a, b, weights)
    arrays = [jnp.asarray(x, jnp.float32) for x in (a, b, weights)]
    ours = [np.asarray(x, float) for x in measured(*arrays, 24, "mutual")]
    np.testing.assert_allclose(ours[2], best, atol=4e-3)
    np.testing.assert_allclose(ours[0], regret, atol=2e-3)
    np.testing.assert_allclose(ours[1], gain, rtol=0.03, atol=1e-4)
    np.testing.assert_allclose(measured(*arrays, 24, "variance")[1], squares, rtol=0.03, atol=1e-4)
    assert np.all(gain >= squares - 1e-9)  # Pinsker


def test_best_pair_beats_all_mixtures():
    """Against a fine grid of every pair, random mixtures of all arms, and the closed form of one informative arm."""
    rng = np.random.default_rng(0)
    pair = jax.jit(best_pair)
    for _ in range(40):
        regret, gain = rng.exponential(0.1, 4).astype(np.float32), rng.exponential(0.02, 4).astype(np.float32)
        regret[rng.integers(4)] *= 0.01
        first, second, share = (float(x) for x in pair(regret, gain))
        ours = np.zeros(4)
        ours[int(first)] += share
        ours[int(second)] += 1 - share
        mixtures = np.concatenate(
            [
                rng.dirichlet(np.full(4, 0.3), 3000),
                [
                    s * np.eye(4)[i] + (1 - s) * np.eye(4)[j]
                    for i in range(4)
                    for j in range(4)
                    for s in np.linspace(0, 1, 101)
                ],
            ]
        )
        ratios = (mixtures @ regret) ** 2 / (mixtures @ gain)
        ratio = (ours @ regret) ** 2 / (ours @ gain)
        assert 0 <= share <= 1 and ratio <= ratios.min() * (1 + 1e-5)
        assert ratio > 0.95 * ratios.min()
    # regrets (r, 0), information (0, g): all to the second; (r, s), information (g, 0) with s < r: share s / (r - s)
    assert int(pair(np.float32([0.3, 0.0]), np.float32([0.0, 0.1]))[0]) == 1
    first, second, share = pair(np.float32([0.4, 0.1]), np.float32([0.2, 0.0]))
    chance_of_first = float(share) if int(first) == 0 else 1 - float(share)
    assert {int(first), int(second)} == {0, 1} and chance_of_first == pytest.approx(1 / 3, abs=1e-5)


def test_information_ratio_is_below_half_the_arms():
    """Russo and Van Roy: the smallest ratio, with rewards in [0, 1], is at most K / 2, that of Thompson sampling too."""
    rng = np.random.default_rng(1)
    for _ in range(30):
        a, b = (jnp.asarray(np.round(rng.exponential(8, 4)) + 1, jnp.float32) for _ in range(2))
        regret, gain, best = (np.asarray(x, float) for x in measured(a, b, jnp.ones(4), 24, "mutual"))
        first, second, share = best_pair(jnp.float32(regret), jnp.float32(gain))
        mixture = float(share) * np.eye(4)[int(first)] + (1 - float(share)) * np.eye(4)[int(second)]
        thompson = (best @ regret) ** 2 / (best @ gain)
        assert (mixture @ regret) ** 2 / (mixture @ gain) <= thompson * 1.0001
        assert thompson < 2


def test_information_directed_draws_from_its_mixture():
    policy = policies.information_directed()
    state = policy.init(KEY, problem_of("bandit"))
    state = dataclasses.replace(state, a=jnp.array([8.0, 3, 2, 5]), b=jnp.array([4.0, 2, 5, 5]))
    regret, gain, _ = measured(state.a, state.b, state.signal.weights, 24, "mutual")
    first, second, share = best_pair(regret, gain)
    expected = float(share) * np.eye(4)[int(first)] + (1 - float(share)) * np.eye(4)[int(second)]
    assert 0.05 < expected.max() < 0.95
    assert_choices(policy, state, expected, [expected[[1, 0, 2, 3]]])


@pytest.mark.parametrize(("discount", "value"), [(0.9, 0.7029), (0.95, 0.7614), (0.99, 0.8699)])
def test_gittins_indices_as_published(discount, value):
    assert gittins.index(1, 1, discount) == pytest.approx(value, abs=6e-5)
    if discount < 0.99:
        assert gittins.discounted_table(discount, 150)[0, 0] == pytest.approx(value, abs=6e-5)


def indifference(a, b, value_of_continuing):
    """The sure reward at which giving up and going on are worth the same, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if value_of_continuing(a, b, middle) > 0 else (low, middle)
    return (low + high) / 2


def test_gittins_tables_by_recursion():
    """The retirement formulation, a dictionary of values and a bisection for each state."""
    g = 0.8

    def gain(a, b, reward):
        @functools.cache
        def value(s, f):
            p = (a + s) / (a + b + s + f)
            if s + f == 60:
                return max(reward, p) / (1 - g)
            return max(reward / (1 - g), going_on(s, f, p))

        def going_on(s, f, p):
            return p * (1 + g * value(s + 1, f)) + (1 - p) * g * value(s, f + 1)

        return going_on(0, 0, a / (a + b)) - reward / (1 - g)

    table = gittins.discounted_table(g, 12)
    for n, s in [(0, 0), (1, 1), (3, 0), (12, 5), (12, 12)]:
        assert table[n, s] == pytest.approx(indifference(1 + s, 1 + n - s, gain), abs=2e-5)

    table = gittins.discounted_table(0.95, 150)
    for n, s in [(60, 30), (120, 118), (150, 75), (150, 136)]:
        assert table[n, s] == pytest.approx(gittins.index(1 + s, 1 + n - s, 0.95), abs=2e-4)

    def gain_of(left):
        def finite(a, b, reward):
            @functools.cache
            def value(s, f, m):
                p = (a + s) / (a + b + s + f)
                more = 0.0 if m == 1 else p * max(0, value(s + 1, f, m - 1)) + (1 - p) * max(0, value(s, f + 1, m - 1))
                return p - reward + more

            return value(0, 0, left)

        return finite

    tables = gittins.finite_table(40)
    assert tables[1][0, 0] == pytest.approx(5 / 9, abs=1e-6)
    for left, n, s in [(1, 7, 3), (2, 1, 0), (5, 4, 4), (20, 9, 2), (40, 0, 0)]:
        assert tables[left - 1][n, s] == pytest.approx(indifference(1 + s, 1 + n - s, gain_of(left)), abs=1e-4)


def test_gittins_indices_are_monotone():
    """More sales raise it, more refusals lower it, a larger discount raises it, and it lies above the mean."""
    low, high = gittins.discounted_table(0.9, 60), gittins.discounted_table(0.95, 150)[:61, :61]
    n, s = np.tril_indices(61)
    mean = (s + 1) / (n + 2)
    assert np.all(low[n, s] > mean) and np.all(high[n, s] > low[n, s] - 1e-4)
    assert np.all(np.diff(high, axis=1)[n[s < n], s[s < n]] > 0)
    assert np.all(high[1:][n[n < 60], s[n < 60]] < high[:-1][n[n < 60], s[n < 60]])


def test_gittins_index_beyond_its_table():
    """Within 1e-3: against an arm whose posterior is nearly a point, that much above the index or below it."""
    policy = policies.gittins()
    state = policy.init(KEY, problem_of("bandit"))
    a, b, expected = [], [], []
    for n, share in [(151, 0.5), (300, 0.9), (600, 0.02)]:
        sold = round(share * n)
        exact = gittins.index(1 + sold, 1 + n - sold, 0.95)
        for sure, best in ((exact + 1e-3, 1), (exact - 1e-3, 0)):
            a.append([1 + sold, 1e6 * sure, 1, 1])
            b.append([1 + n - sold, 1e6 * (1 - sure), 1e6, 1e6])
            expected.append(best)
    act = jax.jit(jax.vmap(lambda a, b: policy.act(KEY, dataclasses.replace(state, a=a, b=b), None)))
    np.testing.assert_array_equal(act(jnp.float32(a), jnp.float32(b)), expected)


def test_gittins_is_optimal_with_a_discount():
    """Two arms, discount .6: in every state of up to four pulls the index arm is that of the dynamic programme.

    The programme ends after 18 pulls, at which .6^18 = 1e-4 of the future is left.
    """
    g, depth = 0.6, 18

    @functools.cache
    def value(s1, f1, s2, f2):
        return max(worth(s1, f1, s2, f2))

    def worth(s1, f1, s2, f2):
        p1, p2 = (s1 + 1) / (s1 + f1 + 2), (s2 + 1) / (s2 + f2 + 2)
        if s1 + f1 + s2 + f2 == depth:
            return p1 / (1 - g), p2 / (1 - g)
        first = p1 * (1 + g * value(s1 + 1, f1, s2, f2)) + (1 - p1) * g * value(s1, f1 + 1, s2, f2)
        second = p2 * (1 + g * value(s1, f1, s2 + 1, f2)) + (1 - p2) * g * value(s1, f1, s2, f2 + 1)
        return first, second

    policy, clear, greedy_differs = policies.gittins(discount=g), 0, 0
    state = policy.init(KEY, problem_of("bandit"))
    act = jax.jit(lambda a, b: policy.act(KEY, dataclasses.replace(state, a=a, b=b), None))
    for s1, f1, s2, f2 in [x for x in np.ndindex(5, 5, 5, 5) if sum(x) <= 4]:
        first, second = worth(s1, f1, s2, f2)
        if abs(first - second) > 5e-4:
            action = int(act(jnp.float32([s1 + 1, s2 + 1, 1, 1]), jnp.float32([f1 + 1, f2 + 1, 1e6, 1e6])))
            assert action == int(second > first), (s1, f1, s2, f2)
            clear += 1
            greedy_differs += ((s1 + 1) / (s1 + f1 + 2) >= (s2 + 1) / (s2 + f2 + 2)) != (first > second)
    assert clear > 50 and greedy_differs > 0
