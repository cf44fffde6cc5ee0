"""Addressed randomness: every random number has an address, so no generator state passes through the program.

The number drawn for `(seed, role, lane, time)` is a pure function of that address. A lane therefore sees the same market and
the same buyers for any batch size, chunk, number of devices, and policy (common random numbers). A chain of `split`s per
lane and step would cost more than most policies.

An address is an ordinary typed JAX key, so `jax.random.uniform(key)`, `split` and `fold_in` work on it. It holds three
32-bit words. The first two select the stream and are shared by all lanes: `(s0, s1 + time)`, where `(s0, s1)` is the hash of
`(seed, role)`. The third word is the lane. Random word i = 0, 1, ... of a key is the first word of the Threefry-2x32-20
block with key `(s0, s1 + time)` and counter `(lane, i)`. The second word is not used: it would not be free, because kernels
of XLA:CPU have one output. `split` and `fold_in` hash the stream words with another constant and leave the lane word alone.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3",
doi:10.1145/2063384.2063405.
"""

import contextlib
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as extend_random

from jaxprice import checks

WORDS = 3
ROLES = ("market", "reset", "demand", "init", "act", "update")  # each role draws from its own stream

POISSON = (
    "keys of the engine are addressed keys, and jax.random.poisson takes threefry keys alone: make one of random words, "
    "jax.random.wrap_key_data(jax.random.bits(key, (2,)), impl='threefry2x32')"
)

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_DERIVE = 0x9E3779B9  # a separate key space for the stream words of derived keys


@contextlib.contextmanager
def explained():
    """Within the block, a JAX error that asks for a threefry key also says how to make one."""
    try:
        yield
    except NotImplementedError as error:
        if "threefry" in str(error):
            error.add_note(POISSON)
        raise


def threefry(k0, k1, x0, x1):
    """Threefry-2x32 with 20 rounds.

    Args:
      k0, k1: key words, uint32 `[...]`.
      x0, x1: counter words, uint32 `[...]`, broadcast against the key.

    Returns:
      Two random words, uint32 `[...]` each.
    """
    schedule = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + k0, x1 + k1
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation)))
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def stream(seed, role):
    """Stream words for a seed and a role.

    Args:
      seed: an integer in `[0, 2**64)`, of any type, or a traced integer scalar.
      role: one of `ROLES`.

    Returns:
      uint32 `[2]`.

    Raises:
      ValueError: an unknown role, or a seed out of range.
    """
    if role not in ROLES:
        raise ValueError(f"role must be one of {ROLES}, got {role!r}")
    if not checks.is_traced(seed):
        seed = checks.seed(seed)
        words = seed & 0xFFFFFFFF, seed >> 32, ROLES.index(role), 0
        return np.concatenate(threefry(*(np.array([word], np.uint32) for word in words)))
    if seed.ndim or not jnp.issubdtype(seed.dtype, jnp.integer):
        raise ValueError(f"seed must be an integer in [0, 2**64), got {seed!r}")
    high = seed >> 32 if seed.dtype.itemsize == 8 else 0
    words = (jnp.asarray(word).astype(jnp.uint32) for word in (seed, high, ROLES.index(role), 0))
    return jnp.stack(_block(*words))


def address(words, time, lane):
    """The key of `(stream, time, lane)`.

    Args:
      words: stream words, uint32 `[2]`, from `stream`.
      time: step, integer scalar.
      lane: lane number, integer scalar.

    Returns:
      A typed key, scalar.
    """
    word = functools.partial(jnp.asarray, dtype=jnp.uint32)
    return jax.random.wrap_key_data(jnp.stack([words[0], words[1] + word(time), word(lane)]), impl=implementation())


def bits(words, bit_width, shape, *, lanes_last=False):
    """Random bits of a key given by its words.

    Args:
      words: three uint32 arrays, scalar, or `[..., lanes]` with `lanes_last`.
      bit_width: 8, 16, 32 or 64.
      shape: shape of the draw.
      lanes_last: whether the words carry a trailing lane axis.

    Returns:
      Unsigned integers `[*shape]`, or `[..., *shape, lanes]`.
    """
    count = math.prod(shape)
    k0, k1, lane = _expand(words, lanes_last)
    low, high = (threefry if lanes_last else _block)(k0, k1, lane, _counter(count, lanes_last))
    if bit_width == 64:
        out = (low.astype(jnp.uint64) << np.uint64(32)) | high.astype(jnp.uint64)
    else:
        out = (low >> np.uint32(32 - bit_width)).astype(f"uint{bit_width}")
    batch = words[0].shape
    return out.reshape((*batch[:-1], *shape, *batch[-1:]) if lanes_last else shape)


