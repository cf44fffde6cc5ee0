"""Every policy against an independent NumPy reference: float64, scalar loops, written from the published formulas.

A policy and its reference meet the same buyers: `play` drives `init`, `act` and `update` of the policy, and the reference
then receives the same transitions, one by one. A deterministic policy must choose the reference's arm if the reference's
best index leads by more than `LEAD`. A randomised policy must have the reference's posterior or weights and act accordingly:
choice frequencies over many keys are compared with exact probabilities, by quadrature.
"""

import dataclasses
import functools
import math

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import DRAWS, HORIZON, LANES, LEAD, actions_of, assert_choices, problem_of, state_after, sums_of
from scipy import optimize, stats

import jaxprice
from jaxprice import policies, random
from jaxprice.policies.parts.kl_bound import upper_bound
from jaxprice.types import Policy, Transition

NAMES = ("pricing", "bandit", "crowd")
INDEX_POLICIES = {
    "ucb1": lambda signal: policies.ucb1(scale=2.0, signal=signal),
    "ucb_tuned": lambda signal: policies.ucb_tuned(signal=signal),
    "kl_ucb": lambda signal: policies.kl_ucb(c=3.0, signal=signal),
    "epsilon_greedy": lambda signal: policies.epsilon_greedy(epsilon=0.0, signal=signal),
}


@functools.cache
def play(policy, name, horizon=HORIZON):
    """Lanes of a policy told of a horizon: `(actions, signals by their source, states before each act)`, `[time, lane]`."""
    played = harness.play(policy, name, changes=(("max_steps_in_episode", horizon),))
    actions, demands = played.sales.action, played.sales.demand
    return (
        actions,
        {source: harness.signals(name, actions, demands, source)[0] for source in ("demand", "reward")},
        played.states,
    )


def market_margins(market):
    """Profit of a sale at each price."""
    return np.asarray(problem_of(market).margins, float)


class Reference:
    """An index policy in plain Python, an index for every arm: number, sum and sum of squares of its signals."""

    def __init__(self, weights):
        self.weights = weights
        self.seen = [(0, 0.0, 0.0) for _ in weights]

    def learn(self, action, x):
        n, total, squares = self.seen[action]
        self.seen[action] = n + 1, total + float(x), squares + float(x) ** 2

    def indices(self, t):
        """Index of each arm before pull t, counted from 1; infinite for arms not pulled yet."""
        pairs = zip(self.weights, self.seen, strict=True)
        return np.array([w * self.bound(*seen, t) if seen[0] else math.inf for w, seen in pairs])


class Ucb1(Reference):
    def bound(self, n, total, squares, t):
        return total / n + math.sqrt(2 * math.log(t) / n)


class UcbTuned(Reference):
    def bound(self, n, total, squares, t):
        mean = total / n
        variance = squares / n - mean**2 + math.sqrt(2 * math.log(t) / n)
        return mean + math.sqrt(math.log(t) / n * min(0.25, variance))


class KlUcb(Reference):
    def bound(self, n, total, squares, t):
        budget = math.log(t) + 3 * max(math.log(max(math.log(t), 1e-9)), 0)
        return exact_upper_bound(total / n, budget / n)


class Greedy(Reference):
    def bound(self, n, total, squares, t):
        return total / n


REFERENCES = {"ucb1": Ucb1, "ucb_tuned": UcbTuned, "kl_ucb": KlUcb, "epsilon_greedy": Greedy}


