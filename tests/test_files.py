"""Files and cells: written completely or not at all; damage is detected; leftovers of ended processes are removed."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from jaxprice import cells, files, fingerprint, provenance


def one(name="one", **configuration):
    return cells.Cell(name, [name], {"made of": name} | configuration, label=name)


@pytest.fixture(params=[cells.Arrays, cells.NetCDF])
def store(request, tmp_path):
    """A folder with two cells."""
    import xarray as xr

    store = cells.Cells(tmp_path, request.param)
    for k, name in enumerate(("one", "other")):
        values = np.arange(k, 50.0)
        store.save(one(name), xr.Dataset({"x": ("lane", values)}) if request.param is cells.NetCDF else {"x": values}, 1.5)
    return store


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("nothing of the kind"),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "another cell": lambda path: shutil.copy(next(path.parent.glob("other-*")), path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cell_is_kept_aside_under_a_name_that_is_told(store, tmp_path, damage):
    (path,) = tmp_path.glob("one-*")
    for aside in ("unreadable", "unreadable-2"):
        DAMAGES[damage](path)
        damaged = path.is_dir() or path.read_bytes()
        with pytest.warns(UserWarning, match=rf"{path.name} cannot be used \(.+\): it is kept as {path.stem}\.{aside},"):
            assert store.find(one()) is None
        kept = path.with_suffix(f".{aside}")
        assert not path.exists() and (kept.is_dir() if damaged is True else kept.read_bytes() == damaged)
        path.write_bytes(b"again")
    path.unlink()
    assert store.find(one("other"))[0]["x"].shape == (49,)


def test_no_changed_bit_is_taken_for_a_result(store, tmp_path):
    """Of 200 bits anywhere in the file."""
    (path,) = tmp_path.glob("one-*")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for bit in rng.choice(8 * len(content), 200, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << int(bit % 8)
        path.write_bytes(bytes(changed))
        with pytest.warns(UserWarning, match="cannot be used"):
            assert store.find(one()) is None
        for aside in tmp_path.glob("*.unreadable"):
            aside.unlink()
    path.write_bytes(content)
    np.testing.assert_array_equal(store.find(one())[0]["x"], np.arange(50.0))


def test_a_whole_cell_under_the_name_of_another_is_not_taken(store, tmp_path):
    (path,), (other,) = tmp_path.glob("one-*"), tmp_path.glob("other-*")
    start, content = path.stem.rpartition("-")[0], other.stem.rpartition("-")[2]
    path.unlink()
    other.rename(path.with_name(f"{start}-{content}{path.suffix}"))
    with pytest.warns(UserWarning, match="another cell's"):
        assert store.find(one()) is None


def test_what_was_saved_says_who_made_it_and_why_it_is_not_found(store):
    value, about = store.find(one())
    assert about["seconds"] == 1.5 and about["title"] == "one" and about["revision"] == provenance.revision()
    assert "about" not in getattr(value, "attrs", {}) and "_about" not in value
    now = cells.Cell("one", ["one"], {"made of": "code", "packages": {"jax": "1"}}, label="one")
    assert store.find(now) is None
    assert store.changed(now).endswith(": made of, jax absent -> 1") and about["date"] in store.changed(now)
    assert store.changed(one("third")) == ""
    unknown = cells.Cell("one", ["one"], {}, ("policy: a file",), label="one")
    store.save(unknown, value)
    assert "no fingerprint of policy: a file" in store.changed(unknown) and store.find(unknown) is None


def test_long_and_strange_labels_name_files(tmp_path):
    store = cells.Cells(tmp_path, cells.Arrays)
    for label in ("a/b: c?*", "x" * 300, "ü", ".", "", "-"):
        store.save(one(label), {"x": np.ones(1)})
        assert store.find(one(label))[0]["x"] == 1
    assert len(list(tmp_path.iterdir())) == 6


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    """And no temporary."""
    path = tmp_path / "table.csv"
    files.write(path, "before")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr(os, name, full)
            files.write(path, "after")
        assert [p.name for p in tmp_path.iterdir()] == ["table.csv"] and path.read_text() == "before"
    store = cells.Cells(tmp_path, cells.Arrays)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(np, "savez", full)
        store.save(one(), {"x": np.ones(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1])
    files.write(tmp_path / "x", b"content")
    assert calls == ["fsync", "replace", "fsync"]


def leftover(folder, name="table.csv", host=files.HOST, process=None, token=files.TOKEN):
    path = folder / f"{name}.{host}.{os.getpid() if process is None else process}.{token}.0.jaxprice-temporary"
    path.write_text("half")
    return path


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stay = [
        leftover(tmp_path, process=child.pid),
        leftover(tmp_path, name="mine"),
        leftover(tmp_path, host="elsewhere", process=1),
        tmp_path / "notes.tmp",
        tmp_path / "cell.npz.123.tmp",
    ]
    for path in stay[3:]:
        path.write_text("somebody's")
    dead = [leftover(tmp_path, name="old", token="0" * 8), leftover(tmp_path, host="gone", process=1)]
    os.utime(dead[1], (time.time() - 2 * files.FORGOTTEN,) * 2)
    files.sweep(tmp_path, tmp_path / "absent")
    assert all(path.exists() for path in stay) and not any(path.exists() for path in dead)
    child.communicate(b"\n")
    files.sweep(tmp_path)
    assert not stay[0].exists() and all(path.exists() for path in stay[1:])


WRITER = """
import sys
from pathlib import Path
from jaxprice import files
with files.whole(Path(sys.argv[1])) as made:
    made.write_text("new")
    print("writing", flush=True)
    input()
