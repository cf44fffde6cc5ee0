"""Buyers with features: a reward model that is right, one that is wrong, estimated propensities, and confounded prices.

| market | demand | reward model |
|---|---|---|
| features | logit in price and two features (`GLMDemand`) | logit with all of these terms: well specified |
| wrong model | linear valuations with noise that is a mixture (`LinearValuation`) | logit in the price alone |
| estimated propensities | as in "features"; the log lacks propensities | as in "features" |
| confounded | logit, with a demand shock of two values that the log does not contain | mean of each price |

In the confounded market the seller saw the shock and raised its price with it: rho is the correlation of price and shock,
and a seller with rho = 0 posts uniform prices. The log has neither the shock nor, unless the name says otherwise, the
propensity given the shock, but that over both shocks, as a price history gives it. What this adds to the estimate of an
inverse propensity estimator is exactly

    sum_a q(a) [ mean_s pi(a | s) r(a, s) / mean_s pi(a | s) - mean_s r(a, s) ].

Values are over the distribution of the buyers, not over those in the log.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from experiments.ope_coverage import loggers, values
from experiments.ope_coverage.cases import Case, Logs, Target
from experiments.ope_coverage.estimators import GRID, MEANS, Model
from jaxprice import ope

NUM_PRICES = 8
RHOS = (0.0, 0.2, 0.4, 0.6)
ALPHA, BETA = (1.0, 2.5, 0.0), (1.5, 0.0, 2.0)
SHOCKED = (0.5, 2.5)  # effect of the low and of the high shock


def cases(decisions: int) -> list[Case]:
    """The cells of the four markets."""
    grid = {"num_prices": NUM_PRICES, "low": 0.3, "high": 2.4, "horizon": decisions}
    env, params = jaxprice.make("GLMDemand", alpha=ALPHA, beta=BETA, context="uniform", **grid)
    guess = env.params_of(np.float32(ALPHA), 0.6 * np.float32(BETA))
    mixed, mixed_params = jaxprice.make(
        "LinearValuation", noise="mixture", theta=[1.2, 0.9, -0.6], context="uniform", scale=0.3, **grid
    )
    believed = mixed.params_of(
        np.float32([1.8, 0.4, 0.0]), mixed_params.weights, mixed_params.locations, mixed_params.scales, mixed_params.contexts
    )
    made, targets_of_features = [], None
    for name, market, numbers, wrong, ends, model in (
        ("features", env, params, guess, (0.0, 3**-0.5), Model(None, effects, "demand", "logit", 0.1)),
        (
            "wrong model",
            mixed,
            mixed_params,
            believed,
            (-(3**-0.5), 3**-0.5),
            Model(None, price_alone, "demand", "logit", 0.1),
        ),
    ):
        contexts = values.midpoints(3, *ends)
        targets = targets_of(values.rewards_of_buyer(market, numbers), contexts)
        targets_of_features = targets if market is env else targets_of_features
        for logging, rule in sellers(values.rewards_of_buyer(market, wrong)).items():
            draw = functools.partial(drawn, market, numbers, rule, targets, model)
            made.append(Case(name, logging, draw, GRID))
    return made + estimated(env, params, guess, targets_of_features) + confounded(decisions)


def effects(seen, price):
    """All terms of the market "features": features, the price and their products."""
    context = seen[-2:]
    return jnp.concatenate([context, price[None], price * context])


def price_alone(seen, price):
    """The price."""
    del seen
    return price[None]


def context_of(rule):
    """A rule for the observation, which ends with the three features of the buyer."""
    return lambda seen: rule(seen[-3:])


def sellers(guess):
    """Name -> rule of the features; `guess` maps features to the profits that the seller expects."""
    return {
        "uniform": loggers.uniform(NUM_PRICES),
        "epsilon-greedy": loggers.epsilon_greedy(guess, 0.2),
        "softmax, wide": loggers.softmax(guess, 0.15),
        "softmax, thin": loggers.softmax(guess, 0.05),
    }


def targets_of(rewards, contexts):
    """Name -> (rule of the features, its exact value, whether it is deterministic)."""
    average = values.over_buyers(rewards, contexts)
    best = (np.arange(NUM_PRICES) == average.argmax()).astype(np.float32)
    rules = {
        "best price of each buyer": (loggers.greedy(rewards), True),
        "best single price": (lambda context: jnp.asarray(best), True),
        "softmax": (loggers.softmax(rewards, 0.05), False),
    }
    return {
        name: (rule, float(values.over_buyers(lambda x, rule=rule: jnp.sum(rule(x) * rewards(x)), contexts)), certain)
        for name, (rule, certain) in rules.items()
    }


def drawn(env, params, rule, targets, model, seed, logs, decisions):
    """Logs of buyers with features."""
    policy = loggers.following(context_of(rule))
    log = jaxprice.record(env, policy, params=params, seed=seed, lanes=logs, horizon=decisions)
    made = {
        name: Target(ope.target(log, context_of(target)), {"": value}, certain)
        for name, (target, value, certain) in targets.items()
    }
    return Logs(log.replace(next_observation=None, time=None), made, {"model": model})


def estimated(env, params, guess, targets) -> list[Case]:
    """The cells whose logs lack propensities: estimated from the features, or from nothing but the prices."""
    rules = sellers(values.rewards_of_buyer(env, guess))
    model = Model(None, effects, "demand", "logit", 0.1)
    made = [
        ("softmax, wide: known", "softmax, wide", None),
        ("softmax, wide: from features", "softmax, wide", context_alone),
        ("softmax, wide: without features", "softmax, wide", constant_alone),
        ("epsilon-greedy: from features", "epsilon-greedy", context_alone),
    ]
    return [
        Case(
            "estimated propensities",
            name,
            functools.partial(drawn_without, env, params, rules[logging], targets, model, features),
            GRID,
        )
        for name, logging, features in made
    ]


def context_alone(seen):
    """The two features of a buyer."""
    return seen[-2:]


def constant_alone(seen):
    """Nothing of the buyer."""
    del seen
    return jnp.zeros(1)


def drawn_without(env, params, rule, targets, model, features, seed, logs, decisions):
    """Logs of buyers with features, whose propensities are estimated from the log; None keeps those of the seller."""
    found = drawn(env, params, rule, targets, model, seed, logs, decisions)
    if features is None:
        return found
    blind = found.log.replace(propensity=jnp.full(found.log.shape, jnp.nan), probabilities=None)
    log = jax.block_until_ready(ope.estimated_propensities(blind, features))
    return found._replace(log=log.replace(propensity_se=None))


def confounded(decisions: int) -> list[Case]:
    """The cells with confounded prices."""
    env, params = jaxprice.make(
        "GLMDemand",
        alpha=SHOCKED,
        beta=[2.0, 2.0],
        context="unit",
        num_prices=NUM_PRICES,
        low=0.3,
        high=2.4,
        horizon=decisions,
    )
    rewards = shocked_rewards(env, params)
    targets = confounded_targets(rewards)
    made = [(f"rho = {rho:g}", rho, False) for rho in RHOS]
    made.append((f"rho = {RHOS[-1]:g}, propensity given the shock", RHOS[-1], True))
    return [
        Case("confounded", name, functools.partial(drawn_confounded, env, params, rho, given, targets, rewards), GRID)
        for name, rho, given in made
    ]


def shocked_rewards(env, params):
    """Expected rewards of each price under each shock, float64 `[2, num_prices]`."""
    return np.asarray(jax.vmap(values.rewards_of_buyer(env, params))(jnp.eye(2)), float)


def confounded_targets(rewards):
    """Name -> probabilities, `[num_prices]`."""
    mean = rewards.mean(axis=0)
    soft = np.exp((mean - mean.max()) / 0.05)
    return {"best price": np.eye(NUM_PRICES)[mean.argmax()], "softmax": soft / soft.sum()}


def tilted(rho):
    """Probabilities of the prices under the low and the high shock whose correlation with it is `rho`, `[2, num_prices]`."""
    z = np.linspace(-1, 1, NUM_PRICES)

    def law(tilt):
        p = np.exp(tilt * z)
        p /= p.sum()
        return np.stack([p[::-1], p])

    def correlation(tilt):
        high = law(tilt)[1]
        return (high @ z) / np.sqrt(high @ z**2)  # the mean over both shocks is 0

    low, top = 0.0, 50.0
    for _ in range(60):
        middle = (low + top) / 2
        low, top = (middle, top) if correlation(middle) < rho else (low, middle)
    return law(low)


def added(rho, rule, rewards):
    """The bias of an inverse propensity estimator with the propensities over both shocks; see the module."""
    law = tilted(rho)
    return float(rule @ ((law * rewards).mean(axis=0) / law.mean(axis=0) - rewards.mean(axis=0)))


def drawn_confounded(env, params, rho, given, targets, rewards, seed, logs, decisions):
    """Logs whose prices follow a shock that the log does not contain."""
    law = tilted(rho).astype(np.float32)
    policy = loggers.following(lambda seen: seen[-2:] @ jnp.asarray(law))
    log = jaxprice.record(env, policy, params=params, seed=seed, lanes=logs, horizon=decisions)
    if not given:
        mean = jnp.broadcast_to(jnp.asarray(law.mean(axis=0)), log.probabilities.shape)
        log = log.replace(probabilities=mean, propensity=mean[0, 0][log.action])
    made = {
        name: Target(jnp.asarray(rule, jnp.float32), {"": float(rule @ rewards.mean(axis=0))}, bool(rule.max() == 1))
        for name, rule in targets.items()
    }
    return Logs(log.replace(observation=None, next_observation=None, demand=None, time=None), made, {"model": MEANS})
