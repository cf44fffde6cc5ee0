"""Private pricing: linear contextual demand, learned from sums with noise that hides every single buyer.

A buyer with features x, clipped to the norm `radius`, sees price p_k of the grid. With z = (x, s_k x) / (sqrt(2) radius),
s_k = p_k / (highest price), and y = signal / `ceiling` clipped to [0, 1], signals as in `ucb1`, v = (z, y) has |v|^2 <= 2.
The seller prices by

    (A, b) = sum z z' + noise, sum z y + noise,    theta = (A + h I)^-1 b,
    action = argmax_k w_k (z_k'theta + alpha sqrt(h) sqrt(z_k' (A + h I)^-1 z_k)),

which is `lin_ucb` in its "joint" form except for the noise. For each buyer, v v' is released without y^2. Two buyers differ
by at most S = 2 sqrt(2) in its Frobenius norm; z' = -z with y = y' = 1 attains this. The noise is a symmetric Gaussian
matrix with standard deviation sigma on the diagonal and sigma / sqrt(2) off it, that is, sigma in every direction of that
norm.

| trust | who adds noise | noise of (A, b) after t buyers | sigma |
|---|---|---|---|
| "central" | the seller, a matrix for each node of a tree | one for each set bit of t | S sqrt(L / (2 rho)) |
| "local" | each buyer, before the seller sees anything | t of them | S sqrt(1 / (2 rho)) |

The tree is binary, over periods. The node that is complete after t buyers sums the last 2^l of them, where l is the lowest
set bit of t; the nodes of the other set bits cover the rest. A buyer is in at most L = floor(log2 T) + 1 nodes.
Zero-concentrated privacy (Bun and Steinke) adds up over nodes that are chosen one after another, so all releases together
are (epsilon, delta)-private, with

    sqrt(rho) = sqrt(log(1 / delta) + epsilon) - sqrt(log(1 / delta)),        neighbours: one buyer replaced by another.

"central" is joint privacy: the prices of all other buyers reveal no more than this about a buyer, whose own price depends on
x. A period is one buyer. T is the horizon of the seller's problem, below 2^`LEVELS`; after it there is no guarantee. Noise
consists of 32-bit words in float32: this is for research on the cost of privacy, not for protecting secrets.

The shift h = ridge + shift sigma_t sqrt(2 D), with D the length of z, is known in advance. With shift 1 it is about the norm
of noise of standard deviation sigma_t. If A + h I is still not positive definite, its diagonal is raised until it is (Gill
and Murray). The elimination is a loop of D steps on some D x D / 2 numbers in every period, D at most `MOST`.

The width alpha sqrt(h) is that of the theory: alpha is a bound on |theta|, and the noise in b is of order sqrt(h).

Regret: of order sqrt(T / epsilon) with central and T^(3/4) / sqrt(epsilon) with local trust, up to D and logarithms. The
regret is linear in T, with a small factor, if demand is not linear in z or is clipped. The confidence bound is as wide as
the theory requires, so the policy keeps to high prices for a long time. With five prices from .5 to 3, one segment of
buyers, epsilon = 10 and radius = 1, random prices lose less up to T = 8,000 at least: 437 against 928 at T = 2,000, and
1,749 against 2,226 at T = 8,000. With the defaults the policy loses 1,055 and 4,183.

Departure: the demand of Chen, Simchi-Levi and Wang is generalised linear, and their estimator is a likelihood. Here demand
is linear, with the shifted Gram matrices of Shariff and Sheffet.

Sources: X. Chen, D. Simchi-Levi, Y. Wang (2022), "Privacy-preserving dynamic personalized pricing with demand learning",
arXiv:2009.12920; R. Shariff, O. Sheffet (2018), "Differentially private contextual linear bandits", NeurIPS 2018; M. Bun,
T. Steinke (2016), "Concentrated differential privacy: simplifications, extensions, and lower bounds", arXiv:1605.02065;
T.-H. H. Chan, E. Shi, D. Song (2011), "Private and continual release of statistics"; P. E. Gill, W. Murray (1974),
"Newton-type methods for unconstrained and linearly constrained optimization".
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Key, Num

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, features
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

LEVELS = 24  # levels of the tree: horizons below 2^24
MOST = 32  # largest length D of z
STAGE = 5  # number of rows in a stage of the elimination
SENSITIVITY = 8**0.5  # S


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      time: number of periods played, int scalar.
      signal: the learning signal.
      form: features of the prices.
      sigma: standard deviation of the noise of one release, float scalar.
      sums: sum of v v', the upper triangle row by row without y^2, float `[D (D + 3) / 2]`; with local trust, noisy.
      nodes: cumulated noise of the nodes in use, from each level of the tree up, float `[LEVELS + 1, D (D + 3) / 2]`; the
        last entry is zero; None with local trust.
    """

    time: jax.Array
    signal: arms.Signal
    form: features.Features
    sigma: jax.Array
    sums: jax.Array
    nodes: Any

    def released(self) -> Float[Array, " packed"]:
        """The sums with their noise, float `[D (D + 3) / 2]`; prices depend on nothing else."""
        if self.nodes is None:
            return self.sums
        return self.sums + self.above(self.time)

    def above(self, time: Int[Array, ""]) -> Float[Array, " packed"]:
        """Noise of the nodes for the set bits of `time`; the lowest of these bits was the last to be set."""
        return jax.lax.dynamic_index_in_dim(self.nodes, level(time), keepdims=False)

    def noise(self) -> Float[Array, ""]:
        """Standard deviation sigma_t of the noise in `released`, float scalar."""
        count = (self.time if self.nodes is None else jax.lax.population_count(self.time)).astype(jnp.float32)
        return self.sigma * jnp.sqrt(count)


