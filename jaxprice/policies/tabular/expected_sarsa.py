"""Expected SARSA: a table of discounted profits, learned from the mean over the prices that may come next.

As `q_learning`, with the value of the next state under the seller's own way of choosing, exploration included, in place of
its largest value:

    Q(s, a) <- Q(s, a) + rate / n^power (r + discount ((1 - e) max_b Q(s', b) + e mean_b Q(s', b)) - Q(s, a)),

where e = e_{t+1} is the probability of a random price in the period to come (`q_table`). It has the mean of SARSA's
target without the noise of the next draw, and with e = 0 it is Q-learning.

Regret: linear in T for any exploration that does not vanish; else none is known for these schedules. With constant
exploration and a power in (1/2, 1], Q goes to the values of the best policy among those that explore so.

Source: H. van Seijen, H. van Hasselt, S. Whiteson, M. Wiering (2009), "A theoretical and empirical analysis of Expected
Sarsa", doi:10.1109/ADPRL.2009.4927542.
"""

import jax.numpy as jnp

from jaxprice.policies.registry import policy_maker
from jaxprice.policies.tabular import q_table
from jaxprice.types import Policy


@policy_maker(
    source="van Seijen, van Hasselt, Whiteson and Wiering (2009)",
    regret="T with constant exploration",
    feedback="reward",
    kinds=q_table.KINDS,
)
def expected_sarsa(
    bins=None,
    low=None,
    high=None,
    discount=0.95,
    rate=0.15,
    power=0.0,
    exploration="constant",
    epsilon=0.1,
    decay=1e-3,
    initial=0.0,
):
    """Expected SARSA.

    Args:
      bins: number of bins of each of the first entries of the observation; 1: not looked at. By default the last price.
      low, high: bounds of the binned entries, one number or one for each of `bins`; by default those of prices.
      discount: weight of the next period's value, from 0 to below 1; this and the numbers below may be traced.
      rate: rate of learning at the first visit, in [0, 1].
      power: the rate falls as n^-power with the visits n, in [0, 1].
      exploration: "constant", "exponential" or "harmonic".
      epsilon: probability of a random price, in [0, 1]; the first one where it falls.
      decay: how fast it falls, at least 0.
      initial: Q before the first period, money: a number, `[num_prices]` or `[num_states, num_prices]`.

    Raises:
      ValueError: numbers out of range, an unknown exploration; at `init`, no price grid, or options that do not fit it.
    """
    table = q_table.Learner("expected_sarsa", bins, low, high, discount, rate, power, exploration, epsilon, decay, initial)

    def update(key, state, transition):
        del key
        place, after = (state.states.of(x) for x in (transition.observation, transition.next_observation))
        values, chance = state.table[after], table.explores(state.time + 1)
        worth = (1 - chance) * jnp.max(values) + chance * jnp.mean(values)
        learned = table.learn(state, place, transition.action, transition.reward + discount * worth)
        return q_table.State(state.time + 1, state.states, *learned)

    return Policy(table.init, lambda key, state, observation: table.act(key, state, observation), update)
