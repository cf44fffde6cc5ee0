"""Do the stated intervals of off-policy evaluation hold? The true value is known here, so their coverage can be counted.

    python -m experiments.ope_coverage                        # 1,000 logs a cell, minutes on two cores
    python -m experiments.ope_coverage --preset smoke         # one cell a market, 40 logs
    python -m experiments.ope_coverage --preset full          # 10,000 logs of 2,000 decisions, for a GPU
    python -m experiments.ope_coverage --only stock confounded

A cell is a market and a seller that writes the logs. In each cell all estimators state a 95 % interval for the value of each
target policy from each log, and the table has their bias, error and coverage: the share of the logs whose interval holds the
value. An interval holds in a row if its coverage is not below 95 % by more than two standard errors; in several rows, if the
smallest coverage is not below the bound for the smallest of so many. One that is wider than the value itself says nothing.

| market | what is difficult | module |
|---|---|---|
| posted prices | nothing but overlap: uniform, epsilon-greedy, wide and thin softmax, and a seller that learns | `posted` |
| apple | the market calibrated from randomised prices | `posted` |
| drift | the market moves; the value after the log is asked too | `posted` |
| features | buyers with features; the reward model is right | `features` |
| wrong model | the reward model is wrong | `features` |
| estimated propensities | the log has none | `features` |
| confounded | the seller saw a demand shock that the log lacks | `features` |
| stock | a price today costs sales tomorrow | `season` |
| any price | prices from an interval | `interval` |

Files in `--out`: `table.csv` (all rows), `answers.md` (which interval holds in which market), `coverage.png`,
`manifest.json`, and every estimate of every log in `cells/`, from which a second run resumes. A cell is computed again if
its code was edited.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import jaxprice
from experiments.frame import saved
from experiments.ope_coverage import features, interval, picture, posted, season, tables
from experiments.ope_coverage.cases import Sizes, measure
from jaxprice import files, fingerprint, manifest

SIZES = {"smoke": Sizes(40, 120, 40), "default": Sizes(1000, 500, 250), "full": Sizes(10_000, 2000, 500)}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    preset: Literal["smoke", "default", "full"] = "default"
    """smoke: 40 logs of 120 decisions, one cell a market; default: 1,000 of 500; full: 10,000 of 2,000."""
    only: tuple[str, ...] = ()
    """Only these markets; by default all."""
    seed: int = 0
    """Seed of the logs."""
    out: Path = Path("results/ope_coverage")
    """Results folder."""


def cases(decisions, preset="default"):
    """The cells of a preset, in the order of the table."""
    made = [case for part in (posted, features, season, interval) for case in part.cases(decisions)]
    order = list(tables.MARKETS)
    made.sort(key=lambda case: order.index(case.market))
    return list({case.market: case for case in reversed(made)}.values())[::-1] if preset == "smoke" else made


def main(options):
    """Measure, print and write.

    Raises:
      ValueError: an unknown market, a bad seed, or a results folder that cannot be written.
    """
    for market in options.only:
        jaxprice.checks.choice("market", market, tables.MARKETS)
    seed = jaxprice.checks.whole("seed", options.seed, 0, 2**31 - 1)
    jaxprice.use_cpu_cores()
    if options.preset == "smoke":
        jaxprice.devices.compile_quickly()
    sizes, console = SIZES[options.preset], Console()
    told = {"study": "ope_coverage", "preset": options.preset, "sizes": list(sizes), "seed": seed}
    out, abouts, rows = saved.open_folder(options.out, told), {}, []
    wanted = [case for case in cases(sizes.decisions, options.preset) if not options.only or case.market in options.only]
    columns = TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    walk = fingerprint.Walk(narrow=True)
    with Progress(*columns, console=console) as bar, saved.resumable(out):
        job = bar.add_task("cells", total=len(wanted))
        for case in wanted:
            title = f"{case.market}, {case.logging}"
            bar.update(job, description=title)
            found, abouts[title] = saved.load_or_make(
                out / "cells", title, functools.partial(measure, case, sizes, seed), walk
            )
            rows += tables.rows_of(case.market, case.logging, sizes.decisions, found)
            bar.advance(job)
    tables.show(rows, console)
    if files.can_write(out):
        files.write_csv(out / "table.csv", tables.HEADER, [tables.texts(row) for row in rows])
        files.write(out / "answers.md", tables.markdown(rows, sizes))
        picture.draw(rows, out / "coverage.png")
        seconds = sum(about["seconds"] for about in abouts.values())
        files.write_json(
            out / "manifest.json",
            told | manifest.of_run() | {"seconds": round(seconds, 1), "cells": manifest.of_cells(abouts)},
        )
    console.print(f"{len(rows)} rows -> {out}/table.csv, answers.md, coverage.png")
    return rows, out
