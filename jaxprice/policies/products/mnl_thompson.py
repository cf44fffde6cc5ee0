"""Thompson sampling for the MNL bandit: offer the best set for attractions drawn from the posterior.

Customers choose one of the offered products, or nothing, by multinomial logit with attractions v_i (`MNLAssortment`). A set
is offered until a customer buys nothing: an epoch. Sales of product i in an epoch are geometric with mean v_i, for any other
products in the set. So after T_i epochs that offered it, with N_i sales in all,

    "exact":     1 / (1 + v_i) ~ Beta(1 + T_i, 1 + N_i), independent, from the uniform prior;
    "boosted":   v_i = m_i + s_i max_j z_j,    s_i = sqrt(a m_i (m_i + 1) / n_i) + b sqrt(log(T s)) / n_i,
                 z_1, ..., z_s standard normals that all products share, m_i = N_i / T_i, n_i = T_i, a = 50, b = 75;

The next epoch offers the best set of at most s products for the drawn attractions (for epochs and solver see `mnl_choice`).
"boosted" begins with an epoch of each product alone, and attractions below 0 count as 0.

The posterior "exact" is conjugate, and best in practice. The regret is proved for "boosted": in one of s draws all products
are high together, and variances are larger than those of the posterior. a and b, the constants of that proof as we have
them, are the options `variance` and `floor`; smaller ones earn more.

Regret: O(sqrt(n T log(T s)) + n log(T s)^2) for "boosted" if v_i <= 1.

Source: S. Agrawal, V. Avadhanula, V. Goyal, A. Zeevi (2017), "Thompson sampling for the MNL-bandit", arXiv:1706.00977.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.products import mnl_choice
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

POSTERIORS = ("exact", "boosted")


@struct.dataclass
class State:
    """The problem of the seller, the data of the epochs, and log(T s), float scalar."""

    shop: mnl_choice.Shop
    epochs: mnl_choice.Epochs
    log: jax.Array


@policy_maker(
    source="Agrawal, Avadhanula, Goyal and Zeevi (2017)",
    regret="sqrt(n T log T)",
    feedback="choices",
)
def mnl_thompson(posterior="exact", variance=50.0, floor=75.0):
    """Thompson sampling for the MNL bandit.

    Args:
      posterior: "exact", the conjugate posterior, or "boosted", shared normals with larger variances.
      variance, floor: the a and b of "boosted", at least 0; may be traced.

    Raises:
      ValueError: an unknown posterior, or negative numbers; at `init`, a market without assortments.
    """
    checks.choice("posterior", posterior, POSTERIORS)
    checks.number("variance", variance, low=0)
    checks.number("floor", floor, low=0)

    def init(key, problem):
        shop = mnl_choice.shop(problem, "mnl_thompson")
        horizon = jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 2.0)
        state = State(shop, mnl_choice.no_epochs(shop, shop.revenues > 0), jnp.log(horizon * shop.size))
        return State(shop, dataclasses.replace(state.epochs, offered=choose(key, state)), state.log)

    def act(key, state, observation):
        del key, observation
        return state.epochs.offered

    def update(key, state, transition):
        epochs, over = state.epochs.after(transition.demand)
        after = State(state.shop, epochs, state.log)
        return State(state.shop, epochs.replace(offered=jnp.where(over, choose(key, after), epochs.offered)), state.log)

    def choose(key, state):
        """The set of the next epoch, bool `[n]`."""
        epochs, shop = state.epochs, state.shop
        products = epochs.counts.shape[0]
        if posterior == "exact":
            words = jax.random.bits(key, (products,), jnp.uint32)
            z1, z2 = samplers.normal_pair_from_word(words)
            nothing = samplers.beta(z1, z2, 1 + epochs.counts, 1 + epochs.sums)
            return shop.best(jnp.maximum(1 / nothing - 1, 0.0))
        highest = jnp.max(samplers.normal(jax.random.bits(key, (shop.size,), jnp.uint32)))
        inverse = 1 / jnp.maximum(epochs.counts, 1.0)
        mean = epochs.sums * inverse
        spread = jnp.sqrt(variance * mean * (mean + 1) * inverse) + floor * jnp.sqrt(state.log) * inverse
        drawn = shop.best(jnp.maximum(mean + spread * highest, 0.0))
        alone = jnp.arange(products) == epochs.number - 1
        return jnp.where(epochs.number <= products, alone, drawn)

    return Policy(init, act, update)
