"""What all policy makers share: a list of their names, a description of what they made, one object per call.

A maker called twice with the same numbers returns the same Policy, so that code compiled for it is found again. Traced
hyperparameters and arrays are passed through.
"""

import functools
import inspect

_MAKERS = {}


def policy_maker(function):
    """Register a function that makes a Policy under its name."""
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

    _MAKERS[function.__name__] = make
    return make


def makers():
    """Name -> function that makes the policy."""
    return dict(sorted(_MAKERS.items()))


def describe(policy):
    """How the policy was made, such as `"ucb1(scale=2.0, signal='demand')"`.

    Raises:
      ValueError: it was made by none of the registered makers, or with arrays.
    """
    description = getattr(policy.act, "description", None)
    if description is None:
        raise ValueError(f"the policy {policy!r} has no description: give its act function one, act.description = '...'")
    return description
