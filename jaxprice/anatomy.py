"""The parts of Python objects that fingerprints cover: code, wrappers, classes, instances, modules.

Digests of code leave out comments, docstrings, line numbers, file names and the names of local variables. A constant counts
at the instruction that loads it. Different versions of Python compile the same source to different instructions.
"""

import collections
import concurrent.futures
import dis
import enum
import functools
import hashlib
import itertools
import logging
import sys
import threading
import types
import weakref
from pathlib import Path
from typing import NamedTuple

import jax

UNSAID = frozenset({"__doc__", "__firstlineno__", "__static_attributes__", "__module__", "__qualname__"})  # do not count
DOCUMENTED = 0x4000000  # flag of functions with a docstring, since Python 3.14
WRITTEN = 1 << 9  # flag of classes defined in Python


class Cache(collections.OrderedDict):
    """A dict that caches results; fingerprints ignore it."""


MACHINERY = (
    Cache,
    concurrent.futures.Executor,
    itertools.count,
    logging.Logger,
    threading.Thread,
    threading.local,
    type(threading.Lock()),
    type(threading.RLock()),
    weakref.ref,
    weakref.WeakKeyDictionary,
    weakref.WeakValueDictionary,
    weakref.WeakSet,
)
WRAPPERS = {  # kinds of object that wrap a function -> attributes that hold what they wrap
    property: ("fget", "fset", "fdel"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    functools.cached_property: ("func",),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.partial: ("func", "args", "keywords"),
    types.MethodType: ("__func__", "__self__"),
    type(functools.lru_cache(print)): ("__wrapped__",),
    type(jax.jit(print)): ("__wrapped__",),
}
_FIELD = vars(collections.namedtuple("Pair", "a b"))["a"]
DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType, type(_FIELD))
OF_CLASSES = {  # attributes that do not influence results
    "__abstractmethods__",
    "__annotate__",
    "__annotate_func__",
    "__annotations__",
    "__annotations_cache__",
    "__conditional_annotations__",
    "__dataclass_params__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__module__",
    "__orig_bases__",
    "__parameters__",
    "__qualname__",
    "__slots__",
    "__static_attributes__",
    "__type_params__",
    "__weakref__",
    "_abc_impl",
}
_read = Cache()


class Code(NamedTuple):
    """The relevant parts of a code object. All fields include the functions nested in it.

    Attributes:
      digest: digest of the instructions and constants.
      globals: names that are looked up among globals.
      names: all names in use, those of attributes included.
      imports: imports, `(module, level, names)` each.
      texts: constants that are strings.
      reads: names whose value is used for more than appending. A list that is only appended to does not influence results.
    """

    digest: bytes
    globals: frozenset
    names: frozenset
    imports: tuple
    texts: frozenset
    reads: frozenset


