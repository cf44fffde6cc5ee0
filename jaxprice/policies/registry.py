"""What all policy makers share: a list of them with what each is, a description of what they made, one object per call.

A maker called twice with the same options returns the same Policy, so that code compiled for it is found again. Traced
hyperparameters are passed through (`options`).
"""

import inspect
from typing import Any, NamedTuple

from jaxprice import fingerprint
from jaxprice.policies import options

FAMILIES = (  # folders of policies, in the order of the page
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

_MAKERS = fingerprint.Registry("policies")
_WITH_ARGUMENTS = {}  # name -> function


class Card(NamedTuple):
    """What a policy is.

    Attributes:
      name: of its maker.
      family: the folder that its file is in, one of `FAMILIES`.
      source: the paper, authors and year.
      regret: rate of the regret in the setting of the paper, as text.
      feedback: what it learns from.
      options: hyperparameters and their defaults, a dict.
    """

    name: str
    family: str
    source: str
    regret: str
    feedback: str
    options: dict[str, Any]


def policy_maker(*, source="", regret="", feedback="demand", kinds=()):
    """Register a function that makes a Policy under its name; its family is the folder that its file is in.

    Args:
      source, regret, feedback: as in `Card`.
      kinds: name -> kind of an option, where its default does not tell (`options`).

    Raises:
      ValueError: the file lies in no folder of a family.
    """

    def register(function):
        family = family_of(function)
        make = options.maker(function, label=lambda policy: policy.act, kinds=kinds)
        defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
        _MAKERS[function.__name__] = make, Card(function.__name__, family, source, regret, feedback, defaults)
        return make

    return register


def maker_with_arguments(function, *, label=lambda policy: policy.act, kinds=(), check=None):
    """Register a maker that `makers` leaves out, since it takes policies or a market; arguments as of `options.maker`."""
    make = options.maker(function, label=label, kinds=kinds, check=check)
    _WITH_ARGUMENTS[function.__name__] = make
    return make


def family_of(function):
    """The family that the file of a function is in.

    Raises:
      ValueError: it lies in no folder of a family.
    """
    family = function.__module__.removeprefix(__package__ + ".").partition(".")[0]
    if family not in FAMILIES:
        folders = ", ".join(FAMILIES)
        raise ValueError(f"a policy must be in a folder of {__package__} ({folders}), got module {function.__module__!r}")
    return family


def names():
    """Names of all that is registered: policies, and makers that take policies or a market."""
    return sorted((*_MAKERS, *_WITH_ARGUMENTS))


def makers():
    """Name -> function that makes the policy, of those that need no arguments."""
    return {name: make for name, (make, _) in sorted(_MAKERS.items())}


def makers_with_arguments(family):
    """Name -> function that makes a policy or a detector out of others, or of a market, of the modules of a family."""
    return {name: make for name, make in sorted(_WITH_ARGUMENTS.items()) if family_of(make) == family}


def cards():
    """The `Card` of every policy, by family, then by name."""
    return sorted((card for _, card in _MAKERS.values()), key=lambda card: (FAMILIES.index(card.family), card.name))


def describe(policy):
    """How the policy was made, such as `"ucb1(scale=2.0, signal='demand')"`.

    Raises:
      ValueError: it was made by none of the registered makers, or with traced hyperparameters.
    """
    description = getattr(policy.act, "description", None)
    if description is None:
        raise ValueError(f"the policy {policy!r} has no description: give its act function one, act.description = '...'")
    return description
