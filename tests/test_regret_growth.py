"""`python -m experiments.regret_growth`: rows are measured once and saved, and form a table."""

import csv

import numpy as np
import pytest

from experiments.regret_growth import rows, study
from jaxprice import stats

ROWS = ("epsilon_greedy", "exp3")  # one run with many times, and seasons of three lengths


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Options of a run that ended."""
    options = study.Options(only=ROWS, horizon=320, lanes=2, out=tmp_path_factory.mktemp("growth") / "out")
    study.main(options)
    return options


def table(options):
    with (options.out / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_second_run_measures_nothing(done):
    """A cell that is measured anew would have another date, and so another name."""
    before = {path: path.read_bytes() for path in done.out.rglob("*") if path.is_file()}
    assert sum(path.suffix == ".npz" for path in before) == len(ROWS)
    study.main(done)
    assert before == {path: path.read_bytes() for path in done.out.rglob("*") if path.is_file()}


def test_the_table_has_the_exponents_of_the_curves(done):
    assert "exp3" in rows.ACROSS and "epsilon_greedy" not in rows.ACROSS
    for line, (name, make) in zip(table(done), study.cells(done).items(), strict=True):
        curves, times = make()["regret"], study.times(done, name in rows.ACROSS)
        slopes = [stats.growth_exponent(times, curve) for curve in curves]
        assert line["row"] == name and line["expected"] == rows.rows(done.horizon)[name][2]
        assert float(line["exponent"]) == pytest.approx(np.mean(slopes), rel=1e-3)
        assert float(line["low"]) < np.mean(slopes) < float(line["high"])
        assert float(line["regret"]) == pytest.approx(curves[:, -1].mean(), rel=1e-3)


def test_other_sizes_have_a_folder_of_their_own(done):
    before = table(done)
    study.main(study.Options(only=ROWS[:1], horizon=160, lanes=2, out=done.out))
    assert table(done) == before and (done.out.with_name("out-2") / "table.csv").is_file()
