"""Command lines: a bad value gives one line on standard error and exit status 2; bugs keep their traceback."""

import dataclasses
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.frame import command, study
from jaxprice import checks

EXPERIMENTS = Path(command.__file__).parents[1]
SCRIPTS = {str(path.relative_to(EXPERIMENTS)): path.read_text() for path in EXPERIMENTS.rglob("*.py")}
RESULTS = EXPERIMENTS / "results"


@dataclasses.dataclass(frozen=True)
class Options:
    """Made up."""

    lanes: int | None = None
    only: tuple[str, ...] = ()
    out: Path = Path("out")


def play(options):
    if options.lanes is not None:
        checks.positive_int("lanes", options.lanes)
    if options.out.name == "fault":
        np.zeros(2).reshape(3)
    if options.out.name == "stop":
        stop = KeyboardInterrupt()
        stop.add_note("the same run goes on")
        raise stop
    options.out.write_text("done")


def ends(monkeypatch, capsys, *arguments):
    """`(status, lines on standard error)` of the command."""
    monkeypatch.setattr(sys, "argv", ["play", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        command.run(play, Options)
    return stop.value.code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lanes", "0"], "lanes must be"),
        (["--lanes", "many"], "lanes"),
        (["--lane", "3"], "--lane"),
        (["--lanes"], "lanes"),
        (["--only"], "--only must be given at least one value"),
        (["--only", "--lanes", "3"], "--only must be given at least one value"),
        (["--out", "/proc/absent/out"], "/proc/absent/out: No such file"),
        (["--out", "/"], "Is a directory"),
    ],
)
def test_a_bad_value_is_one_line_and_status_2(monkeypatch, capsys, arguments, said):
    status, lines = ends(monkeypatch, capsys, *arguments)
    assert status == 2 and len(lines) == 1 and ": error: " in lines[0] and said in lines[0]


def test_good_values_faults_and_interruptions(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["play", "--lanes", "3", "--only", "a", "b", "--out", str(tmp_path / "out")])
    command.run(play, Options)
    assert (tmp_path / "out").read_text() == "done"
    monkeypatch.setattr(sys, "argv", ["play", "--out", "fault"])
    with pytest.raises(ValueError, match="reshape"):
        command.run(play, Options)
    status, lines = ends(monkeypatch, capsys, "--out", "stop")
    assert status == 130 and len(lines) == 1 and lines[0].endswith("interrupted; the same run goes on")
    with pytest.raises(SystemExit) as stop:
        monkeypatch.setattr(sys, "argv", ["play", "--help"])
        command.run(play, Options)
    assert stop.value.code == 0 and "--lanes" in capsys.readouterr().out


def test_all_commands_have_this_frame():
    assert [name for name, text in SCRIPTS.items() if "tyro.cli" in text] == ["frame/command.py"]
    assert sum(bool(re.search(r"command\.run\(|study\.command\(", text)) for text in SCRIPTS.values()) > 20


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("posted_price", ["--lanes", "0"], "lanes must be"),
        ("posted_price", ["--horizon", "0"], "horizon must be"),
        ("posted_price", ["--horizon", "-3"], "horizon must be"),
        ("posted_price", ["--preset", "smoke", "--seed", "-1"], "seed must be"),
        ("leaderboard", ["--policies"], "--policies must be"),
        ("leaderboard", ["--policies", "ucb11"], "did you mean 'ucb1'"),
        ("leaderboard", ["--tracks", "grids"], "did you mean 'grid'"),
        ("regret_growth.study", ["--only"], "--only must be"),
        ("regret_growth.study", ["--only", "ucb11"], "did you mean"),
        ("regret_growth.study", ["--horizon", "3"], "horizon must be"),
        ("regret_growth.study", ["--lanes", "0"], "lanes must be"),
        ("throughput", ["--repeats", "0"], "repeats must be"),
        ("throughput", ["--only", "ucb11"], "did you mean"),
        ("summary", ["--only", "nothing", "--results", str(RESULTS)], "unknown study"),
        ("summary", ["--results", "/absent"], "results must be a folder"),
        ("studies.rl2_bandits.study", ["--seed", "40000"], "seed must be"),
        ("studies.rl2_bandits.study", ["--only", "n7_k3"], "unknown setting"),
        ("meta_pricing.study", ["--only", "logits"], "did you mean 'logit'"),
        ("meta_pricing.study", ["--only"], "--only must be"),
        ("train_agents", ["--updates", "0"], "updates must be"),
        ("train_agents", ["--only"], "only must"),
        ("agent_throughput", ["--networks"], "networks must"),
        ("studies.kleinberg_leighton", ["--preset", "tiny"], "tiny"),
        ("studies.kleinberg_leighton", ["--seed", "-1"], "seed must be"),
        ("studies.kleinberg_leighton", ["--preset", "smoke", "--out", __file__], "must be a folder"),
        ("fits.calibrate", ["--only", "milk"], "unknown market"),
        ("fits.calibrate", ["--csv", "x.csv"], "csv needs only"),
    ],
)
def test_bad_values_of_the_commands(name, arguments, said, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"experiments.{name}")
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as stop:
        if hasattr(module, "STUDY"):
            study.command(module.STUDY)
        else:
            command.run(module.main, module.Options)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and said in lines[0], lines
    assert not list(tmp_path.iterdir())


def test_a_folder_is_a_command(tmp_path):
    """Its message has the name that was typed; nothing is written."""
    typed = [sys.executable, "-m", "experiments.studies.rl2_bandits", "--seed", "40000", "--out", str(tmp_path / "out")]
    ran = subprocess.run(typed, cwd=EXPERIMENTS.parent, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2 and ran.stderr.startswith("python -m experiments.studies.rl2_bandits: error: seed must be")
    assert not list(tmp_path.iterdir())
    for path in EXPERIMENTS.rglob("__main__.py"):
        name = ".".join(path.relative_to(EXPERIMENTS).parent.parts)
        assert f"python -m experiments.{name}`" in path.read_text()
