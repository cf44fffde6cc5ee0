"""Experiments: a grid of environments x policies -> labelled results, saved cell by cell, resumable.

A cell is one policy in one environment. Each is written to its own NetCDF file, whole or not at all (a temporary file,
then an atomic rename), under a name that holds a hash of everything that decides its numbers. Running the same experiment
again computes what is missing; a killed run loses the cell it was in.

    DIR/manifest.json            what was run: options, versions, devices, git revision, date
    DIR/cells/<hash>.nc          one cell
    DIR/results.nc               all of them
    DIR/table.csv                the last checkpoint as a table
"""

import contextlib
import csv
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from jaxprice import checks, policies, stats
from jaxprice.simulate import simulate

COLUMNS = ("environment", "policy", "lanes", "horizon", "regret", "regret_se", "share", "share_se", "rank")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A grid of environments x policies over the same lanes.

    Attributes:
      environments: name -> `(environment, params)`, params as in `simulate` (None: every lane draws its own market).
      policies: name -> `Policy` made by `jaxprice.policies`, or with a `description` on its `act`.
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

    def configuration(self, environment, policy):
        """Everything that decides the numbers of one cell, as plain data."""
        env, params = self.environments[environment]
        return {
            "environment": repr(env),
            "params": None if params is None else _digest(params),
            "policy": policies.describe(self.policies[policy]),
            "lanes": checks.positive_int("lanes", self.lanes),
            "horizon": checks.positive_int("horizon", self.horizon),
            "seed": int(self.seed),
            "version": importlib.metadata.version("jaxprice"),
        }

    def run(self, out, *, progress=None, devices=None, chunk=None):
        """Run what is missing, save it, and return everything.

        Args:
          out: results folder; made if it does not exist.
          progress: function called with `(environment name, policy name, pulls)` as pulls are done; cells that are already
            saved report all their pulls at once.
          devices, chunk: as in `simulate`; they do not change a lane's numbers.

        Returns:
          environment name -> `xarray.Dataset`, as from `simulate`.

        Raises:
          ValueError: the folder cannot be written, or belongs to something else.
        """
        out = _open_folder(out)
        total = self.lanes * self.horizon
        results = {}
        for environment, policy in self.cells():
            path = out / "cells" / f"{_hash(self.configuration(environment, policy))}.nc"
            cell = _load(path)
            tell = _partial(progress, environment, policy)
            if cell is None:
                env, params = self.environments[environment]
                cell = simulate(
                    env,
                    {policy: self.policies[policy]},
                    seed=self.seed,
                    lanes=self.lanes,
                    horizon=self.horizon,
                    params=params,
                    devices=devices,
                    chunk=chunk,
                    progress=tell or False,
                )
                _save(cell, path)
            elif tell:
                tell(total)
            # the same numbers may carry another label in another run
            results.setdefault(environment, {})[policy] = cell.isel(policy=0, drop=True)
        attrs = {"seed": int(self.seed), "lanes": self.lanes, "horizon": self.horizon}
        results = {name: stats.join(rows, attrs | {"environment": name}) for name, rows in results.items()}
        _write_json(out / "manifest.json", self._manifest())
        _save(
            xr.concat(
                results.values(),
                dim=xr.DataArray(list(results), dims="environment", name="environment"),
                combine_attrs="drop_conflicts",
            ),
            out / "results.nc",
        )
        write_table(out / "table.csv", table(results))
        return results

    def _manifest(self):
        revision = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        ).stdout.strip()
        packages = ("jaxprice", "jax", "jaxlib", "numpy", "flax", "xarray")
        return {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "revision": revision or None,
            "python": platform.python_version(),
            "versions": {name: importlib.metadata.version(name) for name in packages},
            "devices": [f"{device.platform}: {device.device_kind}" for device in jax.local_devices()],
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "cells": {
                _hash(configuration): configuration for configuration in (self.configuration(*cell) for cell in self.cells())
            },
        }


def table(results):
    """Final regret and share of every policy, ranked within its environment.

    Args:
      results: environment name -> `xarray.Dataset` from `simulate`.

    Returns:
      A list of dicts with the keys `COLUMNS`, and `gap`, `gap_se`: the paired difference of regret to the best policy but
      the oracle, and its standard error.
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
    """Write the columns `COLUMNS` of `table(...)` as CSV, whole or not at all."""
    with _atomic(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def _partial(progress, environment, policy):
    return None if progress is None else lambda pulls: progress(environment, policy, pulls)


def _digest(params):
    """Hash of the numbers and shapes of a pytree."""
    digest = hashlib.sha256(str(jax.tree.structure(params)).encode())
    for leaf in jax.tree.leaves(params):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _hash(configuration):
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:16]


def _open_folder(out):
    """Make or check a results folder.

    Raises:
      ValueError: it is a file, cannot be written, or holds other things than results.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, but {out} is a file")
    if out.is_dir() and any(out.iterdir()) and not ((out / "cells").is_dir() or (out / "manifest.json").is_file()):
        raise ValueError(f"out must be empty or hold results of an experiment, but {out} holds other files")
    try:
        (out / "cells").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out / "cells"):
            pass
    except OSError as error:
        raise ValueError(f"out must be a folder that can be written, got {out}: {error.strerror}") from error
    for leftover in (out / "cells").glob("*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()
    return out


def _load(path):
    """A saved cell, or None where there is none or it cannot be read; an unreadable file is kept aside."""
    if not path.exists():
        return None
    try:
        return xr.load_dataset(path, engine="scipy")
    except Exception:  # a damaged file makes the reader raise anything
        path.replace(path.with_suffix(".unreadable"))
        return None


def _save(dataset, path):
    """Write a dataset, whole or not at all."""
    with _atomic(path) as temporary:
        dataset.to_netcdf(temporary, engine="scipy")


def _write_json(path, content):
    with _atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n")


@contextlib.contextmanager
def _atomic(path):
    """A temporary path that takes the place of `path` when the block ends well."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
