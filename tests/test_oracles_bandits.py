"""Exact solutions of Bernoulli bandits: known values, brute force on ordered arms, identities, bounds, and simulation."""

import functools
import importlib
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxprice
from jaxprice import policies
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.oracles import bandit_bound, bayes_bandit, gittins, reward_paths
from jaxprice.types import Policy


def brute_force(arms, horizon, choose, a=1.0, b=1.0):
    """Expected total reward over ordered arms; `choose(state, left, worth)` makes a value from those of the arms."""

    @functools.cache
    def solve(state, left):
        worth = []
        for i, (s, f) in enumerate(state if left else ()):
            won, lost = ((*state[:i], pair, *state[i + 1 :]) for pair in ((s + 1, f), (s, f + 1)))
            mean = (a + s) / (a + b + s + f)
            worth.append(mean * (1 + solve(won, left - 1)) + (1 - mean) * solve(lost, left - 1))
        return choose(state, left, worth) if left else 0.0

    return solve(((0, 0),) * arms, horizon)


def by_index(index, ties="all", tolerance=1e-9):
    """`choose` of `brute_force`: arms whose `index(s, f, t, left)` is the largest, all alike or the first."""

    def choose(state, left, worth):
        t = sum(s + f for s, f in state)
        values = [index(s, f, t, left) for s, f in state]
        best = [i for i, value in enumerate(values) if value >= max(values) - tolerance]
        best = best if ties == "all" else best[:1]
        return sum(worth[i] for i in best) / len(best)

    return choose


def posterior_mean(s, f, t, left):
    return (1 + s) / (2 + s + f)


def upper(c):
    return lambda s, f, t, left: posterior_mean(s, f, t, left) + c * math.sqrt(2 * math.log(t + 1) / (2 + s + f))


def finite_index(horizon):
    tables = gittins.finite_table(horizon)
    return lambda s, f, t, left: tables[left - 1][s + f, s]


def most(state, left, worth):
    return max(worth)


# the dynamic programme


@pytest.mark.parametrize(
    ("horizon", "arms", "value"),
    [(10, 2, 6.0217857143), (10, 5, 6.6599878748), (20, 2, 12.4312649059)],
)
def test_optimum_known_values(horizon, arms, value):
    assert bayes_bandit.optimum(arms, horizon) == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize(
    ("policy", "value"),
    [(bayes_bandit.greedy(), 6.6262248580), (bayes_bandit.ucb1(0.1), 6.6565911095), (bayes_bandit.random, 5.0)],
    ids=["greedy", "ucb1", "random"],
)
def test_policies_known_values(policy, value):
    assert bayes_bandit.value(policy, 5, 10) == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("shapes", [(1.0, 1.0), (2.0, 0.7)])
@pytest.mark.parametrize(("arms", "horizon"), [(1, 4), (2, 5), (3, 5), (5, 3)])
def test_optimum_is_brute_force(arms, horizon, shapes):
    assert bayes_bandit.optimum(arms, horizon, *shapes) == pytest.approx(
        brute_force(arms, horizon, most, *shapes), abs=1e-12
    )


@pytest.mark.parametrize(("arms", "horizon"), [(2, 6), (3, 5), (4, 3)])
def test_policies_are_brute_force(arms, horizon):
    for policy, index, tolerance in (
        (bayes_bandit.greedy(), posterior_mean, 1e-9),
        (bayes_bandit.ucb1(0.3), upper(0.3), 1e-9),
        (bayes_bandit.gittins(horizon), finite_index(horizon), 1e-5),
    ):
        truth = brute_force(arms, horizon, by_index(index, tolerance=tolerance))
        assert bayes_bandit.value(policy, arms, horizon) == pytest.approx(truth, abs=1e-12)

    def mixed(state, left, worth):
        return 0.7 * by_index(posterior_mean)(state, left, worth) + 0.3 * sum(worth) / len(worth)

    value = bayes_bandit.value(bayes_bandit.epsilon_greedy(0.3), arms, horizon)
    assert value == pytest.approx(brute_force(arms, horizon, mixed), abs=1e-12)


