"""Private quadrisection: personal prices for demand of any form, learned under differential privacy.

The features for prices, scaled to [0, 1]^d, fall into J equal cubes. A cube has an interval of prices, at first that of the
market. It offers the two ends and three evenly spaced prices between, p_1 < ... < p_5, one a period: in period t = 0, 1, ...
all cubes offer p_k, k = t mod 5 + 1. Let f_k be the estimated mean revenue of p_k in the cube since its interval last
changed, in units of `ceiling` and clipped to [0, 1] (unless `cut=False`). Then

    f_1 < f_2 < f_3 by a margin   ->   the interval becomes [p_2, p_5],
    f_3 > f_4 > f_5 by a margin   ->   the interval becomes [p_1, p_4]      (the first one, if both hold),

and the cube forgets its data. If revenue has a single peak in the price and f is exact, the new interval contains it. After
every period every cube is tested, so the times of tests reveal nothing about anybody. Let R_k and M_k be the revenue and the
number of buyers at p_k, n the number of periods since the interval changed, and T the horizon of the problem. For the
smaller of the two gaps:

| trust | who adds noise | f_k | margin | tested once |
|---|---|---|---|---|
| "central" | the seller, to the nodes of a tree: R_k, M_k | R_k / M_k | 3 c1 / sqrt(m) + 3 c1' / m, m = min M_k | m >= c2 |
| "local" | each buyer, to R_k of all J cubes | J R_k / (5 n) | 3 k1 J / (e sqrt(n)) | n >= k2 |

| constants | c1 | c1' | c2 | k1 | k2 |
|---|---|---|---|---|---|
| "theory" | sqrt(log(2 T^3)) | 4 c2 | 76 log(2 T^3)^2 / e | 1.7 sqrt(log(2 T)) | 31 log T |
| "experiment" | .001 sqrt(log T) | .01 c2 | log(T)^2 / e | .001 sqrt(log T) | .1 log T |

The second set is that of the published experiments. `width` (c1, k1), `slack` (c1') and `least` (c2, k2) override them. The
margins of the theory are wide and its waiting times long. Those of the experiment are far below the noise of a test at e = 1
and less, so intervals then close in on prices partly at random. Noise is Laplace, with scale

    central: 2 B / e,  B = floor(log2(ceil(T / 5))) + 1, one for R_k and one for M_k;      local: 2 / e.

Privacy. "local": the data that a buyer sends are e-private with respect to any other buyer (two buyers differ by 1 in at
most two sums). "central": the prices of other buyers reveal at most e about whether a buyer came at all (R_k and M_k of one
cell change by at most 1, in at most B nodes), and at most 2 e about one buyer against another, who may be in another cube.
`epsilon=None` adds no noise and guarantees nothing; c1' and c2 then are 0 unless given. Noise consists of 32-bit words in
float32: this is for research on the cost of privacy, not for protecting secrets.

A tree is binary over the periods of a cell. The node that is complete after i of them sums the last 2^l, with l the lowest
set bit of i, and has its own noise; the nodes of the other set bits cover the rest. A release consists of one node for each
set bit of i.

Regret: O(T^((d+2)/(d+4)) + T^(d/(d+4)) / e) central, O(e^(-2/(d+2)) T^((d+1)/(d+2))) local, up to logarithms, with the
theory's constants and J; no policy with local trust has a smaller order. J is the length of arrays, so it comes from the
option `horizon` (or `cubes`), not from `problem.horizon`, which may be traced. It is ceil(T^(d/(d+4))) central and ceil((e
sqrt(T))^(d/(d+2))) local, rounded to an integer along each feature, with at most `MOST` cubes in all. The state of a lane
has 10 J `LEVELS` numbers with central trust and 5 J with local; a period draws 2 J words or J.

Departures: there is a tree for each price of a cube, over the periods that offer it, restarted with each interval; the paper
has trees over all periods. This saves up to three levels and four fifths of the draws. M_k counts as at least 1, and there
are no tests with less. Local tests come after whole rounds of five periods, when all prices were offered equally often. In
the printed formula J R_k / (5 n), the mean revenue would be 5 J R_k / n, so k1 is in units of a 25th of it.

Source: X. Chen, S. Miao, Y. Wang (2023), "Differential privacy in personalized pricing with nonparametric demand models",
doi:10.1287/opre.2022.2347, arXiv:2109.04615.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks, samplers
from jaxprice.policies.parts import line, scale
from jaxprice.policies.personal.quadrisection import LEVELS, PRICES, Rule, State
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

MOST = 256  # largest number of cubes
CONSTANTS = ("theory", "experiment")


def side_of(trust, epsilon, horizon, cubes, features):
    """Number of cubes along a feature, an int: the nearest to J^(1/d), with at most `MOST` cubes in all."""
    if cubes is None:
        d = features
        cubes = horizon ** (d / (d + 4)) if trust == "central" else (epsilon * horizon**0.5) ** (d / (d + 2))
        cubes = math.ceil(max(cubes, 1.0))
    side = max(round(cubes ** (1 / features)), 1)
    while side**features > MOST:
        side -= 1
    return side


def numbers(trust, constants, horizon, inverse):
    """`(c1, c1', c2)`, or `(k1, 0, k2)` with local trust, for a horizon and 1 / epsilon."""
    log_t = jnp.log(jnp.maximum(jnp.asarray(horizon, jnp.float32), 2.0))
    if trust == "local":
        theory = 1.7 * jnp.sqrt(math.log(2) + log_t), 0.0, 31 * log_t
        return theory if constants == "theory" else (0.001 * jnp.sqrt(log_t), 0.0, 0.1 * log_t)
    if constants == "theory":
        log_t = math.log(2) + 3 * log_t
        least = 76 * log_t**2 * inverse
        return jnp.sqrt(log_t), 4 * least, least
    least = log_t**2 * inverse
    return 0.001 * jnp.sqrt(log_t), 0.01 * least, least


@policy_maker(
    source="Chen, Miao and Wang (2023)",
    regret="T^((d+2)/(d+4)) + T^(d/(d+4)) / epsilon central, T^((d+1)/(d+2)) / epsilon^(2/(d+2)) local",
    feedback="reward, with noise",
    kinds={"epsilon": "optional"},
)
def private_quadrisection(
    trust="central",
    epsilon=1.0,
    constants="experiment",
    cubes=None,
    horizon=10_000,
    features=None,
    lowest=0.0,
    highest=1.0,
    ceiling=None,
    width=None,
    slack=None,
    least=None,
    cut=True,
):
    """Quadrisection of prices in cubes of features, under differential privacy.

    Args:
      trust: "central" or "local", whether buyers trust the seller to add the noise.
      epsilon: privacy parameter, above 0; may be traced; None: no noise, with central trust only.
      constants: "theory" or "experiment", the published constants.
      cubes: number J of cubes, an int up to `MOST`; by default that of the theory for `horizon`.
      horizon: number of periods for which J is chosen, an int.
      features: number of entries at the end of the context that are used, an int; None: all.
      lowest, highest: bounds of these entries, which are clipped to them; may be traced.
      ceiling: largest revenue of a period, money, above 0; may be traced. By default, all buyers buy at the highest price.
      width: c1 or k1, at least 0; may be traced, as may the others; None: by `constants`.
      slack: c1', at least 0; None: by `constants`.
      least: c2 or k2, at least 0; None: by `constants`.
      cut: whether to clip revenue to [0, 1] in units of `ceiling`; otherwise revenue outside [0, 1] breaks the privacy.

    Raises:
      ValueError: numbers out of range, an unknown word, local trust without noise or with a traced epsilon and no `cubes`;
        at `init`, no price interval, no context or one with fewer entries than `features`.
    """
    checks.choice("trust", trust, ("central", "local"))
    checks.choice("constants", constants, CONSTANTS)
    if epsilon is not None:
        checks.number("epsilon", epsilon, low=1e-4)
    elif trust == "local":
        raise ValueError("epsilon must be a number with local trust, got None")
    checks.positive_int("horizon", horizon)
    if cubes is not None and checks.positive_int("cubes", cubes) > MOST:
        raise ValueError(f"cubes must be at most {MOST}, got {cubes}")
    if trust == "local" and cubes is None and checks.is_traced(epsilon):
        raise ValueError("cubes must be given where epsilon is traced: with local trust their number depends on it")
    if features is not None:
        checks.positive_int("features", features)
    checks.number("lowest", lowest)
    checks.number("highest", highest)
    if not checks.is_traced((lowest, highest)) and not np.all(np.asarray(lowest) < np.asarray(highest)):
        raise ValueError(f"lowest must be below highest, got lowest={lowest!r} and highest={highest!r}")
    if ceiling is not None:
        checks.number("ceiling", ceiling, low=1e-30)
    given = {"width": width, "slack": slack, "least": least}
    for option, value in given.items():
        if value is not None:
            checks.number(option, value, low=0)
    name, local, private = "private_quadrisection", trust == "local", epsilon is not None
    inverse = 1 / epsilon if private else 0.0

    def rule(problem):
        published = numbers(trust, constants, problem.horizon, inverse)
        chosen = [of if value is None else value for of, value in zip(published, given.values(), strict=True)]
        c1, margin, fewest = (jnp.asarray(value, jnp.float32) for value in chosen)
        unit = problem.buyers * (problem.high - problem.cost) if ceiling is None else ceiling
        offers = (jnp.asarray(problem.horizon, jnp.int32) + PRICES - 1) // PRICES
        nodes = jnp.sum(offers >= jnp.left_shift(jnp.int32(1), jnp.arange(LEVELS, dtype=jnp.int32)), dtype=jnp.float32)
        return Rule(
            unit=scale.or_one(jnp.asarray(unit, jnp.float32)),
            scale=jnp.asarray(2 * inverse * (1 if local else jnp.maximum(nodes, 1.0)), jnp.float32),
            width=jnp.asarray(c1 * inverse, jnp.float32) if local else c1,
            slack=margin,
            least=jnp.maximum(fewest, 1.0),
        )

    def init(key, problem):
        del key
        line.require_interval(problem, name)
        size = problem.context_size
        if not size:
            raise ValueError(f"{name} needs the features of the buyer (a context), but this market has none")
        if features is not None and features > size:
            raise ValueError(f"{name} takes the last features={features} entries of the context, but there are {size}")
        used = size if features is None else features
        side = side_of(trust, epsilon, horizon, cubes, used)
        shape, noisy = (1 if local else 2, side**used), private and not local
        zeros, nodes = (jnp.zeros((PRICES, *more, *shape), jnp.float32) for more in ((), (LEVELS,)))
        return State(
            time=jnp.int32(0),
            rule=rule(problem),
            low=jnp.full(shape[1], problem.low, jnp.float32),
            high=jnp.full(shape[1], problem.high, jnp.float32),
            rounds=jnp.zeros((PRICES, shape[1]), jnp.int32),
            sums=zeros,
            noise=zeros if noisy else None,
            nodes=nodes if noisy else None,
            side=side,
            features=used,
        )

    def cube(state, observation):
        shares = (observation[-state.features :] - lowest) / jnp.asarray(highest - lowest, jnp.float32)
        return state.cube(jnp.clip(shares, 0.0, 1.0))

    def act(key, state, observation):
        del key
        return state.price(cube(state, observation))

    def update(key, state, transition):
        here = jnp.arange(state.low.shape[0]) == cube(state, transition.observation)
        revenue = transition.reward / state.rule.unit
        revenue = jnp.clip(revenue, 0.0, 1.0) if cut else revenue
        one = jnp.where(here[None], jnp.stack([revenue, jnp.float32(1)][: state.sums.shape[1]])[:, None], 0.0)
        fresh = state.rule.scale * samplers.laplace(jax.random.bits(key, one.shape, jnp.uint32)) if private else None
        return state.add(one, fresh).cut()

    return Policy(init, act, update)
