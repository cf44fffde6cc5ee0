"""Places of policies: one folder a family, with the parts that only it needs; `parts` serves several families."""

import ast
import importlib
import pkgutil
import types
from pathlib import Path

import pytest

import jaxprice
from jaxprice import policies
from jaxprice.policies import registry

ROOT = Path(jaxprice.__file__).parent
POLICIES = ROOT / "policies"
FOLDERS = sorted(path.parent.name for path in POLICIES.glob("*/__init__.py"))
SHARED = sorted(path.stem for path in (POLICIES / "parts").glob("*.py") if path.stem != "__init__")


def imported(path):
    """The modules of the package that a file imports, their names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("jaxprice"):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


USERS = {}  # name of a module -> files of policies that import it
for file in POLICIES.glob("*/*.py"):
    for module in imported(file):
        USERS.setdefault(module, set()).add(file)


def families(module):
    """The families that need a module of `parts`, through others of these too."""
    used = USERS.get(module, set())
    indirect = (families(f"jaxprice.policies.parts.{path.stem}") for path in used if path.parent.name == "parts")
    return {path.parent.name for path in used if path.parent.name != "parts"}.union(*indirect)


def test_families_are_the_folders():
    assert sorted((*registry.FAMILIES, "parts")) == FOLDERS
    for family in registry.FAMILIES:
        package = importlib.import_module(f"jaxprice.policies.{family}")
        assert not [node for node in ast.parse(Path(package.__file__).read_text()).body if not isinstance(node, ast.Expr)]
        title, _, about = package.__doc__.partition(": ")
        assert title and about.strip().endswith(".")


@pytest.mark.parametrize("name", SHARED)
def test_parts_serve_several_families(name):
    assert len(families(f"jaxprice.policies.parts.{name}")) > 1


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_parts_of_a_family_serve_it_alone(family):
    """Only policies are imported by other families: `kleinberg_leighton` plays `ucb1`."""
    package = importlib.import_module(f"jaxprice.policies.{family}")
    for module in pkgutil.iter_modules(package.__path__):
        users = {path.parent.name for path in USERS.get(f"{package.__name__}.{module.name}", ())}
        assert module.name in policies.list() or users <= {family}, (module.name, users)


def test_the_package_has_a_line_for_every_policy_and_nothing_else():
    public = {name: value for name, value in vars(policies).items() if not name.startswith("_")}
    own = {name for name, value in public.items() if not isinstance(value, types.ModuleType)}
    assert own == {*policies.__all__} and len(policies.__all__) == len(own)
    files = {path.stem for path in POLICIES.glob("*/*.py")} - {"__init__"}
    assert {*policies.list()} <= files
    for name in policies.list():
        module = getattr(getattr(policies, registry.family_of(getattr(policies, name))), name)
        assert isinstance(module, types.ModuleType) and getattr(module, name) is getattr(policies, name)


def test_a_policy_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"a policy must be in a folder of jaxprice.policies \(benchmarks, .*, got module"):
        registry.policy_maker(source="nobody")(lambda: None)
