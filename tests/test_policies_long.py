"""Horizons beyond 2^24 periods: counts and sums keep growing, and running means keep moving."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import problem_of, sums_of
from scipy import stats

import jaxprice
from jaxprice import policies
from jaxprice.policies.moving.glr_kl_ucb import History
from jaxprice.policies.parts import arms, linear_model, totals
from jaxprice.types import Transition

LATE = 2.0**24
FAMILIES = ("stochastic", "adversarial", "moving", "contextual", "tabular", "related")
OTHERS = {"change_point_least_squares", "discounted_least_squares", "moving_window_least_squares", "meta_dynamic_pricing"}
BOUNDED = {  # leaves that grow, and by what they are bounded
    ".since": "a block of 2^17 pulls",
    "window": "the window, at most 2^24",
    ".signals": "not a sum",
    ".marks": "sums at splits, read as differences",
    ".first": "the first M signals",
    "learned": "weights of a network and what Adam keeps",
    ".gram": "variances, which need not shrink for ever",
    ".factor": "likewise",
    ".log_weights": "relative to the largest",
    ".losses": "relative to the smallest",
    ".probabilities": "at most one",
    ".preferences": "at least -1e6, below the largest",
    ".uniform": "relative to the largest",
    ".precision": "an addend for each product that was sold",
}
NAMES = [card.name for card in policies.cards() if card.family in FAMILIES and card.name not in OTHERS]
APART = {"neural_linear", "neural_ucb", "neural_thompson", "glr_kl_ucb"}  # networks forget; the last has a test below
OPTIONS = {
    "discounted_ucb": {"discount": 1.0},
    "discounted_thompson": {"discount": 1.0},
    "q_learning": {"rate": 1.0, "power": 1.0, "discount": 0.0},
    "sarsa": {"rate": 1.0, "power": 1.0, "discount": 0.0},
    "expected_sarsa": {"rate": 1.0, "power": 1.0, "discount": 0.0},
    "meta_thompson": {"products": 1},
    "cusum_ucb": {"threshold": 1e9},
}


def sale(label, action=1, sold=1.0):
    """One sale in a market of the harness."""
    problem = problem_of(label)
    observation = jnp.full(3 + problem.context_size, 0.5, jnp.float32)
    margin = jnp.float32(problem.margins[action])
    return Transition(observation, jnp.int32(action), problem.prices[action], jnp.float32(sold), margin * sold, observation)


def repeated(policy, one, times):
    """A function of a state: the state after the same sale so many times."""

    def step(i, state):
        return policy.update(jax.random.fold_in(jax.random.key(3), i), state, one)

    return jax.jit(lambda state: jax.lax.fori_loop(0, times, step, state))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in APART])
def test_whatever_grows_by_one_goes_on_beyond_what_float32_counts(name):
    """Entries of the state that grow by the same with every sale are set to 2^24 of these, and still grow."""
    label = "features" if {c.name: c for c in policies.cards()}[name].family == "contextual" else "bandit"
    policy = policies.make(name, **OPTIONS.get(name, {}))
    again = repeated(policy, sale(label), 8)
    first = policy.init(jax.random.key(0), problem_of(label))
    states = [again(first)]
    states += [again(states[0])]
    states += [again(states[1])]
    late, grown, treedef = list(jax.tree.leaves(states[2])), [], jax.tree.structure(states[0])
    values = [[np.asarray(x, float) for x in jax.tree.leaves(state)] for state in states]
    for i, path in enumerate(_paths(states[2])):
        one, two, three = (value[i] for value in values)
        steady = (two != one) & (np.abs((three - two) - (two - one)) <= 1e-3 * np.abs(two - one))
        step = np.where(steady, (three - two) / 8, 0.0)
        if np.abs(step).max(initial=0.0) < 0.2 or any(mark in path for mark in BOUNDED):  # a mean that has not yet settled
            continue
        late[i] = jnp.where(steady, (LATE * step).astype(late[i].dtype), late[i])
        grown.append((i, path, steady, step))
    late = jax.tree.unflatten(treedef, late)
    after = jax.tree.leaves(again(again(late)))
    for i, path, steady, step in grown:
        gain = (np.asarray(after[i], float) - np.asarray(jax.tree.leaves(late)[i], float))[steady] / step[steady]
        assert np.all(np.abs(gain - 16) <= 2), (path, gain)


def _paths(tree):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def test_pulls_are_whole_numbers_and_sums_exact_in_blocks():
    """Three arms, 2^25 pulls and more of each; addends of one, of a third and of a loss."""
    seen = sums_of([2**25, 2**25, 2**25], [0.0] * 3).replace(before=jnp.float32([2.0**25, 2.0**25 / 3, -(2.0**25) / 7]))
    signals = jnp.float32([1.0, 1 / 3, -1 / 7])

    def pull(i, seen):
        return seen.add(i % 3, signals[i % 3])

    after = jax.jit(lambda seen: jax.lax.fori_loop(0, 3 * 2 * totals.LONG, pull, seen))(seen)
    wanted = 2**25 + 2 * totals.LONG
    np.testing.assert_array_equal(after.pulls, [wanted] * 3)
    np.testing.assert_allclose(after.sums / after.counts, signals, rtol=3e-5)


@pytest.mark.parametrize("addend", [1.0, 0.1, 1 / 3, -0.7])
def test_kahan_keeps_to_the_exact_sum(addend):
    start = jnp.float32(LATE * addend), jnp.float32(0)

    def add(_, pair):
        return totals.plus(*pair, jnp.float32(addend), True)

    value, lost = jax.jit(lambda pair: jax.lax.fori_loop(0, 100_000, add, pair))(start)
    exact = float(np.float32(LATE * addend)) + 1e5 * float(np.float32(addend))
    assert abs(float(value) + float(lost) - exact) < 1e-6 * abs(exact)
    plain = jax.jit(lambda x: jax.lax.fori_loop(0, 100_000, lambda _, x: x + jnp.float32(addend), x))(start[0])
    assert abs(float(plain) - exact) > 1e-5 * abs(exact)


def test_short_sums_are_the_plain_ones():
    """Bit for bit, up to 2^17 addends."""
    rng = np.random.default_rng(0)
    x = rng.random(5000).astype(np.float32)
    plain, _ = jax.lax.scan(lambda s, v: (s + v, None), jnp.float32(0), x)
    pair, _ = jax.lax.scan(lambda s, v: (totals.plus(*s, v, False), None), (jnp.float32(0), jnp.float32(0)), x)
    seen, _ = jax.lax.scan(lambda s, v: (s.add(0, v), None), arms.Sums(*[jnp.zeros(1, t) for t in "iff"]), x)
    assert plain == pair[0] == seen.sums[0]


@pytest.mark.parametrize("name", ["thompson", "bayes_ucb", "optimistic_thompson", "ucb1", "kl_ucb", "imed", "moss"])
def test_the_better_arm_stays_the_better_one(name):
    """Means .8 and .9, from 2^25 periods on: a posterior that stops at 2^24 of each kind has a mean of 1/2 for the best."""
    env, params = jaxprice.make("BernoulliBandit", means=[0.8, 0.9])
    policy = policies.make(name)
    first = policy.init(jax.random.key(0), env.problem(params))
    pulls = np.array([2.0**12, 2.0**25])
    if hasattr(first, "arms"):
        late = first.replace(arms=sums_of(pulls, 0 * pulls).replace(before=jnp.float32(pulls * [0.8, 0.9])))
    else:
        late = first.replace(a=jnp.float32(1 + pulls * [0.8, 0.9]), b=jnp.float32(1 + pulls * [0.2, 0.1]))
    late = late.replace(time=jnp.int32(pulls.sum())) if hasattr(late, "time") else late
    sold = [sale("bandit").replace(demand=jnp.float32(x), reward=jnp.float32(x)) for x in (0, 1)]

    def step(i, state):
        one = jax.tree.map(lambda no, yes: jnp.where(i % 10 == 0, no, yes), *sold)
        return policy.update(jax.random.fold_in(jax.random.key(3), i), state, one)

    after = jax.jit(lambda state: jax.lax.fori_loop(0, 1_000_000, step, state))(late)
    total = after.arms.counts if hasattr(after, "arms") else after.a + after.b - 2
    mean = (after.arms.sums if hasattr(after, "arms") else after.a - 1) / total
    assert abs(float(total[1]) - 2.0**25 - 1e6) < 64
    np.testing.assert_allclose(mean, [0.8, 0.9], atol=2e-6)
    keys = jax.random.split(jax.random.key(5), 200)
    assert np.all(np.asarray(jax.vmap(lambda key: policy.act(key, after, jnp.zeros(3)))(keys)) == 1)


def drift(update, start, n=2_000_000):
    """What `update` makes of a mean of .8 in so many sales, four of five of which are ones."""

    def step(i, state):
        return update(state, jnp.where(i % 5 == 0, 0.0, 1.0))

    return jax.jit(lambda state: jax.lax.fori_loop(0, n, step, state))(start)


def test_running_means_do_not_drift():
    """(x - m) / n falls below half the spacing of m, for x = 1 before x = 0: a bare mean of .8 would fall."""
    late = 2**24
    detector = policies.page_hinkley(threshold=1e9)
    state = detector.init(problem_of("bandit")).replace(
        counts=jnp.full(4, late, jnp.int32), reference=jnp.full(4, 0.8, jnp.float32)
    )
    after = drift(lambda s, x: detector.update(s, sale("bandit").replace(demand=x))[0], state)
    assert abs(float(after.reference[1]) - 0.8) < 1e-5
    bare = drift(lambda s, x: (s[0] + (x - s[0]) / s[1].astype(jnp.float32), s[1] + 1), (jnp.float32(0.8), jnp.int32(late)))
    assert abs(float(bare[0]) - 0.8) > 1e-3

    gradient = policies.gradient_bandit()
    start = gradient.init(jax.random.key(0), problem_of("bandit")).replace(count=jnp.int32(late), mean=jnp.float32(0.8))
    after = drift(lambda s, x: gradient.update(None, s, sale("bandit").replace(reward=x)), start)
    assert abs(float(after.mean) - 0.8) < 1e-5

    model = linear_model.Model(jnp.float32([0.8]), jnp.float32([[late**-0.5]]), jnp.zeros(1))
    after = drift(lambda m, x: m.revise(jnp.ones(1), x)[0], model)
    assert abs(float(after.mean[0]) - 0.8) < 1e-5
    bare = drift(lambda m, x: m.revise(jnp.ones(1), x)[0], model.replace(lost=None))
    assert abs(float(bare.mean[0]) - 0.8) > 1e-3

    table = policies.q_learning(bins=1, rate=1.0, power=1.0, discount=0.0)
    start = table.init(jax.random.key(0), problem_of("bandit"))
    start = start.replace(table=jnp.full((1, 4), 0.8), counts=jnp.full((1, 4), late, jnp.int32))
    after = drift(lambda s, x: table.update(None, s, sale("bandit").replace(reward=x)), start)
    assert abs(float(after.table[0, 1]) - 0.8) < 1e-5


def test_a_long_history_of_an_arm_has_no_false_change_and_finds_a_true_one():
    """GLR-klUCB at 2^25 signals of mean .8: a million more of them, then as many of mean .9."""
    late, stride = 2**25, 2**20
    marks = 0.8 * stride * jnp.arange(1, 33, dtype=jnp.float32)[None]
    start = History(jnp.int32([late]), jnp.float32([0.8 * late]), jnp.zeros(1), jnp.int32([stride]), marks)

    def add(rate):
        def step(i, carry):
            history, most = carry
            history, statistic = history.add(jnp.int32(0), jnp.where(i % rate == 0, 0.0, 1.0))
            return history, jnp.maximum(most, statistic)

        return jax.jit(lambda history: jax.lax.fori_loop(0, 1_000_000, step, (history, jnp.float32(0))))

    after, most = add(5)(start)
    assert after.counts[0] == late + 1_000_000
    np.testing.assert_allclose(after.sums / after.counts, [0.8], atol=2e-6)
    assert most < 1.5 * np.log(late)
    assert add(10)(after)[1] > 10 * 1.5 * np.log(late)


@pytest.mark.slow
def test_thompson_after_sixty_million_periods():
    """One lane, means .8 and .9: in the last million periods the better arm is the one that is played."""
    env, params = jaxprice.make("BernoulliBandit", means=[0.8, 0.9])
    sizes = {"lanes": 1, "horizon": 60_000_000, "params": params, "checkpoints": [59_000_000, 60_000_000]}
    regret = jaxprice.simulate(env, policies.thompson(), **sizes)["regret"].values[0]
    assert np.diff(regret)[0] < 1e-3 * 0.1 * 1e6


def test_posteriors_of_long_histories_have_the_right_spread():
    """Draws of Thompson sampling at 2^25 observations against the Beta law's normal limit."""
    policy = policies.thompson()
    state = policy.init(jax.random.key(0), problem_of("bandit"))
    pulls, mean = 2.0**25, 0.9
    spread = np.sqrt(mean * (1 - mean) / pulls)
    rates = np.array([mean, mean - spread, 0.2, 0.2])
    state = state.replace(a=jnp.float32(pulls * rates), b=jnp.float32(pulls * (1 - rates)))
    keys = jax.random.split(jax.random.key(1), 4000)
    share = np.mean(np.asarray(jax.vmap(lambda key: policy.act(key, state, jnp.zeros(3)))(keys)) == 0)
    exact = stats.norm.cdf(1 / np.sqrt(2))  # about, since the two spreads differ by little
    assert abs(share - exact) < 0.04


