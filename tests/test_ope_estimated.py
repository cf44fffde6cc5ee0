"""Estimated propensities on planted logs, against the planted law and an independent fit."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from jaxprice.ope import DecisionLog, estimated_propensities
from jaxprice.ope.estimated import fit

LOGS, HORIZON, COUNT = 20, 1200, 3
pytestmark = pytest.mark.optimised


def planted(masked, seed=0):
    """Logs of a seller whose choice is a logit of two features, and the true probabilities."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(LOGS, HORIZON, 2))
    utility = x @ rng.normal(size=(2, COUNT)) * 0.7 + [0.5, 0.0, -0.3]
    allowed = np.ones((LOGS, HORIZON, COUNT), bool)
    if masked:
        allowed[..., 1] = rng.random((LOGS, HORIZON)) < 0.6
    p = softmax(np.where(allowed, utility, -np.inf), axis=-1)
    action = (rng.random((LOGS, HORIZON, 1)) > np.cumsum(p, axis=-1)).sum(-1)
    columns = {"action": action, "reward": rng.normal(size=action.shape), "observation": x.astype(np.float32)}
    return DecisionLog.of(**columns, prices=np.arange(3.0), allowed=allowed, propensity=np.nan), p


@pytest.mark.parametrize("masked", [False, True])
def test_they_are_calibrated_on_planted_logs(masked):
    log, true = planted(masked)
    found = estimated_propensities(log)
    p = np.asarray(found.probabilities, float)
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)
    assert np.sqrt(np.mean((p - true) ** 2)) < 0.035  # sqrt(3 .2 / 960) = .025, three coefficients an action
    assert np.all(p[~np.asarray(log.allowed)] == 0)
    its = np.take_along_axis(p, np.asarray(log.action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(found.propensity, its, rtol=1e-6)
    taken = np.asarray(log.action)[..., None] == np.arange(COUNT)
    for low in np.arange(0.05, 0.95, 0.1):  # of decisions to which p is given, so many take the action
        here = (p >= low) & (p < low + 0.1)
        gap = taken[here] - p[here]
        assert abs(gap.mean()) < 4 * np.sqrt(np.mean(p[here] * (1 - p[here])) / gap.size) + 2e-3
    z = (its - np.take_along_axis(true, np.asarray(log.action)[..., None], -1)[..., 0]) / np.asarray(found.propensity_se)
    assert 0.7 < np.sqrt(np.mean(z**2)) < 1.4


def test_the_fit_is_the_maximum_that_scipy_finds():
    log, _ = planted(True)
    x = np.column_stack([np.ones(HORIZON), np.asarray(log.observation[0], float)])
    taken, allowed = np.eye(COUNT)[np.asarray(log.action[0])], np.asarray(log.allowed[0])
    weight = (np.arange(HORIZON) % 3 > 0).astype(float)

    def loss(flat):
        theta = flat.reshape(3, COUNT)
        utility = np.where(allowed, x @ theta, -1e30)
        left = weight[:, None] * (taken - softmax(utility, axis=1))
        value = -(weight[:, None] * taken * np.where(allowed, log_softmax(utility, axis=1), 0)).sum() + theta.ravel() @ flat
        return value, -(x.T @ left).ravel() + 2 * flat

    wanted = minimize(loss, np.zeros(3 * COUNT), jac=True, tol=1e-10).x.reshape(3, COUNT)
    ours = fit(*(np.float32(v) for v in (x, taken)), allowed, np.float32(weight), 2.0)
    np.testing.assert_allclose(ours, wanted, atol=2e-3)


def test_no_decision_enters_its_own_propensity():
    log, _ = planted(False)
    changed = np.asarray(log.action).copy()
    changed[:, :200] = (changed[:, :200] + 1) % COUNT
    first = estimated_propensities(log, folds=6)
    second = estimated_propensities(log.replace(action=changed), folds=6)
    np.testing.assert_array_equal(first.probabilities[:, :200], second.probabilities[:, :200])
    assert np.abs(first.probabilities[:, 200:] - second.probabilities[:, 200:]).max() > 0.01


def test_features_may_be_given():
    log, true = planted(False)
    few = log[:2]
    by_array = estimated_propensities(few, np.asarray(few.observation))
    by_rule = estimated_propensities(few, lambda seen: seen)
    np.testing.assert_allclose(by_array.probabilities, by_rule.probabilities, atol=1e-6)
    constant = estimated_propensities(few.replace(observation=None))
    shares = np.asarray(true[:2]).mean((0, 1))
    np.testing.assert_allclose(np.mean(constant.probabilities, axis=(0, 1)), shares, atol=0.04)
    assert np.std(np.asarray(constant.probabilities)[0], axis=0).max() < 0.02


def test_what_is_refused():
    log, _ = planted(False)
    for given, options, message in [
        (log, {"folds": 1}, r"folds must be an integer in \[2, 1200\]"),
        (log, {"ridge": 0.0}, "ridge must be above 0"),
        (log, {"features": np.zeros((2, 3))}, r"features must have shape \[20, 1200, 'd'\]"),
        (log, {"features": np.full((LOGS, HORIZON, 1), np.nan)}, "features must be finite"),
        (log.replace(prices=None, allowed=None), {}, "log must hold indices of a grid of known size"),
        (DecisionLog.of(action=[1.0, 2.0], reward=[0.0, 1.0], propensity=1.0), {}, "log must hold indices of a grid"),
        (log.replace(observation=None), {"features": lambda seen: seen}, "features is a function of the observation"),
    ]:
        with pytest.raises(ValueError, match=message):
            estimated_propensities(given, **options)
