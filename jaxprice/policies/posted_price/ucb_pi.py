"""UCB-PI: upper confidence bounds on the prices that the purchases of segments do not rule out (partial identification).

Consumers belong to S segments of known shares psi_s (`SegmentedValuation`). Those of a segment value the product at v_s up
to an unknown half-width delta, which is the same for all segments. Each period offers one price to a few consumers, and the
seller observes their segments. From the purchases of segment s the seller computes

    lo_s, hi_s = highest price that all its consumers accepted (default 0), lowest price that all refused (default p_K),
    v_s        = (lo_s + hi_s) / 2,
    d_s        = max(0, (highest price that one of them accepted - lowest price that one refused) / 2),
    delta      = min(max_s d_s + a sum_s psi_s (max_j d_j - d_s), p_K / 2),
    LB_k = w_k sum_s psi_s 1{v_s - delta >= p_k},      UB_k = w_k sum_s psi_s 1{v_s + delta >= p_k},

with margins w_k = p_k - c; a segment without data is at most in UB. Price k is dominated if UB_k <= max_l LB_l; the price
with the largest LB is never dominated. The period's signal x = w_k * units sold / consumers has mean m_k and variance
estimate V_k = mean(x^2) - m_k^2 + sqrt(2 log(t) / n_k). Among the prices that are not dominated, the policy posts the one
with the largest index:

    m_k + w_k sqrt(2 log(t) / n_k)                                  UCB-PI
    m_k + 2 w_k delta sqrt(log(t) / n_k * min(1/4, V_k))            UCB-PI-tuned (`tuned`)

Profits and prices are in units of the highest price p_K, which is one in the paper. Each price is pulled once first, in
random order; t counts the coming pull. delta and the bounds are computed in each of the first `early` periods, and in every
`every`-th period after them.

d_s is the smallest half-width that explains the purchases of a segment, as the text of the paper says. Its formula,
(hi_s - lo_s) / 2, is another number, and far too wide until all prices near v_s were tried. The largest d_s is biased
downwards. The paper corrects it by the shares of segments at each d_s, but we could not read the correction; a = 1
(`correction`) is the plain reading. It earns more than the printed results (`studies/misra_segments.py`). If noise makes
lo_s and hi_s cross, v_s does not change.

The state records exactly which prices the consumers of a segment accepted or refused, in two bits for each segment and
price: S K / 4 bytes a lane, 25 kB for the 1,000 segments and 100 prices of the paper.

Regret: at most 8 sum_k w_k log(T) / Delta_k + O(1) for UCB-PI, as for UCB1 with price-scaled bonuses; the rate does not show
the gain from domination. Both variants fail if the best price is ruled out, which happens while delta is underestimated.

Source: K. Misra, E. M. Schwartz, J. Abernethy (2019), "Dynamic online pricing with incomplete information using multiarmed
bandit experiments", doi:10.1287/mksc.2018.1129.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, scale, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

BITS = 32  # number of prices in a word


@struct.dataclass
class State:
    """State of UCB-PI.

    Attributes:
      time: number of the next period, from 1, int scalar.
      unit: the highest price, money, float scalar; all other numbers are in this unit.
      margins: w_k, float `[num_prices]`.
      prices: p_k, float `[num_prices]`.
      arms: number of periods at each price, and sums of profit per consumer.
      squares, lost: sums of their squares, and rounding errors (`totals`), float `[num_prices]`.
      order: random rank of a price before its first pull, float `[num_prices]`; ties have probability zero up to rounding.
      accepted, refused: bit k of a segment is set once a consumer accepted (refused) price k, uint32 `[words, segments]`.
      half_width: delta, float scalar.
      dominated: bool `[num_prices]`.
    """

    time: jax.Array
    unit: jax.Array
    margins: jax.Array
    prices: jax.Array
    arms: arms.Sums
    squares: jax.Array
    lost: jax.Array
    order: jax.Array
    accepted: jax.Array
    refused: jax.Array
    half_width: jax.Array
    dominated: jax.Array


@policy_maker(
    source="Misra, Schwartz and Abernethy (2019)",
    regret="log T",
    feedback="demand of each segment",
)
def ucb_pi(tuned=True, early=200, every=20, correction=1.0):
    """UCB with partial identification of segments' valuations.

    Args:
      tuned: whether the bonus shrinks with delta and the variance (UCB-PI-tuned).
      early: number of first periods in each of which the bounds are computed, an int.
      every: number of periods between computations afterwards, an int.
      correction: factor of the correction of delta, a in the module, at least 0; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market without segments or without a price grid.
    """
    checks.positive_int("early", early)
    checks.positive_int("every", every)
    checks.number("correction", correction, low=0)

    def init(key, problem):
        arms.require_grid(problem, "ucb_pi")
        segments, size = _num_segments(problem), problem.num_prices
        blank = jnp.zeros((-(-size // BITS), segments), jnp.uint32)
        prices, zeros = jnp.asarray(problem.prices, jnp.float32), jnp.zeros(size, jnp.float32)
        unit = scale.or_one(prices[-1])
        return State(
            time=jnp.int32(1),
            unit=unit,
            margins=jnp.asarray(problem.margins, jnp.float32) / unit,
            prices=prices / unit,
            arms=arms.no_sums(problem),
            squares=zeros,
            lost=zeros,
            order=jax.random.uniform(key, (size,), jnp.float32),
            accepted=blank,
            refused=blank,
            half_width=jnp.float32(0),
            dominated=zeros > 0,
        )

    def act(key, state, observation):
        del key, observation
        inverse = 1 / state.arms.counts
        mean = state.arms.sums * inverse
        share = jnp.log(state.time.astype(jnp.float32)) * inverse
        if tuned:
            variance = state.squares * inverse - mean**2 + jnp.sqrt(2 * share)
            width = 2 * state.half_width * jnp.sqrt(share * jnp.clip(variance, 0.0, 0.25))
        else:
            width = jnp.sqrt(2 * share)
        first = jnp.where((state.arms.counts < 0.5) & ~state.dominated, state.order, -1.0)
        best = jnp.argmax(jnp.where(state.dominated, -jnp.inf, mean + state.margins * width))
        return jnp.where(jnp.max(first) >= 0, jnp.argmax(first), best)

    def update(key, state, transition):
        del key
        seen, k = transition.next_observation, jnp.asarray(transition.action, jnp.int32)
        x = transition.reward / state.unit / seen.purchases.shape[0]
        word, bit = k // BITS, jnp.uint32(1) << (k % BITS).astype(jnp.uint32)
        heard = _heard(seen.segments, seen.purchases, state.accepted.shape[1])
        here = (jnp.arange(state.accepted.shape[0], dtype=jnp.int32) == word)[:, None]
        accepted = state.accepted | jnp.where(here, (bit * (heard & 1))[None, :], jnp.uint32(0))
        refused = state.refused | jnp.where(here, (bit * (heard >> 1))[None, :], jnp.uint32(0))
        due = (state.time <= early) | (state.time % every == 0)

        def bounds(i, before):
            del before
            zero = (i >> 31).astype(jnp.uint32)  # depends on i: XLA would hoist the work out of the loop, even for no round
            return identify(accepted | zero, refused | zero, seen.shares, state.prices, state.margins, correction)

        before = state.half_width, state.dominated  # all lanes share `due`: a loop of at most one round, not a selection
        half_width, dominated = jax.lax.fori_loop(0, due.astype(jnp.int32), bounds, before)
        sums, square = state.arms.add(k, x), jnp.zeros_like(state.squares).at[k].set(x * x)
        squares, lost = totals.plus(state.squares, state.lost, square, sums.pulls >= totals.LONG)
        learned = {"accepted": accepted, "refused": refused, "half_width": half_width, "dominated": dominated}
        return state.replace(time=state.time + 1, arms=sums, squares=squares, lost=lost, **learned)

    return Policy(init, act, update)


def _num_segments(problem):
    """The number of segments of the market; raises if the market has none."""
    for told in (problem.details.get("shares"), getattr(problem.observation, "shares", None)):
        if told is not None:
            return told.shape[0]
    raise ValueError("ucb_pi needs the shares of the segments of consumers, but this market does not give them")


def _heard(segments, purchases, size):
    """The purchases of each segment: 1 a purchase, 2 a refusal, 3 both, 0 no data; uint32 `[segments]`."""
    answers = jnp.where(purchases, jnp.uint32(1), jnp.uint32(2))
    each = jnp.arange(size, dtype=jnp.int32)

    def hear(i, heard):
        return heard | jnp.where(each == segments[i], answers[i], jnp.uint32(0))

    return jax.lax.fori_loop(0, segments.shape[0], hear, jnp.zeros(size, jnp.uint32))


def identify(accepted, refused, shares, prices, margins, correction=1.0):
    """The identified half-width and prices: `(delta, dominated)`, float scalar and bool `[num_prices]`.

    Args:
      accepted, refused: bits of prices, uint32 `[words, segments]`.
      shares: sizes of the segments, float `[segments]`.
      prices, margins: float `[num_prices]`.
      correction: factor of the correction of delta, float scalar.
    """
    top = prices[-1]
    low = _price_of(_highest(accepted & ~refused), prices, 0.0)
    high = _price_of(_lowest(refused & ~accepted), prices, top)
    forced = (_price_of(_highest(accepted), prices, 0.0) - _price_of(_lowest(refused), prices, top)) / 2
    forced = jnp.maximum(forced, 0.0)
    widest = jnp.max(forced)
    half_width = jnp.minimum(widest + correction * jnp.sum(shares * (widest - forced)), top / 2)
    unseen = jnp.all((accepted | refused) == 0, axis=0)
    lower, upper = demand_bounds((low + high) / 2, half_width, unseen, shares, prices)
    lower, upper = margins * lower, margins * upper
    best = jnp.argmax(lower)
    return half_width, (upper <= lower[best]) & (jnp.arange(prices.shape[0], dtype=best.dtype) != best)


def demand_bounds(middle, half_width, unseen, shares, prices):
    """Shares of consumers who certainly buy and who may buy at each price, float `[num_prices]` each.

    Args:
      middle: v_s, float `[segments]`.
      half_width: delta, float scalar.
      unseen: segments without data, bool `[segments]`.
      shares, prices: as in `identify`.
    """
    surely = jnp.where(unseen, -1.0, middle - half_width)
    maybe = jnp.where(unseen, prices[-1], middle + half_width)

    def at(price):
        return jnp.sum(jnp.where(surely >= price, shares, 0.0)), jnp.sum(jnp.where(maybe >= price, shares, 0.0))

    return jax.lax.map(at, prices)


def _highest(words):
    """Position of the highest set bit over the words of each segment, int `[segments]`; -1 if there is none."""
    places = jnp.arange(words.shape[0], dtype=jnp.int32)[:, None] * BITS + (BITS - 1) - jax.lax.clz(words).astype(jnp.int32)
    return jnp.max(jnp.where(words != 0, places, -1), axis=0)


def _lowest(words):
    """Position of the lowest set bit, int `[segments]`; -1 if there is none."""
    isolated = words & (~words + jnp.uint32(1))
    places = (
        jnp.arange(words.shape[0], dtype=jnp.int32)[:, None] * BITS + (BITS - 1) - jax.lax.clz(isolated).astype(jnp.int32)
    )
    none = words.shape[0] * BITS
    place = jnp.min(jnp.where(words != 0, places, none), axis=0)
    return jnp.where(place == none, -1, place)


def _price_of(place, prices, default):
    """Prices at places, float `[segments]`; `default` for -1."""
    return jnp.where(place < 0, default, prices[jnp.maximum(place, 0)])
