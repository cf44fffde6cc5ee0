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

from jaxprice.policies.registry import policy_maker
from jaxprice.policies.tabular import q_table
from jaxprice.types import Policy


@policy_maker(
    source="Rummery and Niranjan (1994)",
    regret="T with constant exploration",
    feedback="reward",
    kinds=q_table.KINDS,
)
def sarsa(
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
    """SARSA.

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
    table = q_table.Learner("sarsa", bins, low, high, discount, rate, power, exploration, epsilon, decay, initial)

    def init(key, problem):
        nothing = jnp.int32(0), jnp.int32(0), jnp.float32(0)
        return dataclasses.replace(table.init(key, problem), pending=nothing)

    def update(key, state, transition):
        del key
        place, action = state.states.of(transition.observation), jnp.asarray(transition.action, jnp.int32)
        known = (state.time > 1).astype(jnp.float32)
        before, chosen, reward = state.pending
        learned = table.learn(state, before, chosen, reward + discount * state.table[place, action], known)
        pending = place, action, jnp.asarray(transition.reward, jnp.float32)
        return q_table.State(state.time + 1, state.states, *learned, pending)

    return Policy(init, lambda key, state, observation: table.act(key, state, observation), update)
