"""Mutation testing changes one token at a time, and runs the changed source."""

import ast
import importlib.util

import mutate
import pytest


def test_every_mutant_differs_in_one_token_and_none_in_text_or_imports():
    path = "jaxprice/policies/stochastic/ucb1.py"
    whole = (mutate.ROOT / path).read_text()
    found = mutate.mutants(path)
    assert any(m.before == "*" and "state.signal.weights *" in whole.splitlines()[m.line - 1] for m in found)
    for mutant in found:
        changed = mutant.source()
        ast.parse(changed)
        assert len(changed) - len(whole) == len(mutant.after) - len(mutant.before)
        different = [k for k, (a, b) in enumerate(zip(whole.splitlines(), changed.splitlines(), strict=True), 1) if a != b]
        assert different == [mutant.line]
        assert not whole.splitlines()[mutant.line - 1].startswith(("import", "from", "@"))


def test_the_changed_source_is_what_is_loaded():
    path = "jaxprice/checks.py"
    mutant = next(m for m in mutate.mutants(path) if m.before in ("and", "or"))
    loader = mutate._Changed(mutant)
    spec = loader.find_spec("jaxprice.checks")
    assert loader.find_spec("jaxprice.stats") is None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    assert module.positive_int("lanes", 3) == 3
    assert loader.get_source("jaxprice.checks") == mutant.source()


def test_all_targets_and_their_tests_exist_and_an_unknown_one_is_refused():
    for path in mutate.targets():
        assert (mutate.ROOT / path).is_file()
        assert all((mutate.ROOT / run[0]).is_file() for run in mutate.tests_of(path))
    assert len(mutate.chosen(mutate.Options(number=200))) == 200
    with pytest.raises(ValueError, match="only must name a file"):
        mutate.chosen(mutate.Options(only=("nothing",)))
