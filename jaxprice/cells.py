"""Cells: pieces of a result, one file each. A key that covers configuration and code finds a cell again.

    folder/LABEL-SLOT-KEY-CONTENT.npz

The slot says which piece of a result the cell is. The key holds a hash of everything that decides the numbers. CONTENT is a
hash of the file itself: it reveals a truncated file or a flipped bit. A damaged file is renamed and the cell is computed
again. Edited code has another key. The cell of the former code stays in the folder, and the former code finds it again.
"""

import dataclasses
import datetime
import hashlib
import json
import math
import re
import warnings
from typing import Any

import numpy as np
import xarray as xr

from jaxprice import checks, files, provenance

NAMES = re.compile(r"([\w.-]*[0-9a-f]{8}-)?[0-9a-f]{16}(-[0-9a-f]{16})?\.(nc|npz|unreadable.*)")  # names of cell files
LARGEST = 2**31 - 1  # bytes of a variable, and largest integer, in a NetCDF file of version 3


@dataclasses.dataclass(frozen=True)
class Cell:
    """The identity of a cell.

    Attributes:
      title: text that names the cell in messages.
      slot: which piece of a result it is, as plain data.
      configuration: everything that decides its numbers, name -> plain data; see `decided_by`.
      unknown: parts of the configuration without a fingerprint; if there are any, the cell is not saved.
      label: start of the names of its files.
    """

    title: str
    slot: Any
    configuration: dict
    unknown: tuple = ()
    label: str = ""

    @property
    def key(self):
        """Hash of the configuration."""
        return short(self.configuration)

    @property
    def start(self):
        """Start of the names of all files of its slot, from any code."""
        label = re.sub(r"[^\w.-]+", "-", self.label).strip("-.")[:80]
        return f"{label}-{short(self.slot)[:8]}-" if label else f"{short(self.slot)[:8]}-"


