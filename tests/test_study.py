"""The frame of studies of published results: z, cells that resume, folders that are kept, the index."""

import csv
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments import study, summary


class Sizes(NamedTuple):
    lanes: int


def made(calls, sizes=(4, 8)):
    """A study of two cells; `calls` collects what is simulated."""

    def cells(sizes, seed):
        def cell(name, shift):
            calls.append(name)
            return {"values": np.random.default_rng(seed).normal(size=sizes.lanes) + shift}

        return {"one": lambda: cell("one", 0.0), "two half": lambda: cell("two half", 2.5)}

    def rows(sizes, results):
        numbers = {name: study.mean(result["values"]) for name, result in results.items()}
        return [
            study.Row("one", *numbers["one"], published=0.0, published_se=0.1, source="a paper, Table 1", kind="printed"),
            study.Row("two", *numbers["two half"]),
        ]

    def draw(figure, sizes, results, rows):
        figure.subplots().errorbar([0, 1], [row.ours for row in rows], [row.se for row in rows])

    presets = dict(zip(("smoke", "default"), map(Sizes, sizes), strict=True))
    return study.Study("made_up", "A study of nothing", presets, cells, rows, draw)


def options(path, **changes):
    return study.Options(**({"preset": "smoke", "out": path, "seed": 3} | changes))


@pytest.mark.parametrize(
    ("row", "z"),
    [
        (study.Row("x", 1.2, 0.3, 1.0, 0.4), 0.4),
        (study.Row("x", 1.2, 0.3, 1.0), 2 / 3),
        (study.Row("x", 1.2, 0.0, 1.0, digits=0), 0.2 / (0.5 / math.sqrt(3))),
        (study.Row("x", 1.0, 0.0, 1.0), 0.0),
        (study.Row("x", 1.1, 0.0, 1.0), math.inf),
        (study.Row("x", 1.1, 0.0), math.nan),
    ],
)
def test_z_counts_both_errors_or_rounding(row, z):
    assert row.z == pytest.approx(z, nan_ok=True)


