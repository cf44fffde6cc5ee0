"""Learners of `deep_rl`, their settings, and the cell that trains one of them on one market.

A learner is a `Recipe`: which trainer of `jaxprice.agents`, or which tabular learner, with which options. The same options
play all markets, except for the discount: .99 in markets without end, and 1 in seasons, whose agents see the time.

Settings were tried on seeds from 1000 on, which are not those of the tables; two to four runs each, mean share:

| learner, market, periods | tried |
|---|---|
| DQN, ReactiveRival, 80,000 | rewards as they are: rate .003 .921, .001 .915; centred .954, .941; epsilon .02 .956 |
| DQN, FiniteInventory, 64,000 | epsilon .05 .988, .02 .985 |
| PQN, ReactiveRival, 160,000 | rate .003: trace .9 .897, .65 .849; with epsilon .02 .890, .833; rate .001, .65, .02: .898 |
| PQN, Replenishment, 160,000 | rate .003: trace .9 .838, .65 .888; with epsilon .02 .951, .982; rate .001, .65, .02: .958 |
| PQN, ReactiveRival, 128,000 | epsilon .02: rate .002, trace .65 .886; .001, .8 .911; .001, .4 .923; .0005, .65 .920 |
| SAC, FiniteInventory, 160,000 | two gradient steps an update, rate .001: tau .01 .881, .02 .960 |
| SAC, FiniteInventory, 128,000 | the same, tau .05: rate .001 .971, .003 .977 |
| PPO, FiniteInventory, 300,000 | twelve settings of rate, trace and entropy, .979 to .995; a rate of .003 best |
"""

import dataclasses
import time

import jax
import numpy as np

from experiments.deep_rl import chains, markets, tabular
from jaxprice import agents


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of a learner.

    Attributes:
      trainer: module of `jaxprice.agents` with `train` and `Hyper`, or one of `tabular.LEARNERS`.
      options, hyper: arguments of `train`, and of `Hyper`.
      any_price: whether it posts any price of an interval.
      effort: factor of the preset's steps.
    """

    trainer: str
    options: dict = dataclasses.field(default_factory=dict)
    hyper: dict = dataclasses.field(default_factory=dict)
    any_price: bool = False
    effort: float = 1.0

    @property
    def deep(self):
        """Whether it trains a network."""
        return self.trainer not in tabular.LEARNERS


DQN = Recipe("dqn", hyper={"learning_rate": 3e-3, "tau": 0.05, "epsilon": 0.02})
PARTS = {"double": False, "dueling": False, "n_step": 1, "prioritised": False}  # what ablations take away


def recipes():
    """Name -> `Recipe` of the learners of the table."""
    parts = {"lanes": 16, "length": 32, "epochs": 4, "minibatches": 4}
    sac = {"learning_rate": 3e-3, "tau": 0.05}
    pqn = {"learning_rate": 2e-3, "trace": 0.65, "epsilon": 0.02, "explore": 0.6}
    deep = {
        "DQN": DQN,
        "PPO": Recipe("ppo", parts, {"learning_rate": 3e-3, "entropy": 0.02}, effort=2.0),
        "PQN": Recipe("pqn", parts, pqn, effort=3.0),
        "SAC": Recipe("sac", {"capacity": 100_000, "gradient_steps": 3}, sac, any_price=True, effort=2.0),
    }
    tables = {"Q-learning": "q_learning", "SARSA": "sarsa", "expected SARSA": "expected_sarsa"}
    return {name: recipe for name, recipe in deep.items() if hasattr(agents, recipe.trainer)} | {
        name: Recipe(learner, effort=2.0) for name, learner in tables.items()
    }


def ablations():
    """Name -> `Recipe`: DQN with all parts, which is that of the table, without one of them, and with none."""
    without = {
        f"DQN without {name}": dataclasses.replace(DQN, options=DQN.options | {name: off}) for name, off in PARTS.items()
    }
    return {"DQN": DQN} | without | {"DQN without all four": dataclasses.replace(DQN, options=DQN.options | PARTS)}


def plays(recipe, name):
    """Whether a learner can play a market."""
    return not recipe.any_price or name in markets.INTERVALS


def train(recipe, market, steps, seeds, points=20):
    """The result of training: `episodes.Trained`, or `tabular.Tables`."""
    steps = round(recipe.effort * steps)
    if not recipe.deep:
        return tabular.train(market, recipe.trainer, steps, seeds, **recipe.options)
    trainer = getattr(agents, recipe.trainer)
    hyper = trainer.Hyper(**{"discount": 0.99 if market.env.endless else 1.0} | recipe.hyper)
    return trainer.train(
        market.env, market.params, steps=steps, seeds=seeds, points=points, hyper=hyper, held_out=64, **recipe.options
    )


def measured(recipe, name, steps, runs, seed):
    """The cell of a learner on a market.

    Returns:
      dict of arrays: "share" `[runs]`, exact, of the final greedy seller; "actions" `[runs, T, S]` of it, or `[runs, T]`
      with the path of "references" `[runs, T]`; "curve_steps" and "curve_cpu_s" `[points]` (CPU seconds of all runs
      together) and "curve_share" `[points, runs]`; "steps"; "seconds" and "cpu_seconds" of training, with compilation.
    """
    market = markets.market(name, recipe.any_price)
    seeds = range(seed, seed + runs)
    start = time.perf_counter(), time.process_time()
    trained = train(recipe, market, steps, seeds)
    if recipe.deep:
        share, actions, path = chains.shares_of_runs(market.chain, trained)
    else:
        share, actions, path = tabular.shares_of_runs(market, trained)
    seconds = np.subtract((time.perf_counter(), time.process_time()), start)
    cell = {"share": share, "seconds": seconds[0], "cpu_seconds": seconds[1], "steps": round(recipe.effort * steps)}
    if name != "NetworkRevenue":  # thousands of states that differ by the last sale
        cell["actions"] = actions
    if path is not None:
        cell["references"] = path.reference
    if recipe.deep:
        of_market = market.chain.horizon * float(np.asarray(_oracle_reward(market)))
        cell |= {"curve_steps": trained.curve["steps"][:, 0], "curve_cpu_s": trained.curve["cpu_s"][:, 0]}
        cell["curve_share"] = trained.curve["held_out"] * (of_market / market.chain.optimum)
    return cell


def _oracle_reward(market):
    """What the market's own oracle is said to earn in a period: a bound in `NetworkRevenue`, otherwise the optimum."""
    _, state = market.env.reset_env(jax.random.key(0), market.params)
    return market.env.optimal_reward(state, market.params)
