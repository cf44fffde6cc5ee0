"""Boltzmann exploration: random arms, with higher probability for higher means; and its correct form with Gumbel noise.

Let v_k = w_k m_k / (s max_j |w_j|), with signals and weights as in `ucb1`. The scale s is the larger of one and the range of
the m_k, because signals need not be in [0, 1]. Pull t plays

    argmax_k v_k + b_k Z_k,      Z_k independent standard Gumbel variables.

| schedule | noise b_k | consequence |
|---|---|---|
| "constant" | temperature | the choice is softmax: P(k) = exp(v_k / b) / sum_j exp(v_j / b) |
| "log" | temperature / log(1 + t) | softmax with an inverse temperature that grows as log(t) |
| "gumbel" | temperature |w_k| / (max_j |w_j| sqrt(n_k)) | Boltzmann-Gumbel exploration: each arm has its own noise |

Every arm is pulled once first, from the lowest price up; t counts the coming pull. The temperature is in units of the
largest margin. Its default is .1 if it is constant, and otherwise 1/2, the sub-Gaussian constant of signals in [0, 1].

Regret: T for a constant temperature. Cesa-Bianchi et al. prove that no monotone schedule of one temperature for all arms is
good in all bandits ("log" either explores too long or abandons the best arm). With "gumbel" and a temperature of at least
the sub-Gaussian constant, O(sum_k log(T)^2 / Delta_k), and O(sqrt(K T) log(K)) for any gaps; the weights are ours.

Sources: R. D. Luce (1959), "Individual choice behavior", for softmax; N. Cesa-Bianchi, C. Gentile, G. Lugosi, G. Neu
(2017), "Boltzmann exploration done right", arXiv:1705.10257.
"""

import jax
import jax.numpy as jnp

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, best_arm
from jaxprice.policies.registry import policy_maker

SCHEDULES = ("constant", "log", "gumbel")


@policy_maker(
    source="Cesa-Bianchi, Gentile, Lugosi and Neu (2017)",
    regret="log T squared with Gumbel noise, else T",
    feedback="demand or reward",
)
def boltzmann(temperature=None, schedule="constant", signal="demand"):
    """Boltzmann exploration.

    Args:
      temperature: scale of the noise in the schedule, above 0; may be traced. By default .1 or 1/2.
      schedule: "constant", "log" or "gumbel".
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: a temperature that is not positive, an unknown schedule or signal.
    """
    checks.choice("schedule", schedule, SCHEDULES)
    if temperature is None:
        temperature = 0.1 if schedule == "constant" else 0.5
    checks.number("temperature", temperature, low=1e-6)

    def choose(key, state):
        values, noise = rule(state)
        gumbel = -jnp.log(-jnp.log(samplers.uniform(jax.random.bits(key, values.shape, jnp.uint32))))
        return arms.best(values + noise * gumbel, state.arms)

    def chances(state):
        values, noise = rule(state)
        new = state.arms.counts < 0.5
        found = best_arm.of_gumbels(values, noise) if schedule == "gumbel" else jax.nn.softmax(values / noise)
        first = jnp.arange(values.shape[0], dtype=jnp.int32) == jnp.argmax(new)
        return jnp.where(jnp.any(new), first.astype(jnp.float32), found)

    def rule(state):
        """Values of the arms, and the noise, a scalar or `[num_prices]`."""
        counts, weights = state.arms.counts, state.signal.weights
        means, pulled = state.arms.sums / counts, counts >= 0.5
        spread = jnp.max(jnp.where(pulled, means, -jnp.inf)) - jnp.min(jnp.where(pulled, means, jnp.inf))
        spread = jnp.maximum(spread, 1.0)
        noise = temperature * spread * jnp.maximum(jnp.max(jnp.abs(weights)), 1e-30)
        if schedule == "log":
            noise = noise / jnp.log1p(state.time.astype(jnp.float32))
        elif schedule == "gumbel":
            noise = temperature * spread * jnp.abs(weights) / jnp.sqrt(counts)
        return weights * means, noise

    return arms.index_policy("boltzmann", signal, choose, chances)
