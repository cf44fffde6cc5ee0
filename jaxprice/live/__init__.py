"""A seller at work: it quotes one buyer at a time, learns from sales that come late, and survives being killed."""

from typing import TYPE_CHECKING

from jaxprice import lazy
from jaxprice.live.guards import Guards
from jaxprice.live.journal import JournalError
from jaxprice.live.session import OutOfStock, Quote, Session

if TYPE_CHECKING:
    from jaxprice.live import serve

__getattr__, __dir__ = lazy.modules(__name__, ("serve",))

__all__ = ["Guards", "JournalError", "OutOfStock", "Quote", "Session", "serve"]
