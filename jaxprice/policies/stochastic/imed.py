"""IMED: play the arm whose data are the least evidence against it being the best.

With the largest value v* = max_k w_k m_k, the policy plays the first arm with the smallest

    n_k kl(m_k, v* / w_k) + log(n_k),      kl(p, q) = p log(p/q) + (1-p) log((1-p)/(1-q)),

with signals in [0, 1] and weights as in `ucb1`. The first term is zero if w_k m_k = v*. An arm that cannot reach v* at any
demand (w_k <= v*, m_k < 1) is not played. With equal weights, as in a bandit or with `signal="reward"`, this is the paper's
index for Bernoulli rewards. Every arm is pulled once first, from the lowest price up. The index contains no time and no
tuning parameter.

Regret: asymptotically sum_k Delta_k log(T) / kl(m_k, m*), the Lai-Robbins bound (with weights, kl(m_k, v* / w_k)).
Signals outside [0, 1] (Gaussian or Poisson demand) are not covered by the theory; means are clipped.

Source: J. Honda, A. Takemura (2015), "Non-asymptotic analysis of a new bandit algorithm for semi-bounded rewards",
Journal of Machine Learning Research 16, 3721-3756.
"""

import jax.numpy as jnp

from jaxprice.policies.parts import arms
from jaxprice.policies.registry import policy_maker


@policy_maker(source="Honda and Takemura (2015)", regret="log T, optimal", feedback="demand or reward")
def imed(signal="demand"):
    """Indexed minimum empirical divergence, for Bernoulli distributions.

    Args:
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: an unknown signal.
    """

    def choose(key, state):
        del key
        counts, weights = state.arms.counts, state.signal.weights
        mean = jnp.clip(state.arms.sums / counts, 0.0, 1.0)
        value = weights * mean
        target = jnp.max(jnp.where(counts < 0.5, -jnp.inf, value))
        behind = value < target - 1e-6 * jnp.abs(target)  # a tie up to rounding counts as a tie
        needed = target / jnp.where(weights == 0, 1.0, weights)
        evidence = jnp.where(behind, counts * divergence(mean, needed), 0.0)
        return arms.best(-(evidence + jnp.log(counts)), state.arms)

    return arms.index_policy("imed", signal, choose)


def divergence(p, q):
    """kl(p, q) of Bernoulli distributions, written with `log1p`, because differences of logarithms cancel near p = q.

    Args:
      p: float `[...]` in [0, 1].
      q: float `[...]`; the divergence is infinite outside [0, 1], and at an end of [0, 1] that differs from p.

    Returns:
      float `[...]`, at least 0.
    """
    inside = (q > 0) & (q < 1)
    at = jnp.where(inside, q, 0.5)
    gap = at - p
    up = gap > 0  # uses kl(p, q) = kl(1 - p, 1 - q)
    gap, near, far, beyond = jnp.abs(gap), jnp.where(up, p, 1 - p), jnp.where(up, 1 - p, p), jnp.where(up, 1 - at, at)
    lost = jnp.where(near > 0, near * jnp.log1p(gap / jnp.where(near > 0, near, 1.0)), 0.0)
    kl = jnp.maximum(far * jnp.log1p(gap / beyond) - lost, 0.0)
    return jnp.where(inside, kl, jnp.where(q == p, 0.0, jnp.inf))
