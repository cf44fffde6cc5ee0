"""The list of long tests names tests that are there, whole or by row."""

from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest

HERE = Path(__file__).parent


def test_every_line_names_a_test():
    for line in conftest.LONG:
        file, _, test = line.partition("::")
        assert f"def {test.partition('[')[0]}(" in (HERE / file).read_text(), line


@pytest.mark.parametrize(
    ("name", "long"),
    [
        ("tests/test_regret.py::test_exp3_grows_as_the_square_root", True),
        ("tests/test_regret.py::test_exp3_grows_as_the_square_root[row]", True),
        ("test_regret.py::test_regret_is_that_of_a_numpy_simulation[kl_ucb]", True),
        ("tests/test_regret.py::test_regret_is_that_of_a_numpy_simulation[ucb1]", False),
    ],
)
def test_tests_and_rows_are_marked(name, long):
    marks = []
    conftest.pytest_itemcollected(SimpleNamespace(nodeid=name, add_marker=marks.append))
    assert marks == ["long"] * long