@pytest.mark.parametrize(
    "row",
    [
        study.Row("its own error", 98.51123, 0.033162, 98.4596, 0.0601, 2, kind="replication"),
        study.Row("rounding", 1.472926660, 0.0, 1.47293, digits=5, kind="printed"),
        study.Row("a large number", 902_981.0, 60_756.0, 850_000, digits=-4, kind="quoted"),
        study.Row("a small error", 1.2415400099, 1e-9, 1.24154, digits=5, kind="derived"),
        study.Row("exact", 1.0, 0.0, 1.0, kind="derived"),
        study.Row("exact, another", 1.1, 0.0, 1.0, kind="own"),
    ],
)
def test_z_follows_from_the_written_row(row, tmp_path):
    study.write([row], tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        (told,) = csv.DictReader(file)
    ours, se, published, error = (float(told[name]) for name in ("ours", "se", "published", "published_se"))
    gap = ours - published
    again = gap / math.hypot(se, error) if se or error else math.copysign(math.inf, gap) if gap else 0.0
    assert float(told["z"]) == pytest.approx(again, rel=1e-3, abs=1e-3)
    assert float(told["z"]) == pytest.approx(row.z, rel=1e-3, abs=1e-3)
    assert told["kind"] == row.kind and error == pytest.approx(row.error, rel=1e-6)


@pytest.mark.parametrize(
    "row",
    [
        study.Row("no kind", 1.0, 0.1, 1.0),
        study.Row("a kind without a number", 1.0, 0.1, kind="printed"),
        study.Row("another word", 1.0, 0.1, 1.0, kind="published"),
    ],
)
def test_a_published_number_has_a_kind(row, tmp_path):
    with pytest.raises(ValueError, match="kind must be one of printed, quoted, replication, derived, own"):
        study.write([row], tmp_path / "table.csv")
    assert not (tmp_path / "table.csv").exists()


def test_a_second_run_simulates_nothing_and_gives_the_same(tmp_path):
    calls = []
    rows, out = study.main(made(calls), options(tmp_path / "out"))
    assert calls == ["one", "two half"] and out == tmp_path / "out"
    table = (out / "table.csv").read_bytes()
    again, _ = study.main(made(calls), options(tmp_path / "out"))
    assert calls == ["one", "two half"] and (out / "table.csv").read_bytes() == table
    assert [row[:3] for row in again] == [row[:3] for row in rows]
    with (out / "table.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert tuple(first) == study.HEADER and first["source"] == "a paper, Table 1"
    assert float(first["z"]) == pytest.approx(rows[0].z, rel=1e-4) and second["published"] == second["z"] == ""
    assert (out / "figure.png").stat().st_size > 1000
    told = json.loads((out / "manifest.json").read_text())
    assert told["sizes"] == {"lanes": 4} and told["command"] == "python -m experiments.made_up --preset smoke"


def test_a_killed_run_keeps_its_cells(tmp_path):
    calls, killed = [], made([])
    cells = killed.cells

    def dies(sizes, seed):
        return {"one": cells(sizes, seed)["one"], "two half": lambda: 1 / 0}

    with pytest.raises(ZeroDivisionError):
        study.main(killed._replace(cells=dies), options(tmp_path))
    study.main(made(calls), options(tmp_path))
    assert calls == ["two half"]


def test_another_configuration_gets_a_folder_of_its_own(tmp_path, capsys):
    _, first = study.main(made([]), options(tmp_path / "out"))
    before = (first / "table.csv").read_bytes()
    _, second = study.main(made([]), options(tmp_path / "out", seed=4))
    assert second == tmp_path / "out-2" and (first / "table.csv").read_bytes() == before
    assert "kept" in capsys.readouterr().out
    assert study.main(made([]), options(tmp_path / "out", seed=4))[1] == second
    assert study.main(made([]), options(tmp_path / "out", preset="default"))[1] == tmp_path / "out-3"


def test_results_without_cells_are_not_written_over(tmp_path):
    (tmp_path / "table.csv").write_text("cell\n")
    assert study.main(made([]), options(tmp_path))[1] == tmp_path.with_name(f"{tmp_path.name}-2")
    assert (tmp_path / "table.csv").read_text() == "cell\n"


def test_a_file_is_no_results_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a folder"):
        study.main(made([]), options(tmp_path / "file"))


def test_cells_keep_the_seconds_of_clock_and_cores(tmp_path):
    """Also those of a folder in which the clock's alone were kept."""
    made, seconds = study.kept(tmp_path, "one", lambda: {"x": np.arange(3)})
    again, same = study.kept(tmp_path, "one", None)
    assert seconds.shape == (2,) and np.all(seconds >= 0)
    np.testing.assert_array_equal(again["x"], made["x"])
    np.testing.assert_array_equal(same, seconds)
    (path,) = tmp_path.glob("one-*.npz")
    np.savez(path, _seconds=7.5, x=np.arange(3))
    np.testing.assert_array_equal(study.kept(tmp_path, "one", None)[1], [7.5, np.nan])


def test_the_index_counts_what_agrees(tmp_path, capsys):
    rows = [study.Row("a", 1.0, 0.1, 1.2, kind="quoted"), study.Row("b", 1.0, 0.1, 1.5, kind="printed")]
    rows += [study.Row("c", 1.0, 0.1), study.Row("d", 1.0, 0.1, 0.71, kind="printed"), study.Row("e", 1.0, 0.1)]
    assert study.summary(rows) == "within 3 standard errors: 1 of 2 printed, 1 of 1 quoted"
    assert study.summary(rows[2:3]) == "1 cells, none with a published number at hand"
    (tmp_path / "one").mkdir()
    study.write(rows, tmp_path / "one" / "table.csv")
    told = {"title": "One", "command": "python -m experiments.one", "seconds": 150.0, "cpu_seconds": 90.0}
    told["devices"] = ["cpu: cpu"] * 2
    (tmp_path / "one" / "manifest.json").write_text(json.dumps(told))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "table.csv").write_text("policy,regret\nx,1\n")
    found = summary.studies(tmp_path)
    assert list(found) == ["one"]
    assert summary.line("one", *found["one"]) == (
        "One", "python -m experiments.one", "2.5 min", "90 s", "2 x CPU core", "5", "1 of 2 printed, 1 of 1 quoted",
    )  # fmt: skip
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{summary.START}\nold\n{summary.END}\nafter\n")
    summary.main(summary.Options(results=tmp_path, write=readme))
    content = readme.read_text()
    assert "old" not in content and "| 1 of 2 printed, 1 of 1 quoted |" in content
    assert content.startswith("before") and content.endswith("after\n")
    with pytest.raises(ValueError, match="did you mean 'one'"):
        summary.main(summary.Options(only=("ones",), results=tmp_path))
    with pytest.raises(ValueError, match="marks"):
        summary.main(summary.Options(results=tmp_path, write=tmp_path / "one" / "manifest.json"))


RESULTS = Path(summary.__file__).parent / "results"


@pytest.mark.parametrize("name", summary.studies(RESULTS))
def test_tables_that_are_kept_follow_from_their_rows(name):
    """z is that of the row's four numbers; a published number has a kind and an error, and only such a number."""
    rows, told = summary.studies(RESULTS)[name]
    assert told["command"] == f"python -m experiments.{name}" and len({row["cell"] for row in rows}) == len(rows)
    for row in rows:
        assert bool(row["published"]) == bool(row["published_se"]) == (row["kind"] in study.KINDS) == bool(row["kind"]), row
        if not (row["published"] and row["ours"]):
            assert not row["z"], row
            continue
        ours, se, published, error = (float(row[key]) for key in ("ours", "se", "published", "published_se"))
        assert float(row["z"]) == pytest.approx(study.difference(ours, se, published, error), rel=5e-3, abs=5e-3), row


@pytest.mark.parametrize("readme", ["README.md", "experiments/README.md"])
def test_the_index_is_that_of_the_results(readme):
    found = summary.studies(RESULTS)
    text = summary.markdown([summary.line(name, *found[name]) for name in found])
    assert f"{summary.START}\n{text}\n{summary.END}" in (RESULTS.parent.parent / readme).read_text()