@pytest.mark.parametrize("shapes", [(1, 1), (2, 3)])
def test_thompson_probabilities_are_exact(shapes):
    """Two arms against adaptive quadrature of P(Beta > Beta), equal ones by symmetry; they sum to one."""
    policy = bayes_bandit.thompson(*shapes)
    layer = bayes_bandit.layers(2, 6)[5]
    chances = policy(layer.successes, layer.failures, 1)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-12)
    a, b = shapes[0] + layer.successes.astype(float), shapes[1] + layer.failures.astype(float)
    for (a1, a2), (b1, b2), chance in zip(a, b, chances[:, 0], strict=True):
        beats = stats.beta(a1, b1).expect(stats.beta(a2, b2).cdf)
        assert chance == pytest.approx(beats, abs=1e-8)
    for layer in bayes_bandit.layers(4, 7):
        chances = policy(layer.successes, layer.failures, 7)
        np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-12)
    first = bayes_bandit.layers(4, 7)[0]
    np.testing.assert_allclose(policy(first.successes, first.failures, 7), 0.25, atol=1e-12)


@pytest.mark.parametrize(
    ("arms", "horizon", "states"),
    [(2, 10, 365), (5, 10, 1951), (10, 10, 2296), (2, 20, 4455), (3, 20, 30846), (5, 15, 28166), (5, 20, 237995)],
)
def test_states_are_counted(arms, horizon, states):
    assert bayes_bandit.count(arms, horizon) == states
    if states < 10_000:
        layers = bayes_bandit.layers(arms, horizon)
        assert sum(len(layer.successes) for layer in layers) == states
        for layer in layers:
            rows = np.sort(100 * layer.successes + layer.failures, axis=1)
            assert len(np.unique(rows, axis=0)) == len(rows)


def test_layers_lead_to_what_follows():
    for arms, horizon in ((3, 6), (12, 6)):  # keys of one word and of several
        for now, after in itertools.pairwise(bayes_bandit.layers(arms, horizon)):
            for place, won in ((now.won, 1), (now.lost, 0)):
                for i in range(arms):
                    s, f = now.successes.copy(), now.failures.copy()
                    s[:, i] += won
                    f[:, i] += 1 - won
                    follows = 100 * after.successes[place[:, i]] + after.failures[place[:, i]]
                    np.testing.assert_array_equal(np.sort(100 * s + f, axis=1), np.sort(follows, axis=1))


def test_identities():
    """One arm and random play earn n / 2, more arms never less, and no more beyond n; nothing beats the optimum."""
    horizon = 8
    optima = [bayes_bandit.optimum(k, horizon) for k in (1, 2, 3, 5, 8, 9, 50)]
    assert optima[0] == pytest.approx(horizon / 2, abs=1e-12)
    assert np.all(np.diff(optima[:5]) > 0)
    assert optima[4] == optima[5] == optima[6]
    for k, best in ((2, optima[1]), (3, optima[2]), (9, optima[5])):
        index, *others = (
            bayes_bandit.value(policy, k, horizon)
            for policy in (
                bayes_bandit.gittins(horizon),
                bayes_bandit.greedy(),
                bayes_bandit.ucb1(0.2),
                bayes_bandit.thompson(),
                bayes_bandit.random,
            )
        )
        assert 0.999 * best < index < best + 1e-12
        assert max(others) < best
        assert others[-1] == pytest.approx(horizon / 2, abs=1e-12)
    assert bayes_bandit.optimum(3, horizon, 2, 1) > optima[2] > bayes_bandit.optimum(3, horizon, 1, 2)


# bounds


@pytest.mark.parametrize(("arms", "horizon"), [(2, 10), (5, 10), (2, 20), (20, 10)])
def test_bounds_lie_above_the_optimum(arms, horizon):
    optimum = bayes_bandit.optimum(arms, horizon)
    relaxed, prices = bandit_bound.lagrangian(arms, horizon)
    sure = bandit_bound.clairvoyant(arms, horizon)
    assert sure == pytest.approx(horizon * arms / (arms + 1), abs=1e-9)
    assert optimum < relaxed < 1.1 * optimum and optimum < sure
    assert bandit_bound.upper_bound(arms, horizon) == min(relaxed, sure)
    assert prices.shape == (horizon,) and np.all(prices >= 0)
    assert bandit_bound.relaxed(prices, min(arms, horizon))[0] == pytest.approx(relaxed, abs=1e-12)


