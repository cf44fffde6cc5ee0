"""Stochastic bandits on a price grid, against NumPy references in float64 and known properties of each algorithm."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, assert_choices, assert_index, play, problem_of, signals, sums_of
from scipy import special, stats

from jaxprice import policies
from jaxprice.oracles import gittins
from jaxprice.policies.parts import beta_law
from jaxprice.policies.stochastic.imed import divergence

KEY = jax.random.key(0)
SHAPES = (1, 1.5, 2, 3.5, 5, 8, 12, 16, 19.9, 20.1, 32, 64, 300, 1000)


class Arms:
    """Pulls, sums of signals and of their squares, sales and refusals of every arm; an index for each by a subclass."""

    def __init__(self, weights, horizon, buyers):
        self.weights, self.horizon, self.buyers, size = weights, horizon, buyers, len(weights)
        self.n, self.sums, self.squares = [0] * size, [0.0] * size, [0.0] * size

    def learn(self, arm, x):
        self.n[arm] += 1
        self.sums[arm] += float(x)
        self.squares[arm] += float(x) ** 2

    def indices(self, t):
        return np.array([self.index(k, t) if self.n[k] else math.inf for k in range(len(self.n))])

    def index(self, k, t):
        return self.weights[k] * (self.sums[k] / self.n[k] + self.bonus(self.n[k], k, t))


class UcbV(Arms):
    def bonus(self, n, k, t):
        variance = max(self.squares[k] / n - (self.sums[k] / n) ** 2, 0)
        width = 1.1 * math.log(t) / n
        return math.sqrt(2 * variance * width) + 3 * 0.3 * width


class Moss(Arms):
    def bonus(self, n, k, t):
        return math.sqrt(max(0, math.log(self.horizon / (len(self.n) * n))) / n)


class MossAnytime(Arms):
    def bonus(self, n, k, t):
        return math.sqrt((1 + 1.35) / 2 * max(0, math.log(t / (len(self.n) * n))) / n)


class GaussianKl(Arms):
    noise = (0.3,) * 4

    def bonus(self, n, k, t):
        return math.sqrt(2 * self.noise[k] ** 2 * math.log(t) / n)


class GaussianKlBounded(GaussianKl):
    noise = (0.5,) * 4


class KlPlus(Arms):
    def index(self, k, t):
        ratio = max(t / self.n[k], 1)
        budget = math.log(ratio) + 2 * math.log(max(math.log(ratio), 1))
        low, high = self.sums[k] / self.n[k], 1.0
        for _ in range(60):
            middle = (low + high) / 2
            inside = self.n[k] * bernoulli_kl(self.sums[k] / self.n[k], middle) <= budget
            low, high = (middle, high) if inside else (low, middle)
        return self.weights[k] * low


class Imed(Arms):
    def indices(self, t):
        if not all(self.n):
            return np.where(np.array(self.n) == 0, math.inf, 0.0)
        means = [total / n for total, n in zip(self.sums, self.n, strict=True)]
        best = max(w * m for w, m in zip(self.weights, means, strict=True))
        scores = []
        for w, m, n in zip(self.weights, means, self.n, strict=True):
            evidence = 0.0 if w * m == best else n * bernoulli_kl(m, best / w) if w > best else 1e9
            scores.append(-evidence - math.log(n))
        return np.array(scores)


class Posterior(Arms):
    """Successes and failures on top of a prior Beta(a, b); all arms may be played from the start."""

    prior = (1, 1)

    def indices(self, t):
        wins = [self.buyers * total for total in self.sums]
        shapes = [
            (self.prior[0] + s, self.prior[1] + self.buyers * n - s) for s, n in zip(np.round(wins), self.n, strict=True)
        ]
        return np.array([w * self.value(a, b, t) for w, (a, b) in zip(self.weights, shapes, strict=True)])


class BayesUcb(Posterior):
    prior = (1.5, 2)

    def value(self, a, b, t):
        t = max(t, 3)
        return 1 - special.betaincinv(b, a, 1 / (t * math.log(t) ** 2))


class Gittins(Posterior):
    def value(self, a, b, t):
        table = gittins.discounted_table(0.95, 150)
        n = int(a + b - 2)
        if n <= 150:
            return table[n, int(a - 1)]
        s = a / (a + b) * 152 - 1
        lead = [table[150, k] - (k + 1) / 152 for k in (int(s), int(s) + 1)]
        return a / (a + b) + (lead[0] + (s - int(s)) * (lead[1] - lead[0])) * 152 / (a + b)


class GittinsFinite(Posterior):
    def value(self, a, b, t):
        return gittins.finite_table(40)[40 - t][int(a + b - 2), int(a - 1)] if t <= 40 else a / (a + b)


def bernoulli_kl(p, q):
    return float(special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q))


@pytest.mark.parametrize(
    ("reference", "policy", "name", "source", "lead"),
    [
        (UcbV, policies.ucb_v(zeta=1.1, c=0.3), "crowd", "demand", 1e-4),
        (Moss, policies.moss(), "pricing", "demand", 1e-4),
        (MossAnytime, policies.moss(anytime=True, signal="reward"), "pricing", "reward", 1e-4),
        (Imed, policies.imed(), "pricing", "demand", 1e-3),
        (GaussianKl, policies.kl_ucb_gaussian(), "noisy", "demand", 1e-4),
        (GaussianKlBounded, policies.kl_ucb_gaussian(signal="reward"), "pricing", "reward", 1e-4),
        (KlPlus, policies.kl_ucb(c=2.0, plus=True), "pricing", "demand", 1e-4),
        (BayesUcb, policies.bayes_ucb(c=2.0, a=1.5, b=2.0), "crowd", "demand", 3e-4),
        (Gittins, policies.gittins(), "crowd", "demand", 1e-5),
        (GittinsFinite, policies.gittins(horizon=40), "bandit", "demand", 1e-5),
    ],
    ids=lambda x: x.__name__ if isinstance(x, type) else x if isinstance(x, str) else "",
)
def test_index_policies_step_for_step(reference, policy, name, source, lead):
    played, weighed = play(policy, name), 0
    for lane in range(LANES):
        actions, demands = played.sales.action[:, lane], played.sales.demand[:, lane]
        x, weights = signals(name, actions, demands, source)
        book = reference(weights, HORIZON, problem_of(name).buyers)
        for t, action in enumerate(actions, start=1):
            weighed += assert_index(action, book.indices(t), lead)
            book.learn(action, x[t - 1])
    assert weighed > 0.5 * LANES * HORIZON
    assert all(len(set(column)) > 1 for column in played.sales.action.T)


def with_arms(policy, counts, sums, name="bandit", **changes):
    """A first state with so many pulls and such sums."""
    state = policy.init(KEY, problem_of(name))
    return dataclasses.replace(state, arms=sums_of(jnp.array(counts), sums), **changes)


def test_ucb_v_knows_a_steady_arm():
    """Equal means and pulls: the arm without variance has the lower bound; with a coin's variance, by the formula."""
    policy = policies.ucb_v(c=0.0)
    state = with_arms(policy, [100] * 4, [50, 52, 50, 50], time=jnp.int32(401))
    for squares, best in [([25, 27.04, 25, 50], 3), ([25, 27.04, 25, 25], 1)]:
        assert policy.act(KEY, dataclasses.replace(state, squares=jnp.array(squares, jnp.float32)), None) == best


