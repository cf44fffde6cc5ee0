"""Gittins index: play the arm that is worth the largest sure reward; optimal for a Bayesian seller who discounts.

With Beta posteriors as in `thompson`, action = argmax_k w_k G(a + s_k, b + f_k), ties to the lowest price. G is the index of
`jaxprice.oracles.gittins`, in a table up to 150 observations of a price. Beyond the table, its lead over the posterior mean
decreases as 1 / (a + b + n) along states with the same mean (within 1e-3 for discounts up to .99). A sale at price p_k earns
w_k, so the index of a price is w_k times the index of its demand. Every buyer counts as one observation, and as one period
of the discount.

With `horizon` H, the policy plays the finite-horizon index instead: no discount, m = H - t + 1 periods left; in and after
the last period it plays the best mean. It is nearly optimal. The table ends at 100 observations of a price. Beyond the
table, the lead is that of a Brownian motion with unknown drift, observed at integer times (Chernoff and Petkau). With N = a
+ b + n, N' that of the last row of the table, x the posterior mean and s = sqrt(x (1 - x)),

    lead(m, N, x) + .5826 s / (N + 1) = sqrt((N' + 1) / (N + 1)) (lead(m N' / N, N', x) + .5826 s / (N' + 1)),

interpolated between neighbouring entries of the table (within 5e-4 of the index at a horizon of 200, on average 5e-5).

Regret: the policy is optimal for expected discounted profit with independent priors. Without discounting its regret is
large: it stops learning after a while, with positive probability at a wrong price (Rothschild), so regret grows as T. The
finite-horizon index has O(log T) regret in the Gaussian case (Lattimore).

Sources: J. C. Gittins (1979), doi:10.1111/j.2517-6161.1979.tb01068.x; M. Rothschild (1974), "A two-armed bandit theory of
market pricing", doi:10.1016/0022-0531(74)90066-0; H. Chernoff, A. J. Petkau (1986), "Numerical solutions for Bayes
sequential decision problems", doi:10.1137/0907003; T. Lattimore (2016), "Regret analysis of the finite-horizon Gittins
index strategy for multi-armed bandits", arXiv:1511.06014.
"""

import functools

import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.oracles import gittins as oracle
from jaxprice.policies.parts.beta_posterior import posterior_policy
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

SIZE = 150  # number of observations of one price in the table
FINITE = 100  # the same with a horizon
EXCESS = 0.5826  # -zeta(1/2) / sqrt(2 pi), mean overshoot of a random walk over a boundary, in deviations


