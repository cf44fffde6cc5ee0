"""A rule that a manager can read: a shallow decision tree that imitates a policy, with what the simplification costs.

The policy plays a market; a tree of scikit-learn learns its price from the observation alone: time, last price, last demand,
stock, features. Then the tree plays new markets against the same buyers as the policy. Its regret beside the original's says
what the rule costs:

    rule = explain.rule(policy, env, depth=3, lanes=500, horizon=30)
    print(rule.text)
    rule.regret, rule.original, rule.gap  # per lane, each (mean, standard error); the gap is paired

The tree has no memory. It is a good rule for a policy that reads the state of a market, and a poor one for a learner. It is
fitted on the policy's own decisions (behaviour cloning), so it may err in states that only the tree visits.

Sources: O. Bastani, Y. Pu, A. Solar-Lezama (2018), "Verifiable reinforcement learning via policy extraction",
arXiv:1805.08328, for trees as policies; L. Breiman, J. Friedman, R. Olshen, C. Stone (1984), "Classification and regression
trees".
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxprice import checks
from jaxprice.environment import Environment
from jaxprice.explain.play import decisions
from jaxprice.types import Discrete, Policy


@dataclasses.dataclass(frozen=True)
class Rule:
    """A tree, and how it plays.

    Attributes:
      text: the rule, one line a branch.
      policy: the tree as a `Policy`.
      agreement: share of the decisions of new lanes in which the tree posts the policy's price.
      original, regret, gap: regret of a lane of the policy, of the tree, and the tree's minus the policy's on the same
        markets and buyers: `(mean, standard error)` each.
      leaves: number of leaves.
    """

    text: str
    policy: Policy
    agreement: float
    original: tuple[float, float]
    regret: tuple[float, float]
    gap: tuple[float, float]
    leaves: int


def rule(
    policy: Policy,
    env: Environment,
    *,
    depth: int = 3,
    lanes: int = 500,
    horizon: int = 100,
    params: Any = None,
    names: Any = None,
    least: int = 20,
    seed: int = 0,
) -> Rule:
    """Distil a policy into a shallow decision tree.

    Args:
      policy: the policy, which sets one price.
      env: the market, with observations that are one array.
      depth: depth of the tree, 1 to 8.
      lanes, horizon, params: as in `play.decisions`; the tree is judged on as many new lanes.
      names: names of the entries of the observation; by default time, last price, last demand, then "state 1", ... and
        "feature 1", ...
      least: smallest number of decisions in a leaf.
      seed: seed of markets, buyers and policy.

    Raises:
      ValueError: an argument is out of range, scikit-learn is missing, or the market prices several products.
    """
    depth, least = checks.whole("depth", depth, 1, 8), checks.positive_int("least", least)
    tree_module, grid = _scikit_learn(), isinstance(env.action_space(), Discrete)
    told = {"lanes": lanes, "horizon": horizon, "params": params, "asked": False}
    shown, fresh = (decisions(env, policy, seed=seed + k, **told) for k in (0, 1))
    size = np.shape(shown.observation)[-1]
    x, y = np.reshape(shown.observation, (-1, size)), np.ravel(shown.action if grid else shown.price)
    problem = env.problem(env.default_params() if params is None else params)
    names = _names(names, size, problem)
    kind = tree_module.DecisionTreeClassifier if grid else tree_module.DecisionTreeRegressor
    fitted = kind(max_depth=depth, min_samples_leaf=least, random_state=0).fit(x, y)
    made = as_policy(fitted, grid)
    own = decisions(env, made, seed=seed + 1, **told)
    predicted = fitted.predict(np.reshape(fresh.observation, (-1, size)))
    real = np.ravel(fresh.action if grid else fresh.price)
    same = predicted == real if grid else np.abs(predicted - real) < 0.01 * np.abs(real).max()
    lost, original = own.regret.sum(axis=1, dtype=float), fresh.regret.sum(axis=1, dtype=float)
    prices = np.asarray(problem.prices, float) if grid else None
    text = "\n".join(_lines(fitted, names, prices))
    first, own_score, gap = (_mean(v) for v in (original, lost, lost - original))
    return Rule(text, made, float(np.mean(same)), first, own_score, gap, int(fitted.get_n_leaves()))


def as_policy(fitted, grid):
    """The `Policy` of a fitted tree, in JAX."""
    tree = fitted.tree_
    left, right, entry, threshold = (
        jnp.asarray(v) for v in (tree.children_left, tree.children_right, np.maximum(tree.feature, 0), tree.threshold)
    )
    if grid:
        value = jnp.asarray(fitted.classes_[np.argmax(tree.value[:, 0], axis=1)], jnp.int32)
    else:
        value = jnp.asarray(tree.value[:, 0, 0], jnp.float32)
    left, right, threshold = left.astype(jnp.int32), right.astype(jnp.int32), threshold.astype(jnp.float32)

    def act(key, state, observation):
        del key, state
        place = jnp.int32(0)
        for _ in range(tree.max_depth):
            below = jnp.where(observation[entry[place]] <= threshold[place], left[place], right[place])
            place = jnp.where(left[place] < 0, place, below)
        return value[place]

    return Policy(lambda key, problem: (), act, lambda key, state, transition: ())


def _lines(fitted, names, prices):
    """The tree as text, `if` by `if`."""
    tree = fitted.tree_

    def said(node):
        if prices is None:
            return f"post {tree.value[node, 0, 0]:.4g}"
        counts = tree.value[node, 0]
        action = int(fitted.classes_[np.argmax(counts)])
        share = counts.max() / counts.sum()
        price = f"{prices[action]:.4g}" if prices.ndim == 1 and action < len(prices) else f"action {action}"
        return f"post {price} ({share:.0%} of {tree.n_node_samples[node]:,} decisions)"

    def walk(node, indent):
        if tree.children_left[node] < 0:
            yield f"{indent}{said(node)}"
            return
        name, cut = names[tree.feature[node]], tree.threshold[node]
        yield f"{indent}if {name} <= {cut:.4g}:"
        yield from walk(tree.children_left[node], indent + "    ")
        yield f"{indent}else:"
        yield from walk(tree.children_right[node], indent + "    ")

    return list(walk(0, ""))


def _names(names, size, problem):
    """Names of the entries of an observation."""
    if names is not None:
        if not isinstance(names, list | tuple) or len(names) != size or not all(isinstance(name, str) for name in names):
            raise ValueError(f"names must be {size} texts, one for each entry of the observation, got {checks.shown(names)}")
        return list(names)
    features = problem.context_size
    states = size - 3 - features
    known = "stock" if problem.stock is not None and states == 1 else None
    middle = [known] if known else [f"state {k + 1}" for k in range(states)]
    return [
        "time (share of the season)",
        "last price",
        "last demand",
        *middle,
        *(f"feature {k + 1}" for k in range(features)),
    ]


def _mean(x):
    return float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else 0.0


def _scikit_learn():
    """`sklearn.tree`.

    Raises:
      ValueError: it is not installed.
    """
    try:
        from sklearn import tree
    except ImportError as error:
        raise ValueError("a rule needs scikit-learn: pip install scikit-learn (the extra 'benchmarks' has it)") from error
    return tree
