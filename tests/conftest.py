"""Compiled code is kept between the processes of a test run, and for the next run of the same tests."""

import os
from pathlib import Path

KEPT = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parent.parent / ".pytest_cache" / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
for name, value in KEPT.items():  # before jax is imported, and handed on to the processes that tests start
    os.environ.setdefault(name, value)
