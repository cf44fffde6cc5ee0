"""Pages of the site that are not written by hand: from README files, notebooks, docstrings, and the registries.

MkDocs calls `on_config` and `on_files`. Links in README files lead to places of the repository; here they lead to the page
made of that place. A link to a place that does not exist stops the build, as a dead link between pages does under --strict.
"""

import base64
import importlib
import inspect
import pkgutil
import posixpath
import re
import sys
from pathlib import Path

import nbformat
from latex2mathml.converter import convert as mathml
from mkdocs.structure.files import File

import jaxprice
from jaxprice import policies
from jaxprice.envs import options
from jaxprice.policies import registry

sys.path.insert(0, str(Path(__file__).parent))
import docstrings

ROOT = Path(__file__).parents[2]
TEXTS = {  # file of the repository -> page
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "experiments/README.md": "experiments.md",
    "experiments/results/README.md": "results.md",
    "jaxprice/policies/README.md": "policies/index.md",
}
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
SURFACE = (
    *("simulate", "environment", "types", "envs", "policies", "demand"),
    *("stats", "plot", "experiment", "invariants", "devices"),
)
GROUPS = {  # title -> what the names of its modules begin with; the first that fits
    "Surface": tuple(f"jaxprice.{name}" for name in SURFACE),
    "Agents": ("jaxprice.agents.",),
    "Oracles": ("jaxprice.oracles.",),
    "Parts of policies": ("jaxprice.policies.",),
    "Parts of markets": ("jaxprice.envs.",),
    "Data": ("jaxprice.data", "jaxprice.data."),
    "Off-policy evaluation": ("jaxprice.ope", "jaxprice.ope."),
    "Explanations": ("jaxprice.explain", "jaxprice.explain."),
    "A shop at work": ("jaxprice.live", "jaxprice.live."),
    "Views": ("jaxprice.compat.",),
    "Engine": ("jaxprice.",),
}
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def on_config(config):
    """Write the tree of pages."""
    config.nav = [
        {"Home": "index.md"},
        {"How do I": [page.relative_to(ROOT / "notebooks/site/pages").as_posix() for page in guides()]},
        {"Notebooks": [f"notebooks/{name}.md" for name in NOTEBOOKS]},
        {"Markets": ["markets/index.md", *(f"markets/{name}.md" for name in jaxprice.list_envs())]},
        {"Policies": ["policies/index.md", *families()]},
        {"Reference": [{title: [f"reference/{name}.md" for name in names]} for title, names in modules().items()]},
        {"Results": ["experiments.md", "results.md"]},
        {"Project": ["glossary.md", "contributing.md", "changelog.md"]},
    ]
    return config


def on_files(files, config):
    """Add the pages, and the pictures that they show."""
    made = {page: _text(source, page) for source, page in TEXTS.items() if (ROOT / source).is_file()}
    made |= {"markets/index.md": _markets()}
    made |= {f"markets/{name}.md": _market(name) for name in jaxprice.list_envs()}
    made |= {f"policies/{name}.md": _policy(name, make) for name, make in makers().items()}
    made |= {f"reference/{name}.md": _module(name) for names in modules().values() for name in names}
    for name in NOTEBOOKS:
        made |= _notebook(name)
    for where, content in made.items():
        files.append(File.generated(config, where, content=content))
    shown = {target for source in TEXTS for target in _assets(source)}
    for path in sorted(shown):
        files.append(File.generated(config, f"repository/{path}", abs_src_path=str(ROOT / path)))
    return files


def guides():
    """Pages that are written by hand and answer a question, in the order of their names."""
    return sorted((ROOT / "notebooks/site/pages/how").glob("*.md"))


def makers():
    """Name -> maker, for every policy and every wrapper."""
    every = registry.makers()
    for family in registry.FAMILIES:
        every |= registry.makers_with_arguments(family)
    return every


def families():
    """The pages of the policies, by family."""
    found = {family: [] for family in registry.FAMILIES}
    for name, make in sorted(makers().items()):
        found[registry.family_of(make)].append(f"policies/{name}.md")
    return [{family.replace("_", " ").capitalize(): pages} for family, pages in found.items()]


def modules():
    """Title of a group -> names of the modules that have no page as a policy or a market."""
    shown = {make.__module__ for make in makers().values()} | {kind.__module__ for kind in _kinds().values()}
    found = {title: [] for title in GROUPS}
    for module in pkgutil.walk_packages(jaxprice.__path__, "jaxprice."):
        name = module.name
        if name in shown or name.rpartition(".")[2].startswith("_"):
            continue
        for title, starts in GROUPS.items():
            if name in starts or any(name.startswith(start) and start.endswith(".") for start in starts):
                found[title].append(name)
                break
    return found


def _kinds():
    """Name -> class of a market; the calibrated ones share one."""
    kinds = {name: getattr(jaxprice.envs, name, None) for name in jaxprice.list_envs()}
    return {name: jaxprice.envs.CalibratedMarket if kind is None else kind for name, kind in kinds.items()}