"""


def test_a_second_process_leaves_what_the_first_is_writing(tmp_path):
    """Once the first is killed, its temporary goes."""
    files.write(tmp_path / "x", "old")

    def writer():
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "x")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"writing\n"
        return process

    first = writer()
    files.sweep(tmp_path)
    first.communicate(b"\n")
    assert (tmp_path / "x").read_text() == "new" and len(list(tmp_path.iterdir())) == 1
    second = writer()
    second.kill()
    second.communicate()
    assert len(list(tmp_path.iterdir())) == 2
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_threads_write_to_the_same_place(tmp_path):
    store = cells.Cells(tmp_path, cells.Arrays)
    threads = [threading.Thread(target=store.save, args=(one(), {"x": np.full(10_000, k)})) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.ptp(store.find(one())[0]["x"]) == 0
    assert not any(files.is_temporary(path) for path in tmp_path.iterdir())


def test_configurations_hold_the_code_and_the_precision():
    import jax

    walk = fingerprint.Walk()
    told, unknown = cells.decided_by(walk, {"policy": len, "data": [1]}, lanes=3)
    assert unknown == () and set(told) == {"policy", "data", "lanes", "x64", "packages"}
    with jax.enable_x64(not jax.config.jax_enable_x64):
        assert cells.decided_by(walk, {"policy": len, "data": [1]}, lanes=3)[0]["x64"] != told["x64"]


NO_GIT = "from jaxprice import provenance; print(provenance.revision())"


def test_the_revision_is_that_of_the_package_or_none(tmp_path):
    """Without git; in a folder of somebody else's repository; in a repository that keeps the package."""

    def told(path, folder):
        env = os.environ | {"PATH": path, "PYTHONPATH": str(folder)}
        command = [sys.executable, "-c", NO_GIT]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.strip()

    package = os.path.dirname(provenance.__file__)
    assert told("", os.path.dirname(package)) == "None"
    git = shutil.which("git")
    if git is None:
        pytest.skip("the rest needs git")
    there = tmp_path / "theirs"
    (there / "vendor" / "jaxprice").mkdir(parents=True)
    for name in ("provenance.py", "plot.py"):
        shutil.copy(os.path.join(package, name), there / "vendor" / "jaxprice")
    (there / "vendor" / "jaxprice" / "__init__.py").write_text("")
    (there / "paper.tex").write_text("")

    def run(*command):
        who = ["-c", "user.name=x", "-c", "user.email=x@y"]
        subprocess.run([git, *who, *command], cwd=there, check=True, capture_output=True)

    run("init")
    run("add", "paper.tex")
    run("commit", "-m", "theirs")
    assert told(os.environ["PATH"], there / "vendor") == "None"
    run("add", "vendor")
    run("commit", "-m", "with the package")
    assert len(told(os.environ["PATH"], there / "vendor")) == 40
    with open(there / "vendor" / "jaxprice" / "plot.py", "a") as file:
        file.write("# edited\n")
    assert told(os.environ["PATH"], there / "vendor").endswith("+")


def test_tables_and_figures_are_there_whole_or_not_at_all(tmp_path):
    from matplotlib.figure import Figure

    files.write_csv(tmp_path / "table.csv", ("a", "b"), [(1, "x, y"), {"b": 2, "a": None, "c": 3}, {"a": 4}])
    assert (tmp_path / "table.csv").read_bytes() == b'a,b\r\n1,"x, y"\r\n,2\r\n4,\r\n'
    files.write_figure(tmp_path / "figure.png", Figure())
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")

    class Broken(Figure):
        def savefig(self, path, **options):
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "no space")

    before = (tmp_path / "figure.png").read_bytes()
    with pytest.raises(OSError, match="no space"):
        files.write_figure(tmp_path / "figure.png", Broken())
    with pytest.raises(ZeroDivisionError):
        files.write_csv(tmp_path / "table.csv", ("a",), ((1 / x,) for x in (1, 0)))
    assert (tmp_path / "figure.png").read_bytes() == before and b"x, y" in (tmp_path / "table.csv").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_is_made_or_taken_if_its_content_is_of_the_kind(tmp_path):
    """Hidden files and leftovers are no content; a leftover of a dead process goes."""
    new = tmp_path / "a" / "new"
    assert files.open_folder(new, "out", "results", lambda: False, "cells") == (False, True)
    assert [path.name for path in new.iterdir()] == ["cells"]
    (new / ".hidden").write_text("")
    (new / "cells").rmdir()
    (new / f"left.{files.HOST}.1234567.00000000.0.jaxprice-temporary").write_text("")
    assert files.open_folder(new, "out", "results", lambda: False) == (False, True)
    assert [path.name for path in new.iterdir()] == [".hidden"]
    (new / "mine").write_text("")
    assert files.open_folder(new, "out", "results", lambda: True) == (True, True)
    with pytest.raises(ValueError, match=r"out must be empty or hold results, but .*new holds other files: mine"):
        files.open_folder(new, "out", "results", lambda: False, "cells")
    for path, said in ((new / "mine", "must be a folder, but"), (new / "mine" / "below", "can be written, got")):
        with pytest.raises(ValueError, match=f"out {said if 'must' in said else f'must be a folder that {said}'}"):
            files.open_folder(path, "out", "results", lambda: True)
    assert sorted(path.name for path in new.iterdir()) == [".hidden", "mine"]
