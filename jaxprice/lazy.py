"""Modules that are imported when they are first asked for, so that `import jaxprice` stays quick."""

import difflib
import importlib
from collections.abc import Callable, Collection
from typing import Any


def modules(package: str, names: Collection[str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`(__getattr__, __dir__)` of a package whose modules `names` are imported when they are first asked for.

    `__dir__`, and so tab completion, lists the public names: those of `__all__` where the package has one, else those
    that do not start with an underscore; and `names`. What starts with two underscores is listed as well.
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
