"""What a policy would do next if it posted a price and sold, or did not: its answers to questions, whatever is inside it.

For each price k and outcome y (no sale; every buyer buys) the policy learns from the period (p_k, y), and the law of its
next action is read. If the present law p is a posterior's (p_j: probability that price j is best), it is a martingale,

    p = q_k p^(k, sale) + (1 - q_k) p^(k, refusal),

for one buyer a period, with q_k the conversion rate that the policy expects. So q_k is found by least squares, cut at 0 and
1. For Thompson sampling this is its posterior mean, exactly. For a trained agent, whose law is the softmax of its logits, it
is the conversion rate with which its next decision is on average like the present one; `misfit`, the largest entry of
p - q p^sale - (1 - q) p^refusal, says how far its law is from a posterior.

Source of the martingale: D. Russo, B. Van Roy (2014), "Learning to optimize via posterior sampling", arXiv:1301.2609.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxprice import checks
from jaxprice.agents import trained
from jaxprice.ope.propensities import check_policy, propensities
from jaxprice.types import Discrete, Policy, Problem, Transition


@dataclasses.dataclass(frozen=True)
class Answers:
    """Laws of the next action, float64.

    Attributes:
      now: the present law, `[K]`.
      after_refusal, after_sale: the law after a period at each price without a sale, and with one, `[K, K]`.
      implied: q, `[K]`; NaN where the two laws after a price are the same, so that it teaches nothing.
      misfit: largest deviation from a martingale with that q, `[K]`.
      information: mean relative entropy of the next law, given the outcome at each price, in nats, `[K]`.
    """

    now: Float[np.ndarray, " K"]
    after_refusal: Float[np.ndarray, "K K"]
    after_sale: Float[np.ndarray, "K K"]
    implied: Float[np.ndarray, " K"]
    misfit: Float[np.ndarray, " K"]
    information: Float[np.ndarray, " K"]


def counterfactual(policy: Policy, state: Any, problem: Problem, observation: Any = None, *, draws: int = 1000) -> Answers:
    """Ask a policy on a price grid what it would do next.

    Args:
      policy: a `Policy`, also a trained agent.
      state: its state.
      problem: the problem of the seller, with one product.
      observation: what it sees before the sale, float `[n]`; by default `problem.observation`. Time, last price and last
        demand are those of the asked period afterwards, other entries stay.
      draws: number of keys over which actions are counted, if the policy has no formula of its law.

    Raises:
      ValueError: the policy is none, or the market has no grid of prices of one product.
    """
    check_policy(policy)
    space = problem.action_space
    if not isinstance(space, Discrete) or space.shape or jnp.ndim(problem.prices) != 1:
        raise ValueError(f"problem must have a price grid of one product, got {checks.shown(space)}")
    seen = problem.observation if observation is None else observation
    seen = jnp.zeros(3, jnp.float32) if seen is None else jnp.asarray(seen, jnp.float32)
    refused, sold = jax.jit(lambda state, seen: _asked(policy, state, problem, seen, draws))(state, seen)
    now = np.asarray(law(policy, state, seen, space.n, draws), float)
    return answers(now, np.asarray(refused, float), np.asarray(sold, float))


def answers(now, refused, sold):
    """The `Answers` for laws `[K]`, `[K, K]` and `[K, K]`."""
    apart = sold - refused
    square = np.sum(apart**2, axis=1)
    teaches = square > 1e-16
    q = np.clip(np.sum((now - refused) * apart, axis=1) / np.where(teaches, square, 1), 0, 1)
    mixed = q[:, None] * sold + (1 - q[:, None]) * refused
    information = q * _entropy(sold, mixed) + (1 - q) * _entropy(refused, mixed)
    return Answers(now, refused, sold, np.where(teaches, q, np.nan), np.abs(now - mixed).max(axis=1), information)


def law(policy, state, observation, size, draws=1000):
    """The law of the next action, `[K]`; that of a trained agent is the softmax of its logits."""
    if isinstance(state, trained.State):
        return jax.nn.softmax(state.logits)
    key = jax.random.key(0)
    return propensities(policy, state, observation, num_actions=size, key=key, draws=draws)[0]


def _asked(policy, state, problem, seen, draws):
    """Laws after each price without a sale, and with sales to all buyers, `[K, K]` each."""
    size, key = problem.num_prices, jax.random.key(1)
    margins = jnp.asarray(problem.margins, jnp.float32)
    prices, step = jnp.asarray(problem.prices, jnp.float32), 1 / jnp.asarray(problem.horizon, jnp.float32)

    def after(action, demand):
        told = jnp.stack([seen[0] + step, prices[action], demand])
        following = jnp.concatenate([told, seen[3:]])
        period = Transition(seen, action, prices[action], demand, margins[action] * demand, following)
        return law(policy, policy.update(key, state, period), following, size, draws)

    actions = jnp.arange(size, dtype=jnp.int32)
    most = jnp.float32(problem.buyers)
    return jax.vmap(lambda k: after(k, jnp.float32(0)))(actions), jax.vmap(lambda k: after(k, most))(actions)


def _entropy(x, y):
    """Relative entropy of rows."""
    x, y = np.maximum(x, 1e-300), np.maximum(y, 1e-300)
    return np.maximum(np.sum(x * np.log(x / y), axis=-1), 0)
