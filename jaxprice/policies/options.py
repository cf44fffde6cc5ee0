"""Options of makers: normal forms of values, checks that follow from the defaults, one object per call, descriptions.

| default | allowed values |
|---|---|
| a bool | True or False |
| a string | a string; the maker checks which |
| an int | an integer |
| a float, or None | one finite number, which may be traced; None only if it is the default |

A maker names the options to which this table does not apply. A list is converted to a tuple, and a NumPy scalar or a
zero-dimensional array to a number, so that equal calls with other types return the same object. Arrays are copied. Traced
values are not converted, and a call with them returns a new object each time.
"""

import functools
import hashlib
import inspect
import numbers

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks

KINDS = ("switch", "word", "whole", "wholes", "number", "numbers", "optional", "free")
SHORT = 64  # largest number of array entries in a description


def maker(function, *, label, kinds=(), check=None):
    """Turn `function` into a maker: it checks options, returns the same object for equal calls, and adds a description.

    Args:
      function: builds the object from its options, which are its parameters.
      label: maps the object to the function that carries the description.
      kinds: name -> one of `KINDS`, for options whose default does not show the kind: "wholes" may be a tuple and "numbers"
        an array, "optional" is a number or None though None is not the default, "free" is anything.
      check: called with the dict of options before `function`, to refuse some of them.
    """
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    signature = inspect.Signature(bare)  # as messages show it
    kinds = {name: _kind(parameter) for name, parameter in signature.parameters.items()} | dict(kinds)
    cached = functools.lru_cache(maxsize=256)(lambda call: function(*call.bound.args, **call.bound.kwargs))

    @functools.wraps(function)
    def make(*args, **kwargs):
        bound = bind(function.__name__, signature, args, kwargs)
        for name, value in bound.arguments.items():
            value = normal(value)
            if value is not None or signature.parameters[name].default is not None:
                value = of_kind(kinds[name], name, value)
            bound.arguments[name] = value
        if check is not None:
            check(bound.arguments)
        call = Call(bound)
        made = function(*bound.args, **bound.kwargs) if call.key is None else cached(call)
        text = None if call.traced else written(function.__name__, signature, bound.arguments)
        if text is not None:
            label(made).description = text
        return made

    return make


class Call:
    """Bound arguments that are equal if their values are; the key is None if values are traced or cannot be compared."""

    def __init__(self, bound):
        self.bound, self.traced = bound, checks.is_traced(dict(bound.arguments))
        try:
            self.key = None if self.traced else tuple(map(_key, bound.arguments.values()))
            hash(self.key)
        except TypeError:
            self.key = None

    def __hash__(self):
        return hash(self.key)

    def __eq__(self, other):
        return self.key == other.key


def bind(name, signature, args, kwargs):
    """The arguments of a call, with defaults for those that are not given.

    Raises:
      ValueError: an option does not exist, is missing or is given twice, or there are too many arguments.
    """
    for option in kwargs:
        checks.choice(f"option of {name}", option, signature.parameters)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        came = ", ".join([*map(repr, args), *(f"{option}={value!r}" for option, value in kwargs.items())])
        raise ValueError(f"{name} takes {signature}, got ({came}): {error}") from None
    bound.apply_defaults()
    return bound


def normal(value):
    """The normal form of a value: tuples for lists, numbers for NumPy and JAX scalars, copies for NumPy arrays."""
    if type(value) in (list, tuple):
        return tuple(map(normal, value))
    if isinstance(value, np.generic | np.ndarray | jax.Array) and not checks.is_traced(value):
        if jnp.issubdtype(value.dtype, jax.dtypes.extended):
            return value  # a random key
        value = np.array(value)
        return value.item() if value.ndim == 0 else value
    return value


def of_kind(kind, name, value):
    """`value` in the form of its kind: numbers in float32 arrays, integers in tuples. Traced values pass as numbers.

    Raises:
      ValueError: the value is not of the kind; the message gives the `name` of the option.
    """
    if kind == "optional":
        return None if value is None else of_kind("number", name, value)
    if kind == "switch":
        return checks.boolean(name, value)
    if kind == "whole":
        return checks.whole(name, value)
    if kind == "wholes":
        many = isinstance(value, tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)
        return tuple(checks.whole(name, size) for size in value) if many else checks.whole(name, value)
    if kind == "word" and not isinstance(value, str):
        raise ValueError(f"{name} must be a string, got {value!r}")
    if kind in ("number", "numbers"):
        checks.number(name, value, scalar=kind == "number")
        if isinstance(value, tuple | np.ndarray) and not checks.is_traced(value):
            return np.array(value, np.float32)
    return value


def written(name, signature, arguments):
    """A description of a call, such as `"ucb1(scale=2.0, signal='demand')"`; None if a part has no description."""
    parts = []
    for option, value in arguments.items():
        parameter = signature.parameters[option]
        many = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        texts = [describe(part) for part in (value if many else (value,))]
        if None in texts:
            return None
        first = not parts and parameter.default is inspect.Parameter.empty  # written without its name
        parts += texts if many or first else [f"{option}={texts[0]}"]
    return f"{name}({', '.join(parts)})"


def describe(value):
    """The text of a value in a description; None for functions, and for containers of functions, without a description."""
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.size <= SHORT else f"array({list(value.shape)}, sha256={_digest(value)})"
    functions = [part for part in (value if isinstance(value, tuple) else (value,)) if callable(part)]
    if functions:
        return next((part.description for part in functions if hasattr(part, "description")), None)
    return repr(value)


def _kind(parameter):
    """The kind of an option, from its default."""
    default = parameter.default
    if default is inspect.Parameter.empty:
        return "free"
    kinds = ((bool, "switch"), (str, "word"), (numbers.Integral, "whole"), ((numbers.Real, type(None)), "number"))
    return next((kind for types, kind in kinds if isinstance(default, types)), "free")


def _key(value):
    """A hashable stand-in for a value in comparisons of calls, which distinguishes 1, 1.0 and True."""
    if isinstance(value, np.ndarray):
        return np.ndarray, value.shape, value.dtype.str, _digest(value)
    if type(value) is tuple:
        return tuple(map(_key, value))
    return type(value), value


def _digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
