"""The estimators and intervals that the study compares: a family for each kind of market.

A family prepares what does not depend on the target (reward models) once for a chunk of logs, and then returns
`{name: (estimate, low, high)}` for each target. The interval is that of the central limit theorem with the estimator's own
standard error, unless the name says otherwise. Options are the defaults of `jaxprice.ope`, but for those of the `Model`.

"direct" carries the noise of its fit into its interval (infinitesimal jackknife). "direct, fit ignored" takes the model as
given, as is common. Doubly robust estimators use predictions from three folds; "dr, past" predicts from earlier periods.

Each estimator with a loop inside (a fit by Newton's method, a recursion over periods) is a program of its own that has ended
when the next one starts, so the memory is that of one.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxprice import ope
from jaxprice.ope.estimate import Estimate, mean
from jaxprice.ope.estimators.kernels import default_bandwidth

BOOTSTRAPS = 400


class Model(NamedTuple):
    """A reward model: options of `ope.reward_model` and `ope.price_model`.

    Attributes:
      features: of an observation, one regression an action; or None.
      price_features: of an observation and a price, one regression for all; or None.
      outcome, link, ridge: as in `ope.reward_model`.
    """

    features: Callable | None = None
    price_features: Callable | None = None
    outcome: str = "reward"
    link: str = "identity"
    ridge: float = 1.0


MEANS = Model()  # the mean reward of each price


class Family(NamedTuple):
    """Estimators of one kind of market.

    Attributes:
      prepare: `(log, **more) -> prepared`, for all targets.
      estimate: `(key, log, target, certain, prepared, **more) -> {name: (estimate, low, high)}`.
    """

    prepare: Callable[..., Any]
    estimate: Callable[..., dict]


def alone(static=()):
    """A function as a compiled program that has ended when it returns."""

    def compiled(function):
        program = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def run(*args, **options):
            return jax.block_until_ready(program(*args, **options))

        return run

    return compiled


@alone(("model", "folds", "order"))
def predicted(log, model, folds=3, order="interleaved"):
    """Predicted rewards of all prices, `[..., T, num_actions]`."""
    return ope.reward_model(log, folds=folds, order=order, **model._asdict())


@alone(("model",))
def direct(log, target, model):
    """The direct method, with the noise of the fit."""
    return ope.direct_method(log, target, lambda w: ope.reward_model(log, folds=1, weights=w, **model._asdict()))


def models(log, model=MEANS):
    """Predictions for the estimators on a grid: fitted on everything, on other folds, on earlier folds."""
    return predicted(log, model, folds=1), predicted(log, model), predicted(log, model, order="past")


def on_a_grid(key, log, target, certain, prepared, model=MEANS):
    """All estimators for one decision at a time, on a price grid.

    Args:
      key: of the bootstrap.
      log: logs `[logs, T]`.
      target: probabilities `[logs, T, num_actions]` or `[num_actions]`.
      certain: whether the target is deterministic; replay is for those.
      prepared: what `models` returned.
      model: the reward model.
    """
    return with_clt({"direct": direct(log, target, model)}) | _weighted(key, log, target, prepared, certain)


@alone(("certain",))
def _weighted(key, log, target, prepared, certain):
    whole, crossed, past = prepared
    plain = ope.ips(log, target, allow_missing=True)
    found = {
        "direct, fit ignored": ope.direct_method(log, target, whole),
        "ips": plain,
        "clipped ips": ope.clipped_ips(log, target),
        "snips": ope.snips(log, target, allow_missing=True),
        "dr": ope.doubly_robust(log, target, crossed, allow_missing=True),
        "dr, past": ope.doubly_robust(log, target, past, allow_missing=True),
        "self-normalised dr": ope.self_normalised_dr(log, target, crossed, allow_missing=True),
        "switch-dr": ope.switch_dr(log, target, crossed),
        "shrunk dr": ope.shrunk_dr(log, target, crossed),
    }
    if certain:
        found["replay"] = ope.replay(log, target, allow_missing=True)
    made = with_clt(found)
    made["ips, bootstrap"] = plain, *ope.bootstrap(key, plain, replicates=BOOTSTRAPS)
    if log.probabilities is not None:
        weight = jnp.max(jnp.where(log.probabilities > 0, target / log.probabilities, 0.0), axis=(-2, -1))
        made["ips, Bernstein"] = plain, *ope.empirical_bernstein(plain, 0.0, weight * jnp.max(log.prices))
    return made


def flat(log):
    """Logs `[logs, E, T]` as `[logs, E * T]`: decisions without their seasons."""
    rest = jax.tree.map(lambda x: x.reshape(x.shape[0], -1, *x.shape[3:]), log.replace(prices=None))
    return rest.replace(prices=log.prices)


def over_decisions(log, states, num_states, model=MEANS):
    """Predictions for the estimators of single decisions, from other folds."""
    del states, num_states
    return predicted(flat(log), model)


def over_seasons(key, log, target, certain, prepared, states, num_states, model=MEANS):
    """Estimators of the value of a season, and those of single decisions, whose mean is multiplied by the periods.

    Args:
      key: not used.
      log: logs `[logs, E, T]` of `E` seasons.
      target: probabilities `[logs, E, T, num_actions]`.
      certain: not used.
      prepared: what `over_decisions` returned.
      states: units left before each decision, `[logs, E, T]`.
      num_states: number of states.
      model: the reward model of the estimators of single decisions.
    """
    del key, certain
    periods, alone_log = log.shape[-1], flat(log)
    alone_target = target.reshape(target.shape[0], -1, target.shape[-1])
    found = _per_decision(log, target) | {
        "marginalised": _marginalised(log, target, states, num_states),
        "fitted q": _fitted_q(log, target, states, num_states, False),
        "fitted q, pooled": _fitted_q(log, target, states, num_states, True),
    }
    myopic = {"direct, a decision": direct(alone_log, alone_target, model)} | _myopic(alone_log, alone_target, prepared)
    return with_clt(found | {name: _times(one, periods) for name, one in myopic.items()})


@alone()
def _per_decision(log, target):
    return {
        "per-decision": ope.per_decision(log, target, allow_missing=True),
        "self-normalised per-decision": ope.per_decision(log, target, self_normalised=True, allow_missing=True),
    }


@alone(("num_states",))
def _marginalised(log, target, states, num_states):
    return ope.marginalised(log, target, states, num_states, allow_missing=True)


@alone(("num_states", "pooled"))
def _fitted_q(log, target, states, num_states, pooled):
    return ope.fitted_q(log, target, ope.table_features(log, states, num_states), pooled=pooled)


@alone()
def _myopic(log, target, crossed):
    return {
        "ips, a decision": ope.ips(log, target, allow_missing=True),
        "snips, a decision": ope.snips(log, target, allow_missing=True),
        "dr, a decision": ope.doubly_robust(log, target, crossed, allow_missing=True),
    }


def nothing(log, model, support):
    """There is nothing to prepare for an interval: predictions are made at the prices of the target."""
    del log, model, support


def on_an_interval(key, log, price, certain, prepared, model, support):
    """Kernel estimators, for prices from an interval.

    Args:
      key, certain, prepared: not used.
      log: logs `[logs, T]` with densities.
      price: prices of the target, `[logs, T]`.
      model: the reward model.
      support: ends of the interval.
    """
    del key, certain, prepared
    crossed, whole = (_predicted_at(log, price, model, folds) for folds in (3, 1))
    return _kernels(log, price, crossed, whole, support)


@alone(("model", "folds"))
def _predicted_at(log, price, model, folds):
    options = model._asdict()
    del options["features"]
    return ope.price_model(log, price, folds=folds, **options)


@alone(("support",))
def _kernels(log, price, crossed, whole, support):
    narrow = 0.5 * default_bandwidth(log, "epanechnikov")
    kernel = functools.partial(ope.kernel_ips, log, price, support=support)
    robust = functools.partial(ope.kernel_dr, log, price, crossed, support=support)
    return with_clt(
        {
            "direct, fit ignored": mean(whole[0]),
            "kernel ips": kernel(),
            "kernel ips, half the bandwidth": kernel(bandwidth=narrow),
            "self-normalised kernel ips": kernel(self_normalised=True),
            "self-normalised kernel ips, half": kernel(self_normalised=True, bandwidth=narrow),
            "kernel dr": robust(),
            "kernel dr, half the bandwidth": robust(bandwidth=narrow),
            "self-normalised kernel dr": robust(self_normalised=True),
        }
    )


def with_clt(found: dict[str, Estimate]) -> dict:
    """Each estimate with its interval of the central limit theorem."""
    return {name: (one, *ope.clt(one)) for name, one in found.items()}


def _times(estimate, factor):
    """An estimate of `factor` times the value."""
    parts = (factor * part for part in (estimate.value, estimate.terms, estimate.influence))
    return Estimate(*parts, independent=estimate.independent)


GRID = Family(models, on_a_grid)
SEASONS = Family(over_decisions, over_seasons)
INTERVAL = Family(nothing, on_an_interval)
