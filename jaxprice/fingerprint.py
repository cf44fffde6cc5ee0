"""Fingerprints: digests of all code and data that an object reaches. They find saved results again.

    fingerprint.of(policy)      # text of 32 hexadecimal digits, the same in every process
    walk = fingerprint.Walk()   # for several objects of one program
    walk.of(policy).digest, walk.of(policy).packages, walk.of(policy).unknown

A fingerprint covers functions: their instructions and constants (not comments, docstrings or line numbers), their defaults,
closures and attributes, and the globals that they read, including functions of other modules. It covers all attributes,
methods and bases of classes, the state of instances, and the content of containers, arrays and numbers. An edit therefore
changes exactly the fingerprints of objects that reach the edited function.

A registry counts if code looks names up in it. Code that calls `jaxprice.make("X")` reaches every market, or with a narrow
`Walk` only the markets that it names. An object that holds a made market reaches that market alone. Python's own library
counts by name. Installed packages count by name and version, except those for progress bars and pictures. Caches and locks
do not count, because they do not influence results: `functools.lru_cache`, weak containers, `Cache`, counters, locks,
executors, and lists that functions only append to.

An object without a digest, such as an open connection, gets a new random digest each time, so its results are never found
again; `unknown` names it. Two things are not seen: modules that code imports by a computed name at run time
(`importlib.import_module(name)`), and files that code reads.
"""

import sys
from typing import NamedTuple

from jaxprice import anatomy, provenance
from jaxprice.anatomy import digest
from jaxprice.contents import Tree
from jaxprice.registry import Registry, watching

__all__ = ["Cache", "Fingerprint", "Registry", "Walk", "of", "watching"]

Cache = anatomy.Cache
APART = frozenset({"jaxprice", "matplotlib", "rich", "tqdm", "tyro"})  # their version does not influence results


class Fingerprint(NamedTuple):
    """The result of a walk.

    Attributes:
      digest: text of 32 hexadecimal digits.
      packages: name -> version of Python and of the installed packages that are reached.
      unknown: descriptions of objects without a digest; if there are any, no two digests are equal.
      entries: `(title, name)` of the registry entries that count.
    """

    digest: str
    packages: dict
    unknown: tuple
    entries: frozenset


def of(*things):
    """The fingerprint of some objects as text. It includes the versions of packages."""
    found = Walk().of(*things)
    return digest(found.digest, repr(found.packages)).hex()


class Walk:
    """Fingerprints of several objects of a program that does not change meanwhile; shared parts are read once.

    Args:
      narrow: count only the entries of a `Registry` whose names occur as strings in the code that is reached. A name that is
        built at run time is missed, so the caller must compare with the names that were looked up (`watching`).
    """

    def __init__(self, narrow=False):
        self.narrow = narrow
        self.named = {}  # name -> function or class defined in a module
        self._found = {}  # name, or (registry, name) of an entry -> (digest, names that it reads)
        self._told = {}  # addresses -> (objects, their fingerprint)

    def of(self, *things):
        """The `Fingerprint` of some objects."""
        where = tuple(map(id, things))
        if where not in self._told:
            self._told[where] = things, self._of(things)
        return self._told[where][1]

    def _of(self, things):
        whole, waiting = Tree(self.named).root(things)
        parts, seen, packages, unknown = [whole], set(), {"python": ".".join(map(str, sys.version_info[:2]))}, []
        waiting, texts, registries = set(waiting), set(), {}
        while waiting:
            kind, name = one = waiting.pop()
            seen.add(one)
            if kind == "code":
                if name not in self._found:
                    self._found[name] = Tree(self.named).root(self.named[name], inside=True)
                parts.append(digest(name, self._found[name][0]))
                waiting |= self._found[name][1] - seen
            elif kind in ("text", "registry"):
                if kind == "text":
                    texts.add(name)
                else:
                    registries[name] = Registry.every[name]
                named = {title: texts & one.keys() if self.narrow else one for title, one in registries.items()}
                waiting |= {("entry", (title, key)) for title, keys in named.items() for key in keys} - seen
            elif kind == "entry":
                if name not in self._found:
                    self._found[name] = Tree(self.named).root(dict.__getitem__(registries[name[0]], name[1]))
                parts.append(digest(*name, self._found[name][0]))
                waiting |= self._found[name][1] - seen
            elif kind == "package" and name not in APART and (version := provenance.version(name)):
                packages[name] = version
            elif kind == "unknown":
                unknown.append(name)
        whole = digest(parts[0], *sorted(parts[1:])).hex()
        entries = frozenset(name for kind, name in seen if kind == "entry")
        return Fingerprint(whole, dict(sorted(packages.items())), tuple(sorted(unknown)), entries)

    def again(self):
        """Read the program's code again, because its globals may have changed, and entries of registries.

        Code of this package is not read again.
        """
        self._found = {name: found for name, found in self._found.items() if str(name).startswith("jaxprice.")}
        self._told.clear()
        return self
