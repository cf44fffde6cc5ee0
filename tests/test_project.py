"""Project files: version, licence and type marker agree everywhere."""

import importlib.resources
import tomllib
from pathlib import Path

import jaxprice

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_one_version():
    cited = [line for line in (ROOT / "CITATION.cff").read_text().splitlines() if line.startswith("version: ")]
    assert cited == [f"version: {PROJECT['project']['version']}"]
    assert jaxprice.__version__ == PROJECT["project"]["version"]


def test_licence():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "license: Apache-2.0" in (ROOT / "CITATION.cff").read_text().splitlines()
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def test_types_are_shipped():
    assert importlib.resources.files("jaxprice").joinpath("py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["jaxprice"]