def level(time: Int[Array, ""]) -> Int[Array, ""]:
    """The lowest set bit of a number of periods, int scalar; `LEVELS` if there is none."""
    return jnp.minimum(jax.lax.population_count((time & -time) - 1), LEVELS)


def scale(epsilon: Num[ArrayLike, ""], delta: Num[ArrayLike, ""], releases: Num[ArrayLike, ""]) -> Float[Array, ""]:
    """Standard deviation sigma of the noise of a release, if a buyer is in the given number of releases."""
    tail = jnp.log(1 / jnp.asarray(delta, jnp.float32))
    root = epsilon / (jnp.sqrt(tail + epsilon) + jnp.sqrt(tail))  # equals the difference of the two roots
    return SENSITIVITY * jnp.sqrt(releases / 2) / root


def outer(z: Float[Array, " D"], y: Num[Array, ""]) -> Float[Array, " packed"]:
    """v v' of one buyer, the upper triangle without y^2, float `[D (D + 3) / 2]`."""
    rows, columns = (index[:-1] for index in np.triu_indices(z.shape[0] + 1))
    v = jnp.concatenate([z, y[None]])
    return v[rows] * v[columns]


def fresh(key: Key[Array, ""], size: int, sigma: Float[Array, ""]) -> Float[Array, " packed"]:
    """Noise of one release, in the same layout, for z of length `size`."""
    rows, columns = (index[:-1] for index in np.triu_indices(size + 1))
    share = jnp.asarray(np.where(rows == columns, 1.0, 0.5**0.5), jnp.float32)
    return sigma * share * samplers.normal(jax.random.bits(key, share.shape, jnp.uint32))


