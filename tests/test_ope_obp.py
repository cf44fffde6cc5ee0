"""The estimators against Open Bandit Pipeline 0.4.1 on the same arrays (`references/obp_values.py` made the values)."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxprice import ope

here = Path(__file__).parent / "references"
sys.path.insert(0, str(here))
from obp_values import arrays, cases, shrinkages, thresholds  # noqa: E402

known = json.loads((here / "obp_values.json").read_text())["values"]


def logged(data):
    columns = {name: data[name] for name in ("action", "reward", "probabilities")}
    return ope.DecisionLog.of(**columns, price=data["action"].astype(float))


@jax.jit
def estimates(log, target, deterministic, model):
    return {
        "ips": ope.ips(log, target),
        "snips": ope.snips(log, target),
        "direct_method": ope.direct_method(log, target, model),
        "doubly_robust": ope.doubly_robust(log, target, model),
        "self_normalised_dr": ope.self_normalised_dr(log, target, model),
        **{f"switch_dr {tau}": ope.switch_dr(log, target, model, tau) for tau in thresholds},
        **{f"shrunk_dr {lam}": ope.shrunk_dr(log, target, model, lam) for lam in shrinkages},
        "replay": ope.replay(log, deterministic),
    }


@pytest.mark.parametrize("case", cases)
@pytest.mark.parametrize(("wide", "tolerance"), [(True, 1e-6), (False, 2e-5)])
def test_equal_to_open_bandit_pipeline(case, wide, tolerance):
    data = arrays(*cases[case])
    with jax.enable_x64(wide):
        found = estimates(logged(data), *(jnp.asarray(data[name]) for name in ("target", "deterministic", "model")))
    found = jax.tree.map(np.asarray, found)
    assert set(found) == set(known[case])
    for name, reference in known[case].items():
        np.testing.assert_allclose(found[name].value, reference["value"], rtol=tolerance, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(found[name].terms[:8], reference["first"], rtol=tolerance, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(found[name].terms.mean(), reference["value"], rtol=tolerance, atol=tolerance)


def test_clipped_weights_are_those_of_later_versions():
    """Open Bandit Pipeline clips weights from 0.5 on, with `np.minimum(weights, lambda_)`."""
    data = arrays(*cases["middle"])
    rows = np.arange(len(data["action"]))
    weights = data["target"][rows, data["action"]] / data["propensity"]
    with jax.enable_x64(True):
        log = ope.DecisionLog.of(
            action=data["action"], reward=data["reward"], propensity=data["propensity"], prices=np.arange(1.0, 8.0)
        )
        for clip in (0.5, 1.0, 3.0, 1e3):
            found = ope.clipped_ips(log, jnp.asarray(data["target"]), clip).value
            np.testing.assert_allclose(found, np.mean(np.minimum(weights, clip) * data["reward"]), rtol=1e-12)
