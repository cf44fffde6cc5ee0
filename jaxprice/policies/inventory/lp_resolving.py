"""Certainty equivalence with stock: solve the fluid programme for the estimated demand and the stock left, in every period.

In period t, after t - 1 periods and with I(t - 1) units left,

    x = the optimal mix for demand d and capacity I(t - 1) / (T - t + 1)  (`stock`),
    action k with probability x_k, nothing with probability 1 - sum x.

d is the table `demand` if the seller knows it, which is the benchmark of known demand. Otherwise the first T^exponent
periods, and at least one for every action, try the actions in turn, and d is the mean of the sales so far; later sales
update it. With `resolve=False` the capacity is I / T in all periods, so the mix is never corrected for the random part of
past sales.

Regret with known demand: O(sqrt(T)) without re-solving; bounded with it if the programme has a single optimum that is not
degenerate. With unknown demand there is no bound: certainty equivalence may stop learning. Exploration of order sqrt(T)
makes this rare; `blind_network` and `ts_update` have bounds.

Source: S. Jasin, S. Kumar (2012), "A re-solving heuristic with bounded revenue loss for network revenue management with
customer choice", doi:10.1287/moor.1120.0537 (they also draw the offered action from the mix).
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
      exponent: the first T^exponent periods explore if demand is not known, in [0, 1]; may be traced.
      resolve: whether the capacity uses the stock left, not the stock at the start.

    Raises:
      ValueError: negative demand, an exponent out of range; at `init`, unlimited stock, no price grid, a table of a wrong
        shape.
    """

    def plan(key, state, means, capacity):
        mix = state.season.fluid(means, capacity)
        return stock.pick(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), mix, state.season.idle)

    return planning_policy("lp_resolving", demand, exponent, resolve, plan)