def test_relaxed_problem_and_its_slope():
    """The value against a recursion, at any prices a bound; the slope against differences; the descent against the start."""
    horizon, arms = 6, 3
    prices = np.random.default_rng(0).uniform(0.2, 0.9, horizon)

    @functools.cache
    def alone(s, f, t):
        if t == horizon:
            return 0.0
        p = posterior_mean(s, f, t, 0)
        pulled = p - prices[t] + p * alone(s + 1, f, t + 1) + (1 - p) * alone(s, f + 1, t + 1)
        return max(alone(s, f, t + 1), pulled)

    value, slope = bandit_bound.relaxed(prices, arms)
    assert value == pytest.approx(prices.sum() + arms * alone(0, 0, 0), abs=1e-12)
    assert value > bayes_bandit.optimum(arms, horizon)
    for t, step in enumerate(1e-6 * np.eye(horizon)):
        ahead, back = (bandit_bound.relaxed(prices + sign * step, arms)[0] for sign in (1, -1))
        assert slope[t] == pytest.approx((ahead - back) / 2e-6, abs=1e-6)
    starting = bandit_bound.lagrangian(arms, horizon, iterations=1)[0]
    assert bandit_bound.lagrangian(arms, horizon)[0] < starting - 0.01


def test_clairvoyant_with_other_priors():
    draws = np.random.default_rng(0).beta(2.0, 0.5, (200_000, 4)).max(axis=1)
    assert abs(bandit_bound.clairvoyant(4, 10, 2.0, 0.5) / 10 - draws.mean()) < 4 * draws.std() / draws.size**0.5


# Gittins indices


def test_finite_index_known_value():
    assert gittins.finite_table(10)[9][0, 0] == pytest.approx(0.69807377, abs=1e-6)
    assert gittins.finite_table(30)[9][0, 0] == pytest.approx(0.69807377, abs=1e-6)


def indifference(s, f, left):
    """The root of the gain of one more pull, by recursion and bisection."""

    def gain(lam):
        @functools.cache
        def more(s, f, m):
            p = posterior_mean(s, f, 0, 0)
            return p - lam + (p * max(0, more(s + 1, f, m - 1)) + (1 - p) * max(0, more(s, f + 1, m - 1)) if m > 1 else 0)

        return more(s, f, left)

    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if gain(middle) > 0 else (low, middle)
    return low


def test_finite_indices_by_root_finding():
    table = gittins.finite_table(60)
    for s, f, left in [(0, 0, 60), (0, 0, 3), (1, 0, 25), (0, 3, 30), (4, 4, 17), (20, 3, 37), (9, 40, 2), (30, 29, 1)]:
        assert table[left - 1][s + f, s] == pytest.approx(indifference(s, f, left), abs=1e-4), (s, f, left)


def test_rows_of_a_longer_horizon_are_the_same():
    """A state and the periods left fix an index, whatever the horizon, the size asked for and the lattices together."""
    small, large, cut = gittins.finite_table(30), gittins.finite_table(70), gittins.finite_table(70, size=12)
    for left in (1, 2, 7, 29):
        rows = small[left - 1].shape[0]
        np.testing.assert_allclose(small[left - 1], large[left - 1][:rows, :rows], atol=1e-4)
    for full, part in zip(large, cut, strict=True):
        assert part.shape[0] == min(full.shape[0], 13)
        np.testing.assert_array_equal(part, full[: part.shape[0], : part.shape[0]])


@pytest.mark.parametrize(
    ("discount", "s", "f", "value"),
    [(0.9, 0, 0, 0.7029), (0.9, 1, 1, 0.6346), (0.9, 2, 2, 0.6010), (0.9, 9, 1, 0.8695), (0.99, 0, 0, 0.8699)],
)
def test_discounted_indices_as_published(discount, s, f, value):
    assert gittins.index(1 + s, 1 + f, discount) == pytest.approx(value, abs=6e-5)
    if discount == 0.9:
        assert gittins.discounted_table(discount, 20)[s + f, s] == pytest.approx(value, abs=6e-5)


