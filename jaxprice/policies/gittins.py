"""Gittins index: play the arm that it takes the largest sure reward to give up; what a discounting Bayesian seller does.

With Beta posteriors as in `thompson`, action = argmax_k w_k G(a + s_k, b + f_k), ties to the lowest price; G is the index
of `jaxprice.oracles.gittins`, tabulated up to 150 observations of a price. Beyond, its lead over the posterior mean falls
as 1 / (a + b + n) along states of the same mean (within 1e-3 for discounts up to .99). Since demand at price p_k earns
w_k a sale, the index of a price is w_k times that of its demand. Every buyer counts as one observation, and as one period
to the discount.

With `horizon` H instead, the finite-horizon index: no discount, H - t + 1 periods left, and what is best on average in
the last one and ever after. It is not optimal, but nearly so.

Regret: the policy is optimal for expected discounted profit, with independent priors. It has no small regret without
discounting: it stops learning after a while, with positive probability at a wrong price (Rothschild), so that regret
grows as T. The finite-horizon index has O(log T) regret in the Gaussian case (Lattimore).

Sources: J. C. Gittins (1979), doi:10.1111/j.2517-6161.1979.tb01068.x; M. Rothschild (1974), "A two-armed bandit theory of
market pricing", doi:10.1016/0022-0531(74)90066-0; T. Lattimore (2016), "Regret analysis of the finite-horizon Gittins
index strategy for multi-armed bandits", arXiv:1511.06014.
"""

import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.oracles import gittins as oracle
from jaxprice.policies.parts.beta_posterior import posterior_policy
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

SIZE = 150  # observations of one price that the table has


@policy_maker(
    family="stochastic",
    source="Gittins (1979)",
    regret="T; optimal with discounting",
    feedback="Bernoulli demand, or reward",
)
def gittins(discount=None, horizon=None, a=1, b=1, signal="demand"):
    """Gittins index policy for Beta posteriors. Its numbers make a table beforehand, and cannot be traced.

    Args:
      discount: in (0, .995]; by default .95.
      horizon: periods, from 1 to 200, to play the finite-horizon index.
      a, b: shapes of the prior, at least 1.
      signal: "demand" or "reward", what it learns from.

    Raises:
      ValueError: numbers out of range, both a discount and a horizon, or an unknown signal; at `init`, demand that is not
        Bernoulli, or several buyers a period with a horizon and signal "demand".
    """
    if horizon is not None:
        if discount is not None:
            raise ValueError(f"discount must be left out where there is a horizon, got {discount!r} and horizon={horizon!r}")
        if checks.positive_int("horizon", horizon) > 200:
            raise ValueError(f"horizon must be at most 200 periods, got {horizon}")
    discount = checks.number("discount", 0.95 if discount is None else discount, low=1e-3, high=0.995, scalar=True)
    for name, value in (("a", a), ("b", b)):
        checks.number(name, value, low=1, scalar=True)
        if checks.is_traced(value):
            raise ValueError(f"{name} must be a number, a traced one has no table")

    def discounted(key, state):
        del key
        lead = jnp.asarray(_lead(oracle.discounted_table(float(discount), SIZE, float(a), float(b)), a, b))
        size = state.a + state.b
        largest = jnp.float32(SIZE + a + b)
        scale = jnp.minimum(largest / size, 1.0)  # beyond the table, to the state of its last row with the same mean
        column = jnp.clip(state.a * scale - a, 0.0, SIZE)
        row = jnp.round(size * scale - (a + b)).astype(jnp.int32)
        low = jnp.clip(jnp.floor(column + 1e-4).astype(jnp.int32), 0, SIZE - 1)
        share = jnp.where(scale < 1, column - low, jnp.round(column - low))
        at = row * (SIZE + 1) + low
        ahead = (1 - share) * lead[at] + share * lead[at + 1]
        return jnp.argmax(state.signal.weights * (state.mean + scale * ahead))

    def finite(key, state):
        del key
        tables = oracle.finite_table(horizon, float(a), float(b))
        starts = np.cumsum([0, *(table.size for table in tables)])[:-1].astype(np.int32)
        lead = jnp.asarray(np.concatenate([_lead(table, a, b) for table in tables]))
        left = jnp.clip(horizon + 1 - state.time, 1, horizon)
        side = horizon - left + 1
        row = jnp.round(state.a + state.b - (a + b)).astype(jnp.int32)
        at = jnp.asarray(starts)[left - 1] + jnp.minimum(row, side - 1) * side + jnp.round(state.a - a).astype(jnp.int32)
        ahead = jnp.where((left > 1) & (row < side), lead[jnp.clip(at, 0, lead.size - 1)], 0.0)
        return jnp.argmax(state.signal.weights * (state.mean + ahead))

    policy = posterior_policy("gittins", a, b, signal, discounted if horizon is None else finite)

    def init(key, problem):
        if horizon is not None and signal == "demand" and problem.buyers > 1:
            raise ValueError(f"gittins with a horizon takes one buyer a period, this market has {problem.buyers}")
        return policy.init(key, problem)

    return Policy(init, policy.act, policy.update)


def _lead(table, a, b):
    """How far indices lie above the posterior mean, float32, flat."""
    n, s = np.mgrid[: table.shape[0], : table.shape[1]]
    return np.where(s <= n, table - (a + s) / (a + b + n), 0.0).astype(np.float32).ravel()