def short(content):
    """A hash of plain data, 16 digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def decided_by(walk, things, **told):
    """The configuration of a cell and its parts without a fingerprint: `(configuration, unknown)`.

    Args:
      walk: a `fingerprint.Walk`.
      things: name -> object whose code and content decide the numbers of the cell.
      **told: other plain data that decides them.
    """
    found = {name: walk.of(thing) for name, thing in things.items()}
    packages = {name: version for one in found.values() for name, version in one.packages.items()}
    digests = {name: one.digest for name, one in found.items()}
    told |= {"x64": bool(checks.setting("jax_enable_x64")), "packages": dict(sorted(packages.items()))}
    return digests | told, tuple(f"{name}: {what}" for name, one in found.items() for what in one.unknown)


class Cells:
    """The cells of a folder.

    Args:
      folder: path.
      form: file format of the cells, `NetCDF` or `Arrays`.
    """

    def __init__(self, folder, form):
        self.folder, self.form = folder, form

    def find(self, cell):
        """The saved `(value, about)` of a cell, or None. `about` says when, how and by which revision it was made."""
        for path in self._paths(f"{cell.start}{cell.key}-"):
            found = self._read(path)
            if found is not None and (cell.unknown or found[1].get("configuration") != cell.configuration):
                _set_aside(path, "its name is another cell's")
            elif found is not None:
                return found
        return None

    def others(self, cell):
        """Whether the slot of a cell has any files, from any code."""
        return bool(self._paths(cell.start))

    def changed(self, cell):
        """Why a saved cell is not found, in words; "" if none was saved."""
        made = [found[1] for path in self._paths(cell.start) if (found := self._read(path)) is not None]
        if cell.unknown:
            return f"it cannot be saved: no fingerprint of {', '.join(cell.unknown)}"
        if not made:
            return ""
        last = max(made, key=lambda about: about.get("date", ""))
        before, now = last["configuration"], cell.configuration
        names = [name for name in before | now if before.get(name) != now.get(name)]
        if "packages" in names:
            pair = before.get("packages", {}), now.get("packages", {})
            names[names.index("packages")] = ", ".join(
                f"{name} {pair[0].get(name, 'absent')} -> {pair[1].get(name, 'absent')}"
                for name in pair[0] | pair[1]
                if pair[0].get(name) != pair[1].get(name)
            )
        revision = f", revision {last['revision'][:10]}" if last.get("revision") else ""
        return f"changed since {last.get('date', 'then')}{revision}: {', '.join(names)}"

    def save(self, cell, value, seconds=math.nan, **also):
        """Write a cell atomically, unless it could not be found again; returns its `about`.

        Args:
          cell: a `Cell`.
          value: the result, in the type that the form of these cells writes.
          seconds: time that the computation took.
          **also: other plain data for `about`.
        """
        about = {"title": cell.title, "configuration": cell.configuration, "revision": provenance.revision()}
        about |= {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
        about |= {"seconds": None if math.isnan(seconds) else round(float(seconds), 3)} | also
        if not cell.unknown:
            with files.temporary(self.folder, cell.start + cell.key) as made:
                self.form.write(value, about, made)
                content = hashlib.sha256(made.read_bytes()).hexdigest()[:16]
                files.place(made, self.folder / f"{cell.start}{cell.key}-{content}.{self.form.suffix}")
        return about

    def _paths(self, start):
        ending = f".{self.form.suffix}"
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(path for path in found if path.name.startswith(start) and path.name.endswith(ending))

    def _read(self, path):
        """The `(value, about)` of a file, or None if it is damaged; a damaged file is renamed."""
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest()[:16] != path.stem.rpartition("-")[2]:
                raise ValueError("its content is not what was written")
            value, about = self.form.read(path)
            return value, json.loads(about)
        except FileNotFoundError:  # another process renamed or removed it
            return None
        except MemoryError:
            raise
        except Exception as error:  # readers raise many kinds of error on damaged files
            _set_aside(path, str(error) or type(error).__name__)
        return None


def _set_aside(path, why):
    """Rename a file that cannot be used, and warn."""
    try:
        told = files.set_aside(path, why)
    except OSError as error:
        told = f"{path} cannot be used ({why}), nor be renamed ({error.strerror})"
    warnings.warn(told, stacklevel=5)


class NetCDF:
    """An `xarray.Dataset` as a NetCDF file of version 3, or of version 4 if version 3 cannot hold it."""

    suffix = "nc"

    @staticmethod
    def write(dataset, about, path):
        """Write a dataset; `about` is plain data, or None."""
        wide = {name: str(x) for name, x in dataset.attrs.items() if isinstance(x, int) and abs(x) > LARGEST}
        dataset = dataset.assign_attrs(wide | ({} if about is None else {"about": json.dumps(about)}))
        dataset.to_netcdf(path, engine="scipy" if NetCDF.small(dataset) else "h5netcdf")

    @staticmethod
    def small(dataset):
        """Whether NetCDF 3 can hold a dataset."""
        arrays = [np.asarray(variable) for variable in dataset.variables.values()]
        texts = [np.char.encode(x.astype(str), "utf-8") if x.dtype.kind in "OU" else x for x in arrays]
        whole = [x for x in arrays if x.dtype.kind in "iu" and x.size]
        return max(x.nbytes for x in texts) <= LARGEST and all(max(-int(x.min()), int(x.max())) <= LARGEST for x in whole)

    @staticmethod
    def read(path):
        """`(dataset, about as text)`."""
        with open(path, "rb") as file:
            engine = "scipy" if file.read(3) == b"CDF" else "h5netcdf"
        dataset = xr.load_dataset(path, engine=engine)
        about = dataset.attrs.pop("about", "{}")
        dataset.attrs |= {name: int(dataset.attrs[name]) for name in ("seed", "lanes", "horizon") if name in dataset.attrs}
        return dataset, about


class Arrays:
    """A dict of NumPy arrays as a file of `numpy.savez`."""

    suffix = "npz"

    @staticmethod
    def write(arrays, about, path):
        """Write arrays, name -> array; `about` is plain data."""
        with open(path, "wb") as file:
            np.savez(file, _about=json.dumps(about), **arrays)

    @staticmethod
    def read(path):
        """`(arrays, about as text)`; nothing is unpickled."""
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        return arrays, str(arrays.pop("_about"))
