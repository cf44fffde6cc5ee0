"""Compare the numbers of two results folders, bit for bit.

    python -m experiments.tools.same_numbers BEFORE AFTER

The command compares tables (`*.csv`), datasets (`*.nc`) and arrays (`*.npz`) file by file. The name of a cell contains
hashes of its code and content, so cells are matched by their slot, and the latest cell of a slot is used. Two numbers are
the same if their bits are: NaN equals NaN, 0 is not -0, float32 is not float64. Texts in a table may differ; they are
printed and do not count. Exit status: 0 if all numbers are the same, 1 if some differ or a file has no partner, 2 if the
folders cannot be compared.
"""

import csv
import dataclasses
import datetime
import itertools
import json
import math
import re
import struct
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from experiments.frame import command
from jaxprice import cells

FORMS = {".nc": cells.NetCDF, ".npz": cells.Arrays}
CELL = re.compile(r"(?P<slot>(?:.+-)?[0-9a-f]{8})-[0-9a-f]{16}-[0-9a-f]{16}$")  # stem of a cell file
SHOWN = 20  # number of printed differences of a file


@dataclasses.dataclass(frozen=True)
class Options:
    """What to compare."""

    before: Annotated[Path, tyro.conf.Positional]
    """First results folder."""
    after: Annotated[Path, tyro.conf.Positional]
    """Second results folder."""


def results(folder):
    """Name -> path of the files of a folder that contain numbers; the name of a cell is its slot.

    Raises:
      ValueError: the folder does not exist, or has no such files.
    """
    if not folder.is_dir():
        raise ValueError(f"results must be a folder, got {str(folder)!r}")
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".csv", *FORMS) or not path.is_file():
            continue
        match = CELL.fullmatch(path.stem) if path.parent.name == "cells" else None
        name = str(path.relative_to(folder).with_name(match["slot"] + path.suffix if match else path.name))
        if name not in found or made(path) > made(found[name]):
            found[name] = path
    if not found:
        raise ValueError(f"results must hold tables, datasets or arrays, but {str(folder)!r} holds none")
    return found


def made(path):
    """Date of a cell."""
    date = json.loads(FORMS[path.suffix].read(path)[1]).get("date")
    return datetime.datetime.fromisoformat(date).timestamp() if date else path.stat().st_mtime


def compare(before, after):
    """`(differences, texts)` of two files of the same kind: descriptions of different numbers, and of different texts."""
    if before.suffix == ".csv":
        return tables(*map(table, (before, after)))
    return arrays(*map(named_arrays, (before, after))), []


def table(path):
    """The lines of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def named_arrays(path):
    """Name -> array of a file; for a dataset also coordinates and numeric attributes."""
    found = dict(np.load(path, allow_pickle=False)) if path.suffix == ".npz" else None
    if found is not None:
        found.pop("_about", None)
        return found
    dataset = cells.NetCDF.read(path)[0]
    found = {name: dataset[name].values for name in dataset.variables}
    numbers = {name: x for name, x in dataset.attrs.items() if isinstance(x, int | float | np.number)}
    return found | {f"attribute {name}": np.asarray(x) for name, x in numbers.items()}


def tables(before, after):
    """Differences of two tables, see `compare`."""
    if [len(line) for line in before] != [len(line) for line in after]:
        return [f"{len(before)} lines against {len(after)}, or other columns"], []
    differences, texts = [], []
    for number, (first, second) in enumerate(zip(before, after, strict=True), start=1):
        for column, one, other in zip(before[0], first, second, strict=True):
            if one == other:
                continue
            values = as_number(one), as_number(other)
            told = f"line {number}, {column}: {one!r} against {other!r}"
            if values == (None, None):
                texts.append(told)
            elif None in values or struct.pack("d", values[0]) != struct.pack("d", values[1]):
                differences.append(told)
    return differences, texts


def as_number(text):
    """The value of a text that is a number, NaN if it is empty, None if it is not a number."""
    try:
        return float(text) if text else math.nan
    except ValueError:
        return None


def arrays(before, after):
    """Differences of named arrays, see `compare`."""
    differences = [f"{name} is in one of them only" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        one, other = before[name], after[name]
        texts = one.dtype.kind in "OU" and other.dtype.kind in "OU"
        if one.shape != other.shape or (one.dtype != other.dtype and not texts):
            differences.append(f"{name}: {one.dtype}{list(one.shape)} against {other.dtype}{list(other.shape)}")
        elif texts:
            differences += [] if np.array_equal(one, other) else [f"{name}: other texts"]
        elif one.tobytes() != other.tobytes():
            size = one.dtype.itemsize
            bits = [np.frombuffer(x.tobytes(), np.uint8).reshape(-1, size) for x in (one, other)]
            apart = np.flatnonzero((bits[0] != bits[1]).any(axis=1))
            first = np.unravel_index(apart[0], one.shape)
            told = f"{name}: {apart.size} of {one.size} numbers, first at {[int(x) for x in first]}"
            differences.append(f"{told}: {one[first]!r} against {other[first]!r}")
    return differences


def main(options):
    """Compare, print, and exit with status 1 if something differs."""
    before, after = results(options.before), results(options.after)
    unlike = 0
    for name in sorted(before.keys() | after.keys()):
        if not (name in before and name in after):
            differences, texts = [f"only in {options.before if name in before else options.after}"], []
        else:
            differences, texts = compare(before[name], after[name])
        unlike += bool(differences)
        for told in itertools.islice(differences, SHOWN):
            print(f"{name}: {told}")
        if len(differences) > SHOWN:
            print(f"{name}: and {len(differences) - SHOWN} more")
        if texts:
            print(f"{name}: {len(texts)} texts differ, which does not count, such as {texts[0]}")
    both = len(before.keys() & after.keys())
    print(f"{both} files in both, {unlike} that differ or have no partner")
    if unlike:
        sys.exit(1)


if __name__ == "__main__":
    command.run(main, Options)
