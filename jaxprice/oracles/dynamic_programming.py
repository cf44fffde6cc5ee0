"""Tabular Markov decision processes, solved exactly.

States s, actions a, expected reward r(s, a) and transition probabilities P(s' | s, a), all known:

- finite horizon: V_0 = 0, V_h(s) = max_a r(s, a) + sum_s' P(s' | s, a) V_{h-1}(s');
- discounted: V(s) = max_a r(s, a) + discount sum_s' P(s' | s, a) V(s');
- average reward (unichain): g + h(s) = max_a r(s, a) + sum_s' P(s' | s, a) h(s'), with gain g and bias h.

The two infinite-horizon problems share one iteration, h <- h + step (Th - h), relative to the first state so that float32
keeps its digits. With d = Th - h, the gain lies in [min d, max d], and the discounted value in
Th + discount / (1 - discount) [min d, max d] (MacQueen's bounds), so the iteration stops by the span max d - min d. A step
below one is the aperiodicity transformation P <- (1 - step) I + step P. Without it, periodic chains, such as seasons, do not
converge.

Sources: M. L. Puterman (1994), "Markov Decision Processes", sections 4.3, 6.6 and 8.5, doi:10.1002/9780470316887;
D. J. White (1963) for relative value iteration; J. MacQueen (1966) for the bounds.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num

from jaxprice import checks, exact_sums


def finite_horizon(
    reward: Num[ArrayLike, "S A"], transition: Num[ArrayLike, "S A S"], horizon: int
) -> Float[Array, "{horizon}+1 S"]:
    """Optimal expected total reward for every number of periods to go.

    Args:
      reward: expected reward, float `[S, A]`.
      transition: P(s' | s, a), float `[S, A, S]`.
      horizon: number of periods, int.

    Returns:
      values: float `[horizon + 1, S]`; row h has h periods to go, row 0 is zero. Units of reward.

    Raises:
      ValueError: wrong shapes, rows of `transition` that are not distributions, a horizon below one.
    """
    reward, transition = _mdp(reward, transition)
    horizon = checks.positive_int("horizon", horizon)

    def backward(values, _):
        values = jnp.max(reward + _expect(transition, values), axis=1)
        return values, values

    start = jnp.zeros_like(reward[:, 0])
    return jnp.concatenate([start[None], jax.lax.scan(backward, start, length=horizon)[1]])


def value_iteration(
    reward: Num[ArrayLike, "S A"],
    transition: Num[ArrayLike, "S A S"],
    discount: ArrayLike,
    tolerance: ArrayLike | None = None,
    *,
    max_iterations: int = 100_000,
) -> tuple[Float[Array, " S"], Float[Array, "S A"]]:
    """Optimal expected discounted reward.

    Args:
      reward: expected reward, float `[S, A]`.
      transition: P(s' | s, a), float `[S, A, S]`.
      discount: weight of the next period, float in [0, 1).
      tolerance: largest error of the values, in units of reward, by default 1e-6 of the largest reward. It is raised to the
        working precision, about 10 rounding units of the value.
      max_iterations: largest number of iterations; results are NaN if it is reached before convergence.

    Returns:
      values: float `[S]`, units of reward.
      q: value of each action, float `[S, A]`; `values` is its maximum over actions.

    Raises:
      ValueError: wrong shapes, rows of `transition` that are not distributions, a discount outside [0, 1).
    """
    reward, transition = _mdp(reward, transition)
    if not checks.is_traced(discount) and not np.all((np.asarray(discount) >= 0) & (np.asarray(discount) < 1)):
        raise ValueError(f"discount must be in [0, 1), got {discount!r}")
    allowed = 2 * _tolerance(tolerance, reward) * (1 - discount) / jnp.maximum(discount, 1e-6)
    bias, level = _relative(reward, transition, discount, 1.0, allowed, max_iterations)
    q = reward + discount * _expect(transition, bias) + discount * level / (1 - discount)
    return jnp.max(q, axis=1), q


def relative_value_iteration(
    reward: Num[ArrayLike, "S A"],
    transition: Num[ArrayLike, "S A S"],
    tolerance: ArrayLike | None = None,
    max_iterations: int = 100_000,
    *,
    step: ArrayLike = 0.5,
) -> tuple[Float[Array, ""], Float[Array, " S"], Float[Array, "S A"]]:
    """Optimal long-run average reward of a unichain MDP.

    Args:
      reward: expected reward, float `[S, A]`.
      transition: P(s' | s, a), float `[S, A, S]`.
      tolerance: twice the largest error of the gain, in units of reward, by default 1e-6 of the largest reward. It is raised
        to the working precision, about 10 rounding units of the largest reward or bias.
      max_iterations: largest number of iterations; results are NaN if it is reached before convergence (slow mixing, or
        several recurrent classes with different gains).
      step: weight of the aperiodicity transformation, in (0, 1]; 1 is faster but correct only for aperiodic chains.

    Returns:
      gain: average reward a period, float scalar.
      bias: value of starting in each state relative to the first one, float `[S]`, units of reward.
      q: value of each action relative to the gain, float `[S, A]`; its maximum over actions is `bias`.

    Raises:
      ValueError: wrong shapes, rows of `transition` that are not distributions, a step outside (0, 1].
    """
    reward, transition = _mdp(reward, transition)
    if not checks.is_traced(step) and not np.all((np.asarray(step) > 0) & (np.asarray(step) <= 1)):
        raise ValueError(f"step must be in (0, 1], got {step!r}")
    bias, gain = _relative(reward, transition, 1.0, step, _tolerance(tolerance, reward), max_iterations)
    return gain, bias, reward - gain + _expect(transition, bias)


def policy_gain(reward: Num[ArrayLike, " S *components"], transition: Num[ArrayLike, "S S"]) -> Float[Array, " *components"]:
    """Long-run average reward of a unichain Markov chain: the stationary distribution, by a linear solve, times the reward.

    Args:
      reward: float `[S]`, or several components `[S, C]`.
      transition: P(s' | s), float `[S, S]`.

    Returns:
      float scalar or `[C]`, units of reward.

    Raises:
      ValueError: wrong shapes, rows of `transition` that are not distributions.
    """
    exact_sums.ensure()
    reward, transition = 1.0 * jnp.asarray(reward), 1.0 * jnp.asarray(transition)
    num_states = transition.shape[-1]
    if transition.shape != (num_states, num_states) or reward.ndim not in (1, 2) or len(reward) != num_states:
        raise ValueError(f"reward must be [S] or [S, C], transition [S, S], got {reward.shape} and {transition.shape}")
    rows("transition", transition)
    system = (jnp.eye(num_states, dtype=transition.dtype) - transition + 1 / num_states).T
    factors = jax.scipy.linalg.lu_factor(system)
    right = jnp.full_like(transition[0], 1 / num_states)
    weights = jax.scipy.linalg.lu_solve(factors, right)
    error = right - jnp.matmul(system, weights, precision="highest")
    weights = weights + jax.scipy.linalg.lu_solve(factors, error)  # one step of refinement
    return jnp.matmul(weights / jnp.sum(weights), reward, precision="highest")


def pareto_front(
    rewards: Num[ArrayLike, "S A C"],
    transition: Num[ArrayLike, "S A S"],
    weights: Num[ArrayLike, "W C"],
    tolerance: ArrayLike | None = None,
    max_iterations: int = 100_000,
    *,
    step: ArrayLike = 0.5,
) -> tuple[Float[Array, "W C"], Int[Array, "W S"]]:
    """Average rewards of each component under the policies that are optimal for weighted sums of the components.

    With positive weights every row is Pareto optimal; a zero weight gives only weak optimality. Ties between actions go to
    the lowest index. The result is the convex hull of the Pareto front: a policy inside the hull maximises no weighted sum.

    Args:
      rewards: expected reward of each component, float `[S, A, C]`.
      transition: P(s' | s, a), float `[S, A, S]`.
      weights: float `[W, C]`, not negative.
      tolerance, max_iterations, step: as in `relative_value_iteration`.

    Returns:
      gains: average reward a period of each component, float `[W, C]`; NaN where the iteration did not converge.
      policies: action of each state, int `[W, S]`.

    Raises:
      ValueError: wrong shapes, rows of `transition` that are not distributions, negative weights.
    """
    exact_sums.ensure()
    rewards, weights = 1.0 * jnp.asarray(rewards), 1.0 * jnp.asarray(weights)
    if rewards.ndim != 3 or weights.ndim != 2 or weights.shape[1] != rewards.shape[2]:
        raise ValueError(f"rewards must be [S, A, C] and weights [W, C], got {rewards.shape} and {weights.shape}")
    checks.number("weights", weights, low=0)
    transition = _mdp(rewards[..., 0], transition)[1]
    states = jnp.arange(len(rewards))

    def solve(weight):
        reward = jnp.matmul(rewards, weight, precision="highest")
        gain, _, q = relative_value_iteration(reward, transition, tolerance, max_iterations, step=step)
        policy = jnp.argmax(q, axis=1)
        gains = policy_gain(rewards[states, policy], transition[states, policy])
        return jnp.where(jnp.isnan(gain), jnp.nan, gains), policy

    return jax.vmap(solve)(weights)


def span_iteration(
    residual: Callable, centred: Callable, bias: Float[Array, "*n"], step: ArrayLike, max_iterations: int
) -> tuple[Float[Array, "*n"], Float[Array, ""]]:
    """Relative value iteration, h <- h + step (Th - h), until the span of Th - h is small.

    Args:
      residual: `h -> (Th - h, largest span)`; the span is allowed up to that float scalar.
      centred: `h -> h` less a constant, which keeps the numbers small.
      bias: the first h, float `[...]`.
      step: weight of the aperiodicity transformation, in (0, 1].
      max_iterations: largest number of iterations.

    Returns:
      bias: the last h, float `[...]`; NaN without convergence.
      level: the middle of the span of Th - h, float scalar; NaN without convergence.
    """

    def unfinished(carry):
        _, change, enough, count = carry
        return (jnp.ptp(change) > enough) & (count < max_iterations)

    def improve(carry):
        bias, change, _, count = carry
        bias = centred(bias + step * change)
        return bias, *residual(bias), count + 1

    bias, change, enough, _ = jax.lax.while_loop(unfinished, improve, (bias, *residual(bias), 0))
    converged = jnp.ptp(change) <= enough
    level = (jnp.max(change) + jnp.min(change)) / 2
    return jnp.where(converged, bias, jnp.nan), jnp.where(converged, level, jnp.nan)


def rows(name: str, probabilities: Float[Array | np.ndarray, "*n S"]) -> Float[Array | np.ndarray, "*n S"]:
    """Checks that the last axis of `probabilities` `[..., S]` holds distributions; traced values pass unchecked.

    Raises:
      ValueError: an entry is negative or a row does not sum to one within 1e-4.
    """
    if not checks.is_traced(probabilities):
        array = np.asarray(probabilities, dtype=float)
        if not np.all(array >= 0) or not np.allclose(array.sum(-1), 1, rtol=0, atol=1e-4):
            total = array.sum(-1)
            raise ValueError(
                f"{name} must hold probabilities that sum to one over the last axis, "
                f"got entries from {array.min():g} and sums from {total.min():g} to {total.max():g}"
            )
    return probabilities


def _tolerance(tolerance, reward):
    """The tolerance in units of reward, by default 1e-6 of the largest reward."""
    return 1e-6 * jnp.max(jnp.abs(reward)) if tolerance is None else tolerance


def _mdp(reward, transition):
    """Reward and transition as float arrays `[S, A]` and `[S, A, S]`, checked."""
    exact_sums.ensure()
    reward, transition = 1.0 * jnp.asarray(reward), 1.0 * jnp.asarray(transition)
    if reward.ndim != 2 or transition.shape != (*reward.shape, reward.shape[0]):
        raise ValueError(f"reward must be [S, A] and transition [S, A, S], got {reward.shape} and {transition.shape}")
    checks.number("reward", reward)
    return reward, rows("transition", transition)


def _expect(transition, values):
    """Expected `values` `[S]` of the next state, `[S, A]`."""
    return jnp.matmul(transition, values, precision="highest")


def _relative(reward, transition, discount, step, allowed, max_iterations):
    """Iterates until the span of Th - h is at most `allowed`: bias `[S]` relative to state 0, and level of Th - h."""
    precision = 16 * jnp.finfo(reward.dtype).eps

    def residual(bias):
        change = jnp.max(reward + discount * _expect(transition, bias), axis=1) - bias
        scale = jnp.max(jnp.abs(reward)) + jnp.max(jnp.abs(bias))
        return change, jnp.maximum(allowed, precision * scale).astype(reward.dtype)

    def centred(bias):
        return (bias - bias[0]).astype(reward.dtype)

    return span_iteration(residual, centred, jnp.zeros_like(reward[:, 0]), step, max_iterations)