def divergence(p, q):
    """kl(p, q) of Bernoulli laws."""
    left = p * math.log(p / q) if p > 0 else 0.0
    return left + ((1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0)


def exact_upper_bound(p, d):
    """The largest q with kl(p, q) <= d, by root finding in log(1 - q) so that nothing cancels next to one."""
    if p >= 1 or d <= 0:
        return min(p, 1.0)
    if d < 1e-3 * min(p, 1 - p) ** 2:  # next to p the divergence is a difference of logarithms: solve for the step

        def excess(step):
            return -p * math.log1p(step / p) - (1 - p) * math.log1p(-step / (1 - p)) - d

        return p + optimize.brentq(excess, 0, (1 - p) * 0.5, xtol=1e-13, rtol=1e-12)

    def over(log_rest):
        rest = math.exp(log_rest)
        left = p * (math.log(p) - math.log1p(-rest)) if p > 0 else 0.0
        return left + (1 - p) * (math.log1p(-p) - log_rest) - d

    start, lowest = math.log1p(-p), math.log1p(-p) - d / (1 - p) - 50
    return 1 - math.exp(optimize.brentq(over, lowest, start, xtol=1e-12, rtol=1e-12))


@pytest.mark.parametrize("market", NAMES)
@pytest.mark.parametrize("signal", ["demand", "reward"])
@pytest.mark.parametrize("name", INDEX_POLICIES)
def test_index_policies_step_for_step(name, signal, market):
    margins = market_margins(market)
    weights = margins if signal == "demand" else np.full(margins.size, margins.max())
    actions, signals, _ = play(INDEX_POLICIES[name](signal), market)
    compared = 0
    for lane in range(LANES):
        reference = REFERENCES[name](weights)
        for t, action in enumerate(actions[:, lane], start=1):
            indices = reference.indices(t)
            best, second = np.sort(indices)[::-1][:2]
            if best > second + LEAD:
                assert action == np.argmax(indices), f"lane {lane}, pull {t}: {indices}"
                compared += 1
            else:
                assert indices[action] >= best - LEAD, f"lane {lane}, pull {t}: {indices}"
            reference.learn(action, signals[signal][t - 1, lane])
    assert compared > 0.5 * LANES * HORIZON
    if name != "epsilon_greedy":  # greed may settle at once: the others must have weighed all arms
        assert all(len(set(column)) > 1 for column in actions.T)


@pytest.mark.parametrize("name", ["ucb1", "ucb_tuned", "kl_ucb"])
def test_index_policies_after_many_pulls(name):
    """States of up to 30,000 pulls, where the variance and the divergence matter and float32 has most to lose."""
    rng = np.random.default_rng(1)
    size = 400
    counts = np.round(np.exp(rng.uniform(np.log(30), np.log(30_000), (size, 4))))
    margins = market_margins("pricing")
    rates = np.clip(rng.uniform(0.2, 0.4, (size, 1)) * margins.min() / margins + rng.normal(0, 0.02, (size, 4)), 0, 1)
    rates = rates / counts ** rng.uniform(0, 0.3, (size, 4))
    sums = np.round(counts * rates)
    policy = INDEX_POLICIES[name]("demand")
    state = policy.init(jax.random.key(0), problem_of("pricing"))
    times = counts.sum(axis=1).astype(np.int32) + 1

    def act(counts, sums, time):
        seen = sums_of(counts, sums)
        changes = {"arms": seen, "time": time} | ({"squares": sums} if name == "ucb_tuned" else {})
        return policy.act(jax.random.key(0), dataclasses.replace(state, **changes), jnp.zeros(3))

    actions = np.asarray(jax.jit(jax.vmap(act))(counts.astype(np.float32), sums.astype(np.float32), times))
    chosen = []
    for action, n, total, t in zip(actions, counts, sums, times, strict=True):
        reference = REFERENCES[name](margins)
        reference.seen = list(zip(n, total, total, strict=True))
        indices = reference.indices(t)
        best, second = np.sort(indices)[::-1][:2]
        if best > second + LEAD:
            assert action == np.argmax(indices), indices
            chosen.append(action)
    assert len(chosen) > 0.9 * size and set(chosen) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["ucb1", "ucb_tuned", "epsilon_greedy"])
@pytest.mark.parametrize("signal", ["demand", "reward"])
def test_each_arm_is_pulled_once_first(name, signal):
    for market in NAMES:
        actions, _, _ = play(INDEX_POLICIES[name](signal), market)
        np.testing.assert_array_equal(np.sort(actions[:4], axis=0), np.tile(np.arange(4)[:, None], LANES))