def test_finite_policy_beyond_its_table(monkeypatch):
    """A table that ends at 40 observations, and up to three times as many: the index played by is within 7e-4."""
    module = importlib.import_module("jaxprice.policies.stochastic.gittins")
    monkeypatch.setattr(module, "FINITE", 40)
    module._finite_lead.cache_clear()
    horizon, policy = 125, policies.gittins(horizon=125)
    state = policy.init(jax.random.key(0), BernoulliBandit(2).problem(BernoulliBandit(2).default_params()))
    cases = [(n, s, left) for n, left in ((41, 60), (101, 24), (113, 2), (120, 5)) for s in (n // 8, n // 3, n // 2, n - 9)]
    cases += [(40, 20, 25), (40, 40, 3), (39, 0, 26), (40, 20, 70), (1, 1, 124), (0, 0, 125)]
    rows, played = [], []
    for n, s, left in cases:
        index = indifference(s, n - s, left)
        for sure, arm in ((index + 7e-4, 1), (index - 7e-4, 0)):
            rows.append((left, 1 + s, 1 + n - s, 1e7 * sure, 1e7 * (1 - sure)))
            played.append(arm)
    left, a, b, known, unknown = jnp.asarray(np.array(rows).T, jnp.float32)

    @jax.jit
    @jax.vmap
    def act(left, a, b, known, unknown):
        time = (horizon + 1 - left).astype(jnp.int32)
        return policy.act(None, state.replace(time=time, a=jnp.stack([a, known]), b=jnp.stack([b, unknown])), None)

    np.testing.assert_array_equal(act(left, a, b, known, unknown), played)
    module._finite_lead.cache_clear()


# policies as they are


LANES, PULLS, BANDIT = 20_000, 10, BernoulliBandit(num_arms=5)


def mean_greedy(ties):
    """Posterior means and no draws, or ties drawn."""

    def init(key, problem):
        return jnp.ones((2, problem.num_prices))

    def act(key, state, observation):
        mean = state[0] / state.sum(axis=0)
        best = mean >= mean.max() - 1e-6
        return jnp.argmax(best * jax.random.uniform(key, best.shape) if ties == "all" else best)

    def update(key, state, transition):
        return state.at[:, transition.action].add(jnp.stack([transition.reward, 1 - transition.reward]))

    return Policy(init, act, update)


def upper_bound_policy(c):
    """UCB1 as in the dynamic programme, ties drawn."""

    def init(key, problem):
        return jnp.ones((2, problem.num_prices))

    def act(key, state, observation):
        pulls = state.sum(axis=0)
        made = pulls.sum() - 2 * pulls.size
        index = state[0] / pulls + c * jnp.sqrt(2 * jnp.log(made + 1) / pulls)
        return jnp.argmax((index >= index.max() - 1e-6) * jax.random.uniform(key, index.shape))

    return Policy(init, act, mean_greedy("all").update)


@functools.cache
def simulated():
    """Mean total reward and its standard error of policies in markets drawn from the prior."""
    played = {
        "greedy": mean_greedy("all"),
        "ucb": upper_bound_policy(0.1),
        "thompson": policies.thompson(),
        "gittins": policies.gittins(horizon=PULLS),
        "ucb1": policies.ucb1(),
    }
    result = jaxprice.simulate(BANDIT, played, seed=7, lanes=LANES, horizon=PULLS, checkpoints=[PULLS])
    return {name: tuple(float(result[x].sel(policy=name).item()) for x in ("reward", "reward_se")) for name in played}


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        ("greedy", lambda: bayes_bandit.value(bayes_bandit.greedy(), 5, PULLS)),
        ("ucb", lambda: bayes_bandit.value(bayes_bandit.ucb1(0.1), 5, PULLS)),
        ("thompson", lambda: bayes_bandit.value(bayes_bandit.thompson(), 5, PULLS)),
        ("gittins", lambda: bayes_bandit.value(bayes_bandit.gittins(PULLS), 5, PULLS)),
        ("ucb1", lambda: reward_paths.value(BANDIT, policies.ucb1(), PULLS)),
    ],
    ids=["greedy", "ucb", "thompson", "gittins", "ucb1"],
)
def test_simulation_is_exact_value(name, exact):
    mean, error = simulated()[name]
    assert 0.005 < error < 0.02
    assert abs(mean - exact()) < 4 * error


