"""Thompson sampling with the true prior, whatever it is: a posterior over markets drawn from a task distribution.

M markets are drawn once from `env.sample_params`; each period one of them is drawn from the posterior over the M, and its
best price is posted. With mean demand d_mk of market m at price k and a sale of y units from n buyers at price k,

    log w_m' = log w_m + y log d_mk + (n - y) log(1 - d_mk)        each buyer buys or not,
    log w_m' = log w_m + y log d_mk - n d_mk                       Poisson,
    log w_m' = log w_m - (y - n d_mk)^2 / (2 sigma^2)              Gaussian.

This is exact Thompson sampling for the prior that is uniform on the M markets, and approaches that of the task distribution
as M grows: with 100 sales the posterior of ten prices is wide against the spacing of a few thousand markets. With
`greedy`, the price that is best under the posterior mean of demand, which is what a seller does who does not value learning.
It takes the priors of meta-learning, where one kind of product is as another, as they are.

Regret: Bayesian regret O(sqrt(K T)) over the prior (Russo and Van Roy).

Sources: W. R. Thompson (1933), doi:10.1093/biomet/25.3-4.285; D. Russo, B. Van Roy (2014), "Learning to optimize via
posterior sampling", arXiv:1301.2609.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, random, samplers
from jaxprice.types import Discrete, Policy


@struct.dataclass
class State:
    """State of a seller.

    Attributes:
      margins: profit of a sale at each price, float `[num_prices]`.
      sigma: standard deviation of demand in a period where it is Gaussian, float scalar.
      log_weights: of the markets, the largest zero, float `[markets]`.
      buyers: of a period.
      noise: law of demand.
    """

    margins: jax.Array
    sigma: jax.Array
    log_weights: jax.Array
    buyers: int = struct.field(pytree_node=False)
    noise: str = struct.field(pytree_node=False)


def prior_thompson(env, markets=2000, seed=0, greedy=False):
    """Thompson sampling with the task distribution of `env` as its prior.

    Args:
      env: an environment with a grid of prices, whose state has the `mean_demand` of each: `StationaryMarket` and what
        wraps one.
      markets: M, how many are drawn from it, at most 100,000. Each is a number in the state of a lane.
      seed: of that draw; markets are apart from those that `simulate` draws with the same seed.
      greedy: whether to post the best price under the posterior mean instead.

    Raises:
      ValueError: an environment without such a table, or numbers out of range; at `init`, a market with other actions.
    """
    if checks.positive_int("markets", markets) > 100_000:
        raise ValueError(f"markets must be at most 100000, got {markets}")
    words = random.stream(seed, "init")  # not the stream that markets of lanes come from

    def drawn(number):
        key = random.address(words, 0, number)
        params = jax.tree.map(jnp.asarray, env.sample_params(key))
        return getattr(env.reset_env(jax.random.fold_in(key, 1), params)[1], "mean_demand", jnp.zeros(0))

    if not jax.eval_shape(drawn, jnp.uint32(0)).size:
        raise ValueError(f"prior_thompson needs a market whose mean demand is a table over prices, got {env.name}")
    means = np.asarray(jax.jit(jax.vmap(drawn))(jnp.arange(markets, dtype=jnp.uint32)), np.float32)

    def init(key, problem):
        del key
        space = problem.action_space
        if not isinstance(space, Discrete) or space.shape or space.n != means.shape[1]:
            raise ValueError(f"prior_thompson was made for {means.shape[1]} prices, this market takes {space}")
        sigma = jnp.maximum(jnp.asarray(problem.noise_scale, jnp.float32), 1e-6)
        margins = jnp.asarray(problem.margins, jnp.float32)
        return State(margins, sigma, jnp.zeros(markets, jnp.float32), problem.buyers, problem.noise)

    def act(key, state, observation):
        del observation
        weights = jnp.exp(state.log_weights)
        if greedy:
            demand = jnp.sum(weights[:, None] * means, axis=0)
        else:
            summed = jnp.cumsum(weights)
            u = samplers.uniform(jax.random.bits(key, (), jnp.uint32))
            number = jnp.minimum(jnp.sum(summed < u * summed[-1], dtype=jnp.int32), markets - 1)
            demand = jnp.asarray(means)[number]
        return jnp.argmax(state.margins * demand).astype(jnp.int32)

    def update(key, state, transition):
        del key
        mean, sold, buyers = jnp.asarray(means.T)[transition.action], transition.demand, state.buyers
        if state.noise == "gaussian":
            likely = -0.5 * ((sold - buyers * mean) / state.sigma) ** 2
        elif state.noise == "poisson":
            likely = sold * jnp.log(jnp.maximum(mean, 1e-12)) - buyers * mean
        else:
            rest = jnp.maximum(1 - mean, 1e-12)
            likely = sold * jnp.log(jnp.maximum(mean, 1e-12)) + (buyers - sold) * jnp.log(rest)
        new = state.log_weights + likely
        return state.replace(log_weights=new - jnp.max(new))

    act.description = f"prior_thompson({env!r}, markets={markets}, seed={seed}, greedy={greedy})"
    return Policy(init, act, update)
