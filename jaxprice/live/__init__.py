"""A seller at work: it quotes one buyer at a time, learns from sales that come late, and survives being killed."""

from jaxprice.live.guards import Guards
from jaxprice.live.journal import JournalError
from jaxprice.live.session import OutOfStock, Quote, Session

__all__ = ["Guards", "JournalError", "OutOfStock", "Quote", "Session"]
