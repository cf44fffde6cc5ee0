"""Discounted Thompson sampling: Beta posteriors whose evidence decays while the prior stays.

S_k sales and F_k refusals at price p_k are multiplied by g in every period. With s and f the sales and refusals of a new
period,

    theta_k ~ Beta(a + S_k, b + F_k),      action = argmax_k w_k theta_k,
    S_k <- g S_k + s 1{k posted},          F_k <- g F_k + f 1{k posted}.

Buyers, weights and learning from reward are as in `thompson`; with g = 1 the two are equal. The posterior of a price that is
not posted for long returns to its prior, so the price is tried again. The Beta draws come from `jaxprice.samplers`.

Regret: no bound is proved. The memory is 1 / (1 - g) periods. In a stationary market regret grows linearly, as it does for
every policy that forgets at a fixed rate. The authors prefer g from 0.75 if demand moves fast; the default remembers 100
periods.

Source: V. Raj, S. Kalyani (2017), "Taming non-stationary bandits: a Bayesian approach", arXiv:1707.09727.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, best_arm, beta_posterior, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of discounted Thompson sampling.

    Attributes:
      signal: the learning signal.
      sales, refusals: S_k and F_k, float `[num_prices]` each.
      lost: rounding errors of these sums (`totals`): with g = 1 nothing decays.
      buyers: number of buyers in a period.
    """

    signal: arms.Signal
    sales: jax.Array
    refusals: jax.Array
    lost: tuple[jax.Array, jax.Array]
    buyers: int = struct.field(pytree_node=False)


@policy_maker(source="Raj and Kalyani (2017)", feedback="Bernoulli demand, or reward")
def discounted_thompson(discount=0.99, a=1.0, b=1.0, signal="demand"):
    """Discounted Thompson sampling.

    Args:
      discount: factor g per period, in [0, 1]; may be traced.
      a, b: shapes of the prior, at least 1; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a number out of range, or an unknown signal; at `init`, demand that is not Bernoulli.
    """
    checks.number("discount", discount, low=0, high=1)
    checks.number("a", a, low=1)
    checks.number("b", b, low=1)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        beta_posterior.check_bernoulli(problem, "discounted_thompson")
        zeros = jnp.zeros(problem.num_prices, jnp.float32)
        return State(arms.learn(problem, signal, "discounted_thompson"), zeros, zeros, (zeros, zeros), problem.buyers)

    def act(key, state, observation):
        del observation
        return beta_posterior.draw_best(key, state.signal.weights, a + state.sales, b + state.refusals)

    def update(key, state, transition):
        trials, wins = beta_posterior.trials_and_wins(key, state, transition)
        here = jnp.arange(state.sales.shape[0], dtype=jnp.int32) == transition.action
        lost, long = [discount * x for x in state.lost], state.sales + state.refusals >= totals.LONG
        sales, less = totals.plus(discount * state.sales, lost[0], jnp.where(here, wins, 0.0), long)
        refusals, rest = totals.plus(discount * state.refusals, lost[1], jnp.where(here, trials - wins, 0.0), long)
        return State(state.signal, sales, refusals, (less, rest), state.buyers)

    def chances(state):
        return best_arm.of_betas(state.signal.weights, a + state.sales, b + state.refusals)

    return Policy(init, act, update, arms.of_state(chances))
