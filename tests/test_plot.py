"""The sorted picture of shares: order, intervals and names."""

import csv
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray as xr

from experiments import posted_price
from jaxprice import plot

TABLE = Path(posted_price.__file__).parent / "results" / "posted_price" / "table.csv"


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("Agg")


def made_up(share, error=0.01, lanes=100, names=None):
    """Results of one market at two checkpoints, the second of which has these shares."""
    share = np.asarray(share, float)
    columns = {"regret": 1 - share, "share": share, "share_se": np.full_like(share, error)}
    names = [f"seller {k}" for k in range(share.size)] if names is None else names
    data = {name: (("policy", "time"), np.stack([np.zeros_like(row), row], axis=1)) for name, row in columns.items()}
    return xr.Dataset(data, {"policy": names, "time": [1, 5]}, {"lanes": lanes, "environment": "$a_{"})


def texts(ax):
    """Names from top to bottom, and the numbers beside them."""
    rows = sorted(ax.texts, key=lambda text: text.xy[1])
    return [t.get_text() for t in rows if t.xy[0] == 0], [t.get_text() for t in rows if t.xy[0] == 1]


def test_best_comes_first():
    ax = plot.share(made_up([0.5, 1.0, 0.9, np.nan, 0.721]))  # the oracle and what has no share are left out
    assert texts(ax) == (["seller 2", "seller 4", "seller 0"], ["90.0", "72.1", "50.0"])
    assert ax.get_ylim()[0] > ax.get_ylim()[1] and ax.get_title() == "$a_{"
    dots = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, [(90, 0), (72.1, 1), (50, 2)])


@pytest.mark.parametrize(("lanes", "reach"), [(5, 2.7764), (100, 1.95996)])
def test_intervals_are_those_of_the_lanes(lanes, reach):
    ax = plot.share(made_up([0.6], 0.02, lanes))
    (bar,) = ax.collections
    np.testing.assert_allclose(bar.get_segments()[0][:, 0], [60 - 2 * reach, 60 + 2 * reach], rtol=1e-4)


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_are(tmp_path):
    names = ["$x", "a$b$c", "$\\frac{", "{", "_hidden", "%", "\\alpha", "a_b^c", "plain", "$$", "\\$"]
    ax = plot.share(made_up(np.linspace(0.9, 0.1, len(names)), names=names))
    ax.figure.savefig(tmp_path / "picture.png")
    assert texts(ax)[0] == names


def test_a_policy_has_one_colour():
    result = made_up([0.2, 0.4]).assign(regret_se=lambda data: 0.1 * data["share_se"])
    result["regret"][:, 0] = 0.1
    regret, share = plot.regret(result), plot.share(result)
    colours = [line.get_color() for line in regret.get_lines()]
    dots = sorted((line for line in share.get_lines() if line.get_marker() == "o"), key=lambda line: -line.get_ydata()[0])
    assert [dot.get_color() for dot in dots] == colours == ["C0", "C1"]


def test_what_cannot_be_drawn():
    result = made_up([0.5])
    for wrong in (None, {}, result["share"], result.drop_vars("share"), result.isel(policy=0)):
        with pytest.raises(ValueError, match="result must"):
            plot.share(wrong)
    with pytest.raises(ValueError, match="ax must be Matplotlib Axes or None, got 3"):
        plot.share(result, ax=3)


def test_the_picture_of_the_readme_is_drawn_from_its_table(tmp_path):
    results = posted_price.read_table(TABLE)
    rows = list(csv.DictReader(TABLE.open()))
    assert list(results) == list(posted_price.markets("default")) and len(rows) == 8 * 12
    for row in rows:
        one = results[row["environment"]].sel(policy=row["policy"], time=int(row["horizon"]))
        assert [float(one[key]) for key in ("regret", "share", "share_se")] == [
            float(row[key]) for key in ("regret", "share", "share_se")
        ]
    (tmp_path / "table.csv").write_text(TABLE.read_text())
    posted_price.main(posted_price.Options(out=tmp_path, redraw=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["share.png", "table.csv"]
    drawn, kept = (matplotlib.image.imread(folder / "share.png") for folder in (tmp_path, TABLE.parent))
    assert drawn.shape[2] == kept.shape[2] and abs(drawn.shape[1] / kept.shape[1] - 1) < 0.1
    with pytest.raises(ValueError, match="out must hold the table of a finished run"):
        posted_price.read_table(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="out must hold the table of a finished run"):
        posted_price.read_table(tmp_path / "other.csv")
