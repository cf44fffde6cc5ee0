"""Baselines of the table of Duan et al. (2016): against NumPy step for step, and against exact values of small bandits."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest
from harness import HORIZON, LANES, assert_choices, play, problem_of, state_after
from scipy import optimize, stats

from experiments.studies.rl2_bandits import baselines
from experiments.studies.rl2_bandits import study as table
from experiments.studies.rl2_bandits import table as duan_table
from jaxprice import cells
from jaxprice.oracles import gittins

KEY = jax.random.key(0)
SIZE = HORIZON


def whittle(a, b, discount=1.0):
    m, n = a / (a + b), a + b
    return m + m * (1 - m) / (n * math.sqrt((2 * math.log(1 / discount) + 1 / n) * m * (1 - m)) + m - 0.5)


def scores(name, a, b, t):
    """Scores of all arms before pull t, from 0, float64."""
    if name == "greedy":
        return a / (a + b)
    if name == "closed form":
        return np.array([whittle(*x) for x in zip(a, b, strict=True)])
    if name == "calibrated":
        index = calibrated()
        pulls = (a + b - 2).astype(int)
        return index[pulls * (pulls + 1) // 2 + a.astype(int) - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return a / (a + b) + np.sqrt(2 * np.log(np.float64(t)) / (a + b))


@functools.cache
def calibrated():
    return baselines.calibrated(SIZE, 0.99, end=400, points=200)


@functools.cache
def policy_of(name):
    if name == "ucb1":
        return baselines.ucb1(1.0)
    if name == "greedy, by coin":
        return baselines.epsilon_greedy(0.0)
    made = {"greedy": baselines.posterior_mean(SIZE), "closed form": baselines.closed_form(SIZE), "calibrated": calibrated()}
    return baselines.index_policy(baselines.ranks(made[name]))


@pytest.mark.parametrize("name", ["greedy", "greedy, by coin", "closed form", "calibrated", "ucb1"])
def test_step_for_step_and_first_of_equals(name):
    """Every action is `np.argmax` of the scores, NaN at the first pull of UCB1, in ties too; a few are too near to call."""
    played, near, ties = play(policy_of(name), "bandit"), 0, 0
    for lane in range(LANES):
        a, b = np.ones(4), np.ones(4)
        for t, (arm, demand) in enumerate(zip(played.sales.action[:, lane], played.sales.demand[:, lane], strict=True)):
            wanted = scores(name.split(",")[0], a, b, t)
            assert np.isnan(wanted).all() == (name == "ucb1" and t == 0)
            rivals = np.flatnonzero(wanted > np.nanmax(wanted) - 1e-6) if t else np.arange(4)
            if t and np.ptp(wanted[rivals]) > 1e-12:
                near += 1
                assert arm in rivals
            else:
                ties += len(rivals) > 1
                assert arm == np.argmax(wanted)
            (a if demand else b)[arm] += 1
    assert near < 0.01 * LANES * HORIZON and ties > LANES


def test_ties_across_different_counts():
    """Means 1/2 of (1, 1), (2, 2) and (3, 3) are equal: the first arm, whatever its count."""
    for name in ("greedy", "greedy, by coin"):
        policy = policy_of(name)
        for order in itertools.permutations([0, 1, 2]):
            pulls = [arm for arm, pairs in enumerate(order) for _ in range(2 * pairs)]
            state = state_after(policy, problem_of("bandit"), [*pulls, 3], [*[1, 0] * 3, 0])
            assert int(policy.act(KEY, state, None)) == 0


HISTORY = [0, 0, 1, 1, 1, 2, 2, 2, 2], [1, 0, 1, 1, 0, 1, 1, 0, 0]  # means 1/2, 3/5, 1/2, 1/2


def test_epsilon_greedy_frequencies():
    state = state_after(baselines.epsilon_greedy(0.3), problem_of("bandit"), *HISTORY)
    assert_choices(baselines.epsilon_greedy(0.3), state, [0.075, 0.775, 0.075, 0.075], against=[[0.1, 0.7, 0.1, 0.1]])


@functools.cache
def ots_choices(draws, size=100_000):
    """Frequencies of arms after `HISTORY`, in NumPy."""
    rng = np.random.default_rng(0)
    a, b = np.array([2, 3, 3, 1]), np.array([2, 2, 3, 1])
    x = rng.beta(a, b, (size, draws, 4))
    density = stats.beta.logpdf(x, a, b).sum(axis=-1)
    best = np.take_along_axis(x, density.argmax(axis=1)[:, None, None], 1)[:, 0].argmax(axis=1)
    return np.bincount(best, minlength=4) / size


@pytest.mark.parametrize("draws", [1, 7])
def test_ots_frequencies(draws):
    """With one draw it is Thompson sampling; with more, not that of another number of draws."""
    policy = baselines.ots_map(draws)
    state = state_after(policy, problem_of("bandit"), *HISTORY)
    assert_choices(policy, state, ots_choices(draws), against=[ots_choices(8 - draws)])


def test_closed_form_and_order_of_states():
    a, b = baselines.states(12)
    assert len(a) == 13 * 14 // 2 and a[0] == b[0] == 1
    assert [(x, y) for x, y in zip(a, b, strict=True)] == [(1 + s, 1 + n - s) for n in range(13) for s in range(n + 1)]
    for discount in (1.0, 0.9):
        wanted = [whittle(*x, discount) for x in zip(a, b, strict=True)]
        np.testing.assert_allclose(baselines.closed_form(12, discount), wanted, rtol=1e-12)
    assert baselines.closed_form(1)[0] == pytest.approx(0.5 + 0.25 / math.sqrt(0.5), rel=1e-12)  # m = 1/2, M = 2


def test_every_stopping_horizon_gives_the_posterior_mean():
    @functools.cache
    def total(a, b, horizon):
        m = a / (a + b)
        return m + m * total(a + 1, b, horizon - 1) + (1 - m) * total(a, b + 1, horizon - 1) if horizon else 0.0

    means = iter(baselines.posterior_mean(4))
    for n in range(5):
        for s in range(n + 1):
            rates = [total(1 + s, 1 + n - s, horizon) / horizon for horizon in range(1, 40)]
            np.testing.assert_allclose(rates, next(means), rtol=1e-12)


def test_calibration_is_optimal_stopping():
    """A lattice of twelve observations by recursion and bisection, and a long one against the project's own table."""

    def gain(a, b, g, reward, end):
        m = a / (a + b)
        if a + b == end:
            return m - reward
        later = m * max(0, gain(a + 1, b, g, reward, end)) + (1 - m) * max(0, gain(a, b + 1, g, reward, end))
        return (1 - g) * (m - reward) + g * later

    for g in (0.9, 0.999):
        a, b = baselines.states(3)
        wanted = [optimize.brentq(lambda r, x=x, g=g: gain(*x, g, r, 12), 0, 1, xtol=1e-10) for x in zip(a, b, strict=True)]
        np.testing.assert_allclose(baselines.calibrated(3, g, end=12, points=2000), wanted, atol=2e-5)
    ours, theirs = baselines.calibrated(10, 0.9, end=200), gittins.discounted_table(0.9, 10)
    np.testing.assert_allclose(ours, np.concatenate([theirs[n, : n + 1] for n in range(11)]), atol=3e-4)


