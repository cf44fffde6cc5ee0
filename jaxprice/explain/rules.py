"""A rule that a manager can read: a shallow decision tree that imitates a policy, with what the simplification costs.

The policy plays a market; a tree of scikit-learn learns its price from the observation alone: time, last price, last demand,
stock, features. Then the tree plays new markets against the same buyers as the policy. Its regret beside the original's says
what the rule costs:

    rule = explain.rule(policy, env, depth=3, lanes=500, horizon=30)
    print(rule.text)
    rule.regret, rule.original, rule.gap  # per lane, each (mean, standard error); the gap is paired

Where prices are ordered, the tree regresses the price, and a leaf posts the price of the grid nearest to its mean; arms of
one price are classified. The tree has no memory. It is a good rule for a policy that reads the state of a market, and a poor
one for a learner. It is fitted on the policy's own decisions (behaviour cloning), so it may err in states that only the tree
visits. Last price and last demand are clues to what a policy did before, not reasons: `entries` can leave them out.

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
    entries: Any = None,
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
      entries: numbers of the entries of the observation that the rule may read; by default all.
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
    problem = env.problem(env.default_params() if params is None else params)
    names, prices = _names(names, size, problem), np.asarray(problem.prices, float) if grid else None
    arms = prices is not None and (prices.ndim > 1 or len(np.unique(prices)) < len(prices))
    read = _entries(entries, size)
    x, y = np.reshape(shown.observation, (-1, size))[:, read], np.ravel(shown.action if arms else shown.price)
    kind = tree_module.DecisionTreeClassifier if arms else tree_module.DecisionTreeRegressor
    fitted = kind(max_depth=depth, min_samples_leaf=least, random_state=0).fit(x, y)
    leaves = _leaves(fitted, arms, prices)
    made = as_policy(fitted, leaves, read)
    own = decisions(env, made, seed=seed + 1, **told)
    predicted = leaves[fitted.apply(np.reshape(fresh.observation, (-1, size))[:, read])]
    real = np.ravel(fresh.action if grid else fresh.price)
    same = predicted == real if grid else np.abs(predicted - real) < 0.01 * np.abs(real).max()
    lost, original = own.regret.sum(axis=1, dtype=float), fresh.regret.sum(axis=1, dtype=float)
    text = "\n".join(_lines(fitted, [names[k] for k in read], leaves, prices))
    first, own_score, gap = (_mean(v) for v in (original, lost, lost - original))
    return Rule(text, made, float(np.mean(same)), first, own_score, gap, int(fitted.get_n_leaves()))


def _leaves(fitted, arms, prices):
    """What each node of a tree posts: actions of a grid, int32 `[nodes]`, or prices, float32."""
    if arms:
        return np.asarray(fitted.classes_[np.argmax(fitted.tree_.value[:, 0], axis=1)], np.int32)
    mean = fitted.tree_.value[:, 0, 0]
    if prices is None:
        return np.asarray(mean, np.float32)
    return np.argmin(np.abs(mean[:, None] - prices[None]), axis=1).astype(np.int32)


def as_policy(fitted, leaves, read):
    """The `Policy` of a fitted tree, in JAX; `leaves` `[nodes]` is what a node posts, `read` the entries it reads."""
    tree, value = fitted.tree_, jnp.asarray(leaves)
    left, right, entry = (jnp.asarray(v, jnp.int32) for v in (tree.children_left, tree.children_right, tree.feature))
    entry, threshold = jnp.asarray(read, jnp.int32)[jnp.maximum(entry, 0)], jnp.asarray(tree.threshold, jnp.float32)

    def act(key, state, observation):
        del key, state
        place = jnp.int32(0)
        for _ in range(tree.max_depth):
            below = jnp.where(observation[entry[place]] <= threshold[place], left[place], right[place])
            place = jnp.where(left[place] < 0, place, below)
        return value[place]

    return Policy(lambda key, problem: (), act, lambda key, state, transition: ())


def _lines(fitted, names, leaves, prices):
    """The tree as text, `if` by `if`."""
    tree, leaves = fitted.tree_, leaves.copy()

    def said(node):
        posted = leaves[node] if prices is None else prices[leaves[node]] if np.ndim(prices) == 1 else np.nan
        named = f"{posted:.4g}" if fitted.__class__.__name__.endswith("Regressor") else f"arm {leaves[node]}"
        return f"post {named} ({tree.n_node_samples[node] / tree.n_node_samples[0]:.0%} of decisions)"

    def ends(node):
        """What is posted below a node."""
        if tree.children_left[node] < 0:
            return {leaves[node].item()}
        return ends(tree.children_left[node]) | ends(tree.children_right[node])

    def walk(node, indent):
        if len(below := ends(node)) == 1:
            leaves[node] = below.pop()
            yield f"{indent}{said(node)}"
            return
        name, cut = names[tree.feature[node]], tree.threshold[node]
        yield f"{indent}if {name} <= {cut:.4g}:"
        yield from walk(tree.children_left[node], indent + "    ")
        yield f"{indent}else:"
        yield from walk(tree.children_right[node], indent + "    ")

    return list(walk(0, ""))


def _entries(entries, size):
    """The entries that a rule may read, a list of ints."""
    if entries is None:
        return list(range(size))
    if not isinstance(entries, list | tuple) or not entries:
        raise ValueError(f"entries must be numbers from 0 to {size - 1}, got {checks.shown(entries)}")
    return [checks.whole("entries", entry, 0, size - 1) for entry in entries]


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
