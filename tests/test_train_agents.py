"""The command that trains agents: input refused before any work, the choice of the kept run, and a small complete run."""

import csv
import dataclasses
import re

import jax
import numpy as np
import pytest

import jaxprice
from experiments import agent_throughput, train_agents
from experiments.references import plain_loops
from jaxprice import agents
from jaxprice.agents import lifetimes
from jaxprice.envs.bernoulli_bandit import BernoulliBandit

SMALL = train_agents.bandit(2, 3, "none", "ppo", 3, 8, hyper=agents.Hyper(), options={"size": 4})


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("only must name at least one recipe (allowed: n10_k5, ", {"only": ()}),
        ("unknown recipe 'n10_k6'", {"only": ("n10_k5", "n10_k6")}),
        ("updates must be an integer of at least 1, got 0", {"updates": 0}),
        ("updates must be an integer of at least 1, got -1", {"updates": -1}),
        ("seeds must be an integer of at least 1, got 0", {"seeds": 0}),
        ("first_seed must be an integer in", {"first_seed": -1}),
        ("first_seed must be an integer in", {"first_seed": 2**32 - 1}),
    ],
)
def test_bad_options(message, options):
    with pytest.raises(ValueError, match=re.escape(message)):
        train_agents.Options(**options)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("networks must name at least one network", {"networks": ()}),
        ("unknown network 'gruu'", {"networks": ("gruu",)}),
        ("unknown learner 'dqm'; did you mean 'dqn'", {"learners": ("dqm",)}),
        ("periods must be an integer of at least 1, got 0", {"periods": 0}),
        *((f"{name} must be an integer of at least 1, got 0", {name: 0}) for name in ("arms", "horizon", "lanes")),
        *((f"{name} must be an integer of at least 1, got 0", {name: 0}) for name in ("updates", "acting", "repeats")),
    ],
)
def test_bad_options_of_throughput(message, options):
    with pytest.raises(ValueError, match=re.escape(message)):
        agent_throughput.Options(**options)


def test_arithmetic_of_a_token():
    """Of a GRU of 64 units: its inputs (five actions, a demand, a reward, a time, and three of the market), gates, heads."""
    options = agent_throughput.Options(arms=5)
    core = agents.networks.make("gru", actions=5, size=64)
    env = BernoulliBandit(num_arms=5)
    weights = agents.networks.initial(core, jax.random.key(0), *lifetimes.Play(env, core, 100).example())
    inputs = weights["params"]["core"]["into"]["kernel"].shape[0]
    products = inputs * 3 * 64 + 64 * 2 * 64 + 64 * 64 + 64 * 5 + 64 * 64 + 64
    assert agent_throughput.arithmetic("gru", options) == 2 * products * 7
    longer = agent_throughput.Options(arms=5, horizon=128)
    attention = [agent_throughput.arithmetic("transformer", one) for one in (options, longer)]
    assert attention[1] - attention[0] == 2 * 2 * 64 * 28 * 7  # two layers, half of two products over 28 more periods


@pytest.mark.slow
@pytest.mark.parametrize("plain", [plain_loops.PlainDQN, plain_loops.PlainPPO])
def test_plain_loops_learn_a_price(plain):
    """A season with more stock than buyers, whose best price is the second of three: they find it."""
    env, params = jaxprice.make("FiniteInventory", demand=[0.9, 0.8, 0.1], prices=[1.0, 2.0, 3.0], horizon=4, stock=4)
    loop = plain(env, params, lanes=8, length=8)
    tokens = loop.start()[3]
    weights = loop.train({plain_loops.PlainDQN: 200, plain_loops.PlainPPO: 60}[plain])
    assert np.all(np.argmax(loop.says(weights, tokens).logits, axis=-1) == 1)


def test_what_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(train_agents, "train", None)
    monkeypatch.setattr(agent_throughput, "measure", None)
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="out must be a folder"):
            train_agents.main(train_agents.Options(out=out))
    for out in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="out must be a file that can be written"):
            agent_throughput.main(agent_throughput.Options(out=out))


def test_the_best_run_is_kept_whether_there_are_shares_or_not():
    assert train_agents.best_of([((0.5, -9.0), "a"), ((0.9, -10.0), "b"), ((0.7, -1.0), "c")]) == "b"
    assert train_agents.best_of([((np.nan, -3.0), "a"), ((np.nan, -2.0), "b")]) == "b"
    assert train_agents.best_of([((np.nan, -3.0), "a"), ((0.9, -2.0), "b"), ((0.8, -1.0), "c")]) == "c"


def test_a_run_from_end_to_end_that_is_resumed(tmp_path, monkeypatch):
    """What a finished run tells when it is started again: the seconds that training took, not those of reading it back."""
    monkeypatch.setattr(train_agents, "recipes", lambda: {"small": SMALL})
    monkeypatch.setattr(train_agents, "SCORED", 2000)
    monkeypatch.setattr(train_agents, "gittins", lambda arms, horizon: np.zeros(2000))
    options = train_agents.Options(only=("small",), seeds=2, updates=2, together=True, resume=True, out=tmp_path)
    tables = []
    for _ in range(2):
        train_agents.main(options)
        tables.append(list(csv.DictReader((tmp_path / "small.csv").open())))
    assert tables[0] == tables[1] and [row["seed"] for row in tables[0]] == ["0", "1"]
    assert all(float(row["wall_s"]) > 0 and row["updates"] == "2" for row in tables[0])
    agent = agents.load_agent(tmp_path / "small.npz")
    assert agent.told["name"] == "small" and agent.told["updates"] == 2 and agent.actions == 2
    row = next(row for row in tables[0] if int(row["seed"]) == agent.told["seed"])
    np.testing.assert_allclose(agent.told["scores"]["exact"], float(row["exact"]))
    assert abs(float(row["exact"]) - float(row["reward"])) < 4 * 1.1 / 2000**0.5
    assert (tmp_path / "small.png").stat().st_size > 0
    shown_where_nothing_can_be_written(options, tables[0], monkeypatch)


def shown_where_nothing_can_be_written(options, table, monkeypatch):
    """As on a disk that is read-only: rows are shown as they were saved; other runs and another recipe are refused."""
    monkeypatch.setattr(train_agents.files, "can_write", lambda folder: False)
    monkeypatch.setattr(train_agents, "train", None)
    before = {path: path.read_bytes() for path in options.out.rglob("*") if path.is_file()}
    console = train_agents.Console(record=True, width=400)
    assert train_agents.stored("small", SMALL, options, console) == table
    train_agents.main(options)
    assert f"reward={table[0]['reward']}" in console.export_text()
    for change in ({"seeds": 3}, {"updates": 3}):
        with pytest.raises(ValueError, match="small was not trained with"):
            train_agents.main(dataclasses.replace(options, **change))
    with pytest.raises(ValueError, match="small had another recipe"):
        train_agents.stored("small", dataclasses.replace(SMALL, lanes=16), options, console)
    assert before == {path: path.read_bytes() for path in options.out.rglob("*") if path.is_file()}
