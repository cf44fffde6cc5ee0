"""Generator of the page of all policies, `jaxprice/policies/README.md`.

python -m experiments.tools.policy_table --write
"""

import dataclasses
import importlib
import inspect
import pkgutil
from pathlib import Path

from experiments.frame import command
from jaxprice import files, policies
from jaxprice.policies import parts, registry

PAGE = Path(policies.__file__).with_name("README.md")
HEAD = """# Policies

One algorithm a file, named as its function, in the folder of its family: `jaxprice.policies.ucb1()` is in
`stochastic/ucb1.py`, whose docstring has the problem, the update in formulas, the source, and where ours departs from it.
`jaxprice.policies.cards()` gives the tables in Python. `python -m experiments.tools.policy_table --write` writes this page.
Regret is the rate in the setting of the paper. A folder also holds the parts that only its policies use.
"""
TABLE = "| policy | paper | regret | learns from | hyperparameters |\n|---|---|---|---|---|\n"


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the command line."""

    write: bool = False
    """Write the page instead of printing it."""


def page():
    """The page, as Markdown."""
    return "\n".join([HEAD, *map(_family, registry.FAMILIES), _parts()])


def _family(family):
    """The section of a family: its policies, its makers that take policies or a market, its parts."""
    package = importlib.import_module(f"{policies.__name__}.{family}")
    title, _, about = _title(package).partition(": ")
    section = f"## {title}\n\n`{family}/`: {about}\n"
    cards = [card for card in policies.cards() if card.family == family]
    if cards:
        section += "\n" + TABLE + "".join(map(_row, cards))
    with_arguments = registry.makers_with_arguments(family)
    if with_arguments:
        calls = {f"{name}{inspect.signature(make)}": _title(make) for name, make in with_arguments.items()}
        section += "\n" + "".join(f"* `{call}`: {title}\n" for call, title in calls.items())
    modules = {inspect.getmodule(inspect.unwrap(getattr(policies, name))).__name__ for name in registry.names()}
    others = [module for module in _modules(package) if module.__name__ not in modules]
    if others:
        section += "\nParts:\n\n" + "".join(map(_line, others))
    return section


def _parts():
    """The section of the parts that serve several families."""
    title, _, about = _title(parts).partition(": ")
    return f"## {title}\n\n`parts/`: {about}\n\n" + "".join(map(_line, _modules(parts)))


def _modules(package):
    """The modules of a package, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def _title(documented):
    """The first paragraph of the docstring of a module or function, on one line."""
    return " ".join(inspect.getdoc(documented).partition("\n\n")[0].split())


def _line(module):
    return f"* `{module.__name__.rpartition('.')[2]}`: {_title(module)}\n"


def _row(card):
    options = ", ".join(f"{name}={default!r}" for name, default in card.options.items())
    cells = (f"`{card.name}`", card.source, card.regret, card.feedback, options and f"`{options}`")
    return "| " + " | ".join(cells) + " |\n"


def main(options):
    """Print the page, or write it."""
    if options.write:
        files.write(PAGE, page())
    else:
        print(page(), end="")


if __name__ == "__main__":
    command.run(main, Options)
