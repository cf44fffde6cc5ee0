"""Protection against forks: a forked process hangs in JAX if its parent has used JAX, because threads are not copied.

On Linux, Gymnasium's `AsyncVectorEnv` forks by default. A child that was forked after JAX had started gets an error here
instead of hanging.
"""

import os

from jax._src import xla_bridge


class _Fork:
    """Whether this process was forked from a process in which JAX had started."""

    broken = False


def _note():
    _Fork.broken = _Fork.broken or xla_bridge.backends_are_initialized()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note)


def refuse():
    """Raise if JAX would hang in this process.

    Raises:
      RuntimeError: this process was forked from a process in which JAX had started.
    """
    if _Fork.broken:
        raise RuntimeError(
            "JAX has started in the process that this one was forked from, and would hang here: start workers with "
            'context="spawn", as in AsyncVectorEnv(makers, context="spawn"), or step all lanes in one process with '
            "jaxprice.compat.gymnasium.vector_env"
        )
