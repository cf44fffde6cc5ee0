"""What a policy believes: for every price, expected demand and profit, their spread, and what exploring is worth.

    belief = explain.belief(policy, state, problem, observation)
    print(belief.table())
    belief.plot()

The belief is read from the state of the policy (`readers`); a trained agent, whose state is a memory, is asked what it would
do after each outcome (`counterfactual`). Probabilities of being best and the value of exploring are integrals, sums, or
draws with a standard error (`laws`). Everything is computed on the host in float64, for one lane.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxprice import checks
from jaxprice.agents import trained
from jaxprice.explain import arm_readers, line_readers, readers, regression_readers, table_readers
from jaxprice.explain.counterfactual import counterfactual
from jaxprice.explain.laws import Known
from jaxprice.explain.readers import Reading, View
from jaxprice.ope.propensities import check_policy, propensities
from jaxprice.types import Discrete, Interval, Policy, Problem

INTERVAL = 21  # prices of an interval, if none are given
KINDS = arm_readers, line_readers, regression_readers, table_readers


@dataclasses.dataclass(frozen=True)
class Belief:
    """What a policy believes of each price; arrays are float64 `[K]`, per period, in money.

    Attributes:
      policy: name of the policy, or of the kind of its state.
      prices: the prices.
      demand, demand_std: expected demand and its standard deviation; None if the state does not tell, NaN at prices where it
        does not.
      profit, profit_std: expected profit and its standard deviation (None: the state holds no spread). For a table of
        values, the discounted profit from now on.
      best, best_se: probability that the price is the best one, and its standard error (0: not drawn).
      regret: expected regret of the price, E[max profit] - profit.
      information: information of one outcome at the price on which price is best, in nats.
      counts: number of periods at each price, after discounting if the policy does so; None if the state does not tell.
      chosen, chosen_se: probability that the policy posts the price next; None if it was not asked for, or on an interval.
      assumes: what is assumed beyond the state, a phrase; "" if nothing is.
    """

    policy: str
    prices: Float[np.ndarray, " K"]
    demand: Any
    demand_std: Any
    profit: Float[np.ndarray, " K"]
    profit_std: Any
    best: Float[np.ndarray, " K"]
    best_se: Float[np.ndarray, " K"]
    regret: Float[np.ndarray, " K"]
    information: Float[np.ndarray, " K"]
    counts: Any = None
    chosen: Any = None
    chosen_se: Any = None
    assumes: str = ""

    def columns(self):
        """Name -> array of the columns that are known."""
        names = (
            "prices",
            "demand",
            "demand_std",
            "profit",
            "profit_std",
            "best",
            "regret",
            "information",
            "counts",
            "chosen",
        )
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def table(self):
        """The columns as text, one line a price."""
        columns = self.columns()
        lines = ["".join(f"{name:>12}" for name in columns)]
        lines += ["".join(f"{value:12.4g}" for value in row) for row in zip(*columns.values(), strict=True)]
        return "\n".join(lines)

    def plot(self, ax=None):
        """Draw the belief; see `pictures.belief`."""
        from jaxprice.explain import pictures

        return pictures.belief(self, ax)


def belief(
    policy: Policy,
    state: Any,
    problem: Problem,
    observation: Any = None,
    *,
    prices: Any = None,
    chosen: bool = True,
    draws: int = 20_000,
    seed: int = 0,
) -> Belief:
    """What `policy` believes in `state`.

    Args:
      policy: a `Policy`, also a trained agent or a policy inside wrappers.
      state: its state, of one lane.
      problem: the problem of the seller.
      observation: what it sees before the sale; needed by policies that see features or a table's state.
      prices: prices of an interval to judge, float `[K]`; by default 21 from the lowest to the highest.
      chosen: whether the probabilities of the next action are computed (on a price grid).
      draws: number of draws where prices share parameters.
      seed: seed of these draws.

    Raises:
      ValueError: the policy is none, no belief is known for its state, or an argument is missing or out of range.
    """
    check_policy(policy)
    chosen, draws = checks.boolean("chosen", chosen), checks.positive_int("draws", draws)
    if not isinstance(problem, Problem):
        raise ValueError(f"problem must be a Problem, such as env.problem(params), got {checks.shown(problem)}")
    state = jax.tree.map(jnp.asarray, state)
    told, judged = readers.told(policy), _prices(problem, prices)
    if isinstance(state, trained.State):
        reading, name = _asked(policy, state, problem, observation), told.name or "agent"
    else:
        view = View(problem, observation, judged, _costs(problem), 1.0, told, _normals(draws, seed), policy.act)
        inner, view = readers.opened(state, view)
        read = readers.find(inner)
        name = view.told.name or type(inner).__module__.rpartition(".")[2]
        if read is None:
            raise ValueError(
                f"no belief is known for the state of {name} ({type(inner).__name__}); one is known for trained agents on a "
                f"price grid and for {', '.join(readers.names())}, in wrappers too"
            )
        reading = read(inner, view)
    own = judged if reading.prices is None else np.asarray(reading.prices, float)
    value = reading.law.exploration(reading.outcome)
    grid = isinstance(problem.action_space, Discrete) and not problem.action_space.shape
    law = _chosen(policy, state, problem, observation) if chosen and grid else (None, None)
    best = value.best if reading.best is None else reading.best
    information = value.information if reading.information is None else reading.information
    std = None if reading.law.std is None else np.asarray(reading.law.std)
    shown = {"counts": reading.counts, "chosen": law[0], "chosen_se": law[1], "assumes": reading.assumes}
    told_demand = reading.demand, reading.demand_std
    return Belief(
        name, own, *told_demand, np.asarray(reading.law.mean), std, best, value.best_se, value.regret, information, **shown
    )


def _prices(problem, prices):
    """The prices to judge, float64 `[K]`; for several products the first one's."""
    if isinstance(problem.action_space, Interval) and not problem.action_space.shape:
        low, high = float(problem.low), float(problem.high)
        if prices is None:
            return np.linspace(low, high, INTERVAL)
        return np.asarray(checks.array("prices", prices, (None,), low=low, high=high), float)
    if prices is not None:
        raise ValueError("prices must be None where the market has a grid of prices or several products")
    grid = np.asarray(problem.prices, float)
    return grid if grid.ndim == 1 else grid.sum(axis=1)


