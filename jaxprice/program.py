"""Compiled code for lanes: mapped over devices, and compiled once for all markets that lower to the same text.

Compilation takes most of the time of a small experiment. Two things make it rare. First, leaves of the arguments that the
code does not read are dropped before lowering: for example, once the mean demand at every price is computed, the loop no
longer reads the demand curve. Second, executables are cached by the lowered text, so a policy is compiled once for all
markets that look the same to it. A text that is incomplete, because it calls Python or leaves constants out, is not shared.
Memory grows with the number of kinds of policies, not with the number of policies of one kind: the cache holds the latest
16 programs of each maker, and at most 256 in all (`program_cache`).

Common subexpressions are removed from the lowered module, on any number of devices. XLA itself removes them first for
several devices and last for one device. In between it rewrites arithmetic, depending on how often a value is used. Without
the early removal, numbers would differ in the last bit between one device and several.
"""

import concurrent.futures
import ctypes
import hashlib
import itertools
import sys
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex
from jax.extend.mlir import passmanager
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxprice import devices
from jaxprice.devices import AXIS
from jaxprice.lanes import needed, per_leaf
from jaxprice.program_cache import ProgramCache

_executables = ProgramCache()
SHAPES = 4  # number of argument shapes for which a program is cached
_ELSEWHERE = ("callback", "jax.const")  # these words mark incomplete texts: Python calls, constants that are arguments
_number = itertools.count()
_compiler = concurrent.futures.ThreadPoolExecutor(2, "compile")  # XLA releases the interpreter lock while it compiles


class Program:
    """A function on many lanes, mapped over a mesh.

    Args:
      function: maps arrays with a trailing lane axis, and shared arrays, to the same kinds; lanes must be independent.
      axes: for each argument, -1 if it has lanes, None if it is shared, or a list of bools, one a leaf.
      mesh: from `jaxprice.devices.mesh`.
      donated: position of the argument whose memory may be reused, or None.
      out_axes: -1 if every result has lanes; or a list of bools, one a leaf.
      kind: hashable owner of the code; the latest executables of each kind stay in the cache.
    """

    def __init__(
        self,
        function: Callable,
        axes: Sequence,
        mesh: jax.sharding.Mesh,
        donated: int | None = None,
        out_axes: int | Sequence[bool] = -1,
        kind=None,
    ):
        self.function, self.axes, self.mesh, self.donated, self.out_axes = function, axes, mesh, donated, out_axes
        self.kind, self._built = kind, ProgramCache(SHAPES)

    def __call__(self, *args):
        """Run the function; the first call with new shapes compiles."""
        leaves, (executable, used, shapes) = self._find(args)
        with jax.debug_nans(False), jax.debug_infs(False):  # the engine checks results itself, with better messages
            outs = iter(executable.result()(*[leaves[k] for k in used]))
        # empty arrays cannot be sharded, so they do not enter the compiled code
        return jax.tree.map(lambda x: next(outs) if x.size else np.zeros(x.shape, x.dtype), shapes)

    def prepare(self, *args):
        """Start to compile for these arguments, arrays or shapes; returns the shapes of the results of a call."""
        return self._find(args)[1][2]

    def _find(self, args):
        leaves, tree = jax.tree.flatten(args)
        key = tree, tuple((np.shape(x), jnp.result_type(x)) for x in leaves)
        return leaves, self._built.find(None, key, self._build, args, leaves)

    def _build(self, args, leaves):
        flags = per_leaf(self.axes, args)
        taken = [k == self.donated for k, arg in enumerate(args) for _ in jax.tree.leaves(arg)]
        local = [self._local(x, flag) for x, flag in zip(leaves, flags, strict=True)]
        closed, shapes = jax.make_jaxpr(self.function, return_shape=True)(
            *jax.tree.unflatten(jax.tree.structure(args), local)
        )
        read = needed(closed.jaxpr, closed.jaxpr.outvars)
        used = [k for k, var in enumerate(closed.jaxpr.invars) if var in read and local[k].size]
        kept = [k for k, x in enumerate(closed.out_avals) if x.size]
        outs = [True] * len(closed.out_avals) if isinstance(self.out_axes, int) else self.out_axes

        def run(*values):
            given = dict(zip(used, values, strict=True))
            every = [given[k] if k in given else jnp.zeros(x.shape, x.dtype) for k, x in enumerate(local)]
            results = jex.jaxpr_as_fun(closed)(*every)
            return [results[k] for k in kept]

        specs = tuple(_spec(local[k].ndim, flags[k]) for k in used)
        mapped = jax.shard_map(
            run,
            mesh=self.mesh,
            in_specs=specs,
            out_specs=[_spec(closed.out_avals[k].ndim, outs[k]) for k in kept],
            check_vma=False,
        )
        jitted = jax.jit(
            mapped,
            in_shardings=tuple(NamedSharding(self.mesh, spec) for spec in specs),
            keep_unused=True,  # the cache key, the text, must show the number of arguments
            donate_argnums=[position for position, k in enumerate(used) if taken[k]],
            compiler_options=devices.compiler_options(self.mesh),
        )
        lowered = jitted.lower(*[jax.ShapeDtypeStruct(np.shape(leaves[k]), jnp.result_type(leaves[k])) for k in used])
        sized, tree = jax.tree.flatten(shapes)
        whole = jax.tree.unflatten(tree, [self._whole(x, flag) for x, flag in zip(sized, outs, strict=True)])
        return _compile(lowered, self.mesh, self.kind), used, whole

    def _whole(self, x, flag):
        """Shape of a result over all devices."""
        shape = (*x.shape[:-1], x.shape[-1] * self.mesh.size) if flag else x.shape
        return jax.ShapeDtypeStruct(shape, x.dtype)

    def _local(self, x, flag):
        """Shape of the part of a leaf on one device."""
        shape = np.shape(x)
        shape = (*shape[:-1], shape[-1] // self.mesh.size) if flag else shape
        return jax.ShapeDtypeStruct(shape, jnp.result_type(x))


def forget():
    """Drop all executables."""
    _executables.clear()


def _spec(rank, flag):
    return P(*[None] * (rank - 1), AXIS) if flag else P()


def _compiled(lowered):
    """Compile, then return the compiler's freed memory to the system if the C library supports it."""
    executable = lowered.compile()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
    return executable


def _compile(lowered, mesh, kind):
    """The future of the executable of a lowered function; a cached one if the text is equal and complete."""
    module = lowered.compiler_ir()
    with module.context:
        passmanager.PassManager.parse("builtin.module(cse)").run(module.operation)
    text = lowered.as_text()
    whole = not any(word in text for word in _ELSEWHERE)
    key = hashlib.sha256(text.encode()).hexdigest(), mesh, None if whole else next(_number)
    return _executables.find(kind, key, _compiler.submit, _compiled, lowered)
