"""Experiments: a grid of environments x policies -> labelled results, saved cell by cell and resumable.

A cell is one policy in one environment. Its key covers everything that decides its numbers: market, policy, lanes, horizon,
seed, and the code of all of these and of the engine (`jaxprice.fingerprint`). Running the same experiment again computes
only the missing cells; a killed run loses the cell in progress. After an edit, all cells that depend on the edited code are
computed again, and a warning names them. The cells of the former code stay in the folder.

    DIR/experiment.json          the marker of a results folder
    DIR/cells/<...>.nc           one cell (`jaxprice.cells`)
    DIR/table.csv                the last checkpoint as a table
    DIR/results.nc               all cells; NetCDF 4 if version 3 cannot hold them
    DIR/manifest.json            record of the run: options, versions, devices, date, and the origin and date of each cell
"""

import dataclasses
import functools
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jaxprice import cells, checks, files, fingerprint, manifest, stats
from jaxprice.environment import Environment
from jaxprice.simulate import simulate
from jaxprice.types import Policy

COLUMNS = ("environment", "policy", "lanes", "horizon", "regret", "regret_se", "share", "share_se", "rank")
MARK = {"made by": "jaxprice.Experiment"}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A grid of environments x policies over the same lanes.

    Attributes:
      environments: name -> `(environment, params)`, params as in `simulate` (None: every lane draws its own market).
      policies: name -> `Policy`.
      lanes, horizon, seed: as in `simulate`.
    """

    environments: dict
    policies: dict
    lanes: int = 1000
    horizon: int = 1000
    seed: int = 0

    def cells(self):
        """All `(environment name, policy name)` pairs, in the order in which they are run."""
        return [(environment, policy) for environment in self.environments for policy in self.policies]

    def check(self):
        """Raise if the experiment cannot be run, before any cell is computed.

        Raises:
          ValueError: a name is not text, an environment or policy has the wrong form, or a size or the seed is out of range.
        """
        for what in ("environments", "policies"):
            named = getattr(self, what)
            if not isinstance(named, dict) or not named:
                raise ValueError(f"{what} must be a dict with at least one name, got {checks.shown(named)}")
            for name in named:
                if not isinstance(name, str) or not name:
                    raise ValueError(f"names of {what} must be text, got {checks.shown(name)}")
        for name, one in self.environments.items():
            if not isinstance(one, tuple | list) or len(one) != 2 or not isinstance(one[0], Environment):
                raise ValueError(f"environments[{name!r}] must be (environment, params), got {checks.shown(one)}")
        for name, policy in self.policies.items():
            if not isinstance(policy, Policy):
                raise ValueError(f"policies[{name!r}] must be a Policy, got {checks.shown(policy)}")
        self._sizes()

    def configuration(self, environment, policy):
        """Everything that decides the numbers of one cell, the code included, as plain data."""
        return self._cell(environment, policy, fingerprint.Walk()).configuration

    def run(self, out, *, progress=None, devices=None, chunk=None):
        """Compute the missing cells, save them, and return the results of all.

        Args:
          out: results folder; created if it does not exist.
          progress: function called with `(environment name, policy name, pulls)` as pulls are done. Saved cells report all
            their pulls at once.
          devices, chunk: as in `simulate`; they do not change the numbers of a lane.

        Returns:
          environment name -> `xarray.Dataset`, as from `simulate`.

        Raises:
          ValueError: the folder belongs to something else, or cells are missing and the folder is read-only; see `check`.
        """
        self.check()
        out = Path(out)
        writable = _open_folder(out)
        store, walk = cells.Cells(out / "cells", cells.NetCDF), fingerprint.Walk()
        wanted = {where: self._cell(*where, walk) for where in self.cells()}
        found = {where: store.find(cell) for where, cell in wanted.items()}
        _tell(store, wanted, found)
        if not writable and None in found.values():
            raise ValueError(f"out must be a folder that can be written, got {out}, where cells are missing")
        results, abouts, sizes = {}, {}, self._sizes()
        try:
            for where, cell in wanted.items():
                value, abouts[where] = self._value(where, cell, found[where], store, progress, devices, chunk)
                # another run may have saved the same numbers under another label
                results.setdefault(where[0], {})[where[1]] = value.isel(policy=0, drop=True)
            results = {name: stats.join(rows, sizes | {"environment": name}) for name, rows in results.items()}
            if writable:
                self._write(out, results, {wanted[where].key: about for where, about in abouts.items()})
        except (KeyboardInterrupt, OSError) as error:
            error.add_note(f"{len(abouts)} of {len(wanted)} cells are in {out}: the same run again goes on from there")
            raise
        return results

    def _sizes(self):
        """Lanes, horizon and seed as Python's integers."""
        sizes = {name: checks.positive_int(name, getattr(self, name)) for name in ("lanes", "horizon")}
        return sizes | {"seed": checks.whole("seed", self.seed, 0, 2**64 - 1)}

    def _cell(self, environment, policy, walk):
        env, params = self.environments[environment]
        things = {"environment": env, "params": params, "policy": self.policies[policy], "engine": simulate}
        sizes = self._sizes()
        title = f"{policy!r} in {environment!r}"
        return cells.Cell(title, [environment, policy, sizes], *cells.decided_by(walk, things, **sizes))

    def _value(self, where, cell, found, store, progress, devices, chunk):
        """A cell, loaded or computed: `(dataset, about)`."""
        (environment, policy), sizes = where, self._sizes()
        tell = None if progress is None else functools.partial(progress, environment, policy)
        found = found or store.find(cell)  # another process may have made it meanwhile
        if found is not None:
            if tell:
                tell(sizes["lanes"] * sizes["horizon"])
            return found
        env, params = self.environments[environment]
        how: dict[str, Any] = sizes | {"params": params, "devices": devices, "chunk": chunk}
        start = time.perf_counter()
        value = simulate(env, {policy: self.policies[policy]}, progress=tell or False, **how)
        return value, store.save(cell, value, time.perf_counter() - start)

    def _write(self, out, results, abouts):
        """Write the table first, because it is small."""
        write_table(out / "table.csv", table(results))
        named = xr.DataArray(list(results), dims="environment", name="environment")
        with files.whole(out / "results.nc") as made:
            together = xr.concat(results.values(), dim=named, combine_attrs="drop_conflicts")
            cells.NetCDF.write(together, None, made)
        files.write_json(out / "manifest.json", self._manifest(abouts))

    def _manifest(self, abouts):
        return manifest.of_run() | {
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "environments": {name: repr(env) for name, (env, _) in self.environments.items()},
            "policies": {name: getattr(policy.act, "description", None) for name, policy in self.policies.items()},
            "cells": manifest.of_cells(abouts, ("title", "configuration", "revision", "date", "seconds")),
        }


