"""Contextual epsilon-greedy: a random price with decreasing probability, otherwise the best price by ridge regression.

With features z_k of price p_k (`features`) and the ridge regression m of the signal on them (`linear_model`), for each price
or for all together, the price in period t = 1, 2, ... is

    a uniformly random one        with probability min(1, epsilon / t^decay),
    argmax_k w_k z_k'm_k          otherwise,

with signals and weights w_k as in `ucb1`. The policy learns from every period, random or not. Ties go to the lowest price.

Regret: O(T^(2/3)) for decay 1/3 if demand is linear in the features, by the argument of Langford and Zhang for their
epoch-greedy algorithm, which explores as often but learns only from the random periods; linear in T for decay 0.

Sources: J. Langford, T. Zhang (2007), "The epoch-greedy algorithm for contextual multi-armed bandits"; A. Bietti, A.
Agarwal, J. Langford (2021), "A contextual bandit bake-off", arXiv:1802.04064.
"""

import jax
import jax.numpy as jnp

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, linear_model
from jaxprice.policies.registry import policy_maker


@policy_maker(source="Langford and Zhang (2007)", regret="T^(2/3)", feedback="demand or reward")
def contextual_epsilon_greedy(epsilon=1.0, decay=1 / 3, ridge=1.0, form="disjoint", signal="demand"):
    """Contextual epsilon-greedy.

    Args:
      epsilon: probability of a random price in the first period; if it is above 1, all are random until t^decay exceeds it.
      decay: exponent of its decrease in time, in [0, 1]. All three numbers may be traced.
      ridge: penalty on the squared coefficients, above 0.
      form: "disjoint", "joint" or "additive", the features of a price.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: numbers out of range, an unknown form or signal; at `init`, no price grid or no context.
    """
    checks.number("epsilon", epsilon, low=0)
    checks.number("decay", decay, low=0, high=1)

    def choose(key, state, context):
        coin, which = samplers.uniform(jax.random.bits(key, (2,), jnp.uint32))
        rate, greedy = rule(state, context)
        return jnp.where(coin < rate, jnp.floor(which * state.form.levels.shape[0]).astype(jnp.int32), greedy)

    def chances(state, context):
        rate, greedy = rule(state, context)
        return arms.greedy_or_even(greedy, rate, state.form.levels.shape[0])

    def rule(state, context):
        """Probability of a random price, and the greedy price."""
        greedy = jnp.argmax(state.signal.weights * state.model.predict(state.form, context))
        return epsilon * state.time.astype(jnp.float32) ** -decay, greedy

    return linear_model.linear_policy("contextual_epsilon_greedy", form, ridge, signal, choose, chances=chances)
