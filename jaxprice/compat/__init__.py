"""Views of jaxprice's markets for other libraries: `compat.gymnax` and `compat.gymnasium`, each with an extra of its name.

The core imports neither; a view is imported when it is first asked for, as in `jaxprice.compat.gymnax`.
"""

from jaxprice import lazy

__getattr__, __dir__ = lazy.modules(__name__, ("gymnasium", "gymnax", "markets"))