def matrices(packed: Float[Array, " packed"], size: int) -> tuple[Float[Array, "{size} {size}"], Float[Array, " {size}"]]:
    """A `[D, D]` and b `[D]` of an upper triangle."""
    place = np.zeros((size + 1, size + 1), int)
    place[np.triu_indices(size + 1)] = np.arange((size + 1) * (size + 2) // 2)
    place = np.maximum(place, place.T)[:size]
    full = packed[place]
    return full[:, :size], full[:, size]


def products(a: Float[Array, "D D"], right: Float[Array, "D m"], floor: Num[ArrayLike, ""]) -> Float[Array, "m m"]:
    """R' (A + E)^-1 R by elimination, for symmetric A `[D, D]` and R `[D, m]`, float `[m, m]`.

    E makes pivots positive, as in Gill and Murray. A pivot is raised to `floor`, and to the largest square of its row in
    units of the largest entry of A. This changes nothing if the matrix is positive definite with pivots above the floor.
    Rows are eliminated `STAGE` at a time; then finished rows are dropped from the table.
    """
    unit = jnp.maximum(jnp.max(jnp.abs(a)), floor)
    table, found = jnp.concatenate([a, right], axis=1), jnp.zeros((right.shape[1], right.shape[1]), a.dtype)
    for start in range(0, a.shape[0], STAGE):
        size = a.shape[0] - start
        index = jnp.arange(size, dtype=jnp.int32)

        def eliminate(i, carry, size=size, index=index):
            table, found = carry
            row = table[i]
            others = jnp.where(index > i, row[:size], 0.0)
            pivot = jnp.maximum(jnp.maximum(row[i], jnp.max(others * others) / unit), floor)
            found = found + row[size:, None] * (row[size:] / pivot)[None, :]
            return table - (others / pivot)[:, None] * row[None, :], found

        done = min(STAGE, size)
        table, found = jax.lax.fori_loop(0, done, eliminate, (table, found))
        table = table[done:, done:]
    return found


@policy_maker(
    source="Chen, Simchi-Levi and Wang (2022)",
    regret="sqrt(T / epsilon) central, T^(3/4) / sqrt(epsilon) local",
    feedback="demand or reward, with noise",
)
def private_pricing(
    trust="central", epsilon=1.0, delta=1e-6, radius=2.0, ceiling=1.0, alpha=2.0, ridge=1.0, shift=1.0, signal="demand"
):
    """Linear contextual pricing under differential privacy.

    Args:
      trust: "central" or "local", whether buyers trust the seller to add the noise.
      epsilon, delta: parameters of differential privacy: epsilon above 0, delta in (0, 1); may be traced.
      radius, ceiling: contexts are clipped to this norm, signals to [0, ceiling]; above 0; may be traced.
      alpha: width of the confidence bound in units of sqrt(h), at least 0; may be traced.
      ridge: penalty on the squared coefficients, above 0; may be traced.
      shift: shift of A in norms of the noise, at least 0; may be traced.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: numbers out of range, an unknown trust or signal; at `init`, no price grid, no contexts or too large ones.
    """
    checks.choice("trust", trust, ("central", "local"))
    checks.number("epsilon", epsilon, low=1e-4)
    checks.number("delta", delta, low=1e-30, high=0.999)
    checks.number("radius", radius, low=1e-6)
    checks.number("ceiling", ceiling, low=1e-6)
    checks.number("alpha", alpha, low=0)
    checks.number("ridge", ridge, low=1e-6)
    checks.number("shift", shift, low=0)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        name = "private_pricing"
        form, learned = features.describe(problem, "joint", name), arms.learn(problem, signal, name)
        (size,) = form.shape
        if size > MOST:
            raise ValueError(f"private_pricing takes contexts of at most {MOST // 2} features, this market has {size // 2}")
        sums, nodes, releases = jnp.zeros(size * (size + 3) // 2, jnp.float32), None, jnp.float32(1)
        if trust == "central":
            nodes = jnp.zeros((LEVELS + 1, sums.shape[0]), jnp.float32)
            powers = jnp.left_shift(jnp.int32(1), jnp.arange(LEVELS, dtype=jnp.int32))
            releases = jnp.sum(jnp.asarray(problem.horizon, jnp.int32) >= powers, dtype=jnp.float32)
        sigma = jnp.asarray(scale(epsilon, delta, jnp.maximum(releases, 1.0)), jnp.float32)
        return State(jnp.int32(0), learned, form, sigma, sums, nodes)

    def context(state, observation):
        x = state.form.context(observation)
        norm = jnp.sqrt(jnp.sum(x * x))
        return x / (2**0.5 * jnp.maximum(norm, radius))

    def act(key, state, observation):
        del key
        (size,), x = state.form.shape, context(state, observation)
        a, b = matrices(state.released(), size)
        h = ridge + shift * state.noise() * (2 * size) ** 0.5
        zeros, levels = jnp.zeros_like(x), state.form.levels
        right = jnp.stack([b, jnp.concatenate([x, zeros]), jnp.concatenate([zeros, x])], axis=1)
        found = products(a + h * jnp.eye(size, dtype=jnp.float32), right, ridge)
        mean = found[0, 1] + levels * found[0, 2]
        square = found[1, 1] + 2 * levels * found[1, 2] + levels**2 * found[2, 2]
        return jnp.argmax(state.signal.weights * (mean + alpha * jnp.sqrt(h * jnp.maximum(square, 0.0))))

    def update(key, state, transition):
        z = state.form.of(context(state, transition.observation), transition.action)
        one, noise = outer(z, jnp.clip(state.signal.of(transition) / ceiling, 0.0, 1.0)), fresh(key, z.shape[0], state.sigma)
        time = state.time + 1
        if state.nodes is None:
            return state.replace(time=time, sums=state.sums + one + noise)
        noise = noise + state.above(time & state.time)  # noise of the bits above the bit just set
        nodes = jax.lax.dynamic_update_index_in_dim(state.nodes, noise, level(time), 0)
        return state.replace(time=time, sums=state.sums + one, nodes=nodes)

    return Policy(init, act, update)
