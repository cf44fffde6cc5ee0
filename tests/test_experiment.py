"""Experiments: what is saved, resuming, and being killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import jaxprice
from jaxprice import experiment as module
from jaxprice import policies
from jaxprice.experiment import Experiment, table


def small(**changes):
    options = {"lanes": 16, "horizon": 50, "seed": 3} | changes
    markets = {"bandit": jaxprice.make("BernoulliBandit", means=[0.2, 0.5, 0.8])}
    sellers = {"UCB1": policies.ucb1(), "oracle": policies.oracle(), "random": policies.random_price()}
    return Experiment(markets, sellers, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "run"
    return out, small().run(out)


def test_results_equal_simulate(finished):
    _, results = finished
    env, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.5, 0.8])
    direct = jaxprice.simulate(env, policies.ucb1(), lanes=16, horizon=50, seed=3, params=params)
    saved = results["bandit"].sel(policy="UCB1")
    np.testing.assert_array_equal(saved["regret"], direct["regret"][0])
    np.testing.assert_array_equal(saved["lane_regret"], direct["lane_regret"][0])


def test_files_and_table(finished):
    out, results = finished
    manifest = json.loads((out / "manifest.json").read_text())
    assert len(manifest["cells"]) == 3
    assert {"jax", "numpy", "jaxprice"} <= set(manifest["versions"])
    assert manifest["devices"]
    with open(out / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == module.COLUMNS
    assert sorted(row["rank"] for row in rows) == ["1", "2", "3"]
    assert next(row for row in rows if row["policy"] == "oracle")["rank"] == "1"
    loaded = xr.load_dataset(out / "results.nc", engine="scipy")
    np.testing.assert_allclose(loaded["regret"].sel(environment="bandit"), results["bandit"]["regret"])
    assert not list(out.rglob("*.tmp"))


def test_paired_gap_is_zero_for_the_best_and_uses_lanes(finished):
    _, results = finished
    rows = {row["policy"]: row for row in table(results)}
    best = min((row for name, row in rows.items() if name != "oracle"), key=lambda row: row["regret"])
    assert best["gap"] == 0 and best["gap_se"] == 0
    other = next(name for name in rows if name not in ("oracle", best["policy"]))
    lanes = results["bandit"]["lane_regret"]
    gaps = lanes.sel(policy=other).values - lanes.sel(policy=best["policy"]).values
    assert rows[other]["gap"] == pytest.approx(gaps.mean())
    assert rows[other]["gap_se"] == pytest.approx(gaps.std(ddof=1) / 4)


def test_running_again_computes_nothing(finished, monkeypatch):
    out, results = finished
    monkeypatch.setattr(module, "simulate", lambda *args, **kwargs: pytest.fail("a finished cell was computed again"))
    reported = []
    again = small().run(out, progress=lambda environment, policy, pulls: reported.append(pulls))
    assert sum(reported) == 3 * 16 * 50
    xr.testing.assert_identical(again["bandit"], results["bandit"])


@pytest.mark.parametrize("change", [{"seed": 4}, {"lanes": 17}, {"horizon": 51}])
def test_other_configurations_are_other_cells(change):
    one, other = small(), small(**change)
    assert module._hash(one.configuration("bandit", "UCB1")) != module._hash(other.configuration("bandit", "UCB1"))


def test_params_and_options_are_part_of_the_configuration():
    env, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.5, 0.8])
    _, other = jaxprice.make("BernoulliBandit", means=[0.2, 0.5, 0.7])
    hashes = {
        module._hash(Experiment({"m": (env, p)}, {"u": policy}).configuration("m", "u"))
        for p in (params, other, None)
        for policy in (policies.ucb1(), policies.ucb1(scale=1.0), policies.ucb1(signal="reward"))
    }
    assert len(hashes) == 9


def test_unreadable_cell_is_kept_aside_and_computed_again(tmp_path):
    first = small().run(tmp_path / "run")
    cell = sorted((tmp_path / "run" / "cells").glob("*.nc"))[0]
    cell.write_bytes(cell.read_bytes()[:100])
    again = small().run(tmp_path / "run")
    assert cell.with_suffix(".unreadable").exists()
    xr.testing.assert_identical(again["bandit"], first["bandit"])


def test_folders_that_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="out must be a folder"):
        small().run(tmp_path / "file")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    with pytest.raises(ValueError, match="holds other files"):
        small().run(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "precious"
    with pytest.raises(ValueError, match="can be written"):
        small().run("/proc/jaxprice")


def test_bad_sizes_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="lanes must be an integer of at least 1"):
        small(lanes=0).run(tmp_path / "run")
    assert not list((tmp_path / "run" / "cells").glob("*.nc"))


KILLED = """
import sys
import jaxprice
from jaxprice import experiment, policies
save = experiment._save
def slow_save(dataset, path):
    save(dataset, path)
    print("saved", flush=True)
experiment._save = slow_save
markets = {"bandit": jaxprice.make("BernoulliBandit", means=[.2, .5, .8])}
sellers = {f"UCB1 {k}": policies.ucb1(scale=k / 4) for k in range(1, 9)}
experiment.Experiment(markets, sellers, lanes=256, horizon=int(sys.argv[2])).run(sys.argv[1])
"""


def test_a_killed_run_resumes(tmp_path):
    """Kill a run with SIGKILL after its second cell; what is saved is whole, and a second run completes it."""
    script = [sys.executable, "-c", KILLED, str(tmp_path / "run"), "8000"]
    process = subprocess.Popen(script, stdout=subprocess.PIPE, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    for _ in range(2):
        assert process.stdout.readline().strip() == "saved"
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    cells = sorted((tmp_path / "run" / "cells").glob("*.nc"))
    assert 2 <= len(cells) < 8
    before = {cell: cell.read_bytes() for cell in cells}
    for cell in cells:
        assert xr.load_dataset(cell, engine="scipy")["regret"].notnull().all()
    done = subprocess.run(script, capture_output=True, text=True, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert done.stdout.count("saved") == 8 - len(cells) + 1  # the missing cells, and results.nc
    assert len(list((tmp_path / "run" / "cells").glob("*.nc"))) == 8
    assert all(cell.read_bytes() == content for cell, content in before.items())
    assert (tmp_path / "run" / "table.csv").exists()
