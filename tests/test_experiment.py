"""Experiments: saved files, resuming, and killed runs."""

import csv
import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings

import jax
import numpy as np
import pytest
import xarray as xr

import jaxprice
from jaxprice import agents, cells, files, policies, provenance
from jaxprice import experiment as module
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


@pytest.fixture
def nothing_computed(monkeypatch):
    """A cell that is computed fails the test."""
    value = Experiment._value

    def found(self, where, cell, found, *rest):
        return value(self, where, cell, found, *rest) if found else pytest.fail(f"{where} was computed again")

    monkeypatch.setattr(Experiment, "_value", found)


def test_running_again_computes_nothing(finished, nothing_computed):
    out, results = finished
    reported = []
    again = small().run(out, progress=lambda environment, policy, pulls: reported.append(pulls))
    assert sum(reported) == 3 * 16 * 50
    xr.testing.assert_identical(again["bandit"], results["bandit"])


@pytest.mark.parametrize("change", [{"seed": 4}, {"lanes": 17}, {"horizon": 51}])
def test_other_configurations_are_other_cells(change):
    assert small().configuration("bandit", "UCB1") != small(**change).configuration("bandit", "UCB1")


def test_params_and_options_are_part_of_the_configuration():
    env, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.5, 0.8])
    _, other = jaxprice.make("BernoulliBandit", means=[0.2, 0.5, 0.7])
    hashes = {
        cells.short(Experiment({"m": (env, p)}, {"u": policy}).configuration("m", "u"))
        for p in (params, other, None)
        for policy in (policies.ucb1(), policies.ucb1(scale=1.0), policies.ucb1(signal="reward"))
    }
    assert len(hashes) == 9


def test_tuples_arrays_and_agents_are_policies_like_others(tmp_path, request):
    """Without a description too."""
    env, params = jaxprice.make("PostedPrice", num_prices=3)

    def fixed(index):
        def act(key, state, observation):
            return jax.numpy.int32(np.max(index))

        return jaxprice.Policy(lambda key, problem: (), act, lambda key, state, transition: ())

    sellers = {"array": fixed(np.array([0, 2])), "tuple": fixed((0, 1)), "ucb": policies.ucb1(scale=np.float32(2))}
    first = Experiment({"m": (env, params)}, sellers, lanes=4, horizon=8).run(tmp_path / "out")
    request.getfixturevalue("nothing_computed")
    again = Experiment({"m": (env, params)}, sellers, lanes=4, horizon=8).run(tmp_path / "out")
    xr.testing.assert_identical(again["m"], first["m"])
    others = [fixed(x) for x in (0, 1, np.int64(1), (0, 1), [0, 1], np.array([0, 1]))] + [agents.load("pricing_in_context")]
    keys = [Experiment({"m": (env, params)}, {"p": policy}).configuration("m", "p")["policy"] for policy in others]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("seed", [2**31, 2**32 + 1, 2**64 - 1, np.uint64(2**63), np.int64(7)])
def test_all_seeds_are_saved(tmp_path, seed, request):
    few = {"lanes": 2, "horizon": 3, "seed": seed}
    first = small(**few).run(tmp_path / "run")
    assert first["bandit"].attrs["seed"] == int(seed)
    request.getfixturevalue("nothing_computed")
    xr.testing.assert_identical(small(**few).run(tmp_path / "run")["bandit"], first["bandit"])
    assert int(xr.load_dataset(tmp_path / "run" / "results.nc", engine="scipy").attrs["seed"]) == int(seed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**64}, "seed must be"),
        ({"seed": 1.5}, "seed must be"),
        ({"horizon": 0}, "horizon must be"),
        ({"policies": {("a", 1): policies.ucb1()}}, "names of policies must be text"),
        ({"environments": {1: jaxprice.make("BernoulliBandit")}}, "names of environments must be text"),
        ({"policies": {"a": policies.ucb1}}, "must be a Policy"),
        ({"policies": {}}, "at least one name"),
        ({"environments": {"a": jaxprice.make("BernoulliBandit")[0]}}, r"must be \(environment, params\)"),
        ({"environments": [jaxprice.make("BernoulliBandit")]}, "must be a dict"),
    ],
)
def test_bad_experiments_are_refused_before_anything_is_played(tmp_path, change, message):
    whole = {"environments": {"m": jaxprice.make("BernoulliBandit")}, "policies": {"a": policies.ucb1()}} | change
    with pytest.raises(ValueError, match=message):
        Experiment(**whole).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


