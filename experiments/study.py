"""What the studies of published results share: cells that resume, one table, one figure, one manifest.

A study is stated as data (`Study`): the cells that it simulates, the rows that it makes of them, the figure. Its script ends

    if __name__ == "__main__":
        study.command(STUDY)

and then takes `--preset smoke | default | full`, `--seed` and `--out`. Written under `--out`: `table.csv` with the columns
`HEADER`, `figure.png`, `manifest.json`, and every cell in `cells/`, from which a second run resumes. A folder that holds the
results of another configuration is left as it is, and a new one beside it is used.

z is our value less the published one over sqrt(se^2 + published_se^2), where the published number's error is its own if one
is known, and that of rounding (half a unit of the last digit over sqrt 3) if not. The table has both errors, so that z can
be computed again from its row. `kind` says where a published number comes from, one of `KINDS`.
"""

import csv
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import math
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from jaxprice import devices

HEADER = ("cell", "published", "published_se", "ours", "se", "z", "kind", "source", "note")
KINDS = {
    "printed": "by the authors, or part of their program",
    "quoted": "by others from the authors, or from memory",
    "replication": "of others, their runs or their report",
    "derived": "from what the authors print: worked out, or said in words",
    "own": "our own computation with other code",
}
AGREED = 3.0  # |z| up to which a cell counts as reproduced


class Row(NamedTuple):
    """One number of a table.

    Attributes:
      cell: its name.
      ours, se: our mean and its standard error; 0 for what is computed exactly.
      published, published_se: NaN if there is none; its own standard error, NaN if unknown.
      digits: decimals of the published number, for its rounding error.
      source: where it is printed.
      note: what was tried, for a number that does not agree.
      kind: of the published number, one of `KINDS`; "" if there is none.
    """

    cell: str
    ours: float
    se: float
    published: float = math.nan
    published_se: float = math.nan
    digits: int | None = None
    source: str = ""
    note: str = ""
    kind: str = ""

    @property
    def error(self):
        """Standard error of the published number: its own, or that of rounding; NaN without a number."""
        if math.isnan(self.published):
            return math.nan
        rounding = 0.0 if self.digits is None else 0.5 * 10.0**-self.digits / math.sqrt(3)
        return rounding if math.isnan(self.published_se) else self.published_se

    @property
    def z(self):
        """Difference in standard errors; NaN without a published number."""
        return difference(self.ours, self.se, self.published, self.error)


def difference(ours, se, published, published_se):
    """z of two numbers with their standard errors: infinite for two exact ones that differ, NaN if one is unknown."""
    error, gap = math.hypot(se, published_se), ours - published
    if math.isnan(gap) or error > 0:
        return gap / (error or 1.0)
    return math.copysign(math.inf, gap) if gap else 0.0


class Study(NamedTuple):
    """One published result.

    Attributes:
      name: of the script and of the results folder.
      title: one line, with the source.
      presets: "smoke", "default", "full" -> sizes (a NamedTuple of plain numbers), all that decides how much is simulated.
      cells: `(sizes, seed)` -> name -> function of nothing that returns a dict of NumPy arrays, kept on disk.
      rows: `(sizes, results)` -> list of `Row`; results: cell name -> dict of arrays.
      draw: `(figure, sizes, results, rows)`: fills a Matplotlib figure, in the form of the paper's.
      public: how long public code needs for the same, in words; "" if unknown.
    """

    name: str
    title: str
    presets: dict
    cells: Callable
    rows: Callable
    draw: Callable
    public: str = ""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    preset: Literal["smoke", "default", "full"] = "default"
    """smoke: seconds; default: minutes on two cores; full: for a GPU."""
    out: Path | None = None
    """Results folder; by default results/NAME."""
    seed: int = 0
    """Seed of everything drawn."""


def command(study):
    """The command line of a study."""
    main(study, tyro.cli(Options, description=study.title))


def main(study, options):
    """Run a study, print and write its table and figure.

    Args:
      study: a `Study`.
      options: `Options`.

    Returns:
      `(rows, folder)`.

    Raises:
      ValueError: the results folder is a file, or cannot be written.
    """
    devices.use_cpu_cores()
    if options.preset == "smoke":
        devices.compile_quickly()
    console, sizes = Console(), study.presets[options.preset]
    told = {
        "study": study.name,
        "preset": options.preset,
        "sizes": sizes._asdict(),
        "seed": int(options.seed),
        "version": importlib.metadata.version("jaxprice"),
    }
    told = json.loads(json.dumps(told, default=str))
    out = open_folder(Path("results") / study.name if options.out is None else options.out, told)
    cells = study.cells(sizes, options.seed)
    results, seconds = {}, np.zeros(2)
    columns = TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    bar = Progress(*columns, console=console)
    with bar:
        job = bar.add_task(study.name, total=len(cells))
        for name, make in cells.items():
            bar.update(job, description=name)
            results[name], took = kept(out / "cells", name, make)
            seconds += took
            bar.advance(job)
    rows = study.rows(sizes, results)
    write(rows, out / "table.csv")
    draw(study, sizes, results, rows, out / "figure.png")
    about = told | manifest(study.name, study.title, options.preset, *seconds) | {"public": study.public}
    _replace(out / "manifest.json", (json.dumps(about, indent=1) + "\n").encode())
    show(study, rows, console)
    console.print(f"{summary(rows)}; {seconds[0]:.0f} s -> {out}/table.csv, figure.png")
    return rows, out


