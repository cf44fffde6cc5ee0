"""The registry of policy makers: a card for each, a description of what each call made, and one object per call.

A maker that is called twice with the same options returns the same Policy, so that compiled code is found again. Traced
hyperparameters pass through (`options`).
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from jaxprice import fingerprint
from jaxprice.policies import options

FAMILIES = (  # folders of policies, in the order of `README.md`
    "benchmarks",
    "stochastic",
    "adversarial",
    "moving",
    "contextual",
    "gradient",
    "tabular",
    "posted_price",
    "parametric",
    "personal",
    "inventory",
    "products",
    "related",
    "wrappers",
)

P = ParamSpec("P")
T = TypeVar("T")
_MAKERS = fingerprint.Registry("policies")
_WITH_ARGUMENTS = {}  # name -> function


class Card(NamedTuple):
    """A description of a policy.

    Attributes:
      name: name of its maker.
      family: folder of its file, one of `FAMILIES`.
      source: authors and year of the paper.
      regret: rate of the regret in the setting of the paper, as text.
      feedback: the observations that it learns from.
      options: hyperparameters and their defaults, a dict.
    """

    name: str
    family: str
    source: str
    regret: str
    feedback: str
    options: dict[str, Any]


def policy_maker(
    *, source: str = "", regret: str = "", feedback: str = "demand", kinds: Any = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Register a function that makes a Policy under its name. The family is the folder of its file.

    Args:
      source, regret, feedback: as in `Card`.
      kinds: name -> kind of an option, if its default does not show it (`options`).

    Raises:
      ValueError: the file is not in the folder of a family.
    """

    def register(function):
        family = family_of(function)
        make = options.maker(function, label=lambda policy: policy.act, kinds=kinds)
        make.__doc__ = documentation(function)
        defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
        _MAKERS[function.__name__] = make, Card(function.__name__, family, source, regret, feedback, defaults)
        return make

    return register


def maker_with_arguments(function, *, label=lambda policy: policy.act, kinds=(), check=None):
    """Register a maker that takes policies or a market; `makers` leaves it out. Arguments are those of `options.maker`."""
    make = options.maker(function, label=label, kinds=kinds, check=check)
    make.__doc__ = documentation(function)
    _WITH_ARGUMENTS[function.__name__] = make
    return make


def documentation(function):
    """What `help` shows of a maker: the docstring of its module, then its own, without the title if the module has the same.

    The module of a policy tells the problem, the update in formulas, the source, the rate and the departures from the paper.
    """
    module = inspect.getdoc(sys.modules[function.__module__]) or ""
    title, _, rest = (inspect.getdoc(function) or "").partition("\n\n")
    alone = function.__module__.rpartition(".")[2] == function.__name__
    return "\n\n".join(part for part in (*(() if alone else (title,)), module, rest) if part) + "\n"


def family_of(function):
    """The family of a function, from the folder of its file.

    Raises:
      ValueError: the file is not in the folder of a family.
    """
    family = function.__module__.removeprefix(f"{__package__}.").partition(".")[0]
    if family not in FAMILIES:
        folders = ", ".join(FAMILIES)
        raise ValueError(f"a policy must be in a folder of {__package__} ({folders}), got module {function.__module__!r}")
    return family


def names():
    """Names of all registered makers: policies, and makers that take policies or a market."""
    return sorted((*_MAKERS, *_WITH_ARGUMENTS))


def makers():
    """Name -> maker, for makers without required arguments."""
    return {name: make for name, (make, _) in sorted(_MAKERS.items())}


def makers_with_arguments(family):
    """Name -> maker, for the makers of a family that build a policy or a detector from others, or from a market."""
    return {name: make for name, make in sorted(_WITH_ARGUMENTS.items()) if family_of(make) == family}


def cards():
    """The `Card` of every policy, by family, then by name."""
    return sorted((card for _, card in _MAKERS.values()), key=lambda card: (FAMILIES.index(card.family), card.name))


def describe(policy):
    """The call that made a policy, such as `"ucb1(scale=2.0, signal='demand')"`.

    Raises:
      ValueError: no registered maker made the policy, or its hyperparameters were traced.
    """
    description = getattr(policy.act, "description", None)
    if description is None:
        raise ValueError(f"the policy {policy!r} has no description: give its act function one, act.description = '...'")
    return description