def _costs(problem):
    cost = np.asarray(problem.cost, float)
    return float(cost) if cost.ndim == 0 else float(cost.sum())


def _normals(draws, seed):
    """A function from a shape to standard normals, float64 `[draws, *shape]`, addressed by the seed and their number."""
    seed = checks.seed(seed)

    def drawn(shape):
        return np.random.Generator(np.random.Philox(key=seed)).standard_normal((draws, *shape))

    return drawn


def _chosen(policy, state, problem, observation):
    """Probabilities of the next action, and their standard errors."""
    size = problem.action_space.n
    if isinstance(state, trained.State) and policy.probabilities is None:
        hot = (np.arange(size) == int(jnp.argmax(state.logits))).astype(float)
        return hot, np.zeros(size)
    seen = problem.observation if observation is None else observation
    found = propensities(policy, state, seen, num_actions=size, key=jax.random.key(0))
    return tuple(np.asarray(x, float) for x in found)


def _asked(policy, state, problem, observation):
    """The `Reading` of a trained agent, from its answers."""
    if state.facts.low is not None:
        raise ValueError("no belief is known for an agent that posts prices of an interval: it has no law over a grid")
    answers = counterfactual(policy, state, problem, observation)
    demand = problem.buyers * np.nan_to_num(answers.implied)
    profit = np.asarray(problem.margins, float) * demand
    counts = state.memory[0] if getattr(state.memory, "shape", ()) == (2, problem.num_prices) else None
    return Reading(
        Known(profit),
        assumes="the conversion rates with which its law would be a posterior; zero at prices that change nothing",
        demand=demand,
        counts=None if counts is None else np.asarray(counts, float),
        best=answers.now,
        information=answers.information,
    )