def open_folder(out, told):
    """The results folder, or a new one beside it if it holds another configuration's results.

    Raises:
      ValueError: it is a file, or cannot be written.
    """
    out = Path(out)
    for k in range(1, 1000):
        folder = out if k == 1 else out.with_name(f"{out.name}-{k}")
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"out must be a folder, but {folder} is a file")
        try:
            (folder / "cells").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"out must be a folder that can be written, got {folder}: {error.strerror}") from error
        mark = folder / "cells" / "configuration.json"
        if not mark.exists() and not (folder / "table.csv").exists():
            _replace(mark, json.dumps(told, indent=1, sort_keys=True).encode())
        if mark.exists() and json.loads(mark.read_text()) == told:
            if k > 1:
                print(f"{out} holds results of another configuration and is kept; writing to {folder}")
            return folder
    raise ValueError(f"out must be a folder for this configuration, but {out} and a thousand beside it hold others")


def kept(folder, name, make):
    """A cell: what `make` returns, or what it returned before; and its seconds, `[on the clock, of all cores]`."""
    slug = re.sub(r"[^\w.-]+", "-", name).strip("-")
    path = folder / f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:6]}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        return arrays, np.resize(np.append(arrays.pop("_seconds"), np.nan), 2)  # once the clock's alone were kept
    start = time.perf_counter(), time.process_time()
    arrays = {key: np.asarray(value) for key, value in make().items()}
    seconds = np.subtract((time.perf_counter(), time.process_time()), start)
    temporary = path.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez(temporary, _seconds=seconds, **arrays)
    os.replace(temporary, path)
    return arrays, seconds


def mean(values):
    """`(mean, standard error)` of independent values, as floats; the error is NaN for a single one."""
    values = np.asarray(values, float).ravel()
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else math.nan


def summary(rows):
    """How many cells agree, in words."""
    agree = agreement((row.kind, row.z) for row in rows)
    if not agree:
        return f"{len(rows)} cells, none with a published number at hand"
    return f"within {AGREED:g} standard errors: {agree}"


def agreement(cells):
    """How many cells agree of each kind, in words, such as "4 of 5 printed, 1 of 1 derived"; "" where none is compared.

    Args:
      cells: pairs of a kind, "" without a published number, and z, NaN if ours is missing.
    """
    compared = [(kind, abs(z) <= AGREED) for kind, z in cells if kind and not math.isnan(z)]
    counts = {kind: [agree for other, agree in compared if other == kind] for kind in KINDS}
    return ", ".join(f"{sum(found)} of {len(found)} {kind}" for kind, found in counts.items() if found)


def columns(row):
    """A row as texts, name of the column -> text, an unknown number empty.

    Numbers have nine digits, so that z can be computed again where errors are a millionth of the value.

    Raises:
      ValueError: a published number without a kind, or a kind without a number.
    """
    valid = not row.kind if math.isnan(row.published) else row.kind in KINDS
    if not valid:
        raise ValueError(f"kind must be one of {', '.join(KINDS)} where there is a published number, got {row}")
    values = row._asdict() | {"published_se": row.error, "z": row.z}
    return {name: number(values[name], ".5g" if name == "z" else ".9g") for name in HEADER}


def write(rows, path):
    """The columns `HEADER` as CSV, whole or not at all."""
    lines = [columns(row) for row in rows]
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(lines)
    os.replace(temporary, path)


def draw(study, sizes, results, rows, path):
    """Draw the figure of a study into a file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(9, 5), layout="constrained")
    study.draw(figure, sizes, results, rows)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def manifest(name, title, preset, seconds, cpu_seconds):
    """What is told of a run beside its configuration, as plain data; the seconds of all cores may be NaN (unknown)."""
    flags = "" if preset == "default" else f" --preset {preset}"
    return {
        "title": title,
        "command": f"python -m experiments.{name}{flags}",
        "seconds": round(float(seconds), 1),
        "cpu_seconds": None if math.isnan(cpu_seconds) else round(float(cpu_seconds), 1),
        "devices": [f"{device.platform}: {device.device_kind}" for device in jax.local_devices()],
        "versions": {name: importlib.metadata.version(name) for name in ("jaxprice", "jax", "numpy")},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def show(study, rows, console):
    """Print the table."""
    printed = Table(title=study.title)
    for column in HEADER[:7]:
        printed.add_column(column, justify="left" if column in ("cell", "kind") else "right")
    for row in rows:
        numbers = map(number, (row.published, row.error, row.ours, row.se))
        printed.add_row(row.cell, *numbers, number(row.z, ".1f"), row.kind, style="red" if abs(row.z) > AGREED else None)
    console.print(printed)


def number(value: Any, form=".5g"):
    """A number as text, empty if it is NaN; a text as it is."""
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else format(value, form)


def _replace(path, content):
    """Write bytes, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
