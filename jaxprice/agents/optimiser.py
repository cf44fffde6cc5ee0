"""One step of training: hyperparameters, the state of a run, and Adam with weight decay and a schedule.

When a share s of the updates is done, the weights w move along Adam's step u for the gradient, whose norm is clipped:

    w <- w - h(s) (u + d w),     h(s) = h (.05 + .95 (1 + cos(pi s)) / 2) min(1, (s + .001) / max(s', .001)),

Here h is the peak learning rate, d the weight decay and s' the share of warm-up.

Sources: D. P. Kingma, J. Ba (2015), "Adam: a method for stochastic optimization", arXiv:1412.6980; I. Loshchilov, F. Hutter
(2017), "SGDR: stochastic gradient descent with warm restarts", arXiv:1608.03983 (the cosine); I. Loshchilov, F. Hutter
(2019), "Decoupled weight decay regularization", arXiv:1711.05101.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.typing import ArrayLike
from jaxtyping import Num

from jaxprice import checks


@struct.dataclass
class Hyper:
    """Hyperparameters, float scalars that may be traced.

    Attributes:
      learning_rate: peak value; it warms up over the first share `warm_up` of the updates, then falls by a cosine to 5 %.
      entropy: initial weight of the entropy bonus; it falls linearly to zero.
      clip: largest deviation of the probability ratio from one.
      trace: lambda of the advantage estimates.
      discount: discount of future rewards.
      value_weight: weight of the value loss.
      decay: weight decay.
      warm_up: share of the updates, or 0.
    """

    learning_rate: Any = 1e-3
    entropy: Any = 0.02
    clip: Any = 0.2
    trace: Any = 0.97
    discount: Any = 1.0
    value_weight: Any = 2.0
    decay: Any = 0.0
    warm_up: Any = 0.0

    def check(self) -> "Hyper":
        """Raise if a number is out of range.

        Raises:
          ValueError: a number is out of range.
        """
        highs = {"clip": 1, "trace": 1, "discount": 1, "warm_up": 1}
        for field in dataclasses.fields(self):
            checks.number(field.name, getattr(self, field.name), low=0, high=highs.get(field.name, math.inf))
        return self

    def of_runs(self, runs: int) -> "Hyper":
        """Every hyperparameter as float32 `[runs]`.

        Raises:
          ValueError: a number is out of range, or there is neither one number nor one for each run.
        """
        for name, value in vars(self.check()).items():
            if jnp.asarray(value).shape not in ((), (1,), (runs,)):
                raise ValueError(f"{name} must be one number, or one for each of the {runs} runs, got {checks.shown(value)}")
        return jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float32), (runs,)), self)


@struct.dataclass
class State:
    """The state of a training run.

    Attributes:
      weights, optimiser: weights of the network, and state of Adam.
      update: number of updates done, int scalar.
    """

    weights: Any
    optimiser: Any
    update: jax.Array


def adam(clip_norm: float) -> optax.GradientTransformation:
    """Adam after clipping the norm of the gradient; `descend` applies the learning rate."""
    return optax.chain(optax.clip_by_global_norm(clip_norm), optax.scale_by_adam(eps=1e-6))


def descend(
    optimiser: optax.GradientTransformation, state: State, gradient: Any, hyper: Hyper, share: Num[ArrayLike, ""]
) -> State:
    """The state after one step; `share` is the share of the updates done."""
    steps, kept = optimiser.update(gradient, state.optimiser, state.weights)
    rate = hyper.learning_rate * (0.05 + 0.95 * (1 + jnp.cos(jnp.pi * share)) / 2)
    rate = rate * jnp.minimum(1.0, (share + 1e-3) / jnp.maximum(hyper.warm_up, 1e-3))
    weights = jax.tree.map(lambda w, step: w - rate * (step + hyper.decay * w), state.weights, steps)
    return dataclasses.replace(state, weights=weights, optimiser=kept)
