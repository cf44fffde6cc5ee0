"""Fitted Q evaluation, for markets with state: the value of the target by regression, backwards in time.

    y_et = r_et + discount sum_a target(a | x_e,t+1) Q_{t+1}(x_e,t+1, a),      Q_T = 0
    Q_t  = argmin over q of sum_e (y_et - q(x_et, a_et))^2
    v = (1/E) sum_e sum_a target(a | x_e0) Q_0(x_e0, a)

The regressions are linear in features of observation and action, with a ridge penalty. One-hot features of state and action
make it tabular: it then equals dynamic programming on the estimated market. It needs no propensities. It is biased if the
features cannot express Q, or where state and action were never seen (there a table says 0).

With `pooled=True` all periods share the regression data, which is right if the market does not change with time and the
features do not need to contain it; Q still differs between periods.

The influence goes through all regressions by automatic differentiation, so the interval includes their noise.

Source: Le, Voloshin, Yue (2019), Batch policy learning under constraints, ICML, arXiv:1903.08738; Ernst, Geurts, Wehenkel
(2005), Tree-based batch mode reinforcement learning, JMLR 6, 503-556.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxprice import checks
from jaxprice.ope.estimate import Estimate, by_gradient
from jaxprice.ope.estimators.horizons import check_horizons, checked_states
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.reward_model import solve_ridge
from jaxprice.ope.target import checked_target


def fitted_q(
    log: DecisionLog,
    target: Float[Array, "..."],
    features: Float[Array, "... E T A F"],
    *,
    discount: float = 1.0,
    ridge: float = 1e-4,
    pooled: bool = False,
) -> Estimate:
    """The estimate of fitted Q evaluation.

    Args:
      log: logs `[..., E, T]`; a horizon that ends early goes on with reward 0.
      target: action probabilities `[..., E, T, num_actions]` or `[num_actions]`.
      features: of each decision's observation and of every action, `[..., E, T, num_actions, F]`; see `table_features`.
      discount: discount factor of a period.
      ridge: penalty on squared coefficients, in numbers of observations; above 0.
      pooled: fit each period's Q on the transitions of all periods.

    Returns:
      The estimate, with one term for each horizon, `[..., E]`.

    Raises:
      ValueError: the log has no horizons, or the target or the features do not fit the log.
    """
    check_horizons(log, discount)
    target = checked_target(log, target)
    checks.positive("ridge", ridge)
    wanted = (*log.shape, log.num_actions)
    if features.shape[:-1] != wanted:
        raise ValueError(f"features must have shape {[*wanted, 'F']}, got {list(features.shape)}")
    dtype = log.reward.dtype
    features = features.astype(dtype)
    taken = jnp.take_along_axis(features, log.action[..., None, None], axis=-2)[..., 0, :]
    expected = jnp.einsum("...a,...af->...f", jnp.broadcast_to(target, wanted).astype(dtype), features)
    following = jnp.concatenate([expected[..., 1:, :], jnp.zeros_like(expected[..., :1, :])], axis=-2)
    taken, following, rewards = (jnp.moveaxis(x, len(log.shape) - 1, 0) for x in (taken, following, log.reward))
    first = expected[..., 0, :]  # [..., E, F]
    transitions = (taken[:-1], following[:-1], rewards[:-1])  # their next observation is known

    def fit(weights, x, outcome):
        gram = jnp.einsum("...e,t...ef,t...eg->...fg", weights, x, x)
        return solve_ridge(gram, jnp.einsum("...e,t...ef,t...e->...f", weights, x, outcome), ridge)

    def value(weights):
        def period(theta, now):
            x, after, reward = transitions if pooled else (part[None] for part in now)
            later = jnp.einsum("t...ef,...f->t...e", after, theta)
            return fit(weights, x, reward + discount * later), None

        last = fit(weights, taken, rewards) if pooled else fit(weights, taken[-1:], rewards[-1:])
        theta, _ = jax.lax.scan(period, last, transitions, reverse=True)
        start = jnp.einsum("...ef,...f->...e", first, theta)
        return jnp.sum(weights * start, axis=-1) / jnp.sum(weights, axis=-1)

    return by_gradient(value, jnp.ones(log.shape[:-1], dtype))


def table_features(log: DecisionLog, states: Int[Array, "... E T"], num_states: int) -> Float[Array, "... E T A F"]:
    """One-hot features of state and action, `[..., E, T, num_actions, num_states * num_actions]`.

    Args:
      log: logs `[..., E, T]`.
      states: index of the state before each decision, `[..., E, T]`.
      num_states: number of states.

    Raises:
      ValueError: states are not in range.
    """
    states, count = checked_states(log, states, num_states), log.num_actions
    cells = jnp.broadcast_to(jnp.arange(count), (*states.shape, count)) + states[..., None] * count
    return jax.nn.one_hot(cells, num_states * count, dtype=log.reward.dtype)
