"""Quick tests of RMLP's penalty; for its fits see `test_policies_contextual_pricing`."""

import importlib
import inspect
import types

import numpy as np


def test_penalty_falls_with_the_root_of_the_periods(monkeypatch):
    """lambda = penalty / s * sqrt(log(d + 1) / n), in NumPy."""
    module = importlib.import_module("jaxprice.policies.personal.rmlp")
    monkeypatch.setattr(module, "doubling_policy", lambda *parts: parts[-1])
    weight = inspect.unwrap(module.rmlp)(penalty=0.3)
    for scale, size, periods in ((0.5, 3, 16.0), (2.0, 8, 1024.0)):
        told = types.SimpleNamespace(scale=scale, size=size)
        np.testing.assert_allclose(weight(told, periods), 0.3 / scale * np.sqrt(np.log(size + 1) / periods), rtol=1e-6)
