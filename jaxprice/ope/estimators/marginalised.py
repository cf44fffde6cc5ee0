"""Marginalised importance sampling, for markets with a state from a small set.

Instead of the product of all weights it uses the distribution of the state under the target, period by period:

    d_0(s) = n_0(s) / E,     d_{t+1}(s') = sum_s d_t(s) [ sum_e w_et 1{s_et = s, s_e,t+1 = s'} / n_t(s) ],
    v = sum_t discount^t sum_s d_t(s) [ sum_e w_et r_et 1{s_et = s} / n_t(s) ],

where `n_t(s)` counts the horizons in state `s` at period `t`. The variance grows polynomially with the horizon. The state
must make the process Markov. States that no horizon visits get no weight.

The equations are evaluated as `v = (1/E) sum_e sum_t discount^t rho_t(s_et) w_et r_et` with `rho_t(s) = E d_t(s) / n_t(s)`,
whose recursion is a weighted mean over the horizons in each state. The influence goes through the recursion by automatic
differentiation.

Source: Xie, Ma, Wang (2019), Towards optimal off-policy evaluation for reinforcement learning with marginalized importance
sampling, NeurIPS, arXiv:1906.03393.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxprice.ope.estimate import Estimate, by_gradient
from jaxprice.ope.estimators.horizons import check_horizons, checked_states, discounts
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.weights import importance_weights


def marginalised(
    log: DecisionLog,
    target: Float[Array, "..."],
    states: Int[Array, "... E T"],
    num_states: int,
    *,
    discount: float = 1.0,
    allow_missing: bool = False,
) -> Estimate:
    """The estimate of marginalised importance sampling.

    Args:
      log: logs `[..., E, T]`.
      target: action probabilities `[..., E, T, num_actions]` or `[num_actions]`.
      states: index of the state before each decision, `[..., E, T]`.
      num_states: number of states.
      discount: discount factor of a period.
      allow_missing: leave out the part of the target without support instead of refusing it.

    Returns:
      The estimate, with one term for each horizon, `[..., E]`.

    Raises:
      ValueError: the log has no horizons, states are not in range, or the target does not fit the log or lacks support.
    """
    check_horizons(log, discount)
    states = checked_states(log, states, num_states)
    weights = importance_weights(log, target, allow_missing=allow_missing)
    rewards = log.reward * discounts(log, discount)
    in_state = jnp.moveaxis(jax.nn.one_hot(states, num_states, dtype=rewards.dtype), -2, 0)  # [T, ..., E, S]
    by_period = (in_state, jnp.moveaxis(weights, -1, 0), jnp.moveaxis(rewards, -1, 0))

    def value(counts):
        def period(carry, now):
            arriving, total = carry  # [..., E]: weight with which a horizon enters the period
            here, weight, reward = now
            visits = jnp.einsum("...e,...es->...s", counts, here)
            entering = jnp.einsum("...e,...es->...s", counts * arriving, here)
            density = jnp.where(visits > 0, entering / jnp.where(visits > 0, visits, 1.0), 0.0)
            leaving = jnp.einsum("...s,...es->...e", density, here) * weight
            return (leaving, total + jnp.sum(counts * leaving * reward, axis=-1)), None

        start = (jnp.ones_like(counts), jnp.zeros(counts.shape[:-1], counts.dtype))
        (_, total), _ = jax.lax.scan(period, start, by_period)
        return total / jnp.sum(counts, axis=-1)

    return by_gradient(value, jnp.ones(log.shape[:-1], rewards.dtype))
