"""Markets without features on a price grid: posted prices, the calibrated apples, and demand that drifts.

| market | demand | the seller's prior guess |
|---|---|---|
| posted prices | logit, best price .44 of 8 prices in [.1, 1] | half the price sensitivity, best price .87 |
| apple | logit fitted to a survey with randomised prices, 8 prices in its range | half the price sensitivity |
| drift | a random walk between two logit curves over twice the log, with steps of .05 | that of the posted prices |

In the market that drifts, the value of a target over the logged periods and over as many periods after them are both asked.
No estimator can know the second: the log ends before it.

Sellers: uniform prices; the best price of the prior guess, and with probability .2 any price; softmax of the guessed
profits, wide and thin; Thompson sampling and Exp3, which learn while they log. Targets: the best price of the market;
softmax of its profits.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from experiments.ope_coverage import loggers, values
from experiments.ope_coverage.cases import Case, Logs, Target
from experiments.ope_coverage.estimators import GRID
from jaxprice import demand, policies

NUM_PRICES = 8


def cases(decisions: int) -> list[Case]:
    """The cells of the three markets."""
    curve, guess = demand.Logit(np.float32(6.0), np.float32(-3.0)), demand.Logit(np.float32(3.0), np.float32(-3.0))
    grid = {"num_prices": NUM_PRICES, "low": 0.1, "high": 1.0, "horizon": 2 * decisions}
    env, params = jaxprice.make("PostedPrice", demand=curve, **grid)
    apple, apple_params = jaxprice.make("apple", num_prices=NUM_PRICES, horizon=decisions)
    cheap = demand.Logit(0.5 * apple_params.demand.slope, 0.5 * apple_params.demand.intercept)
    moved = [params, env.params_of(demand.Logit(np.float32(4.0), np.float32(-4.0)))]
    drifting, drifting_params = jaxprice.make(
        "NonStationary", market=env, kind="drift", markets=moved, step=0.05, horizon=2 * decisions
    )
    made = []
    for name, market, numbers, believed, only in (
        ("posted prices", env, params, guess, None),
        ("apple", apple, apple_params, cheap, ("uniform", "softmax, thin", "exp3")),
    ):
        prices = np.asarray(numbers.prices)
        truth = values.rewards_of_state(market, numbers)
        targets = targets_of(truth)
        for logging, policy in sellers(prices, np.asarray(believed.mean(prices) * prices), only).items():
            draw = functools.partial(constant, market, numbers, policy, targets, truth)
            made.append(Case(name, logging, draw, GRID))
    prices, start = np.asarray(params.prices), values.rewards_of_state(env, params)
    for logging, policy in sellers(
        prices, np.asarray(guess.mean(prices) * prices), ("uniform", "epsilon-greedy", "exp3")
    ).items():
        draw = functools.partial(moving, drifting, drifting_params, policy, targets_of(start))
        made.append(Case("drift", logging, draw, GRID))
    return made


def sellers(prices, guess, only=None):
    """Name -> policy; `guess` holds the profits that the seller expects at each price, `[num_prices]`."""
    guess = guess.astype(np.float32)
    unit = float(guess.max() - guess.min())
    made = {
        "uniform": loggers.following(loggers.uniform(len(prices))),
        "epsilon-greedy": loggers.following(loggers.epsilon_greedy(lambda seen: jnp.asarray(guess), 0.2)),
        "softmax, wide": loggers.following(loggers.softmax(lambda seen: jnp.asarray(guess), 0.3 * unit)),
        "softmax, thin": loggers.following(loggers.softmax(lambda seen: jnp.asarray(guess), 0.08 * unit)),
        "thompson": policies.thompson(),
        "exp3": policies.exp3(),
    }
    return {name: policy for name, policy in made.items() if only is None or name in only}


def targets_of(rewards):
    """Name -> probabilities of the prices, float32 `[num_prices]`, of the targets for the given expected rewards."""
    scaled = rewards / (0.15 * (rewards.max() - rewards.min()))
    soft = np.exp(scaled - scaled.max())
    best = np.arange(len(rewards)) == rewards.argmax()
    return {"best price": best.astype(np.float32), "softmax": (soft / soft.sum()).astype(np.float32)}


def constant(env, params, policy, targets, rewards, seed, logs, decisions):
    """Logs of a market that does not change."""
    log = jaxprice.record(env, policy, params=params, seed=seed, lanes=logs, horizon=decisions)
    made = {
        name: Target(jnp.asarray(rule), {"": float(rule.astype(float) @ rewards)}, bool(rule.max() == 1))
        for name, rule in targets.items()
    }
    return Logs(without_memory(log), made, {})


def moving(env, params, policy, targets, seed, logs, decisions):
    """The first half of logs of a market that drifts; values over that half, and over the other."""
    log, truth = jaxprice.record(env, policy, params=params, seed=seed, lanes=logs, horizon=2 * decisions, truth=True)
    log = without_memory(log[:, :decisions])
    now, later = (np.asarray(part, float).mean(axis=1) for part in (truth[:, :decisions], truth[:, decisions:]))
    made = {
        name: Target(jnp.asarray(rule), {"": now @ rule, ", next periods": later @ rule}, bool(rule.max() == 1))
        for name, rule in targets.items()
    }
    return Logs(log, made, {})


def without_memory(log):
    """The log without its observations, which nothing needs here, so that it takes less memory."""
    return jax.tree.map(jnp.asarray, log.replace(observation=None, next_observation=None, demand=None, time=None))
