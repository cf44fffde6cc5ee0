"""`pytest --shapes` compares calls with the shapes and types in the annotations of a function.

An import hook wraps the annotated functions of `MODULES` with jaxtyping and beartype. A result that does not fit its
annotation is an error. If an argument does not fit, the function itself must raise a ValueError, which the test sees.
Without the option, no function is wrapped, so annotations cost nothing.
"""

import ast
import functools
import importlib.machinery
import sys

MODULES = tuple(f"jaxprice.{name}" for name in ("oracles", "policies", "checks", "stats", "agents", "data", "ope"))
_NAME = "__checked__"


def checked(function):
    """A wrapper of the function that compares arguments and results with the annotations."""
    import beartype
    import jaxtyping

    ints_are_floats = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
    strict = jaxtyping.jaxtyped(typechecker=ints_are_floats)(function)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        try:
            return strict(*args, **kwargs)
        except jaxtyping.TypeCheckError:
            function(*args, **kwargs)  # raises ValueError if it refuses the arguments
            raise

    return wrapper


class _Annotated(ast.NodeTransformer):
    """Decorates the annotated functions of a module and methods of its classes, but no closures."""

    def visit_FunctionDef(self, node):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        if node.returns is not None or any(argument.annotation is not None for argument in arguments):
            node.decorator_list.append(ast.Name(_NAME, ast.Load()))
        return node


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        path = self.get_filename(fullname)
        tree = ast.fix_missing_locations(_Annotated().visit(ast.parse(self.get_data(path), path)))
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module):
        vars(module)[_NAME] = checked
        super().exec_module(module)


class _Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if not any(name == module or name.startswith(module + ".") for module in MODULES):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install():
    """Wrap the functions of all modules of `MODULES` that are imported after this call."""
    sys.meta_path.insert(0, _Finder)
