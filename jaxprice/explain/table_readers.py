"""What policies believe that keep a table: the value of each price in each state, or the weight of each known market.

A table of values has no spread. Its `profit` is the discounted profit from now on, not that of a period, and demand is not
in it. Weights over known markets are a posterior: every number is an exact sum.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice.explain.laws import Known, Weighted
from jaxprice.explain.readers import Reading, reader


@reader("states", "table", names=("expected_sarsa", "q_learning", "sarsa"))
def values(state, view):
    """The row of the present state."""
    if view.observation is None:
        raise ValueError("observation must be given for a policy with a table over observations, got None")
    place = int(state.states.of(jnp.asarray(view.observation)))
    counts = None if state.counts is None else np.asarray(state.counts[place], float)
    return Reading(Known(np.asarray(state.table[place], float)), counts=counts)


@reader("problem", "log_weights", names=("prior_thompson",))
def markets(state, view):
    """Weights over markets that were drawn from the prior."""
    known = getattr(view.act, "markets", None)
    if known is None:
        raise ValueError("policy must be prior_thompson itself, without a wrapper: its markets are not in its state")
    actions = jnp.arange(len(view.prices), dtype=jnp.int32)
    seen = None if view.observation is None else jnp.asarray(view.observation)
    size = state.log_weights.shape[0]
    chances = np.asarray(jax.vmap(lambda action: known.of_all(state, seen, action))(actions), float).T
    each = jax.vmap(lambda number: known.of_one(state, seen, number))(jnp.arange(size, dtype=jnp.int32))
    weights = np.exp(np.asarray(state.log_weights, float))
    weights, buyers = weights / weights.sum(), view.buyers
    profits = np.broadcast_to(np.asarray(each, float) * buyers, chances.shape)
    mean = weights @ chances
    std = np.sqrt(weights @ (chances - mean) ** 2)
    outcome = view.problem.noise if view.problem.noise != "gaussian" else float(view.problem.noise_scale)
    law = Weighted(profits, weights, np.ones(len(view.prices)))
    if (
        outcome in ("bernoulli", "poisson")
        and np.all(view.margins > 0)
        and np.allclose(profits, view.margins * buyers * chances)
    ):
        law = Weighted(chances, weights, view.margins * buyers)  # profits of a period: information is that of one buyer
    else:
        outcome = float(np.sqrt(np.mean(np.maximum(weights @ profits**2, 1e-12))))
    return Reading(law, outcome, "", buyers * mean, buyers * std)
