"""Names of columns: which column of a source is which of `Records.sales`."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxprice import checks
from jaxprice.data.records import IDENTIFIERS, MONEY, PRICES

NEEDED = ("time", "product", "units")  # and the money: paid or posted_price
NUMBERS = ("units", *MONEY, "posted_price")
OPTIONAL = (*IDENTIFIERS, "discount", "coupon", "refunded", "currency", "status")
MADE = ("row", "week", "partial_week", "regular_price", "paid_price", "rule")


def resolve(present: Iterable[Any], columns: Mapping[str, str] | None, keep: Sequence[str], source: str) -> dict[str, str]:
    """Canonical or kept name -> column of the source.

    Args:
      present: columns of the source.
      columns: canonical name -> column, as the caller gave it.
      keep: columns to carry along.
      source: its name, for messages.

    Raises:
      ValueError: a name is not canonical, a column is not there, or a needed one is not named; with the nearest names.
    """
    present = list(present)
    given = checks.options("columns", None if columns is None else dict(columns))
    allowed = (*NEEDED, "paid", "posted_price", *OPTIONAL)
    for name in given:
        if name not in allowed:
            raise ValueError(f"columns: {name!r} is not one of {', '.join(allowed)}{_near(name, allowed)}")
    if isinstance(keep, str):
        raise ValueError(f"keep must be a list of columns, got {keep!r}")
    found = {name: given.get(name, name) for name in allowed if name in given or name in present}
    problems = [
        f"columns[{name!r}]: no column {column!r}{_near(column, present)}"
        for name, column in found.items()
        if column not in present
    ]
    problems += [f"no column for {name!r}{_near(name, present)}" for name in NEEDED if name not in found]
    if not {"paid", "posted_price"} & set(found):
        problems.append(f"no column for 'paid' or 'posted_price'{_near('paid', present) or _near('price', present)}")
    for column in keep:
        if column not in present:
            problems.append(f"keep: no column {column!r}{_near(column, present)}")
        elif column in MADE or (column in allowed and found.get(column) != column):
            problems.append(f"keep: {column!r} is a name of a column that is made; rename it first")
    twice = sorted({column for column in found.values() if list(found.values()).count(column) > 1})
    problems += [f"columns: {column!r} is given twice" for column in twice]
    if problems:
        raise ValueError(f"{source} has the columns {', '.join(map(str, present))}, but {'; '.join(problems)}")
    return found | {column: column for column in keep if column not in found}


def ordered(present: Iterable[str]) -> list[str]:
    """Columns of the result in the order of the documentation, kept ones last."""
    present = list(present)
    order = ("row", "time", "week", "partial_week", "product", *IDENTIFIERS, "units", *MONEY, *PRICES)
    return [name for name in order if name in present] + [name for name in present if name not in order]


def _near(name, names):
    near = difflib.get_close_matches(str(name).lower(), [str(one).lower() for one in names], n=2, cutoff=0.5)
    spelled = [next(str(one) for one in names if str(one).lower() == low) for low in near]
    return f" (did you mean {' or '.join(map(repr, spelled))}?)" if spelled else ""