def test_moss_stops_exploring_after_a_fair_share():
    """Pulled T / K times or more, an arm has no bonus: the best mean is played, be the others rarer by far."""
    policy = policies.moss()
    fair = HORIZON / 4
    counts = np.array([fair, 20 * fair, fair, fair])
    means = np.array([0.5, 0.501, 0.5, 0.4])
    assert (
        policy.act(KEY, dataclasses.replace(with_arms(policy, counts, counts * means), horizon=jnp.float32(HORIZON)), None)
        == 1
    )
    counts[0] = fair / 2  # sqrt(log 2 / 15) = .21
    assert (
        policy.act(KEY, dataclasses.replace(with_arms(policy, counts, counts * means), horizon=jnp.float32(HORIZON)), None)
        == 0
    )


def test_divergence_is_exact_next_to_its_zero():
    p, q = np.meshgrid(np.r_[0, 1e-6, 1e-3, 0.1:0.9:9j, 0.999, 1], np.r_[1e-6, 1e-3, 0.1:0.9:9j, 0.999, 1 - 1e-6])
    p, q = p.ravel().astype(np.float32), q.ravel().astype(np.float32)
    p, q = np.r_[p, np.full(5, 0.3, np.float32)], np.r_[q, np.float32(0.3) + np.float32([1e-3, 1e-4, -1e-4, 1e-5, -1e-3])]
    ours = np.asarray(jax.jit(divergence)(p, q), float)
    p, q = p.astype(float), q.astype(float)
    gap = np.abs(q - p)
    exact = special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q)
    assert np.all(np.abs(ours - exact) <= 2e-6 * exact + 2e-7 * gap)  # times 1e5 pulls, where gap is .01: below 1e-3
    at_ends = np.asarray(divergence(jnp.float32([0, 1, 0.5, 0.5, 0.5, 0.5]), jnp.float32([0, 1, 0, 1, -0.1, 1.2])))
    np.testing.assert_array_equal(at_ends, [0, 0, np.inf, np.inf, np.inf, np.inf])


