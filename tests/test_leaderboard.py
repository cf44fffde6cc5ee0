"""The leaderboard: definitions of cells, means and ranks, and one small run."""

import csv
import math

import pytest
from rich.console import Console

from experiments import leaderboard
from jaxprice import policies

TRACKS = {"one": {"a": None, "b": None}, "two": {"c": None}}
SHARES = {
    ("one", "a", "oracle"): (1.0, 0.0),
    ("one", "b", "oracle"): (1.0, 0.0),
    ("one", "a", "ucb1"): (0.9, 0.003),
    ("one", "b", "ucb1"): (0.7, 0.004),
    ("one", "a", "thompson"): (0.95, 0.01),
    ("one", "b", "thompson"): (0.85, 0.01),
    ("one", "a", "partial"): (0.99, 0.01),
    ("two", "c", "ucb1"): (0.5, 0.01),
}


def test_means_errors_and_ranks():
    rows = {(row["track"], row["policy"]): row for row in leaderboard.rows_of(TRACKS, SHARES)}
    assert rows["one", "ucb1"]["share"] == pytest.approx(0.8)
    assert rows["one", "ucb1"]["share_se"] == pytest.approx(0.0025)
    ranks = {policy: row["rank"] for (track, policy), row in rows.items() if track == "one"}
    assert ranks == {"oracle": 0, "thompson": 1, "ucb1": 2, "partial": 0}  # who has not all cells has no mean and no rank
    assert math.isnan(rows["one", "partial"]["share"]) and rows["one", "partial"]["cells"] == {"a": (0.99, 0.01)}
    assert rows["two", "ucb1"]["rank"] == 1


def test_files(tmp_path):
    rows = leaderboard.rows_of(TRACKS, SHARES)
    leaderboard.write(TRACKS, rows, tmp_path)
    leaderboard.plot_figure(TRACKS, rows, tmp_path / "leaderboard.png")
    page = (tmp_path / "leaderboard.md").read_text()
    assert "| 1 | `thompson` | 90.00 ± 1.39 | 95.00 ± 1.96 | 85.00 ± 1.96 |" in page
    assert "|  | `partial` |  | 99.00 ± 1.96 |  |" in page
    with open(tmp_path / "leaderboard.csv") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(SHARES) and {line["version"] for line in lines} == {leaderboard.VERSION}
    assert r"thompson & 90.00 $\pm$ 1.39" in (tmp_path / "leaderboard.tex").read_text()
    assert (tmp_path / "leaderboard.png").stat().st_size > 5000


def test_a_policy_is_asked_whether_it_takes_a_market(monkeypatch):
    asked = {"grid", "grid, moving", "features", "stock", "interval"}
    monkeypatch.setattr(leaderboard, "TRACKS", {track: rows for track, rows in leaderboard.TRACKS.items() if track in asked})
    suite = leaderboard.suite("default")
    for name, tracks in {"ucb1": asked - {"interval"}, "oracle": set(suite)}.items():
        taken = {track for track, labels in suite.items() if all(leaderboard.takes(name, env) for env in labels.values())}
        assert tracks <= taken
    assert not any(leaderboard.takes("ucb1", env) for env in suite["interval"].values())
    assert set(leaderboard.SMOKE) <= set(policies.list())


def test_unknown_tracks_and_policies_are_refused(tmp_path):
    for wrong in ({"tracks": ("grids",)}, {"policies": ("ucb",)}):
        with pytest.raises(ValueError, match="did you mean"):
            leaderboard.play(leaderboard.Options("smoke", tmp_path, **wrong), Console(quiet=True))
    alone = leaderboard.Options("smoke", tmp_path, policies=("mnl_ucb",), tracks=("grid",))
    with pytest.raises(ValueError, match=r"take a market of the tracks \['grid'\], but none of \['mnl_ucb'\] does"):
        leaderboard.play(alone, Console(quiet=True))


@pytest.mark.slow
def test_a_small_run_resumes(tmp_path):
    options = leaderboard.Options("smoke", tmp_path / "board")
    tracks, first = leaderboard.play(options, Console(quiet=True))
    assert all(0 < share <= 1 + 1e-6 for share, _ in first.values())
    assert {track for track, _, _ in first} == set(tracks)
    assert leaderboard.play(options, Console(quiet=True))[1] == first
