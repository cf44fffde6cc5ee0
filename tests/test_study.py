"""The frame of studies of published results: z, cells that resume, folders that are not overwritten, the index."""

import csv
import hashlib
import importlib.util
import json
import math
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments import summary
from experiments.frame import saved, study
from jaxprice import files, fingerprint, provenance


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

    def plot_figure(figure, sizes, results, rows):
        figure.subplots().errorbar([0, 1], [row.ours for row in rows], [row.se for row in rows])

    presets = dict(zip(("smoke", "default"), map(Sizes, sizes), strict=True))
    return study.Study("made_up", "A study of nothing", presets, cells, rows, plot_figure)


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
    assert told["sizes"] == {"lanes": 4} and told["command"] == "python -m experiments.studies.made_up --preset smoke"


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


def test_cells_keep_the_seconds_and_who_made_them(tmp_path):
    calls = []

    def make():
        calls.append("made")
        return {"x": np.arange(3)}

    made, about = saved.load_or_make(tmp_path, "one", make)
    again, same = saved.load_or_make(tmp_path, "one", make)
    assert calls == ["made"] and about["seconds"] >= 0 and about["cpu_seconds"] >= 0
    assert {name: same[name] for name in about} == about and about["revision"] == provenance.revision()
    np.testing.assert_array_equal(again["x"], made["x"])


def test_cells_of_former_versions_are_computed_anew_and_kept(tmp_path):
    """They do not tell by which code they were made."""
    former = tmp_path / f"one-half-{hashlib.sha256(b'one half').hexdigest()[:6]}.npz"
    np.savez(former, _seconds=7.5, x=np.arange(3))
    before = former.read_bytes()
    with pytest.warns(UserWarning, match="one half is computed anew: one-half-.* does not tell by which code"):
        made, _ = saved.load_or_make(tmp_path, "one half", lambda: {"x": np.arange(4)})
    assert made["x"].size == 4 and former.read_bytes() == before


def test_a_cell_whose_code_was_edited_is_computed_anew_and_says_so(tmp_path):
    """The other cell is kept, and so is what the former code made."""
    calls = []

    def shifted(study, by):
        """The study whose second cell is made by other code."""

        def cells(sizes, seed):
            def two():
                calls.append("two")
                return {"values": np.random.default_rng(seed).normal(size=sizes.lanes) + by}

            return {"one": study.cells(sizes, seed)["one"], "two half": two}

        return study._replace(cells=cells)

    first, out = study.main(shifted(made(calls), 1.0), options(tmp_path))
    assert calls == ["one", "two"]
    with pytest.warns(UserWarning, match="two half is computed anew: changed since .*: code") as told:
        second, _ = study.main(shifted(made(calls), 2.0), options(tmp_path))
    assert len(told) == 1 and calls == ["one", "two", "two"]
    assert second[1].ours == pytest.approx(first[1].ours + 1) and second[0] == first[0]
    third, _ = study.main(shifted(made(calls), 1.0), options(tmp_path))
    assert third == first and len(calls) == 3
    about = json.loads((out / "manifest.json").read_text())["cells"]
    assert set(about) == {"one", "two half"} and about["one"]["revision"] == provenance.revision() and about["one"]["date"]


def test_a_name_that_is_put_together_counts_all_of_a_registry(tmp_path):
    shop, calls = fingerprint.Registry("shop", {"one": lambda: 1.0, "two": lambda: 2.0}), []

    def make():
        calls.append("made")
        return {"x": shop["t" + "wo"[: calls.append("named") or 2]]()}

    for _ in range(2):
        assert saved.load_or_make(tmp_path, "cell", make)[0]["x"] == 2.0
    assert calls.count("made") == 1
    shop["two"] = lambda: 3.0
    with pytest.warns(UserWarning, match="computed anew"):
        assert saved.load_or_make(tmp_path, "cell", make)[0]["x"] == 3.0
    del fingerprint.Registry.every["shop"]


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04cut", None])
def test_a_damaged_cell_is_kept_aside_and_computed_anew(tmp_path, content):
    calls = []
    first, out = study.main(made(calls), options(tmp_path))
    (path,) = (out / "cells").glob("one-*.npz")
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{path.name} cannot be used"):
        second, _ = study.main(made(calls), options(tmp_path))
    assert second == first and calls == ["one", "two half", "one"] and path.with_suffix(".unreadable").exists()


def test_a_damaged_mark_is_made_again(tmp_path):
    """The manifest tells whose results these are."""
    calls = []
    _, out = study.main(made(calls), options(tmp_path / "out"))
    (out / saved.MARK).write_text('{"study": "made')
    assert study.main(made(calls), options(tmp_path / "out"))[1] == out and calls == ["one", "two half"]
    assert json.loads((out / saved.MARK).read_text())["study"] == "made_up"
    (out / saved.MARK).write_text("")
    assert study.main(made([]), options(tmp_path / "out", seed=4))[1] == tmp_path / "out-2"