def test_reward_paths_are_ordered_brute_force():
    """Ties to the first arm, which is worth another value than ties to all alike."""
    env, horizon = BernoulliBandit(num_arms=3), 6
    value = reward_paths.value(env, mean_greedy("first"), horizon)
    assert value == pytest.approx(brute_force(3, horizon, by_index(posterior_mean, "first")), abs=1e-9)
    assert abs(value - bayes_bandit.value(bayes_bandit.greedy(), 3, horizon)) > 1e-3
    value = reward_paths.value(env, policies.ucb1(scale=0.5), horizon, 2.0, 1.5)

    def index(s, f, t, left):
        return s / (s + f) + math.sqrt(0.5 * math.log(t + 1) / (s + f)) if s + f else math.inf

    assert value == pytest.approx(brute_force(3, horizon, by_index(index, "first", 0), 2.0, 1.5), abs=1e-9)


def test_reward_paths_of_an_index_are_those_of_the_multisets():
    """Different states have different finite-horizon indices until the last pull, where it does not matter."""
    value = reward_paths.value(BANDIT, policies.gittins(horizon=PULLS), PULLS)
    assert value == pytest.approx(bayes_bandit.value(bayes_bandit.gittins(PULLS), 5, PULLS), abs=1e-9)


def test_transitions_are_those_of_the_market():
    """What a policy is shown along a string of rewards is what the market shows with these rewards."""
    env, seen = BernoulliBandit(num_arms=2), []

    def init(key, problem):
        return problem.observation, jnp.int32(problem.horizon)

    def act(key, state, observation):
        jax.debug.callback(lambda *x: seen.append(np.concatenate([np.ravel(y) for y in x])), observation, *state)
        return jnp.int32(observation[2] > 0)

    def update(key, state, transition):
        shown = jnp.stack([transition.price, transition.demand, transition.reward])
        return jnp.where(jnp.all(shown == transition.next_observation[jnp.array([1, 2, 2])]), state[0], jnp.nan), state[1]

    rewards, actions = reward_paths.paths(env, Policy(init, act, update), 3)
    np.testing.assert_array_equal(rewards, list(itertools.product((0, 1), repeat=3)))
    np.testing.assert_array_equal(actions, np.pad(rewards[:, :-1], ((0, 0), (1, 0))))
    jax.effects_barrier()
    rows = {tuple(np.round(row, 5)) for row in np.array(seen)}
    after = {(round(t / 3, 5), 1.0, r, 0.0, 0.0, 0.0, 3.0) for t in (1, 2) for r in (0.0, 1.0)}
    assert rows == after | {(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0)}


def test_weights_sum_to_one():
    rewards, actions = reward_paths.paths(BANDIT, policies.ucb1(), 8)
    weights = reward_paths._weights(rewards, actions, 5, 1.0, 1.0)
    assert weights.min() > 0 and weights.sum() == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match="sum to 1"):
        reward_paths._weights(rewards, rewards, 5, 1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: bayes_bandit.optimum(0, 5), "arms"),
        (lambda: bayes_bandit.optimum(2, 0), "horizon"),
        (lambda: bayes_bandit.optimum(2, 5, 0.0), "a must"),
        (lambda: bayes_bandit.optimum(3, 100), "states"),
        (lambda: bayes_bandit.value(lambda s, f, left: np.ones(s.shape), 2, 3), "sum to one"),
        (lambda: bayes_bandit.value(lambda s, f, left: np.ones(len(s)), 2, 3), "shape"),
        (lambda: bayes_bandit.epsilon_greedy(1.5), "epsilon"),
        (lambda: bayes_bandit.ucb1(-0.1), "c must"),
        (lambda: bayes_bandit.thompson(1.5), "a must"),
        (lambda: bandit_bound.upper_bound(0, 5), "arms"),
        (lambda: bandit_bound.clairvoyant(2, 5, b=-1), "b must"),
        (lambda: bandit_bound.lagrangian(2, 5, iterations=0), "iterations"),
        (lambda: gittins.finite_table(501), "horizon"),
        (lambda: gittins.finite_table(5, size=0), "size"),
        (lambda: policies.gittins(horizon=501), "horizon"),
        (lambda: reward_paths.value(BANDIT, policies.ucb1(), 17), "horizon"),
        (lambda: reward_paths.value(BANDIT, policies.oracle(), 5), "policy"),
        (lambda: reward_paths.value(BANDIT, policies.thompson(), 5), "deterministic"),
        (lambda: reward_paths.value(jaxprice.make("GaussianBandit")[0], policies.ucb1(), 5), "env"),
    ],
)
def test_bad_input_is_refused(call, name):
    with pytest.raises(ValueError, match=name):
        call()
