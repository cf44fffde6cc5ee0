"""Strict settings of JAX, for tests."""

import contextlib

import jax

STRICT = (("jax_enable_x64", True), ("jax_numpy_rank_promotion", "raise"), ("jax_debug_key_reuse", True))


@contextlib.contextmanager
def strict():
    """64-bit types switched on, silent broadcasting of ranks and double use of keys switched off."""
    before = [(name, getattr(jax.config, name)) for name, _ in STRICT]
    for name, value in STRICT:
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before:
            jax.config.update(name, value)
