"""Expected SARSA: a table of discounted profits, with targets that are means over the next price.

It is like `q_learning`, but the target uses the expected value of the next state under the seller's own choice, exploration
included, instead of the largest value:

    Q(s, a) <- Q(s, a) + rate / n^power (r + discount ((1 - e) max_b Q(s', b) + e mean_b Q(s', b)) - Q(s, a)),

where e = e_{t+1} is the probability of a random price in the coming period (`q_table`). Its target has the mean of SARSA's
target without the noise of the next draw. With e = 0 it is Q-learning.

Regret: linear in T for any exploration that does not vanish; otherwise no rate is known for these schedules. With constant
exploration and a power in (1/2, 1], Q converges to the values of the best policy among those with this exploration.

Source: H. van Seijen, H. van Hasselt, S. Whiteson, M. Wiering (2009), "A theoretical and empirical analysis of Expected
Sarsa", doi:10.1109/ADPRL.2009.4927542.
"""

import jax.numpy as jnp

from jaxprice.policies.tabular import q_table


@q_table.learning_policy(source="van Seijen, van Hasselt, Whiteson and Wiering (2009)")
def expected_sarsa(learner):
    """Expected SARSA."""

    def update(key, state, transition):
        del key
        place, after = (state.states.of(x) for x in (transition.observation, transition.next_observation))
        values, chance = state.table[after], learner.explores(state.time + 1)
        worth = (1 - chance) * jnp.max(values) + chance * jnp.mean(values)
        learned = learner.learn(state, place, transition.action, transition.reward + learner.discount * worth)
        return q_table.State(state.time + 1, state.states, *learned)

    return learner.policy(update)
