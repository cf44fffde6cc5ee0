"""The command that trains agents: input refused before any work, the choice of the kept run, and a small complete run."""

import csv
import dataclasses
import re

import numpy as np
import pytest

from experiments import agent_throughput, train_agents
from jaxprice import agents

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
        *((f"{name} must be an integer of at least 1, got 0", {name: 0}) for name in ("arms", "horizon", "lanes")),
        *((f"{name} must be an integer of at least 1, got 0", {name: 0}) for name in ("updates", "acting", "repeats")),
    ],
)
def test_bad_options_of_throughput(message, options):
    with pytest.raises(ValueError, match=re.escape(message)):
        agent_throughput.Options(**options)


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
