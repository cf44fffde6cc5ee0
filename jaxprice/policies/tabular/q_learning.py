"""Q-learning: a table of the discounted profit of each price in each state, with targets for the best next price.

After posting price a in state s (`q_table`: the observation, cut into bins), earning r and reaching state s',

    Q(s, a) <- Q(s, a) + rate / n^power (r + discount max_b Q(s', b) - Q(s, a)),

with n visits to (s, a) so far. In period t, with probability e_t the price is uniformly random, otherwise the first price
with the largest Q(s, a) is posted. A high `initial` is optimism: each price is tried until its value falls.

In a market with several sellers, `sellers(q, q)` with one such policy each is the setting of Calvano et al. The observation
of a seller is (share of the horizon passed, own last price, own last demand, rivals' last prices), so with K prices

    q_learning(bins=(1, K, 1, K), discount=.95, rate=.15, exploration="exponential", epsilon=1.0, decay=4e-6, initial=...)

has the K^2 states of their duopoly. `initial` `[K]` is the mean profit of each price against uniformly random prices of the
rivals, divided by 1 - discount. All sellers learn at the same time from the same period. Two things differ. Ties: the lowest
price wins (in their code the best price so far stays until it falls behind), which matters only while values are exactly
equal. Initial state: it is that of the market's first observation (no prices yet, so the lowest of all), while theirs is
random. This is forgotten at once, because the first periods explore. Sellers with different prices need `low` and `high` for
each entry.

Regret: linear in T for any exploration that does not vanish; otherwise no rate is known for these schedules. If every pair
is visited infinitely often and the power is in (1/2, 1], Q converges to the optimal values of the states, if they are
Markov.

Sources: C. J. C. H. Watkins, P. Dayan (1992), "Q-learning", doi:10.1007/BF00992698; E. Calvano, G. Calzolari, V. Denicolo,
S. Pastorello (2020), "Artificial intelligence, algorithmic pricing, and collusion", doi:10.1257/aer.20190623.
"""

import jax.numpy as jnp

from jaxprice.policies.tabular import q_table


@q_table.learning_policy(source="Watkins and Dayan (1992)")
def q_learning(learner):
    """Q-learning."""

    def update(key, state, transition):
        del key
        place, after = (state.states.of(x) for x in (transition.observation, transition.next_observation))
        target = transition.reward + learner.discount * jnp.max(state.table[after])
        learned = learner.learn(state, place, transition.action, target)
        return q_table.State(state.time + 1, state.states, *learned)

    return learner.policy(update)
