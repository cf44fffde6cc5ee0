"""What policies with Beta posteriors share: a state, what a sale teaches, and the refusal of other demand than Bernoulli.

Each price has an independent Beta(a, b) prior on its purchase probability; after s_k sales and f_k refusals at price k
the posterior is Beta(a + s_k, b + f_k), and every buyer of a period counts as one observation. Learning from reward, the
signal x in [0, 1] is first turned into a success with probability x (Agrawal and Goyal): signals and weights as in
`ucb1`, posteriors as in `thompson`.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies import arms
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of a policy that plays by its posteriors.

    Attributes:
      time: number of the next period, from 1, int scalar.
      signal: what a sale teaches.
      a, b: shapes of the posteriors, float `[num_prices]`.
      buyers: observations a period.
    """

    time: jax.Array
    signal: arms.Signal
    a: jax.Array
    b: jax.Array
    buyers: int = struct.field(pytree_node=False)

    @property
    def mean(self):
        """Posterior means, float `[num_prices]`."""
        return self.a / (self.a + self.b)


def posterior_policy(name, a, b, signal, choose):
    """The policy that keeps Beta posteriors and plays what `choose` says.

    Args:
      name: of the policy, for error messages.
      a, b: shapes of the prior, at least 1; may be traced.
      signal: "demand" or "reward".
      choose: `(key, state) -> action`.

    Raises:
      ValueError: shapes below 1, or an unknown signal; at `init`, a market without a price grid or Bernoulli demand.
    """
    checks.number("a", a, low=1)
    checks.number("b", b, low=1)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        if problem.noise != "bernoulli":
            raise ValueError(f"{name} needs bernoulli demand, this market has {problem.noise}; see gaussian_thompson")
        zeros = jnp.zeros(problem.num_prices, jnp.float32)
        return State(jnp.int32(1), arms.learn(problem, signal, name), zeros + a, zeros + b, problem.buyers)

    def act(key, state, observation):
        del observation
        return choose(key, state)

    def update(key, state, transition):
        trials, x = state.buyers, state.signal.of(transition)
        if signal == "reward":
            trials, x = 1, (jax.random.uniform(key, (), jnp.float32) < x).astype(jnp.float32)
        a = state.a.at[transition.action].add(trials * x)
        b = state.b.at[transition.action].add(trials * (1 - x))
        return State(state.time + 1, state.signal, a, b, state.buyers)

    return Policy(init, act, update)
