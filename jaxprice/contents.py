"""Digests of the content of objects, down to the functions and classes of modules that they name.

A `Tree` is one walk from one object. `jaxprice.fingerprint.Walk` starts further trees at the functions and classes that the
first one names; its module says what counts and what does not.
"""

import collections
import contextvars
import copyreg
import enum
import importlib
import importlib.util
import sys
import types
import uuid
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxprice import anatomy, provenance
from jaxprice.anatomy import digest
from jaxprice.registry import Registry


class Tree:
    """One walk from a root. It stops at named functions and classes of modules, which have walks of their own.

    Args:
      named: dict into which these functions and classes are put, name -> object.
    """

    def __init__(self, named):
        self.named, self.reads, self.done, self.open, self.held = named, set(), {}, {}, []

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
            self.named[name] = x
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
        if isinstance(x, Tracer):
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
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
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

    def _reduced(self, x: Any):
        """The parts of an object of a package, as `pickle` sees them."""
        taken: Any = copyreg.dispatch_table.get(type(x), lambda x: x.__reduce_ex__(4))(x)
        if isinstance(taken, str):
            return [taken]
        whole: tuple[Any, ...] = *taken, None, None, None
        made, args, state, *items = whole[:5]
        if made is copyreg.__newobj__:  # pyright: ignore[reportAttributeAccessIssue]  no stub has it
            args = args[1:]
        return self._nodes(made, args, state, *(list(item) for item in items if item is not None))
