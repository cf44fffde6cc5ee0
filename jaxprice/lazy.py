"""Modules that are imported when they are first asked for, so that `import jaxprice` stays quick."""

import difflib
import importlib


def modules(package, names):
    """`(__getattr__, __dir__)` of a package whose modules `names` are imported when they are first asked for."""

    def get(name):
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        near = difflib.get_close_matches(name, listed(), n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")

    def listed():
        return sorted({*vars(importlib.import_module(package)), *names})

    return get, listed
