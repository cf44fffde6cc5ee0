"""What all policy makers share: a list of them with what each is, a description of what they made, one object per call.

A maker called twice with the same options returns the same Policy, so that code compiled for it is found again. Traced
hyperparameters are passed through (`parts.options`).
"""

import inspect
from typing import Any, NamedTuple

from jaxprice import fingerprint
from jaxprice.policies.parts import options

FAMILIES = (
    "benchmark",
    "stochastic",
    "adversarial",
    "non-stationary",
    "contextual",
    "continuous price",
    "tabular",
    "posted price",
    "parametric",
    "contextual pricing",
    "inventory",
    "several products",
    "meta",
)

_MAKERS = fingerprint.Registry("policies")


class Card(NamedTuple):
    """What a policy is.

    Attributes:
      name: of its maker.
      family: one of `FAMILIES`.
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


def policy_maker(*, family, source="", regret="", feedback="demand", kinds=()):
    """Register a function that makes a Policy under its name.

    Args:
      family, source, regret, feedback: as in `Card`.
      kinds: name -> kind of an option, where its default does not tell (`parts.options`).
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")

    def register(function):
        make = options.maker(function, label=lambda policy: policy.act, kinds=kinds)
        defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
        _MAKERS[function.__name__] = make, Card(function.__name__, family, source, regret, feedback, defaults)
        return make

    return register


def makers():
    """Name -> function that makes the policy."""
    return {name: make for name, (make, _) in sorted(_MAKERS.items())}


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
