"""The origin of code: Python, an installed package, or the program; and the git revision of this package."""

import functools
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

NAMES = ("anatomy", "cells", "contents", "files", "fingerprint", "manifest", "program_cache", "provenance", "registry")
BOOKKEEPING = {f"jaxprice.{name}" for name in NAMES}  # modules that do not influence results
HERE = Path(__file__).resolve().parent
PYTHON = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def by_name(module):
    """Whether the content of a module counts by name alone."""
    return module in BOOKKEEPING or installed(module)


def spelled(module):
    """The name of a module; the module that is run as a script has its real name too."""
    main = sys.modules.get("__main__")
    if module != "__main__" or main is None:
        return module
    spec = getattr(main, "__spec__", None)
    return spec.name if spec else Path(getattr(main, "__file__", "__main__")).stem


@functools.cache
def in_packages(path):
    """Whether a file belongs to Python or to an installed package other than this one."""
    if path.startswith("<frozen"):
        return True
    path = Path(path).absolute()
    if path.is_relative_to(HERE):
        return False
    return "site-packages" in path.parts or "dist-packages" in path.parts or any(path.is_relative_to(x) for x in PYTHON)


@functools.cache
def installed(module):
    """Whether a module, given by name, belongs to Python or to an installed package other than this one."""
    top = module.partition(".")[0]
    if top == "__main__":  # scripts and notebooks
        return False
    loaded = sys.modules.get(module) or sys.modules.get(top)
    if loaded is None:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return False
        origin, places = (None, []) if spec is None else (spec.origin, list(spec.submodule_search_locations or ()))
    else:
        origin, places = getattr(loaded, "__file__", None), list(getattr(loaded, "__path__", ()))
    if origin is None or origin in ("built-in", "frozen"):
        return top in sys.builtin_module_names or top in sys.stdlib_module_names or any(map(in_packages, places))
    return in_packages(origin)


@functools.cache
def version(package):
    """The version of an installed package; "" for modules of Python itself."""
    if package in sys.stdlib_module_names:
        return ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", ""))


@functools.cache
def revision():
    """The git revision of this package, with "+" if its files were edited since.

    It is None without git, and if no repository tracks the folder of the package, such as a site-packages folder inside
    another repository.
    """

    def told(*command):
        ran = subprocess.run(["git", *command], cwd=HERE, env=env, capture_output=True, text=True, check=True, timeout=60)
        return ran.stdout.strip()

    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    try:
        told("ls-files", "--error-unmatch", Path(__file__).name)
        return told("rev-parse", "HEAD") + "+" * bool(told("status", "--porcelain", "--untracked-files=no", "--", "."))
    except (OSError, subprocess.SubprocessError):
        return None
