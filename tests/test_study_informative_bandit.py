"""The study of the informative bandit: exact values against enumeration, its rows, and its most certain cells."""

import itertools

import numpy as np
import pytest

from experiments.frame import study
from experiments.studies import informative_bandit as this


def enumerated(arms, pulls, prize, informative):
    """The largest expected total over all deterministic strategies, by brute force over histories."""
    n = arms - 1

    def payout(arm, target):
        return (target + 1) / n if arm == n else prize if arm == target else 1.0

    def best(targets, left):
        if not left:
            return 0.0
        values = []
        for arm in range(arms if informative else n):
            groups = {}
            for target in targets:
                groups.setdefault(payout(arm, target), []).append(target)
            later = sum(len(group) * best(group, left - 1) for group in groups.values())
            values.append((sum(payout(arm, target) for target in targets) + later) / len(targets))
        return max(values)

    return best(list(range(n)), pulls)


def test_the_optimum():
    """Of small bandits by brute force; of the paper's by hand: .55 + 4 * 5, and a search without the last arm."""
    for arms, pulls, prize, informative in itertools.product((3, 4), (1, 2, 3, 4), (1.2, 5.0), (True, False)):
        ours = this.optimum(arms, pulls, prize, informative)
        assert ours == pytest.approx(enumerated(arms, pulls, prize, informative), abs=1e-12)
    assert this.optimum() == pytest.approx(20.55)
    assert 25 - this.optimum(informative=False) == pytest.approx(14.0)


def test_exact_regrets():
    assert this.exact_thompson() == pytest.approx((4 + 8 + 12 + 16) / 10 + 20 / 2)
    assert this.exact_random() == pytest.approx(5 * (9 * 4 + 4.45) / 11)
    rng = np.random.default_rng(0)  # both by simulation, on a smaller bandit
    lost = []
    for _ in range(20_000):
        target, order = rng.integers(3), rng.permutation(3)
        place = list(order).index(target)
        lost.append(
            [
                4 * min(place, 2),
                sum([4, 4, 4, 5 - (target + 1) / 3][arm] * (arm != target) for arm in rng.integers(4, size=2)),
            ]
        )
    for exact, sampled in zip((this.exact_thompson(4, 2), this.exact_random(4, 2)), np.array(lost).T, strict=True):
        assert abs(sampled.mean() - exact) < 4 * sampled.std() / np.sqrt(len(lost))


def test_indices_of_arms_that_are_tried_once():
    """Closed form where a payout is a with probability p and else b: the index lies between."""
    payouts = np.array([5.0] + 9 * [1.0])
    for left in range(1, 6):
        assert this.index(payouts, left) == pytest.approx((0.5 * left + 0.9) / (1 + 0.1 * (left - 1)))
    assert this.index(np.full(4, 0.7), 3) == pytest.approx(0.7)


def test_the_setting_is_that_of_the_paper():
    means = 5 * np.asarray(this.every_bandit().means, float)
    assert means.shape == (10, 11)
    np.testing.assert_allclose(means[:, :10], 1 + 4 * np.eye(10), rtol=1e-6)
    np.testing.assert_allclose(means[:, 10], np.arange(1, 11) / 10, rtol=1e-6)
    assert this.AGENTS["agent, LSTM by A2C"][:3] == ("lstm", {"size": 48}, "a2c")


def made_up():
    """Results in which one run of each agent is perfect and the other searches."""
    target = np.arange(10)
    perfect = np.array([[10] * 10] + 4 * [list(target)])
    search = np.array([np.where(target < t, target, t) for t in range(5)])

    def regret(arms):
        return np.where(arms == target, 0.0, np.where(arms == 10, 5 - (target + 1) / 10, 4.0))

    both = np.stack([perfect, search])
    agent = {"regret": regret(both), "arm": both, "update": np.array([1, 2]), "held_out": np.array([[0.1, 0.2], [0.3, 0.8]])}
    ucb = np.tile(np.arange(5)[:, None], (1, 10))
    drawn = {"regret": regret(search), "arm": search}
    results = {name: agent for name in this.AGENTS} | {"UCB1": {"regret": regret(ucb), "arm": ucb}}
    return results | dict.fromkeys(("Gittins, arms alone", "Thompson, true prior", "random"), drawn)


def test_rows():
    held = {row.cell: row for row in this.rows(this.STUDY.presets["smoke"], made_up())}
    for name in this.AGENTS:
        assert held[f"regret: {name}"].ours == pytest.approx((4.45 + 14) / 2)
        assert held[f"regret: {name}"].se == pytest.approx((14 - 4.45) / 2)
        assert held[f"share of runs at the optimum: {name}"].ours == 0.5
        assert held[f"pulls of the informative arm: {name}"].ours == 0.5
    assert held["regret: UCB1"].ours == pytest.approx(18) and held["different arms in five pulls: UCB1"].ours == 5
    assert held["regret: Gittins, arms alone"][1:3] == (pytest.approx(14), 0.0)
    assert held["regret: Thompson, true prior"].se > 0
    assert abs(held["first pull: payout of the informative arm"].z) < 1e-3
    assert abs(held["first pull: payout of a candidate"].z) < 1e-3
    assert held["regret: optimum"][1:3] == (pytest.approx(25 - 20.55), 0.0)
    assert held["regret: optimum without the last arm"].ours == pytest.approx(14)
    assert held["regret: random, exactly"].ours == this.exact_random()
    kinds = [row.kind for row in held.values()]
    assert (kinds.count("printed"), kinds.count("derived")) == (2, 1 + len(this.AGENTS))
    assert all(map(study.columns, held.values()))


def test_the_figure_is_drawn(tmp_path):
    sizes = this.STUDY.presets["smoke"]
    study.plot_figure(this.STUDY, sizes, made_up(), this.rows(sizes, made_up()), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.slow
def test_the_policies_of_the_library_reach_their_exact_values():
    """Without randomness to rounding; Thompson within 4 standard errors of 20,000 bandits and .1, since its prior is 2,000
    bandits drawn, some targets among them more often than others."""
    sizes = this.STUDY.presets["smoke"]._replace(lanes=20_000, agents=0)
    results = {name: make() for name, make in this.cells(sizes, 0).items()}
    regret = {name: study.mean(cell["regret"].sum(axis=0, dtype=float)) for name, cell in results.items()}
    assert regret["UCB1"][0] == pytest.approx(18, abs=1e-4)
    assert regret["Gittins, arms alone"][0] == pytest.approx(14, abs=1e-4)
    assert abs(regret["Thompson, true prior"][0] - 14) < 4 * regret["Thompson, true prior"][1] + 0.1
    assert abs(regret["random"][0] - this.exact_random()) < 4 * regret["random"][1]
