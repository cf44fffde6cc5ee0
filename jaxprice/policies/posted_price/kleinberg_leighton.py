"""Kleinberg and Leighton: a bandit algorithm on a price grid whose size balances two losses.

A seller who may post any price of [low, high] to n buyers posts only

    p_i = low + (high - low) i / K,      i = 1, ..., K:

A coarse grid misses the best price; a fine grid has more arms to learn. Suppose that valuations are independent draws from
one distribution, and that profit has a single interior maximum with a negative second derivative there. Then the best price
of the grid is within O(1 / K^2) of the optimum. If an adversary sets the valuations, it is only within 1 / K:

| valuations | size K | algorithm on the grid | regret |
|---|---|---|---|
| "iid" | ceil((n / log n)^(1/4)) | UCB1 on the rewards | O(sqrt(n log n)); the lower bound is sqrt(n) |
| "adversarial" | ceil((n / log n)^(1/3)) | Exp3 | O(n^(2/3) log(n)^(1/3)); the lower bound is n^(2/3) |

Both algorithms are those of the modules `ucb1` (with `signal="reward"`) and `exp3`, with their conventions for t and ties. K
is the length of an array, so n is an option, not `problem.horizon`, which may be traced. n only determines K (10,000 buyers:
6 and 11 prices), while Exp3 takes its mixing from `problem.horizon`. Rewards are in units of the largest margin. With
`signal="demand"` the bonus of UCB1 is scaled by the price, as in `ucb1`: a departure from the paper that loses less.

If the market has a price grid, this policy has no choice of grid and refuses the market; use `ucb1` or `exp3` there.

Source: R. Kleinberg, T. Leighton (2003), "The value of knowing a demand curve: bounds on regret for online posted-price
auctions", doi:10.1109/SFCS.2003.1238232.
"""

import math

from jaxprice import checks
from jaxprice.policies.adversarial.exp3 import exp3
from jaxprice.policies.parts import arms
from jaxprice.policies.posted_price import own_grid
from jaxprice.policies.registry import policy_maker
from jaxprice.policies.stochastic.ucb1 import ucb1

VALUATIONS = ("iid", "adversarial")


@policy_maker(
    source="Kleinberg and Leighton (2003)",
    regret="sqrt(T log T); adversarial: T^(2/3) log(T)^(1/3)",
    feedback="reward or demand",
)
def kleinberg_leighton(horizon=10_000, num_prices=None, valuations="iid", signal="reward"):
    """UCB1 or Exp3 on the price grid of Kleinberg and Leighton.

    Args:
      horizon: number n of buyers for which the grid is made, an int.
      num_prices: size K of the grid; by default that of the paper for n.
      valuations: "iid" or "adversarial"; this selects the grid and the algorithm.
      signal: "reward" (as published) or "demand", the learning signal of UCB1.

    Raises:
      ValueError: sizes that are not positive ints, an unknown word, Exp3 on demand; at `init`, a market whose action is not
        one price of an interval.
    """
    size = grid_size(horizon, valuations)
    arms.check_signal(signal)
    if valuations == "adversarial" and signal != "reward":
        raise ValueError(f"signal must be 'reward' where valuations are adversarial, got {signal!r}")
    if num_prices is not None:
        size = checks.positive_int("num_prices", num_prices)
    policy = ucb1(signal=signal) if valuations == "iid" else exp3()
    return own_grid.on_interval("kleinberg_leighton", policy, lambda problem: own_grid.even(problem, size, first=False))


def grid_size(horizon, valuations="iid"):
    """The size of the grid for a number of buyers, an int."""
    checks.choice("valuations", valuations, VALUATIONS)
    n = max(checks.positive_int("horizon", horizon), 3)  # below e, n / log(n) increases again
    return math.ceil((n / math.log(n)) ** (1 / 4 if valuations == "iid" else 1 / 3))