def table(results):
    """Final regret and share of every policy, ranked within its environment.

    Args:
      results: environment name -> `xarray.Dataset` from `simulate`.

    Returns:
      A list of dicts with the keys `COLUMNS`, and `gap`, `gap_se`. The gap is the paired difference in regret to the best
      policy other than the oracle; `gap_se` is its standard error.
    """
    rows = []
    for environment, result in results.items():
        last = result.isel(time=-1)
        regret = last["regret"].values
        names = [str(name) for name in result["policy"].values]
        order = np.argsort(regret, kind="stable")
        ranks = np.empty(len(order), int)
        ranks[order] = np.arange(1, len(order) + 1)
        contenders = [k for k in order if names[k] != "oracle"]
        best = result["lane_regret"].values[contenders[0] if contenders else order[0]]
        for k, name in enumerate(names):
            one = last.isel(policy=k)
            gap, gap_se = stats.paired_difference(result["lane_regret"].values[k], best)
            row = {"environment": environment, "policy": name}
            row |= {key: int(result.attrs[key]) for key in ("lanes", "horizon")}
            row |= {key: float(one[key]) for key in ("regret", "regret_se", "share", "share_se")}
            rows.append(row | {"rank": int(ranks[k]), "gap": float(gap), "gap_se": float(gap_se)})
    return rows


def write_table(path, rows):
    """Write the columns `COLUMNS` of `table(...)` as CSV, atomically."""
    lines = [{k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    files.write_csv(path, COLUMNS, lines)


def _tell(store, wanted, found):
    """Give one warning that names all saved cells that are computed again, and all cells that cannot be saved."""
    reasons = {}
    for where, cell in wanted.items():
        if found[where] is None and (reason := store.changed(cell)):
            reasons.setdefault(reason, []).append(cell.title)
    if reasons:
        told = "; ".join(f"{', '.join(titles)} ({reason})" for reason, titles in reasons.items())
        warnings.warn(f"computed anew: {told}", stacklevel=3)


def _open_folder(out):
    """Create or check a results folder; returns whether it is writable.

    Raises:
      ValueError: it is a file, cannot be created, or holds other files than results of an experiment.
    """
    mark = out / "experiment.json"
    held, writable = files.open_folder(out, "out", "results of an experiment", lambda: _is_ours(out, mark), "cells")
    if writable and files.read_json(mark) != MARK:
        if held and not mark.exists():
            told = f"{out} was filled by a version that did not keep the code of its cells: they stay, and are not used"
            warnings.warn(told, stacklevel=3)
        files.write_json(mark, MARK)
    if not (writable or (out / "cells").is_dir()):
        raise ValueError(f"out must be a folder that can be written, got {out}")
    return writable


def _is_ours(out, mark):
    """Whether a folder has the marker, or was filled by a version that wrote none."""
    if files.read_json(mark) == MARK:
        return True
    named = {path.name for path in (out / "cells").iterdir()} if (out / "cells").is_dir() else set()
    told = files.read_json(out / "manifest.json")
    if told is None:
        return bool(named) and all(cells.NAMES.fullmatch(name) for name in named)
    configurations = told.get("cells") if isinstance(told, dict) else None
    keys = {"environment", "params", "policy", "lanes", "horizon", "seed", "version"}
    return isinstance(configurations, dict) and all(isinstance(x, dict) and keys <= set(x) for x in configurations.values())
