"""The estimators that `evaluate` knows by name, each as a function of a log, a target and a model of the rewards."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.ope import estimators as known
from jaxprice.ope.estimate import Estimate
from jaxprice.ope.log import DecisionLog

CLIP = 10.0


class Model(NamedTuple):
    """Predicted rewards `[..., T, num_actions]`, and a function from the weights of decisions to them, or None."""

    predicted: Any
    refit: Callable | None


class Entry(NamedTuple):
    """An estimator by name.

    Attributes:
      run: maps a log, a target and a `Model` to an estimate.
      needs_model: whether it uses predicted rewards.
      needs_support: whether it needs overlap.
      horizons: whether it is for logs of selling horizons.
      largest: largest weight in its terms if these are weights times rewards, else None.
    """

    run: Callable[[DecisionLog, Any, Model], Estimate]
    needs_model: bool = False
    needs_support: bool = True
    horizons: bool = False
    largest: float | None = None


@functools.cache
def entries() -> dict[str, Entry]:
    """The estimators that `evaluate` knows by name, with their default options."""

    def weighted(run, **options):
        return Entry(lambda log, target, _: run(log, target), **options)

    def robust(run, **options):
        return Entry(lambda log, target, model: run(log, target, model.predicted), needs_model=True, **options)

    def direct(log, target, model):
        return known.direct_method(log, target, model.predicted if model.refit is None else model.refit)

    normalised = functools.partial(known.per_decision, self_normalised=True)
    return {
        "replay": weighted(known.replay),
        "ips": weighted(known.ips, largest=math.inf),
        "clipped_ips": weighted(functools.partial(known.clipped_ips, clip=CLIP), needs_support=False, largest=CLIP),
        "snips": weighted(known.snips),
        "direct_method": Entry(direct, needs_model=True, needs_support=False),
        "doubly_robust": robust(known.doubly_robust),
        "self_normalised_dr": robust(known.self_normalised_dr),
        "switch_dr": robust(known.switch_dr, needs_support=False),
        "shrunk_dr": robust(known.shrunk_dr, needs_support=False),
        "per_decision": weighted(known.per_decision, horizons=True),
        "self_normalised_per_decision": weighted(normalised, horizons=True),
    }


def chosen(
    target: Any, horizons: bool, estimators: Iterable[str] | Mapping[str, Callable] | None
) -> tuple[tuple[str, Entry], ...]:
    """`(name, entry)` of the estimators that were asked for.

    Args:
      target: probabilities of the target, or None for a function of the observation.
      horizons: whether a log is `[E, T]`.
      estimators: as in `evaluate`.

    Raises:
      ValueError: an unknown name, or an estimator for logs of another form.
    """
    listed = entries()
    if isinstance(estimators, Mapping):
        return tuple((name, _custom(run, horizons)) for name, run in estimators.items())
    if estimators is None:
        random = target is None or not bool(jnp.all((target == 0) | (target == 1)))
        return tuple(
            (name, entry) for name, entry in listed.items()
            if entry.horizons == horizons and not (name == "replay" and random)
        )  # fmt: skip
    for name in estimators:
        checks.choice("estimator", name, listed)
        if listed[name].horizons != horizons:
            raise ValueError(f"estimator {name!r} needs horizons={listed[name].horizons}, got horizons={horizons}")
    return tuple((name, listed[name]) for name in estimators)


@functools.lru_cache(maxsize=64)
def _custom(run, horizons):
    return Entry(lambda log, target, model: run(log, target, model.predicted), needs_model=not horizons, horizons=horizons)
