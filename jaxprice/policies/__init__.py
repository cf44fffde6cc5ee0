"""Policies, one algorithm a file: functions that return a `Policy(init, act, update)`.

`jaxprice.policies.ucb1(scale=2.0)` makes one; `list()` names them all, and `cards()` says what each is.
"""

from jaxprice import checks
from jaxprice.policies.epsilon_greedy import epsilon_greedy
from jaxprice.policies.exp3 import exp3
from jaxprice.policies.explore_then_commit import explore_then_commit
from jaxprice.policies.fixed_price import fixed_price
from jaxprice.policies.gaussian_thompson import gaussian_thompson
from jaxprice.policies.kl_ucb import kl_ucb
from jaxprice.policies.oracle import oracle
from jaxprice.policies.random_price import random_price
from jaxprice.policies.registry import Card, cards, describe, makers
from jaxprice.policies.sellers import sellers
from jaxprice.policies.thompson import thompson
from jaxprice.policies.ucb1 import ucb1
from jaxprice.policies.ucb_tuned import ucb_tuned

__all__ = [
    "Card",
    "cards",
    "describe",
    "epsilon_greedy",
    "exp3",
    "explore_then_commit",
    "fixed_price",
    "gaussian_thompson",
    "kl_ucb",
    "list",
    "make",
    "oracle",
    "random_price",
    "sellers",
    "thompson",
    "ucb1",
    "ucb_tuned",
]


def list():
    """Names of all policies, sorted."""
    return sorted(makers())


def make(name, **options):
    """A policy by name; `make("ucb1", scale=1.0)` is `ucb1(scale=1.0)`.

    Raises:
      ValueError: an unknown name (the message names the nearest), or bad options.
    """
    known = makers()
    return known[checks.choice("policy", name, known)](**options)