def test_folders_of_something_else_are_refused(tmp_path):
    (tmp_path / "figure.png").write_text("precious")
    with pytest.raises(ValueError, match="holds other files"):
        study.main(made([]), options(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_finished_results_that_cannot_be_written_are_shown(tmp_path, monkeypatch, capsys):
    """As on a disk that is read-only: from its cells, or the table as it was saved."""
    calls = []
    first, out = study.main(made(calls), options(tmp_path / "out"))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(files, "can_write", lambda folder: False)
    again, _ = study.main(made(calls), options(tmp_path / "out"))
    assert again == first and calls == ["one", "two half"]
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    shutil.rmtree(out / "cells")
    capsys.readouterr()
    stored, there = study.main(made(calls), options(tmp_path / "out"))
    assert there == out and len(calls) == 2 and not (out / "cells").exists()
    assert [(row.cell, row.source) for row in stored] == [(row.cell, row.source) for row in first]
    np.testing.assert_allclose([row.ours for row in stored], [row.ours for row in first], rtol=1e-8)
    assert "cannot be written" in " ".join(capsys.readouterr().out.split())
    (out / "table.csv").unlink()
    with pytest.raises(ValueError, match="cells are missing"):
        study.main(made(calls), options(tmp_path / "out"))


def test_an_interrupted_study_says_that_it_resumes(tmp_path):
    def stopped(sizes, seed):
        def stop():
            raise KeyboardInterrupt

        return {"one": stop}

    with pytest.raises(KeyboardInterrupt) as error:
        study.main(made([])._replace(cells=stopped), options(tmp_path))
    assert "goes on from there" in error.value.__notes__[0]


def test_the_index_counts_what_agrees(tmp_path, capsys):
    rows = [study.Row("a", 1.0, 0.1, 1.2, kind="quoted"), study.Row("b", 1.0, 0.1, 1.5, kind="printed")]
    rows += [study.Row("c", 1.0, 0.1), study.Row("d", 1.0, 0.1, 0.71, kind="printed"), study.Row("e", 1.0, 0.1)]
    assert study.summary(rows) == "within 3 standard errors: 1 of 2 printed, 1 of 1 quoted"
    assert study.summary(rows[2:3]) == "1 cells, none with a published number at hand"
    (tmp_path / "one").mkdir()
    study.write(rows, tmp_path / "one" / "table.csv")
    told = {"title": "One", "preset": "full", "seconds": 150.0, "cpu_seconds": 90.0}
    told["devices"] = ["cpu: cpu"] * 2
    (tmp_path / "one" / "manifest.json").write_text(json.dumps(told))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "table.csv").write_text("policy,regret\nx,1\n")
    found = summary.studies(tmp_path)
    assert list(found) == ["one"]
    assert summary.line("one", *found["one"]) == (
        "One", "python -m experiments.studies.one --preset full", "2.5 min", "90 s", "2 x CPU core", "5",
        "1 of 2 printed, 1 of 1 quoted",
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
    assert importlib.util.find_spec(summary.line(name, rows, told)[1].split()[2])
    assert len({row["cell"] for row in rows}) == len(rows)
    for row in rows:
        assert bool(row["published"]) == bool(row["published_se"]) == (row["kind"] in study.KINDS) == bool(row["kind"]), row
        if not (row["published"] and row["ours"]):
            assert not row["z"], row
            continue
        ours, se, published, error = (float(row[key]) for key in ("ours", "se", "published", "published_se"))
        assert float(row["z"]) == pytest.approx(study.difference(ours, se, published, error), rel=5e-3, abs=5e-3), row


def test_the_kinds_are_told_in_the_list_of_experiments():
    content = (RESULTS.parent / "README.md").read_text()
    assert all(f"| {kind} | {text} |" in content for kind, text in study.KINDS.items())


@pytest.mark.parametrize("readme", ["README.md", "experiments/README.md"])
def test_the_index_is_that_of_the_results(readme):
    found = summary.studies(RESULTS)
    text = summary.markdown([summary.line(name, *found[name]) for name in found])
    assert f"{summary.START}\n{text}\n{summary.END}" in (RESULTS.parent.parent / readme).read_text()


@pytest.mark.parametrize(("count", "reach"), [(4, 3.182), (8, 2.365), (16, 2.131), (300, 1.960)])
def test_bands_of_few_values_are_students(count, reach):
    """Half a width is Student's point times the standard error, along any axis; one value has none."""
    values = np.random.default_rng(count).normal(3.0, 2.0, (count, 5))
    mean, half = study.band(values)
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_allclose(half, reach * values.std(axis=0, ddof=1) / math.sqrt(count), rtol=2e-3)
    np.testing.assert_array_equal(study.band(values.T, axis=1), (mean, half))
    assert np.isnan(study.band(values[:1])[1]).all() and study.band(values[:1])[1].shape == (5,)


@pytest.mark.parametrize(
    "name", ["broder_rusmevichientong", "calvano_collusion", "contextual_benchmark", "contextual_rates", "den_boer_keskin",
             "ferreira_inventory", "gallego_van_ryzin", "gatti_pinheiro", "kleinberg_leighton", "misra_segments",
             "private_loss"],
)  # fmt: skip
def test_studies_draw_no_normal_interval_themselves(name):
    """Half-widths come from `study.band` or `stats.critical`, which know how many values there are."""
    one, folder = RESULTS.parent / "studies" / f"{name}.py", RESULTS.parent / "studies" / name
    sources = [path.read_text() for path in ([one] if one.is_file() else folder.glob("*.py"))]
    assert sources and not any("1.96" in source or "Z95" in source for source in sources)


def test_mean_and_its_error():
    mean, error = study.mean([1.0, 2.0, 6.0])
    assert mean == 3.0 and error == pytest.approx(math.sqrt((4 + 1 + 9) / 2 / 3))
    assert study.mean(np.ones((1, 1)))[0] == 1.0 and math.isnan(study.mean([1.0])[1])


def test_three_standard_errors_agree():
    cells = [("printed", 3.0), ("printed", -3.0), ("printed", 3.001), ("quoted", math.inf), ("own", math.nan), ("", 0.0)]
    assert study.agreement(cells) == "2 of 3 printed, 0 of 1 quoted" and study.agreement([]) == ""