def told(policy, problem, history):
    """The state after a history of `(action, demand)`."""
    return state_after(policy, problem, *zip(*history, strict=True))


@pytest.mark.parametrize("name", ["ucb1", "ucb_tuned", "kl_ucb", "epsilon_greedy", "explore_then_commit"])
def test_ties_go_to_the_lowest_index(name):
    policy = INDEX_POLICIES[name]("demand") if name in INDEX_POLICIES else policies.explore_then_commit(share=1.0)
    problem = problem_of("bandit", horizon=12)
    key = jax.random.key(1)
    if name != "explore_then_commit":  # which starts with its own random order
        assert policy.act(key, policy.init(key, problem), jnp.zeros(3)) == 0
    alike = [(arm, x) for x in (1, 0, 1) for arm in (3, 1, 0, 2)]
    assert policy.act(key, told(policy, problem, alike), jnp.zeros(3)) == 0
    worse = [(0, 0) if move == (0, 1) else move for move in alike]  # arms 1, 2 and 3 stay tied
    if name in ("epsilon_greedy", "explore_then_commit"):
        assert policy.act(key, told(policy, problem, worse), jnp.zeros(3)) == 1


@pytest.mark.parametrize("name", ["ucb1", "ucb_tuned", "kl_ucb", "epsilon_greedy"])
def test_means_not_sums_are_compared(name):
    """Arm 0 sold more in all, arm 1 at a higher rate, and both are known so well that no bonus matters."""
    policy = policies.ucb1(scale=1e-3) if name == "ucb1" else INDEX_POLICIES[name]("demand")
    problem = problem_of("bandit")
    state = policy.init(jax.random.key(0), problem)
    counts, sums = jnp.array([6000.0, 2000, 5000, 5000]), jnp.array([3600.0, 1800, 500, 500])
    changes = {"arms": sums_of(counts, sums), "time": jnp.int32(18_001)}
    if name == "ucb_tuned":
        changes["squares"] = sums
    state = dataclasses.replace(state, **changes)
    assert jnp.argmax(sums) == 0
    assert policy.act(jax.random.key(2), state, jnp.zeros(3)) == 1


@pytest.mark.parametrize("name", [*INDEX_POLICIES, "gaussian_thompson"])
@pytest.mark.parametrize("market", NAMES)
def test_what_is_kept_are_counts_and_sums_of_signals(name, market):
    """Also after the first update: what stands for an arm never pulled leaves no trace."""
    for signal in ("demand", "reward"):
        maker = INDEX_POLICIES.get(name, lambda signal: policies.gaussian_thompson(std=1.0, signal=signal))
        actions, signals, states = play(maker(signal), market)
        hot = actions[:-1, :, None] == np.arange(4)
        counts, sums = np.cumsum(hot, axis=0), np.cumsum(hot * signals[signal][:-1, :, None], axis=0)
        np.testing.assert_allclose(states.arms.counts[1:], counts, atol=1e-6)
        np.testing.assert_allclose(states.arms.sums[1:], sums, rtol=1e-6, atol=2e-6)
        if name == "ucb_tuned":
            squares = np.cumsum(hot * signals[signal][:-1, :, None] ** 2, axis=0)
            np.testing.assert_allclose(states.squares[1:], squares, rtol=1e-6, atol=2e-6)


def test_kl_upper_bound_is_exact():
    """Small probabilities and small divergences too, where the difference of logarithms is lost in float32."""
    p = np.r_[0, 10.0 ** np.arange(-7, -1), 0.02:0.98:25j, 1 - 10.0 ** np.arange(-6, -1), 1].astype(np.float32)
    d = np.geomspace(1e-6, 20, 41).astype(np.float32)
    p, d = (grid.ravel() for grid in np.meshgrid(p, d))
    exact = np.array([exact_upper_bound(float(x), float(y)) for x, y in zip(p, d, strict=True)])
    ours = np.asarray(jax.jit(upper_bound)(p, d), float)
    np.testing.assert_allclose(ours, exact, rtol=0, atol=4e-6)
    assert np.all(ours >= p - 1e-6)
    middle = (exact > 1e-3) & (exact < 1 - 1e-6) & (p > 1e-3)
    back = [divergence(float(x), q) for x, q in zip(p[middle], exact[middle], strict=True)]
    np.testing.assert_allclose(back, d[middle], rtol=1e-3)  # the reference solves the equation it says


