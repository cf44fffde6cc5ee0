"""One bandit for each kind of buyer: an independent copy of a policy for each cell of the features.

Each of the d entries of the context (the last entries of the observation) falls into one of B equal parts of [low, high].
The first and the last part extend to infinity; an entry on an edge belongs to the part above it. That makes B^d cells, at
most `MOST`, numbered sum_i part_i B^i. With the defaults, two parts of [-1, 1], a cell is the vector of signs of the
features, where zero counts as positive; features that are all positive need another range. Only the copy of the buyer's cell
acts and learns.

The horizon of a copy is the horizon divided by the number of cells (rounded up), as if all cells were equally frequent. Its
clock counts its own sales. With B = 1 there is one cell, and this is the policy itself. The state holds B^d states of the
policy, and the work of a period grows with it.

Regret against the best price of each cell: the sum over the copies, O(sqrt(S K T log K)) for Exp3 in S cells of K prices.
The loss from equal prices for all buyers of a cell is additional, and linear in T.

Source: S. Bubeck, N. Cesa-Bianchi (2012), "Regret analysis of stochastic and nonstochastic multi-armed bandit problems",
arXiv:1204.5721, section 4.1 (S-Exp3, a copy of Exp3 for each side information).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.wrappers import combinators
from jaxprice.types import Policy

MOST = 1024  # largest number of cells


@struct.dataclass
class State:
    """States of the copies, leaves `[cells, ...]`; and the number of entries of a context."""

    copies: Any
    size: int = struct.field(pytree_node=False)


@combinators.combinator
def per_context(policy, bins=2, low=-1.0, high=1.0):
    """A copy of a policy for each cell of the features.

    Args:
      policy: the inner policy.
      bins: number B of parts of the range of a feature, an int of at least 1.
      low, high: the range of each feature, low below high; may be traced.

    Raises:
      ValueError: the argument is not a policy, or a number is out of range; at `init`, no context, or too many cells.
    """
    checks.positive_int("bins", bins)
    checks.number("low", low, scalar=True)
    checks.number("high", high, scalar=True)
    if not checks.is_traced((low, high)) and not low < high:
        raise ValueError(f"low must be below high, got low={low!r} and high={high!r}")

    def init(key, problem):
        if problem.context_size == 0:
            raise ValueError("per_context needs buyers with features, this market has no context")
        cells = bins**problem.context_size
        if cells > MOST:
            raise ValueError(
                f"per_context allows {MOST} cells, but bins={bins} of {problem.context_size} features make {cells}"
            )
        told = dataclasses.replace(problem, horizon=-(-jnp.asarray(problem.horizon, jnp.int32) // cells))
        if cells == 1:
            return State(jax.tree.map(lambda x: jnp.asarray(x)[None], policy.init(key, told)), problem.context_size)
        copies = jax.vmap(lambda i: policy.init(jax.random.fold_in(key, i), told))(jnp.arange(cells, dtype=jnp.int32))
        return State(copies, problem.context_size)

    def cell(state, observation):
        context = jnp.asarray(observation, jnp.float32)[-state.size :]
        part = jnp.floor((context - low) * (bins / (high - low)))
        part = jnp.clip(part, 0, bins - 1).astype(jnp.int32)
        return jnp.sum(part * jnp.asarray([bins**i for i in range(state.size)], jnp.int32), dtype=jnp.int32)

    def act(key, state, observation):
        which = cell(state, observation)
        return policy.act(key, jax.tree.map(lambda x: x[which], state.copies), observation)

    def update(key, state, transition):
        which = cell(state, transition.observation)
        after = policy.update(key, jax.tree.map(lambda x: x[which], state.copies), transition)
        return state.replace(copies=jax.tree.map(lambda x, new: x.at[which].set(new), state.copies, after))

    def probabilities(state, observation):
        which = cell(state, observation)
        return policy.probabilities(jax.tree.map(lambda x: x[which], state.copies), observation)

    return Policy(init, act, update, None if policy.probabilities is None else probabilities)
