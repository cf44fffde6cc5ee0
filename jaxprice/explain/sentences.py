"""One sentence for a decision: what the price is expected to earn, how it ranks, why it was chosen, and which rule binds.

    2.40: expected profit 0.81 +- 0.09, second to 2.10 by 0.02, chosen because it was tried 12 times only; bound by the
    largest step

The reason is the first of these that holds:

| the price | reason |
|---|---|
| was never tried | it was never tried |
| is expected to earn most | it is expected to earn most |
| was tried less than half as often as the best one | it was tried n times only |
| is the best with a probability of at least 1 / K | it is the best price with probability p |
| teaches more than the best one, per squared regret | it teaches more |
| is posted with a probability below one | such prices are tried at random |
| otherwise | by the policy's own rule |

The reason is what the belief says for the price, not a trace of the program: a policy may post it for another reason.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.explain import readers
from jaxprice.explain.belief import Belief
from jaxprice.types import Discrete

CLOSE = 1e-6  # share of the highest price within which two prices are the same


def sentence(belief: Belief, price: float, *, bound: tuple[str, ...] = (), digits: int = 2) -> str:
    """The sentence for a posted price.

    Args:
      belief: the belief before the sale.
      price: the posted price; on an interval, the nearest of the belief's prices is described.
      bound: rules that moved the price, see `bounds`.
      digits: decimals of money.

    Raises:
      ValueError: the price is not a number, or far outside the belief's prices.
    """
    if not isinstance(belief, Belief):
        raise ValueError(f"belief must be a Belief, such as explain.belief returns, got {checks.shown(belief)}")
    price = float(checks.number("price", price, scalar=True))
    digits = checks.whole("digits", digits, 0, 12)
    low, high = belief.prices.min(), belief.prices.max()
    if not low - CLOSE * high - 1e-9 <= price <= high * (1 + CLOSE) + 1e-9:
        raise ValueError(f"price must be between {low:g} and {high:g}, the prices of the belief, got {price!r}")
    k = int(np.argmin(np.abs(belief.prices - price)))
    return describe(belief, k, f"{price:.{digits}f}", bound, digits)


def of_action(belief, action, *, bound=(), digits=2):
    """As `sentence`, for the index of a price or arm."""
    action = checks.whole("action", action, 0, len(belief.prices) - 1)
    same = len(np.unique(belief.prices)) < len(belief.prices)
    return describe(belief, action, f"arm {action}" if same else f"{belief.prices[action]:.{digits}f}", bound, digits)


def describe(belief, k, name, bound, digits):
    """The sentence for price k, called `name`."""
    spread = "" if belief.profit_std is None else f" +- {belief.profit_std[k]:.{digits}f}"
    parts = [f"{name}: expected profit {belief.profit[k]:.{digits}f}{spread}", _rank(belief, k, digits), _reason(belief, k)]
    ends = f"; bound by {' and '.join(bound)}" if bound else ""
    return ", ".join(parts) + ends


def _rank(belief, k, digits):
    """The place of a price among the expected profits."""
    order = np.argsort(-belief.profit, kind="stable")
    place = int(np.flatnonzero(order == k)[0])
    if len(order) == 1:
        return "the only price"
    other = order[1] if place == 0 else order[0]
    gap = abs(belief.profit[k] - belief.profit[other])
    same = len(np.unique(belief.prices)) < len(belief.prices)
    called = f"arm {other}" if same else f"{belief.prices[other]:.{digits}f}"
    if gap < 0.5 * 10.0**-digits:
        return f"level with {called}"
    if place == 0:
        return f"ahead of {called} by {gap:.{digits}f}"
    return f"{_ordinal(place + 1)} to {called} by {gap:.{digits}f}"


def _reason(belief, k):
    """Why the price was chosen, as the module says."""
    leader, counts = int(np.argmax(belief.profit)), belief.counts
    if counts is not None and counts[k] < 0.5:
        return "chosen because it was never tried"
    if k == leader or belief.profit[k] >= belief.profit[leader]:
        return "chosen because it is expected to earn most"
    if counts is not None and counts[k] < 0.5 * counts[leader]:
        times = f"{counts[k]:.0f}" if abs(counts[k] - round(counts[k])) < 1e-3 else f"the equivalent of {counts[k]:.1f}"
        return f"chosen because it was tried {times} time{'' if times == '1' else 's'} only"
    if belief.best[k] >= 1 / len(belief.best):
        return f"chosen because it is the best price with probability {belief.best[k]:.2f}"
    if belief.information[k] * belief.regret[leader] ** 2 > belief.information[leader] * belief.regret[k] ** 2:
        return "chosen because it teaches more for what it costs"
    if belief.chosen is not None and 0 < belief.chosen[k] < 1:
        return f"chosen at random, with probability {belief.chosen[k]:.2f}"
    return "chosen by the policy's own rule"


def _ordinal(n):
    words = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
    if n <= len(words):
        return words[n - 1]
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def bounds(policy: Any, state: Any, problem: Any, observation: Any = None, *, key: Any = None) -> tuple[str, ...]:
    """The rules of `policies.guarded` that moved its next price, as words; empty if none did, or for another policy.

    Args:
      policy: a policy made by `policies.guarded`.
      state: its state.
      problem: the problem of the seller.
      observation: what it sees before the sale.
      key: key of the decision; the proposal inside is drawn with it.

    Raises:
      ValueError: the policy inside cannot be made again from its description.
    """
    told = readers.told(policy)
    if told.name != "guarded" or not hasattr(state, "age"):
        return ()
    inner = _made(told.inner)
    key = jax.random.key(0) if key is None else key
    seen = problem.observation if observation is None else jnp.asarray(observation)
    posted, proposal = policy.act(key, state, seen), inner.act(key, state.inner, seen)
    if isinstance(problem.action_space, Discrete):
        grid = np.asarray(problem.prices, float).reshape(problem.num_prices, -1)
        posted, proposal = grid[int(posted)], grid[int(proposal)]
    posted, proposal = np.atleast_1d(np.asarray(posted, float)), np.atleast_1d(np.asarray(proposal, float))
    slack = 1e-5 * max(float(np.max(np.asarray(problem.high))), 1e-30)
    if np.all(np.abs(posted - proposal) <= slack):
        return ()
    last, age, found = np.atleast_1d(np.asarray(state.last, float)), int(state.age), []
    step, hold = told.options.get("step"), told.options.get("hold", 1)
    if np.any(proposal < np.asarray(state.low) - slack):
        found.append("the lowest price")
    if np.any(proposal > np.asarray(state.high) + slack):
        found.append("the highest price")
    if age and age < hold:
        found.append("the time that a price stays")
    elif age and step is not None and np.any(np.abs(proposal - last) > step + slack):
        found.append("the largest step")
    if age and told.options.get("markdown") and np.any(proposal > last + slack):
        found.append("the rule that a price never rises")
    if told.options.get("gap") is not None and np.ptp(proposal) > told.options["gap"] + slack:
        found.append("the largest difference between products")
    return tuple(found) or ("the guard",)


def _made(told):
    """The policy of a `Told`, made again."""
    from jaxprice import policies

    if told is None or told.name not in policies.list():
        raise ValueError("policy must be made by guarded from a policy of the catalogue, to compare its proposals")
    return policies.make(told.name, **told.options)
