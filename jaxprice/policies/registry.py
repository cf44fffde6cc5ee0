"""What all policy makers share: a list of them with what each is, a description of what they made, one object per call.

A maker called twice with the same numbers returns the same Policy, so that code compiled for it is found again. Traced
hyperparameters and arrays are passed through.
"""

import functools
import inspect
from typing import Any, NamedTuple

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

_MAKERS = {}


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


def policy_maker(*, family, source="", regret="", feedback="demand"):
    """Register a function that makes a Policy under its name; the arguments are those of `Card`."""
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")

    def register(function):
        cached = functools.lru_cache(maxsize=256, typed=True)(function)
        signature = inspect.signature(function)

        @functools.wraps(function)
        def make(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            if not all(isinstance(x, int | float | str | type(None)) for x in bound.arguments.values()):
                return function(**bound.arguments)
            policy = cached(**bound.arguments)
            options = ", ".join(f"{name}={value!r}" for name, value in bound.arguments.items())
            policy.act.description = f"{function.__name__}({options})"
            return policy

        options = {name: parameter.default for name, parameter in signature.parameters.items()}
        _MAKERS[function.__name__] = make, Card(function.__name__, family, source, regret, feedback, options)
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
      ValueError: it was made by none of the registered makers, or with arrays.
    """
    description = getattr(policy.act, "description", None)
    if description is None:
        raise ValueError(f"the policy {policy!r} has no description: give its act function one, act.description = '...'")
    return description