def test_imed_leaves_out_what_cannot_be_best():
    """Price .35 over a cost of .3 earns .05 at most, the best price .15: it is never played after its first time."""
    actions = play(policies.imed(), "pricing").sales.action
    late = actions[40:]
    assert np.all(np.sum(late == 0, axis=0) <= np.sum(late == 1, axis=0) + np.sum(late == 2, axis=0))
    policy = policies.imed()
    state = with_arms(policy, [1, 500, 500, 500], [1, 300, 250, 40], "pricing")
    assert policy.act(KEY, state, None) != 0
    state = with_arms(policy, [2, 500, 500, 500], [2, 5, 5, 2], "pricing")
    assert policy.act(KEY, state, None) == 0


def test_gaussian_noise_is_that_of_the_market():
    first = functools.partial(policies.kl_ucb_gaussian().init, KEY)
    np.testing.assert_array_equal(first(problem_of("crowd")).noise, [np.float32(0.5 / math.sqrt(3))] * 4)
    changed = problem_of("crowd", noise="gaussian", noise_scale=jnp.float32(0.6))
    np.testing.assert_allclose(first(changed).noise, [0.2] * 4, rtol=1e-6)
    rewards = policies.kl_ucb_gaussian(signal="reward").init(KEY, changed)
    np.testing.assert_allclose(rewards.noise * rewards.signal.weights, 0.2 * np.array([0.05, 0.25, 0.4, 0.6]), rtol=1e-5)
    products = policies.kl_ucb_gaussian(signal="reward").init(
        KEY, dataclasses.replace(changed, prices=jnp.array([[1.3, 1.3], [3.3, 4.3]]), buyers=1)
    )  # margins (1, 1) and (3, 4): the reward's deviations are .6 sqrt(2) and .6 * 5
    np.testing.assert_allclose(products.noise * 7, [0.6 * math.sqrt(2), 3.0], rtol=1e-5)


def test_beta_quantile_error():
    """Within 5e-4 in standard normal units or 3e-6, for shapes up to 1e6 and tails from 1/3 to 1e-12."""
    shapes = (*SHAPES, 1e4, 1e5, 1e6)
    a, b, tail = (x.ravel() for x in np.meshgrid(shapes, shapes, [1 / 3, 0.2, 0.05, 1e-2, 1e-3, 1e-5, 1e-8, 1e-12]))
    ours = np.asarray(jax.jit(beta_law.upper_quantile)(a, b, np.log(tail)), float)
    exact = 1 - special.betaincinv(b, a, tail)
    with np.errstate(invalid="ignore"):
        score = np.abs(stats.norm.isf(special.betainc(b, a, 1 - ours)) - stats.norm.isf(tail))
    assert np.all((score < 5e-4) | (np.abs(ours - exact) < 3e-6))
    assert np.abs(ours - exact).max() < 1e-4
    wide = (a < 3) & (b < 3) & (tail > 1e-4)  # what an arm seldom tried has: no float32 in the way
    assert score[wide].max() < 5e-4