def test_kl_upper_bound_grows_with_both():
    p, d = np.linspace(0, 1, 101, dtype=np.float32), np.geomspace(1e-6, 40, 101, dtype=np.float32)
    bounds = np.asarray(upper_bound(*np.meshgrid(p, d, indexing="ij")), float)
    assert np.all(np.diff(bounds, axis=0) > -4e-6)
    assert np.all(np.diff(bounds, axis=1) > -4e-6)
    assert bounds.max() <= 1


def best_probabilities(laws, weights):
    """Probability of each arm that its weighted draw is the largest: independent scipy laws, weights above 0."""

    def chance(k):
        low, high = (laws[k].ppf(p) for p in (1e-14, 1 - 1e-14))
        x = low + (np.arange(8000) + 0.5) / 8000 * (high - low)
        others = [law.cdf(x * weights[k] / w) for law, w in zip(laws, weights, strict=True) if law is not laws[k]]
        return np.sum(laws[k].pdf(x) * np.prod(others, axis=0)) * (high - low) / 8000

    return np.array([chance(k) for k in range(len(laws))])


@pytest.mark.parametrize("market", ["pricing", "bandit"])
@pytest.mark.parametrize(
    "shapes", [((3, 2, 7, 2), (6, 2, 9, 9)), ((1, 1, 1, 1), (1, 1, 1, 1)), ((40, 25, 7, 1), (20, 30, 8, 3))]
)
def test_thompson_chooses_by_its_posterior(market, shapes):
    policy = policies.thompson()
    a, b = (np.array(x, float) for x in shapes)
    state = policy.init(jax.random.key(0), problem_of(market))
    state = dataclasses.replace(state, a=jnp.asarray(a, jnp.float32), b=jnp.asarray(b, jnp.float32))
    weights = market_margins(market)

    def choices(factor):
        return best_probabilities([stats.beta(factor * x, factor * y) for x, y in zip(a, b, strict=True)], weights)

    against = [choices(2), choices(0.5)] if len(set(a)) > 1 or market == "pricing" else []
    assert_choices(policy, state, choices(1), against)


@pytest.mark.parametrize("market", NAMES)
def test_thompson_counts_every_buyer(market):
    actions, signals, states = play(policies.thompson(a=1.5, b=2.0), market)
    buyers = problem_of(market).buyers
    hot = actions[:-1, :, None] == np.arange(4)
    sold = np.cumsum(hot * np.round(buyers * signals["demand"][:-1, :, None]), axis=0)
    np.testing.assert_allclose(states.a[1:], 1.5 + sold, atol=1e-4)
    np.testing.assert_allclose(states.b[1:], 2 + buyers * np.cumsum(hot, axis=0) - sold, atol=1e-4)
    np.testing.assert_array_equal(states.a[0], np.full((LANES, 4), 1.5))
    assert buyers == 1 or (sold[-1] / np.maximum(hot.sum(0), 1)).max() > 1  # several sales in one period


def test_thompson_of_rewards_flips_a_coin():
    """A reward in [0, 1] is one success with that probability and one trial: Agrawal and Goyal's reduction."""
    policy = policies.thompson(signal="reward")
    problem = problem_of("crowd")
    state = policy.init(jax.random.key(0), problem)
    reward = 2 * (0.7 - 0.3)
    x = reward / (3 * 0.6)  # largest margin: 0.9 - 0.3
    sale = Transition(None, jnp.int32(2), jnp.float32(0.7), jnp.float32(2), jnp.float32(reward), None)
    after = jax.jit(jax.vmap(lambda key: policy.update(key, state, sale)))(jax.random.split(jax.random.key(3), DRAWS))
    wins = np.asarray(after.a[:, 2]) - 1
    assert set(wins) == {0, 1}
    assert abs(wins.mean() - x) < 4 * math.sqrt(x * (1 - x) / DRAWS)
    np.testing.assert_array_equal(after.a[:, 2] + after.b[:, 2], np.full(DRAWS, 3.0))
    np.testing.assert_array_equal(np.delete(after.a, 2, axis=1), np.ones((DRAWS, 3)))


