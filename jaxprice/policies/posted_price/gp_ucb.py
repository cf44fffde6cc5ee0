"""GP-UCB: a Gaussian process over the price, and the price with the largest upper confidence bound.

Demand at nearby prices is similar. With a Gaussian process over the price (`price_process`), every sale is data for all
prices. With posterior means m_k and standard deviations s_k of the signal of price k, and weights w_k as in `ucb1`, the
policy posts the first price with the largest

    w_k (m_k + sqrt(beta_t) s_k),      beta_t = scale * 2 log(K t^2 pi^2 / (6 delta)),

where t is the number of the coming sale. When learning from demand, the process is over the conversion rate. beta_t with
scale = 1 is Theorem 1 of Srinivas et al. for a finite set. Their experiments divide it by 5, which is the default here.
Their process has mean zero and is over the reward itself, as with `signal="reward"` and `prior_mean=0`.

With `monotone`, demand decreases with the price: each bound is replaced by the minimum of its own and those of all lower
prices, as in `monotone_ucb`. The monotone GP-UCB of Weaver, Kumar and Jain uses draws from the process conditioned on being
decreasing. The minimum is ours. It costs nothing and keeps the bounds valid, but uses less of the constraint.

If any price in an interval may be posted, the grid is `num_prices` evenly spaced prices, including both ends. The loss
between them is permanent.

Regret: O(sqrt(T gamma_T log K)) with probability 1 - delta against the best price of the grid, for demand drawn from the
prior and Gaussian noise. gamma_T, the largest information gain of T sales, is O(log(T)^2) for the RBF kernel in one
dimension.

Sources: N. Srinivas, A. Krause, S. M. Kakade, M. Seeger (2010), "Gaussian process optimization in the bandit setting: no
regret and experimental design", arXiv:0912.3995; I. N. Weaver, V. Kumar, L. Jain (2025), "Nonparametric pricing bandits
leveraging informational externalities to learn the demand curve", doi:10.1287/mksc.2022.0247.
"""

import math

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.posted_price import falling_demand, own_grid, price_process
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Srinivas, Krause, Kakade and Seeger (2010)",
    regret="sqrt(T gamma_T)",
    feedback="demand or reward",
)
def gp_ucb(
    scale=0.2,
    delta=0.1,
    monotone=False,
    kernel="rbf",
    lengthscale=0.3,
    prior_mean=0.5,
    prior_sd=0.5,
    noise=None,
    signal="demand",
    num_prices=20,
):
    """GP-UCB over the price.

    Args:
      scale: factor of beta_t, at least 0; may be traced.
      delta: probability that a bound ever fails, in (0, 1]; may be traced.
      monotone: whether the seller knows that demand decreases with the price.
      kernel: "rbf", "matern52" or "matern32".
      lengthscale: lengthscale of the kernel, as a share of the price range; may be traced.
      prior_mean, prior_sd: mean and standard deviation of the signal of any price before the first sale; may be traced.
      noise: standard deviation of a signal, at least .001; may be traced. By default from the market's noise.
      signal: "demand" or "reward", the learning signal.
      num_prices: size of the grid, if the market has none.

    Raises:
      ValueError: numbers out of range, an unknown kernel or signal, monotone rewards; at `init`, sets of products, or
        one price for all arms.
    """
    checks.number("scale", scale, low=0)
    checks.number("delta", delta, low=1e-30, high=1)
    model = {"kernel": kernel, "lengthscale": lengthscale, "prior_mean": prior_mean, "prior_sd": prior_sd}
    model |= {"noise": noise, "signal": signal}
    price_process.check(**model, monotone=monotone, num_prices=num_prices)

    def choose(key, state):
        del key
        time, size = state.time.astype(jnp.float32), state.mean.shape[0]
        beta = 2 * scale * (math.log(size * math.pi**2 / 6) + 2 * jnp.log(time) - jnp.log(jnp.asarray(delta, jnp.float32)))
        bound = state.mean + jnp.sqrt(beta) * state.std
        return jnp.argmax(state.signal.weights * (falling_demand.smallest_so_far(bound) if monotone else bound))

    policy = price_process.process_policy("gp_ucb", choose, **model)
    return own_grid.on_grid_or_interval("gp_ucb", policy, num_prices)
