"""Rows of a table of tests: some run by default, the others are marked slow."""

import pytest


def some(rows, *quick):
    """`rows` as parameters of a test: those named in `quick` always run, the others are slow."""
    missing = set(quick) - set(rows)
    assert not missing, missing
    return [row if row in quick else pytest.param(row, marks=pytest.mark.slow) for row in rows]
