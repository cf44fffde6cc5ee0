"""Information-directed sampling: minimise squared regret per bit of information about which price is best.

With independent Beta posteriors as in `thompson`, values v_k = w_k theta_k and A* = argmax_k v_k,

    p_j = P(A* = j),      M_{k,j} = E[theta_k | A* = j],      Delta_k = sum_j p_j (w_j M_{j,j} - w_k M_{k,j}),
    g_k = sum_j p_j kl(M_{k,j}, m_k),

where Delta_k is the expected regret of arm k, m_k its posterior mean, and g_k the mutual information between A* and the
next sale at price k. The action is drawn from the probabilities pi that minimise

    (sum_k pi_k Delta_k)^2 / sum_k pi_k g_k.

Some pi on at most two arms attains the minimum (Russo and Van Roy). For every pair of arms the best mixture has a closed
form, and the code takes the best pair. With `information="variance"`, kl(M, m) is replaced by 2 (M - m)^2, a lower bound
(Pinsker) and the paper's cheaper version.

Probabilities and conditional means are integrals over theta_j, on `nodes` points of arm j's own posterior. The points are
equally spaced in a normal's quantiles of its log odds. The distribution functions of the other arms at these points are
those of `beta_law`, and E[theta 1{theta <= x}] = m F(x) - x (1 - x) f(x) / (a + b). With 24 nodes the error of p_j is at
most .003, and that of g_k three per cent (48: .001 and 1.5). Cost: nodes * K^2 distribution functions a period, so it suits
tens of arms. Every buyer of a period counts as one observation. Learning from reward flips a coin, as in `thompson`. Prices
at or below cost are never best, and are valued at their mean.

Regret: at most sqrt(K H(A*) T / 2) on average over the prior, H(A*) <= log(K) the entropy of the best arm.

Source: D. Russo, B. Van Roy (2018), "Learning to optimize via information-directed sampling", arXiv:1403.5556.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from jaxprice import checks, lanes, samplers
from jaxprice.policies.parts import beta_law
from jaxprice.policies.parts.beta_posterior import posterior_policy
from jaxprice.policies.registry import policy_maker
from jaxprice.policies.stochastic.imed import divergence

INFORMATION = ("mutual", "variance")


@policy_maker(
    source="Russo and Van Roy (2018)",
    regret="sqrt(K T log K)",
    feedback="Bernoulli demand, or reward",
)
def information_directed(nodes=24, information="mutual", a=1.0, b=1.0, signal="demand"):
    """Information-directed sampling with Beta posteriors.

    Args:
      nodes: number of points of each integral, at least 8.
      information: "mutual" for mutual information, "variance" for its lower bound.
      a, b: shapes of the prior, at least 1; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: too few nodes, shapes below 1, an unknown information or signal; at `init`, demand that is not Bernoulli.
    """
    if checks.positive_int("nodes", nodes) < 8:
        raise ValueError(f"nodes must be at least 8, got {nodes}")
    checks.choice("information", information, INFORMATION)

    def choose(key, state):
        regret, gain, _ = regret_and_information(state.a, state.b, state.signal.weights, nodes, information)
        return draw(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), regret, gain)

    def chances(state):
        regret, gain, _ = regret_and_information(state.a, state.b, state.signal.weights, nodes, information)
        first, second, share = best_pair(regret, gain)
        every = jnp.arange(regret.shape[0], dtype=jnp.int32)
        return share * (every == first) + (1 - share) * (every == second)

    return posterior_policy("information_directed", a, b, signal, choose, chances)


def regret_and_information(
    a: Float[Array, " K"], b: Float[Array, " K"], weights: Float[Array, " K"], nodes: int, information: str = "mutual"
) -> tuple[Float[Array, " K"], Float[Array, " K"], Float[Array, " K"]]:
    """Expected regret, information gain, and probability to be best of every arm, float `[K]` each; arguments as above."""
    mean, failures = a / (a + b), beta_law.law(b[None, :], a[None, :])  # the distributions of 1 - theta_k
    theta, mass = _nodes(a, b, nodes)
    own, pays = jnp.eye(a.size, dtype=bool), weights > 0

    def add(sums, node):
        """Sums over nodes of P(theta_j, A* = j), `[j]`, and of that times the mean of theta_k, `[j, k]`."""
        theta, mass = node
        x = (weights * theta)[:, None] / jnp.where(pays, weights, 1.0)[None, :]
        surely, never = (x >= 1) | ~pays[None, :], x < 1e-7  # theta_k <= x
        below, density = _below(jnp.clip(x, 1e-7, 1 - 1e-6), failures)
        below = jnp.where(surely, 1.0, jnp.where(never, 0.0, below))
        partial = jnp.maximum(mean[None, :] * below - density / (a + b)[None, :], 0.0)
        partial = jnp.where(surely, mean[None, :], jnp.where(never, 0.0, partial))
        given = jnp.minimum(partial / jnp.maximum(below, 1e-30), 1.0)  # E[theta_k | theta_j, A* = j]
        joint = jnp.where(pays, mass, 0.0) * jnp.prod(jnp.where(own, 1.0, below), axis=1)
        given = jnp.where(own, theta[:, None], given)
        return (sums[0] + joint, sums[1] + joint[:, None] * given), None

    start = jnp.zeros_like(a), jnp.zeros((a.size, a.size), a.dtype)
    (best, means), _ = jax.lax.scan(add, start, (theta.T, mass.T))
    total = jnp.maximum(jnp.sum(best), 1e-30)
    means = means / jnp.maximum(best, 1e-30)[:, None]
    best = best / total
    means = jnp.where((best > 1e-12)[:, None], jnp.clip(means, 0.0, 1.0), mean[None, :])  # [j, k]
    ahead = jnp.diagonal(means)[:, None] * weights[:, None] - weights[None, :] * means
    regret = jnp.sum(best[:, None] * jnp.maximum(ahead, 0.0), axis=0)
    regret = jnp.where(jnp.any(weights > 0), regret, jnp.max(weights * mean) - weights * mean)
    apart = 2 * (means - mean[None, :]) ** 2
    if information == "mutual":
        apart = divergence(means, jnp.broadcast_to(mean[None, :], means.shape))
    return regret, jnp.sum(best[:, None] * apart, axis=0), best


def _below(x, failures):
    """P(theta <= x), and the density of theta times x (1 - x)."""
    half_square = lanes.stored(failures.half_square)(1 - x)
    return lanes.stored(failures.tail)(1 - x, half_square), failures.density(half_square)


def draw(u: Float[Array, ""], regret: Float[Array, " K"], gain: Float[Array, " K"]) -> Int[Array, ""]:
    """The arm that the best mixture of two arms plays for the uniform number u.

    Args:
      u: float scalar in (0, 1).
      regret, gain: at least 0, float `[K]`.

    Returns:
      int32 scalar.
    """
    first, second, share = best_pair(regret, gain)
    return jnp.where(u < share, first, second).astype(jnp.int32)


def best_pair(
    regret: Float[Array, " K"], gain: Float[Array, " K"]
) -> tuple[Int[Array, ""], Int[Array, ""], Float[Array, ""]]:
    """The mixture of two arms with the smallest ratio of squared regret to information: `(first, second, share)`."""
    gain = jnp.maximum(gain, 1e-20)
    fall, rise = regret[:, None] - regret[None, :], gain[:, None] - gain[None, :]
    safe = jnp.where(fall * rise == 0, 1.0, fall), jnp.where(fall * rise == 0, 1.0, rise)
    inner = jnp.where(fall * rise == 0, 1.0, regret[None, :] / safe[0] - 2 * gain[None, :] / safe[1])
    shares = jnp.stack([jnp.ones_like(fall), jnp.clip(inner, 0.0, 1.0)])  # an end is the first arm alone
    ratio = (regret[None, None, :] + shares * fall[None]) ** 2 / (gain[None, None, :] + shares * rise[None])
    size = regret.shape[0]
    once = jnp.arange(size)[:, None] <= jnp.arange(size)[None, :]  # (j, i) is the same mixture as (i, j)
    at = jnp.argmin(jnp.where(once, ratio, jnp.inf).ravel())
    return (at % size**2) // size, at % size, shares.ravel()[at]


def _nodes(a, b, nodes):
    """Points of each posterior and their probabilities, `[K, nodes]` each."""
    z = jnp.asarray(np.linspace(-5, 5, nodes), jnp.float32)[None, :]
    spread, centre = jnp.sqrt(1 / a + 1 / b)[:, None], jnp.log(a / b)[:, None]
    odds = centre + spread * z
    theta = jax.nn.sigmoid(odds)
    # the density of the log odds is theta^a (1 - theta)^b / B(a, b)
    log_mass = -a[:, None] * jax.nn.softplus(-odds) - b[:, None] * jax.nn.softplus(odds)
    return theta, jax.nn.softmax(log_mass, axis=1)
