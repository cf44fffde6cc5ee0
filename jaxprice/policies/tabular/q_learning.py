"""Q-learning: a table of the discounted profit that each price earns in each state, learned as if the best price came next.

Having posted price a in state s (`q_table`: what the seller sees, cut into bins), earned r and come to state s',

    Q(s, a) <- Q(s, a) + rate / n^power (r + discount max_b Q(s', b) - Q(s, a)),

n visits to (s, a) so far. In period t any price is equally likely with probability e_t, else the first with the largest
Q(s, a) is posted. A high `initial` is optimism: each price is tried until it disappoints.

In a market with several sellers, `sellers(q, q)` of one such policy each is the setting of Calvano et al.: the observation
of a seller is (share of the horizon gone, own last price, own last demand, rivals' last prices), so with K prices

    q_learning(bins=(1, K, 1, K), discount=.95, rate=.15, exploration="exponential", epsilon=1.0, decay=4e-6, initial=...)

has the K^2 states of their duopoly; `initial` `[K]` is the mean profit of each price, were the rivals' prices uniformly
random, divided by 1 - discount. All sellers learn at the same time from the same period. Two things differ. Ties: the lowest
price wins (theirs keep the price that was best until it falls behind), which matters only while values are exactly equal.
The first state is that of the market's first observation (no prices yet, so the lowest of all), where theirs is random; it
is forgotten at once, since the first periods explore. Sellers whose prices differ need `low` and `high` for each entry.

Regret: linear in T for any exploration that does not vanish; else none is known for these schedules. With every pair visited
infinitely often and a power in (1/2, 1], Q goes to the optimal values of the states, if they are Markov.

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
