"""GP-Thompson: a Gaussian process over the price, and the best price for a demand curve drawn from the posterior.

With the posterior N(m, C) over the signals of all prices (`price_process`) and weights w_k as in `ucb1`, each period draws a
whole curve and posts the first best price for it:

    f ~ N(m, scale^2 C),      argmax_k w_k f_k.

Draws at nearby prices are similar, so data from one price are used at its neighbours. `thompson`, in contrast, draws each
price independently.

With `monotone`, demand decreases with the price: the drawn curve is replaced by the nearest nonincreasing one in squares
(isotonic regression). Lin and Dunson give the argument that the projected draws are a posterior for a monotone curve.
Weaver, Kumar and Jain, whose monotone GP-TS this follows, instead draw from the process conditioned on being decreasing, a
truncated normal that needs a rejection sampler. The two distributions differ, but agree where the data are clear.

If any price in an interval may be posted, the grid is `num_prices` evenly spaced prices, including both ends. The loss
between them is permanent.

Regret: O(sqrt(T gamma_T)) up to logarithms on average over the prior, against the best price of the grid, as for `gp_ucb`.

Sources: H. Ringbeck, A. Huchzermeier (2019), "Dynamic pricing and learning: an application of Gaussian process regression",
doi:10.2139/ssrn.3406293; I. N. Weaver, V. Kumar, L. Jain (2025), "Nonparametric pricing bandits leveraging informational
externalities to learn the demand curve", doi:10.1287/mksc.2022.0247; L. Lin, D. B. Dunson (2014), "Bayesian monotone
regression using Gaussian process projection", arXiv:1306.4041.
"""

import jax
import jax.numpy as jnp

from jaxprice import checks, samplers
from jaxprice.policies.posted_price import falling_demand, own_grid, price_process
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Ringbeck and Huchzermeier (2019)",
    regret="sqrt(T gamma_T)",
    feedback="demand or reward",
)
def gp_thompson(
    scale=1.0,
    monotone=False,
    kernel="rbf",
    lengthscale=0.3,
    prior_mean=0.5,
    prior_sd=0.5,
    noise=None,
    signal="demand",
    num_prices=20,
):
    """Thompson sampling with a Gaussian process over the price.

    Args:
      scale: factor of the standard deviation of draws, at least 0; may be traced.
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
    model = {"kernel": kernel, "lengthscale": lengthscale, "prior_mean": prior_mean, "prior_sd": prior_sd}
    model |= {"noise": noise, "signal": signal}
    price_process.check(**model, monotone=monotone, num_prices=num_prices)

    def choose(key, state):
        size = state.root.shape[1]
        pairs = samplers.normal_pair_from_word(jax.random.bits(key, ((size + 1) // 2,), jnp.uint32))
        curve = state.draw(jnp.concatenate(pairs)[:size], scale)
        return jnp.argmax(state.signal.weights * (falling_demand.falling(curve) if monotone else curve))

    policy = price_process.process_policy("gp_thompson", choose, **model)
    return own_grid.on_grid_or_interval("gp_thompson", policy, num_prices)
