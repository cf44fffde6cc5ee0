"""Docstrings as Markdown, for the site: formulas keep their lines, papers and names of the library become links.

The docstrings of the library are plain text. Indented lines are formulas and stay as they are. Elsewhere an asterisk or an
underscore stands for itself, `doi:...` and `arXiv:...` become links, and so does the name of a policy or a market.
"""

import functools
import re

import griffe

import jaxprice
from jaxprice import policies

NAMED = ("Args", "Arguments", "Attributes")
SECTION = re.compile(r"(Args|Arguments|Attributes|Raises|Returns|Yields):")
BLOCK = re.compile(r"(Observation|Actions?|Reward|Oracle|Regret|Sources?): ")  # each on a line of its own
ENTRY = re.compile(r"  (?=\S)(?P<names>[^`:]*?):(?= |$)")
PAPER = re.compile(r"(?<![\w/])(?:doi:(?P<doi>10\.\d{4,}/[^\s,;`]*[^\s,;.`])|arXiv:(?P<arxiv>[\w./-]*\d))")


class Markdown(griffe.Extension):
    """Rewrites every docstring that is read."""

    def on_object(self, *, obj, **_):
        """Rewrite one."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text):
    """A docstring as Markdown."""
    section, lines = None, []
    for line in text.expandtabs().splitlines():
        if line and not line.startswith(" "):
            section = SECTION.fullmatch(line)
        entry = ENTRY.match(line) if section else None
        head = entry.group() if entry else ""
        if BLOCK.match(line) and lines and lines[-1].strip():
            lines[-1] += "  "  # a break
        words = line[len(head) :]
        if head and section[1] in NAMED:
            head = "  " + head.strip().replace(", ", ",\u00a0") + " "  # several names are one entry
        stays = not line.startswith(" ") if section else line.startswith("    ")  # a title, or a formula
        lines.append(line if stays else head + prose(words))
    return "\n".join(lines)


def prose(line):
    """A line of text as Markdown: what stands between backticks stays, or becomes a link to its page."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(_code(part) if part.startswith("`") and len(part) > 1 else _words(part) for part in parts)


def _code(part):
    page = pages().get(part.strip("`"))
    return f"[{part}][{page}]" if page else part


def _words(part):
    links = []

    def paper(found):
        doi, arxiv = found["doi"], found["arxiv"]
        while doi and doi.endswith(")") and doi.count(")") > doi.count("("):
            doi = doi[:-1]
        rest = found["doi"][len(doi) :] if doi else ""
        address = f"https://doi.org/{doi}" if doi else f"https://arxiv.org/abs/{arxiv}"
        links.append(f"[{'doi:' + doi if doi else 'arXiv:' + arxiv}](<{address}>)")
        return f"\0{len(links) - 1}\0{rest}"

    part = PAPER.sub(paper, part)
    part = re.sub(r"([*_\\])", r"\\\1", part).replace("<", "&lt;")
    return re.sub(r"\0(\d+)\0", lambda found: links[int(found[1])], part)


@functools.cache
def pages():
    """Name of a policy or a market -> its object in the reference."""
    every = policies.registry.makers()
    for family in policies.registry.FAMILIES:
        every |= policies.registry.makers_with_arguments(family)
    found = {name: f"{make.__module__}.{name}" for name, make in every.items()}
    kinds = {name: getattr(jaxprice.envs, name) for name in jaxprice.list_envs() if hasattr(jaxprice.envs, name)}
    return found | {name: f"{kind.__module__}.{name}" for name, kind in kinds.items()}