def digest(*parts):
    """A digest of bytes and texts, 16 bytes."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "little") + content)
    return whole.digest()


def read(code):
    """The `Code` of a code object."""
    if id(code) not in _read:
        _read[id(code)] = code, _parse(code)  # keep the object alive, so that its id is not reused
    return _read[id(code)][1]


def constant(value):
    """The digest of a constant in code: a number, a string, a code object, or a tuple or frozenset of these."""
    if isinstance(value, types.CodeType):
        return read(value).digest
    if isinstance(value, tuple):
        return digest("tuple", *map(constant, value))
    if isinstance(value, frozenset):
        return digest("frozenset", *sorted(map(constant, value)))
    return digest(type(value).__name__, value if isinstance(value, str | bytes) else repr(value))


def _parse(code):
    said, loaded, names, imports, reads = [], set(), set(code.co_names), [], set()
    texts = set(_texts_in(code.co_consts))
    variable = None  # the variable that the previous instruction loaded
    for operation, argument in _instructions(code):
        name = dis.opname[operation]
        if name in ("CACHE", "PRECALL", "NOP"):
            said.append((name, argument))
            continue
        if variable and not _appends(name, argument, code):
            reads.add(variable)
        variable = _variable(name, argument, code)
        if operation in dis.hasconst:
            argument = code.co_consts[argument]
        elif name == "LOAD_GLOBAL":
            loaded.add(code.co_names[argument >> 1])
        elif name.endswith("_NAME") or name == "LOAD_FROM_DICT_OR_GLOBALS":
            argument = code.co_names[argument]
            if name == "STORE_NAME" and argument in UNSAID and said:
                said.pop()
                continue
            if name == "IMPORT_NAME":
                (_, level), (_, wanted) = said[-2:]
                imports.append((argument, level, wanted or ()))
            elif name.startswith("LOAD"):
                loaded.add(argument)
        said.append((name, argument))
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            inner = read(value)
            loaded, names = loaded | inner.globals, names | inner.names
            imports += inner.imports
            reads, texts = reads | inner.reads, texts | inner.texts
    count = code.co_argcount + code.co_kwonlyargcount
    about = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_varnames[:count]
    about += code.co_flags & ~DOCUMENTED, tuple(name for name in code.co_names if name not in UNSAID)
    about += code.co_freevars, code.co_exceptiontable
    whole = digest(constant(about), repr([(name, _spelt(argument)) for name, argument in said]))
    loaded -= {"__file__", "__name__"}
    return Code(whole, frozenset(loaded), frozenset(names), tuple(imports), frozenset(texts), frozenset(reads))


def _texts_in(constant):
    """The strings in a constant."""
    if isinstance(constant, tuple | frozenset):
        return [text for part in constant for text in _texts_in(part)]
    return [constant] if isinstance(constant, str) else []


def _spelt(value):
    """A constant, or its digest if its `repr` is ambiguous or contains an address."""
    return value if type(value) in (int, str, type(None)) else (type(value).__name__, constant(value))


def _variable(name, argument, code):
    """The name of the global or enclosing-function variable that an instruction loads, or None."""
    if name == "LOAD_GLOBAL":
        return code.co_names[argument >> 1]
    if name == "LOAD_NAME":
        return code.co_names[argument]
    enclosed = name in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
    return code._varname_from_oparg(argument) if enclosed else None


def _appends(name, argument, code):
    """Whether an instruction looks up `append` on the value just loaded."""
    if name not in ("LOAD_METHOD", "LOAD_ATTR"):
        return False
    return code.co_names[argument >> (sys.version_info >= (3, 12))] == "append"


def _instructions(code):
    """The `(operation, full argument)` of each instruction."""
    content, extended = code.co_code, 0
    for k in range(0, len(content), 2):
        operation, argument = content[k], content[k + 1] | extended
        extended = argument << 8 if operation == dis.EXTENDED_ARG else 0
        if operation != dis.EXTENDED_ARG:
            yield operation, argument


def state(x):
    """Attributes of an instance, name -> value, without the cached values of `functools.cached_property`."""
    slots = {name for base in type(x).__mro__ for name in _texts(vars(base).get("__slots__", ()))}
    slots -= {"__dict__", "__weakref__"}
    found = {name: getattr(x, name) for name in slots if hasattr(x, name)} | getattr(x, "__dict__", {})
    return {k: v for k, v in found.items() if not isinstance(getattr(type(x), k, None), functools.cached_property)}


def _texts(slots):
    return (slots,) if isinstance(slots, str) else slots


def attribute(module, name):
    """`(value,)` of an attribute of a module, or `()` if there is none; lazily loaded submodules count as attributes."""
    if name in vars(module):
        return (vars(module)[name],)
    loaded = sys.modules.get(f"{module.__name__}.{name}")
    if loaded is None and "__getattr__" in vars(module):
        places = [Path(place) for place in getattr(module, "__path__", ())]
        if any((place / f"{name}.py").is_file() or (place / name).is_dir() for place in places):
            loaded = getattr(module, name, None)
    return () if loaded is None else (loaded,)


def is_network(x):
    """Whether an object is a flax module; flax gives its instances numbers."""
    return any((base.__module__, base.__name__) == ("flax.linen.module", "Module") for base in type(x).__mro__)


def own(kind):
    """The parts that a class defines itself: attributes, name -> value; and the fields of a dataclass, as plain data."""
    made = {k: value for k, value in vars(kind).items() if k not in OF_CLASSES and not isinstance(value, DESCRIPTORS)}
    if issubclass(kind, enum.Enum):
        members = {name: member.value for name, member in kind.__members__.items()}
        made = members | {name: value for name, value in made.items() if not name.startswith("_") and name not in members}
    fields = made.pop("__dataclass_fields__", {})
    return made, [
        (name, f.default, f.default_factory, f.init, {k: v for k, v in f.metadata.items() if k != "about"})
        for name, f in fields.items()
    ]


def is_list(x=None):
    """Whether a value is a list."""
    return type(x) is list


def content(cell):
    """`(value,)` of a closure cell, or `()` if the cell is still empty."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def plain(kind):
    """Whether the attributes of an instance of this class are all of its state."""
    return next(base for base in kind.__mro__ if not base.__flags__ & WRITTEN) is object
