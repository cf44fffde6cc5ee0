"""Demand curves and valuation distributions, each with its optimal price.

`mean(price)` is the expected demand of one buyer. If a buyer takes at most one unit, it is the purchase probability, that
is, the survival function P(valuation >= price). `optimal_price(cost, low, high)` maximises (p - cost) mean(p) on an
interval, in closed form if there is one (W is the principal branch of Lambert's function):

| curve | mean(p) | optimal price at cost c |
|---|---|---|
| Linear | max(a - b p, 0) | (a + b c) / (2 b) |
| Logit | 1 / (1 + exp(s p + i)) | c + (1 + W(exp(-1 - i - s c))) / s |
| Exponential | A exp(-b p) | c + 1/b |
| IsoElastic | A p^-e, e > 1 | c e / (e - 1) |
| UniformValuation | P(U[l, h] >= p) | max(l, (h + c) / 2) |
| Atoms | sum_j w_j 1{v_j >= p} | the best of the atoms |
| Probit, BetaValuation, LogNormalValuation, Mixture | survival function | dense grid, then golden section |

For the smooth curves the profit is unimodal, so the optimum on an interval is the clipped one. Mixtures may have several
peaks and are searched globally. `sample(key)` draws a random curve of the family: the task distribution.

Sources: A. V. den Boer (2015), "Dynamic pricing and learning: historical origins, current research, and new directions",
doi:10.1016/j.sorms.2015.03.001; the ranges of the logit family are the test class of J. Broder and P. Rusmevichientong
(2012), doi:10.1287/opre.1120.1057.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, rules
from jaxprice.demand.curve import Curve, Leaf
from jaxprice.demand.families import (
    BetaValuation,
    Exponential,
    IsoElastic,
    Linear,
    Logit,
    LogNormalValuation,
    Probit,
    UniformValuation,
)

__all__ = [
    "Atoms",
    "BetaValuation",
    "Curve",
    "Exponential",
    "IsoElastic",
    "Linear",
    "LogNormalValuation",
    "Logit",
    "Mixture",
    "Probit",
    "UniformValuation",
    "curves",
    "default_curve",
    "falls",
    "named",
]


@struct.dataclass
class Mixture(Curve):
    """A finite mixture: `weights` `[M]` and one curve whose leaves are `[M]`. Its profit may have several peaks."""

    weights: Leaf = struct.field(default_factory=lambda: np.array([0.5, 0.5], np.float32))
    components: Curve = struct.field(
        default_factory=lambda: Probit(np.array([0.3, 0.75], np.float32), np.array([0.06, 0.06], np.float32))
    )

    def mean(self, price):
        means = jax.vmap(lambda component: component.mean(price))(self.components)
        return jnp.tensordot(jnp.asarray(self.weights), means, axes=1)

    def rules(self):
        yield from rules.distributions(self, "weights")
        for names, holds, wanted in rules.within("components", rules.flat(self.components).rules()):
            yield names, np.reshape(holds, (*np.shape(self.weights), *np.shape(holds)[1:])), wanted

    def form(self):
        kinds = {cls: name for name, cls in curves().items()}
        return np.shape(self.weights)[-1], kinds[type(self.components)]

    @classmethod
    def sample(cls, key, parts=2, kind="probit"):
        """Two normal segments: weight of the first U[.2, .8], locations U[.2, .5] and U[.6, .9], scales U[.03, .12].

        Other kinds: uniform (Dirichlet) weights, and each part from the distribution of its own family.
        """
        if (parts, kind) != (2, "probit"):
            key_weights, key_parts = jax.random.split(key)
            gaps = -jnp.log(jax.random.uniform(key_weights, (parts,), minval=1e-6))
            return cls(gaps / jnp.sum(gaps), jax.vmap(curves()[kind].sample)(jax.random.split(key_parts, parts)))
        u = jax.random.uniform(key, (5,))
        weight = 0.2 + 0.6 * u[0]
        location = jnp.stack([0.2 + 0.3 * u[1], 0.6 + 0.3 * u[2]])
        return cls(jnp.stack([weight, 1 - weight]), Probit(location, 0.03 + 0.09 * u[3:]))


@struct.dataclass
class Atoms(Curve):
    """Valuations on finitely many points: `values` `[M]` with probabilities `weights` `[M]`.

    N. Cesa-Bianchi, T. Cesari, V. Perchet (2019), "Dynamic pricing with finitely many unknown valuations", PMLR 98.
    """

    values: Leaf = struct.field(default_factory=lambda: np.array([0.2, 0.9, 1.0], np.float32))
    weights: Leaf = struct.field(default_factory=lambda: np.array([0.7, 0.3, 0.0], np.float32))

    def mean(self, price):
        price = jnp.asarray(price)[..., None]
        values, weights = (jnp.broadcast_to(x, (*price.shape[:-1], jnp.shape(x)[-1])) for x in (self.values, self.weights))
        return jnp.sum(jnp.where(values >= price, weights, 0.0), axis=-1)

    def optimal_price(self, cost, low, high):
        candidates = jnp.append(jnp.clip(jnp.asarray(self.values), low, high), high)
        return candidates[jnp.argmax((candidates - cost) * self.mean(candidates))]

    def rules(self):
        return rules.distributions(self, "weights")

    def form(self):
        return (np.shape(self.weights)[-1],)

    @classmethod
    def sample(cls, key, atoms=3):
        """Three atoms U[.1, 1], or the given number, with uniform (Dirichlet) weights."""
        u = jax.random.uniform(key, (2 * atoms,), minval=1e-6)
        gaps = -jnp.log(u[atoms:])
        return cls(0.1 + 0.9 * u[:atoms], gaps / jnp.sum(gaps))


def curves():
    """Name -> curve class, for `make("PostedPrice", demand=name)`."""
    return {
        "linear": Linear,
        "logit": Logit,
        "probit": Probit,
        "exponential": Exponential,
        "iso_elastic": IsoElastic,
        "uniform": UniformValuation,
        "beta": BetaValuation,
        "log_normal": LogNormalValuation,
        "mixture": Mixture,
        "atoms": Atoms,
    }


def named(demand):
    """`(name, curve)` for the name of a curve, or for a curve.

    Raises:
      ValueError: it is neither, or a curve whose leaves are not numbers.
    """
    known = curves()
    if isinstance(demand, str):
        return checks.choice("demand", demand, known), known[demand]()
    names = {cls: name for name, cls in known.items()}
    if type(demand) not in names:
        raise ValueError(f"demand must be a curve of jaxprice.demand or its name, got {demand!r}")
    for leaf in jax.tree.leaves(demand):
        checks.number("the numbers of demand", leaf)
    return names[type(demand)], demand


def default_curve(name, form=()):
    """The standard curve of a family; a random one if `form` requires another structure."""
    cls = curves()[name]
    if cls().form() == form:
        return cls()
    return jax.device_get(cls.sample(jax.random.key(0), *form))


def falls(curve, prices, *, buyers=1.0, most=1.0):
    """Rules for mean demand at the lowest and at the highest price, for a batch of curves, NumPy leaves `[M, ...]`.

    Args:
      curve: the curves; by their own rules, demand at prices in between lies between these values.
      prices: lowest and highest price, float `[M, 2]`.
      buyers: number of buyers a period, float scalar or `[M]`.
      most: largest total mean demand; 1 for a purchase probability.
    """
    yield from rules.within("demand", curve.rules())
    means = np.asarray(jax.vmap(lambda curve, prices: curve.mean(prices))(curve, prices))
    lowest = means[:, 0]
    yield "demand", np.isfinite(lowest) & (means >= 0).all(axis=1), "demand that is finite and not negative at every price"
    yield "demand", lowest > 0, "demand at the lowest price: nobody buys at any price"
    kind = "a demand that is a purchase probability" if most == 1 else "a demand with a mean"
    yield "demand", buyers * lowest <= most * (1 + 1e-6), f"{kind} in [0, {most:g}] at every price"
