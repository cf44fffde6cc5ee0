"""The exact score of a seller whose price is a function of time and of what it sees of the market now.

A market with finitely many states is a chain: in state i at time t, action a loses l(t, i, a) against the optimum and leads
to other states with known probabilities. The distribution w over states is moved forward from the start,

    lost = sum_t sum_i w_t(i) l(t, i, a_t(i)),    w_(t+1)(j) = sum_i w_t(i) P(j | i, a_t(i)),    share = 1 - lost / optimum.

If l is the loss in value of the dynamic programme over seasons, the share is the expected reward divided by the optimal one.
In a market without end, l is the regret of the period against the oracle of the long-run average reward g and the optimum is
T g. So the share counts the first T periods, without gains from leaving the market in a bad state.

Where the state is a real number that no chance moves (a reference price), one path is the whole distribution.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice.agents import inputs
from jaxprice.agents.inputs import Seen
from jaxprice.environment import Environment
from jaxprice.types import Interval


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """A market with S states.

    Attributes:
      env, params, horizon: the market, played for T periods.
      optimum: what the optimal seller earns on average in T periods.
      states: `time -> State`, the states of the market, leaves `[S, ...]`; None: the state follows one path.
      see: `(state, index) -> observation` without time, last price and last demand, as the inputs of agents have it.
      outcomes: `(state, index, action) -> (places [B], probabilities [B])` of the next states.
      loss: `(state, index, action) -> loss` against the optimum, in money; by default the regret that the market reports.
      start: index of the first state, or the distribution of the first states `[S]`.
    """

    env: Environment
    params: Any
    horizon: int
    optimum: float
    see: Callable
    states: Callable | None = None
    outcomes: Callable | None = None
    loss: Callable | None = None
    start: Any = 0

    def regret(self, state, index, action):
        """The loss of an action, float scalar."""
        if self.loss is not None:
            return self.loss(state, index, action)
        return self.env.step_env(jax.random.key(0), state, action, self.params)[-1]["regret"]


def share(chain, act):
    """The exact share of the optimum, and the actions.

    Args:
      chain: `Chain`.
      act: `(time, state, observation) -> action`, for one state; `observation` is that of `Chain.see`.

    Returns:
      share, float scalar; actions `[T, S]`, or `[T]` of the one path; and the states of the path, or None.
    """
    if chain.states is None:
        return _along_the_path(chain, act)
    numbers = jnp.arange(jax.tree.leaves(chain.states(0))[0].shape[0], dtype=jnp.int32)

    def period(carry, time):
        weights, lost = carry
        states = chain.states(time)
        actions = jax.vmap(lambda state, i: act(time, state, chain.see(state, i)))(states, numbers)
        losses = jax.vmap(chain.regret)(states, numbers, actions)
        places, chances = jax.vmap(chain.outcomes)(states, numbers, actions)
        after = jnp.zeros_like(weights).at[places].add(weights[:, None] * chances)
        return (after, lost + jnp.sum(weights * losses)), actions

    first = chain.start if jnp.ndim(chain.start) else (numbers == chain.start).astype(jnp.float32)
    (_, lost), actions = jax.lax.scan(period, (first, jnp.float32(0)), jnp.arange(chain.horizon, dtype=jnp.int32))
    return 1 - lost / chain.optimum, actions, None


def _along_the_path(chain, act):
    """`share` of a market whose state no chance moves."""

    def period(carry, time):
        state, lost = carry
        action = act(time, state, chain.see(state, 0))
        lost = lost + chain.regret(state, 0, action)
        after = chain.env.step_env(jax.random.key(0), state, action, chain.params)[1]
        return (after, lost), (action, state)

    _, first = chain.env.reset_env(jax.random.key(0), chain.params)
    carry = first, jnp.float32(0)
    (_, lost), (actions, states) = jax.lax.scan(period, carry, jnp.arange(chain.horizon, dtype=jnp.int32))
    return 1 - lost / chain.optimum, actions, states


def always(action):
    """The seller who takes one action."""
    return lambda time, state, observation: jnp.asarray(action)


def myopic(chain, actions):
    """The seller who knows the demand and earns most in each period, without a thought for the next: a grid of `actions`."""

    def act(time, state, observation):
        del time, observation
        return jnp.argmax(jax.vmap(lambda a: chain.env.expected_reward(state, a, chain.params))(jnp.arange(actions)))

    return act


def learned(trained, weights):
    """The seller of a run of a deep learner.

    Args:
      trained: `agents.episodes.Trained`, of a network without memory.
      weights: of the run.
    """
    course = trained.course
    facts, _ = course.world.example()

    def act(time, state, observation):
        del state
        before, zero = jnp.where(time == 0, -1, 0).astype(jnp.int32), jnp.float32(0)
        token = course.world.fed.token(facts, Seen(before, zero, zero, time, observation, jnp.zeros_like(observation)))
        action = course.learner.greedy(course, course.decide(weights, (), token)[1])
        return inputs.to_price(facts, action[0]) if isinstance(course.world.space, Interval) else action

    return act


def shares_of_runs(chain, trained):
    """Exact shares `[runs]` of all runs of a deep learner, and their actions `[runs, T, S]` and paths.

    Raises:
      ValueError: the network has a memory, or sees more than the state of the market.
    """
    weights = jax.tree.map(jnp.asarray, trained.weights)
    fed, memory = trained.course.world.fed, trained.course.memory(jax.tree.map(lambda x: x[0], weights))
    if jax.tree.leaves(memory) or fed.action or fed.demand or fed.reward or fed.past:
        raise ValueError("trained must be a network without memory that sees the market's state, not the last sale")
    score = jax.jit(jax.vmap(lambda one: share(chain, learned(trained, one))))
    return jax.tree.map(np.asarray, score(weights))
