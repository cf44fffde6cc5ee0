"""What a trained agent looks at: Shapley values of groups of its inputs, and how its price depends on each of them alone.

An agent sees a sequence: before each decision its last price, what was sold, the time, and the observation of the market.
The groups are

| group | inputs |
|---|---|
| "prices" | all its earlier prices |
| "sales" | demand and reward of all earlier periods |
| "time" | the clock of all decisions, and with it the mark of the first one |
| "stock" | entries of all observations other than time, last price, last demand and features: stock, reference price, ... |
| "features" | features of the present buyer and of earlier ones |

as far as the agent reads them and the market has them. A coalition keeps its groups from the history that is explained; the
others come from histories of the background, of the same length. The clock of the background is spread over the season, so
"time" asks what the decision owes to the moment. The value is the mean price under the agent's law, by default.

Shapley values are exact for the background (`shapley`): all coalitions are evaluated, in one vectorised call.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxprice import checks
from jaxprice.agents import inputs as reading
from jaxprice.agents import trained
from jaxprice.explain import shapley as exact
from jaxprice.types import Problem, Transition

GROUPS = ("prices", "sales", "time", "stock", "features")
OUTCOMES = ("price", "posted")


@dataclasses.dataclass(frozen=True)
class Attribution:
    """Shares of groups in a decision.

    Attributes:
      groups: names.
      shares: Shapley values, in units of the outcome, float64 `[G]`; they sum to `value - base`.
      value: the outcome for the history.
      base: its mean over the background.
      coalitions: outcome of every coalition, float64 `[2^G]`, in the order of `shapley.coalitions`.
    """

    groups: tuple[str, ...]
    shares: Float[np.ndarray, " G"]
    value: float
    base: float
    coalitions: Float[np.ndarray, " coalitions"]


@dataclasses.dataclass(frozen=True)
class Dependence:
    """The mean outcome over histories if one input has a given value: `values`, `mean`, its standard error, `[n]` each."""

    values: Float[np.ndarray, " n"]
    mean: Float[np.ndarray, " n"]
    se: Float[np.ndarray, " n"]


def inputs(agent: Any, problem: Problem, history: Any, background: Any, *, outcome: Any = "price") -> Attribution:
    """Shapley values of groups of inputs of the decision that follows a history.

    Args:
      agent: an `agents.Agent`, or the name or path of one.
      problem: the problem of the seller.
      history: the periods before the decision: a `DecisionLog` of one seller or a `Transition`, leaves `[T, ...]`.
      background: such histories of other sellers, leaves `[B, T, ...]`, or longer ones, which are cut.
      outcome: "price", the mean price under the agent's law; "posted", the price it posts; or an action, whose probability.

    Raises:
      ValueError: the agent, histories or outcome are none, or do not fit each other.
    """
    agent, view = _agent(agent), _View(problem)
    own, others = _history("history", history, 1), _history("background", background, 2)
    length = own.action.shape[0]
    if others.action.shape[1] < length:
        raise ValueError(f"background must have at least the {length} periods of history, got {others.action.shape[1]}")
    others = jax.tree.map(lambda x: x[:, :length], others)
    groups = view.groups(agent, own)
    function = _outcome(agent, problem, outcome)

    @jax.jit
    def play(own, others):
        facts = view.facts(agent, own)
        mine = view.seen(facts, own)
        theirs = jax.vmap(lambda one: view.seen(facts, one))(others)
        start = jnp.linspace(0, jnp.maximum(problem.horizon - 1 - length, 0), others.action.shape[0]).astype(jnp.int32)
        theirs = theirs.replace(time=theirs.time + start[:, None])
        masks = jnp.asarray(exact.coalitions(len(groups)))

        def one(mask, other):
            return function(facts, view.mixed(groups, mask, mine, other))

        return jax.vmap(lambda mask: jax.vmap(lambda other: one(mask, other))(theirs))(masks)

    values = np.asarray(play(own, others), float).mean(axis=1)
    return Attribution(groups, exact.shapley(values), float(values[-1]), float(values[0]), values)


def dependence(
    agent: Any, problem: Problem, histories: Any, on: str | int, values: Any, *, outcome: Any = "price"
) -> Dependence:
    """The mean outcome of the decision after each history, with one input of it set to each of some values.

    Args:
      agent, problem, outcome: as in `inputs`.
      histories: periods before the decisions, leaves `[B, T, ...]`.
      on: "time" (periods that have passed, at least those of the histories), "stock" (the first entry of the observation
        after time, price and demand), or the number of a feature, from 0.
      values: values of the input, float `[n]`.

    Raises:
      ValueError: as in `inputs`, or the agent or market has no such input.
    """
    agent, view, many = _agent(agent), _View(problem), _history("histories", histories, 2)
    values = checks.array("values", values, (None,))
    length, function = many.action.shape[1], _outcome(agent, problem, outcome)
    first = jax.tree.map(lambda x: x[0], many)
    known = view.groups(agent, first)
    features = problem.context_size
    if not isinstance(on, str):
        on = checks.whole("on", on, 0, max(features - 1, 0))
    wanted = "features" if isinstance(on, int) else on
    if wanted not in known or wanted in ("prices", "sales"):
        raise ValueError(f"on must be an input that this agent reads in this market ({', '.join(known)}), got {on!r}")

    if on == "time" and values.min() < length:
        raise ValueError(f"values must be at least {length}, the periods of the histories, got {values.min():g}")

    @jax.jit
    def play(many):
        facts = view.facts(agent, first)

        def at(value, one):
            seen = view.seen(facts, one)
            if on == "time":
                return function(facts, seen.replace(time=seen.time - length + value.astype(jnp.int32)))
            place = seen.observation.shape[1] - features + on if isinstance(on, int) else 0
            return function(facts, seen.replace(observation=seen.observation.at[-1, place].set(value)))

        return jax.vmap(lambda value: jax.vmap(lambda one: at(value, one))(many))(jnp.asarray(values))

    found = np.asarray(play(many), float)
    se = found.std(axis=1, ddof=1) / np.sqrt(found.shape[1]) if found.shape[1] > 1 else np.zeros(len(found))
    return Dependence(np.asarray(values, float), found.mean(axis=1), se)


class _View:
    """How histories become inputs of the network."""

    def __init__(self, problem):
        if not isinstance(problem, Problem):
            raise ValueError(f"problem must be a Problem, such as env.problem(params), got {checks.shown(problem)}")
        self.problem = problem

    def facts(self, agent, own):
        """`inputs.Facts`."""
        return reading.reader(agent.network)(self.problem.with_observation(own.observation[0]))

    def seen(self, facts, one):
        """`inputs.Seen` of all decisions of a history and of the one after it, leaves `[T + 1, ...]`."""
        start = reading.before(self.problem, one.observation[0])

        def period(seen, sale):
            after = reading.after(facts, seen, sale)
            return after, after

        rest = jax.lax.scan(period, start, one)[1]
        return jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a, b.dtype)[None], b]), start, rest)

    def groups(self, agent, own):
        """The groups that the agent reads and the market has."""
        fed, entries = agent.inputs, own.observation.shape[-1] - (3 if jnp.ndim(self.problem.prices) == 1 else 1)
        every = agent.name in ("stats", "seller")  # these read all
        features = self.problem.context_size
        looks = fed.observation or fed.past or every
        has = {
            "prices": fed.action or every,
            "sales": fed.demand or fed.reward or every,
            "time": True,
            "stock": looks and entries > features,
            "features": looks and features > 0,
        }
        return tuple(name for name in GROUPS if has[name])

    def mixed(self, groups, mask, mine, other):
        """`mine` where a group is in the coalition, `other` elsewhere."""
        keep = {name: mask[k] for k, name in enumerate(groups)}

        def pick(name, a, b):
            return jnp.where(keep[name], a, b) if name in keep else a

        split = mine.observation.shape[-1] - self.problem.context_size
        parts = {"action": "prices", "demand": "sales", "reward": "sales", "time": "time"}
        picked = {field: pick(name, getattr(mine, field), getattr(other, field)) for field, name in parts.items()}
        for field in ("observation", "past"):
            a, b = getattr(mine, field), getattr(other, field)
            halves = pick("stock", a[:, :split], b[:, :split]), pick("features", a[:, split:], b[:, split:])
            picked[field] = jnp.concatenate(halves, axis=1)
        return reading.Seen(**picked)


def _outcome(agent, problem, outcome):
    """The function from facts and inputs to the outcome."""
    network, weights = agent.network, agent.weights
    if outcome not in OUTCOMES:
        outcome = checks.whole("outcome", outcome, 0, agent.actions - 1) if not isinstance(outcome, str) else outcome
        if isinstance(outcome, str):
            checks.choice("outcome", outcome, OUTCOMES)

    def function(facts, seen):
        says = network.apply(jax.tree.map(jnp.asarray, weights), facts, seen, method="apply_sequence")
        if agent.name == "gaussian":
            middle = says.middle[-1]
            return reading.to_price(facts, middle[0])
        logits = says.logits[-1]
        prices = jnp.asarray(problem.prices, jnp.float32)
        if isinstance(outcome, int):
            return jax.nn.softmax(logits)[outcome]
        if outcome == "posted":
            return prices[jnp.argmax(logits)]
        return jnp.sum(jax.nn.softmax(logits) * prices)

    return function


def _agent(agent):
    """The `Agent`, or the one of a name or path."""
    agent = agent if isinstance(agent, trained.Agent) else trained.load_agent(agent)
    return agent


def _history(name, history, axes):
    """A `Transition` with leaves `[*axes, ...]`."""
    fields = ("observation", "action", "price", "demand", "reward", "next_observation")
    missing = [field for field in fields if getattr(history, field, None) is None]
    if missing:
        raise ValueError(
            f"{name} must be a DecisionLog or Transition with {', '.join(missing)}, got {checks.shown(history)}"
        )
    if np.ndim(history.action) != axes:
        shape = "[T]" if axes == 1 else "[B, T]"
        raise ValueError(f"{name} must have actions {shape}, got {list(np.shape(history.action))}")
    if np.ndim(history.observation) != axes + 1:
        raise ValueError(f"{name} must have observations that are one array a period, got {np.shape(history.observation)}")
    return Transition(**{field: jnp.asarray(getattr(history, field)) for field in fields})
