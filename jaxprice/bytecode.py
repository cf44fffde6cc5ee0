"""What compiled Python says, without what does not change what it computes.

Comments, docstrings, line numbers, file names and the names of local variables are left out; a constant stands where it is
loaded. Another version of Python compiles to other instructions.
"""

import dis
import hashlib
import types
from typing import NamedTuple

UNSAID = frozenset({"__doc__", "__firstlineno__", "__static_attributes__", "__module__", "__qualname__"})  # of class bodies
DOCUMENTED = 0x4000000  # flag of functions that have a docstring, from Python 3.14 on
_read = {}


class Code(NamedTuple):
    """A code object, read.

    Attributes:
      digest: of its instructions and constants, those of the functions in it included.
      globals: names that it and the functions in it look up among globals.
      names: all names that it and they use, those of attributes included.
      imports: what it and they import, `(module, level, names)` each.
    """

    digest: bytes
    globals: frozenset
    names: frozenset
    imports: tuple


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
        _read[id(code)] = code, _parse(code)  # the object is kept, so that no other gets its address
    return _read[id(code)][1]


def constant(value):
    """The digest of a constant of the language: a number, a text, a code object, or a tuple or frozenset of these."""
    if isinstance(value, types.CodeType):
        return read(value).digest
    if isinstance(value, tuple):
        return digest("tuple", *map(constant, value))
    if isinstance(value, frozenset):
        return digest("frozenset", *sorted(map(constant, value)))
    return digest(type(value).__name__, value if isinstance(value, str | bytes) else repr(value))


def _parse(code):
    said, loaded, names, imports = [], set(), set(code.co_names), []
    for operation, argument in _instructions(code):
        name = dis.opname[operation]
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
    count = code.co_argcount + code.co_kwonlyargcount
    about = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_varnames[:count]
    about += code.co_flags & ~DOCUMENTED, tuple(name for name in code.co_names if name not in UNSAID)
    about += code.co_freevars, code.co_exceptiontable
    whole = digest(constant(about), *(part for name, argument in said for part in (name, constant(argument))))
    return Code(whole, frozenset(loaded - {"__name__"}), frozenset(names), tuple(imports))


def _instructions(code):
    """`(operation, whole argument)` of each instruction."""
    content, extended = code.co_code, 0
    for k in range(0, len(content), 2):
        operation, argument = content[k], content[k + 1] | extended
        extended = argument << 8 if operation == dis.EXTENDED_ARG else 0
        if operation != dis.EXTENDED_ARG:
            yield operation, argument