@policy_maker(
    source="Gittins (1979)",
    regret="T; optimal with discounting",
    feedback="Bernoulli demand, or reward",
    kinds={"a": "number", "b": "number"},
)
def gittins(discount=None, horizon=None, a=1, b=1, signal="demand"):
    """Gittins index policy for Beta posteriors. Its parameters define a table that is computed first; they cannot be traced.

    Args:
      discount: discount in (0, .995]; by default .95.
      horizon: number of periods, from 1 to 500, for the finite-horizon index; the table of 500 takes a minute of a
        processor.
      a, b: shapes of the prior, at least 1.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: numbers out of range, both a discount and a horizon, or an unknown signal; at `init`, demand that is not
        Bernoulli, or several buyers a period with a horizon and signal "demand".
    """
    if horizon is not None:
        if discount is not None:
            raise ValueError(f"discount must be left out where there is a horizon, got {discount!r} and horizon={horizon!r}")
        if checks.positive_int("horizon", horizon) > oracle.LONGEST:
            raise ValueError(f"horizon must be at most {oracle.LONGEST} periods, got {horizon}")
    periods = 0 if horizon is None else int(horizon)
    discount = checks.number("discount", 0.95 if discount is None else discount, low=1e-3, high=0.995, scalar=True)
    for name, value in (("a", a), ("b", b)):
        checks.number(name, value, low=1, scalar=True)
        if checks.is_traced(value):
            raise ValueError(f"{name} must be a number, a traced one has no table")

    def discounted(key, state):
        del key
        lead = jnp.asarray(_lead(oracle.discounted_table(float(discount), SIZE, float(a), float(b)), a, b))
        row, column, scale = _last_row(state, SIZE, a, b)
        low, share = _between(column, scale, 0, SIZE - 1)
        at = row * (SIZE + 1) + low
        ahead = (1 - share) * lead[at] + share * lead[at + 1]
        return jnp.argmax(state.signal.weights * (state.mean + scale * ahead))

    def finite(key, state):
        del key
        lead, starts = (jnp.asarray(x) for x in _finite_lead(periods, float(a), float(b)))
        left = jnp.clip(periods + 1 - state.time, 1, periods)
        row, column, scale = _last_row(state, FINITE, a, b)

        def entry(left, column):
            return lead[jnp.clip(starts[left - 1] + row * (row + 1) // 2 + column, 0, lead.size - 1)]

        if periods <= FINITE + 1:
            ahead = entry(left, jnp.round(column).astype(jnp.int32))
        else:
            low, share = _between(column, scale, 0, FINITE - 1)
            soon, later = _between(jnp.maximum(left * scale, 1.0), scale, 1, periods - 1)
            near, far = ((1 - share) * entry(m, low) + share * entry(m, low + 1) for m in (soon, soon + 1))
            later = jnp.where(soon == 1, jnp.sqrt(later), later)  # a lead starts as the root of periods left
            size = state.a + state.b
            shrink = jnp.sqrt((size * scale + 1) / (size + 1))
            excess = EXCESS * jnp.sqrt(state.mean * (1 - state.mean)) * (shrink / (size * scale + 1) - 1 / (size + 1))
            ahead = jnp.maximum(shrink * ((1 - later) * near + later * far) + excess, 0.0)
        return jnp.argmax(state.signal.weights * (state.mean + jnp.where(left > 1, ahead, 0.0)))

    policy = posterior_policy("gittins", a, b, signal, discounted if horizon is None else finite)

    def init(key, problem):
        if horizon is not None and signal == "demand" and problem.buyers > 1:
            raise ValueError(f"gittins with a horizon takes one buyer a period, this market has {problem.buyers}")
        return policy.init(key, problem)

    return Policy(init, policy.act, policy.update)


def _last_row(state, last, a, b):
    """Row and (float) column of each price in a table that ends at row `last`, `[num_prices]`; and the scale, below one
    beyond the table, that maps a state to the state of row `last` with the same mean."""
    size = state.a + state.b
    scale = jnp.minimum(jnp.float32(last + a + b) / size, 1.0)
    row = jnp.round(size * scale - (a + b)).astype(jnp.int32)
    return row, jnp.clip(state.a * scale - a, 0.0, last), scale


def _between(place, scale, first, last):
    """The entry below a place, from `first` to `last`, and the share of the entry above; an integer within the table."""
    low = jnp.clip(jnp.floor(place + 1e-4).astype(jnp.int32), first, last)
    return low, jnp.where(scale < 1, jnp.clip(place - low, 0.0, 1.0), jnp.round(place - low))


def _lead(table, a, b):
    """Indices minus posterior means, float32, flat."""
    n, s = np.mgrid[: table.shape[0], : table.shape[1]]
    return np.where(s <= n, table - (a + s) / (a + b + n), 0.0).astype(np.float32).ravel()


@functools.lru_cache(maxsize=4)
def _finite_lead(horizon, a, b):
    """Leads of the finite-horizon index by periods left, observations and successes, float32; and the start of each number
    of periods left, int32 `[horizon]`."""
    tables = oracle.finite_table(horizon, a, b, FINITE)
    lead = [_lead(table, a, b).reshape(table.shape)[np.tril_indices(len(table))] for table in tables]
    return np.concatenate(lead), np.cumsum([0, *(x.size for x in lead)])[:-1].astype(np.int32)
