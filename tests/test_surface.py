"""The public surface of `import jaxprice`: everything by its name, and slow modules only at first use."""

import inspect
import pkgutil
import subprocess
import sys
import typing

import pytest

import jaxprice

LATER = ("agents", "compat", "data", "experiment", "oracles")

NAMES = """
import sys
import jaxprice
early = [name for name in ("agents", "compat", "experiment", "oracles.bandit_bound") if f"jaxprice.{name}" in sys.modules]
assert not early, early
assert not {"matplotlib.pyplot", "gymnasium", "gymnax"} & set(sys.modules)
assert {"agents", "compat", "data", "experiment", "oracles"} <= set(dir(jaxprice)), dir(jaxprice)
for name in ("agents.load", "compat.markets", "data.names", "experiment.Experiment", "oracles.gittins", "Oracle", "Subset"):
    found = jaxprice
    for part in name.split("."):
        found = getattr(found, part)
import jax._src.xla_bridge as bridge
assert not bridge.backends_are_initialized()
"""


def test_everything_is_there_after_the_import_and_nothing_is_early():
    subprocess.run([sys.executable, "-c", NAMES], check=True, timeout=240)


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jaxprice' has no attribute 'simulat'; did you mean 'simulate'"):
        jaxprice.simulat  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'jaxprice.oracles' has no attribute 'gitins'; did you mean 'gittins'"):
        jaxprice.oracles.gitins  # noqa: B018
    assert not hasattr(jaxprice, "__wrapped__") and not hasattr(jaxprice.compat, "nothing")


def test_all_names_are_listed():
    assert set(jaxprice.__all__) <= set(dir(jaxprice)) and set(LATER) <= set(dir(jaxprice))
    assert jaxprice.oracles.bandit_bound is sys.modules["jaxprice.oracles.bandit_bound"]


@pytest.mark.parametrize("package", [jaxprice, jaxprice.compat, jaxprice.oracles])
def test_completion_shows_public_names_alone(package):
    shown = {name for name in dir(package) if not name.startswith("_")}
    assert shown == set(package.__all__)
    assert "lazy" not in shown and "__doc__" in dir(package)


def test_all_oracles_are_listed():
    there = {module.name for module in pkgutil.iter_modules(jaxprice.oracles.__path__)}
    assert set(jaxprice.oracles.__all__) == there


def test_functions_of_a_policy_say_what_they_take():
    hints = typing.get_type_hints(jaxprice.Policy)
    hints["probabilities"] = typing.get_args(hints["probabilities"])[0]  # or None
    takes = {name: list(inspect.signature(hint.__call__).parameters)[1:] for name, hint in hints.items()}
    wanted = {"init": ["key", "problem"], "act": ["key", "state", "observation"], "update": ["key", "state", "transition"]}
    assert takes == wanted | {"probabilities": ["state", "observation"]}
    policy = jaxprice.policies.exp3()
    for name, function in policy._asdict().items():
        inspect.signature(function).bind(*takes[name])  # it takes as many
