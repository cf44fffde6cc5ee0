"""Prices from an interval: a logged price equals that of the target with probability zero, so kernels compare near ones.

The market is `GLMDemand` with a feature of the buyer and any price in [.3, 2.4]. The reward model is logit in feature, price
and their product: well specified. Sellers: uniform prices; a normal distribution around the best price of a prior guess,
with standard deviation .5, cut to the interval. Targets: the best price of each buyer; the best single price. Values: the
midpoint rule over the feature.

The intervals of kernel estimators leave out the bias of the kernel, of order bandwidth squared. Half the bandwidth has a
quarter of it and a larger variance.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from experiments.ope_coverage import loggers, values
from experiments.ope_coverage.cases import Case, Logs, Target
from experiments.ope_coverage.estimators import INTERVAL, Model
from jaxprice.envs.market import Visit

LOW, HIGH = 0.3, 2.4


def cases(decisions: int) -> list[Case]:
    """The cells."""
    env, params = jaxprice.make(
        "GLMDemand", alpha=[1.0, 2.0], beta=[1.5, 0.8], context="uniform", low=LOW, high=HIGH, horizon=decisions
    )
    guess = env.params_of(np.float32([1.0, 2.0]), np.float32([1.0, 0.5]))
    targets = targets_of(env, params)
    around = functools.partial(best_price, env, guess)
    policies = {
        "uniform": loggers.truncated_normal(around, math.inf, LOW, HIGH),
        "normal around the guess": loggers.truncated_normal(lambda seen: around(seen[-2:]), 0.5, LOW, HIGH),
    }
    return [
        Case("any price", name, functools.partial(drawn, env, params, policy, targets), INTERVAL)
        for name, policy in policies.items()
    ]


def best_price(env, params, context):
    """The best price of a buyer, inside the interval."""
    return env.best(params, Visit(jnp.int32(0), context))


def targets_of(env, params):
    """Name -> (price of the features, exact value)."""
    contexts = values.midpoints(2, 0.0, 2**-0.5, 4000)
    tried = jnp.linspace(LOW, HIGH, 400)

    def reward(context, price):
        return env.expected_reward(Visit(jnp.int32(0), context), price, params)

    mean = values.over_buyers(lambda x: jax.vmap(lambda price: reward(x, price))(tried), contexts)
    single = np.float32(tried[np.argmax(mean)])
    prices = {
        "best price of each buyer": functools.partial(best_price, env, params),
        "best single price": lambda context: jnp.float32(single),
    }
    return {
        name: (price, float(values.over_buyers(lambda x, price=price: reward(x, price(x)), contexts)))
        for name, price in prices.items()
    }


def drawn(env, params, policy, targets, seed, logs, decisions):
    """Logs `[logs, T]` with densities."""
    log = jaxprice.record(env, policy, params=params, seed=seed, lanes=logs, horizon=decisions)
    made = {
        name: Target(jax.vmap(jax.vmap(price))(log.observation[..., -2:]), {"": value}, True)
        for name, (price, value) in targets.items()
    }
    model = Model(price_features=effects, outcome="demand", link="logit", ridge=0.1)
    return Logs(log.replace(next_observation=None, time=None), made, {"model": model, "support": (LOW, HIGH)})


def effects(seen, price):
    """Feature, price and their product."""
    return jnp.stack([seen[-1], price, price * seen[-1]])
