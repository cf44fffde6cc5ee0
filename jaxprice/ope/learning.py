"""Learning from logs: the best policy of a class by its estimated value, with a lower confidence bound.

`best_policy` compares given candidates. The estimate of the best of many is too high, since the largest error helps to win
(the winner's curse); so the choice is by lower bounds, whose level holds for all candidates together (Bonferroni), which
makes the bound of the winner hold as well.

`learn_policy` fits a policy with probabilities softmax(theta' phi(x)) on one part of a log. It maximises the estimated value
minus `penalty` standard errors, by gradient steps from the policy that the reward model prefers: where the log says little,
the penalty keeps it near to what is known. The other part of the log judges it: the interval of its value and of its gain
over the logging policy come from decisions that the fit did not see.

Sources: Dudik, Langford, Li (2011), arXiv:1103.4601; Swaminathan, Joachims (2015), Counterfactual risk minimization:
learning from logged bandit feedback, ICML, arXiv:1502.02362 (the penalty); Athey, Wager (2021), Policy learning with
observational data, doi:10.3982/ECTA15732.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array
from jaxtyping import Float, Int

from jaxprice import checks
from jaxprice.ope.estimate import Estimate, mean
from jaxprice.ope.estimators.doubly_robust import doubly_robust
from jaxprice.ope.intervals import checked_level, clt
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.reward_model import reward_model, solve_ridge
from jaxprice.ope.target import one_axis, target

Estimator = Callable[[DecisionLog, Array, Array], Estimate]


@struct.dataclass
class Choice:
    """The chosen candidate of each log.

    Attributes:
      names: names of the candidates.
      index: number of the chosen one, int `[...]`.
      value, low, high: estimated values and simultaneous intervals of all candidates, `[candidates, ...]`.
    """

    names: tuple[str, ...] = struct.field(pytree_node=False)
    index: Int[Array, "..."]
    value: Float[Array, "C ..."]
    low: Float[Array, "C ..."]
    high: Float[Array, "C ..."]

    @property
    def best(self) -> str:
        """Name of the chosen candidate, if there is one log.

        Raises:
          ValueError: there are several logs.
        """
        if self.index.ndim:
            raise ValueError(f"best is for a single log, got logs {list(self.index.shape)}; use names and index")
        return self.names[int(self.index)]


@struct.dataclass
class LearnedPolicy:
    """A softmax policy and what the held-out part of the log says about it.

    Attributes:
      theta: coefficients, float `[..., F + 1, num_actions]`, the constant first.
      value: held-out estimate of its value.
      gain: held-out estimate of its value minus the mean reward of the logging policy.
      low, high: interval of the value, `[...]`.
      gain_low, gain_high: interval of the gain, `[...]`.
      features: maps one observation to `[F]`.
    """

    theta: Float[Array, "... F A"]
    value: Estimate
    gain: Estimate
    low: Float[Array, "..."]
    high: Float[Array, "..."]
    gain_low: Float[Array, "..."]
    gain_high: Float[Array, "..."]
    features: Callable = struct.field(pytree_node=False)

    def __call__(self, observation: Any) -> Float[Array, "... A"]:
        """Action probabilities at one observation, `[..., num_actions]`; a rule for `ope.target` if there is one log."""
        x = jnp.asarray(self.features(observation))
        return jax.nn.softmax(self.theta[..., 0, :] + jnp.einsum("f,...fa->...a", x, self.theta[..., 1:, :]))


def best_policy(
    log: DecisionLog,
    candidates: Mapping[str, Any],
    *,
    estimator: Estimator = doubly_robust,
    model: Any = reward_model,
    level: float = 0.95,
) -> Choice:
    """The candidate with the largest lower confidence bound.

    Args:
      log: logs `[..., T]`; each log chooses for itself.
      candidates: rules by name, as for `ope.target`.
      estimator: function of log, target and predicted rewards.
      model: predicted rewards `[..., T, num_actions]`, or a function of the log that returns them.
      level: probability that all intervals hold together.

    Raises:
      ValueError: there are no candidates, or one does not fit the log or lacks support; the message names it.
    """
    if not candidates:
        raise ValueError("candidates must name at least one rule, got none")
    each = 1 - (1 - checked_level(level)) / len(candidates)
    predicted: Any = model(log) if callable(model) else model
    found = []
    for name, rule in candidates.items():
        try:
            found.append(estimator(log, target(log, rule), predicted))
        except ValueError as error:
            raise ValueError(f"candidate {name!r}: {error}") from None
    low, high = (jnp.stack(ends) for ends in zip(*(clt(estimate, each) for estimate in found), strict=True))
    value = jnp.stack([estimate.value for estimate in found])
    return Choice(tuple(candidates), jnp.argmax(low, axis=0), value, low, high)


def learn_policy(
    log: DecisionLog,
    features: Callable[[Any], Array],
    *,
    model: Callable[[DecisionLog], Array] = reward_model,
    share: float = 0.5,
    penalty: float = 1.0,
    level: float = 0.95,
    steps: int = 300,
    learning_rate: float = 0.05,
    weight_decay: float = 1e-3,
) -> LearnedPolicy:
    """A softmax policy, fitted on the first part of each log and judged on the rest.

    Args:
      log: logs `[..., T]` with a price grid.
      features: maps one observation to `[F]`, of about unit scale, without a constant.
      model: function of a log that returns predicted rewards; called on either part.
      share: share of the decisions, from the beginning, that the policy is fitted on.
      penalty: standard errors that are subtracted from the value in the fit, at least 0.
      level: probability of each interval.
      steps, learning_rate, weight_decay: of the optimiser AdamW.

    Raises:
      ValueError: an option is out of range, or a part of the log has fewer than 2 decisions.
    """
    checks.number("share", share, low=0.0, high=1.0, scalar=True)
    checks.number("penalty", penalty, low=0.0)
    checked_level(level)
    cut = round(share * log.shape[-1])
    if not 2 <= cut <= log.shape[-1] - 2:
        raise ValueError(f"share must leave at least 2 decisions in either part of {log.shape[-1]}, got {share}")
    rows = (slice(None),) * (len(log.shape) - 1)
    past, later = log[(*rows, slice(None, cut))], log[(*rows, slice(cut, None))]
    x, judged = (_design(part, features) for part in (past, later))
    predicted = model(past)
    optimiser = optax.adamw(learning_rate, weight_decay=weight_decay)

    def loss(theta):
        estimate = doubly_robust(past, _softmax(theta, x, past.allowed), predicted, allow_missing=True)
        return -jnp.sum(estimate.value - penalty * estimate.se)

    def step(carry, _):
        theta, state = carry
        change, state = optimiser.update(jax.grad(loss)(theta), state, theta)
        return (optax.apply_updates(theta, change), state), None

    @jax.jit
    def fit(theta):
        return jax.lax.scan(step, (theta, optimiser.init(theta)), length=checks.positive_int("steps", steps))[0][0]

    theta = fit(_greedy(x, predicted))
    value = doubly_robust(later, _softmax(theta, judged, later.allowed), model(later))
    gain = mean(value.terms - later.reward)
    return LearnedPolicy(theta, value, gain, *clt(value, level), *clt(gain, level), features=features)


def _design(log, features):
    rows: Any = jax.vmap(features)(one_axis(log.observation, len(log.shape)))
    x = jnp.reshape(rows, (*log.shape, -1)).astype(log.reward.dtype)
    return jnp.concatenate([jnp.ones_like(x[..., :1]), x], axis=-1)


def _greedy(x, predicted):
    """Coefficients of a policy that prefers what a linear fit of the predictions prefers: the start of the optimiser."""
    gram, moment = jnp.einsum("...tf,...tg->...fg", x, x), jnp.einsum("...tf,...ta->...af", x, predicted)
    gram = jnp.broadcast_to(gram[..., None, :, :], (*moment.shape, x.shape[-1]))
    theta = jnp.swapaxes(solve_ridge(gram, moment, 1.0), -1, -2)
    spread = jnp.std(predicted, axis=(-2, -1), keepdims=True)
    return 2 * theta / jnp.where(spread > 0, spread, 1.0)


def _softmax(theta, x, allowed):
    score = jnp.einsum("...tf,...fa->...ta", x, theta)
    return jax.nn.softmax(score if allowed is None else jnp.where(allowed, score, -jnp.inf), axis=-1)
