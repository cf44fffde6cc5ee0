"""Imports go down the floors that the README draws."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOGETHER = ("fingerprint",)  # a line that goes on with the floor above it


def floors():
    """Name of a module or package -> its line in the drawing, from the top."""
    drawing = re.search(r"^jaxprice/\n(.*?)^notebooks/", (ROOT / "README.md").read_text(), re.M | re.S)[1]
    levels, level = {}, 0
    for line in drawing.splitlines():
        names = re.split(r" {2,}", line.strip())[0].split()
        level += names[0] not in TOGETHER
        levels |= dict.fromkeys(names, level)
    return levels


def imports(path):
    """Modules and packages of jaxprice that a file imports when it is loaded."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jaxprice":
            inside = node.module.split(".")[1:]
            yield from inside[:1] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("jaxprice."))


FILES = [
    path for path in sorted((ROOT / "jaxprice").rglob("*.py")) if path.parent.name != "jaxprice" or path.stem != "__init__"
]


def test_every_module_is_drawn():
    assert {path.relative_to(ROOT / "jaxprice").parts[0].removesuffix(".py") for path in FILES} == set(floors())


@pytest.mark.parametrize("package", sorted({path.relative_to(ROOT / "jaxprice").parts[0] for path in FILES}))
def test_a_file_imports_from_its_floor_and_below(package):
    level = floors()
    mine = level[package.removesuffix(".py")]
    for path in FILES:
        if path.relative_to(ROOT / "jaxprice").parts[0] == package:
            above = [name for name in imports(path) if name in level and level[name] < mine]
            assert not above, f"{path.relative_to(ROOT)} imports {', '.join(above)}, which the README draws above it"
