"""SARSA: a table of discounted profits, learned from the price that is really posted next.

As `q_learning`, with the value of the next price a', random or not, in place of the largest value:

    Q(s, a) <- Q(s, a) + rate / n^power (r + discount Q(s', a') - Q(s, a)).

a' is known only when the next period has been played. A period (s, a, r) therefore waits in the state and is learned
from in the next update; a' is chosen before that, from a table that knows nothing of (s, a, r), and so it is in the
textbook. The last period of the horizon is never learned from.

Regret: linear in T for any exploration that does not vanish; else none is known for these schedules. With constant
exploration and a power in (1/2, 1], Q goes to the values of the best policy among those that explore so; with exploration
that vanishes while every pair is visited infinitely often, to the optimal ones (Singh et al.).

Sources: G. A. Rummery, M. Niranjan (1994), "On-line Q-learning using connectionist systems"; S. Singh, T. Jaakkola,
M. L. Littman, C. Szepesvari (2000), "Convergence results for single-step on-policy reinforcement-learning algorithms",
doi:10.1023/A:1007678930559.
"""

import dataclasses

import jax.numpy as jnp

from jaxprice.policies.tabular import q_table


@q_table.learning_policy(source="Rummery and Niranjan (1994)")
def sarsa(learner):
    """SARSA."""

    def init(key, problem):
        nothing = jnp.int32(0), jnp.int32(0), jnp.float32(0)
        return dataclasses.replace(learner.init(key, problem), pending=nothing)

    def update(key, state, transition):
        del key
        place, action = state.states.of(transition.observation), jnp.asarray(transition.action, jnp.int32)
        known = (state.time > 1).astype(jnp.float32)
        before, chosen, reward = state.pending
        learned = learner.learn(state, before, chosen, reward + learner.discount * state.table[place, action], known)
        pending = place, action, jnp.asarray(transition.reward, jnp.float32)
        return q_table.State(state.time + 1, state.states, *learned, pending)

    return learner.policy(update, init)