def exact(rule, n):
    """Expected total of a deterministic policy with two arms, over all strings of rewards: posterior probabilities."""
    value = 0.0
    for rewards in itertools.product([0, 1], repeat=n):
        a, b, weight = np.ones(2), np.ones(2), 1.0
        for t, x in enumerate(rewards):
            arm = int(np.argmax(rule(a, b, t)))
            weight *= (a if x else b)[arm] / (a + b)[arm]
            (a if x else b)[arm] += 1
        value += weight * sum(rewards)
    return value


@pytest.mark.parametrize("name", ["UCB1", "Gittins"])
def test_cells_have_the_exact_value(name):
    """n k / (k + 1) less the regret of 20,000 tasks, against all strings of rewards."""
    n, lanes = 6, 10_000
    if name == "UCB1":
        tuned = table.Tuned(baselines.ucb1, {"c=1": np.float32(1)})
        wanted = exact(functools.partial(scores, "ucb1"), n)
    else:
        tuned = table.Tuned(baselines.index_policy, {"closed form": baselines.ranks(baselines.closed_form(n))})
        wanted = exact(functools.partial(scores, "closed form"), n)
    other = exact(functools.partial(scores, "greedy"), n)
    mean, error = duan_table.mean_and_error(n * 2 / 3 - table.tune((n, 2), tuned, lanes, [3, 4], [5, 6]).regret)
    assert abs(mean - wanted) < 4 * error
    assert abs(wanted - other) > 1e-9


