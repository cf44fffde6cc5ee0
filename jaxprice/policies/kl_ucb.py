"""KL-UCB: the upper confidence bound of a Bernoulli mean that large deviations allow.

At pull t the index of arm k is w_k U_k, with signals in [0, 1], weights as in `ucb1` and

    U_k = max{ q : n_k kl(m_k, q) <= log(t) + c log(log(t)) },     kl(p, q) = p log(p/q) + (1-p) log((1-p)/(1-q)).

The equation kl(p, q) = d is solved in y, with 1 - q = (1 - p) exp(-y) and kl = (1 - p) y - p log(q / p): sqrt(2 kl) is
nearly linear in y both for small d, where y is close to sqrt(2 d p / (1 - p)), and for large d, so Newton's method on
sqrt(2 kl) = sqrt(2 d) from a blend of the two limits has an error in q below 2e-6 after two steps, anywhere. The logarithm
of q / p is taken as log1p((q - p) / p), without which float32 cancels where d is small.

Regret: asymptotically sum_k Delta_k log(T) / kl(m_k, m*), the Lai-Robbins bound. The proof takes c = 3; c = 0 is what the
authors recommend in practice, and the default. Ties go to the lowest price.

Source: A. Garivier, O. Cappe (2011), "The KL-UCB algorithm for bounded stochastic bandits and beyond", arXiv:1102.2490.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies import arms
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

_STEPS = 2


@struct.dataclass
class State:
    """Time of the next pull (int scalar, from 1), what a sale teaches, and the sums over arms."""

    time: jax.Array
    signal: arms.Signal
    arms: arms.Sums


@policy_maker
def kl_ucb(c=0.0, signal="demand"):
    """KL-UCB with Bernoulli divergence.

    Args:
      c: weight of log(log(t)), at least 0; may be traced.
      signal: "demand" or "reward", what it learns from.

    Raises:
      ValueError: a negative c, or an unknown signal.
    """
    checks.number("c", c, low=0)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        return State(jnp.int32(1), arms.learn(problem, signal, "kl_ucb"), arms.no_sums(problem))

    def act(key, state, observation):
        del key, observation
        log_t = jnp.log(state.time.astype(jnp.float32))
        budget = log_t + c * jnp.log(jnp.maximum(log_t, 1.0))
        inverse = 1 / state.arms.counts
        return jnp.argmax(state.signal.weights * upper_bound(state.arms.sums * inverse, budget * inverse))

    def update(key, state, transition):
        del key
        sums = state.arms.add(transition.action, state.signal.of(transition))
        return State(state.time + 1, state.signal, sums)

    return Policy(init, act, update)


def upper_bound(mean, divergence):
    """The largest q with kl(mean, q) <= divergence, for Bernoulli laws.

    Args:
      mean: float `[...]`, clipped to [0, 1].
      divergence: float `[...]`, at least 0; above 30 counts as 30.

    Returns:
      float32 `[...]`, within 3e-6.
    """
    p = jnp.clip(mean, 1e-9, 1 - 6e-8)
    d = jnp.clip(divergence, 1e-12, 30.0)
    rest, root = 1 - p, jnp.sqrt(2 * d)
    y = (d + 0.8 * root * jnp.sqrt(p * rest)) / rest
    for _ in range(_STEPS):
        gap = rest * _one_minus_exp(y)
        h = jnp.sqrt(2 * jnp.maximum(rest * y - p * _log1p(gap / p), 1e-30))
        y = jnp.maximum(y - h * (h - root) * (p + gap) / gap, 1e-9)
    return p + rest * _one_minus_exp(y)


def _one_minus_exp(y):
    """1 - exp(-y) for y >= 0 to working precision, in operations that vectorise on every backend."""
    series = y * (1 - y / 2 * (1 - y / 3 * (1 - y / 4 * (1 - y / 5 * (1 - y / 6)))))
    return jnp.where(y < 0.25, series, 1 - jnp.exp(-y))


def _log1p(x):
    """log(1 + x) for x >= 0 to working precision, likewise: 2 atanh(x / (2 + x)) where x is small."""
    s = x / (2 + x)
    square = s * s
    series = 2 * s * (1 + square * (1 / 3 + square * (1 / 5 + square / 7)))
    return jnp.where(x < 0.25, series, jnp.log(1 + x))