def test_beta_quantile_closed_forms():
    """One free shape: 1 - q = tail^(1/b) for a = 1, q = (1 - tail)^(1/a) for b = 1."""
    n, tail = (x.ravel() for x in np.meshgrid([1.0, 2, 7, 50, 400], [0.3, 0.01, 1e-4]))
    quantile = jax.jit(beta_law.upper_quantile)
    np.testing.assert_allclose(quantile(np.ones_like(n), n, np.log(tail)), 1 - tail ** (1 / n), rtol=2e-4)
    np.testing.assert_allclose(
        1 - quantile(n, np.ones_like(n), np.log(tail)), -np.expm1(np.log1p(-tail) / n), rtol=2e-3, atol=2e-7
    )


def test_beta_tail_error():
    a, b, z = (x.ravel().astype(np.float32).astype(float) for x in np.meshgrid(SHAPES, SHAPES, np.linspace(-6.5, 6.5, 27)))
    high = special.betaincinv(b, a, stats.norm.sf(z))
    x = np.where(z > 0, 1 - high, special.betaincinv(a, b, stats.norm.cdf(z))).astype(np.float32)
    inside = (x > 1e-7) & (x < 1 - 1e-6)
    a, b, x = a[inside], b[inside], x[inside]

    def tail_and_density(x, a, b):
        law = beta_law.law(a, b)
        half_square = law.half_square(x)
        return law.tail(x, half_square), law.density(half_square)

    tail, density = (np.asarray(v, float) for v in jax.jit(tail_and_density)(x, a.astype(np.float32), b.astype(np.float32)))
    x = x.astype(float)
    exact = special.betainc(b, a, 1 - x)
    assert np.abs(tail - exact).max() < 5e-4
    assert np.abs(tail / exact - 1)[exact > 1e-12].max() < 1.5e-3
    np.testing.assert_allclose(
        density, np.exp(special.xlogy(a, x) + special.xlog1py(b, -x) - special.betaln(a, b)), rtol=1e-3
    )


class Elimination:
    """Successive elimination in loops: rounds of pulls, then a look at all arms in play."""

    def __init__(self, weights, delta, c, scale):
        self.weights, self.size = weights, len(weights)
        self.odds, self.scale = c * self.size / delta, scale
        self.active, self.n, self.sums = set(range(self.size)), [0] * self.size, [0.0] * self.size

    def choose(self):
        return min(self.active, key=lambda k: (self.n[k], k))

    def learn(self, arm, x):
        self.n[arm] += 1
        self.sums[arm] += x
        if len({self.n[k] for k in self.active}) == 1:
            n = self.n[arm]
            radius = math.sqrt(self.scale * math.log(self.odds * n**2) / n)
            lower = max(self.weights[k] * (self.sums[k] / n - radius) for k in self.active)
            margins = {k: self.weights[k] * (self.sums[k] / n + radius) - lower for k in self.active}
            self.active = {k for k in self.active if margins[k] >= 0}
            return min(abs(v) for v in margins.values()) > 1e-5
        return True


def test_successive_elimination_step_for_step():
    played = play(policies.successive_elimination(delta=0.3, c=2.0, scale=0.02), "pricing")
    left = []
    for lane in range(LANES):
        actions = played.sales.action[:, lane]
        x, weights = signals("pricing", actions, played.sales.demand[:, lane], "demand")
        book, clear = Elimination(weights, 0.3, 2.0, 0.02), True
        for action, gain in zip(actions, x, strict=True):
            assert not clear or action == book.choose()
            clear = clear and book.learn(action, gain)
        left.append(len(book.active))
        assert not clear or set(np.flatnonzero(played.last.active[lane])) == book.active
    assert 1 in left and min(left) >= 1


