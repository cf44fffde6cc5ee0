"""What the estimators for selling horizons share: logs `[..., E, T]`, `E` horizons of `T` periods.

A market with state (stock, reference price) carries a decision's effect to later periods. The horizons are independent, the
periods are not, so terms and influences count horizons. The value is the expected discounted reward of a whole horizon,

    V = E sum_t discount^t r_t.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice import checks
from jaxprice.ope.log import DecisionLog


def check_horizons(log: DecisionLog, discount: float | Array) -> None:
    """Raise if a log has no axis of horizons.

    Raises:
      ValueError: the log is `[T]`, or the discount factor is not in [0, 1].
    """
    if len(log.shape) < 2:
        raise ValueError(f"log must be [..., E, T] with E selling horizons, got shape {list(log.shape)}")
    checks.number("discount", discount, low=0.0, high=1.0)


def discounts(log: DecisionLog, discount: float | Array) -> Float[Array, "... E T"]:
    """`discount^t` for each decision, `[..., E, T]`."""
    return jnp.broadcast_to(jnp.power(jnp.asarray(discount, log.reward.dtype), jnp.arange(log.shape[-1])), log.shape)


def checked_states(log: DecisionLog, states, num_states: int):
    """`states` unchanged: indices of the state before each decision, int `[..., E, T]`.

    Raises:
      ValueError: the shape differs, or a number is not in `[0, num_states)`.
    """
    states, count = jnp.asarray(states), checks.positive_int("num_states", num_states)
    if states.shape != log.shape or not jnp.issubdtype(states.dtype, jnp.integer):
        raise ValueError(f"states must be integers {list(log.shape)}, got {states.dtype} {list(states.shape)}")
    if not checks.is_traced(states) and not bool(jnp.all((states >= 0) & (states < count))):
        raise ValueError(f"states must lie in [0, {count}), got states in [{states.min()}, {states.max()}]")
    return states
