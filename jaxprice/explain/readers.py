"""Readers: what the state of a policy says of each price, found by the parts of the state and not by the policy's name.

Policies of one kind keep the same parts: sums over arms, Beta posteriors, a linear model, a line, the books of a stock, a
table. A reader names the fields that it needs, and reads every state that has them,

    @reader("signal", "arms", names=("ucb1", ...))
    def sums_over_arms(state, view): ...  # -> Reading

so a new policy built on the same parts is explained without a line of code. States of wrappers are opened first: the unit
of money of `parts.scale`, an own grid, guards, delays, batches, restarts, copies for each context. Options that are not in
the state, such as a prior, are read from the description of the policy, `"gaussian_thompson(mean=0.5, ...)"`.
"""

import ast
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice.types import Problem

OPENED = ("inner", "copies")  # fields that hold the state of a policy inside


@dataclasses.dataclass(frozen=True)
class Told:
    """The call that made a policy: its name, its options, and the same of the policy inside, or None."""

    name: str = ""
    options: dict = dataclasses.field(default_factory=dict)
    inner: Any = None

    def number(self, name, default):
        """A numeric option; the default where it is not told."""
        value = self.options.get(name, default)
        return default if value is None else np.asarray(value, float)


@dataclasses.dataclass(frozen=True)
class View:
    """What a reader may look at besides the state.

    Attributes:
      problem: the problem of the seller.
      observation: what the seller sees, or None.
      prices: the prices to judge, money, float64 `[K]`.
      costs: cost of a unit, money, float64 scalar or `[K]`.
      unit: the unit of money of the state.
      told: the call that made the policy.
      normals: function from a shape to standard normal draws, float64 `[draws, ...]`.
      act: the `act` of the policy.
    """

    problem: Problem
    observation: Any
    prices: np.ndarray
    costs: Any
    unit: float
    told: Told
    normals: Callable
    act: Any = None

    @property
    def margins(self):
        """Profit of a unit at each price, money, `[K]`."""
        return self.prices - self.costs

    @property
    def buyers(self):
        """Buyers of a period."""
        return self.problem.buyers

    def context(self, form):
        """The context of `features.Features`, as the policy reads it.

        Raises:
          ValueError: there is no observation.
        """
        if self.observation is None:
            raise ValueError("observation must be given for a policy that sees the features of a buyer, got None")
        return form.context(jnp.asarray(self.observation))


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a state says.

    Attributes:
      law: the law of the profit of a period at each price, see `laws`.
      outcome: the law of an outcome, as in `laws.Independent.exploration`.
      assumes: what is assumed beyond the state, a phrase; "" if nothing is.
      demand, demand_std: mean demand of a period and its standard deviation, float64 `[K]`; None if it is not known.
      counts: number of periods at each price, `[K]`; None if the state does not tell.
      prices: prices of the policy's own, if they are not those asked for.
      best, information: as in `laws.Exploration`, `[K]`, if they are not those of the law.
    """

    law: Any
    outcome: Any = "bernoulli"
    assumes: str = ""
    demand: Any = None
    demand_std: Any = None
    counts: Any = None
    prices: Any = None
    best: Any = None
    information: Any = None


_READERS = []  # (fields, names, function), the first that fits is used


def reader(*fields, names=(), of=None):
    """Register a function `(state, view) -> Reading` for states that have all these fields.

    Args:
      *fields: names of fields.
      names: policies of the catalogue whose states it reads.
      of: a class of states, or a function to one (imported late); only these are read.
    """

    def register(function):
        _READERS.append((fields, tuple(names), of, function))
        return function

    return register


def names():
    """Names of the policies of the catalogue with a belief, sorted."""
    return sorted({name for _, names, _, _ in _READERS for name in names})


def find(state):
    """The reader of a state, or None."""
    for fields, _, of, function in _READERS:
        if all(getattr(state, field, None) is not None for field in fields) and (of is None or isinstance(state, of)):
            return function
    return None


def opened(state, view):
    """`(state, view)` of the policy inside all wrappers that only pass decisions on."""
    while True:
        inner = getattr(state, "inner", None)
        if inner is None and hasattr(state, "copies"):
            inner = _copy(state, _cell(state, view))
        if inner is None:
            return state, view
        if hasattr(state, "unit"):
            view = dataclasses.replace(view, unit=view.unit * float(state.unit))
        elif hasattr(state, "prices") and hasattr(state, "high") and not hasattr(state, "age"):  # a grid of its own
            view = dataclasses.replace(view, prices=np.asarray(state.prices, float))
        elif view.told.inner is not None:
            view = dataclasses.replace(view, told=view.told.inner)
        state = inner


def _copy(state, which):
    """The state of one copy of `per_context`."""
    return jax.tree.map(lambda x: x[which], state.copies)


def _cell(state, view):
    """Number of the copy of `per_context` that decides."""
    if view.observation is None:
        raise ValueError("observation must be given for a policy with a copy for each context, got None")
    bins, low, high = (view.told.number(name, default) for name, default in (("bins", 2), ("low", -1.0), ("high", 1.0)))
    context = np.asarray(view.observation, np.float32)[-state.size :]
    part = np.clip(np.floor((context - low) * (bins / (high - low))), 0, bins - 1).astype(int)
    return int(np.sum(part * np.asarray([int(bins) ** i for i in range(state.size)])))


def told(policy):
    """The `Told` of a policy; an empty one if it has no description."""
    try:
        return _call(ast.parse(getattr(policy.act, "description", ""), mode="eval").body)
    except (SyntaxError, ValueError):
        return Told()


def _call(node):
    if not isinstance(node, ast.Call):
        return Told()
    inner = next((_call(part) for part in node.args if isinstance(part, ast.Call)), None)
    options = {}
    for part in node.keywords:
        try:
            options[part.arg] = ast.literal_eval(part.value)
        except ValueError:
            continue
    return Told(ast.unparse(node.func), options, inner)


def numbers(tree):
    """Arrays of a tree as float64."""
    return jax.tree.map(lambda x: np.asarray(x, float), tree)
