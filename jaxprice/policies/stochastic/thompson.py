"""Thompson sampling with Beta posteriors: draw a purchase probability for every price, post the best price for the draw.

Each price has an independent Beta(a, b) prior on its purchase probability. With s_k sales and f_k refusals at price p_k,

    theta_k ~ Beta(a + s_k, b + f_k),      action = argmax_k w_k theta_k,     w_k = p_k - c.

Every buyer of a period counts as one observation. When learning from reward (`signal="reward"`), the signal x in [0, 1]
first becomes a success with probability x (Agrawal and Goyal): this is Thompson sampling for a plain bandit. The Beta draws
come from `jaxprice.samplers`, with an error of the distribution function below 1e-5.

Regret: asymptotically the Lai-Robbins bound, sum_k Delta_k log(T) / kl(m_k, m*).

Sources: W. R. Thompson (1933), doi:10.1093/biomet/25.3-4.285; S. Agrawal, N. Goyal (2012), "Analysis of Thompson sampling
for the multi-armed bandit problem", arXiv:1111.1797.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, beta_posterior
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The learning signal, shapes of the posteriors, and their rounding errors, float `[num_prices]` each."""

    signal: arms.Signal
    a: jax.Array
    b: jax.Array
    lost: tuple[jax.Array, jax.Array]
    buyers: int = struct.field(pytree_node=False)


@policy_maker(source="Thompson (1933)", regret="log T, optimal", feedback="Bernoulli demand, or reward")
def thompson(a=1.0, b=1.0, signal="demand"):
    """Thompson sampling with Beta posteriors.

    Args:
      a, b: shapes of the prior, at least 1; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: shapes below 1, or an unknown signal; at `init`, demand that is not Bernoulli.
    """
    checks.number("a", a, low=1)
    checks.number("b", b, low=1)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        if problem.noise != "bernoulli":
            raise ValueError(f"thompson needs bernoulli demand, this market has {problem.noise}; see gaussian_thompson")
        zeros = jnp.zeros(problem.num_prices, jnp.float32)
        return State(arms.learn(problem, signal, "thompson"), zeros + a, zeros + b, (zeros, zeros), problem.buyers)

    def act(key, state, observation):
        del observation
        z1, z2 = samplers.normal_pair_from_word(jax.random.bits(key, state.a.shape, jnp.uint32))
        return jnp.argmax(state.signal.weights * samplers.beta(z1, z2, state.a, state.b))

    def update(key, state, transition):
        trials, x = state.buyers, state.signal.of(transition)
        if signal == "reward":
            trials, x = 1, (jax.random.uniform(key) < x).astype(jnp.float32)
        shapes = beta_posterior.grow(state, transition.action, trials * x, trials * (1 - x))
        return State(state.signal, *shapes, state.buyers)

    return Policy(init, act, update)
