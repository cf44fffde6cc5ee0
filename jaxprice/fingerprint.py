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

import collections
import contextlib
import contextvars
import copyreg
import enum
import importlib
import importlib.util
import sys
import types
import uuid
from typing import NamedTuple

import jax
import numpy as np

from jaxprice import anatomy, provenance
from jaxprice.anatomy import digest

Cache = anatomy.Cache
APART = frozenset({"jaxprice", "matplotlib", "rich", "tqdm", "tyro"})  # their version does not influence results


class Registry(dict):
    """Functions by name. A narrow `Walk` counts only the entries whose names occur as strings in the code it reaches.

    Args:
      title: name of the registry, unique among registries.
      entries: name -> registered object.
    """

    every = {}  # title -> registry  # noqa: RUF012

    def __init__(self, title, entries=()):
        super().__init__(entries)
        self.title = title
        Registry.every[title] = self

    def _look(self, *names):
        for looked in _watching:
            looked.update((self.title, name) for name in names)

    def __getitem__(self, name):
        self._look(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        """Like `dict.get`."""
        self._look(name)
        return super().get(name, default)

    def items(self):
        """Like `dict.items`."""
        self._look(*self)
        return super().items()

    def values(self):
        """Like `dict.values`."""
        self._look(*self)
        return super().values()


_watching = []


@contextlib.contextmanager
def watching():
    """Collect the `(title, name)` pairs that are looked up in registries within the block, in a set."""
    looked = set()
    _watching.append(looked)
    try:
        yield looked
    finally:
        _watching[:] = [other for other in _watching if other is not looked]


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
        self._found = {}  # name -> (digest, names that it reads)
        self._told = {}  # addresses -> (objects, their fingerprint)

    def of(self, *things):
        """The `Fingerprint` of some objects."""
        where = tuple(map(id, things))
        if where not in self._told:
            self._told[where] = things, self._of(things)
        return self._told[where][1]

    def _of(self, things):
        whole, waiting = _Tree(self).root(things)
        parts, seen, packages, unknown = [whole], set(), {"python": ".".join(map(str, sys.version_info[:2]))}, []
        waiting, texts, registries = set(waiting), set(), {}
        while waiting:
            kind, name = one = waiting.pop()
            seen.add(one)
            if kind == "code":
                if name not in self._found:
                    self._found[name] = _Tree(self).root(self.named[name], inside=True)
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
                    self._found[name] = _Tree(self).root(dict.__getitem__(registries[name[0]], name[1]))
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
        """Read the program's code again, because its globals may have changed. Code of this package is not read again."""
        self._found = {name: found for name, found in self._found.items() if name.startswith("jaxprice.")}
        self._told.clear()
        return self


class _Tree:
    """One walk from a root. It stops at named functions and classes of modules, which have walks of their own."""

    def __init__(self, walk):
        self.walk, self.reads, self.done, self.open, self.held = walk, set(), {}, {}, []

    def root(self, thing, inside=False):
        """`(digest, names that it reads)`; with `inside`, a walk into the object that a name stands for."""
        if inside:
            self.open[id(thing)] = 0
            try:
                return digest(*self._parts(thing)), self.reads
            except Exception as error:
                return self._unknown(thing, error), self.reads
        return self._node(thing), self.reads

    def _node(self, x):
        if x is None or isinstance(x, type(...) | type(NotImplemented) | np.dtype):
            return digest("constant", repr(x))
        if type(x) in (bool, int, float, complex, str, bytes, range):
            if type(x) is str:
                self._texts({x})
            return anatomy.constant(x)
        if id(x) in self.open:
            return digest("again", str(len(self.open) - self.open[id(x)]))
        if id(x) not in self.done:
            self.open[id(x)] = len(self.open)
            try:
                name = self._name(x)
                self.done[id(x)] = digest("name", name) if name else digest(*self._parts(x))
            except Exception as error:  # any kind of error, because foreign code runs here
                self.done[id(x)] = self._unknown(x, error)
            del self.open[id(x)]
            self.held.append(x)  # keep it alive, so that its id is not reused
        return self.done[id(x)]

    def _nodes(self, *things):
        return [self._node(x) for x in things]

    def _items(self, mapping):
        """Digests of a dict with string keys, whose order does not count."""
        return [part for key in sorted(mapping) for part in (key, self._node(mapping[key]))]

    def _texts(self, texts):
        """Note the strings that are names in a registry."""
        for one in Registry.every.values():
            self.reads |= {("text", text) for text in texts & one.keys()}

    def _unknown(self, x, error):
        self.reads.add(("unknown", f"{type(x).__module__}.{type(x).__qualname__} ({error})"))
        return uuid.uuid4().bytes

    def _name(self, x):
        """The name under which a function or class can be found in its module, or None."""
        module, name = (getattr(x, key, None) for key in ("__module__", "__qualname__"))
        if not (isinstance(module, str) and isinstance(name, str)):
            return None
        found = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is x:
            name = f"{provenance.spelled(module)}:{name}"
        elif not (isinstance(x, type) and provenance.installed(module)):
            return None
        if provenance.by_name(module):
            self.reads.add(("package", module.partition(".")[0]))
        else:
            self.reads.add(("code", name))
            self.walk.named[name] = x
        return name

    def _parts(self, x):
        kind = type(x)
        if isinstance(x, anatomy.MACHINERY):
            return ["machinery", kind.__qualname__]
        if isinstance(x, Registry):
            self.reads.add(("registry", x.title))
            return ["registry", x.title]
        if isinstance(x, jax.Device):
            return ["device", x.platform]
        if isinstance(x, contextvars.ContextVar):
            return ["context", x.name, self._node(x.get(None))]
        if isinstance(x, jax.core.Tracer):
            raise ValueError("a traced value has no content")
        if kind is np.ndarray or isinstance(x, np.generic | jax.Array):
            return self._array(x)
        if isinstance(x, types.ModuleType):
            return self._module(x)
        if isinstance(x, type):
            return self._class(x)
        if isinstance(x, types.FunctionType):
            return self._function(x)
        if isinstance(x, types.CodeType):
            return ["code", anatomy.read(x).digest]
        if isinstance(x, types.CellType):
            return ["cell", *self._nodes(*anatomy.content(x))]
        if kind in anatomy.WRAPPERS:
            return ["wrapper", kind.__qualname__, *self._nodes(*(getattr(x, name) for name in anatomy.WRAPPERS[kind]))]
        if isinstance(x, anatomy.DESCRIPTORS):
            return ["descriptor", x.__name__ if hasattr(x, "__name__") else ""]
        if isinstance(x, types.BuiltinFunctionType | types.MethodWrapperType):
            itself = () if isinstance(x.__self__, types.ModuleType) else (x.__self__,)
            return ["built in", str(x.__module__ if not itself else ""), x.__qualname__, *self._nodes(*itself)]
        if isinstance(x, types.WrapperDescriptorType | types.MethodDescriptorType | types.ClassMethodDescriptorType):
            return ["built in", x.__qualname__, *self._nodes(x.__objclass__)]
        return self._instance(x)

    def _array(self, x):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return ["key", str(jax.random.key_impl(x)), self._node(jax.random.key_data(x))]
        array = np.asarray(x)
        content = b"".join(self._nodes(*array.ravel().tolist())) if array.dtype == object else array.tobytes()
        weak = str(getattr(x, "weak_type", False))
        return ["array", array.dtype.name, str(array.dtype.descr), str(array.shape), weak, content]

    def _module(self, x):
        """All of a module of the program. The modules that it imports count only where its functions use them."""
        if provenance.by_name(x.__name__):
            self.reads.add(("package", x.__name__.partition(".")[0]))
            return ["module", x.__name__]
        own = {k: v for k, v in vars(x).items() if not (k.startswith("__") or isinstance(v, types.ModuleType))}
        return ["module", provenance.spelled(x.__name__), *self._items(own)]

    def _class(self, x):
        own, fields = anatomy.own(x)
        return ["class", *self._nodes(type(x), fields, *x.__bases__), *self._items(own)]

    def _function(self, x):
        code = anatomy.read(x.__code__)
        cells = [] if x.__closure__ is None else zip(x.__code__.co_freevars, x.__closure__, strict=True)
        cells = [cell for name, cell in cells if name in code.reads or not anatomy.is_list(*anatomy.content(cell))]
        about = [*self._nodes(x.__defaults__, x.__kwdefaults__, *cells), *self._items(x.__dict__)]
        if provenance.in_packages(x.__code__.co_filename):
            self.reads.add(("package", str(x.__globals__.get("__name__")).partition(".")[0]))
            return ["installed", x.__code__.co_qualname, *about]
        module = sys.modules.get(x.__globals__.get("__name__"))
        self._texts(code.texts)
        for name in sorted(code.globals & x.__globals__.keys()):
            if name not in code.reads and anatomy.is_list(x.__globals__[name]):
                continue
            about += [name, *self._used(x.__globals__[name], code)]
        if not code.globals.isdisjoint(("globals", "eval", "exec")) and vars(module or types) is x.__globals__:
            about.append(self._node(module))
        for name, level, wanted in code.imports:
            about += [name, *self._imported(name, level, wanted, x.__globals__, code)]
        return ["function", code.digest, *about]

    def _used(self, value, code, within=()):
        """A global that a function reads; for a module, only the attributes that the function names."""
        if not isinstance(value, types.ModuleType) or provenance.by_name(value.__name__):
            return [self._node(value)]
        attributes = {name: found for name in sorted(code.names) for found in anatomy.attribute(value, name)}
        if not attributes or not code.globals.isdisjoint(("getattr", "vars")):
            return [self._node(value)]
        within = (*within, value)
        attributes = {name: found for name, found in attributes.items() if not any(found is module for module in within)}
        return [part for name, found in attributes.items() for part in (name, *self._used(found, code, within))]

    def _imported(self, name, level, wanted, scope, code):
        """The objects that a function imports when it is called."""
        if level:
            name = importlib.util.resolve_name("." * level + name, scope.get("__package__") or scope["__name__"])
        if provenance.installed(name):
            self.reads.add(("package", name.partition(".")[0]))
            return ["package"]
        try:
            module = importlib.import_module(name)
        except ImportError:
            return ["missing"]
        if not wanted:
            return self._used(sys.modules[name.partition(".")[0]], code)
        whole = [module] if "*" in wanted else [found for one in wanted for found in anatomy.attribute(module, one)]
        return [part for found in whole for part in self._used(found, code)]

    def _instance(self, x):
        kind = type(x)
        about = ["instance", self._node(kind)]
        if isinstance(x, enum.Enum):
            return [*about, x.name]
        if anatomy.is_network(x):
            return about + self._items({name: getattr(x, name) for name in kind.__dataclass_fields__ if name != "parent"})
        if isinstance(x, dict | types.MappingProxyType):
            about += self._nodes(*(part for pair in x.items() for part in pair))
        elif isinstance(x, list | tuple | collections.deque):
            about += self._nodes(*x)
        elif isinstance(x, set | frozenset):
            about += sorted(self._nodes(*x))
        elif provenance.installed(kind.__module__) or not anatomy.plain(kind):
            return about + self._reduced(x)
        return about + self._items(anatomy.state(x))

    def _reduced(self, x):
        """The parts of an object of a package, as `pickle` sees them."""
        taken = copyreg.dispatch_table.get(type(x), lambda x: x.__reduce_ex__(4))(x)
        if isinstance(taken, str):
            return [taken]
        made, args, state, *items = (*taken, None, None, None)[:5]
        if made is copyreg.__newobj__:
            args = args[1:]
        return self._nodes(made, args, state, *(list(item) for item in items if item is not None))
