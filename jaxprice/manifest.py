"""Manifests: what is told of a run beside its results."""

import datetime
import importlib.metadata
import platform

import jax

from jaxprice import provenance

PACKAGES = ("jaxprice", "jax", "jaxlib", "numpy", "flax", "xarray")


def of_run():
    """Date, revision, versions and devices of this run, plain data."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": provenance.revision(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "devices": [f"{device.platform}: {device.device_kind}" for device in jax.local_devices()],
    }


def of_cells(abouts, names=("revision", "date", "seconds")):
    """Who made each cell when, plain data.

    Args:
      abouts: title or key -> what `Cells.find` and `Cells.save` tell of a cell.
      names: of the entries to keep.
    """
    return {title: {name: about.get(name) for name in names} for title, about in abouts.items()}
