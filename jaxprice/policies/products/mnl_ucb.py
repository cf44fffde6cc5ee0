"""UCB for the MNL bandit: offer the best set for upper confidence bounds of the products' attractions.

Customers choose one of the offered products, or nothing, by multinomial logit with attractions v_i (`MNLAssortment`). A set
is offered until a customer buys nothing: an epoch. After epoch l, with T_i epochs that offered product i, and m_i its mean
sales in them,

    u_i = m_i + sqrt(m_i L / T_i) + L / T_i,     L = scale log(sqrt(n) l + 1),     scale = 48,

and u_i = 1 for a product that was never offered. The next epoch offers the set S of at most s products with the largest
sum_S r_i u_i / (1 + sum_S u_i) (for epochs and solver see `mnl_choice`). Revenues may have any unit.

The proof assumes v_i <= 1, that is, buying nothing is the most probable choice. Then 1 is a bound on v_i as well. With `cut`
every u_i above 1 is clipped to 1, and the proof stays valid. Without it a product that was offered once has a bound near 48
log(sqrt(n)), far above the 1 of those never offered, and the early sets are poor. With it the first set stays until its
bounds fall below 1. The scale is that of the proof; in practice much smaller ones, about 1, earn more. If some v_i is above
1, leave `cut` off.

Regret: O(sqrt(n T log(n T)) + n log(n T)^2); no policy has less than order sqrt(n T) for sets of few products.

Convention: the printed L can also be read as log(sqrt(n l) + 1). Ours is larger, and with it a bound over all T_i <= l fails
with probability of order 1 / (n l).

Source: S. Agrawal, V. Avadhanula, V. Goyal, A. Zeevi (2019), "MNL-bandit: a dynamic learning approach to assortment
selection", doi:10.1287/opre.2018.1832.
"""

import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.products import mnl_choice
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The problem of the seller, and the data of the epochs."""

    shop: mnl_choice.Shop
    epochs: mnl_choice.Epochs


@policy_maker(
    source="Agrawal, Avadhanula, Goyal and Zeevi (2019)",
    regret="sqrt(n T log T)",
    feedback="choices",
)
def mnl_ucb(scale=48.0, cut=False):
    """UCB for the MNL bandit.

    Args:
      scale: exploration constant, at least 0; may be traced.
      cut: whether to clip bounds at 1, the largest attraction that the proof allows.

    Raises:
      ValueError: a negative scale; at `init`, a market without assortments.
    """
    checks.number("scale", scale, low=0)

    def init(key, problem):
        del key
        shop = mnl_choice.shop(problem, "mnl_ucb")
        return State(shop, mnl_choice.no_epochs(shop, shop.best(jnp.ones_like(shop.revenues))))

    def act(key, state, observation):
        del key, observation
        return state.epochs.offered

    def update(key, state, transition):
        del key
        epochs, over = state.epochs.after(transition.demand)
        return State(state.shop, epochs.replace(offered=state.shop.best(bounds(epochs), epochs.offered, over)))

    def bounds(epochs):
        """u_i after the last epoch, float `[n]`."""
        root = jnp.sqrt(jnp.float32(epochs.counts.shape[0]))
        last = (epochs.number - 1).astype(jnp.float32)
        inverse = 1 / jnp.maximum(epochs.counts, 1.0)
        mean, width = epochs.sums * inverse, scale * jnp.log(root * last + 1) * inverse
        upper = mean + jnp.sqrt(mean * width) + width
        upper = jnp.minimum(upper, 1.0) if cut else upper
        return jnp.where(epochs.counts > 0, upper, 1.0)

    return Policy(init, act, update)