def test_successive_elimination_as_published():
    """Rewards without noise, gap .4: out after the first round n with 2 sqrt(log(c K n^2 T) / n) < .4, not before."""
    policy = policies.successive_elimination()
    state = policy.init(KEY, problem_of("bandit", horizon=jnp.int32(1000)))

    def radius(n):
        return math.sqrt(math.log(5 * 4 * n**2 * 1000) / n)

    out = next(n for n in range(2, 10_000) if 2 * radius(n) < 0.4)
    for n, stays in [(out - 1, True), (out, False)]:
        counts = jnp.array([n, n, n, n - 1], jnp.float32)
        state_n = dataclasses.replace(state, arms=sums_of(counts, counts * jnp.array([0.8, 0.8, 0.4, 0.6])))
        sale = dataclasses.replace(one_sale(), action=jnp.int32(3), demand=jnp.float32(0.6))
        np.testing.assert_array_equal(policy.update(KEY, state_n, sale).active, [True, True, stays, True])
    counts = jnp.array([out, out, out, out - 2], jnp.float32)  # not in the middle of a round
    state_n = dataclasses.replace(state, arms=sums_of(counts, counts * jnp.array([0.8, 0.8, 0.4, 0.6])))
    assert np.all(policy.update(KEY, state_n, sale).active)


@functools.cache
def one_sale():
    played = play(policies.moss(), "pricing")
    return jax.tree.map(lambda x: jnp.asarray(x[0, 0]), played.sales)


def test_boltzmann_is_a_softmax():
    """Constant: exp(v / temperature) with v over the largest margin; log: temperature / log(1 + t)."""
    counts, sums = np.array([10, 5, 20, 8.0]), np.array([9, 4, 6, 1.0])
    margins = np.array([0.05, 0.25, 0.4, 0.6])
    value = margins * sums / counts / 0.6

    def softmax(temperature):
        return special.softmax(value / temperature)

    policy = policies.boltzmann(temperature=0.2)
    state = with_arms(policy, counts, sums, "pricing", time=jnp.int32(44))
    assert_choices(policy, state, softmax(0.2), [softmax(0.1), softmax(0.3), special.softmax(margins * sums / 0.6)])
    cooled = policies.boltzmann(temperature=0.25, schedule="log")
    early = dataclasses.replace(state, time=jnp.int32(2))
    assert_choices(cooled, early, softmax(0.25 / math.log(3)), [softmax(0.25 / math.log(2))])


def test_boltzmann_gumbel_has_a_noise_for_each_arm():
    """P(k) is the integral of arm k's Gumbel density times the others' distribution functions."""
    counts, sums = np.array([10, 5, 20, 8.0]), np.array([9, 4, 6, 1.0])
    margins = np.array([0.05, 0.25, 0.4, 0.6])
    policy = policies.boltzmann(schedule="gumbel")

    def chances(scale):
        laws = [stats.gumbel_r(m, s) for m, s in zip(margins * sums / counts, margins * scale, strict=True)]
        x = np.linspace(-1, 4, 200_001)
        density = [law.pdf(x) * np.prod([other.cdf(x) for other in laws if other is not law], axis=0) for law in laws]
        return np.sum(density, axis=1) * (x[1] - x[0])

    state = with_arms(policy, counts, sums, "pricing", time=jnp.int32(44))
    expected = chances(0.5 / np.sqrt(counts))
    assert_choices(policy, state, expected / expected.sum(), [chances(0.5 / counts), chances(1 / np.sqrt(counts))])


def test_gradient_bandit_step_for_step():
    played = play(policies.gradient_bandit(step=0.7), "crowd")
    for lane in range(LANES):
        actions = played.sales.action[:, lane]
        x, _ = signals("crowd", actions, played.sales.demand[:, lane], "reward")
        preferences, mean = [0.0] * 4, float(x[0])
        for t, action in enumerate(actions):
            chances = special.softmax(preferences)
            ours = special.softmax(played.states.preferences[t, lane].astype(float))
            np.testing.assert_allclose(ours, chances, atol=1e-5)
            move = 0.7 * (x[t] - mean)
            preferences = [h + move * ((k == action) - p) for k, (h, p) in enumerate(zip(preferences, chances, strict=True))]
            mean = (mean * t + x[t]) / (t + 1)
    assert np.ptp(played.last.preferences, axis=1).min() > 0.1


