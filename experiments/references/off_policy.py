"""Off-policy estimates of one log in NumPy: the loop over logs that `experiments.ope_throughput` compares with.

`estimates` and `bootstrap` are the best that we could write: weights, predictions and samples are shared. `apart` and
`bootstrap_apart` start from the arrays of the log for each estimator, as Open Bandit Pipeline does. The model is the mean
reward of each action, from the other folds.
"""

import numpy as np


def softmax_target(context, slopes):
    """Action probabilities softmax(context * slope), `[T, A]`."""
    score = context[:, None] * slopes
    chance = np.exp(score - score.max(axis=1, keepdims=True))
    return chance / chance.sum(axis=1, keepdims=True)


def action_means(action, reward, actions, folds=3, ridge=1.0):
    """Cross-fitted mean rewards of the actions, `[T, A]`: sums of the other folds, drawn to their overall mean."""
    fold = np.arange(len(action)) % folds
    cell = fold * actions + action
    count = np.bincount(cell, minlength=folds * actions).reshape(folds, actions).astype(float)
    total = np.bincount(cell, weights=reward, minlength=folds * actions).reshape(folds, actions)
    count, total = count.sum(0) - count, total.sum(0) - total
    level = total.sum(1, keepdims=True) / count.sum(1, keepdims=True)
    return (level + (total - level * count) / (count + ridge))[fold]


def estimates(action, reward, propensity, target, model, clip=10.0, threshold=10.0, shrinkage=100.0):
    """Values and influences by name: `{name: (value, influence [T])}`."""
    rows = np.arange(len(action))
    weight = target[rows, action] / propensity
    expected = np.einsum("ta,ta->t", target, model)
    residual = reward - model[rows, action]

    def mean(terms):
        value = terms.mean()
        return value, terms - value

    def ratio(numerator, denominator, shift=None):
        below = denominator.mean()
        value = numerator.mean() / below
        influence = (numerator - value * denominator) / below
        if shift is None:
            return value, influence
        return value + shift.mean(), influence + shift - shift.mean()

    return {
        "ips": mean(weight * reward),
        "clipped_ips": mean(np.minimum(weight, clip) * reward),
        "snips": ratio(weight * reward, weight),
        "direct_method": mean(expected),
        "doubly_robust": mean(expected + weight * residual),
        "self_normalised_dr": ratio(weight * residual, weight, expected),
        "switch_dr": mean(expected + weight * (weight <= threshold) * residual),
        "shrunk_dr": mean(expected + shrinkage * weight / (weight**2 + shrinkage) * residual),
    }


def apart(action, reward, propensity, target, model, clip=10.0, threshold=10.0, shrinkage=100.0):
    """Terms `[T]` by name, each estimator from the arrays of the log, as Open Bandit Pipeline computes them."""
    rows = np.arange(len(action))

    def weights():
        return target[rows, action] / propensity

    def expected():
        return np.average(model[rows, :], weights=target[rows, :], axis=1)

    def residual():
        return reward - model[rows, action]

    def normalised(terms, weight):
        return terms / weight.mean()

    return {
        "ips": reward * weights(),
        "clipped_ips": reward * np.minimum(weights(), clip),
        "snips": normalised(reward * weights(), weights()),
        "direct_method": expected(),
        "doubly_robust": expected() + weights() * residual(),
        "self_normalised_dr": expected() + normalised(weights() * residual(), weights()),
        "switch_dr": expected() + weights() * (weights() <= threshold) * residual(),
        "shrunk_dr": expected() + shrinkage * weights() / (weights() ** 2 + shrinkage) * residual(),
    }


def clt(value, influence, reach=1.96):
    """Normal interval."""
    error = np.sqrt((influence**2).sum() / (len(influence) * (len(influence) - 1)))
    return value - reach * error, value + reach * error


def bootstrap(rng, influences, replicates, level=0.95):
    """Percentile intervals `[2, estimators]` of the errors, from samples that all estimators share, `[estimators, T]`."""
    size = influences.shape[1]
    means = [influences[:, rng.integers(size, size=size)].mean(axis=1) for _ in range(replicates)]
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)


def bootstrap_apart(rng, terms, replicates, level=0.95):
    """Percentile interval of one estimator, as Open Bandit Pipeline draws it: one sample at a time."""
    means = [rng.choice(terms, size=len(terms)).mean() for _ in range(replicates)]
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
