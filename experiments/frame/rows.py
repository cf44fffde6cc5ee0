"""Rows of the tables of studies: published and own numbers, z, and how many agree.

z is our value minus the published one, divided by sqrt(se^2 + published_se^2). The error of the published number is its own
if it is known, otherwise that of rounding (half a unit of the last digit over sqrt 3). The table has both errors, so z can
be recomputed from its row. `kind` is the source of the published number, one of `KINDS`.
"""

import csv
import math
from pathlib import Path
from typing import Any, NamedTuple

from jaxprice import files

HEADER = ("cell", "published", "published_se", "ours", "se", "z", "kind", "source", "note")
KINDS = {
    "printed": "printed by the authors, or part of their program",
    "quoted": "quoted from the authors by others",
    "replication": "from a replication by others: their runs, or their report",
    "derived": "derived from what the authors print: computed from it, or implied by a statement in words",
    "own": "our own, by other code",
}
AGREED = 3.0  # |z| limit for cells that count as reproduced


class Row(NamedTuple):
    """One number of a table.

    Attributes:
      cell: name of the cell.
      ours, se: our mean and its standard error, which is 0 for exact values.
      published, published_se: the published number and its own standard error; NaN if there is none or it is unknown.
      digits: decimals of the published number, for its rounding error.
      source: place where it is printed.
      note: attempted explanations of a number that does not agree.
      kind: kind of the published number, one of `KINDS`; "" if there is none.
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


def agreement(cells):
    """The number of agreeing cells of each kind, as text, such as "4 of 5 printed, 1 of 1 derived"; "" if there are none.

    Args:
      cells: pairs of a kind, "" without a published number, and z, NaN if ours is missing.
    """
    compared = [(kind, abs(z) <= AGREED) for kind, z in cells if kind and not math.isnan(z)]
    counts = {kind: [agree for other, agree in compared if other == kind] for kind in KINDS}
    return ", ".join(f"{sum(found)} of {len(found)} {kind}" for kind, found in counts.items() if found)


def columns(row):
    """A row as texts, name of the column -> text; an unknown number is empty.

    Numbers have nine digits, so that z can be recomputed even if errors are a millionth of the value.

    Raises:
      ValueError: a published number has no kind, or a kind has no number.
    """
    valid = not row.kind if math.isnan(row.published) else row.kind in KINDS
    if not valid:
        raise ValueError(f"kind must be one of {', '.join(KINDS)} where there is a published number, got {row}")
    values = row._asdict() | {"published_se": row.error, "z": row.z}
    return {name: number(values[name], ".5g" if name == "z" else ".9g") for name in HEADER}


def write(rows, path):
    """Write the columns `HEADER` as CSV, atomically."""
    files.write_csv(path, HEADER, [columns(row) for row in rows])


def read(path):
    """The rows of a saved table."""
    with Path(path).open(newline="") as file:
        lines = list(csv.DictReader(file))
    texts, numbers = ("cell", "source", "note", "kind"), ("ours", "se", "published", "published_se")
    lines = [{x: line[x] for x in texts} | {x: float(line[x] or "nan") for x in numbers} for line in lines]
    return [Row(**line) for line in lines]


def number(value: Any, form=".5g"):
    """A number as text, empty if it is NaN; a text unchanged."""
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else format(value, form)