def test_gradient_bandit_climbs_the_expected_gain():
    """Over arms and sales, the mean step is the gradient of the expected gain, with a baseline or without."""
    preferences, means = np.array([0.3, -0.5, 0.8, 0.0]), np.array([0.2, 0.9, 0.4, 0.7])
    chances = special.softmax(preferences)
    gradient = chances * (means - chances @ means)
    sale = one_sale()
    for baseline in (True, False):
        policy = policies.gradient_bandit(step=0.01, baseline=baseline)
        state = dataclasses.replace(
            policy.init(KEY, problem_of("bandit")),
            count=jnp.int32(7),
            mean=jnp.float32(0.45),
            preferences=jnp.float32(preferences),
        )
        update = jax.jit(
            lambda arm, sold, policy=policy, state=state: (
                policy.update(KEY, state, dataclasses.replace(sale, action=arm, demand=sold, reward=sold)).preferences
            )
        )
        mean = 0.0
        for arm in range(4):
            for sold, chance in ((1.0, means[arm]), (0.0, 1 - means[arm])):
                after = np.asarray(update(jnp.int32(arm), jnp.float32(sold)), float)
                step = (after - after.mean()) - (preferences - preferences.mean())
                mean = mean + chances[arm] * chance * step / 0.01
        np.testing.assert_allclose(mean, gradient - gradient.mean(), atol=2e-5)
    assert abs(gradient.mean()) < 1e-12
    assert_choices(policy, state, chances)


def test_optimistic_thompson_never_draws_below_the_mean():
    """Choice frequencies of draws with an atom at the mean, by quadrature; told from plain Thompson sampling."""
    a, b = np.array([6.0, 3, 7, 2]), np.array([2.0, 2, 9, 5])
    weights = np.array([0.05, 0.25, 0.4, 0.6])
    policy = policies.optimistic_thompson()
    state = policy.init(KEY, problem_of("pricing"))
    state = dataclasses.replace(state, a=jnp.float32(a), b=jnp.float32(b))
    laws, values = [stats.beta(*x) for x in zip(a, b, strict=True)], weights * a / (a + b)

    def chances(floor):
        out = []
        for k, law in enumerate(laws):
            low = values[k] / weights[k] if floor else 0.0
            x = low + (np.arange(20_000) + 0.5) / 20_000 * (1 - low)
            others = [j for j in range(4) if j != k]

            def below(v, others=others):
                return np.prod([np.where(v >= values[j] * floor, laws[j].cdf(v / weights[j]), 0) for j in others], axis=0)

            atom = law.cdf(low) * below(values[k]) if floor else 0.0
            out.append(atom + np.sum(law.pdf(x) * below(weights[k] * x)) * (1 - low) / 20_000)
        return np.array(out)

    assert_choices(policy, state, chances(1) / chances(1).sum(), [chances(0)])


@pytest.mark.parametrize(
    "policy", [policies.optimistic_thompson(a=1.5, b=2.0), policies.bayes_ucb(c=2.0, a=1.5, b=2.0)], ids=["drawn", "bound"]
)
def test_posteriors_count_every_buyer(policy):
    played = play(policy, "crowd")
    hot = played.sales.action[..., None] == np.arange(4)
    sold = np.cumsum(hot * played.sales.demand[..., None], axis=0)[-1]
    np.testing.assert_allclose(played.last.a, 1.5 + sold, atol=1e-4)
    np.testing.assert_allclose(played.last.b, 2 + 3 * hot.sum(axis=0) - sold, atol=1e-4)
    assert len({tuple(column) for column in played.sales.action.T}) == LANES


