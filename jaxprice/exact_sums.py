"""Exact sums of products on CPUs: what XLA is told before it starts, in the versions of jaxlib that get them wrong.

XLA hands fusions of products, elementwise functions, and sums or maxima to a library (YNNPACK). In jaxlib 0.10 to 0.12 some
of them are wrong, silently: sums over a product with a small matrix from row 32,768 on (0.10.0 to 0.10.2, jax issue 39103),
and products with a constant matrix in every row (0.10.2 to 0.12.0.1). The flag of `FLAG`, empty, turns the library off.

Flags count only before JAX starts its backend, and XLA ends the program at a flag that it does not know. So the flag is set
by whatever comes first (a market, `use_cpu_cores`, a log of decisions, a fit), in the versions that were seen to have the
fault. Programs of the engine are compiled without the library even if the backend has started.
"""

import functools
import importlib.metadata
import os
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import xla_bridge

FLAG = "xla_cpu_experimental_ynn_fusion_type"
FIRST, LAST = (0, 10, 0), (0, 12, 0)  # versions of jaxlib that were seen to return wrong sums


def ensure():
    """Turn the library off, or warn once if JAX has started already and its sums are wrong.

    Nothing changes in versions that were not seen to have the fault, or if `XLA_FLAGS` names the flag.
    """
    if not _known():
        return
    if xla_bridge.backends_are_initialized():
        warn_if_wrong()
    else:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --{FLAG}=".strip()


def options():
    """Options of a program for CPUs that turn the library off, if `ensure` came too late."""
    return {FLAG: ""} if _known() else {}


def _known():
    """Whether this version has the fault, and `XLA_FLAGS` does not name the flag."""
    return FIRST <= version() <= LAST and FLAG not in os.environ.get("XLA_FLAGS", "")


@functools.cache
def version():
    """The version of jaxlib, three ints."""
    return tuple(map(int, re.findall(r"\d+", importlib.metadata.version("jaxlib"))[:3]))


@functools.cache
def warn_if_wrong():
    """Warn, once in a process, if two small sums are wrong on the default device. This starts the backend."""
    if FLAG in os.environ.get("XLA_FLAGS", "") or jax.default_backend() != "cpu" or not wrong():
        return
    found = importlib.metadata.version("jaxlib")
    fault = f"jaxlib {found} returns wrong sums of products on CPUs (github.com/jax-ml/jax/issues/39103)"
    late = (
        "JAX had started before jaxprice could turn off the part of XLA that does. Runs of simulate are compiled without "
        "it, other code is not: call jaxprice.use_cpu_cores() before the first computation"
    )
    new = f"jaxprice does not know this version: set XLA_FLAGS=--{FLAG}= before Python starts, or take another version"
    warnings.warn(f"{fault}, and {late if version() <= LAST else new}", RuntimeWarning, stacklevel=5)


def wrong():
    """Whether two small programs, which the versions from `FIRST` to `LAST` get wrong, differ from NumPy."""
    rng = np.random.default_rng(0)
    square, rows, matrix = (rng.standard_normal(shape).astype(np.float32) for shape in ((70, 8, 8), (33_000, 3), (3, 3)))
    with jax.ensure_compile_time_eval(), jax.debug_nans(False), jax.debug_infs(False):
        constant = jax.jit(lambda x, c: jnp.sum((x @ jnp.full_like(x, c)) * x, axis=-1))(square, np.float32(1.5))
        many = jax.jit(jax.vmap(lambda row, matrix: jnp.sum(matrix @ row), (0, None)))(rows, matrix)
    exact = 1.5 * square.astype(float).sum(axis=-1) ** 2, (rows.astype(float) @ matrix.astype(float).T).sum(axis=-1)
    return not all(
        np.allclose(found, sums, rtol=1e-3, atol=1e-3) for found, sums in zip((constant, many), exact, strict=True)
    )
