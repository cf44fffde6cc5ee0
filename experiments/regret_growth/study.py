"""How the regret of each policy grows: exponents of time, with intervals, in the setting of its paper.

    python -m experiments.regret_growth                    # all rows
    python -m experiments.regret_growth --only ucb1 cusum_ucb

The exponent is the least-squares slope of log regret against log time over the last part of the horizon (from `START` of it
on), for batches of lanes with separate seeds. The interval is Student's, for the mean over batches. If policy or market
depend on the horizon (windows, mixtures, one change half-way, a season's stock: `ACROSS`), the exponent is the slope of the
final regret over seasons of three lengths, T / 16, T / 4 and T, and the batches are lanes of one seed. A rate T^a appears as
a, up to logarithms and early transients; log T appears as a slope that decreases to zero, 1 / log t. Failures that theory
predicts are rows too. `expected` is the theoretical rate; nothing is tuned to agree with it.

Files in `--out`: `table.csv` with the rows of this run, and the regret of every row in `cells/`. A second run resumes from
these; a row is measured again if its code was edited. A folder with rows of other sizes stays unchanged, and a new folder
beside it is used.
"""

import dataclasses
import functools
import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import jaxprice
from experiments.frame import saved
from experiments.regret_growth.rows import ACROSS, rows
from jaxprice import files, fingerprint, policies, stats

HEADER = ("row", "policy", "market", "expected", "exponent", "low", "high", "regret", "regret_se")
BATCHES = 8
START = 0.05


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure."""

    only: tuple[str, ...] = ()
    """Only these rows; by default all."""
    horizon: int = 20_000
    """Periods."""
    lanes: int = 64
    """Lanes of a batch."""
    out: Path = Path("results/regret_growth")
    """Results folder."""


def cells(options):
    """Row -> function without arguments that measures it; policies of other rows are not part of it."""
    table, short, middle = map(rows, (options.horizon, options.horizon // 16, options.horizon // 4))
    for name in options.only:
        jaxprice.checks.choice("row", name, table)
    made = {}
    for name in dict.fromkeys(options.only) or table:
        if name in ACROSS:
            seasons = [
                (of[name][:2], horizon) for of, horizon in zip((short, middle, table), times(options, True), strict=True)
            ]
            made[name] = functools.partial(across, seasons, options.lanes)
        else:
            made[name] = functools.partial(along, table[name][:2], options.horizon, times(options, False), options.lanes)
    return made


def times(options, seasons):
    """Horizons of three seasons, or times within one season, at which regret is recorded."""
    if seasons:
        return [options.horizon // 16, options.horizon // 4, options.horizon]
    return np.unique(np.geomspace(START * options.horizon, options.horizon, 12).astype(int))


def played(row, horizon, **how):
    """A policy in a market for a number of periods, as from `simulate`."""
    policy, (kind, settings) = row
    env, params = jaxprice.make(kind, **settings)
    return jaxprice.simulate(env, policy, horizon=horizon, params=params, **how)


def along(row, horizon, times, lanes):
    """Mean regret of each batch at the given times, float `[BATCHES, times]`."""
    batches = [played(row, horizon, lanes=lanes, seed=seed, checkpoints=times) for seed in range(BATCHES)]
    return {"regret": np.stack([batch["regret"].values[0] for batch in batches])}


def across(seasons, lanes):
    """Mean regret of each batch at the ends of seasons, float `[BATCHES, seasons]`."""
    ends = [
        played(row, horizon, lanes=BATCHES * lanes, checkpoints=[horizon])["lane_regret"].values[0]
        for row, horizon in seasons
    ]
    return {"regret": np.stack([end.reshape(BATCHES, -1).mean(axis=1) for end in ends], axis=1)}


def measured(curves, times):
    """Mean exponent over batches and its standard error; mean regret at the horizon and its standard error.

    Args:
      curves: mean regret of each batch, `[BATCHES, times]`.
      times: the times of the curves.
    """
    slopes = np.array([stats.growth_exponent(times, np.maximum(curve, 1e-9)) for curve in curves])
    last = curves[:, -1]
    return tuple(f(x) for x in (slopes, last) for f in (np.mean, lambda x: x.std(ddof=1) / math.sqrt(BATCHES)))


def main(options):
    """Measure, print and write.

    Raises:
      ValueError: an unknown row, fewer than 160 periods, no lanes; the results folder cannot be written.
    """
    jaxprice.checks.whole("horizon", options.horizon, 160, jaxprice.checks.LARGEST)
    jaxprice.checks.positive_int("lanes", options.lanes)
    made, table = cells(options), rows(options.horizon)
    out = saved.open_folder(options.out, {"study": "regret_growth", "horizon": options.horizon, "lanes": options.lanes})
    printed = Table(title=f"growth of regret, {BATCHES} batches of {options.lanes} lanes, {options.horizon:,} periods")
    for column in ("row", "policy", "market", "expected", "exponent", "95 % interval", "regret"):
        printed.add_column(column)
    console, walk, lines, writable = Console(), fingerprint.Walk(narrow=True), [], files.can_write(out)
    with saved.resumable(out):
        for name, make in made.items():
            with console.status(name):
                curves = saved.load_or_make(out / "cells", name, make, walk)[0]["regret"]
            slope, error, regret, regret_error = measured(curves, times(options, name in ACROSS))
            low, high = stats.interval(slope, error, BATCHES)
            policy, market, expected = table[name]
            about = policies.describe(policy), market[0], expected
            regret_text = f"{regret:.4g} ± {stats.critical(BATCHES) * regret_error:.2g}"
            printed.add_row(name, *about, f"{slope:.3f}", f"{low:.3f} to {high:.3f}", regret_text)
            lines.append((name, *about, *(f"{x:.4g}" for x in (slope, low, high, regret, regret_error))))
            if writable:
                files.write_csv(out / "table.csv", HEADER, lines)
    console.print(printed)
    console.print(f"{len(lines)} rows -> {out}/table.csv")
