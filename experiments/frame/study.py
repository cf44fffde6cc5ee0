"""The common part of studies of published results: cells that resume, one table, one figure, one manifest.

A study is data (`Study`): the simulated cells, the rows computed from them, and the figure. Its script ends with

    if __name__ == "__main__":
        study.command(STUDY)

and then accepts `--preset smoke | default | full`, `--seed` and `--out`. Files in `--out`: `table.csv` with the columns
`HEADER`, `figure.png`, `manifest.json`, and every cell in `cells/`, from which a second run resumes. A cell is computed
again if its code was edited (`jaxprice.fingerprint`). If the folder holds results of another configuration, it stays
unchanged and a new folder beside it is used. Finished results in a read-only folder are shown.
"""

import dataclasses
import functools
import importlib.metadata
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments.frame import command as command_line
from experiments.frame import saved
from experiments.frame.rows import AGREED, HEADER, KINDS, Row, agreement, columns, difference, number, read, write
from jaxprice import checks, devices, files, fingerprint, manifest, stats

__all__ = ["AGREED", "HEADER", "KINDS", "Options", "Row", "Study", "agreement", "band", "chosen", "columns", "command",
           "difference", "main", "mean", "number", "plot_figure", "read", "show", "stored", "summary", "write"]  # fmt: skip


class Study(NamedTuple):
    """One published result.

    Attributes:
      name: name of the script and of the results folder.
      title: one line, with the source.
      presets: "smoke", "default", "full" -> sizes (a NamedTuple of plain numbers), which determine the amount of simulation.
      cells: `(sizes, seed)` -> name -> function without arguments that returns a dict of NumPy arrays, saved to disk.
      rows: `(sizes, results)` -> list of `Row`; results: cell name -> dict of arrays.
      plot_figure: `(figure, sizes, results, rows)`: draws into a Matplotlib figure, in the form of the paper's figure.
      public: time that public code needs for the same results, as text; "" if unknown.
    """

    name: str
    title: str
    presets: dict
    cells: Callable
    rows: Callable
    plot_figure: Callable
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
    """Run the command line of a study."""
    command_line.run(functools.partial(main, study), Options, study.title)


def main(study, options):
    """Run a study, then print and write its table and figure.

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
        "seed": checks.whole("seed", options.seed, 0, 2**63 - 1),
        "version": importlib.metadata.version("jaxprice"),
    }
    told = json.loads(json.dumps(told, default=str))
    out = saved.open_folder(Path("results") / study.name if options.out is None else options.out, told)
    parts, walk = study.cells(sizes, options.seed), fingerprint.Walk(narrow=True)
    if not files.can_write(out) and not all(saved.has(out / "cells", *part, walk) for part in parts.items()):
        return stored(study, out, console), out
    results, abouts = {}, {}
    columns = TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    bar = Progress(*columns, console=console)
    with bar, saved.resumable(out):
        job = bar.add_task(study.name, total=len(parts))
        for name, make in parts.items():
            bar.update(job, description=name)
            results[name], abouts[name] = saved.load_or_make(out / "cells", name, make, walk)
            bar.advance(job)
    rows = study.rows(sizes, results)
    seconds = [sum(about[clock] for about in abouts.values()) for clock in ("seconds", "cpu_seconds")]
    if files.can_write(out):
        write(rows, out / "table.csv")
        plot_figure(study, sizes, results, rows, out / "figure.png")
        about = told | saved.told_of(study.name, study.title, options.preset, *seconds) | {"public": study.public}
        files.write_json(out / "manifest.json", about | {"cells": manifest.of_cells(abouts)})
    show(study, rows, console)
    console.print(f"{summary(rows)}; {seconds[0]:.0f} s -> {out}/table.csv, figure.png")
    return rows, out


def stored(study, out, console):
    """The saved rows of a finished study in a read-only folder, after printing them.

    Raises:
      ValueError: there is no table.
    """
    if not (out / "table.csv").is_file():
        raise ValueError(f"out must be a folder that can be written, got {out}, where cells are missing")
    rows = read(out / "table.csv")
    told = files.read_json(out / "manifest.json") or {}
    show(study, rows, console)
    when = f"of {told.get('date', 'unknown date')}, revision {told.get('revision') or 'unknown'}"
    console.print(f"{summary(rows)}; as saved {when}: {out} cannot be written, and its cells are not those of this code")
    return rows


def chosen(every, names):
    """The sellers that play: those that the sizes of a preset name, in their order, or all of them if they name none.

    Args:
      every: all names.
      names: a tuple of some names.

    Returns:
      A tuple of names.
    """
    return tuple(name for name in names if name in every) if names else tuple(every)


def mean(values):
    """`(mean, standard error)` of independent values, as floats; the error of a single value is NaN."""
    values = np.asarray(values, float).ravel()
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else math.nan


def band(values, axis=0):
    """Mean of independent values along an axis, and half the width of its 95 % interval (Student's t for few values)."""
    values = np.asarray(values, float)
    count = values.shape[axis]
    spread = values.std(axis=axis, ddof=1) if count > 1 else np.full(np.delete(values.shape, axis), math.nan)
    return values.mean(axis=axis), stats.critical(count) * spread / math.sqrt(count)


def summary(rows):
    """The numbers of agreeing cells, as text."""
    agree = agreement((row.kind, row.z) for row in rows)
    if not agree:
        return f"{len(rows)} cells, none with a published number at hand"
    return f"within {AGREED:g} standard errors: {agree}"


def plot_figure(study, sizes, results, rows, path):
    """Draw the figure of a study into a file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(9, 5), layout="constrained")
    study.plot_figure(figure, sizes, results, rows)
    files.write_figure(path, figure)
    plt.close(figure)


def show(study, rows, console):
    """Print the table."""
    printed = Table(title=study.title)
    for column in HEADER[:7]:
        printed.add_column(column, justify="left" if column in ("cell", "kind") else "right")
    for row in rows:
        numbers = map(number, (row.published, row.error, row.ours, row.se))
        printed.add_row(row.cell, *numbers, number(row.z, ".1f"), row.kind, style="red" if abs(row.z) > AGREED else None)
    console.print(printed)
