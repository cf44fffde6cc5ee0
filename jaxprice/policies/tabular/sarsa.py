"""SARSA: a table of discounted profits, with targets for the next price that is actually posted.

It is like `q_learning`, but the target uses the value of the next price a', random or not, instead of the largest value:

    Q(s, a) <- Q(s, a) + rate / n^power (r + discount Q(s', a') - Q(s, a)).

a' is known only after the next period. A period (s, a, r) therefore waits in the state, and the next update learns from it.
The choice of a' comes before that, from a table without (s, a, r), as in the textbook. The last period of the horizon is
never learned.

Regret: linear in T for any exploration that does not vanish; otherwise no rate is known for these schedules. With constant
exploration and a power in (1/2, 1], Q converges to the values of the best policy among those with this exploration. If
exploration vanishes while every pair is visited infinitely often, Q converges to the optimal values (Singh et al.).

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
        values, counts, lost = learner.learn(
            state, before, chosen, reward + learner.discount * state.table[place, action], known
        )
        pending = place, action, jnp.asarray(transition.reward, jnp.float32)
        return q_table.State(state.time + 1, state.states, values, counts, lost, pending)

    return learner.policy(update, init)