def normal_posteriors(counts, sums, mean, std, noise):
    """Mean and standard deviation of each arm's posterior by the textbook, one observation after the other."""
    centers, spreads = [], []
    for n, total in zip(counts, sums, strict=True):
        center, variance = mean, std**2
        for _ in range(int(n)):
            gain = variance / (variance + noise**2)
            center, variance = center + gain * (total / n - center), (1 - gain) * variance
        centers.append(center)
        spreads.append(math.sqrt(variance))
    return np.array(centers), np.array(spreads)


@pytest.mark.parametrize("market", ["pricing", "bandit"])
@pytest.mark.parametrize("counts", [(1, 4, 9, 2), (2, 0, 3, 30)])
def test_gaussian_thompson_chooses_by_its_posterior(market, counts):
    """And not by a draw with the precision for a spread, twice the spread, or the noise for the spread."""
    policy = policies.gaussian_thompson(mean=0.4, std=0.6, noise=0.35)
    sums = np.array(counts) * np.array([0.6, 0.5, 0.35, 0.3])
    state = policy.init(jax.random.key(0), problem_of(market))
    state = dataclasses.replace(state, arms=sums_of(counts, sums))
    weights = market_margins(market)
    centers, spreads = normal_posteriors(counts, sums, 0.4, 0.6, 0.35)

    def choices(spreads):
        return best_probabilities([stats.norm(*law) for law in zip(centers, spreads, strict=True)], weights)

    wrong = [1 / spreads, spreads**2, spreads * math.sqrt(2), spreads / math.sqrt(2)]
    assert_choices(policy, state, choices(spreads), [choices(x) for x in wrong])


def test_gaussian_thompson_takes_the_noise_of_the_market():
    key = jax.random.key(0)
    assert policies.gaussian_thompson().init(key, problem_of("crowd")).noise == np.float32(0.5 / np.sqrt(3))
    env, params = jaxprice.make("PostedPrice", noise="gaussian", noise_scale=0.3, buyers=4)
    assert policies.gaussian_thompson().init(key, env.problem(params)).noise == pytest.approx(0.3 / 4)
    assert policies.gaussian_thompson(noise=0.2).init(key, env.problem(params)).noise == pytest.approx(0.2)


@pytest.mark.parametrize("market", NAMES)
def test_exp3_weights_step_for_step(market):
    """Weights as published, not normalised: w *= exp(mixing x / (q K))."""
    actions, signals, states = play(policies.exp3(mixing=0.25), market)
    for lane in range(LANES):
        weights = [1.0] * 4
        for t, action in enumerate(actions[:, lane]):
            chances = [0.75 * w / sum(weights) + 0.25 / 4 for w in weights]
            np.testing.assert_allclose(states.probabilities[t, lane], chances, rtol=0, atol=1e-5)
            weights[action] *= math.exp(0.25 * signals["reward"][t, lane] / chances[action] / 4)
    assert np.ptp(states.probabilities[-1]) > 0.2  # it has learned something


def test_exp3_chooses_by_its_probabilities():
    policy = policies.exp3(mixing=0.2)
    state = policy.init(jax.random.key(0), problem_of("bandit"))
    assert_choices(policy, state, [0.25] * 4)
    expected = [0.05, 0.62, 0.13, 0.2]
    state = dataclasses.replace(state, probabilities=jnp.array(expected, jnp.float32))
    assert_choices(policy, state, expected)


