"""Cards of agents follow from decisions, and those in the package belong to their weights; smaller weights."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

import jaxprice
from experiments import agent_cards, smaller_agents
from jaxprice import agents, explain, policies
from jaxprice.agents import agent_file, fitting
from jaxprice.explain import cards

MADE = [name for name in agents.list_agents() if "market" in agents.load_agent(name).told]


@pytest.mark.parametrize("name", MADE)
def test_the_card_of_an_agent_in_the_package_belongs_to_its_weights(name):
    text = (agent_cards.PLACE / f"{name}.md").read_text()
    lines = text.splitlines()
    assert (
        lines[0] == f"# {name}"
        and f"version {cards.VERSION} for weights `{cards.digest(agents.load_agent(name))}`" in lines[2]
    )
    assert tuple(line[3:] for line in lines if line.startswith("## ")) == cards.SECTIONS
    assert "nan" not in text.lower().replace("finance", "")


def told(refused, sold, now, price=None):
    """`Decisions` of one period in each market."""
    now = np.asarray(now)[:, None]
    prices = np.array([1.0, 2.0, 3.0])
    posted = prices[now] if price is None else price
    zero = np.zeros(now.shape, np.float32)
    return explain.Decisions(
        zero[..., None], now, posted, zero, np.asarray(refused)[:, None], np.asarray(sold)[:, None], zero
    )


def test_reactions_are_shares_of_decisions():
    env, params = jaxprice.make("PostedPrice", demand="linear", prices=[0.1, 0.2, 0.3])
    found = cards.reactions(told([0, 1, 2, 1], [2, 1, 1, 2], [1, 1, 1, 2]), env.problem(params))
    share = {name: value for name, (value, _) in found.items()}
    assert share == {
        "a refusal lowers the price": 0.5,
        "a refusal keeps the price": 0.25,
        "a refusal raises the price": 0.25,
        "a sale raises the price": 0.25,
        "the price after a refusal is above that after a sale": 0.25,
    }


def test_the_answer_to_what_really_happened_is_the_next_decision():
    """UCB1 draws nothing: it posts next what it answered for the outcome that came."""
    env, params = jaxprice.make("PostedPrice", demand="linear", prices=[0.35, 0.55, 0.7, 0.9], cost=0.3)
    found = explain.decisions(env, policies.ucb1(), lanes=6, horizon=30, params=params, seed=3)
    answered = np.where(found.demand > 0, found.after_sale, found.after_refusal)
    np.testing.assert_array_equal(answered[:, :-1], found.action[:, 1:])
    assert np.any(found.after_sale != found.after_refusal) and 0 < found.demand.mean() < 1
    run = jaxprice.simulate(env, {"ucb1": policies.ucb1()}, seed=3, lanes=6, horizon=30, params=params)
    np.testing.assert_allclose(found.regret.sum(axis=1), run["lane_regret"].values[0], rtol=1e-4)
    with pytest.raises(ValueError, match="env must be an Environment"):
        explain.decisions("shop", policies.ucb1())


def odd_weights():
    """An agent of the package with weights that float16 does not hold."""
    agent = agents.load_agent("bandit_rl2")
    flat = {name: x * np.float32(1.0003) for name, x in agent.checked().items()}
    return dataclasses.replace(agent, weights=fitting.nested(flat)), flat


def test_rounded_weights_are_within_half_a_step_of_their_channel():
    _, flat = odd_weights()
    rounded, size = smaller_agents.eighth(flat)
    whole = sum(x.nbytes for x in flat.values())
    assert 0.25 < size / whole < 0.30
    for name, x in flat.items():
        step = np.abs(x).max(axis=tuple(range(x.ndim - 1)), keepdims=True) / 127 if x.ndim > 1 else 0
        assert np.all(np.abs(rounded[name] - x) <= 0.5 * step * (1 + 1e-5) + 1e-12), name
        assert len(np.unique(rounded[name][..., 0])) <= 255 if x.ndim > 1 else np.array_equal(rounded[name], x)
    half, size = smaller_agents.half(flat)
    assert size == whole // 2
    assert all(np.all(np.abs(half[name] - x) <= 2**-11 * np.abs(x) + 2**-24) for name, x in flat.items())


@pytest.mark.parametrize("variant", ["float16", "int8"])
def test_fewer_bits_are_read_back_as_they_are(tmp_path, variant):
    agent, flat = odd_weights()
    weights, _ = {"float16": smaller_agents.half, "int8": smaller_agents.eighth}[variant](flat)
    path = tmp_path / "small.npz"
    smaller_agents.write(path, agent, variant)
    again = agents.load_agent(path)
    assert all(np.array_equal(again.checked()[name], weights[name]) for name in weights)
    assert not all(np.array_equal(weights[name], flat[name]) for name in weights)
    agents.save(tmp_path / "whole.npz", again)  # the same agent, in float32
    assert cards.digest(agents.load_agent(tmp_path / "whole.npz")) == cards.digest(again)
    assert path.stat().st_size < {"float16": 0.62, "int8": 0.42}[variant] * (tmp_path / "whole.npz").stat().st_size


@pytest.mark.parametrize("fault", ["lost", "orphan", "shape", "type", "infinite", "vector"])
def test_eight_bits_without_their_scales_are_refused(tmp_path, fault):
    agent, flat = odd_weights()
    stored, name = fitting.packed(flat), "params/policy/kernel"
    scale = stored[name + fitting.SCALE]
    if fault == "lost":
        del stored[name + fitting.SCALE]
    elif fault == "orphan":
        stored["params/other" + fitting.SCALE] = scale
    elif fault == "vector":
        stored["params/policy/bias" + fitting.SCALE] = scale[0]
    else:
        wrong = {"shape": scale[:, :1], "type": scale.astype(np.float64), "infinite": np.full_like(scale, np.inf)}
        stored[name + fitting.SCALE] = wrong[fault]
    agent_file.write(tmp_path / "bad.npz", agent.card, stored)
    with pytest.raises(ValueError, match=r"bad\.npz.* is not an agent"):
        agents.load_agent(tmp_path / "bad.npz")


def test_the_smallest_variant_is_one_whose_loss_is_within_noise():
    rows = [{"variant": "a", "bytes": 9, "gap_low": 0.0}, {"variant": "b", "bytes": 4, "gap_low": -0.1}]
    assert smaller_agents.smallest([*rows, {"variant": "c", "bytes": 1, "gap_low": 0.2}]) == "b"


def test_the_table_of_smaller_agents_has_all_agents():
    place = Path(smaller_agents.__file__).parent / "results" / "smaller_agents" / "table.csv"
    with place.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["agent"] for row in rows} >= set(MADE)
    assert {row["variant"] for row in rows} >= {"float32", "float16", "int8", "width 32"}
    assert all(float(row["gap"]) == 0 for row in rows if row["variant"] == "float32")
    assert all(float(row["gap_low"]) <= float(row["gap"]) <= float(row["gap_high"]) for row in rows)