def _policy(name, make):
    card = {card.name: card for card in policies.cards()}.get(name)
    rows = {}
    if card:
        rows = {"paper": card.source, "regret": card.regret, "learns from": card.feedback}
        if card.options:
            rows["options"] = "`" + ", ".join(f"{option}={default!r}" for option, default in card.options.items()) + "`"
    rows = {"family": registry.family_of(make).replace("_", " ")} | rows
    return f"# {name}\n\n{_card(rows)}\n::: {make.__module__}\n    options:\n      members: [{name}]\n"


def _card(rows):
    head = "| | |\n|---|---|\n"
    return head + "".join(f"| {what} | {value.replace('|', chr(92) + '|')} |\n" for what, value in rows.items() if value)


def _market(name):
    kind = _kinds()[name]
    module = kind.__module__
    members = ", ".join(dict.fromkeys([kind.__name__, "make", "Params"]))
    card = options.card(name)
    rows = {"what": card.what, "paper": card.paper, "oracle": card.oracle, "figure of merit": card.merit}
    choices = "".join(f"* `{option}`: {docstrings.prose(words)}\n" for option, words in options.words(kind))
    head = f'# {name}\n\n```python\nenv, params = jaxprice.make("{name}")\n```\n\n{_card(rows)}\n'
    return (
        head + (f"Options:\n\n{choices}\n" if choices else "") + f"::: {module}\n    options:\n      members: [{members}]\n"
    )


def _markets():
    """The list of markets, a line each; the paper and the oracle of each stand in the list of experiments."""
    lines = ["# Markets\n", "Each is `jaxprice.make(NAME)`. Paper, oracle and figure of merit of each are in the",
             "[list of markets](../experiments.md#markets).\n", "| name | what it is |", "|---|---|"]  # fmt: skip
    for name, kind in _kinds().items():
        text = inspect.getdoc(importlib.import_module(kind.__module__)) or ""
        what = text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        lines.append(f"| [`{name}`]({name}.md) | {what} |")
    return "\n".join(lines) + "\n"


def _module(name):
    return f"# {name}\n\n::: {name}\n"


def _text(source, page):
    """A Markdown file of the repository as a page."""
    text = (ROOT / source).read_text()
    text = LINK.sub(lambda found: found[1] + _target(found[2], source, page) + found[3], text)
    names = makers().keys() | _kinds().keys()
    return "\n".join(_first_cell(line, names, page) for line in text.splitlines()) + "\n"


def _first_cell(line, names, page):
    """A row of a table, whose first cell leads to the pages that it names."""
    if not line.startswith("| `"):
        return line
    first, bar, rest = line[2:].partition(" | ")

    def link(found):
        name = found[1]
        if name not in names:
            return found[0]
        there = f"{'markets' if name in _kinds() else 'policies'}/{name}.md"
        return f"[`{name}`]({posixpath.relpath(there, posixpath.dirname(page) or '.')})"

    return "| " + re.sub(r"`(\w+)`", link, first) + bar + rest


def _target(link, source, page):
    """Where a link of a file leads on its page."""
    if re.match(r"[a-z]+:|#", link):
        return link
    place, hash_, anchor = link.partition("#")
    place = posixpath.normpath(posixpath.join(posixpath.dirname(source), place))
    if not (ROOT / place).exists():
        raise FileNotFoundError(f"{source} links to {link}, which does not exist")
    if place.startswith("notebooks/") and place.endswith(".ipynb"):
        there = place.removesuffix("ipynb") + "md"
    else:
        written = place.removeprefix("notebooks/site/pages/")
        there = TEXTS.get(place) or (written if written != place else f"repository/{place}")
    return posixpath.relpath(there, posixpath.dirname(page) or ".") + hash_ + anchor


def _assets(source):
    """Files of the repository that a text shows or leads to, other than pages."""
    if not (ROOT / source).is_file():
        return
    for found in LINK.finditer((ROOT / source).read_text()):
        there = _target(found[2], source, "index.md")
        if there.startswith("repository/"):
            yield there.removeprefix("repository/").partition("#")[0]


def _notebook(name):
    """The page of a notebook, and its pictures, as saved: page or picture -> content."""
    book, made, parts = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4), {}, []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            parts.append(re.sub(r"\$([^$\n]+)\$", lambda found: mathml(found[1].strip()), cell.source))
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {"text/plain": output.get("text", "")})
            if "image/png" in data:
                picture = f"{name}_{len(made)}.png"
                made[f"notebooks/{picture}"] = base64.b64decode(data["image/png"])
                parts.append(f"![Output of the code above]({picture})")
            elif "text/markdown" in data:
                parts.append(data["text/markdown"])
            else:
                text = data["text/plain"].rstrip("\n")
                parts.append(f"```{{ .text .output }}\n{text}\n```")
    return {f"notebooks/{name}.md": "\n\n".join(parts) + "\n"} | made
