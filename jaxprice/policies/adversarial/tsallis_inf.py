"""Tsallis-INF: follow the regularised leader with Tsallis entropy of order 1/2, in adversarial and stochastic bandits.

Losses are 1 - x, where x in [0, 1] are the gains of `exponential`; L_k are the sums of estimated losses. The arm of pull t
is drawn with the probabilities that minimise sum_k q_k L_k - (4 / eta_t) sum_k sqrt(q_k). These are

    q_k = 4 / (eta_t (L_k - y))^2,      y < min L such that they sum to one.

| estimator | estimate of the loss of arm k when i is played | eta_t |
|---|---|---|
| "importance" | 1{k = i} (1 - x) / q_k | 2 / sqrt(t) |
| "reduced" variance | 1{k = i} (1 - x - B_k) / q_k + B_k, B_k = 1/2 if q_k >= eta_t^2, otherwise 0 | 4 / sqrt(t) |

The policy does not need the horizon. Let z = eta_t (min L - y) / 2, between 1 and sqrt(K), and let
u_k = eta_t (L_k - min L) / 2. The equation is sum_k (z + u_k)^-2 = 1. Its left side to the power -1/2 is concave and nearly
linear (exactly linear if all losses are equal). So four Newton steps from z = 1 leave an error of the sum below 1e-6 for up
to 1,000 arms, and dividing by the sum removes it. Losses are stored relative to the smallest.

Regret: against the best fixed arm at most 4 sqrt(K T) + 1 ("importance"), or 2 sqrt(K T) up to logarithms ("reduced"); with
stochastic demand and one best arm, of order sum_k log(T) / Delta_k.

Source: J. Zimmert, Y. Seldin (2021), "Tsallis-INF: an optimal algorithm for stochastic and adversarial bandits", Journal of
Machine Learning Research 22 (28), 1-49.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, exponential
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

NEWTON_STEPS = 4
RATES = (("importance", 2.0), ("reduced", 4.0))


@struct.dataclass
class State:
    """Number of the next pull, int scalar, from 1; the learning signal; L - min L and q, float `[num_prices]`."""

    time: jax.Array
    signal: arms.Signal
    range: exponential.Range
    losses: jax.Array
    probabilities: jax.Array


@policy_maker(
    source="Zimmert and Seldin (2021)",
    regret="sqrt(K T); log T where demand is stochastic",
    feedback="reward",
)
def tsallis_inf(estimator="importance", rate=None):
    """Tsallis-INF.

    Args:
      estimator: "importance" or "reduced", the estimator of losses.
      rate: learning rate of the first pull, eta_t sqrt(t), above 0; may be traced. The default depends on the estimator.

    Raises:
      ValueError: an unknown estimator, or a rate out of range.
    """
    published = dict(RATES)
    checks.choice("estimator", estimator, published)
    if rate is not None:
        checks.number("rate", rate, low=1e-6)
    first = published[estimator] if rate is None else rate

    def eta(time):
        return first / jnp.sqrt(time.astype(jnp.float32))

    def init(key, problem):
        del key
        learned, size = arms.learn(problem, "reward", "tsallis_inf"), problem.num_prices
        even = jnp.full(size, 1 / size, jnp.float32)
        return State(jnp.int32(1), learned, exponential.unit_range(), jnp.zeros(size, jnp.float32), even)

    def act(key, state, observation):
        del observation
        return exponential.draw(key, state.probabilities)

    def update(key, state, transition):
        del key
        action, probabilities = transition.action, state.probabilities
        seen, gain = state.range.place(state.signal.of(transition))
        loss, chance = 1 - gain, jnp.maximum(probabilities[action], 1e-12)
        losses = state.losses
        if estimator == "reduced":
            base = 0.5 * (probabilities >= eta(state.time) ** 2).astype(jnp.float32)
            loss, losses = loss - base[action], losses + base
        losses = losses.at[action].add(loss / chance)
        losses = losses - jnp.min(losses)
        return State(state.time + 1, state.signal, seen, losses, leader(losses, eta(state.time + 1)))

    return Policy(init, act, update, arms.of_state(lambda state: state.probabilities))


def leader(losses, eta):
    """The probabilities q defined in the module's docstring.

    Args:
      losses: L - min L, float `[num_prices]`.
      eta: learning rate, float scalar.

    Returns:
      float `[num_prices]`, positive, summing to one.
    """
    u = losses * (eta / 2)
    z = jnp.float32(1)
    for _ in range(NEWTON_STEPS):
        inverse = 1 / (z + u)
        square = inverse * inverse
        total = jnp.sum(square)
        z = z + total * (jnp.sqrt(total) - 1) / jnp.sum(square * inverse)
    inverse = 1 / (z + u)
    square = inverse * inverse
    return square / jnp.sum(square)