@pytest.mark.parametrize("horizon", [1, 2, 10, 1000, 10**6])
def test_exp3_tunes_its_mixing_to_the_horizon(horizon):
    state = policies.exp3().init(jax.random.key(0), problem_of("bandit", horizon=horizon))
    best = math.sqrt(4 * math.log(4) / ((math.e - 1) * horizon))
    assert float(state.rates.mixing) == pytest.approx(min(1, best), rel=1e-5)


@pytest.mark.parametrize(
    ("epsilon", "decay", "time", "rate"),
    [
        (0.3, False, 5, 0.3),
        (0.3, False, 5000, 0.3),
        (1.0, False, 50, 1.0),
        (0.0, False, 50, 0.0),
        (5.0, True, 10, 1.0),
        (5.0, True, 20, 1.0),
        (5.0, True, 40, 0.5),
        (5.0, True, 2000, 0.01),
    ],
)
def test_epsilon_greedy_explores_at_its_rate(epsilon, decay, time, rate):
    policy = policies.epsilon_greedy(epsilon=epsilon, decay=decay)
    state = told(policy, problem_of("pricing"), [(0, 1), (1, 1), (2, 1), (3, 0), (2, 0)])
    greedy = np.eye(4)[1]  # values: .05, .25, .2 and 0
    state = dataclasses.replace(state, time=jnp.int32(time))
    assert_choices(policy, state, rate / 4 + (1 - rate) * greedy)


@pytest.mark.parametrize(("horizon", "budget"), [(0, 1), (10, 2), (120, 30), (133, 33), (1000, HORIZON)])
@pytest.mark.parametrize(("market", "signal"), [("pricing", "demand"), ("crowd", "reward")])
def test_explore_then_commit_step_for_step(market, signal, horizon, budget):
    """A quarter of the horizon in rounds of one random order a lane, then the best mean of that time for ever."""
    actions, signals, _ = play(policies.explore_then_commit(share=0.25, signal=signal), market, horizon)
    margins = market_margins(market)
    weights = margins if signal == "demand" else np.full(4, margins.max())
    for lane in range(LANES):
        order = actions[: min(budget, 4), lane]
        assert len(set(order)) == order.size
        np.testing.assert_array_equal(actions[:budget, lane], np.resize(order, budget))
        reference = Greedy(weights)
        for action, signal_seen in zip(actions[:budget, lane], signals[signal][:budget, lane], strict=True):
            reference.learn(action, signal_seen)
        values = np.where(np.isinf(indices := reference.indices(0)), 0.0, indices)
        best, second = np.sort(values)[::-1][:2]
        if budget < HORIZON:
            assert np.ptp(actions[budget:, lane]) == 0
            assert values[actions[-1, lane]] >= best - LEAD
            assert best - second < LEAD or actions[-1, lane] == np.argmax(values)
    orders = {tuple(column) for column in actions[: min(budget, 4)].T}
    assert len(orders) >= min(budget + 1, 4)  # lanes differ


def test_explore_then_commit_starts_anywhere():
    policy = policies.explore_then_commit(share=0.5)
    problem = problem_of("bandit")
    keys = jax.random.split(jax.random.key(0), DRAWS)
    order = np.asarray(jax.jit(jax.vmap(lambda key: policy.init(key, problem).order))(keys))
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(4), (DRAWS, 1)))
    seen = np.unique(order @ [64, 16, 4, 1], return_counts=True)[1] / DRAWS
    assert seen.size == 24
    assert np.abs(seen - 1 / 24).max() < 4.5 * math.sqrt(1 / 24 / DRAWS)


@pytest.mark.parametrize(
    ("share", "horizon", "budget"),
    [
        (0.05, 1000, 50),
        (0.0, 1000, 1),
        (1.0, 7, 7),
        (0.1, 4, 1),
        (1e-4, 10**6, 100),
    ],
)
def test_explore_then_commit_budget(share, horizon, budget):
    problem = problem_of("pricing", horizon=horizon)
    assert policies.explore_then_commit(share=share).init(jax.random.key(0), problem).budget == budget


