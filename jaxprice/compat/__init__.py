"""Views of jaxprice's markets for other libraries: `compat.gymnax` and `compat.gymnasium`, each with an extra of that name.

The core imports neither of them. A view is imported at first use, for example `jaxprice.compat.gymnax`.
"""

from typing import TYPE_CHECKING

from jaxprice import lazy

if TYPE_CHECKING:
    from jaxprice.compat import gymnasium, gymnax, markets

__all__ = ["gymnasium", "gymnax", "markets"]

__getattr__, __dir__ = lazy.modules(__name__, __all__)
