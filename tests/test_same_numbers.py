"""`python -m experiments.tools.same_numbers`: two results folders compared bit for bit."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest

import jaxprice
from experiments.frame import command, saved
from experiments.tools import same_numbers
from jaxprice import policies
from jaxprice.experiment import Experiment

TABLE = [("cell", "ours", "note"), ("a", "0.1", "as before"), ("b", "", "")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of an experiment and a study's cell."""
    out = tmp_path_factory.mktemp("before") / "results"
    markets = {"arms": jaxprice.make("BernoulliBandit", num_arms=3)}
    Experiment(markets, {"ucb1": policies.ucb1(), "oracle": policies.oracle()}, lanes=4, horizon=8).run(out / "grid")
    (out / "study" / "cells").mkdir(parents=True)
    saved.load_or_make(out / "study" / "cells", "one half", lambda: {"x": np.array([1.0, np.nan, 0.0], np.float32)})
    write(out / "study" / "table.csv", TABLE)
    return out


def write(path, lines):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def status(monkeypatch, before, after):
    """Exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["same_numbers", str(before), str(after)])
    try:
        command.run(same_numbers.main, same_numbers.Options)
    except SystemExit as stop:
        return stop.code
    return 0


def test_a_copy_has_the_same_numbers(folder, tmp_path, monkeypatch, capsys):
    """Also where its cells were made by other code, and where a text differs."""
    after = shutil.copytree(folder, tmp_path / "after")
    (cell,) = (after / "study" / "cells").glob("*.npz")
    cell.rename(cell.with_name(f"{cell.stem[:-33]}{'0' * 16}-{'1' * 16}.npz"))
    write(after / "study" / "table.csv", [TABLE[0], ("a", "0.10", "in other words"), TABLE[2]])
    assert status(monkeypatch, folder, after) == 0
    said = capsys.readouterr().out
    assert "6 files in both, 0 that differ" in said
    assert "study/table.csv: 1 texts differ" in said


def changed_cell(after, arrays):
    (cell,) = (after / "study" / "cells").glob("*.npz")
    cell.unlink()
    saved.load_or_make(after / "study" / "cells", "one half", lambda: arrays)


def changed_dataset(after):
    path = next((after / "grid" / "cells").glob("*.nc"))
    dataset, about = jaxprice.cells.NetCDF.read(path)
    regret = dataset["regret"].values
    dataset["regret"] = dataset["regret"].dims, np.nextafter(regret, np.inf, dtype=regret.dtype)
    jaxprice.cells.NetCDF.write(dataset, json.loads(about), path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda after: changed_cell(after, {"x": np.array([1.0, np.nan, -0.0], np.float32)}), "x: 1 of 3 numbers, first at"),
        (lambda after: changed_cell(after, {"x": np.array([1.0, np.nan, 0.0])}), "x: float32[3] against float64[3]"),
        (lambda after: changed_cell(after, {"y": np.zeros(3)}), "x is in one of them only"),
        (changed_dataset, "regret: "),
        (lambda after: write(after / "study" / "table.csv", [TABLE[0], ("a", "0.1000001", "as before"), TABLE[2]]),
         "line 2, ours: '0.1' against '0.1000001'"),
        (lambda after: write(after / "study" / "table.csv", [*TABLE[:2], ("b", "0", "")]), "line 3, ours: '' against '0'"),
        (lambda after: write(after / "study" / "table.csv", TABLE[:2]), "3 lines against 2"),
        (lambda after: (after / "grid" / "table.csv").unlink(), "grid/table.csv: only in"),
    ],
)  # fmt: skip
def test_a_difference_is_told(folder, tmp_path, monkeypatch, capsys, change, said):
    after = shutil.copytree(folder, tmp_path / "after")
    change(after)
    assert status(monkeypatch, folder, after) == 1
    assert said in capsys.readouterr().out


def test_the_latest_cell_of_a_slot_counts(folder, tmp_path, monkeypatch):
    """What former code made lies beside it."""
    after = shutil.copytree(folder, tmp_path / "after")
    (cell,) = (after / "study" / "cells").glob("*.npz")
    arrays, about = jaxprice.cells.Arrays.read(cell)
    older = about.replace('"date": "2', '"date": "1')
    former = cell.with_name(f"{cell.stem[:-33]}{'0' * 16}-{'1' * 16}.npz")
    np.savez(former, _about=older, **(arrays | {"x": np.zeros(3, np.float32)}))
    assert status(monkeypatch, folder, after) == 0
    np.savez(former, _about=older.replace('"date": "1', '"date": "3'), **(arrays | {"x": np.zeros(3, np.float32)}))
    assert status(monkeypatch, folder, after) == 1


def test_what_cannot_be_compared_is_refused(folder, tmp_path, monkeypatch, capsys):
    for other, said in ((tmp_path / "absent", "must be a folder"), (tmp_path, "must hold tables")):
        assert status(monkeypatch, folder, other) == 2
        assert said in capsys.readouterr().err