def test_random_price_is_uniform():
    policy = policies.random_price()
    assert_choices(policy, policy.init(jax.random.key(0), problem_of("pricing")), [0.25] * 4)
    env, params = jaxprice.make("PostedPrice", num_prices=None, low=2.0, high=5.0)
    state = policy.init(jax.random.key(0), env.problem(params))
    prices = actions_of(policy, state)
    assert prices.min() >= 2 and prices.max() <= 5
    assert stats.kstest(prices.astype(float), stats.uniform(2, 3).cdf).pvalue > 1e-4


def test_fixed_price_is_the_nearest():
    key = jax.random.key(0)
    problem = problem_of("pricing")  # .35, .55, .7, .9
    for price, action in [(0.35, 0), (0.36, 0), (0.46, 1), (0.7, 2), (0.9, 3)]:
        policy = policies.fixed_price(price)
        state = policy.init(key, problem)
        assert policy.act(key, state, jnp.zeros(3)) == action
        assert policy.act(key, told(policy, problem, [(action, 1), (action, 0)]), jnp.zeros(3)) == action
    assert policies.fixed_price().init(key, problem).action == 2
    env, params = jaxprice.make("PostedPrice", num_prices=None, low=2.0, high=5.0)
    interval = env.problem(params)
    for price, action in [(None, 3.5), (2.0, 2.0), (4.25, 4.25), (5.0, 5.0)]:
        assert policies.fixed_price(price).init(key, interval).action == action


def test_oracle_plays_the_best_price_inside_the_engine_only():
    env, params = harness.market("pricing")
    result = jaxprice.simulate(env, policies.oracle(), lanes=4, horizon=5, params=params, traces=True)
    profits = market_margins("pricing") * np.maximum(1 - np.asarray(params.prices, float), 0)
    np.testing.assert_array_equal(result.trace_action, np.full((1, 5, 4), np.argmax(profits)))
    np.testing.assert_array_equal(result.trace_regret, np.zeros((1, 5, 4)))
    for function in policies.oracle()[:3]:
        with pytest.raises(ValueError, match="simulate"):
            function(jax.random.key(0), None, None) if function is not policies.oracle().init else function(None, None)


@pytest.mark.parametrize(
    ("maker", "option", "values", "rest"),
    [
        (policies.ucb1, "scale", (0.01, 2.0), {"signal": "demand"}),
        (policies.kl_ucb, "c", (0.0, 3.0), {"signal": "demand"}),
        (policies.epsilon_greedy, "epsilon", (0.9, 0.0), {"signal": "demand"}),
        (policies.explore_then_commit, "share", (0.6, 0.25), {"signal": "demand"}),
        (policies.thompson, "a", (8.0, 1.5), {"b": 2.0}),
        (policies.gaussian_thompson, "std", (0.1, 1.0), {"signal": "demand"}),
        (policies.exp3, "mixing", (1.0, 0.25), {}),
    ],
)
def test_a_traced_option_is_that_number(maker, option, values, rest):
    """A sweep in one `vmap` gives what a policy of that number gives, and the option matters."""
    env, params = harness.market("pricing")
    lanes = jnp.arange(LANES, dtype=jnp.uint32)

    def sweep(value):
        policy = maker(**{option: value}, **rest)
        return harness.run.__wrapped__(env, policy, HORIZON, params, problem_of("pricing"), lanes)[1].action

    other, same = np.asarray(jax.jit(jax.vmap(sweep))(jnp.array(values, jnp.float32)))
    assert np.any(other != same)
    np.testing.assert_array_equal(same, play(maker(**{option: values[1]}, **rest), "pricing")[0])