MINE = """
import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from jaxprice.envs import BernoulliBandit

PRICE = 0


class Bandit(BernoulliBandit):
    def step_env(self, key, state, action, params):
        return super().step_env(key, state, action + 0, params)


def model(x):
    return np.float32(x * 1)


def seller(index=PRICE):
    def act(key, state, observation):
        jax.pure_callback(model, jax.ShapeDtypeStruct((), jnp.float32), jnp.float32(1))
        return jnp.int32(index)

    return jaxprice.Policy(lambda key, problem: (), act, lambda key, state, transition: ())


def other():
    return jaxprice.Policy(lambda key, problem: (), lambda key, state, obs: jnp.int32(2), lambda key, state, transition: ())
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """`edit -> Experiment` with policies and a market of one's own, edited, as a fresh process would see them."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    _, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.5, 0.8])

    def edited(*edit):
        assert edit == () or MINE.count(edit[0]) == 1
        (tmp_path / "mine.py").write_text(MINE.replace(*edit) if edit else MINE)
        sys.modules.pop("mine", None)
        importlib.invalidate_caches()
        mine = importlib.import_module("mine")
        sellers = {"own": mine.seller(), "other": mine.other()}
        return Experiment({"mine": (mine.Bandit(3), params)}, sellers, lanes=4, horizon=10)

    return edited


def test_edited_code_is_computed_anew_and_says_so(mine, tmp_path, request):
    """The right regret; the unrelated policy is kept; the former code finds its own again."""
    first = mine().run(tmp_path / "out")
    assert float(first["mine"]["regret"].sel(policy="own")[-1]) == pytest.approx(6.0)
    with pytest.warns(UserWarning, match=r"computed anew: 'own' in 'mine' \(changed since .*: policy\)") as told:
        second = mine("PRICE = 0", "PRICE = 1").run(tmp_path / "out")
    assert len(told) == 1 and "'other'" not in str(told[0].message)
    assert float(second["mine"]["regret"].sel(policy="own")[-1]) == pytest.approx(3.0)
    assert len(list((tmp_path / "out" / "cells").glob("*.nc"))) == 3
    request.getfixturevalue("nothing_computed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        third = mine("PRICE = 0", "PRICE = 0  # as it was").run(tmp_path / "out")
    xr.testing.assert_identical(third["mine"], first["mine"])


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (("PRICE = 0", "PRICE = 1"), {"policy"}),
        (("x * 1", "x * 2"), {"policy"}),
        (("jnp.int32(index)", "jnp.int32(index + 0)"), {"policy"}),
        (("index=PRICE", "index=0 + 1"), {"policy"}),
        (("action + 0", "action - 0"), {"environment"}),
        (("Bandit(BernoulliBandit):", "Bandit(BernoulliBandit):\n    longest = 20\n"), {"environment"}),
        (("jnp.int32(2)", "jnp.int32(0)"), set()),
        (("def model(x):", "def model(x):\n    'Documented.'"), set()),
    ],
)
def test_what_an_edit_changes(mine, edit, changed):
    before, after = (mine(*e).configuration("mine", "own") for e in ((), edit))
    assert {name for name in before if before[name] != after[name]} == changed


def test_an_edited_engine_changes_all_cells(monkeypatch):
    from jaxprice import periods

    before = small().configuration("bandit", "UCB1")
    monkeypatch.setattr(periods, "METRICS", (*periods.METRICS, "more"))
    after = small().configuration("bandit", "UCB1")
    assert {name for name in before if before[name] != after[name]} == {"engine"}


def test_what_has_no_fingerprint_is_computed_each_time(tmp_path):
    with open(tmp_path / "log", "w") as log:

        def act(key, state, observation):
            log.write("")
            return jax.numpy.int32(0)

        policy = jaxprice.Policy(lambda key, problem: (), act, lambda key, state, transition: ())
        one = Experiment({"m": jaxprice.make("BernoulliBandit")}, {"logging": policy}, lanes=2, horizon=2)
        for _ in range(2):
            with pytest.warns(UserWarning, match=r"'logging' in 'm' \(it cannot be saved: no fingerprint of policy: .*Text"):
                one.run(tmp_path / "out")
    assert not list((tmp_path / "out" / "cells").iterdir()) and (tmp_path / "out" / "table.csv").exists()


def test_manifest_names_who_made_each_cell(finished):
    out, _ = finished
    manifest = json.loads((out / "manifest.json").read_text())
    for key, cell in manifest["cells"].items():
        assert cells.short(cell["configuration"]) == key
        assert cell["revision"] == provenance.revision() and cell["date"] <= manifest["date"] and cell["seconds"] > 0
    assert {cell["title"] for cell in manifest["cells"].values()} == {f"{n!r} in 'bandit'" for n in small().policies}


