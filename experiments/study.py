"""What the studies of published results share: cells that resume, one table, one figure, one manifest.

A study is stated as data (`Study`): the cells that it simulates, the rows that it makes of them, the figure. Its script ends

    if __name__ == "__main__":
        study.command(STUDY)

and then takes `--preset smoke | default | full`, `--seed` and `--out`. Written under `--out`: `table.csv` with the columns
`HEADER`, `figure.png`, `manifest.json`, and every cell in `cells/`, from which a second run resumes. A folder that holds the
results of another configuration is left as it is, and a new one beside it is used.

z is our value less the published one over sqrt(se^2 + se_paper^2), where the paper's error is its own if it states one, and
that of rounding (half a unit of the last digit over sqrt 3) if not.
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

HEADER = ("cell", "published", "ours", "se", "z", "source", "note")
AGREED = 3.0  # |z| up to which a cell counts as reproduced


class Row(NamedTuple):
    """One number of a table.

    Attributes:
      cell: its name.
      ours, se: our mean and its standard error; 0 for what is computed exactly.
      published, published_se: as printed, NaN if not at hand; the paper's own standard error, NaN if unknown.
      digits: decimals of the printed number, for its rounding error.
      source: where it is printed.
      note: what was tried, for a number that does not agree.
    """

    cell: str
    ours: float
    se: float
    published: float = math.nan
    published_se: float = math.nan
    digits: int | None = None
    source: str = ""
    note: str = ""

    @property
    def z(self):
        """Difference in standard errors; NaN without a published number."""
        rounding = 0.0 if self.digits is None else 0.5 * 10.0**-self.digits / math.sqrt(3)
        paper = rounding if math.isnan(self.published_se) else self.published_se
        error, gap = math.hypot(self.se, paper), self.ours - self.published
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
    known = [row.z for row in rows if not math.isnan(row.published)]
    if not known:
        return f"{len(rows)} cells, none with a printed number at hand"
    return f"{sum(abs(z) <= AGREED for z in known)} of {len(known)} published cells within {AGREED:g} standard errors"


def write(rows, path):
    """The columns `HEADER` as CSV, whole or not at all; an unknown number is left empty."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for row in rows:
            writer.writerow([_text(getattr(row, name)) for name in HEADER])
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
    for column in HEADER[:5]:
        printed.add_column(column, justify="left" if column == "cell" else "right")
    for row in rows:
        style = "red" if abs(row.z) > AGREED else None
        printed.add_row(row.cell, *(_text(x) for x in (row.published, row.ours, row.se)), _text(row.z, ".1f"), style=style)
    console.print(printed)


def _text(value: Any, form=".5g"):
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else format(value, form)


def _replace(path, content):
    """Write bytes, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