def likelihood_of(state):
    """Periods, sales and what rounding has kept from them."""
    likelihood = state.inner.likelihood
    return state.inner.time, likelihood.sold, likelihood.lost[1]


LONG_LIVED = [  # policy, market, where its counts and sums are
    ("ts_fixed", "inventory", lambda state: (state.books.periods, state.books.sums, state.books.lost)),
    ("lp_ucb", "inventory", lambda state: (state.books.periods, state.books.sums, state.books.lost)),
    ("primal_dual_bwk", "inventory", lambda state: (state.pulls, state.sums, state.lost)),
    ("mnl_ucb", "assortments", lambda state: (state.epochs.epochs, state.epochs.sums, state.epochs.lost)),
    ("zooming", "interval, logit", lambda state: (state.arms.pulls, state.arms.before, state.arms.since)),
    ("mle_cycle", "interval, logit", likelihood_of),
    ("besbes_zeevi_linear", "interval, logit", lambda state: (state.position, state.sums, state.lost)),
]


@pytest.mark.parametrize(("name", "label", "where"), LONG_LIVED)
def test_sellers_count_beyond_what_float32_counts(name, label, where):
    """Sums as large as 2^24 of their addends, counted as long: eight more sales add to them what eight sales add."""
    options = {"mle_cycle": {"variant": "S"}, "besbes_zeevi_linear": {"length": 1e9}}.get(name, {})
    policy, problem = policies.make(name, **options), problem_of(label)
    several, interval = label == "assortments", label == "interval, logit"
    offered = jnp.zeros(5, bool).at[1].set(True)
    action = offered if several else jnp.float32(problem.low) if interval else jnp.int32(1)
    price = offered * problem.high if several else action if interval else problem.prices[1]

    def period(i, state):
        demand = jnp.where((i % 2 == 0) & offered, 1.0, 0.0) if several else jnp.float32(1)  # epochs of two customers
        reward = jnp.sum((price - problem.cost) * demand)
        after = policy.update(jax.random.key(0), state, Transition(None, action, price, demand, reward, None))
        if several:
            return after.replace(epochs=after.epochs.replace(offered=offered))
        return after.replace(books=after.books.replace(left=state.books.left)) if hasattr(after, "books") else after

    again = jax.jit(lambda state: jax.lax.fori_loop(0, 16, period, state))
    state = policy.init(jax.random.key(0), problem)
    if several:
        state = state.replace(epochs=state.epochs.replace(offered=offered))
    first = again(state)
    grown = [np.asarray(x, float) for x in where(first)]
    leaves, tree = jax.tree.flatten(first)
    counts, sums = where(first)[:2]
    old = {id(counts): jnp.where(counts > 0, jnp.int32(2**24), counts), id(sums): jnp.where(sums > 0, LATE, sums)}
    late = jax.tree.unflatten(tree, [old.get(id(leaf), leaf) for leaf in leaves])
    then, after = where(late), where(again(late))
    added = sum(np.asarray(x, float) - np.asarray(y, float) for x, y in zip(after[1:], then[1:], strict=True))
    np.testing.assert_array_equal(np.asarray(after[0], float) - np.asarray(then[0], float), grown[0])
    np.testing.assert_allclose(added, grown[1] + grown[2], rtol=1e-5)