def test_results_beyond_the_old_format(tmp_path, monkeypatch, request):
    """The table is written first, and a format is taken that holds all."""
    monkeypatch.setattr(cells, "LARGEST", 100)
    first = small(lanes=20).run(tmp_path / "run")
    assert (tmp_path / "run" / "results.nc").read_bytes()[:4] == b"\x89HDF"
    loaded = xr.load_dataset(tmp_path / "run" / "results.nc", engine="h5netcdf")
    np.testing.assert_array_equal(loaded["lane_regret"].sel(environment="bandit"), first["bandit"]["lane_regret"])
    request.getfixturevalue("nothing_computed")
    xr.testing.assert_identical(small(lanes=20).run(tmp_path / "run")["bandit"], first["bandit"])
    (tmp_path / "run" / "table.csv").unlink()

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cells.NetCDF, "write", full)
    with pytest.raises(OSError, match="No space left") as error:
        small(lanes=20).run(tmp_path / "run")
    assert "goes on from there" in error.value.__notes__[0]
    assert (tmp_path / "run" / "table.csv").exists() and not list((tmp_path / "run").rglob("*temporary*"))


def test_an_interrupted_run_says_that_it_resumes(tmp_path):
    def stop(environment, policy, pulls):
        if policy == "random":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as error:
        small().run(tmp_path / "run", progress=stop)
    assert error.value.__notes__[0].startswith("2 of 3 cells are in")
    done = []
    small().run(tmp_path / "run", progress=lambda environment, policy, pulls: done.append(pulls))
    assert done[:2] == [16 * 50] * 2


def test_finished_results_that_cannot_be_written_are_shown(finished, monkeypatch):
    """As on a disk that is read-only."""
    out, results = finished
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(files, "can_write", lambda folder: False)
    xr.testing.assert_identical(small().run(out)["bandit"], results["bandit"])
    with pytest.raises(ValueError, match="cells are missing"):
        small(seed=4).run(out)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_folders_that_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="out must be a folder"):
        small().run(tmp_path / "file")
    with pytest.raises(ValueError, match="can be written"):
        small().run("/proc/jaxprice")


@pytest.mark.parametrize(
    "held",
    [
        {"chapter.tex": "precious"},
        {"cells/neurons.tmp": "precious", "cells/neurons.nc": "precious"},
        {"manifest.json": '{"study": "x"}', "table.csv": "cell", "cells/configuration.json": "{}"},
        {"manifest.json": '{"cells": {"one": 1}}'},
        {"manifest.json": "[]"},
        {"experiment.json": '{"experiment": "of somebody else"}', "table.csv": "precious"},
        {"cells/one.npz": "", "table.csv": "precious"},
    ],
)
def test_folders_of_something_else_are_left_as_they_are(tmp_path, held):
    for name, content in held.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match="holds other files"):
        small().run(tmp_path)
    left = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == held


def test_results_of_former_versions_are_taken_over(tmp_path):
    """Their folders had no mark; their cells stay, and are not taken for results of this code."""
    former = {"environment": "BernoulliBandit()", "params": "", "policy": "", "lanes": 16, "horizon": 50, "seed": 3}
    (tmp_path / "manifest.json").write_text(json.dumps({"cells": {"0123456789abcdef": former | {"version": "0.1.0"}}}))
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "0123456789abcdef.nc").write_bytes(b"CDF")
    with pytest.warns(UserWarning, match="did not keep the code"):
        small().run(tmp_path)
    assert (tmp_path / "cells" / "0123456789abcdef.nc").read_bytes() == b"CDF"
    assert len(list((tmp_path / "cells").glob("*.nc"))) == 4


def test_bad_sizes_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="lanes must be an integer of at least 1"):
        small(lanes=0).run(tmp_path / "run")
    assert not list((tmp_path / "run" / "cells").glob("*.nc"))


KILLED = """
import sys
import jaxprice
from jaxprice import cells, policies
from jaxprice.experiment import Experiment
save = cells.Cells.save
def told(self, *args):
    about = save(self, *args)
    print("saved", flush=True)
    return about
cells.Cells.save = told
markets = {"bandit": jaxprice.make("BernoulliBandit", means=[.2, .5, .8])}
sellers = {f"UCB1 {k}": policies.ucb1(scale=k / 4) for k in range(1, 9)}
Experiment(markets, sellers, lanes=256, horizon=int(sys.argv[2])).run(sys.argv[1])
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
    saved = sorted((tmp_path / "run" / "cells").glob("*.nc"))
    assert 2 <= len(saved) < 8
    before = {cell: cell.read_bytes() for cell in saved}
    for cell in saved:
        assert xr.load_dataset(cell, engine="scipy")["regret"].notnull().all()
    done = subprocess.run(script, capture_output=True, text=True, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert done.stdout.count("saved") == 8 - len(saved)
    assert len(list((tmp_path / "run" / "cells").glob("*.nc"))) == 8
    assert all(cell.read_bytes() == content for cell, content in before.items())
    assert (tmp_path / "run" / "table.csv").exists()
