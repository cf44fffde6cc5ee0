"""The study of sellers that learn against a rival with a fixed rule: exact values by other methods, maps, rows, figure."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.frame import study
from experiments.studies.kastius_schlosser import exact, learners
from experiments.studies.kastius_schlosser import study as this
from jaxprice.oracles import dynamic_programming
from jaxprice.types import Policy

REACTIONS = {  # as the paper's code states them
    "fixed 20": lambda a: 20,
    "two bounds 5, 40": lambda a: 40 if a - 1 < 5 else a - 1,
    "two bounds 25, 45": lambda a: 45 if a - 1 < 25 else a - 1,
    "cartel 33": lambda a: 33 if a == 33 else 50 if a - 1 < 1 else a - 1,
    "cartel 33, price war": lambda a: 33 if a == 33 else 20 if a - 1 < 10 else min(a - 1, 20),
}


@pytest.mark.parametrize("name", exact.RIVALS)
def test_the_rivals_and_the_profits_are_those_of_the_paper(name):
    _, params = exact.market(name)
    reward, answer = exact.rewards(params)
    np.testing.assert_array_equal(exact.PRICES[answer], [REACTIONS[name](a) for a in exact.PRICES])
    assert exact.PRICES[exact.FIRST] == params.prices[params.start] == 30
    assert exact.DISCOUNT == 0.9
    a, p = np.meshgrid(exact.PRICES, exact.PRICES, indexing="ij")
    after = exact.PRICES[answer][:, None]
    wanted = a * (exact.paper_sales(a, p) + exact.paper_sales(a, after)) / 2
    np.testing.assert_allclose(reward, wanted, rtol=2e-6)
    odds = math.exp(-3.89 - 0.56 * 1.5 + 0.07 - 0.03 * 20)  # both at 20
    assert exact.paper_sales(20, 20) == pytest.approx(800 * odds / (1 + odds))


def test_the_optimum_is_that_of_value_iteration():
    reward, answer = exact.rewards(exact.market("cartel 33")[1])
    transition = np.broadcast_to(np.eye(50)[answer], (50, 50, 50))
    values, _ = dynamic_programming.value_iteration(reward.T, transition, exact.DISCOUNT)
    ours, choices = exact.optimum(reward, answer)
    np.testing.assert_allclose(ours, values, rtol=1e-5)
    np.testing.assert_allclose(exact.worth(reward, answer, choices), ours, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_and_averages_by_enumeration(seed):
    """All 4^4 maps against a rival of four prices: values by 300 periods of play."""
    rng = np.random.default_rng(seed)
    reward, answer = rng.uniform(0, 9, (4, 4)), rng.permutation(4)
    best = np.full(4, -np.inf)
    for choices in itertools.product(range(4), repeat=4):
        choices = np.array(choices)
        for start in range(4):
            rival, earned = start, []
            for _ in range(300):
                earned.append(reward[choices[rival], rival])
                rival = answer[choices[rival]]
            total = np.dot(earned, exact.DISCOUNT ** np.arange(300))
            best[start] = max(best[start], total)
            assert exact.worth(reward, answer, choices)[start] == pytest.approx(total)
            assert exact.average(reward, answer, choices, start) == pytest.approx(np.mean(earned[60:300]), rel=1e-9)
    np.testing.assert_allclose(exact.optimum(reward, answer)[0], best)


@pytest.mark.parametrize("name", exact.RIVALS)
def test_prices_in_steps_of_a_hundred_cents_are_those_of_the_market(name):
    reward, answer = exact.rewards(exact.market(name)[1])
    values, _ = exact.optimum(reward, answer)
    assert exact.in_cents(name, 100)["value"] == pytest.approx(values[exact.FIRST], rel=1e-6)
    assert exact.in_cents(name, 20)["value"] > values[exact.FIRST]


@pytest.mark.parametrize("any_price", [False, True])
def test_the_map_of_a_seller_follows_what_it_has_seen(any_price):
    """A seller that undercuts by two the price that its last update showed, as trained agents remember it."""
    env, params = exact.market("cartel 33", any_price=any_price)

    def posted(rival):
        price = jnp.clip(rival - 2.2, 1, 50)
        return price if any_price else jnp.round(price).astype(jnp.int32) - 1

    policy = Policy(
        lambda key, problem: problem.observation[3],
        lambda key, state, observation: posted(state),
        lambda key, state, transition: transition.next_observation[3],
    )
    wanted = np.maximum(exact.PRICES - 2, 1) - 1
    np.testing.assert_array_equal(learners.map_of(policy, env, params), wanted)


def test_a_table_learns():
    """Of four runs, after 20,000 periods: more than 95 % against the fixed price, where random prices earn a third less."""
    found = learners.tables(20_000, 4, 2, 0)
    assert found["maps"].shape == (len(exact.RIVALS), 2, 4, 50) and list(found["periods"]) == [10_000, 20_000]
    reward, answer = exact.rewards(exact.market("fixed 20")[1])
    values, _ = exact.optimum(reward, answer)
    maps = np.asarray(found["maps"][list(exact.RIVALS).index("fixed 20"), -1], int)
    shares = [exact.worth(reward, answer, m)[19] / values[19] for m in maps]
    assert np.mean(shares) > 0.95


def made_up(sizes):
    """Results in which half of the runs are optimal and the others undercut."""
    found = {"Q-learning": {"maps": [], "periods": np.arange(1, sizes.points + 1)}}
    for name in exact.RIVALS:
        reward, answer = exact.rewards(exact.market(name)[1])
        pair = np.stack([exact.optimum(reward, answer)[1], np.maximum(np.arange(50) - 1, 0)])
        found["Q-learning"]["maps"].append(np.stack([pair] * sizes.points))
        for learner in learners.LEARNERS:
            curve = np.stack([found["Q-learning"]["periods"]] * 2, axis=1)
            found[f"{learner}, {name}"] = {"maps": pair, "periods": curve, "share": np.full((sizes.points, 2), 0.9)}
        found[f"cents, {name}"] = {"value": np.float64(1000.0)}
    found["Q-learning"]["maps"] = np.stack(found["Q-learning"]["maps"])
    return found


def test_rows_and_figure(tmp_path):
    sizes = this.Sizes(2, 2, 2, 2, 3)
    results = made_up(sizes)
    rows = this.rows(sizes, results)
    held = {row.cell: row for row in rows}
    assert len(held) == len(rows) and all(map(study.columns, rows))
    assert all(math.isnan(row.published) for row in rows)
    for name in exact.RIVALS:
        undercut = held[f"{name}: undercutting by one, %"].ours
        assert undercut < held[f"{name}: best profit of the period, %"].ours <= 100 + 1e-9
        for learner in ("Q-learning", *learners.LEARNERS):
            row = held[f"{name}: {learner}, %"]
            assert row.ours == pytest.approx((100 + undercut) / 2) and row.se == pytest.approx((100 - undercut) / 2)
            assert row.note.startswith("2 runs; 95 % interval")
        assert held[f"{name}: largest long-run profit, % of that"].ours >= 100 - 1e-3
    assert held["fixed 20: best constant price, %"][1:3] == (pytest.approx(100), 0.0)
    assert held["fixed 20: best constant price, %"].note == "price 19"
    study.plot_figure(this.STUDY, sizes, results, rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.slow
def test_networks_are_scored():
    found = learners.network(learners.dqn.train, "fixed 20", 20_000, 2, 2, 0, **learners.NETWORK)
    assert found["maps"].shape == (2, 50) and found["share"].shape == found["periods"].shape == (2, 2)