def test_posteriors_flip_a_coin_for_rewards():
    policy = policies.bayes_ucb(signal="reward")
    state = policy.init(KEY, problem_of("pricing"))
    sale = dataclasses.replace(one_sale(), action=jnp.int32(1), reward=jnp.float32(0.25), demand=jnp.float32(1))
    after = jax.jit(jax.vmap(lambda key: policy.update(key, state, sale)))(jax.random.split(KEY, 20_000))
    wins, chance = np.asarray(after.a[:, 1]) - 1, 0.25 / 0.6
    assert set(wins) == {0, 1}
    assert abs(wins.mean() - chance) < 4 * math.sqrt(chance * (1 - chance) / 20_000)
    np.testing.assert_array_equal(after.a + after.b, np.tile([2, 3, 2, 2], (20_000, 1)))


MAKERS = {
    "bayes_ucb": {},
    "boltzmann": {"schedule": "gumbel"},
    "gittins": {},
    "gradient_bandit": {"step": 50.0},
    "imed": {},
    "information_directed": {},
    "kl_ucb_gaussian": {"noise": 0.0},
    "successive_elimination": {"scale": 0.01},
    "ucb_v": {"zeta": 0.0},
}


@pytest.mark.parametrize("name", MAKERS)
def test_extremes(name):
    """All buy, nobody buys, one price is played alone, with two prices below cost: finite, and profitable where all buy."""
    policy, problem = (
        policies.make(name, **MAKERS[name]),
        problem_of("pricing", cost=jnp.float32(0.6), horizon=jnp.int32(300)),
    )
    arms = jnp.stack([jnp.arange(300) % 4, jnp.arange(300) % 4, jnp.minimum(jnp.arange(300), 3)])
    demands = jnp.array([1.0, 0.0, 1.0])
    sale = one_sale()

    def history(arms, demand):
        def period(state, arm):
            reward = (problem.prices[arm] - problem.cost) * demand
            after = dataclasses.replace(sale, action=arm, demand=demand, reward=reward)
            return policy.update(KEY, state, after), None

        state = jax.lax.scan(period, policy.init(KEY, problem), arms)[0]
        return state, policy.act(jax.random.key(1), state, None)

    state, actions = jax.jit(jax.vmap(history))(arms, demands)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    assert actions[0] == 3 and actions[2] >= 2 and 0 <= actions[1] < 4


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("bayes_ucb", {"c": -1.0}),
        ("bayes_ucb", {"a": 0.5}),
        ("boltzmann", {"temperature": 0.0}),
        ("boltzmann", {"schedule": "linear"}),
        ("gittins", {"discount": 1.0}),
        ("gittins", {"horizon": 501}),
        ("gittins", {"horizon": 0}),
        ("gittins", {"discount": 0.9, "horizon": 10}),
        ("gittins", {"b": 0.2}),
        ("gradient_bandit", {"step": 0.0}),
        ("imed", {"signal": "sales"}),
        ("information_directed", {"nodes": 4}),
        ("information_directed", {"information": "entropy"}),
        ("kl_ucb_gaussian", {"noise": -0.1}),
        ("moss", {"alpha": -1.0}),
        ("optimistic_thompson", {"b": 0.0}),
        ("successive_elimination", {"delta": 0.0}),
        ("successive_elimination", {"c": 0.0}),
        ("successive_elimination", {"scale": -1.0}),
        ("ucb_v", {"zeta": -1.0}),
        ("ucb_v", {"c": math.nan}),
    ],
)
def test_bad_options_are_named(name, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        policies.make(name, **option)


def test_markets_that_are_refused():
    for name in ("bayes_ucb", "gittins", "information_directed", "optimistic_thompson"):
        with pytest.raises(ValueError, match=f"{name} needs bernoulli"):
            policies.make(name).init(KEY, problem_of("noisy"))
    with pytest.raises(ValueError, match="gittins with a horizon"):
        policies.gittins(horizon=30).init(KEY, problem_of("crowd"))
    with pytest.raises(ValueError, match="traced"):
        jax.eval_shape(
            lambda a: policies.gittins(a=a).init(KEY, problem_of("bandit")), jax.ShapeDtypeStruct((), jnp.float32)
        )
    for bad in ({"discount": 1.0}, {"a": 0.0}, {"depth": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            gittins.index(**({"a": 1, "b": 1, "discount": 0.9} | bad))
    with pytest.raises(ValueError, match="horizon"):
        gittins.finite_table(1000)
