"""Exact solutions: what the best seller would earn."""

import pkgutil

from jaxprice import lazy

__getattr__, __dir__ = lazy.modules(__name__, tuple(module.name for module in pkgutil.iter_modules(__path__)))
