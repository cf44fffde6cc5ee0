"""RMLP: episodes of doubling length, priced by an l1-penalised maximum likelihood estimate, for many irrelevant features.

A buyer with features x buys at price p if x'theta + noise >= p; the distribution of the noise and its scale s are known.
Episode k = 1, 2, ... has 2^(k-1) periods, all with the best price for theta_k (`sale_likelihood`),

    p_t = argmax (p - c) G((x_t'theta_k - p) / s),
    theta_{k+1} = argmax over ||theta||_1 <= radius of
                  mean over episode k of log G(c_t (x_t'theta - p_t) / s) - lambda ||theta||_1,

with c_t = 1 for a sale and -1 for a refusal, and theta_1 = 0. lambda decreases as the root of the length n of episode k,

    lambda = penalty / s * sqrt(log(d + 1) / n).

The paper's penalty is 4 u s, with u the steepest log likelihood in the ball, so that 4 u s >= 4. With this bound all
coefficients are zero for thousands of periods. The intercept is a feature like others and is penalised like others. The
paper writes log d, and prices episode 1 at 0.

Only the first sales of an episode are stored, 64 for every three features. The estimate is that of `bounded_mle`: exact for
episodes up to this length, and within a tenth of its standard error beyond. It starts from 0.

Regret: O(s0 log d log T) if s0 of d coefficients are not zero and contexts are independent draws from a distribution that
identifies them; no policy has less than order s0 (log d + log T).

Source: A. Javanmard, H. Nazerzadeh (2019), "Dynamic pricing in high-dimensions", arXiv:1609.07574.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.personal.emlp import doubling_policy
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Javanmard and Nazerzadeh (2019)",
    regret="s0 log d log T for i.i.d. contexts",
    feedback="a sale or none",
)
def rmlp(radius=None, penalty=0.1):
    """RMLP.

    Args:
      radius: bound on the l1 norm of the coefficients of the valuations, money, above 0; may be traced. By default 10/3 of
        the highest price.
      penalty: constant of the l1 penalty, at least 0; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market other than one price of an interval with linear valuations under
        logistic or Gaussian noise of a known scale.
    """
    checks.number("penalty", penalty, low=0)

    def weight(market, periods):
        return penalty / market.scale * jnp.sqrt(jnp.log(jnp.float32(market.size + 1)) / periods)

    return doubling_policy("rmlp", radius, 10 / 3, "l1", weight)
