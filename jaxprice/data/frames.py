"""pandas, imported at first use, and the names of its types.

The types are `Any`: pandas annotates most of its results as "frame or column", which a type checker cannot follow.
"""

from typing import Any, TypeAlias

Frame: TypeAlias = Any  # pandas.DataFrame
Column: TypeAlias = Any  # pandas.Series


def pandas() -> Any:
    """The module pandas.

    Raises:
      ImportError: it is not installed; the message says how to install it.
    """
    try:
        import pandas as module
    except ImportError as error:
        raise ImportError("tables of sales need pandas: pip install 'jaxprice[data]'") from error
    return module