def test_a_sweep_through_rollout_is_separate_runs():
    env, params = harness.market("pricing")

    def regret(scale):
        return jaxprice.rollout(env, policies.ucb1(scale), seed=3, lanes=16, horizon=60, params=params)["regret"]

    scales = jnp.array([0.1, 2.0])
    together = np.asarray(jax.jit(jax.vmap(regret))(scales))
    assert together[1].mean() > together[0].mean()
    result = jaxprice.simulate(env, policies.ucb1(2.0), seed=3, lanes=16, horizon=60, params=params)
    np.testing.assert_allclose(together[1], result.lane_regret[0], rtol=1e-5, atol=1e-5)


def test_seeds_matter_and_lanes_differ():
    """Neighbouring seeds, seeds that differ in their upper half only, and lanes: no two have the same regret.

    The means are such that two lanes only have the same regret if they pulled every arm equally often.
    """
    env, params = jaxprice.make("BernoulliBandit", means=np.sqrt([0.02, 0.03, 0.05, 0.07, 0.11, 0.13, 0.17, 0.19]))
    seeds = [0, 1, 2, 2**32, 2**32 + 1, 2**63]
    run = functools.partial(jaxprice.simulate, env, policies.thompson(), lanes=16, horizon=64, checkpoints=[64])
    regrets = [run(seed=seed, params=params).lane_regret.values[0] for seed in [*seeds, 0]]
    np.testing.assert_array_equal(regrets[0], regrets[-1])
    assert np.unique(np.concatenate(regrets[:-1])).size == 16 * len(seeds)


def test_no_two_addresses_are_one_key():
    """Seeds, roles, times and lanes: every address has words of its own, and so has its first random word."""
    lanes, times = jnp.arange(8), jnp.arange(8)
    keys = []
    for seed in (0, 1, 2, 7, 2**32, 2**63 + 1):
        for role in random.ROLES:
            words = random.stream(seed, role)
            keys.append(jax.vmap(lambda t, words=words: jax.vmap(lambda k: random.address(words, t, k))(lanes))(times))
    keys = jnp.stack(keys).ravel()
    assert np.unique(np.asarray(jax.random.key_data(keys)), axis=0).shape == (keys.size, 3)
    first = np.asarray(jax.vmap(lambda key: jax.random.bits(key, (2,), jnp.uint32))(keys))
    assert np.unique(first, axis=0).shape == (keys.size, 2)


def with_other_keys(policy):
    """The policy, which draws from other keys."""
    return Policy(*(lambda key, *rest, part=part: part(jax.random.fold_in(key, 1), *rest) for part in policy[:3]))


@pytest.mark.parametrize(
    "policy",
    [
        policies.thompson(a=1.5, b=2.0),
        policies.exp3(mixing=0.25),
        policies.gaussian_thompson(std=1.0, signal="demand"),
    ],
)
def test_policy_keys_alone_change_what_is_drawn(policy):
    """The same buyers, other keys for the seller: twice as many lanes, all different."""
    other = with_other_keys(policy)
    first, second = (play(seller, "bandit")[0] for seller in (policy, other))
    assert len({tuple(column) for column in np.concatenate([first, second], axis=1).T}) == 2 * LANES


@pytest.mark.parametrize(
    ("maker", "option"),
    [
        (policies.ucb1, {"scale": -1.0}),
        (policies.kl_ucb, {"c": -1.0}),
        (policies.epsilon_greedy, {"epsilon": 1.5}),
        (policies.explore_then_commit, {"share": -0.1}),
        (policies.thompson, {"a": 0.5}),
        (policies.thompson, {"b": 0.0}),
        (policies.gaussian_thompson, {"std": 0.0}),
        (policies.gaussian_thompson, {"noise": -1.0}),
        (policies.exp3, {"mixing": 0.0}),
        (policies.fixed_price, {"price": math.nan}),
        (policies.ucb_tuned, {"signal": "sales"}),
    ],
)
def test_bad_options_are_named(maker, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        maker(**option)


def test_thompson_refuses_demand_it_has_no_posterior_for():
    env, params = jaxprice.make("PostedPrice", noise="poisson")
    with pytest.raises(ValueError, match="gaussian_thompson"):
        jaxprice.simulate(env, policies.thompson(), lanes=2, horizon=2, params=params)
