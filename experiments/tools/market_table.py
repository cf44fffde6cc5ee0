"""The table of all markets, for `experiments/README.md`.

python -m experiments.tools.market_table --write
"""

import dataclasses
from pathlib import Path

from experiments.frame import command
from jaxprice import envs, files

PAGE = Path(__file__).parents[1] / "README.md"
START, END = "<!-- markets: start -->", "<!-- markets: end -->"
COLUMNS = ("name", "kind", "what it is", "paper", "oracle", "figure of merit", "options")


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the command line."""

    write: bool = False
    """Write the table between the two marks of the page instead of printing it."""


def table():
    """The table, as Markdown: one row for each market, or for several that differ only by name."""
    rows = {}
    for card in envs.cards():
        options = ", ".join(f"{name}={default!r}" for name, default in card.options.items())
        rows.setdefault((card.kind, card.what, card.paper, card.oracle, card.merit, f"`{options}`"), []).append(card.name)
    lines = [COLUMNS, ("---",) * len(COLUMNS), *((", ".join(f"`{n}`" for n in names), *row) for row, names in rows.items())]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def page():
    """The page with the current table.

    Raises:
      ValueError: the page lacks the marks.
    """
    before, start, rest = PAGE.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{PAGE.name} must have the marks {START} and {END}")
    return f"{before}{START}\n{table()}\n{END}{after}"


def main(options):
    """Print the table, or write it."""
    if options.write:
        files.write(PAGE, page())
    else:
        print(table())


if __name__ == "__main__":
    command.run(main, Options)
