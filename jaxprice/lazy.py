"""Lazy modules, imported at first use, so that `import jaxprice` stays quick."""

import difflib
import importlib
from collections.abc import Callable, Collection
from typing import Any


def modules(package: str, names: Collection[str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`(__getattr__, __dir__)` of a package whose modules `names` are imported at first use.

    `__dir__`, and so tab completion, lists `names` and the public names: those of `__all__` if the package has one, and
    otherwise those without a leading underscore. Names with two leading underscores are listed as well.
    """

    def get(name):
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        near = difflib.get_close_matches(name, public(), n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")

    def public():
        known = vars(importlib.import_module(package))
        return sorted({*known.get("__all__", (name for name in known if not name.startswith("_"))), *names})

    def listed():
        special = (name for name in vars(importlib.import_module(package)) if name.startswith("__"))
        return [*public(), *sorted(special)]

    return get, listed
