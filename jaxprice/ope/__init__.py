"""Off-policy evaluation: what a policy would have earned, from the log of another one, with an interval."""

from jaxprice.ope.log import DecisionLog

__all__ = ["DecisionLog"]
