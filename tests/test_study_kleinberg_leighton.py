"""The study of Kleinberg and Leighton (2003): sequences, phases, its table, and simulated rates."""

import numpy as np
import pytest

from experiments.studies import kleinberg_leighton as paper
from jaxprice import policies

SIZES = paper.Sizes(500, (4, 16, 256), (500, 2000), 2, 16)


def test_sequences_and_hindsight():
    """Phases by hand, and the best single price of short sequences against all prices."""
    assert [paper.phases(n) for n in (2, 4, 16, 17, 256, 65_536)] == [1, 2, 3, 4, 4, 5]
    prices = np.linspace(0, 1, 20_001, dtype=np.float32)
    for name in paper.SEQUENCES:
        values, which = paper.sequence(name, 40)
        assert len(values) <= paper.MARKETS and which.shape == (40,) and which.max() == len(values) - 1
        earned = (prices[:, None] * (values[which][None] >= prices[:, None])).sum(axis=1)
        assert paper.best_in_hindsight(values, which) == pytest.approx(earned.max(), abs=40 / 20_000)
    values, which = paper.sequence("against UCB1", 64_000)
    assert len(values) == 9 and np.all(values < np.arange(1, 10) / 9) and list(which[:10]) == [*range(9), 0]
    assert len(paper.sequence("against UCB1", 10**7)[0]) <= paper.MARKETS


def test_rows():
    """Slopes of made-up regrets, and the search's bound."""
    n = np.array(SIZES.buyers, float)
    results = {f"identical, n={k}": {"regret": np.full(64, np.log2(np.log2(k)))} for k in SIZES.searches}
    for k in SIZES.buyers:
        results[f"independent, n={k}"] = {"regret": np.full((2, 2), k**0.5 * np.log(k) ** 0.5)}
        regret = {"regret": np.full((3, 2), k**0.7 * np.log(k) ** (1 / 3)), "ucb1": 0.25 * k * np.ones(3)}
        results[f"adversarial, n={k}"] = regret
    rows = {row.cell: row for row in paper.rows(SIZES, results)}
    assert rows["identical, regret for one more log2 log2 n"].ours == pytest.approx(1)
    assert "bound 2 x 4 phases + 1 = 9" in rows["identical, n=256, regret"].note
    row = rows["independent, h = 1, last slope, no logarithm"]
    assert row.ours == pytest.approx(0.5) and row.note == "within the bound; between the first two 0.500"
    row = rows["adversary: low, then high, Exp3, last slope, no logarithm"]
    assert row.ours == pytest.approx(0.7) and row.note.startswith("still above")
    assert rows[f"adversary: against UCB1, UCB1, n={n[-1]:.0f}, regret / n"].ours == 0.25


@pytest.mark.slow
def test_certain_cells():
    """The search keeps its bound; UCB1 sells nothing to its adversary, exactly; Exp3 loses less than half of that.

    Independent valuations: regret within 2 sqrt(K n log n), which holds with much to spare and fails for regret linear in n.
    """
    for n in (16, 256, 4096):
        regret = paper.search_cell(n, SIZES, 1)["regret"]
        assert regret.max() <= 2 * paper.phases(n) + 1 and regret.min() > -1e-3
    env, params = paper.adversarial_market(2000)
    lost = paper.against("against UCB1", 2000, env, params, policies.kleinberg_leighton(horizon=2000), 0, 2)[0]
    assert lost == pytest.approx(paper.best_in_hindsight(*paper.sequence("against UCB1", 2000)), rel=1e-6)
    cell = paper.adversarial_cell(2000, SIZES, 1)
    assert np.mean(cell["regret"][0]) < lost / 2 and np.all(cell["regret"] < paper.proved(2000))
    for n in (2000, 20_000):
        regret = paper.independent_cell(n, SIZES, 1)["regret"]
        assert np.all(regret < 2 * np.sqrt(paper.grid_size(n) * n * np.log(n)) / 4)


def test_a_sequence_is_played_as_it_is():
    """A seller who posts one price earns it in every period whose valuation reaches it."""
    n, price = 60, 0.5
    env, params = paper.adversarial_market(n)
    seller = policies.fixed_price(price)
    for name in paper.SEQUENCES[:2]:
        values, which = paper.sequence(name, n)
        earned = price * (values[which] >= price).sum()
        lost = paper.against(name, n, env, params, seller, 0, 2)
        np.testing.assert_allclose(lost, paper.best_in_hindsight(values, which) - earned, rtol=1e-4)
