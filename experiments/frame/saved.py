"""Saved results of experiments: their folders, and cells that are found again by the code that made them."""

import contextlib
import functools
import hashlib
import json
import math
import re
import time
import warnings
from pathlib import Path

import numpy as np

from jaxprice import cells, files, fingerprint, manifest

MARK = Path("cells", "configuration.json")


def open_folder(out, told):
    """The results folder, or a new one beside it if it holds results of another configuration.

    A read-only folder is used if it holds the results of this configuration.

    Args:
      out: path.
      told: the configuration, plain data.

    Raises:
      ValueError: it is a file, cannot be written, or holds other files than results.
    """
    out = Path(out)
    for k in range(1, 1000):
        folder = out if k == 1 else out.with_name(f"{out.name}-{k}")
        if folder.is_dir() and _is_ours(folder) and not _same(folder, told):
            continue
        ours = functools.partial(_is_ours, folder)
        held, writable = files.open_folder(folder, "out", "results of an experiment", ours, "cells")
        if not (held or writable):
            raise ValueError(f"out must be a folder that can be written, got {folder}")
        if k > 1:
            print(f"{out} holds results of another configuration and is kept; writing to {folder}")
        if writable and files.read_json(folder / MARK) != told:
            files.write(folder / MARK, json.dumps(told, indent=1, sort_keys=True))
        return folder
    raise ValueError(f"out must be a folder for this configuration, but {out} and a thousand beside it hold others")


def _is_ours(folder):
    """Whether a folder holds results of an experiment."""
    known = files.read_json(folder / "manifest.json")
    if (folder / MARK).is_file() or (folder / "table.csv").is_file() or (isinstance(known, dict) and "study" in known):
        return True
    inside = [path.name for path in folder.rglob("*") if not files.is_temporary(path)]
    return inside == ["cells"]  # the process was killed before it wrote the marker


def _same(folder, told):
    """Whether a folder holds results of this configuration, according to its marker or, if damaged, its manifest."""
    mark = files.read_json(folder / MARK)
    if mark is not None:
        return mark == told
    known = files.read_json(folder / "manifest.json")
    if isinstance(known, dict):
        return known | told == known
    return not (folder / "table.csv").exists()


def load_or_make(folder, name, make, walk=None):
    """Load a cell that the same code has made, or make it now.

    Args:
      folder: folder of cells.
      name: name of the cell.
      make: function without arguments that returns a dict of NumPy arrays.
      walk: a narrow `fingerprint.Walk`, shared by cells.

    Returns:
      `(arrays, about)`; `about` has the revision, the date, and `seconds` on the clock and `cpu_seconds` of all cores.
    """
    walk = walk or fingerprint.Walk(narrow=True)
    cell, store = cell_of(name, make, walk), cells.Cells(folder, cells.Arrays)
    found = _find(store, cell, name, make)
    if found is not None:
        return found
    reason = store.changed(cell)
    former = re.sub(r"[^\w.-]+", "-", name).strip("-") + f"-{hashlib.sha256(name.encode()).hexdigest()[:6]}.npz"
    if not reason and (folder / former).exists():
        reason = f"{former} does not tell by which code it was made"
    if reason:
        warnings.warn(f"{name} is computed anew: {reason}", stacklevel=2)
    start = time.perf_counter(), time.process_time()
    with fingerprint.watching() as looked:
        arrays = {key: np.asarray(value) for key, value in make().items()}
    seconds, cpu_seconds = np.subtract((time.perf_counter(), time.process_time()), start)
    if not looked <= walk.of(make).entries:  # it used entries that no string in its code names, so all entries count
        cell = cell_of(name, make, fingerprint.Walk())
    return arrays, store.save(cell, arrays, seconds, cpu_seconds=round(float(cpu_seconds), 3))


def _find(store, cell, name, make):
    """A saved cell, found by the registry entries that its code names, or by all of them."""
    found = store.find(cell)
    return store.find(cell_of(name, make, fingerprint.Walk())) if found is None and store.others(cell) else found


def has(folder, name, make, walk):
    """Whether a cell made by this code exists."""
    return _find(cells.Cells(folder, cells.Arrays), cell_of(name, make, walk), name, make) is not None


@contextlib.contextmanager
def resumable(out):
    """A context in which an external interruption prints that the same run resumes."""
    try:
        yield
    except (KeyboardInterrupt, OSError) as error:
        error.add_note(f"finished cells are in {out}: the same run again goes on from there")
        raise


def cell_of(name, make, walk):
    """The `cells.Cell` of a function without arguments."""
    return cells.Cell(name, name, *cells.decided_by(walk, {"code": make}), label=name)


def command(name, preset="default"):
    """The command line of a study."""
    return f"python -m experiments.studies.{name}" + ("" if preset == "default" else f" --preset {preset}")


def told_of(name, title, preset, seconds, cpu_seconds):
    """Data about a run besides its configuration; the CPU seconds may be NaN (unknown)."""
    return manifest.of_run() | {
        "title": title,
        "command": command(name, preset),
        "seconds": round(float(seconds), 1),
        "cpu_seconds": None if math.isnan(cpu_seconds) else round(float(cpu_seconds), 1),
    }
