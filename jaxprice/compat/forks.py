"""A forked process cannot use JAX once its parent has: the threads that JAX waits for were not copied, and it hangs.

Gymnasium's `AsyncVectorEnv` forks on Linux where it is not told otherwise. A child that was forked from a process in which
JAX had started is told here, instead of waiting for ever.
"""

import os

from jax._src import xla_bridge


class _Fork:
    """Whether this process was forked from one in which JAX had started."""

    broken = False


def _note():
    _Fork.broken = _Fork.broken or xla_bridge.backends_are_initialized()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note)


def refuse():
    """Raise where JAX would hang.

    Raises:
      RuntimeError: this process was forked from one in which JAX had started.
    """
    if _Fork.broken:
        raise RuntimeError(
            "JAX has started in the process that this one was forked from, and would hang here: start workers with "
            'context="spawn", as in AsyncVectorEnv(makers, context="spawn"), or step all lanes in one process with '
            "jaxprice.compat.gymnasium.vector_env"
        )
