"""Certainty equivalence with stock: solve the fluid programme for the demand believed and the stock left, in every period.

In period t, with t - 1 periods gone and I(t - 1) units left,

    x = the optimal mix for demand d and capacity I(t - 1) / (T - t + 1)  (`stock`),
    action k with probability x_k, nothing with probability 1 - sum x.

d is the table `demand` where the seller knows it: the benchmark of known demand. Otherwise the first T^exponent periods, and
at least one for every action, try the actions in turn, and d are the mean sales so far; later sales are learned from too.
With `resolve=False` the capacity is I / T in all periods, so a mix is never corrected for what was sold by chance.

Regret with known demand: O(sqrt(T)) without re-solving, bounded with it where the programme has one optimum that is not
degenerate. With unknown demand, no bound: certainty equivalence may stop learning, which exploration of order sqrt(T) makes
rare; `blind_network` and `ts_update` have bounds.

Source: S. Jasin, S. Kumar (2012), "A re-solving heuristic with bounded revenue loss for network revenue management with
customer choice", doi:10.1287/moor.1120.0537 (they draw the action to offer from the mix, too).
"""

import jax
import jax.numpy as jnp

from jaxprice import samplers
from jaxprice.policies.inventory import stock
from jaxprice.policies.inventory.certainty_equivalence import planning_policy
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Jasin and Kumar (2012)",
    regret="bounded if demand is known",
    feedback="demand, or nothing",
    kinds={"demand": "numbers"},
)
def lp_resolving(demand=None, exponent=0.5, resolve=True):
    """The fluid programme, solved again in every period.

    Args:
      demand: known mean demand under every action, `[K]` or `[K, n]`; None: it is learned.
      exponent: the first T^exponent periods explore where demand is not known, in [0, 1]; may be traced.
      resolve: whether the capacity is that of the stock left, not that of the start.

    Raises:
      ValueError: negative demand, an exponent out of range; at `init`, unlimited stock, no price grid, a table of a wrong
        shape.
    """

    def plan(key, state, means, capacity):
        mix = state.season.fluid(means, capacity)
        return stock.pick(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), mix, state.season.idle)

    return planning_policy("lp_resolving", demand, exponent, resolve, plan)
