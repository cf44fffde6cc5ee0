"""The index of the studies, computed from their results: command, time, device, and how many cells agree.

    python -m experiments.summary                           # prints it
    python -m experiments.summary --only misra_segments
    python -m experiments.summary --write experiments/README.md

A study is a folder of `--results` with a `table.csv` of published and own numbers and a `manifest.json`. A cell agrees if it
is within three standard errors of the published number; the error of that number is included if it is known. Cells are
counted by the source of the published number (`study.KINDS`). Time is given on the clock, and as CPU time of all cores,
which depends less on the other load of the machine. `--write` puts the index between the two marks of a Markdown file.
"""

import csv
import dataclasses
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.frame import command, saved, study
from jaxprice import checks, files

COLUMNS = ("study", "command", "time", "of all cores", "device", "cells", "agree")
START, END = "<!-- summary: start -->", "<!-- summary: end -->"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to show."""

    only: tuple[str, ...] = ()
    """Only these studies; by default all."""
    results: Path = Path("experiments/results")
    """Folder of the results."""
    write: Path | None = None
    """Markdown file with the two marks for the index."""


def studies(folder):
    """Study -> `(rows of its table as dicts, manifest)`, by name.

    Raises:
      ValueError: the folder does not exist, or holds a table without the column `kind`.
    """
    if not folder.is_dir():
        raise ValueError(f"results must be a folder, got {str(folder)!r}")
    found = {}
    for path in sorted(folder.glob("*/table.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        if rows and "published" in rows[0]:
            told = path.with_name("manifest.json")
            found[path.parent.name] = rows, json.loads(told.read_text()) if told.exists() else {}
    return found


def line(name, rows, manifest):
    """One line of the index: texts, in the order of `COLUMNS`."""
    agree = study.agreement((row["kind"], float(row["z"] or "nan")) for row in rows)
    times = [manifest.get(clock) for clock in ("seconds", "cpu_seconds")]
    times = ["" if x is None else f"{x:.0f} s" if x < 120 else f"{x / 60:.1f} min" for x in times]
    command = saved.command(name, manifest.get("preset", "default"))
    devices = [text.removeprefix("cpu: ").replace("cpu", "CPU core") for text in manifest.get("devices", [])]
    device = ", ".join(f"{devices.count(kind)} x {kind}" for kind in dict.fromkeys(devices))
    return manifest.get("title", name), command, *times, device, str(len(rows)), agree or "-"


def markdown(lines):
    """The index as a Markdown table."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *([text, f"`{command}`", *rest] for text, command, *rest in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def insert(path, text):
    """Insert a text between the marks of a file.

    Raises:
      ValueError: the file does not have both marks, in order.
    """
    content = path.read_text() if path.is_file() else ""
    before, start, rest = content.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"write must be a file with the marks {START} and {END}, got {str(path)!r}")
    files.write(path, f"{before}{START}\n{text}\n{END}{after}")


def main(options):
    """Print the index, and write it."""
    found = studies(options.results)
    for name in options.only:
        checks.choice("study", name, found)
    lines = [line(name, *found[name]) for name in options.only or found]
    printed = Table(title="published results")
    for column in COLUMNS:
        printed.add_column(column)
    for cells in lines:
        printed.add_row(*cells)
    Console().print(printed)
    if options.write is not None:
        insert(options.write, markdown(lines))


if __name__ == "__main__":
    command.run(main, Options)