def test_tuning_takes_the_best_of_its_tasks(monkeypatch):
    """Chosen on all batches, or on the first; the unbiased choice from the others, its regret on the same tasks."""
    regret = {(0, 1): 1.0, (0, 2): 5.0, (1, 1): 2.0, (1, 2): 2.0, (0, 8): 9.0, (1, 8): 8.0, (0, 9): 3.0, (1, 9): 5.0}

    def compiled(arms, make, lanes):
        return lambda number, seed, horizon: (regret[number, int(seed)] + np.array([0, 0.1]), np.arange(2.0))

    monkeypatch.setattr(table, "_compiled", compiled)
    on = {"a": (1, 5), "b": (2, 2)}
    for batches, chosen, other in [(None, "b", "a"), (1, "a", "b")]:
        tuned = table.Tuned(None, {"a": 0, "b": 1}, batches)
        outcome = table.tune((10, 5), tuned, 2, [1, 2], [8, 9])
        assert (outcome.chosen, outcome.other_chosen) == (chosen, other)
        np.testing.assert_allclose(outcome.regret, np.add.outer(on[chosen], [0, 0.1]).ravel())
        np.testing.assert_allclose(outcome.other_regret, np.add.outer(on[other], [0, 0.1]).ravel())


def test_rows():
    """Totals, z and the paired gap of a cell, from regrets that are known."""
    cell, rng = (10, 5), np.random.default_rng(0)
    one, best = rng.uniform(1, 3, 500), rng.uniform(1, 2, 500)
    outcomes = {"UCB1": table.Outcome(one, 2.0, "c=0.1", one + 1, "c=0.3"), "mine": table.Outcome(one, 2.0, "", one, "")}
    outcomes["oracle"] = table.Outcome(best, 2.0, "", best, "")
    rows = {row["method"]: row for row in duan_table.rows_of(cell, outcomes)}
    ucb1 = rows["UCB1"]
    se = one.std(ddof=1) / math.sqrt(500)
    assert (
        ucb1["published"] == 6.7 and ucb1["ours"] == pytest.approx(50 / 6 - one.mean()) and ucb1["se"] == pytest.approx(se)
    )
    assert ucb1["z"] == pytest.approx((50 / 6 - one.mean() - 6.7) / math.hypot(se, 2 / math.sqrt(1000)))
    assert ucb1["gap"] == pytest.approx((best - one).mean()) and ucb1["gap_se"] < se * 1.5
    assert ucb1["ours_unbiased"] == pytest.approx(ucb1["ours"] - 1)
    assert rows["mine"]["published"] == 6.7 and rows["mine"]["source"].endswith("RL^2")
    assert (
        math.isnan(rows["oracle"]["published"]) and math.isnan(rows["SNAIL"]["ours"]) and rows["SNAIL"]["published"] == 6.6
    )


def test_bad_input_is_named(tmp_path):
    with pytest.raises(ValueError, match="table"):
        baselines.index_policy(np.zeros(4))
    with pytest.raises(ValueError, match="needs bernoulli"):
        policy_of("greedy").init(KEY, problem_of("noisy"))
    with pytest.raises(ValueError, match="one buyer"):
        policy_of("greedy").init(KEY, problem_of("crowd"))
    bad = [(baselines.ucb1, -1.0), (baselines.epsilon_greedy, 1.5), (baselines.ots_map, 0), (baselines.posterior_mean, 0)]
    for make, number in bad:
        with pytest.raises(ValueError, match="must be"):
            make(number)
    for options in ({"discount": 1.0}, {"discount": 0.9, "end": 5}):
        with pytest.raises(ValueError, match="must be"):
            baselines.calibrated(10, **options)
    with pytest.raises(ValueError, match="discount"):
        baselines.closed_form(3, 0.0)
    with pytest.raises(ValueError, match="setting"):
        table.plan_of(table.Options(only=("n7_k3",)))


@pytest.mark.slow
def test_smoke_run_resumes(tmp_path, monkeypatch):
    options = table.Options(preset="smoke", out=tmp_path, agents=tmp_path / "none")
    table.main(options)
    first = (tmp_path / "table.csv").read_text()
    lines = first.splitlines()
    methods = *duan_table.METHODS, "RL^2 (ours)", "oracle", "RL^2", "SNAIL"  # the agent is that of the package
    assert [line.split(",")[0] for line in lines] == ["cell", *(f"n=10 k=5 {name}" for name in methods)]
    assert lines[0] == ",".join(duan_table.HEADER)
    monkeypatch.setattr(cells.Cells, "save", None)
    table.main(options)
    assert (tmp_path / "table.csv").read_text() == first and (tmp_path / "gaps.png").stat().st_size > 10_000
