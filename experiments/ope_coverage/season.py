"""A season with a limited stock: the value of a season, where a price today costs sales tomorrow.

Four units, twelve periods, the four prices and purchase probabilities of Ferreira, Simchi-Levi and Wang (`FiniteInventory`),
and an action that offers nothing, the only one allowed when the stock is gone. A log has many seasons. Values are those of
the recursion over units and periods (`values.of_season`).

Estimators of single decisions answer another question: the reward of one decision of the target, in the stocks that the
logging seller reached. Times the number of periods that is not the value of a season.

Sellers: uniform prices; the best price of every period and stock of a prior guess (demand at high prices 1.5 times as
large), and with probability .3 any price; softmax of the guessed values. Targets: the best policy of the season, the best
fixed price, and softmax of the values of the actions.
"""

import functools

import jax.numpy as jnp
import numpy as np

import jaxprice
from experiments.ope_coverage import loggers, values
from experiments.ope_coverage.cases import Case, Logs, Target
from experiments.ope_coverage.estimators import SEASONS, Model
from jaxprice.envs.finite_inventory import DEFAULT_DEMAND, PRICES

PERIODS, STOCK, GUESS = 12, 4, (0.8, 0.7, 0.5, 0.3)


def cases(decisions: int) -> list[Case]:
    """The cells; a log has `decisions // PERIODS` seasons."""
    env, params = jaxprice.make("FiniteInventory", stock=STOCK, horizon=PERIODS, shut_off=True)
    prices, sales = np.append(PRICES, 0.0), np.append(DEFAULT_DEMAND, 0.0)
    targets = {name: (rule, values.of_season(rule, prices, sales)[STOCK]) for name, rule in rules(prices, sales).items()}
    laws = {"uniform": blocked(np.tile(np.append(np.full(4, 0.25), 0.0), (PERIODS, STOCK + 1, 1)))}
    guessed, gains = values.best_of_season(PERIODS, STOCK, prices, np.append(GUESS, 0.0))
    laws["epsilon-greedy"] = blocked(0.7 * np.eye(5)[guessed] + 0.3 * np.append(np.full(4, 0.25), 0.0))
    laws["softmax"] = blocked(soft(gains, 4.0))
    return [
        Case("stock", name, functools.partial(drawn, env, params, law.astype(np.float32), targets), SEASONS)
        for name, law in laws.items()
    ]


def rules(prices, sales):
    """Name -> probabilities of the actions for each period and stock, `[periods, units + 1, num_actions]`."""
    best, gains = values.best_of_season(PERIODS, STOCK, prices, sales)
    fixed = [blocked(np.tile(np.eye(5)[k], (PERIODS, STOCK + 1, 1))) for k in range(4)]
    worth = [values.of_season(rule, prices, sales)[STOCK] for rule in fixed]
    return {
        "best policy": blocked(np.eye(5)[best]),
        "best fixed price": fixed[int(np.argmax(worth))],
        "softmax": blocked(soft(gains, 2.0)),
    }


def soft(gains, temperature):
    """Softmax of the values of the actions that sell."""
    found = np.exp((gains - gains.max(axis=-1, keepdims=True)) / temperature)
    found[..., -1] = 0.0
    return found / found.sum(axis=-1, keepdims=True)


def blocked(law):
    """A rule that offers nothing where there is no stock."""
    law = np.array(law, float)
    law[:, 0] = np.eye(law.shape[-1])[-1]
    return law


def where(seen):
    """Period and stock of an observation `[..., 4]`."""
    return (jnp.round(seen[..., index] * size).astype(jnp.int32) for index, size in ((0, PERIODS), (3, STOCK)))


def drawn(env, params, law, targets, seed, logs, decisions):
    """Logs `[logs, E, PERIODS]` of seasons."""
    seasons = max(decisions // PERIODS, 2)

    def rule(seen):
        period, left = where(seen)
        return jnp.asarray(law)[period, left]

    log = jaxprice.record(env, loggers.following(rule), params=params, seed=seed, lanes=logs * seasons, horizon=PERIODS)
    log = log.replace(next_observation=None, demand=None, time=None)
    log = log.replace(
        **{
            name: jnp.reshape(x, (logs, seasons, *x.shape[1:]))
            for name in ("observation", "action", "price", "reward", "propensity", "probabilities")
            for x in [getattr(log, name)]
        }
    )
    period, left = where(log.observation)
    allowed = (left > 0)[..., None] != (jnp.arange(5) == 4)  # with stock a price, without it the action that offers nothing
    log = log.replace(allowed=allowed)
    made = {
        name: Target(
            jnp.asarray(target, jnp.float32)[period, left], {"": float(value)}, bool((target.max(axis=-1) == 1).all())
        )
        for name, (target, value) in targets.items()
    }
    return Logs(log, made, {"states": left, "num_states": STOCK + 1, "model": Model(features=stock_and_time)})


def stock_and_time(seen):
    """Features of the estimators of single decisions: share of the season passed, share of the stock left."""
    return seen[jnp.array([0, 3])]