def split(words, shape, *, lanes_last=False):
    """Words of `[..., *shape]` new keys; the lane word stays the same."""
    k0, k1, lane = _expand(words, lanes_last)
    counter = _counter(math.prod(shape), lanes_last)
    new = (threefry if lanes_last else _block)(k0 ^ np.uint32(_DERIVE), k1, counter, jnp.full_like(counter, 1))
    batch = words[0].shape
    shape = (*batch[:-1], *shape, *batch[-1:]) if lanes_last else shape
    return tuple(word.reshape(shape) for word in (*new, jnp.broadcast_to(lane, new[0].shape)))


def fold_in(words, data, *, lanes_last=False):
    """Words of the key derived with `data`, an integer array that broadcasts against them; the lane word stays the same."""
    k0, k1, lane = words
    hashed = threefry if lanes_last else _block
    new = hashed(k0 ^ np.uint32(_DERIVE), k1, jnp.asarray(data).astype(jnp.uint32), jnp.zeros_like(k1))
    return (*new, jnp.broadcast_to(lane, new[0].shape))


def _block(k0, k1, x0, x1):
    """`threefry` as one JAX primitive. It compiles faster than the open form; it is slower only where that is fused."""
    mixed = k0 ^ k1 ^ x0 ^ x1
    zero = mixed ^ mixed  # the primitive needs four equal shapes and, under vmap, equal batch axes
    return extend_random.threefry2x32_p.bind(*(word ^ zero for word in (k0, k1, x0, x1)))


def _expand(words, lanes_last):
    """Insert the axis of the draw as the last one, or before the lanes as the last but one."""
    return [word[..., None, :] if lanes_last else word[..., None] for word in words]


def _counter(count, lanes_last):
    counter = jnp.arange(count, dtype=jnp.uint32)
    return counter[:, None] if lanes_last else counter


def to_words(key):
    """The three words of an addressed key `[...]`, uint32 `[...]` each."""
    data = jax.random.key_data(key)
    return tuple(data[..., i] for i in range(WORDS))


def from_words(words):
    """The addressed key `[...]` of three words, uint32 `[...]` each."""
    return jax.random.wrap_key_data(jnp.stack(words, -1), impl=implementation())


@functools.cache
def implementation():
    """JAX's implementation object of addressed keys, for `jax.random.key(seed, impl=...)` and `wrap_key_data`."""

    def unpack(key):
        return tuple(key[..., i] for i in range(WORDS))

    def seed_words(seed):
        return jnp.stack([*_block(*(jnp.asarray(w, jnp.uint32) for w in (seed, 0, 0, 1))), jnp.uint32(0)])

    return extend_random.define_prng_impl(
        key_shape=(WORDS,),
        seed=seed_words,
        split=lambda key, shape: jnp.stack(split(unpack(key), shape), -1),
        random_bits=lambda key, bit_width, shape: bits(unpack(key), bit_width, shape),
        fold_in=lambda key, data: jnp.stack(fold_in(unpack(key), data)),
        name="jaxprice_addressed",
        tag="jxp",
    )


def is_addressed(dtype):
    """Whether a dtype is that of addressed keys."""
    return dtype == _key_dtype()


@functools.cache
def _key_dtype():
    return jax.eval_shape(lambda: from_words((jnp.uint32(0),) * WORDS)).dtype


def choose(u, probabilities):
    """The category selected by a uniform number, by inversion of the distribution function.

    Args:
      u: uniform numbers in [0, 1), float `[...]`.
      probabilities: float `[K]`, summing to one up to rounding.

    Returns:
      int32 `[...]` in `[0, K)`; the error of the distribution function is below K rounding units.
    """
    u, size = jnp.asarray(u), probabilities.shape[0]
    if size > 32:
        return jnp.minimum(jnp.searchsorted(jnp.cumsum(probabilities), u, side="right"), size - 1).astype(jnp.int32)
    total, chosen = jnp.zeros(()), jnp.zeros(u.shape, jnp.int32)
    for k in range(size - 1):
        total = total + probabilities[k]
        chosen = chosen + (u >= total).astype(jnp.int32)
    return chosen
