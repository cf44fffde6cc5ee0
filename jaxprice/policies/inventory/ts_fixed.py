"""Thompson sampling with inventory, TS-fixed: `ts_update` with the initial stock spread evenly over the season.

    d_ki ~ posterior of the mean demand for product i under action k,     c = I / T, in every period,
    x = the optimal mix of the fluid programme with demand d and capacity c (`stock`),
    action k with probability x_k, nothing with probability 1 - sum x.

Past sales do not change the capacity. So a season that sells fast runs out of stock, and one that sells slowly ends with
stock left: a loss of order sqrt(T) even if demand is known. Posteriors and departures are as in `ts_update`.

Regret: Bayesian regret against the fluid bound O(sqrt(T K log K)), plus terms of order sqrt(T) for the stock.

Source: K. J. Ferreira, D. Simchi-Levi, H. Wang (2018), "Online network revenue management using Thompson sampling",
doi:10.1287/opre.2018.1755, algorithm 1.
"""

from jaxprice.policies.inventory.ts_update import thompson_with_stock
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Ferreira, Simchi-Levi and Wang (2018)",
    regret="sqrt(K T log K), Bayesian",
    feedback="Bernoulli or Poisson demand",
)
def ts_fixed(a=1.0, b=1.0):
    """TS-fixed.

    Args:
      a, b: shapes of the Beta prior, or shape and rate of the Gamma prior, at least 1; may be traced.

    Raises:
      ValueError: a prior below 1; at `init`, unlimited stock, no price grid, demand neither Bernoulli nor Poisson.
    """
    return thompson_with_stock("ts_fixed", a, b, lambda season, books: season.stock / season.horizon)
