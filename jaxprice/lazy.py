"""Lazy modules, imported at first use, so that `import jaxprice` stays quick."""

import difflib
import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any


def modules(
    package: str, names: Collection[str], parts: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`(__getattr__, __dir__)` of a package whose modules `names` are imported at first use.

    `parts` are public names of such modules that the package has too: name -> module.

    `__dir__`, and so tab completion, lists these and the public names: those of `__all__` if the package has one, and
    otherwise those without a leading underscore. Names with two leading underscores are listed as well.
    """
    parts = parts or {}

    def get(name):
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        if name in parts:
            return getattr(importlib.import_module(f"{package}.{parts[name]}"), name)
        near = difflib.get_close_matches(name, public(), n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")

    def public():
        known = vars(importlib.import_module(package))
        return sorted({*known.get("__all__", (name for name in known if not name.startswith("_"))), *names, *parts})

    def listed():
        special = (name for name in vars(importlib.import_module(package)) if name.startswith("__"))
        return [*public(), *sorted(special)]

    return get, listed
