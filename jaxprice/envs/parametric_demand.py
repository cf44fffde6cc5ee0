"""Parametric demand: the single-product markets of the theory, each with the parameter box that the seller knows.

| family | demand at p | prices | parameters z and their box | source |
|---|---|---|---|---|
| "keskin_zeevi" | a - b p + N(0, .1^2) | [.5, 1.5] | a in [1, 1.2], b in [.4, .6] | Keskin and Zeevi (2014) |
| "logit" | sale with 1 / (1 + exp(z1 p + z2)) | [.5, 8] | [.2, 2] x [-1, 1] | Broder and R. (2012) |
| "uninformative" | sale with 1/2 + z - z p | [3/4, 5/4] | [1/3, 1] | the same, sqrt(T) lower bound |
| "well_separated" | sale with 1 - z p / 2 | [1/3, 1/2] | [2, 3] | the same, log(T) lower bound |
| "separated_logit" | sale with 1 / (1 + exp(z p)) | [.5, 2] | [1, 2] | the same |
| "exponential" | Poisson(a exp(-b p)) | [.25, 4] | a in [2, 6], b in [.5, 2] | - |

At p = 1 the demand of "uninformative" is 1/2 for any z. A sale there teaches nothing, and a greedy seller may stay there
permanently. `problem.bounds` is the box; markets are drawn uniformly from it. Keskin and Zeevi's own market, a = 1.1 and b =
.5, is the default of its family; the box here is centred at it.

Sources: J. Broder, P. Rusmevichientong (2012), "Dynamic pricing under a general parametric choice model",
doi:10.1287/opre.1120.1057; N. B. Keskin, A. Zeevi (2014), "Dynamic pricing with an unknown demand model: asymptotically
optimal semi-myopic policies", doi:10.1287/opre.2014.1294.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice import demand as demand_curves
from jaxprice.envs.options import market
from jaxprice.envs.posted_price import PostedPrice


class Family(NamedTuple):
    """A family of demand curves: name of the curve, parameters -> curve, noise, prices, box `[2, m]`, default parameters."""

    curve: str
    of: Callable
    noise: str
    prices: tuple
    box: tuple
    default: tuple


def families():
    """Name -> `Family`."""
    linear, logit, exponential = demand_curves.Linear, demand_curves.Logit, demand_curves.Exponential
    return {
        "keskin_zeevi": Family("linear", linear, "gaussian", (0.5, 1.5), ((1.0, 0.4), (1.2, 0.6)), (1.1, 0.5)),
        "logit": Family("logit", logit, "bernoulli", (0.5, 8.0), ((0.2, -1.0), (2.0, 1.0)), (1.0, -1.0)),
        "uninformative": Family(
            "linear", lambda z: linear(0.5 + z, z), "bernoulli", (0.75, 1.25), ((1 / 3,), (1.0,)), (0.6,)
        ),
        "well_separated": Family(
            "linear", lambda z: linear(1.0, z / 2), "bernoulli", (1 / 3, 0.5), ((2.0,), (3.0,)), (2.5,)
        ),
        "separated_logit": Family("logit", lambda z: logit(z, 0.0), "bernoulli", (0.5, 2.0), ((1.0,), (2.0,)), (1.5,)),
        "exponential": Family("exponential", exponential, "poisson", (0.25, 4.0), ((2.0, 0.5), (6.0, 2.0)), (4.0, 1.0)),
    }


@market(
    kind="one product",
    what="the theory's families and parameter boxes, the uninformative price among them",
    paper="Broder and Rusmevichientong (2012); Keskin and Zeevi (2014)",
    oracle="closed form (Lambert W)",
)
@dataclasses.dataclass(frozen=True)
class ParametricDemand(PostedPrice):
    """`PostedPrice` with a family's demand, prices, noise and box; any price of the interval, or a grid on it.

    Observation: share of the horizon passed, last price, last demand of one buyer; float `[3]`.
    Action: a price, float scalar, or an index of the grid, int scalar.
    Reward: price * demand, money, float scalar.
    Oracle: the best price, in closed form on an interval, and its expected revenue in a period (money).

    Attributes:
      family: one of `families()`.
    """

    family: str = "logit"

    @classmethod
    def make(cls, family="logit", *, parameters=None, num_prices=None, horizon=1000):
        """A market and its params.

        Args:
          family: "keskin_zeevi", "logit", "uninformative", "well_separated", "separated_logit" or "exponential".
          parameters: z, in the family's box; by default its standard instance.
          num_prices: size of an evenly spaced grid; None: any price of the interval.
          horizon: periods in an episode.

        Raises:
          ValueError: an unknown family, parameters outside its box.
        """
        known = families()
        one = known[checks.choice("family", family, known)]
        low, high = np.array(one.box)
        parameters = checks.array("parameters", one.default if parameters is None else parameters, low.shape)
        if np.any(parameters < low - 1e-6) or np.any(parameters > high + 1e-6):
            raise ValueError(f"parameters must be in the box {one.box} of {family!r}, got {parameters.tolist()}")
        env = cls(
            curve=one.curve,
            num_prices=num_prices,
            noise=one.noise,
            low=one.prices[0],
            high=one.prices[1],
            cost=0.0,
            noise_scale=0.1 if one.noise == "gaussian" else 0.0,
            horizon=horizon,
            family=family,
        )
        return env, jax.tree.map(np.asarray, env.params_at(parameters))

    @property
    def name(self):
        return f"ParametricDemand-{self.family}"

    def params_at(self, z):
        """Params with the family's parameters z, a sequence of float scalars."""
        numbers = [jnp.asarray(x, jnp.float32) for x in z]
        curve = families()[self.family].of(*numbers)
        return self.params_of(jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), curve))

    def default_params(self):
        return jax.tree.map(np.asarray, self.params_at(families()[self.family].default))

    def sample_params(self, key):
        low, high = np.array(families()[self.family].box, np.float32)
        u = jax.random.uniform(key, low.shape, jnp.float32)
        return self.params_at(list(low + u * (high - low)))

    def problem(self, params):
        return dataclasses.replace(super().problem(params), bounds=np.array(families()[self.family].box, np.float32))
